"""One route span a call, one attempt span a try: when they start, how they become current, and that they end once.

An attempt's span starts and ends exactly where its observation does. No exception is recorded on a span, because messages
hold prompts. What goes wrong in here is a counted fault, never the call's. Nothing here decides or classifies.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from contextvars import Token
from dataclasses import dataclass
from typing import Any, Concatenate, Final, ParamSpec, Protocol, TypeVar, cast

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode, Tracer

from attune.models.call import AttemptKind, CallRecord, CircuitState, Mode, Target
from attune.models.decision import Decision
from attune.models.performance import Observation, Series
from attune.models.response import Usage
from attune.telemetry import facts
from attune.telemetry import names as n
from attune.telemetry.labels import Labels
from attune.telemetry.meters import Meters

_log = logging.getLogger("attune.telemetry")
_CALM: Final = frozenset({"caller", "cancelled"})  # the caller's own doing is no error of the operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Where spans and metrics go: the parts that an emitter shares with its spans."""

    tracer: Tracer
    meters: Meters
    labels: Labels
    names: n.GenAINames
    gen_ai: bool
    time: Callable[[], float]

    def now_us(self) -> int:
        """This moment in epoch microseconds."""
        return int(self.time() * 1_000_000)

    def fault(self, where: str, error: BaseException) -> None:
        """Count a fault of telemetry's own."""
        _log.debug("telemetry fault in %s: %s", where, type(error).__name__)
        self.meters.count(n.FAULTS, 1, {n.WHERE: where})


class Guarded(Protocol):
    """Something with a channel to tell its faults to."""

    @property
    def channel(self) -> Channel:
        """The channel."""
        ...


P = ParamSpec("P")
G = TypeVar("G", bound=Guarded)


