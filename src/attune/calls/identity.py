"""A call's id carries its cell and its target, so that a verdict finds its window days later, from any process.

Nothing of the call's content is in it.
"""

from __future__ import annotations

import base64
import functools
import json

from attune.models.performance import Series

_VERSION = "c1"


def call_id(series: Series, at_us: int, bits: int) -> str:
    """A fresh id for a call that began at `at_us` (epoch microseconds); `bits` are 48 that no other call has."""
    return f"{_VERSION}.{bits:012x}.{at_us:x}.{_cell(series)}"


@functools.lru_cache(maxsize=4096)  # cells are few, and their encoding costs more than the rest of an id
def _cell(series: Series) -> str:
    body = json.dumps(series, separators=(",", ":"), ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(body).rstrip(b"=").decode()


def read_call_id(text: str) -> tuple[Series, int] | None:
    """The series and the start in epoch microseconds that an id carries; None if it is no id of ours."""
    try:
        version, _, at, cell = text.split(".")
        at_us = int(at, 16)
        series = Series(*json.loads(base64.urlsafe_b64decode(cell + "=" * (-len(cell) % 4))))
    except (ValueError, TypeError):
        return None
    return (series, at_us) if version == _VERSION and all(isinstance(name, str) for name in series) else None
