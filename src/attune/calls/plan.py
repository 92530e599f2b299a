"""The way of one call: decide, admit, send, settle, and what comes after a failure. The order is written here, once.

A plan is a generator: it yields effects (Send, Sleep, Ask) and is given Replies, so that a sync and an async driver run
the same steps. It performs nothing itself and knows no clock, client or signal but through the Call it is handed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any

from attune.calls import answering, reach
from attune.calls.admission import Admission, Limits
from attune.calls.attempt import SaidSo, Try
from attune.calls.loops import mark_of
from attune.calls.stream import Settlement, Unwatched
from attune.calls.underway import Call, outcome_of
from attune.clients.dialect import Dialect, Request
from attune.errors import CallError, NoModelAvailable, StreamInterrupted
from attune.models.call import Target
from attune.models.decision import Decision

Judge = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Send:
    """Make this attempt; `hold` a stream's events until there is content."""

    call: Call
    attempt: Try
    hold: bool


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Ask:
    """Put a finished answer to the judge."""

    judge: Judge
    value: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of an effect. Answers and errors stay out of the repr, as in all that is drawn here."""

    value: Any = field(default=None, repr=False)
    error: BaseException | None = field(default=None, repr=False)


Effect = Send | Sleep | Ask
Plan = Generator[Effect, Reply, Any]


def plan(call: Call, limits: Limits, judge: Judge | None = None) -> Plan:
    """The whole way of a call, from the decision to the record."""
    dialect = call.dialect
    try:
        call.order = _decide(call)
        attempt, reply = yield from _attempts(call, call.order, limits)
        if reply.error is not None:  # raised by a function whose call was taken over: never tried again
            raise reply.error
        value = reply.value
        if not call.taken:
            if (stream := _streamed(call, attempt, value)) is not None:
                return stream
            _answered(call, attempt, value)
        else:
            if attempt.held:  # a generator, whose first item is handed out after all
                value = dialect.tap(value, Unwatched(call, attempt), attempt.held)
            if call.leave_to_stream():
                return value
        quality = yield from _judged(call, judge, value)
        call.finish(call.last_outcome(), error_type=call.last_error(), quality=quality)
    except GeneratorExit:
        call.runtime.abandoned.append(Dropped(call))
        raise
    except BaseException as error:
        _close(call, error)
        raise
    return value


class Dropped:
    """A call that nobody drives any more, to be settled later."""

    __slots__ = ("_call", "_whole")

    def __init__(self, call: Call, *, whole: bool = True) -> None:
        self._call = call
        self._whole = whole

    def closed(self) -> None:
        """End what is open: as cancelled. A copy of it in a forked child is not ended: the call is the parent's."""
        if self._call.pid != os.getpid():
            return
        if self._whole:
            _close(self._call, GeneratorExit())
        for attempt in self._call.tries:
            if attempt.open:
                self._call.failed(attempt, GeneratorExit())


def takeover(call: Call, request: Request, dialect: Dialect, limits: Limits) -> Plan:
    """A guarded call inside a routed function carries on with what was decided: attempts and outcome are its own."""
    outer = call.tries[-1]
    decided = outer.target
    call.withdraw(outer)
    call.take(request, dialect)
    endpoint = dialect.endpoint(request.client)
    rest = [target for target in call.order if target is not decided]
    spoken = [t for t in (decided, *rest) if t.client is not None or t.provider == dialect.provider] or [decided]
    order = [t if t.client is not None else replace(t, endpoint=endpoint) for t in spoken]
    try:
        attempt, reply = yield from _attempts(call, reach.left(call, order), limits)
    except GeneratorExit:  # the function around it may go on
        call.runtime.abandoned.append(Dropped(call, whole=False))
        raise
    if (stream := _streamed(call, attempt, reply.value)) is not None:
        return stream
    _answered(call, attempt, reply.value)
    return reply.value


def _decide(call: Call) -> list[Target]:
    """The targets to try, best first. A pinned model is never re-routed; a fault of the router's leads to the default."""
    runtime, targets = call.runtime, call.question.targets
    if call.pinned:
        call.decided(Decision(model=targets[0].model, provider=targets[0].provider, reason="pinned"))
        return reach.left(call, list(targets)) if call.mode == "enforce" else [targets[0]]
    out = reach.out_of(call)
    question = call.question  # by now among the targets that are left
    targets = question.targets
    default = targets[question.default]
    try:
        choice = reach.explained(call, runtime.decide(question, call.now_s()), out)
    except NoModelAvailable as refused:
        call.decided(refused.decision)
        raise call.dialect.refusal(refused, call.request.client) from None
    except Exception as fault:  # noqa: BLE001 - law 5: a fault of attune never changes the outcome of a call
        runtime.fault("router", fault)
        call.decided(Decision(model=default.model, provider=default.provider, reason="fault"))
        return [default]
    if call.mode == "observe":
        call.decided(replace(choice.decision, reason="observe"))
        return [default]
    if call.session is not None:
        stay = runtime.memory.sessions.stay
        choice = call.safely("session", stay, call.session, question, choice, runtime.circuits, call.now_s()) or choice
    call.decided(choice.decision)
    return [targets[i] for i in choice.order] or [default]


