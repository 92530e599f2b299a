"""Totals under way (Counts, exact) and totals discounted (Sums, floats), and the one definition of success.

The half-lives live here: quality forgets in a week, money and latency in a day. Which buckets are added up, and when, is
`ledger.py`'s to know.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attune.models.histogram import SCALE, Latest, added
from attune.models.performance import Observation
from attune.models.tally import BUCKET_S, COUNTS, Tally

QUALITY_HALF_LIFE_S: Final = 7 * 86_400.0  # assumed, not measured; matches the statistics' days=7
MONEY_HALF_LIFE_S: Final = 86_400.0  # of costs, tokens and latencies
CAP: Final = 400.0  # effective samples; beyond it, the older count less

QUALITY: Final = ("answers", "empty", "failures", "judged", "quality_micro")
MONEY: Final = (  # in the order of Stat's fields
    "costed",
    "cost_nano",
    "tokened",
    "tokens_in",
    "tokens_out",
    "explored",
    "explored_cost_nano",
    "timed",
    "latency_us",
)  # fmt: skip

_NOTHING: Final = Tally()


class Counts:
    """A tally under way."""

    __slots__ = (*COUNTS, "hist")

    answers: int
    empty: int
    failures: int
    failures_open: int
    neutral: int
    judged: int
    quality_micro: int
    explored: int
    explored_cost_nano: int
    costed: int
    cost_nano: int
    tokened: int
    tokens_in: int
    tokens_out: int
    timed: int
    latency_us: int

    def __init__(self, tally: Tally | None = None) -> None:
        tally = tally or _NOTHING
        for name in COUNTS:
            setattr(self, name, getattr(tally, name))
        self.hist = Latest(dict(tally.buckets), tally.scale)

    def observe(self, it: Observation) -> None:
        """Count one finished attempt."""
        if it.outcome == "success":
            self.answers += 1
            self.empty += it.empty
        elif it.outcome == "failure":
            if it.circuit == "closed":
                self.failures += 1
            else:
                self.failures_open += 1
        else:
            self.neutral += 1
        if (latency := timed_us(it)) > 0:
            self.timed += 1
            self.latency_us += latency
            self.hist.count(latency)
        self.explored += it.explored
        if it.cost_nano is not None:
            self.costed += 1
            self.cost_nano += it.cost_nano
            if it.explored:
                self.explored_cost_nano += it.cost_nano
        if it.tokens_in is not None and it.tokens_out is not None:
            self.tokened += 1
            self.tokens_in += it.tokens_in
            self.tokens_out += it.tokens_out

    def include(self, it: Tally | Counts) -> None:
        """Add other totals."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(it, name))
        buckets, scale = (it.buckets, it.scale) if isinstance(it, Tally) else _whole(it.hist)
        if buckets:
            self.hist.include(buckets, scale)

    def tally(self) -> Tally:
        """The totals as they are now."""
        buckets, scale = _whole(self.hist)
        return Tally(**{name: getattr(self, name) for name in COUNTS}, buckets=buckets, scale=scale)


def _whole(hist: Latest) -> tuple[tuple[tuple[int, int], ...], int]:
    buckets, scale = hist.whole()
    return tuple(sorted(buckets.items())), scale


def timed_us(it: Observation) -> int:
    """The latency that counts: to the first content of a stream, else of the whole; 0 where none does."""
    if it.outcome == "success" or (it.outcome == "neutral" and it.error_type is None):
        return it.latency_us if it.first_us is None else it.first_us
    return 0


class Sums:
    """Discounted figures: floats, for reading only."""

    __slots__ = ("hist", "money", "quality", "scale")

    def __init__(self) -> None:
        self.quality = [0.0] * len(QUALITY)
        self.money = [0.0] * len(MONEY)
        self.hist: dict[int, float] = {}
        self.scale = SCALE

    def add(self, it: Counts, quality: float = 1.0, money: float = 1.0) -> None:
        """Add totals with a weight each."""
        self.quality = [old + quality * getattr(it, name) for old, name in zip(self.quality, QUALITY, strict=True)]
        self.money = [old + money * getattr(it, name) for old, name in zip(self.money, MONEY, strict=True)]
        buckets, scale = it.hist.whole()
        if buckets:
            weighed = ((index, count * money) for index, count in buckets.items())
            self.hist, self.scale = added(self.hist, self.scale, weighed, scale)

    def less(self, quality: Iterable[float]) -> None:
        """Take quality back."""
        self.quality = [old - taken for old, taken in zip(self.quality, quality, strict=True)]

    def fade(self, seconds: float) -> None:
        """Let time pass."""
        if seconds <= 0:
            return
        quality, money = 2.0 ** (-seconds / QUALITY_HALF_LIFE_S), 2.0 ** (-seconds / MONEY_HALF_LIFE_S)
        self.quality = [value * quality for value in self.quality]
        self.money = [value * money for value in self.money]
        self.hist = {index: count * money for index, count in self.hist.items() if count * money > 1e-3}

    def cap(self) -> None:
        """Let the oldest count less, so that at most CAP samples stay."""
        answers, empty, failures, judged, _ = self.quality
        if (n := (judged + empty + failures) if judged else (answers + failures)) > CAP:
            self.quality = [value * CAP / n for value in self.quality]


def success(quality: Iterable[float], *, judged: bool) -> tuple[float, float]:
    """`(n, s)`: samples and successes, by the one definition of success.

    (verdicts + answers without verdict) / (answers + failures outside an open circuit); an empty answer is 0; where there
    have been verdicts, unjudged answers are left out.
    """
    answers, empty, failures, verdicts, quality_micro = quality
    score = quality_micro * 1e-6
    if judged:
        n = verdicts + empty + failures
        return max(n, 0.0), min(max(score, 0.0), max(n, 0.0))
    n = max(answers + failures, 0.0)
    return n, min(max(score + max(answers - empty - verdicts, 0.0), 0.0), n)


def weights(buckets: int) -> tuple[float, float]:
    """What quality and money of so many buckets ago still count."""
    age = max(0, buckets) * BUCKET_S
    return 2.0 ** (-age / QUALITY_HALF_LIFE_S), 2.0 ** (-age / MONEY_HALF_LIFE_S)
