"""One series' books: exact totals by bucket and writer, and the effective figures that follow from them.

Buckets that are over are folded into one discounted sum, so that neither recording nor reading grows with history; the
newest two stay open. Rows keep integers; what is discounted here is a reading of them. Knows no lock and no other series.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attune.models.histogram import SCALE, added, fitted, index_of
from attune.models.performance import Observation, Row, newer
from attune.models.snapshot import Latencies, Stat
from attune.models.tally import BUCKET_S, COUNTS, Series, Tally

KEEP_S: Final = 7 * 86_400
QUALITY_HALF_LIFE_S: Final = 7 * 86_400.0  # assumed, not measured; matches the statistics' days=7
MONEY_HALF_LIFE_S: Final = 86_400.0  # of costs, tokens and latencies
OWN_CAP: Final = 400.0  # effective samples; beyond it, the older count less
FLEET_WEIGHT: Final = 0.5
FLEET_CAP: Final = 100.0  # so that local evidence can out-vote the fleet

QUALITY: Final = ("answers", "empty", "failures", "judged", "quality_micro")
MONEY: Final = (
    "explored", "explored_cost_nano", "costed", "cost_nano", "tokened", "tokens_in", "tokens_out", "timed", "latency_us",
)  # fmt: skip


class Counts:
    """A tally under way."""

    __slots__ = (*COUNTS, "hist", "scale")

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
        tally = tally or Tally()
        for name in COUNTS:
            setattr(self, name, getattr(tally, name))
        self.hist: dict[int, int] = dict(tally.buckets)
        self.scale = tally.scale

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
        if it.outcome == "success" or (it.outcome == "neutral" and it.error_type is None):
            self._time(it.latency_us if it.first_us is None else it.first_us)
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

    def _time(self, latency_us: int) -> None:
        self.timed += 1
        self.latency_us += latency_us
        index = index_of(latency_us, self.scale)
        self.hist[index] = self.hist.get(index, 0) + 1
        if len(self.hist) > 160:
            self.hist, self.scale = fitted(self.hist, self.scale)

    def tally(self) -> Tally:
        """The totals as they are now."""
        return Tally(
            **{name: getattr(self, name) for name in COUNTS}, buckets=tuple(sorted(self.hist.items())), scale=self.scale
        )


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
        if it.hist:
            weighed = ((index, count * money) for index, count in it.hist.items())
            self.hist, self.scale = added(self.hist, self.scale, weighed, it.scale)

    def fade(self, seconds: float) -> None:
        """Let time pass."""
        if seconds <= 0:
            return
        quality, money = 2.0 ** (-seconds / QUALITY_HALF_LIFE_S), 2.0 ** (-seconds / MONEY_HALF_LIFE_S)
        self.quality = [value * quality for value in self.quality]
        self.money = [value * money for value in self.money]
        self.hist = {index: count * money for index, count in self.hist.items() if count * money > 1e-3}

    def cap(self) -> None:
        """Let the oldest count less, so that at most OWN_CAP samples stay."""
        answers, empty, failures, judged, _ = self.quality
        if (n := (judged + empty + failures) if judged else (answers + failures)) > OWN_CAP:
            self.quality = [value * OWN_CAP / n for value in self.quality]


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


class Line:
    """The books of one series. Not thread-safe: its windows hold the lock."""

    __slots__ = (
        "closed", "cut", "expected", "fleet", "fleet_sums", "grudge", "host", "host_open", "minus", "newest", "own",
        "own_seq", "seen", "series", "stale",
    )  # fmt: skip

    def __init__(self, series: Series) -> None:
        self.series = series
        self.own: dict[int, Counts] = {}
        self.own_seq: dict[int, int] = {}
        self.host: dict[int, dict[str, Row]] = {}
        self.fleet: dict[int, dict[str, Row]] = {}
        self.closed, self.host_open, self.fleet_sums = Sums(), Sums(), Sums()
        self.minus = [0.0] * len(QUALITY)  # what open buckets hold and quality leaves out
        self.newest = 0  # bucket number; those before newest - 1 are folded
        self.cut: tuple[int, float] | None = None  # a change-point: evidence up to that bucket keeps this share
        self.expected, self.grudge = 0.8, 0.0  # drift.py's
        self.seen = [0] * 5  # QUALITY, undiscounted
        self.stale = False

    def counts(self, at_us: int, seq: int) -> Counts:
        """This process's totals of a moment, to be written to now."""
        bucket = at_us // (BUCKET_S * 1_000_000)
        if bucket > self.newest:
            self.roll(bucket)
        if (counts := self.own.get(bucket)) is None:
            counts = self.own[bucket] = Counts()
        self.own_seq[bucket] = seq
        return counts

    def observe(self, it: Observation, seq: int) -> None:
        """Count one attempt, in constant time."""
        counts = self.counts(it.at_us, seq)
        counts.observe(it)
        self.seen[0] += it.outcome == "success"
        self.seen[1] += it.outcome == "success" and it.empty
        self.seen[2] += it.outcome == "failure" and it.circuit == "closed"
        if it.at_us // (BUCKET_S * 1_000_000) < self.newest - 1:  # begun long ago: its bucket is folded already
            alone = Counts()
            alone.observe(it)
            self.closed.add(alone)

    def judge(self, at_us: int, quality_micro: int, replaces_micro: int | None, seq: int) -> None:
        """Count one verdict in the bucket of its call."""
        counts = self.counts(at_us, seq)
        judged, change = (1, quality_micro) if replaces_micro is None else (0, quality_micro - replaces_micro)
        counts.judged += judged
        self.seen[3] += judged
        counts.quality_micro += change
        if (bucket := at_us // (BUCKET_S * 1_000_000)) < self.newest - 1:
            weight = 2.0 ** (-(self.newest - bucket) * BUCKET_S / QUALITY_HALF_LIFE_S)
            self.closed.quality[3] += weight * judged
            self.closed.quality[4] += weight * change

    def roll(self, bucket: int) -> None:
        """Time has come to a new bucket: fold those before the last."""
        boundary = self.newest - 1
        self.newest = bucket
        self.closed.fade((bucket - 1 - boundary) * BUCKET_S if boundary > 0 else 0)
        for number in [number for number in (boundary, boundary + 1) if number < bucket - 1]:
            self._fold(number)
        self.closed.quality = [value - less for value, less in zip(self.closed.quality, self.minus, strict=True)]
        self.minus = [0.0] * len(QUALITY)
        self.closed.cap()
        self._reopen()

    def _fold(self, number: int) -> None:
        age = (self.newest - 1 - number) * BUCKET_S
        weights = 2.0 ** (-age / QUALITY_HALF_LIFE_S), 2.0 ** (-age / MONEY_HALF_LIFE_S)
        if (own := self.own.get(number)) is not None:
            self.closed.add(own, *weights)
        for row in self.host.get(number, {}).values():
            self.closed.add(Counts(row.tally), *weights)
        if self.cut is not None and self.cut[0] == number:
            self.closed.quality = [value * self.cut[1] for value in self.closed.quality]

    def absorb(self, row: Row, scope: str) -> bool:
        """Take another writer's totals; False if they are known already."""
        bucket, books = row.bucket_s // BUCKET_S, self.host if scope == "host" else self.fleet
        rows = books.setdefault(bucket, {})
        known = rows.get(row.writer)
        if known is not None and not newer(row, known):
            return False
        rows[row.writer] = row
        for sign, tally in ((1, row.tally), (-1, known.tally if known else None)):
            if tally is not None:
                self.seen = [old + sign * getattr(tally, name) for old, name in zip(self.seen, QUALITY, strict=True)]
        if scope == "host" and bucket > self.newest:
            self.roll(bucket)
        self.stale = True
        return True

    def refold(self) -> None:
        """Fold everything anew, where rows came or changed."""
        self.closed, self.stale, self.fleet_sums = Sums(), False, Sums()
        self.minus = [0.0] * len(QUALITY)
        self.newest = max([self.newest, *self.fleet])
        for number in sorted(self.own.keys() | self.host.keys()):
            if number < self.newest - 1:
                self._fold(number)
                self.closed.cap()
        for number, rows in self.fleet.items():
            age = (self.newest - number) * BUCKET_S
            for row in rows.values():
                self.fleet_sums.add(
                    Counts(row.tally), 2.0 ** (-age / QUALITY_HALF_LIFE_S), 2.0 ** (-age / MONEY_HALF_LIFE_S)
                )
        self._reopen()

    def _reopen(self) -> None:
        self.host_open = Sums()
        for number in (self.newest - 1, self.newest):
            for row in self.host.get(number, {}).values():
                self.host_open.add(Counts(row.tally))

    def forget(self, before_s: float) -> bool:
        """Drop buckets from before a moment; True if nothing is left."""
        for books in (self.own, self.own_seq, self.host, self.fleet):
            for number in [number for number in books if (number + 1) * BUCKET_S <= before_s]:
                del books[number]
        return not (self.own or self.host or self.fleet)

    def tally(self, since_s: float) -> Tally:
        """Exact totals of everybody since a moment."""
        total = Tally()
        for number, counts in self.own.items():
            if (number + 1) * BUCKET_S > since_s:
                total += counts.tally()
        for books in (self.host, self.fleet):
            for number, rows in books.items():
                if (number + 1) * BUCKET_S > since_s:
                    total = sum((row.tally for row in rows.values()), total)
        return total

    def stat(self, now_s: float, *, judged: bool) -> Stat:
        """The effective figures at a moment."""
        opened = [counts for number in (self.newest - 1, self.newest) if (counts := self.own.get(number)) is not None]
        local, hosts, fleet = self.closed, self.host_open, self.fleet_sums
        quality = [a + b - c for a, b, c in zip(local.quality, hosts.quality, self.minus, strict=True)]
        money = [a + b + FLEET_WEIGHT * c for a, b, c in zip(local.money, hosts.money, fleet.money, strict=True)]
        for counts in opened:
            quality = [old + getattr(counts, name) for old, name in zip(quality, QUALITY, strict=True)]
            money = [old + getattr(counts, name) for old, name in zip(money, MONEY, strict=True)]
        n, s = success(quality, judged=judged)
        share = min(1.0, OWN_CAP / n) if n else 1.0
        far_n, far_s = success(fleet.quality, judged=judged)
        far = min(FLEET_WEIGHT, FLEET_CAP / far_n) if far_n else 0.0
        idle = now_s - (self.newest + 1) * BUCKET_S
        fade = 2.0 ** (-idle / QUALITY_HALF_LIFE_S) if idle > 0 else 1.0
        return Stat(
            (n * share + far_n * far) * fade, (s * share + far_s * far) * fade,
            round(success(self.seen, judged=judged)[0]),
            money[2], money[3], money[4], money[5], money[6], money[0], money[1], money[7], money[8], self._latencies(opened),
        )  # fmt: skip

    def _latencies(self, opened: list[Counts]) -> Latencies:
        parts: list[tuple[dict[int, float], int]] = [
            (sums.hist, sums.scale) for sums in (self.closed, self.host_open, self.fleet_sums) if sums.hist
        ]
        parts.extend((dict(counts.hist), counts.scale) for counts in opened if counts.hist)
        return tuple(parts)
