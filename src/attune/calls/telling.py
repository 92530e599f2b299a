"""What is told of one call: its spans, its counts, and three lines at DEBUG. Faults of telling stay here.

Where nobody listens to OpenTelemetry there are no spans, and the call pays nothing for them.
"""

from __future__ import annotations

import logging
from typing import Any

from attune.calls.attempt import Try
from attune.calls.runtime import Runtime
from attune.clients.dialect import Dialect, Facts, Request
from attune.clients.spoken import SPOKEN
from attune.models.call import CallRecord, Mode
from attune.models.decision import Decision
from attune.models.performance import Observation
from attune.models.router import Question

log = logging.getLogger("attune.calls")


class Telling:
    """Born with the call. `span` is the call's, None where nobody listens."""

    __slots__ = ("_question", "_runtime", "_safely", "span")

    def __init__(self, runtime: Runtime, question: Question, *, mode: Mode, requested_model: str, at_us: int) -> None:
        self._runtime = runtime
        self._question = question
        self._safely = runtime.safely
        self.span: Any = None
        if runtime.tells():
            self.span = self._safely("emit", self._start, mode, requested_model, at_us)

    def decided(self, decision: Decision) -> None:
        """The decision, once it is made."""
        if log.isEnabledFor(logging.DEBUG):
            self._safely("log", self._log_decision, decision)
        if self.span is not None:
            self._safely("emit", self._tell_decision, decision)

    def attempt(self, attempt: Try, request: Request, dialect: Dialect) -> Any:
        """The span of an attempt, begun when the attempt began; None where nobody listens."""
        if self.span is None:
            return None
        return self._safely("emit", self._start_attempt, attempt, request, dialect)

    def attempt_ended(self, attempt: Try, observation: Observation, facts: Facts) -> None:
        """How an attempt ended."""
        if attempt.span is not None:
            said = {"model": facts.model, "id": facts.response_id, "finish_reasons": facts.finish_reasons}
            self._safely("emit", attempt.span.end, observation, usage=facts.usage, response=said)

    def ended(self, record: CallRecord, error_type: str | None) -> None:
        """How the call ended."""
        if self.span is not None:
            self._safely("emit", self._end, record, error_type)
        if log.isEnabledFor(logging.DEBUG):
            self._safely("log", _log_end, record)

    def _start(self, mode: Mode, requested_model: str, at_us: int) -> Any:
        question, emitter = self._question, self._runtime.emitter
        emitter.announce(question.workflow, question.stage, question.targets)
        return emitter.route(
            workflow=question.workflow, stage=question.stage, mode=mode, requested_model=requested_model, at_us=at_us
        )

    def _tell_decision(self, decision: Decision) -> None:
        recording = self.span.span.is_recording()
        eliminated = sum(it.eliminated_by is not None for it in decision.candidates) if recording else 0
        age_s = self._runtime.data_age_s()
        self.span.decided(decision, candidates=len(self._question.targets), eliminated=eliminated, data_age_s=age_s)

    def _start_attempt(self, attempt: Try, request: Request, dialect: Dialect) -> Any:
        target = attempt.target
        client = target.client if target.client is not None else request.client
        speaker = dialect if client is not None else _likely(target.provider, dialect)
        measured = getattr(speaker, "native_metrics", None)
        return self.span.attempt(
            target=target,
            index=attempt.index,
            kind=attempt.kind,
            circuit_name=f"{target.provider}:{target.model}",
            circuit_state=attempt.state,
            explored=attempt.explored,
            native=speaker.native_span(client),
            native_metrics=measured is not None and measured(client),
            stream=request.stream,
            request=request.params,
            at_us=attempt.at_us,
        )

    def _end(self, record: CallRecord, error_type: str | None) -> None:
        price, usage = self._question.targets[self._question.default].price, record.usage
        baseline = price.cost_nano(usage) / 1e9 if price is not None and usage is not None else None
        self.span.end(record, error_type=error_type, baseline_cost=baseline, end_s=self._runtime.clock.time())

    def _log_decision(self, decision: Decision) -> None:
        at = f"{self._question.workflow}/{self._question.stage}"
        log.debug("%s goes to %s (%s, %s)", at, decision.model, decision.provider, decision.reason)


def _likely(provider: str, dialect: Dialect) -> Dialect:
    """Whose SDK a function most likely calls: that of the provider whose model it was handed."""
    return next((each for each in SPOKEN if each.provider == provider), dialect)


def _log_end(record: CallRecord) -> None:
    log.debug(
        "%s/%s ended at model %s: outcome %s, latency %.1f ms, cost %.6f USD%s, %d attempt(s)",
        record.workflow,
        record.stage,
        record.model or "none",
        record.outcome,
        record.latency_ms,
        record.cost,
        "" if record.cost_complete else " or more",
        len(record.attempts),
    )
