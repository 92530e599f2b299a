"""Which target to take, which to try, which to fall back on, and what rules each of the others out: all but the dice.

Meet the floor at the lowest cost within the limits. `max_cost` never gives way; the latency limit yields to the floor
where it would cost more than 15 points of success. A pure function of beliefs and of each target's health.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from math import erfc, log, sqrt
from typing import Final

from attune.models.belief import STRENGTH, Belief
from attune.models.decision import Elimination, Reason

LEAST: Final = 10  # samples to be proven
TRIAL: Final = 40  # samples that end a trial
Z_EARLY, Z_LATER, Z_TRIAL, Z_RETRY = 0.8, 0.25, 1.3, 1.64
TOLERANCE: Final = 0.03  # as good as the best, where nothing is proven
CHEAPER: Final = 0.95  # worth a trial: at least 5 % cheaper than what is proven
ALLOWANCE: Final = 20.0  # exploring may overspend by so many calls,
PART, PART_UNPROVEN = 0.10, 0.5  # and by this part of the cell's bill
LATE_SHARE: Final = 0.10  # within a latency limit: at most so many calls over it
LATE_TRIES: Final = 20
GIVE_WAY: Final = 0.15
PROBE_MARGIN: Final = 0.05


class Health(IntEnum):
    """What the circuits and the model's own record say of a target now."""

    FINE = 0
    PROBE = 1  # half-open, and a probe would be admitted
    SET_ASIDE = 2  # quarantined on its own record
    SHUT = 3  # open, cooling, or its probe is under way


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The constraints of a question. Costs in nano-USD."""

    floor: float
    max_cost_nano: float | None = None
    max_late: bool = False  # whether there is a latency limit
    tokens: tuple[float, float] | None = None
    windows: tuple[int | None, ...] = ()


@dataclass(slots=True, kw_only=True)
class Ranking:
    """The outcome: indices of targets. Made once per change of evidence, then only read."""

    pick: int | None  # None: nothing is within max_cost
    reason: Reason
    satisfied: bool
    proven: list[int]
    trial: int | None = None  # the next trial, if one is due and affordable
    hopeful: bool = False  # something may yet meet the floor
    retry: list[int] = field(default_factory=list)
    probes: list[int] = field(default_factory=list)
    aside: list[int] = field(default_factory=list)  # quarantined ones that would be the pick
    order: tuple[int, ...] = ()  # all within max_cost, best first
    out: list[Elimination | None] = field(default_factory=list)  # by limits and health; `reasons` knows the rest
    gave_way: tuple[str, ...] = ()
    late_out: bool = False  # the latency limit rules somebody out who may be tried again


def rank(
    beliefs: list[Belief], health: list[Health], limits: Limits, *, incumbent: int | None = None, again: bool = False
) -> Ranking:
    """Rank all targets. `again` lets those in that the latency limit rules out, but perhaps no longer should."""
    out: list[Elimination | None] = [None] * len(beliefs)
    able = _affordable(beliefs, limits, out)
    if not able:
        return Ranking(pick=None, reason="best", satisfied=False, proven=[], out=out)
    well = all(state is Health.FINE for state in health)
    live = able if well else [i for i in able if health[i] is Health.FINE]
    for i in () if well else able:
        if health[i] is not Health.FINE:
            out[i] = "quarantined" if health[i] is Health.SET_ASIDE else "circuit"
    pool = live or [i for i in able if health[i] is not Health.SHUT] or able
    gave_way: tuple[str, ...] = () if live else ("circuit",)
    late_out = False
    if limits.max_late:
        timely = _timely(pool, beliefs, incumbent, again=again)
        late_out = len(timely) < len(pool)
        pool, gave_way = _yielding(pool, timely, beliefs, limits, out, gave_way)
    ranking = _choose(pool, beliefs, limits, incumbent)
    ranking.out = out
    ranking.gave_way, ranking.late_out = gave_way, late_out
    ranking.satisfied = ranking.satisfied and not gave_way
    if not well:
        _judge_sick(able, beliefs, health, limits, ranking)
    ranking.order = _order(able, beliefs, health, limits, ranking)
    return ranking


def _affordable(beliefs: list[Belief], limits: Limits, out: list[Elimination | None]) -> list[int]:
    fits = list(range(len(beliefs)))
    if limits.tokens is not None and limits.windows:
        need = sum(limits.tokens)
        roomy = [i for i in fits if (window := limits.windows[i]) is None or need <= window]
        for i in fits:
            if roomy and i not in roomy:
                out[i] = "context_window"
        fits = roomy or fits  # if none seems to hold it, the provider shall say so, not we
    if (most := limits.max_cost_nano) is None:
        return fits
    able = []
    for i in fits:
        if beliefs[i].cost_known and beliefs[i].cost <= most:
            able.append(i)
        else:
            out[i] = "max_cost"
    return able


def _timely(pool: list[int], beliefs: list[Belief], incumbent: int | None, *, again: bool) -> list[int]:
    fine = []
    for i in pool:
        it = beliefs[i]
        if it.stat.timed >= LATE_TRIES:
            within = it.late <= LATE_SHARE + (0.02 if i == incumbent else 0.0)
        else:
            within = it.late - it.late_sd <= LATE_SHARE
        if within or (again and it.late - 2 * it.late_sd <= LATE_SHARE):
            fine.append(i)
    return fine


def _yielding(
    pool: list[int], timely: list[int], beliefs: list[Belief], limits: Limits, out: list[Elimination | None],
    gave_way: tuple[str, ...],
) -> tuple[list[int], tuple[str, ...]]:  # fmt: skip
    if len(timely) == len(pool):
        return pool, gave_way
    kept, told = timely, gave_way
    if not timely:
        least = min(beliefs[i].late for i in pool)
        kept, told = [i for i in pool if beliefs[i].late <= least + TOLERANCE], (*gave_way, "max_latency_ms")
    best = max(beliefs[i].mean for i in pool)
    if max(beliefs[i].mean for i in kept) < min(limits.floor, best) - GIVE_WAY:
        return pool, (*gave_way, "max_latency_ms")
    for i in pool:
        if i not in kept:
            out[i] = "max_latency_ms"
    return kept, told


def _is_proven(it: Belief, floor: float, *, incumbent: bool) -> bool:
    if it.n >= TRIAL and it.mean - (0.0 if incumbent else Z_LATER) * it.sd >= floor:
        return True
    return it.n >= LEAST and it.mean - Z_EARLY * it.sd >= floor


def _choose(pool: list[int], beliefs: list[Belief], limits: Limits, incumbent: int | None) -> Ranking:
    floor = limits.floor
    proven = [i for i in pool if _is_proven(beliefs[i], floor, incumbent=i == incumbent)]
    if proven:
        pick = min(proven, key=lambda i: beliefs[i].cost)
        cheaper = [i for i in pool if i not in proven and beliefs[i].cost < CHEAPER * beliefs[pick].cost]
        trials = [i for i in cheaper if beliefs[i].n < TRIAL and beliefs[i].mean + Z_TRIAL * beliefs[i].sd >= floor]
        retry = [i for i in cheaper if i not in trials and beliefs[i].mean + Z_RETRY * beliefs[i].sd >= floor]
        part = PART
    else:
        top = max(beliefs[i].mean for i in pool)
        pick = min((i for i in pool if beliefs[i].mean >= top - TOLERANCE), key=lambda i: beliefs[i].cost)
        trials = [i for i in pool if _may_meet(beliefs[i], floor)]
        hope = min(floor, beliefs[pick].mean + TOLERANCE)
        retry = [i for i in pool if i != pick and i not in trials and beliefs[i].mean + Z_RETRY * beliefs[i].sd >= hope]
        part = PART_UNPROVEN
    left = max(0.0, _left_to_explore(beliefs, pick, part))
    due = max(trials, key=lambda i: _worth(beliefs[i], floor), default=None)
    if due is not None and (due == pick or beliefs[due].cost - beliefs[pick].cost > left):
        due = None
    return Ranking(
        pick=pick, reason="proven" if proven else "best", satisfied=bool(proven), proven=proven, trial=due,
        hopeful=bool(trials), retry=[i for i in retry if beliefs[i].cost - beliefs[pick].cost <= left],
    )  # fmt: skip


def _may_meet(it: Belief, floor: float) -> bool:
    """While nothing is proven, little tried is judged by the better of this cell's prior and the record elsewhere."""
    mean = it.mean
    if it.n < STRENGTH:
        mean = (it.stat.s + STRENGTH * max(it.prior, it.elsewhere)) / (it.n + STRENGTH)
    return it.n < TRIAL and mean + Z_TRIAL * it.sd >= floor


