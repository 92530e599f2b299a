"""One call under way: its attempts, and that each of them and the call itself ends exactly once.

Every figure of a call is written down here, and handed on to the windows, the emitter and the circuits. None of those
may disturb the caller: what they raise is counted as a fault of attune's and the call goes on. The order of steps is not
known here; that is `plan.py`'s.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from attune.calls import context, figures
from attune.calls.attempt import SaidSo, Try
from attune.calls.identity import call_id
from attune.calls.runtime import Runtime
from attune.calls.settling import settle
from attune.calls.targets import completed
from attune.calls.telling import Telling
from attune.clients.dialect import NOTHING, Dialect, Facts, Request
from attune.models.call import AUTO, Attempt, AttemptKind, CallRecord, Mode, Outcome, Target
from attune.models.circuits import Permit
from attune.models.decision import Decision
from attune.models.failures import RULES, Classify, Failure, FailureKind, classify
from attune.models.performance import Series, Verdict
from attune.models.registry import Price
from attune.models.router import Question


class Ending(Protocol):
    """What ends with a stream."""

    @property
    def open(self) -> bool:
        """Whether the stream is still going."""
        ...


class Call:
    """What one call has done so far. Used by one thread or task at a time, except that a stream may end it elsewhere."""

    def __init__(
        self,
        runtime: Runtime,
        request: Request,
        dialect: Dialect,
        question: Question,
        *,
        mode: Mode,
        pinned: bool,
        timeout_s: float | None = None,
        session: str | None = None,
        hook: Classify | None = None,
    ) -> None:
        self.runtime = runtime
        self.safely = runtime.safely
        self.now_s = runtime.clock.monotonic
        self.request = request
        self.dialect = dialect
        self.question = question
        self.mode, self.pinned = mode, pinned
        self.session = session
        self.hook = hook
        self.pid = runtime.pid  # whose it is to settle: a forked child has a copy
        self.started_s = self.now_s()
        self.at_us = int(runtime.clock.time() * 1e6)
        self.timeout_s, self.deadline_s = timeout_s, None if timeout_s is None else self.started_s + timeout_s
        self.decision: Decision | None = None
        self.order: list[Target] = []  # best first, as decided
        self.reads: Dialect = dialect  # whose shape the answer has; a function may give any SDK's
        self.tries: list[Try] = []
        self.attempts: list[Attempt] = []
        self.record: CallRecord | None = None
        self.final: Failure | None = None  # what the error means that ends the call, where an attempt's end has said so
        self.taken = False  # a guarded call inside the function has taken over
        self.left_to_stream = False  # the function returned while its stream was going: the stream finishes the call
        self.settlement: Ending | None = None
        self._account = figures.Account(self.at_us)
        self._captures = context.captures()
        self._ended = [True]
        self.telling = Telling(runtime, question, mode=mode, requested_model=request.model, at_us=self.at_us)

    # -- time

    def remaining_s(self) -> float | None:
        """Seconds until the deadline, None without one; never negative."""
        return None if self.deadline_s is None else max(0.0, self.deadline_s - self.now_s())

    # -- the decision

    def decided(self, decision: Decision) -> None:
        """Keep what was decided, and tell of it."""
        self.decision = decision
        self.telling.decided(decision)

    def take(self, request: Request, dialect: Dialect) -> None:
        """From here on the attempts are those of a guarded call inside the function."""
        self.request, self.dialect, self.reads, self.taken = request, dialect, dialect, True

    def leave_to_stream(self) -> bool:
        """Whether a stream that the function returned is still going, and so finishes the call."""
        self.left_to_stream = self.settlement is not None and self.settlement.open
        return self.left_to_stream

    def last_outcome(self) -> Outcome:
        """What became of the last attempt; of a call without one, nothing."""
        return self.attempts[-1].outcome if self.attempts else "neutral"

    def last_error(self) -> str | None:
        """The error type of the last attempt, where there was one and it failed."""
        return self.attempts[-1].error_type if self.attempts else None

    # -- attempts

    def begin(self, target: Target, permit: Permit | None, kind: AttemptKind) -> Try:
        """Open an attempt that a permit was given for."""
        state = permit.state if permit is not None else "closed"
        explored = self.decision is not None and self.decision.explored and not self.tries
        attempt = Try(
            index=len(self.attempts),
            target=target,
            kind="probe" if permit is not None and permit.probe else kind,
            permit=permit,
            state=state,
            explored=explored,
            started_s=self.now_s(),
            at_us=int(self.runtime.clock.time() * 1e6),
        )
        self.tries.append(attempt)
        if self.request.client is not None:  # a function's span is made when it ends: what is inside may take over
            attempt.span = self.telling.attempt(attempt, self.request, self.dialect)
        return attempt

    def send(self, attempt: Try) -> Any:
        """Make the attempt. Gives the answer, for an async request an awaitable of it."""
        if self.mode == "observe":
            target = attempt.target
            default = target.handed if self.request.client is None else target.wire
            return self.request.untouched(default if self.request.model == AUTO else self.request.model)
        timeout_s = self.remaining_s()
        if timeout_s is not None and self.request.timeout_s is not None:
            timeout_s = min(timeout_s, self.request.timeout_s)
        return self.request.send(attempt.target, timeout_s=timeout_s)

    def end(self, attempt: Try, outcome: Outcome, *, failure: Failure | None = None, facts: Facts = NOTHING) -> None:
        """Close an attempt, whatever ended it: settle its permit, write it down, tell of it. The first close counts."""
        if not attempt.close():
            return
        if outcome == "success":
            self._attribute(attempt)
        latency_us = max(0, round((self.now_s() - attempt.started_s) * 1e6))
        if attempt.reported is not None and attempt.reported.latency_s is not None:
            latency_us = round(attempt.reported.latency_s * 1e6)
        self.safely(
            "breaker", settle, self.runtime.circuits, attempt, outcome, failure, self.now_s(), self.telling.span
        )
        cost_nano = figures.cost_nano(attempt, outcome, failure, facts, self._price)
        observation = figures.observation(
            self.series(attempt.target), attempt, outcome, failure, facts, latency_us, cost_nano
        )
        self.safely("windows", self.runtime.windows.record, observation)
        if attempt.span is None and self.request.client is None:
            attempt.span = self.telling.attempt(attempt, self.request, self.dialect)
        self.telling.attempt_ended(attempt, observation, facts)
        self._account.add(attempt, outcome, facts, cost_nano)
        self.attempts.append(figures.attempt_of(attempt, outcome, failure, latency_us, cost_nano))

    def _price(self, model: str, target: Target) -> Price | None:
        """What a model's tokens cost where another one was asked; None if unknown."""
        named = self.safely("price", completed, self.runtime.catalogue, Target(model, provider=target.provider))
        return named.price if named is not None else None

    def _attribute(self, attempt: Try) -> None:
        """A function may say that another model answered than the one it was handed."""
        said = attempt.reported
        if said is not None and (said.model or said.provider):
            target = attempt.target
            named = Target(said.model or target.model, provider=said.provider or target.provider)
            attempt.target = self.safely("report", completed, self.runtime.catalogue, named) or target

    def failed(self, attempt: Try, error: BaseException) -> Failure:
        """Close an attempt that raised, and say what that means."""
        failure = error.failure if isinstance(error, SaidSo) else self.classify(error)
        facts = attempt.facts or NOTHING
        if attempt.reader is not None and self.request.client is not None:  # the stream had begun
            facts = attempt.reader.facts()
            if failure.kind is FailureKind.CONNECTION:  # it had connected: this stream broke, not the provider's door
                failure = replace(failure, kind=FailureKind.STREAM_BROKEN)
        self.end(attempt, failure.rule.outcome, failure=failure, facts=facts)
        return failure

    def classify(self, error: BaseException) -> Failure:
        """What an error means, by the user's hook, the dialect's rows and the table."""
        rows = self.dialect.failures if self.request.client is not None else self.runtime.failure_rows
        hook = self.hook if isinstance(error, Exception) else None  # nobody's hook turns a cancellation into a failure
        try:
            return classify(error, rows, hook, at_s=self.runtime.clock.time())
        except Exception as fault:  # noqa: BLE001 - the hook is the user's: its fault is counted, the table decides
            self.runtime.fault("classify", fault)
        return self.safely("classify", classify, error, rows) or Failure(kind=FailureKind.OTHER)

    def withdraw(self, attempt: Try) -> None:
        """Undo an attempt that a guarded call inside the function replaces: it leaves no trace."""
        if attempt.close():
            self.safely("breaker", settle, self.runtime.circuits, attempt, "neutral", None, self.now_s(), None)
            self.tries.remove(attempt)

    # -- the end of the call

    def finish(
        self,
        outcome: Outcome,
        *,
        error_type: str | None = None,
        quality: float | None = None,
        partial_text: str | None = None,
    ) -> CallRecord | None:
        """Close the call. The first close counts; later ones give None."""
        try:
            self._ended.pop()
        except IndexError:
            return None
        account = self._account
        last = self.tries[-1].target if self.tries else self.question.targets[self.question.default]
        series = self.series(account.answered or last)
        record = self.record = CallRecord(
            id=call_id(series, account.answered_us, self.runtime.ids.getrandbits(48)),
            workflow=series.workflow,
            stage=series.stage,
            decision=self.decision,
            attempts=tuple(self.attempts),
            outcome=outcome,
            cost=account.cost_nano / 1e9,
            cost_complete=account.cost_complete,
            latency_ms=(self.now_s() - self.started_s) * 1e3,
            quality=quality,
            partial_text=partial_text,
            usage=account.usage,
        )
        if quality is not None:
            verdict = Verdict(series=series, at_us=account.answered_us, quality_micro=round(quality * 1e6))
            self.safely("windows", self.runtime.windows.judge, verdict)
        self.telling.ended(record, error_type)
        self.safely("context", context.tell, record, self._captures)
        return record

    def series(self, target: Target) -> Series:
        """The line of statistics that this call's attempts at a target belong to."""
        return Series(self.question.workflow, self.question.stage, target.provider, target.model)


def outcome_of(kind: FailureKind) -> Outcome:
    """The outcome of a call that ended with a failure of this kind."""
    return RULES[kind].outcome