def _attempts(call: Call, order: list[Target], limits: Limits) -> Generator[Effect, Reply, tuple[Try, Reply]]:
    """Attempts until one answers. What the provider raised last is raised again, the same object."""
    admission = Admission(call, order, limits)
    cut: tuple[Try, Reply] | None = None
    while True:
        try:
            while (wait_s := admission.seek()) > 0:
                if (waited := (yield Sleep(wait_s))).error is not None:  # cancelled in the wait
                    raise waited.error
        except (StreamInterrupted, SaidSo) as ours:  # unless strict, the caller gets what came, as it came
            if cut is None or (isinstance(ours, StreamInterrupted) and call.runtime.settings.strict_streams):
                raise
            return cut
        attempt = admission.open()
        # a function's generator runs its body only when it is read: up to its first item, it runs under the attempt
        hold = call.request.client is None or (len(order) > 1 and call.mode == "enforce")
        reply = yield Send(call, attempt, hold)
        error = reply.error
        if error is None and attempt.open and (error := answering.cut_short(call, attempt, reply.value)) is not None:
            cut = (attempt, reply)
        if error is None or not attempt.open:  # closed: what is inside the function took the call over
            if attempt.open:
                admission.answered(attempt)
            return attempt, reply
        admission.learn(attempt, call.failed(attempt, error), error)


def _streamed(call: Call, attempt: Try, value: Any) -> Any:
    """The stream, tapped: it ends the attempt and the call when it ends. None where the answer is no stream."""
    if attempt.reader is None:
        attempt.reader = answering.events_of(call, value) or answering.unread(call, value)
    if attempt.reader is None:
        return None
    settlement = Settlement(call, attempt, attempt.reader)
    stream = call.safely("stream", call.reads.tap, value, settlement, attempt.held)
    if stream is None:  # it cannot be watched: it is handed over as it is, and says nothing
        settlement.closed()
        return value
    call.settlement = settlement
    return stream


def _answered(call: Call, attempt: Try, value: Any) -> None:
    facts = answering.read(call, attempt, value)
    failure = answering.failure_in(call, facts)
    call.end(attempt, "success" if failure is None else failure.rule.outcome, failure=failure, facts=facts)


def _judged(call: Call, judge: Judge | None, value: Any) -> Generator[Effect, Reply, float | None]:
    """The judge's verdict, 0..1; None where there is none, or where the judge failed, which is a counted fault."""
    if judge is None or call.last_outcome() != "success":
        return None
    reply = yield Ask(judge, value)
    if isinstance(reply.error, Exception):
        call.runtime.fault("judge", reply.error)
        return None
    if reply.error is not None:
        raise reply.error
    return call.safely("judge", verdict, reply.value)  # type: ignore[no-any-return]  # float | None by `verdict`


def verdict(word: Any) -> float | None:
    """A judge's word as 0..1; None and NaN are no verdict."""
    if word is None:
        return None
    score = float(word)
    return None if math.isnan(score) else min(1.0, max(0.0, score))


def _close(call: Call, error: BaseException) -> None:
    """The end of a call that raises: nothing stays open, and the error tells what was tried."""
    for attempt in call.tries:
        if attempt.open:
            call.failed(attempt, error)
    failure = call.final or call.classify(error)
    refused = call.final is None and isinstance(error, CallError)
    outcome = "rejected" if refused else outcome_of(failure.kind)
    if call.taken and call.attempts:
        outcome = call.last_outcome()
    if call.finish(outcome, error_type=str(failure.kind)) is not None and len(call.attempts) > 1:
        tried = ", ".join(f"{a.provider}:{a.model} ({a.error_type or a.outcome})" for a in call.attempts)
        call.safely("notes", error.add_note, f"attune tried {tried}")
        if failure.rule.fall_back == "any" and not call.runtime.memory.loops.told:
            call.safely("loops", _suspect, call)


def _suspect(call: Call) -> None:
    """A call failed for good, after several attempts: is somebody outside making them all again?"""
    mark = mark_of(call.request, (call.question.workflow, call.question.stage))
    if mark is not None:
        loops = call.runtime.memory.loops
        loops.failed(mark, attempts=len(call.attempts), began_s=call.started_s, now_s=call.now_s())