def _worth(it: Belief, floor: float) -> float:
    meets = 0.5 * erfc((floor - it.mean) / max(1e-6, it.sd) / sqrt(2))
    return log(max(meets, 1e-9)) - 0.5 * log(max(it.cost, 1e-3))


def _left_to_explore(beliefs: list[Belief], pick: int, part: float) -> float:
    base = beliefs[pick].cost
    spent = sum(it.stat.cost_nano for it in beliefs)
    extra = sum(max(0.0, it.stat.explored_cost_nano - it.stat.explored * base) for it in beliefs if it.stat.explored)
    return ALLOWANCE * base + part * (spent - extra) - extra


def _judge_sick(able: list[int], beliefs: list[Belief], health: list[Health], limits: Limits, ranking: Ranking) -> None:
    """A sick target is probed only where it would be the pick."""
    pick = ranking.pick
    assert pick is not None
    for i in able:
        wanted = not ranking.proven or beliefs[i].cost < beliefs[pick].cost
        if i == pick or health[i] not in {Health.PROBE, Health.SET_ASIDE} or not wanted:
            continue
        if beliefs[i].mean >= min(limits.floor, beliefs[pick].mean) - PROBE_MARGIN:
            (ranking.probes if health[i] is Health.PROBE else ranking.aside).append(i)


def _order(
    able: list[int], beliefs: list[Belief], health: list[Health], limits: Limits, ranking: Ranking
) -> tuple[int, ...]:
    keys = []
    for i in able:
        it = beliefs[i]
        proven = i in ranking.proven
        meets = proven or it.mean >= limits.floor
        late = ranking.out[i] == "max_latency_ms"
        keys.append((health[i], late, 0 if proven else 1 if meets else 2, it.cost if meets else -it.mean, i))
    keys.sort()
    return tuple(key[4] for key in keys)


def reasons(ranking: Ranking, beliefs: list[Belief], floor: float) -> list[Elimination | None]:
    """For each target the one thing that rules it out; None for the pick. Worked out only when somebody asks."""
    told = list(ranking.out)
    for i, it in enumerate(beliefs):
        if told[i] is None and i != ranking.pick:
            untried = it.n < TRIAL and _may_meet(it, floor)
            told[i] = "costlier" if i in ranking.proven else "insufficient_data" if untried else "min_success_rate"
    return told
