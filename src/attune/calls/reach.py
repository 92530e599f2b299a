"""Which of a question's targets a request can go to at all, before the router is asked.

A request that is bound to an account stays with its client; what a target refused for this shape of request, it is not
asked again. Both only take targets away, never the last one. A request that may go anywhere costs a look at the targets.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from attune.calls.underway import Call
from attune.clients.asked import FREE, Binding, RequestReader, Shape
from attune.clients.dialect import Dialect, Request
from attune.models.belief import believe
from attune.models.call import Target
from attune.models.decision import Candidate, Candidates, Decision, Elimination
from attune.models.failures import FailureKind
from attune.models.question import Choice, Question
from attune.models.ranking import Health
from attune.models.snapshot import Snapshot
from attune.models.survey import candidates

log = logging.getLogger("attune.calls")


class Away(NamedTuple):
    """What was taken away from a question, and why."""

    question: Question
    targets: tuple[tuple[Target, Elimination], ...]


def out_of(call: Call) -> Away | None:
    """Take away what this call's request cannot go to: its question is then one among the rest. None: nothing is."""
    question = call.question
    if not _may_differ(call, question.targets):
        return None
    default = question.targets[question.default]
    if not (out := call.safely("reach", _out, call, question.targets, default)):
        return None
    call.question = call.runtime.memory.narrowed(question, out)
    return Away(question, tuple((question.targets[i], why) for i, why in out.items()))


def left(call: Call, targets: list[Target]) -> list[Target]:
    """Of targets that were decided before the request was seen, or that a pinned model has, those that can take it."""
    if not _may_differ(call, targets):
        return targets
    question = call.question
    default = None if call.pinned else question.targets[question.default]
    out = call.safely("reach", _out, call, targets, default) or {}
    rest = [target for i, target in enumerate(targets) if i not in out]
    if call.decision is not None and rest[0] is not targets[0]:
        first = rest[0]
        call.decision = replace(
            call.decision, model=first.model, provider=first.provider, explored=False, probability=1.0
        )
    if out and call.decision is not None:
        away = Away(question, tuple((targets[i], why) for i, why in out.items()))
        decision, snapshot = call.decision, call.runtime.snapshot()
        call.decision = _told(decision, away, snapshot) if call.pinned else _corrected(decision, away)
    return rest


def explained(call: Call, choice: Choice, away: Away | None) -> Choice:
    """A choice among the targets that were left, with those that were taken away and why, in numbers too."""
    if away is None:
        return choice
    return choice._replace(decision=_told(choice.decision, away, call.runtime.snapshot()))


def learn(call: Call, target: Target, kind: FailureKind) -> None:
    """Remember that a target refused this call's request, which another one answered."""
    shape = None if kind is FailureKind.NOT_FOUND else shape_of(call.dialect, call.request)
    call.runtime.memory.lessons.learn(target, kind, shape, call.now_s())


def _may_differ(call: Call, targets: Sequence[Target]) -> bool:
    """Whether a look at the request is worth while at all: every call asks, and nearly all go on from here."""
    if call.mode != "enforce" or len(targets) < 2:
        return False
    if call.runtime.memory.lessons.learnt:
        return True
    for target in targets:  # noqa: SIM110 - `any` with a generator costs four times as much
        if target.client is not None:
            return True
    return False


def _out(call: Call, targets: Sequence[Target], default: Target | None) -> dict[int, Elimination]:
    """The targets that cannot take this request, by index, and why; never all of them."""
    out: dict[int, Elimination] = {}
    request, dialect = call.request, call.dialect
    elsewhere = [i for i, it in enumerate(targets) if it.client is not None and it.client is not request.client]
    if elsewhere and len(elsewhere) < len(targets) and binding_of(dialect, request).account:
        out = dict.fromkeys(elsewhere, "capability")
    lessons = call.runtime.memory.lessons
    if lessons.learnt and not call.pinned:
        now = call.now_s()
        known = [i for i, it in enumerate(targets) if i not in out and lessons.concern(it, now)]
        known = [i for i in known if not _same(targets[i], default)]  # the default answered: refusals lead there
        shape = shape_of(dialect, request) if known else None
        for i in known:
            if (why := lessons.against(targets[i], shape, now)) is not None:
                out[i] = why
    return out if len(out) < len(targets) else {}


def _same(target: Target, default: Target | None) -> bool:
    return default is not None and (target.provider, target.model) == (default.provider, default.model)


def _corrected(decision: Decision, away: Away) -> Decision:
    """A decision that spoke of these targets already, and now says why they were taken away."""
    inner = decision.candidates

    def explain() -> tuple[Candidate, ...]:
        rows = list(inner)
        for target, why in away.targets:
            places = [i for i, it in enumerate(rows) if (it.provider, it.model) == (target.provider, target.model)]
            if places:  # of twins the last: the first is the client's own
                rows[places[-1]] = replace(rows[places[-1]], eliminated_by=why)
        return tuple(rows)

    return replace(decision, candidates=Candidates(explain))


def _told(decision: Decision, away: Away, snapshot: Snapshot) -> Decision:
    question = away.question
    if log.isEnabledFor(logging.DEBUG):
        at = f"{question.workflow}/{question.stage}"
        for target, why in away.targets:
            log.debug("%s: %s/%s eliminated by %s", at, target.provider, target.model, why)
    inner = decision.candidates

    def explain() -> tuple[Candidate, ...]:
        targets = tuple(target for target, _ in away.targets)
        beliefs = believe(targets, snapshot.cell(question.workflow, question.stage), snapshot)
        health = [Health.FINE] * len(targets)
        return (*inner, *candidates(targets, beliefs, health, [why for _, why in away.targets], chosen=None))

    return replace(decision, candidates=Candidates(explain))


def binding_of(dialect: Dialect, request: Request) -> Binding:
    """What binds a request; a dialect that does not say binds nothing."""
    return dialect.binding(request) if isinstance(dialect, RequestReader) else FREE


def shape_of(dialect: Dialect, request: Request) -> Shape | None:
    """A request's shape; None where its dialect does not say."""
    return dialect.shape(request) if isinstance(dialect, RequestReader) else None
