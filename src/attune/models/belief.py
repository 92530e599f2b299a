"""What evidence lets us expect of each target at one workflow and stage: success, cost, lateness, each with its doubt.

A target with few samples here is judged by its record elsewhere and by how hard this cell has been for others. Says what
is likely; `ranking.py` says what to do about it. No dice, no clock, no memory.
"""

from __future__ import annotations

from math import sqrt
from types import MappingProxyType
from typing import Final, NamedTuple

from attune.models.call import Target
from attune.models.snapshot import NOTHING, Cell, Snapshot, Stat

# Constants chosen by replay of public outcome tables (MMLU-Pro, RouteLLM; seeds 100-109, 2026-11), reported on seeds 0-9.
STRENGTH: Final = 12.0  # prior strength, in samples
POOL_STRENGTH: Final = 6.0
PRESUMED: Final = 0.8  # success presumed of any model, whatever its tier
COST_STRENGTH: Final = 3.0
SURE_OF_COST: Final = 10.0  # from so many costed calls on, their mean is the cost
LATE_STRENGTH: Final = 6.0
USUAL_TOKENS: Final = (1000.0, 500.0)  # in and out, before any call told

_TIER_COST: Final = MappingProxyType({"cheap": 1.0, "capable": 4.0, "premium": 20.0})  # ratios, where no price is known


class Belief(NamedTuple):
    """Expectations of one target. `cost` in nano-USD (assumed where `cost_known` is False), rates 0..1.

    `late` is the share of calls over the latency limit, 0.0 without a limit; `elsewhere` the success over all cells.
    """

    n: float
    mean: float
    sd: float
    elsewhere: float
    prior: float
    cost: float
    cost_known: bool
    late: float
    late_sd: float
    stat: Stat


def believe(
    targets: tuple[Target, ...],
    cell: Cell | None,
    snapshot: Snapshot,
    *,
    limit_us: float | None = None,
    tokens: tuple[float, float] | None = None,
) -> list[Belief]:
    """The expectations of every target, in their order. `tokens` (in, out) are this call's own, if they are known."""
    known = cell.stats if cell else {}
    stats, usual = [], []
    observed = expected = POOL_STRENGTH * PRESUMED
    for it in targets:
        name = (it.provider, it.model)
        pool = snapshot.pool.get(name)
        rate = (pool.s + POOL_STRENGTH * PRESUMED) / (pool.n + POOL_STRENGTH) if pool is not None else PRESUMED
        stat = known.get(name, NOTHING)
        stats.append(stat)
        usual.append(rate)
        observed += stat.s
        expected += stat.n * rate
    ease = min(1.25, max(0.4, observed / expected))
    costs = _costs(targets, stats, tokens or _tokens(stats, snapshot))
    late = _late(targets, stats, snapshot, limit_us) if limit_us is not None else [(0.0, 0.0)] * len(targets)
    beliefs = []
    for stat, rate, (cost, priced), (share, doubt) in zip(stats, usual, costs, late, strict=True):
        prior = rate * ease
        prior = 0.03 if prior < 0.03 else min(prior, 0.97)
        weight = stat.n + STRENGTH
        mean = (stat.s + STRENGTH * prior) / weight
        sd = sqrt(mean * (1.0 - mean) / (weight + 1.0))
        beliefs.append(Belief(stat.n, mean, sd, rate, prior, cost, priced, share, doubt, stat))
    return beliefs


def _tokens(stats: list[Stat], snapshot: Snapshot) -> tuple[float, float]:
    given, got = snapshot.tokens or USUAL_TOKENS
    n, given, got = COST_STRENGTH, COST_STRENGTH * given, COST_STRENGTH * got
    for stat in stats:
        if stat.tokened:
            n += stat.tokened
            given += stat.tokens_in
            got += stat.tokens_out
    return given / n, got / n


def _costs(targets: tuple[Target, ...], stats: list[Stat], tokens: tuple[float, float]) -> list[tuple[float, bool]]:
    costs = [_cost(it, stat, tokens) for it, stat in zip(targets, stats, strict=True)]
    if None not in costs:
        return [(cost, True) for cost in costs if cost is not None]
    dearest = max((cost for cost in costs if cost is not None), default=None)
    assumed = [_TIER_COST.get(it.tier or "", 4.0) if dearest is None else 1.01 * dearest for it in targets]
    return [(guess, False) if cost is None else (cost, True) for cost, guess in zip(costs, assumed, strict=True)]


def _cost(target: Target, stat: Stat, tokens: tuple[float, float]) -> float | None:
    if stat.costed >= SURE_OF_COST:
        return stat.cost_nano / stat.costed
    if (price := target.price) is None:
        return stat.cost_nano / stat.costed if stat.costed else None
    if price.steps:
        price = next((step for over, step in reversed(price.steps) if tokens[0] > over), price)
    listed = (tokens[0] * price.input + tokens[1] * price.output) * 1e-6
    return (stat.cost_nano + COST_STRENGTH * listed) / (stat.costed + COST_STRENGTH)


def _late(
    targets: tuple[Target, ...], stats: list[Stat], snapshot: Snapshot, limit_us: float
) -> list[tuple[float, float]]:
    pools = [snapshot.pool.get((it.provider, it.model), NOTHING) for it in targets]
    over = [stat.latencies.over(limit_us) for stat in stats]
    usual = [(pool.latencies.over(limit_us) + 0.5) / (pool.timed + 5.0) for pool in pools]
    expected = 1.0 + sum(stat.timed * share for stat, share in zip(stats, usual, strict=True))
    slower = min(4.0, max(0.25, (1.0 + sum(over)) / expected))
    shares = []
    for stat, late, share in zip(stats, over, usual, strict=True):
        prior = min(0.9, max(0.005, share * slower))
        weight = stat.timed + LATE_STRENGTH
        mean = (late + LATE_STRENGTH * prior) / weight
        shares.append((mean, sqrt(max(mean * (1.0 - mean), 0.0) / (weight + 1.0))))
    return shares
