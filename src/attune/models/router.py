"""Which target a call goes to: `decide` for calls (it may explore), `ask` for questions (it never does).

Pure: evidence, circuits, time and dice are arguments. Kept between decisions is only what can be made again from them:
the ranking of a question's targets, until its cell's evidence or the circuits change, and which target was the pick.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import cos, log, pi, sqrt
from typing import Any, Final

from attune.errors import NoModelAvailable
from attune.models.belief import believe
from attune.models.call import Target
from attune.models.circuits import Circuits
from attune.models.decision import Candidate, Candidates, Decision, Reason
from attune.models.question import Choice, Question
from attune.models.ranking import Health, Limits, Ranking, rank, reasons
from attune.models.registry import ModelTier
from attune.models.snapshot import Cell, Snapshot
from attune.models.survey import answer, candidates, refusal, tell

__all__ = ["Choice", "Question", "Router"]

_log = logging.getLogger(__name__)

SHARE: Final = 0.25  # of a cell's calls that may be trials
EPSILON: Final = 0.02  # of its calls that try a rejected model again
LATE_AGAIN: Final = 0.01  # of its calls that look past the latency limit
_STALE_S: Final = 30.0  # evidence fades, and other cells learn: rank anew after so long at the latest
_HEALTH_S: Final = 1.0  # the same while any circuit is not closed
_REMEMBERED: Final = 4096


class _Memo:
    """One question's ranking, while it holds."""

    __slots__ = (
        "again",
        "aside",
        "cell",
        "choices",
        "health",
        "pool",
        "question",
        "ranking",
        "snapshot",
        "turns",
        "until",
        "version",
    )

    def __init__(
        self, question: Question, snapshot: Snapshot, cell: Cell | None, ranking: Ranking, health: list[Health], version: int,
        until: float, turns: int,
    ) -> None:  # fmt: skip
        self.question, self.cell, self.ranking, self.health = question, cell, ranking, health
        self.snapshot, self.pool, self.aside = snapshot, snapshot.pool, snapshot.quarantined
        self.version, self.until, self.turns = version, until, turns
        self.again: Ranking | None = None
        self.choices: dict[tuple[int, str], Choice] = {}


