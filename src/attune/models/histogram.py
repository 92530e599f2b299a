"""Latencies as base-2 exponential buckets, the same as in OTLP: counts add up exactly in any order.

Bucket `i` at scale `s` holds values over `2**(i / 2**s)` up to and including `2**((i + 1) / 2**s)`. Scale 4 errs by at most
2.2 % of a value (half a bucket). More than MAX_BUCKETS distinct buckets are merged in pairs, `index >> 1`, one scale
down; which scale results depends on the set of values alone. This file knows neither units nor time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil, frexp, log2
from typing import Final, TypeVar

SCALE: Final = 4
MAX_BUCKETS: Final = 160  # the default of the OpenTelemetry SDKs
_WAITING: Final = 64

_N = TypeVar("_N", int, float)


def index_of(value: float, scale: int = SCALE) -> int:
    """The bucket of a value; what is not positive goes where 1 goes."""
    if value <= 1:
        return -1
    if scale > 0:
        return ceil(log2(value) * (1 << scale)) - 1
    mantissa, exponent = frexp(value)
    return (exponent - 1 if mantissa > 0.5 else exponent - 2) >> -scale


def lower_bound(index: int, scale: int) -> float:
    """The value over which a bucket begins."""
    return float(2.0 ** (index * 2.0**-scale))


def downscaled(buckets: Mapping[int, _N], by: int) -> dict[int, _N]:
    """The same counts, `by` scales coarser."""
    coarse: dict[int, _N] = {}
    for index, count in buckets.items():
        key = index >> by
        coarse[key] = coarse[key] + count if key in coarse else count
    return coarse


def fitted(buckets: dict[int, _N], scale: int) -> tuple[dict[int, _N], int]:
    """The same counts in at most MAX_BUCKETS buckets."""
    while len(buckets) > MAX_BUCKETS:
        buckets, scale = downscaled(buckets, 1), scale - 1
    return buckets, scale


def added(
    mine: Mapping[int, _N], scale: int, other: Iterable[tuple[int, _N]], other_scale: int
) -> tuple[dict[int, _N], int]:
    """Both sets of counts together, at the coarser of the two scales or below."""
    least = min(scale, other_scale)
    total = downscaled(mine, scale - least) if scale > least else dict(mine)
    shift = other_scale - least
    for index, count in other:
        key = index >> shift
        total[key] = total[key] + count if key in total else count
    return fitted(total, least)


class Latest:
    """Counts under way, cheap to hand out: what came last is kept apart, so that a reading copies only that."""

    __slots__ = ("fresh", "main", "scale", "waiting")

    def __init__(self, buckets: Mapping[int, int], scale: int = SCALE) -> None:
        self.main = dict(buckets)  # replaced, never written to
        self.scale = scale
        self.fresh: dict[int, int] = {}
        self.waiting = 0

    def count(self, value: float) -> None:
        """Count one value."""
        index = index_of(value, self.scale)
        self.fresh[index] = self.fresh.get(index, 0) + 1
        self.waiting += 1
        if self.waiting >= _WAITING:
            self.include((), self.scale)

    def include(self, buckets: Iterable[tuple[int, int]], scale: int) -> None:
        """Add other counts."""
        main, at = added(self.main, self.scale, self.fresh.items(), self.scale)
        self.main, self.scale = added(main, at, buckets, scale)
        self.fresh, self.waiting = {}, 0

    def whole(self) -> tuple[dict[int, int], int]:
        """All counts."""
        return added(self.main, self.scale, list(self.fresh.items()), self.scale)

    def parts(self) -> tuple[tuple[Mapping[int, int], int], ...]:
        """All counts, in parts that never change."""
        if not self.fresh:
            return ((self.main, self.scale),) if self.main else ()
        fresh = (dict(self.fresh), self.scale)
        return ((self.main, self.scale), fresh) if self.main else (fresh,)


def count_over(buckets: Mapping[int, _N], scale: int, limit: float) -> float:
    """How many values lie over a limit, as far as buckets tell: the limit's own bucket is within it."""
    last = index_of(limit, scale)
    return sum(count for index, count in buckets.items() if index > last)


def quantile(buckets: Mapping[int, _N], scale: int, q: float) -> float | None:
    """The value below which a share `q` of the counts lies: the middle of its bucket. None without counts."""
    total = sum(buckets.values())
    if total <= 0:
        return None
    rank, seen = q * total, 0.0
    ordered = sorted(buckets)
    for index in ordered:
        seen += buckets[index]
        if seen >= rank:
            return (lower_bound(index, scale) + lower_bound(index + 1, scale)) / 2
    return lower_bound(ordered[-1] + 1, scale)
