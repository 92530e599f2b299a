"""All windows at one moment, immutable: what a decision reads. One dictionary look-up per cell, no lock, no wait.

Figures here are effective counts (floats): discounted by age, capped, fleet evidence weighted down. The exact integers
they come from stay with `windows.py`. This file measures and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from attune.models.histogram import SCALE, added, count_over, quantile
from attune.models.tally import Series, Tally


class Latencies:
    """A histogram of microseconds in parts `(buckets, scale)` that never change. It remembers the last limit asked for."""

    __slots__ = ("_answer", "parts")

    def __init__(self, parts: tuple[tuple[Mapping[int, float], int], ...] = ()) -> None:
        self.parts = parts
        self._answer = (-1.0, 0.0)

    def over(self, limit_us: float) -> float:
        """How many are over a limit."""
        limit, count = self._answer
        if limit != limit_us:
            count = sum(count_over(buckets, scale, limit_us) for buckets, scale in self.parts)
            self._answer = (limit_us, count)
        return count

    def quantile_us(self, q: float) -> float | None:
        """The value below which a share `q` lies, within 2.2 %; None where there is none."""
        buckets: Mapping[int, float] = {}
        scale = SCALE
        for more, its_scale in self.parts:
            buckets, scale = added(buckets, scale, more.items(), its_scale)
        return quantile(buckets, scale, q)


class Stat(NamedTuple):
    """Effective evidence on one model, in one cell or pooled over all of them.

    `n` samples and `s` successes among them (quality: half-life 7 days, at most 400 own samples); costs, tokens and
    latencies have a half-life of 1 day. `samples` is `n` undiscounted, within a week.
    """

    n: float = 0.0
    s: float = 0.0
    samples: int = 0
    costed: float = 0.0
    cost_nano: float = 0.0
    tokened: float = 0.0
    tokens_in: float = 0.0
    tokens_out: float = 0.0
    explored: float = 0.0
    explored_cost_nano: float = 0.0
    timed: float = 0.0
    latency_us: float = 0.0
    latencies: Latencies = Latencies()


NOTHING = Stat()


class Cell:
    """All models' evidence at one workflow and stage. Compared by identity: a change makes a new one.

    `judged`: it has had verdicts, so unjudged answers are left out. `size` counts what this process told it, and `run`
    stays the same while that is nothing but successes of one model: then a ranking made at nearly this size still holds.
    """

    __slots__ = ("judged", "run", "size", "stats")

    def __init__(
        self, stats: Mapping[tuple[str, str], Stat], *, judged: bool = False, run: int = 0, size: int = 0
    ) -> None:
        self.stats = stats
        self.judged = judged
        self.run = run
        self.size = size

    def stat(self, provider: str, model: str) -> Stat:
        """One model's evidence here, empty where there is none."""
        return self.stats.get((provider, model), NOTHING)


class Detail(NamedTuple):
    """Exact totals behind a cell: by provider and model, and of the newest 20 outcomes how many there are and failed."""

    totals: Mapping[tuple[str, str], Tally]
    judged: bool
    recent: tuple[int, float]


def _no_detail(_workflow: str, _stage: str | None, _since_s: float) -> Detail:
    return Detail({}, False, (0, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """Everything that is known at one moment. Immutable, safe to share; unchanged evidence is the same object.

    `at_s` is the epoch second it was made, `heard_s` that of the newest evidence from other processes (0.0: none);
    `tokens` are the process's mean tokens of a call (in, out), None before any call told them.
    """

    at_s: float = 0.0
    heard_s: float = 0.0
    tokens: tuple[float, float] | None = None
    quarantined: Mapping[tuple[str, str], float] = field(default_factory=dict)  # set aside: chance of a probe
    cells: Mapping[tuple[str, str], Cell] = field(default_factory=dict)
    pool: Mapping[tuple[str, str], Stat] = field(default_factory=dict)
    detail: Callable[[str, str | None, float], Detail] = field(default=_no_detail, repr=False)

    def cell(self, workflow: str, stage: str) -> Cell | None:
        """What is known at one workflow and stage."""
        return self.cells.get((workflow, stage))

    def pooled(self, provider: str, model: str) -> Stat | None:
        """What is known of a model over all cells."""
        return self.pool.get((provider, model))

    def series(self) -> tuple[Series, ...]:
        """Every series there is evidence on."""
        return tuple(Series(*at, *of) for at, cell in self.cells.items() for of in cell.stats)
