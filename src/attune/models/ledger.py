"""One series' books: exact totals by bucket and writer, and the effective figures that follow from them.

Buckets that are over are folded into one discounted sum, so that neither recording nor reading grows with history; the
newest two stay open. Rows keep integers; what is discounted here is a reading of them. What a change-point or the model's
quarantine takes out of the reading (`excuse`) stays in the rows. Knows no lock and no other series.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal

from attune.models.performance import Observation, Row, newer
from attune.models.snapshot import Latencies, Stat
from attune.models.sums import CAP, MONEY, QUALITY, QUALITY_HALF_LIFE_S, Counts, Sums, success, timed_us, weights
from attune.models.tally import BUCKET_S, Series, Tally

KEEP_S: Final = 7 * 86_400
FLEET_WEIGHT: Final = 0.5
FLEET_CAP: Final = 100.0  # so that local evidence can out-vote the fleet
SHORT_MEMORY: Final = 12.0  # samples that a change-point leaves

_BUCKET_US: Final = BUCKET_S * 1_000_000
Quality = tuple[float, float, float, float, float]  # answers, empty, failures, judged, quality_micro


class Line:
    """The books of one series. Not thread-safe: its windows hold the lock."""

    __slots__ = (
        "closed", "cuts", "excused", "fleet", "fleet_sums", "grudge", "host", "host_open", "live", "newest",
        "own", "seen", "series", "stale", "usual",
    )  # fmt: skip

    def __init__(self, series: Series) -> None:
        self.series = series
        self.own: dict[int, Counts] = {}
        self.host: dict[int, dict[str, Row]] = {}
        self.fleet: dict[int, dict[str, Row]] = {}
        self.closed, self.host_open, self.fleet_sums, self.live = Sums(), Sums(), Sums(), Sums()
        self.excused: dict[int, list[float]] = {}  # by bucket: quality that rows hold and the reading leaves out
        self.cuts: list[tuple[int, float]] = []  # change-points: what was up to that bucket keeps this share
        self.newest = 0  # bucket number; those before newest - 1 are folded
        self.seen = [0] * len(QUALITY)  # undiscounted
        self.usual, self.grudge = 0.8, 0.0  # drift.py's: the model's success over all cells, and a sum
        self.stale = False

    def observe(self, it: Observation) -> int:
        """Count one attempt, in constant time. The bucket it fell into."""
        bucket, counts = self._counts(it.at_us)
        answered = it.outcome == "success"
        self._note(
            (answered, answered and it.empty, it.outcome == "failure" and it.circuit == "closed", 0, 0), bucket, 1.0
        )
        if bucket < self.newest - 1:  # begun long ago: its bucket is folded already
            late = Counts()
            late.observe(it)
            self.closed.add(late, 0.0, weights(self.newest - bucket)[1])
            counts.include(late)
            self._total()
            return bucket
        counts.observe(it)
        self._spend(it)
        return bucket

    def judge(self, at_us: int, quality_micro: int, replaces_micro: int | None) -> int:
        """Count one verdict in the bucket of its call."""
        bucket, counts = self._counts(at_us)
        judged, change = (1, quality_micro) if replaces_micro is None else (0, quality_micro - replaces_micro)
        counts.judged += judged
        counts.quality_micro += change
        self._note((0, 0, 0, judged, change), bucket, weights(self.newest - 1 - bucket)[0])
        return bucket

    def expected(self, *, judged: bool) -> float:
        """The success to expect here by all that is known now."""
        n, s = success(self.live.quality, judged=judged)
        return (s + SHORT_MEMORY * self.usual) / (n + SHORT_MEMORY)

    def excuse(self, quality: Quality) -> None:
        """Leave so much out of the reading; the rows keep it."""
        kept = self.excused.setdefault(self.newest, [0.0] * len(QUALITY))
        self.excused[self.newest] = [old + more for old, more in zip(kept, quality, strict=True)]
        self.live.less(quality)

    def cut(self, *, judged: bool) -> None:
        """A change-point: only a short memory stays."""
        n, _ = success(self.live.quality, judged=judged)
        share = min(1.0, SHORT_MEMORY / max(1.0, n))
        folded = self.closed.quality
        rest = [(whole - old) * (1.0 - share) for whole, old in zip(self.live.quality, folded, strict=True)]
        self.closed.quality = [old * share for old in folded]
        self.cuts = [*self.cuts[-7:], (self.newest - 2, share)]
        self.live.less([old * (1.0 - share) for old in folded])
        self.excuse((rest[0], rest[1], rest[2], rest[3], rest[4]))

    def absorb(self, row: Row, scope: Literal["host", "fleet"]) -> bool:
        """Take another writer's totals; False if they are known already."""
        bucket, books = row.bucket_s // BUCKET_S, self.host if scope == "host" else self.fleet
        rows = books.setdefault(bucket, {})
        known = rows.get(row.writer)
        if known is not None and not newer(row, known):
            return False
        rows[row.writer] = row
        if bucket > self.newest:
            self._roll(bucket)
        for sign, tally in ((1, row.tally), (-1, known.tally if known else None)):
            if tally is not None:
                self.seen = [old + sign * getattr(tally, name) for old, name in zip(self.seen, QUALITY, strict=True)]
                if scope == "fleet":
                    quality, money = weights(self.newest - bucket)
                    self.fleet_sums.add(Counts(tally), sign * quality, sign * money)
        if scope == "host":
            self.stale = self.stale or bucket < self.newest - 1
            if bucket >= self.newest - 1:
                self._reopen()
        self._total()
        return True

    def folding(self) -> tuple[int, list[tuple[int, list[Counts | Tally]]]]:
        """What a fold from scratch needs: `fold` may then run without the lock."""
        numbers = sorted(number for number in self.own.keys() | self.host.keys() if number < self.newest - 1)
        own, host = self.own, self.host
        parts: list[tuple[int, list[Counts | Tally]]] = [
            (number, [*([own[number]] if number in own else ()), *(row.tally for row in host.get(number, {}).values())])
            for number in numbers
        ]
        return self.newest, parts

    def fold(self, newest: int, parts: Iterable[tuple[int, list[Counts | Tally]]]) -> Sums:
        """Everything that is over, in one sum: oldest first, so that the cap forgets the oldest."""
        total, cuts, last = Sums(), list(self.cuts), 0
        for number, counted in parts:
            total.fade((number - last) * BUCKET_S if last else 0)
            last = number
            while cuts and cuts[0][0] < number:
                share = cuts.pop(0)[1]
                total.quality = [value * share for value in total.quality]
            for it in counted:
                total.add(Counts(it) if isinstance(it, Tally) else it)
            total.less(self.excused.get(number, ()) or [0.0] * len(QUALITY))
            total.cap()
        for _, share in cuts:
            total.quality = [value * share for value in total.quality]
        total.fade((newest - 1 - last) * BUCKET_S if last else 0)
        return total

    def install(self, newest: int, closed: Sums) -> bool:
        """Take a fold that was made meanwhile; False if a bucket closed since."""
        if newest != self.newest:
            return False
        self.closed, self.stale = closed, False
        self._total()
        return True

    def forget(self, before_s: float) -> bool:
        """Drop buckets from before a moment; True if nothing is left."""
        for books in (self.own, self.host, self.fleet, self.excused):
            for number in [number for number in books if (number + 1) * BUCKET_S <= before_s]:
                del books[number]
        gone = self.seen = [0] * len(QUALITY)
        for it in self.totals(0.0):
            gone = [old + getattr(it, name) for old, name in zip(gone, QUALITY, strict=True)]
        self.seen = gone
        return not (self.own or self.host or self.fleet)

    def totals(self, since_s: float) -> Iterator[Counts | Tally]:
        """Exact totals of everybody since a moment, bucket by bucket."""
        for number, counts in self.own.items():
            if (number + 1) * BUCKET_S > since_s:
                yield counts
        for books in (self.host, self.fleet):
            for number, rows in books.items():
                if (number + 1) * BUCKET_S > since_s:
                    yield from (row.tally for row in rows.values())

    def stat(self, now_s: float, *, judged: bool) -> Stat:
        """The effective figures at a moment."""
        n, s = success(self.live.quality, judged=judged)
        share = min(1.0, CAP / n) if n else 1.0
        far_n, far_s = success(self.fleet_sums.quality, judged=judged) if self.fleet else (0.0, 0.0)
        far = min(FLEET_WEIGHT, FLEET_CAP / far_n) if far_n else 0.0
        idle = now_s - (self.newest + 1) * BUCKET_S
        fade = 2.0 ** (-idle / QUALITY_HALF_LIFE_S) if idle > 0 else 1.0
        samples = round(success(self.seen, judged=judged)[0])
        reading = [(n * share + far_n * far) * fade, (s * share + far_s * far) * fade, samples]
        return Stat._make([*reading, *self.live.money, self._latencies()])

    def _latencies(self) -> Latencies:
        parts: list[tuple[Mapping[int, float], int]] = []
        parts.extend((it.hist, it.scale) for it in (self.closed, self.host_open, self.fleet_sums) if it.hist)
        for number in (self.newest - 1, self.newest):
            if (own := self.own.get(number)) is not None:
                parts.extend(own.hist.parts())
        return Latencies(tuple(parts))

    def _counts(self, at_us: int) -> tuple[int, Counts]:
        bucket = at_us // _BUCKET_US
        if bucket > self.newest:
            self._roll(bucket)
        if (counts := self.own.get(bucket)) is None:
            counts = self.own[bucket] = Counts()
        return bucket, counts

    def _note(self, quality: tuple[int, int, int, int, int], bucket: int, weight: float) -> None:
        live, folded = self.live.quality, self.closed.quality if bucket < self.newest - 1 else None
        for index, value in enumerate(quality):
            if value:
                self.seen[index] += value
                live[index] += weight * value
                if folded is not None:
                    folded[index] += weight * value

    def _spend(self, it: Observation) -> None:
        """Keep what is read of MONEY in step with the totals, by index: this runs in every call."""
        money = self.live.money
        cost = it.cost_nano
        if cost is not None:
            money[0] += 1
            money[1] += cost
        if it.tokens_in is not None and it.tokens_out is not None:
            money[2] += 1
            money[3] += it.tokens_in
            money[4] += it.tokens_out
        if it.explored:
            money[5] += 1
            money[6] += cost or 0
        if (latency := timed_us(it)) > 0:
            money[7] += 1
            money[8] += latency

    def _roll(self, bucket: int) -> None:
        """Time has come to a new bucket: fold those before the last."""
        boundary, first = self.newest - 1, self.newest == 0
        self.newest = bucket
        if not first:
            self.closed.fade((bucket - 1 - boundary) * BUCKET_S)
            self.fleet_sums.fade((bucket - 1 - boundary) * BUCKET_S)
        for number in (boundary, boundary + 1):
            if number < bucket - 1:
                for it in self._both(number):
                    self.closed.add(it, *weights(bucket - 1 - number))
                self.closed.less(self.excused.get(number, ()) or [0.0] * len(QUALITY))
        self.closed.cap()
        self._reopen()
        self._total()

    def _both(self, number: int) -> Iterator[Counts]:
        if (own := self.own.get(number)) is not None:
            yield own
        for row in self.host.get(number, {}).values():
            yield Counts(row.tally)

    def _reopen(self) -> None:
        self.host_open = Sums()
        for number in (self.newest - 1, self.newest):
            for row in self.host.get(number, {}).values():
                self.host_open.add(Counts(row.tally))

    def _total(self) -> None:
        """What is read, from its parts."""
        live = self.live = Sums()
        live.quality = [a + b for a, b in zip(self.closed.quality, self.host_open.quality, strict=True)]
        money = zip(self.closed.money, self.host_open.money, self.fleet_sums.money, strict=True)
        live.money = [a + b + FLEET_WEIGHT * c for a, b, c in money]
        for number in (self.newest - 1, self.newest):
            if (counts := self.own.get(number)) is not None:
                live.quality = [old + getattr(counts, name) for old, name in zip(live.quality, QUALITY, strict=True)]
                live.money = [old + getattr(counts, name) for old, name in zip(live.money, MONEY, strict=True)]
            live.less(self.excused.get(number, ()) or [0.0] * len(QUALITY))


def newest_of(lines: Iterable[Line], known: list[float], wanted: int, *, judged: bool) -> tuple[int, float]:
    """The newest outcomes where this process has seen too few itself: whole buckets, scaled down."""
    buckets: dict[int, list[Tally | Counts]] = {}
    for line in lines:
        for books in (line.host, line.fleet):
            for number, rows in list(books.items()):
                buckets.setdefault(number, []).extend(row.tally for row in list(rows.values()))
    n, failed = float(len(known)), sum(known)
    for number in sorted(buckets, reverse=True):
        if n >= wanted:
            break
        there = Counts()
        for tally in buckets[number]:
            there.include(tally)
        more, good = success([getattr(there, name) for name in QUALITY], judged=judged)
        share = min(1.0, (wanted - n) / more) if more else 0.0
        n, failed = n + more * share, failed + (more - good) * share
    return round(n), failed
