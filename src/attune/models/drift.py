"""When a record has changed: in one cell (a short memory from now on), or over two cells or more (set the model aside).

Sums of log-likelihood ratios of "degraded" against "as expected", reset at zero (CUSUM). Quality only: whether a provider
can be reached is the breaker's to know. Sees this process's outcomes one by one; rows of others have no order.
"""

from __future__ import annotations

from math import log
from typing import Final

from attune.models.histogram import Latest, added
from attune.models.ledger import Line, Quality
from attune.models.tally import Tally

# Constants by replay of public outcome tables, 2026-11: lower thresholds raise false alarms in steady traffic.
CELL_DROP: Final = 0.75  # a cell's change worth noticing: three quarters of the expected success
CELL_ALARM: Final = 8.0
MODEL_DROP: Final = 0.5
MODEL_ALARM: Final = 9.0
RECOVERED: Final = 2.5  # about four good answers
PROBE_FIRST, PROBE_MOST = (
    0.02,
    0.25,
)  # share of the calls it would be picked for; doubled by a good probe, reset by a bad one
_TRAIL: Final = 500


def ratio(score: float, expected: float, drop: float) -> float:
    """How much one outcome (0..1) speaks for a drop to `drop` times the expected success."""
    p = min(0.97, max(0.05, expected))
    return score * log(drop) + (1.0 - score) * log((1.0 - drop * p) / (1.0 - p))


def changed(line: Line, score: float, *, judged: bool) -> bool:
    """Count one outcome against the cell's expectation; True at a change-point."""
    if score == 1.0 and line.grudge == 0.0:
        return False
    line.grudge = max(0.0, line.grudge + ratio(score, line.expected(judged=judged), CELL_DROP))
    if line.grudge < CELL_ALARM:
        return False
    line.grudge = 0.0
    return True


class Track:
    """One model over all cells of this process: its recent excursion below expectation, and its latencies."""

    __slots__ = ("aside", "hist", "recovery", "share", "timed", "trail", "wrong")

    def __init__(self) -> None:
        self.wrong, self.recovery, self.share = 0.0, 0.0, PROBE_FIRST
        self.aside = False
        self.trail: list[tuple[Line, float, Quality]] = []
        self.hist = Latest({})
        self.timed = 0

    def weigh(self, line: Line, score: float, quality: Quality, *, judged: bool) -> bool:
        """Count one outcome; True if the model was set aside, or taken back, by it.

        What the excursion counted is taken out of the readings: it says that the model was ill, not how good it is.
        """
        if self.aside:
            line.excuse(quality)
            return self._recover(score, line.expected(judged=judged))
        if score == 1.0 and self.wrong == 0.0:
            return False
        self.wrong = max(0.0, self.wrong + ratio(score, line.expected(judged=judged), MODEL_DROP))
        self.trail.append((line, score, quality))
        if self.wrong == 0.0:
            self.trail.clear()
        elif len(self.trail) > _TRAIL:
            del self.trail[0]
        if self.wrong < MODEL_ALARM or len({id(it) for it, score, _ in self.trail if score < 0.5}) < 2:
            return False
        for it, _, counted in self.trail:
            it.excuse(counted)
        self.trail.clear()
        self.aside, self.recovery, self.share = True, 0.0, PROBE_FIRST
        return True

    def _recover(self, score: float, expected: float) -> bool:
        self.recovery = max(0.0, self.recovery - ratio(score, expected, MODEL_DROP))
        self.share = min(PROBE_MOST, 2 * self.share) if score >= 0.5 else PROBE_FIRST
        if self.recovery >= RECOVERED:
            self.aside, self.wrong = False, 0.0
        return True

    def time(self, latency_us: float) -> None:
        """Count one latency; when there are many, the older half fades."""
        self.hist.count(latency_us)
        self.timed += 1
        if self.timed > 4000:
            self._halve()

    def absorb(self, tally: Tally, known: Tally | None = None) -> None:
        """Count the latencies of others: of a row that is known, what it grew by."""
        buckets, scale = dict(tally.buckets), tally.scale
        if known is not None:
            buckets, scale = added(buckets, scale, ((index, -count) for index, count in known.buckets), known.scale)
        grown = [(index, count) for index, count in buckets.items() if count > 0]
        self.hist.include(grown, scale)
        self.timed += sum(count for _, count in grown)
        while self.timed > 4000:
            self._halve()

    def _halve(self) -> None:
        buckets, scale = self.hist.whole()
        self.hist = Latest({index: count // 2 for index, count in buckets.items() if count > 1}, scale)
        self.timed = sum(self.hist.main.values())
