"""OTLP JSON lines in files of our own: one pair for a process, appended, rotated by rename, bounded in total.

A line is one export request, written with one system call, so that a reader meets whole lines or a torn last one. Files
are 0600 in a directory of 0700. A failed write is told to the SDK and logged once; it reaches no call.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from attune.telemetry.otlp_json import encode

ROTATE_BYTES: Final = 64 * 1024 * 1024
MAX_BYTES: Final = 512 * 1024 * 1024
_LIVE_S: Final = 3600  # a file written to within the hour may be another process's open one
_log = logging.getLogger("attune.telemetry")


class LineFile:
    """One growing file of JSON lines. Thread-safe; after a fork the child starts a file of its own."""

    def __init__(
        self, directory: Path, signal: str, *, rotate_bytes: int = ROTATE_BYTES, max_bytes: int = MAX_BYTES
    ) -> None:
        self._directory = directory
        self._signal = signal
        self._rotate = rotate_bytes
        self._max = max_bytes
        self._lock = Lock()
        self._fd: int | None = None
        self._pid = 0
        self._path = directory / "none"
        self._failed = False
        self._serial = 0
        self._rotated: list[Path] = []

    @property
    def files(self) -> list[Path]:
        """The files of this process that are there, oldest first."""
        return [path for path in (*self._rotated, self._path) if path.is_file()]

    def append(self, line: bytes) -> bool:
        """Write one line; False where that failed."""
        with self._lock:
            try:
                fd = self._open()
                _write(fd, line + b"\n")
                if os.fstat(fd).st_size >= self._rotate:
                    self._rename()
            except OSError as error:
                if not self._failed:
                    _log.warning("telemetry file %s cannot be written: %s", self._path, error.strerror)
                self._failed = True
                self._drop()
                return False
            self._failed = False
            return True

    def close(self) -> None:
        """Close the file. A later line opens it again."""
        with self._lock:
            self._drop()

    def renew_lock(self) -> None:
        """After a fork: the lock may have been held by a thread that is not here."""
        self._lock = Lock()

    def _open(self) -> int:
        if self._fd is not None and self._pid == os.getpid():
            return self._fd
        if self._pid != os.getpid():
            self._pid, self._rotated = os.getpid(), []
            self._path = self._directory / f"{self._signal}-{self._pid}-{uuid.uuid4().hex[:8]}.jsonl"
        self._drop()
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._prune()
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        return self._fd

    def _rename(self) -> None:
        self._serial += 1
        rotated = self._path.with_name(f"{self._path.stem}-{time.time_ns()}-{self._serial}.jsonl")
        self._path.rename(rotated)
        self._rotated.append(rotated)
        self._drop()

    def _drop(self) -> None:
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.close(self._fd)
        self._fd = None

    def _prune(self) -> None:
        """Delete the oldest files of this signal until what is left fits; never one that may be open."""
        found = []
        for path in self._directory.glob(f"{self._signal}-*.jsonl"):
            with contextlib.suppress(OSError):
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        total = sum(size for _, size, _ in found)
        live = time.time() - _LIVE_S
        for changed, size, path in sorted(found):
            if total + self._rotate <= self._max:
                return
            if path in self._rotated or (path != self._path and changed < live):
                with contextlib.suppress(OSError):
                    path.unlink()
                    total -= size


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


class FileSpanExporter(SpanExporter):
    """Spans into a LineFile."""

    def __init__(self, lines: LineFile) -> None:
        self._lines = lines

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write one request."""
        done = self._lines.append(encode(encode_spans(spans)))
        return SpanExportResult.SUCCESS if done else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Close the file."""
        self._lines.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the protocol's signature
        """Nothing is held back."""
        return True


class FileMetricExporter(MetricExporter):
    """Metrics into a LineFile."""

    def __init__(self, lines: LineFile) -> None:
        super().__init__()
        self._lines = lines

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **_: Any) -> MetricExportResult:  # noqa: ARG002 - the protocol's signature
        """Write one request."""
        done = self._lines.append(encode(encode_metrics(metrics_data)))
        return MetricExportResult.SUCCESS if done else MetricExportResult.FAILURE

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:  # noqa: ARG002 - the protocol's signature
        """Close the file."""
        self._lines.close()

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002 - the protocol's signature
        """Nothing is held back."""
        return True
