"""A call's id carries its cell and its target, so that a verdict finds its window days later, from any process."""

from __future__ import annotations

import base64
import binascii
import json
import os

from attune.models.performance import Series

_VERSION = "c1"


def call_id(series: Series, at_us: int) -> str:
    """A fresh id for a call that began at `at_us` (epoch microseconds)."""
    body = json.dumps([*series, at_us], separators=(",", ":"), ensure_ascii=False).encode()
    return f"{_VERSION}.{os.urandom(6).hex()}.{base64.urlsafe_b64encode(body).rstrip(b'=').decode()}"


def read_call_id(text: str) -> tuple[Series, int] | None:
    """The series and the start in epoch microseconds that an id carries; None if it is no id of ours."""
    version, _, rest = text.partition(".")
    body = rest.partition(".")[2]
    if version != _VERSION or not body:
        return None
    try:
        *names, at_us = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        series = Series(*names)
    except (ValueError, TypeError, binascii.Error):
        return None
    if not all(isinstance(name, str) for name in series) or not isinstance(at_us, int):
        return None
    return series, at_us