class Router:
    """Chooses targets. One per process; holds no evidence. Threads may share it: what they race for is only remembered.

    With `explore=False` nothing is tried out, but sick models are still probed, by turns instead of dice.
    """

    def __init__(self, *, explore: bool = True, default_tier: ModelTier = ModelTier.CHEAP) -> None:
        self.explore = explore
        self.default_tier = default_tier
        self._memos: dict[tuple[Any, ...], _Memo] = {}

    def decide(
        self, question: Question, snapshot: Snapshot, circuits: Circuits, *, now: float, dice: Callable[[], float]
    ) -> Choice:
        """The target for a call made now (monotonic seconds), and its fallbacks. May explore: `dice` gives 0 <= x < 1.

        Raises NoModelAvailable if nothing is within `max_cost` (which never gives way; an unknown price is not within it),
        and with on_infeasible="raise" if the evidence says of every candidate that it misses a limit.
        """
        cell = snapshot.cells.get((question.workflow, question.stage))
        memo = self._memos.get(question.key)
        if (
            memo is None
            or (memo.cell is not cell and not _goes_on(memo.cell, cell))
            or memo.version != circuits.version
            or now >= memo.until
            or memo.question.targets is not question.targets
            or memo.aside is not snapshot.quarantined
            or (cell is None and memo.pool is not snapshot.pool)
        ):
            memo = self._rank(question, snapshot, cell, circuits, now, memo)
        choice = self._pick(memo, dice)
        tell(_log, question, choice.decision)
        return choice

    def ask(self, question: Question, snapshot: Snapshot, circuits: Circuits, *, now: float) -> Decision:
        """What attune would name, without exploring and without changing anything.

        The cheapest target with at least 10 samples at or over the floor and within the limits; else, by `on_infeasible`,
        the default tier's cheapest, the best within `max_cost`, or NoModelAvailable.
        """
        health = _health(question.targets, snapshot, circuits, now)
        decision = answer(question, snapshot, health, self.default_tier)
        tell(_log, question, decision)
        if question.on_infeasible == "raise" and not decision.constraint_satisfied:
            raise NoModelAvailable(refusal(question, decision), decision=decision)
        return decision

    def _rank(
        self, question: Question, snapshot: Snapshot, cell: Cell | None, circuits: Circuits, now: float, old: _Memo | None
    ) -> _Memo:  # fmt: skip
        version = circuits.version
        until = now + _STALE_S
        if circuits.quiet and not snapshot.quarantined:
            health = [Health.FINE] * len(question.targets)
        else:
            health = _health(question.targets, snapshot, circuits, now)
            until = now if Health.PROBE in health else now + _HEALTH_S
            waits = [
                circuits.retry_after_s(it.provider, it.model, endpoint=it.endpoint, now=now)
                for it, state in zip(question.targets, health, strict=True)
                if state is Health.SHUT
            ]
            until = min([until, *(now + wait for wait in waits if wait > 0)])
        incumbent = old.ranking.pick if old is not None else None
        ranking = rank(_beliefs(question, snapshot, cell), health, _limits(question), incumbent=incumbent)
        memo = _Memo(question, snapshot, cell, ranking, health, version, until, old.turns if old is not None else 0)
        if len(self._memos) >= _REMEMBERED:
            self._memos.clear()
        self._memos[question.key] = memo
        return memo

    def _pick(self, memo: _Memo, dice: Callable[[], float]) -> Choice:
        question, ranking = memo.question, memo.ranking
        if ranking.pick is None or (
            question.on_infeasible == "raise" and not ranking.proven and not ranking.hopeful and not ranking.probes
        ):
            decision = _decision(memo, ranking, ranking.pick or question.default, "best", 1.0)
            tell(_log, question, decision)
            raise NoModelAvailable(refusal(question, decision), decision=decision)
        if ranking.probes:
            return _choice(memo, ranking, ranking.probes[0], "probe", 1.0, dice)
        for i in ranking.aside:
            if self._due(memo, i, dice):
                return _choice(memo, ranking, i, "probe", _probe_share(memo, i), dice)
        if not self.explore:
            return _choice(memo, ranking, ranking.pick, ranking.reason, 1.0, dice)
        if ranking.late_out and dice() < LATE_AGAIN:
            ranking = _again(memo)
        return _explored(memo, ranking, dice)

    def _due(self, memo: _Memo, i: int, dice: Callable[[], float]) -> bool:
        if self.explore:
            return dice() < _probe_share(memo, i)
        memo.turns += 1
        due = memo.turns * _probe_share(memo, i) >= 1.0
        memo.turns = 0 if due else memo.turns
        return due


def _goes_on(then: Cell | None, now: Cell | None) -> bool:
    """Whether since the ranking there were only successes of one model, and too few of them (1 %) to matter."""
    return then is not None and now is not None and then.run == now.run and now.size - then.size <= then.size // 100


def _explored(memo: _Memo, ranking: Ranking, dice: Callable[[], float]) -> Choice:
    pick = ranking.pick
    assert pick is not None
    left = 1.0
    if ranking.trial is not None:
        if dice() < SHARE:
            return _choice(memo, ranking, ranking.trial, "trial", SHARE, dice)
        left -= SHARE
    if ranking.retry:
        if dice() < EPSILON:
            return _choice(
                memo, ranking, _drawn(memo, ranking, dice), "retry", left * EPSILON / len(ranking.retry), dice
            )
        left *= 1.0 - EPSILON
    return _choice(memo, ranking, pick, ranking.reason, left, dice)


