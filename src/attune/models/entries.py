"""Evidence out of a telemetry object that somebody else made: its entries, or a reader's rows, as windows of their own.

Tolerant on purpose: a missing key, a value of another type or a number that is none is left out, never guessed. Which
model to take is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import isfinite
from typing import Any, Final

from attune.models.performance import Observation
from attune.models.registry import Catalogue
from attune.models.snapshot import Snapshot
from attune.models.tally import Series
from attune.models.windows import Windows

EVERY_S: Final = 5.0
LIMIT: Final = 10_000
DAYS: Final = 7
_DEADLINE_S: Final = 5.0


class EntrySource:
    """Reads a telemetry object when it is asked, at most every EVERY_S seconds.

    Thread-safe without a lock, since the object may take its time: threads that ask at one moment may both read.
    """

    def __init__(self, telemetry: Any) -> None:
        self._telemetry = telemetry
        self._read_at: float | None = None
        self._snapshot = Snapshot()
        self._rows: Windows | None = None
        self._cursor: bytes | None = None

    def snapshot(self, now_s: float, monotonic: float, catalogue: Catalogue) -> Snapshot:
        """The evidence, read anew if the last reading is old enough. What the object raises is the caller's to see."""
        if self._read_at is not None and 0 <= monotonic - self._read_at < EVERY_S:
            return self._snapshot
        if callable(getattr(self._telemetry, "get_recent_entries", None)):
            self._snapshot = _of_entries(self._ask(), now_s, catalogue)
        elif callable(getattr(self._telemetry, "poll", None)):
            self._snapshot = self._poll(now_s)
        self._read_at = monotonic
        return self._snapshot

    def _ask(self) -> Any:
        try:
            return self._telemetry.get_recent_entries(limit=LIMIT, days=DAYS)
        except TypeError:  # an object that takes no such arguments
            return self._telemetry.get_recent_entries()

    def _poll(self, now_s: float) -> Snapshot:
        self._rows = self._rows or Windows(writer="")
        batch = self._telemetry.poll(self._cursor, _DEADLINE_S)
        self._rows.absorb(batch.rows, scope="host")
        self._cursor = batch.cursor
        return self._rows.snapshot(now_s)


def _of_entries(entries: Any, now_s: float, catalogue: Catalogue) -> Snapshot:
    if isinstance(entries, (str, bytes, Mapping)) or not isinstance(entries, Sequence):
        return Snapshot()
    timed = [(_epoch_s(entry.get("ts")), entry) for entry in reversed(entries) if isinstance(entry, Mapping)]
    newest = max((at for at, _ in timed if at is not None), default=now_s)
    windows = Windows(writer="", max_series=LIMIT, watch=False)
    for at, entry in sorted(((newest if at is None else at, entry) for at, entry in timed), key=lambda it: it[0]):
        if (observation := _observation(entry, at, catalogue)) is not None:
            windows.record(observation)
    return windows.snapshot(newest)


def _observation(entry: Mapping[Any, Any], at_s: float, catalogue: Catalogue) -> Observation | None:
    workflow, stage, model, provider = (entry.get(name) for name in ("workflow", "stage", "model", "provider"))
    if not isinstance(workflow, str) or not isinstance(model, str) or not model.strip():
        return None
    if not isinstance(provider, str) or not provider.strip():
        provider = catalogue.owner(model) or "other"
    cost, duration, success = _number(entry.get("cost")), _number(entry.get("duration_ms")), entry.get("success")
    known = isinstance(success, (bool, int, float)) and success == success
    given, got = _number(entry.get("tokens_input")), _number(entry.get("tokens_output"))
    return Observation(
        series=Series(workflow, stage if isinstance(stage, str) else "", provider, model),
        at_us=round(at_s * 1e6),
        outcome="success" if known else "neutral",
        empty=known and not success,  # somebody's word that it failed: a sample, and no success
        latency_us=0 if duration is None else round(duration * 1e3),
        cost_nano=None if cost is None else round(cost * 1e9),
        tokens_in=None if given is None else round(given),
        tokens_out=None if got is None else round(got),
    )


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value) or value < 0:
        return None
    return value


def _epoch_s(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        return value.timestamp()
    return _number(value)
