"""Questions about evidence: the answer that never explores, each candidate in numbers, and the text of a refusal.

It judges by plain means where there are 10 samples or more, so that what it says can be checked with a pencil. Calls
are decided by `ranking.py`, which is more careful.
"""

from __future__ import annotations

from collections.abc import Sequence
from logging import DEBUG, Logger
from typing import Final

from attune.models.belief import Belief, believe
from attune.models.call import CircuitState, Target
from attune.models.decision import Candidate, Candidates, Decision, Elimination, Reason
from attune.models.question import Question
from attune.models.ranking import LATE_SHARE, LEAST, TOLERANCE, Z_RETRY, Health
from attune.models.registry import ModelTier
from attune.models.snapshot import Snapshot

_STATES: Final[tuple[CircuitState, ...]] = ("closed", "half_open", "closed", "open")  # by Health
_ROUNDING: Final = 1e-9  # discounting multiplies; 8 of 10 is 80 % all the same


def answer(question: Question, snapshot: Snapshot, health: Sequence[Health], default_tier: ModelTier) -> Decision:
    """Name the cheapest target that meets every limit on 10 samples or more; else the default, or the best."""
    limit = question.max_latency_ms
    limit_us = None if limit is None else limit * 1e3
    cell = snapshot.cell(question.workflow, question.stage)
    beliefs = [_plain(it) for it in believe(question.targets, cell, snapshot, limit_us=limit_us)]
    out = [_ruled_out(it, state, question, limit_us) for it, state in zip(beliefs, health, strict=True)]
    meets = [i for i, why in enumerate(out) if why is None]
    reason: Reason = "proven"
    if meets:
        chosen = min(meets, key=lambda i: beliefs[i].cost)
        out = ["costlier" if why is None and i != chosen else why for i, why in enumerate(out)]
    else:
        chosen, reason = _fallback(question, beliefs, health, out, default_tier)
    target = question.targets[chosen]
    return Decision(
        model=target.model,
        provider=target.provider,
        reason=reason,
        constraint_satisfied=bool(meets),
        candidates=Candidates(candidates(question.targets, beliefs, health, out, chosen=chosen if meets else None)),
    )


def _plain(it: Belief) -> Belief:
    stat = it.stat
    if stat.samples < LEAST or not stat.n:
        return it
    cost = (stat.cost_nano / stat.costed, True) if stat.costed else (it.cost, it.cost_known)
    return it._replace(mean=stat.s / stat.n, cost=cost[0], cost_known=cost[1])


def _ruled_out(it: Belief, state: Health, question: Question, limit_us: float | None) -> Elimination | None:
    if question.max_cost_nano is not None and (not it.cost_known or it.cost > question.max_cost_nano * (1 + _ROUNDING)):
        return "max_cost"
    if state is Health.SHUT:
        return "circuit"
    if state is Health.SET_ASIDE:
        return "quarantined"
    if it.stat.samples < LEAST:
        return "insufficient_data"
    if limit_us is not None and it.stat.latencies.over(limit_us) > (LATE_SHARE + _ROUNDING) * it.stat.timed:
        return "max_latency_ms"
    return "min_success_rate" if it.mean < question.min_success_rate - _ROUNDING else None


def _fallback(
    question: Question, beliefs: Sequence[Belief], health: Sequence[Health], out: Sequence[Elimination | None], tier: ModelTier
) -> tuple[int, Reason]:  # fmt: skip
    able = [i for i, why in enumerate(out) if why not in {"max_cost", "circuit"}]
    if question.on_infeasible == "best" and able:
        top = max(beliefs[i].mean for i in able)
        return min((i for i in able if beliefs[i].mean >= top - TOLERANCE), key=lambda i: beliefs[i].cost), "best"
    usual = [i for i, it in enumerate(question.targets) if it.tier == tier]
    usual = [i for i in usual if health[i] is not Health.SHUT] or usual
    return min(usual, key=lambda i: beliefs[i].cost, default=question.default), "default"


def candidates(
    targets: Sequence[Target], beliefs: Sequence[Belief], health: Sequence[Health], out: Sequence[Elimination | None], *,
    chosen: int | None,
) -> tuple[Candidate, ...]:  # fmt: skip
    """Each target in numbers; `chosen` was eliminated by nothing. `lower` and `upper` hold 9 in 10 of what is likely."""
    return tuple(
        Candidate(
            provider=target.provider,
            model=target.model,
            tier=target.tier,
            sample_size=it.stat.samples,
            success_rate=it.stat.s / it.stat.n if it.stat.n else None,
            lower=max(0.0, it.mean - Z_RETRY * it.sd),
            upper=min(1.0, it.mean + Z_RETRY * it.sd),
            cost=it.cost * 1e-9 if it.cost_known else None,
            p90_latency_ms=None if (p90 := it.stat.latencies.quantile_us(0.9)) is None else p90 / 1e3,
            state=_STATES[state],
            eliminated_by=None if index == chosen else why,
        )
        for index, (target, it, state, why) in enumerate(zip(targets, beliefs, health, out, strict=True))
    )


def refusal(question: Question, decision: Decision) -> str:
    """Why no model is available: for each candidate its constraint, then what to do."""
    limits = {
        "max_cost": None if question.max_cost_nano is None else f"{question.max_cost_nano * 1e-9:g} USD",
        "max_latency_ms": question.max_latency_ms,
        "min_success_rate": question.min_success_rate,
    }
    said = ", ".join(f"{name}={value}" for name, value in limits.items() if value is not None)
    each = "; ".join(f"{it.provider}/{it.model}: {_why(it)}" for it in decision.candidates)
    blamed = [name for name in limits if any(it.eliminated_by == name for it in decision.candidates)]
    remedy = f"Relax {' or '.join(blamed)}" if blamed else "Add a candidate"
    return f"No model is available for {question.workflow}/{question.stage} within {said}. {each}. {remedy}, or add a target."


def _why(it: Candidate) -> str:
    if it.eliminated_by == "max_cost":
        return "max_cost (its price is unknown)" if it.cost is None else f"max_cost (expected {it.cost:.6g} USD)"
    if it.eliminated_by == "min_success_rate" and it.success_rate is not None:
        return f"min_success_rate ({it.success_rate:.1%} of {it.sample_size})"
    return it.eliminated_by or "not eliminated"


def tell(log: Logger, question: Question, decision: Decision) -> None:
    """Log the decision at DEBUG: a line for what was selected, and one for each candidate that was eliminated."""
    if not log.isEnabledFor(DEBUG):
        return
    where = f"{question.workflow}/{question.stage}"
    for it in decision.candidates:
        if it.eliminated_by is not None:
            log.debug("%s: %s/%s eliminated by %s", where, it.provider, it.model, it.eliminated_by)
    log.debug("%s: selected %s/%s (%s)", where, decision.provider, decision.model, decision.reason)
