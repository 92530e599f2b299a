"""What the headers of an error ask of who would try again: whether to, and how long to wait first.

Headers are hints of a stranger: whatever they hold, reading them does not fail, and no wait is longer than an hour. What
is done with them is the plan's.
"""

from __future__ import annotations

from typing import Any

_RETRY_AFTER_MAX_S = 3600.0  # nothing is cooled for longer on one header's word


def _header(headers: Any, name: str) -> str | None:
    try:
        value = headers.get(name)
    except Exception:  # noqa: BLE001 - whatever an error calls its headers, reading them must not fail
        return None
    return value if isinstance(value, str) else None


def should_retry_of(headers: Any) -> bool | None:
    """What `x-should-retry` says; None where it says nothing."""
    return {"true": True, "false": False}.get((_header(headers, "x-should-retry") or "").lower())


def retry_after_s_of(headers: Any, at_s: float) -> float | None:
    """The wait that is asked for, 0..3600 s; None where none is, or none that can be read. `at_s`: the time, epoch seconds."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        if (text := _header(headers, name)) is None:
            continue
        try:
            wait = float(text) * unit
        except ValueError:
            wait = _until(text, at_s)
        if wait == wait and wait >= 0:
            return min(wait, _RETRY_AFTER_MAX_S)
    return None


def _until(text: str, at_s: float) -> float:
    from email.utils import parsedate_to_datetime  # brings sockets along: only where a date was really sent

    try:
        return parsedate_to_datetime(text).timestamp() - at_s
    except (TypeError, ValueError, OverflowError):
        return float("nan")