def _drawn(memo: _Memo, ranking: Ranking, dice: Callable[[], float]) -> int:
    """Thompson sampling among the rejected: the cheapest whose drawn success meets the floor, else the best drawn."""
    beliefs = _beliefs(memo.question, memo.snapshot, memo.cell)
    drawn = {}
    for i in ranking.retry:
        normal = sqrt(-2.0 * log(1.0 - dice())) * cos(2.0 * pi * dice())
        drawn[i] = beliefs[i].mean + beliefs[i].sd * normal
    good = [i for i in drawn if drawn[i] >= memo.question.min_success_rate]
    return min(good, key=lambda i: beliefs[i].cost) if good else max(drawn, key=lambda i: drawn[i])


def _again(memo: _Memo) -> Ranking:
    if memo.again is None:
        beliefs = _beliefs(memo.question, memo.snapshot, memo.cell)
        memo.again = rank(beliefs, memo.health, _limits(memo.question), incumbent=memo.ranking.pick, again=True)
    return memo.again


def _choice(
    memo: _Memo, ranking: Ranking, i: int, reason: Reason, probability: float, dice: Callable[[], float]
) -> Choice:
    question = memo.question
    if reason == "best" and question.on_infeasible == "default":
        default = question.default
        if default in ranking.order and memo.health[default] is Health.FINE:
            i, reason = default, "default"
    share = question.targets[i].max_share
    if share is not None and dice() >= share:
        i = next((j for j in ranking.order if j != i and memo.health[j] is Health.FINE), i)
        probability = 1.0 - share
    if (known := memo.choices.get((i, reason))) is not None and ranking is memo.ranking:
        return known
    order = (i, *(j for j in ranking.order if j != i))
    choice = memo.choices[i, reason] = Choice(_decision(memo, ranking, i, reason, probability), order)
    return choice


def _decision(memo: _Memo, ranking: Ranking, i: int, reason: Reason, probability: float) -> Decision:
    question, snapshot, cell, health = memo.question, memo.snapshot, memo.cell, memo.health

    def explain() -> tuple[Candidate, ...]:
        beliefs = _beliefs(question, snapshot, cell)
        chosen = None if ranking.pick is None else i
        out = reasons(ranking, beliefs, question.min_success_rate)
        return candidates(question.targets, beliefs, health, out, chosen=chosen)

    return Decision(
        model=question.targets[i].model,
        provider=question.targets[i].provider,
        reason=reason,
        constraint_satisfied=i in ranking.proven and not ranking.gave_way,
        explored=reason in {"trial", "retry"},
        probability=probability,
        gave_way=ranking.gave_way,
        candidates=Candidates(explain),
    )


def _beliefs(question: Question, snapshot: Snapshot, cell: Cell | None) -> Any:
    limit = question.max_latency_ms
    return believe(
        question.targets,
        cell,
        snapshot,
        limit_us=None if limit is None else limit * 1e3,
        tokens=question.expected_tokens,
    )


def _limits(question: Question) -> Limits:
    return Limits(
        floor=question.min_success_rate,
        max_cost_nano=question.max_cost_nano,
        max_late=question.max_latency_ms is not None,
        tokens=question.expected_tokens,
        windows=tuple(it.context_window for it in question.targets) if question.expected_tokens else (),
    )


def _health(targets: tuple[Target, ...], snapshot: Snapshot, circuits: Circuits, now: float) -> list[Health]:
    states = []
    for it in targets:
        if not circuits.quiet and not circuits.allows(it.provider, it.model, endpoint=it.endpoint, now=now):
            states.append(Health.SHUT)
        elif not circuits.quiet and circuits.state(it.provider, it.model, endpoint=it.endpoint, now=now) != "closed":
            states.append(Health.PROBE)
        else:
            states.append(Health.SET_ASIDE if (it.provider, it.model) in snapshot.quarantined else Health.FINE)
    return states


def _probe_share(memo: _Memo, i: int) -> float:
    it = memo.question.targets[i]
    return memo.aside.get((it.provider, it.model), 0.0)
