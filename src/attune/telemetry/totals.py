"""A reader's running totals: observations and verdicts of other processes, added up by series, bucket and writer.

Totals are absolute and their `seq` counts what was read of a writer, so that a row may be given twice, or come from a
store as well, and still count once. What is older than eight days, or dated ahead, is left out. Reads no file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attune.models.performance import BUCKET_S, Observation, Row, Series, Verdict
from attune.models.sums import Counts

KEEP_S: Final = 8 * 86_400
AHEAD_S: Final = 86_400  # a clock may be wrong, and a test may stand in tomorrow
_BUCKET_US: Final = BUCKET_S * 1_000_000

_Key = tuple[Series, int, str]


class Totals:
    """Totals under way. Not thread-safe: its reader belongs to one thread."""

    def __init__(self, *, max_series: int) -> None:
        self._max = max_series
        self._counts: dict[_Key, Counts] = {}
        self._seq: dict[str, int] = {}
        self._at: dict[_Key, int] = {}
        self._series: set[Series] = set()
        self._dirty: set[_Key] = set()
        self._floor = 0
        self.left_out = 0

    def load(self, rows: Iterable[Row]) -> None:
        """Go on from totals that were kept."""
        for row in rows:
            key = (row.series, row.bucket_s // BUCKET_S, row.writer)
            self._counts[key] = Counts(row.tally)
            self._at[key] = row.seq
            self._seq[row.writer] = max(row.seq, self._seq.get(row.writer, 0))
            self._series.add(row.series)

    def add(self, fact: Observation | Verdict, writer: str, now_s: float) -> None:
        """Count one fact of one writer."""
        bucket = fact.at_us // _BUCKET_US
        if fact.at_us > (now_s + AHEAD_S) * 1e6 or bucket < max(self._floor, (now_s - KEEP_S) // BUCKET_S):
            self.left_out += 1
            return
        if fact.series not in self._series:
            if len(self._series) >= self._max:
                self.left_out += 1
                return
            self._series.add(fact.series)
        key = (fact.series, bucket, writer)
        counts = self._counts.get(key)
        if counts is None:
            counts = self._counts[key] = Counts()
        self._seq[writer] = self._at[key] = self._seq.get(writer, 0) + 1
        self._dirty.add(key)
        if isinstance(fact, Observation):
            counts.observe(fact)
        else:
            counts.judged += 1
            counts.quality_micro += fact.quality_micro

    def take(self, now_s: float) -> list[Row]:
        """The rows that changed since the last time."""
        rows = [
            Row(
                series=key[0],
                bucket_s=key[1] * BUCKET_S,
                writer=key[2],
                seq=self._at[key],
                tally=self._counts[key].tally(),
            )
            for key in sorted(self._dirty)
        ]
        self._dirty.clear()
        self._forget(int((now_s - KEEP_S) // BUCKET_S))
        return rows

    def _forget(self, floor: int) -> None:
        if floor - self._floor < 12:
            return
        self._floor = floor
        for key in [key for key in self._counts if key[1] < floor]:
            del self._counts[key], self._at[key]
        self._series = {key[0] for key in self._counts}
        alive = {key[2] for key in self._counts}
        self._seq = {writer: seq for writer, seq in self._seq.items() if writer in alive}
