"""Samples into a Prometheus by remote write: the protocol's few bytes written by hand, so that history can be made up."""

from __future__ import annotations

import struct
import urllib.request
from collections.abc import Iterable, Mapping, Sequence

Labels = Mapping[str, str]
Points = Sequence[tuple[int, float]]  # milliseconds, value


def push(url: str, series: Iterable[tuple[Labels, Points]]) -> None:
    """Send series, each sorted by time; nothing may be older than what was sent before."""
    body = b"".join(_field(1, _series(labels, points)) for labels, points in series)
    headers = {
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    with urllib.request.urlopen(urllib.request.Request(url, _snappy(body), headers), timeout=30) as answer:
        assert answer.status in (200, 204)


def push_in_order(url: str, series: Sequence[tuple[Labels, Points]], *, step_ms: int = 3_600_000) -> None:
    """Send a history, hour by hour over all series, as it would have come."""
    times = [at for _, points in series for at, _ in points]
    for begin in range(min(times), max(times) + 1, step_ms):
        part = [(labels, [it for it in points if begin <= it[0] < begin + step_ms]) for labels, points in series]
        push(url, [it for it in part if it[1]])


def _series(labels: Labels, points: Points) -> bytes:
    named = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in sorted(labels.items())
    )
    return named + b"".join(
        _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(at)) for at, value in points
    )


def _field(number: int, body: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _snappy(body: bytes) -> bytes:
    """The raw format with nothing but literals: valid, and no smaller."""
    parts = [_varint(len(body))]
    for at in range(0, len(body), 65_536):
        piece = body[at : at + 65_536]
        parts += [bytes([61 << 2]), (len(piece) - 1).to_bytes(2, "little"), piece]
    return b"".join(parts)
