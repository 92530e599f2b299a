"""Totals of one series in one bucket of time: integers only, so that adding is exact in any order.

This file adds; what a total says of a model, and how old it may be, is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from attune.models.histogram import SCALE, added

BUCKET_S: Final = 300


class Series(NamedTuple):
    """What one line of statistics is about."""

    workflow: str
    stage: str
    provider: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Totals of one series in one bucket. All integers, so that adding is exact in any order."""

    answers: int = 0
    empty: int = 0
    failures: int = 0  # outside an open circuit
    failures_open: int = 0  # of probes: the breaker's business
    neutral: int = 0
    judged: int = 0
    quality_micro: int = 0
    explored: int = 0
    explored_cost_nano: int = 0
    costed: int = 0
    cost_nano: int = 0
    tokened: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    timed: int = 0
    latency_us: int = 0
    buckets: tuple[tuple[int, int], ...] = ()  # base-2 exponential histogram of latency in us: (index, count), sorted
    scale: int = SCALE

    def __add__(self, other: Tally) -> Tally:
        """Both totals together: exact, whatever the order."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in COUNTS}
        buckets, scale = added(dict(self.buckets), self.scale, other.buckets, other.scale)
        return Tally(**sums, buckets=tuple(sorted(buckets.items())), scale=scale)


COUNTS: Final = tuple(name for name in Tally.__slots__ if name not in {"buckets", "scale"})