def quiet(act: Callable[Concatenate[G, P], None]) -> Callable[Concatenate[G, P], None]:
    """Let nothing out of an act of telling but a counted fault."""

    @functools.wraps(act)
    def guarded(self: G, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            act(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - telemetry never changes the outcome of a call
            self.channel.fault(act.__qualname__, error)

    return cast("Callable[Concatenate[G, P], None]", guarded)


class _Held:
    """A span that may be made current and is ended once."""

    __slots__ = ("_open", "at_us", "channel", "span")

    def __init__(self, channel: Channel, span: Span, at_us: int) -> None:
        self.channel = channel
        self.span = span
        self.at_us = at_us
        self._open = True

    def within(self) -> Context | None:
        """This context with the span as its current one; None where there is nothing to make current."""
        if not self.span.get_span_context().is_valid:
            return None
        return trace.set_span_in_context(self.span)

    def attach(self) -> Token[Any] | None:
        """Make the span current in this context; None where there is nothing to make current."""
        within = self.within()
        return None if within is None else context.attach(within)

    def detach(self, token: Token[Any] | None) -> None:
        """Undo `attach`. In another context, or a second time, it does nothing and says nothing."""
        if token is None:
            return
        try:
            # The API's own detach() logs an error with a traceback where a generator is closed in another context.
            token.var.reset(token)
        except (AttributeError, ValueError, RuntimeError):
            return

    def _close(self) -> bool:
        was_open, self._open = self._open, False
        return was_open

    def _finish(self, known: facts.Facts, *, end_us: int, outcome: str, error_type: str | None) -> None:
        span = self.span
        if span.is_recording():
            span.set_attributes(known)
            if outcome in {"failure", "rejected"} or (error_type is not None and error_type not in _CALM):
                span.set_status(StatusCode.ERROR)
        span.end(end_us * 1000)


class AttemptSpan(_Held):
    """One try at one target. `at_us` is where its observation should start."""

    __slots__ = ("_kind", "_native_metrics")

    def __init__(self, channel: Channel, span: Span, at_us: int, kind: AttemptKind, *, native_metrics: bool) -> None:
        super().__init__(channel, span, at_us)
        self._kind = kind
        self._native_metrics = native_metrics

    @quiet
    def end(
        self, observation: Observation, *, usage: Usage | None = None, response: Mapping[str, Any] | None = None
    ) -> None:
        """Tell how the attempt ended. The first time counts. `response` holds `gen_ai.response.*` facts."""
        if not self._close():
            return
        error, channel = observation.error_type, self.channel
        if self.span.is_recording():
            known = facts.attempt_end(observation, usage, response or {}, channel.names)
            end_us = self.at_us + observation.latency_us
            self._finish(known, end_us=end_us, outcome=observation.outcome, error_type=error)
        self._measure(observation, None if error is None else str(error))

    def _measure(self, seen: Observation, error: str | None) -> None:
        meters, labels, series = self.channel.meters, self.channel.labels, seen.series
        seconds, within = seen.latency_us / 1e6, self.within()
        meters.record(n.ATTEMPT_DURATION, seconds, labels.timed(series, seen.outcome), within)
        meters.count(n.ATTEMPTS, 1, labels.attempt(series, seen.outcome, self._kind, error))
        if seen.cost_nano is not None:
            meters.count(n.COST, seen.cost_nano, labels.series(series))
        if self.channel.gen_ai and not self._native_metrics:
            self._measure_inference(seen, error, seconds, within)

    def _measure_inference(self, seen: Observation, error: str | None, seconds: float, within: Context | None) -> None:
        names, meters, labels = self.channel.names, self.channel.meters, self.channel.labels
        provider, model = seen.series.provider, seen.series.model
        base = labels.inference(provider, model, error)
        meters.record(names.duration, seconds, base, within)
        for kind, tokens, counter, histogram in (
            ("input", seen.tokens_in, names.input_counter, names.input_histogram),
            ("output", seen.tokens_out, names.output_counter, names.output_histogram),
        ):
            if counter is not None and (tokens is not None or error is not None):
                more = (n.GEN_AI_MODALITY, "unknown")
                meters.count(counter, tokens or 0, labels.inference(provider, model, None, more))
            if tokens is not None and histogram is not None:
                meters.record(histogram, tokens, base)
            if tokens is not None and names.usage is not None:
                meters.record(
                    names.usage, tokens, labels.inference(provider, model, error, (n.GEN_AI_TOKEN_TYPE, kind))
                )


class RouteSpan(_Held):
    """One call. `at_us` is its start, which a verdict on it bears too."""

    __slots__ = ("_cell", "_decided", "_facts", "_mode", "muted")

    def __init__(
        self, channel: Channel, span: Span, at_us: int, *, cell: tuple[str, str], mode: Mode, muted: bool
    ) -> None:
        super().__init__(channel, span, at_us)
        self.muted = muted
        self._cell = cell
        self._mode = mode
        self._facts: dict[str, Any] = {}
        self._decided = False

    @quiet
    def decided(self, decision: Decision, *, candidates: int, eliminated: int, data_age_s: float | None = None) -> None:
        """Tell the decision. The first one of a call is counted; a later one is shown on the span."""
        if self.muted:
            return
        if self.span.is_recording():
            self._facts.update(facts.decided(decision, candidates, eliminated, data_age_s))
        if not self._decided:
            self._decided = True
            series = Series(*self._cell, decision.provider, decision.model)
            satisfied = decision.constraint_satisfied
            told = self.channel.labels.decision(series, decision.reason, decision.explored, satisfied, self._mode)
            self.channel.meters.count(n.DECISIONS, 1, told)

    def attempt(
        self, *, target: Target, index: int, kind: AttemptKind, circuit_name: str, circuit_state: CircuitState = "closed",
        explored: bool = False, native: bool = False, stream: bool = False, request: Mapping[str, Any] | None = None,
        native_metrics: bool = False, at_us: int | None = None,
    ) -> AttemptSpan:  # fmt: skip
        """Start an attempt's span under this call's.

        `native`: the client's own tracer makes the CLIENT span, so this one is INTERNAL. `native_metrics`: another
        instrumentation emits the `gen_ai.client.*` metrics. `request` holds `gen_ai.request.*` facts. `at_us`: epoch
        microseconds of the start, None for now.
        """
        started = self.channel.now_us() if at_us is None else at_us
        span: Span = INVALID_SPAN
        try:
            if not self.muted:
                known = facts.attempt_start(Series(*self._cell, target.provider, target.model), request or {}, stream)
                known.update({n.ATTEMPT_INDEX: index, n.ATTEMPT_KIND: kind, n.CIRCUIT_NAME: circuit_name})
                known.update({n.CIRCUIT_STATE: circuit_state, n.ROUTE_EXPLORED: explored})
                name = n.SPAN_ATTEMPT if native else f"{n.OPERATION} {target.model}"
                span_kind = SpanKind.INTERNAL if native else SpanKind.CLIENT
                span = start(self.channel.tracer, name, span_kind, started, known, self.span)
        except Exception as error:  # noqa: BLE001 - as in quiet()
            self.channel.fault("RouteSpan.attempt", error)
        attempt = AttemptSpan(self.channel, span, started, kind, native_metrics=native_metrics)
        if self.muted:
            attempt._open = False  # noqa: SLF001 - told by nobody, so already over
        return attempt

    @quiet
    def end(
        self, record: CallRecord, *, error_type: str | None = None, baseline_cost: float | None = None, end_s: float
    ) -> None:
        """Tell how the call ended. The first time counts. `baseline_cost` in USD, `end_s` in epoch seconds."""
        if not self._close() or self.muted:
            return
        if self.span.is_recording():
            known = self._facts | facts.route_end(record, error_type)
            end_us = max(self.at_us, int(end_s * 1_000_000))
            self._finish(known, end_us=end_us, outcome=record.outcome, error_type=error_type)
        meters, labels = self.channel.meters, self.channel.labels
        meters.record(n.CALL_DURATION, record.latency_ms / 1e3, labels.cell(*self._cell, record.outcome), self.within())
        if baseline_cost is not None:
            meters.count(n.BASELINE_COST, round(baseline_cost * 1e9), labels.cell(*self._cell))
        if record.quality is not None and record.provider is not None and record.model is not None:
            tell_quality(self.channel, Series(*self._cell, record.provider, record.model), record.quality)


def start(
    tracer: Tracer, name: str, kind: SpanKind, at_us: int, known: Mapping[str, Any], parent: Span | None = None
) -> Span:
    """Start a span at a moment of ours, under `parent`, or under what is current where that is None."""
    return tracer.start_span(
        name,
        context=None if parent is None else trace.set_span_in_context(parent),
        kind=kind,
        attributes=known,
        start_time=at_us * 1000,
        record_exception=False,
        set_status_on_exception=False,
    )


def tell_quality(channel: Channel, series: Series, score: float) -> None:
    """Count one verdict, 0..1."""
    attributes = channel.labels.series(series)
    channel.meters.count(n.QUALITY_SCORE, score, attributes)
    channel.meters.count(n.QUALITY_COUNT, 1, attributes)
