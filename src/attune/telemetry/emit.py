"""Outcomes become spans and metrics: the one place that the call's path tells things to.

Never raises, never blocks, keeps no text of a user. A fault in here is counted and told at DEBUG, and the call goes on
without telemetry. With `suppress_instrumentation()` in force a call is not told at all. Knows no client and no plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from opentelemetry import trace
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, TracerProvider

from attune.models.call import AttemptKind, Mode, Target, Transition
from attune.models.performance import Series
from attune.telemetry import facts
from attune.telemetry import names as n
from attune.telemetry.labels import Labels
from attune.telemetry.meters import CircuitLight, Meters
from attune.telemetry.spans import AttemptSpan, Channel, RouteSpan, quiet, start, tell_quality

__all__ = ["AttemptSpan", "CircuitLight", "Emitter", "RouteSpan"]

_ANNOUNCED = 20_000  # cells and targets remembered as announced; past it nothing more is
_MOVES: Final = (("closed", "open"), ("open", "half_open"), ("half_open", "closed"), ("half_open", "open"))
_LATER_KINDS: Final[tuple[AttemptKind, ...]] = ("retry", "fallback", "probe")
_FIRST_FAILURES = ("connection", "timeout", "overloaded", "server", "rate_limit")


class Emitter:
    """Tells one runtime's outcomes. Safe from every thread.

    Without providers it reports to the global ones, also to those that are set up later. `time` gives epoch seconds.
    `names` is the generation of the GenAI conventions' metric names; `gen_ai_metrics=False` leaves those metrics out.
    Past `max_series` series, attribute values of metrics become `_other`.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        time: Callable[[], float],
        names: n.GenAINames = n.GENAI_OLDER,
        gen_ai_metrics: bool = True,
        max_series: int = 2000,
    ) -> None:
        release = _release()
        labels = Labels(max_series)
        meters = Meters(meter_provider, version=release, gen_ai=names if gen_ai_metrics else None, labels=labels)
        tracer = tracer_provider.get_tracer(n.SCOPE, release) if tracer_provider else trace.get_tracer(n.SCOPE, release)
        self.channel = Channel(
            tracer=tracer, meters=meters, labels=labels, names=names, gen_ai=gen_ai_metrics, time=time
        )
        self._announced: set[Series] = set()
        self._announced_for: dict[tuple[str, str], Iterable[Target]] = {}
        self._announced_to: object = None

    def route(
        self, *, workflow: str, stage: str, mode: Mode, requested_model: str, at_us: int | None = None
    ) -> RouteSpan:
        """Start a call's span, under whatever span is current. `at_us`: epoch microseconds of the start, None for now."""
        channel = self.channel
        started = channel.now_us() if at_us is None else at_us
        span: Span = INVALID_SPAN
        muted = False
        try:
            muted = not is_instrumentation_enabled()
            if not muted:
                known = facts.route_start(workflow, stage, mode, requested_model)
                span = start(channel.tracer, f"{n.SPAN_ROUTE} {workflow}", SpanKind.INTERNAL, started, known)
        except Exception as error:  # noqa: BLE001 - telemetry never changes the outcome of a call
            channel.fault("Emitter.route", error)
        return RouteSpan(channel, span, started, cell=(workflow, stage), mode=mode, muted=muted)

    @quiet
    def announce(self, workflow: str, stage: str, targets: Iterable[Target]) -> None:
        """Show a zero for what may be counted, once a series, so that no store loses a counter's first step."""
        provider = self.channel.meters.provider
        if provider is not self._announced_to:  # what was said before a provider was set up was heard by nobody
            self._announced.clear()
            self._announced_for.clear()
            self._announced_to = provider
        if self._announced_for.get((workflow, stage), self) is targets:  # the quick way of every call but the first
            return
        if len(self._announced_for) < _ANNOUNCED:
            self._announced_for[workflow, stage] = targets
        for target in targets:
            series = Series(workflow, stage, target.provider, target.model)
            if series not in self._announced and len(self._announced) < _ANNOUNCED:
                self._announced.add(series)
                self._announce(series)

    def _announce(self, series: Series) -> None:
        meters, labels = self.channel.meters, self.channel.labels
        meters.count(n.ATTEMPTS, 0, labels.attempt(series, "success", "initial", None))
        for kind in _FIRST_FAILURES:
            meters.count(n.ATTEMPTS, 0, labels.attempt(series, "failure", "initial", kind))
        for kind in _LATER_KINDS:
            meters.count(n.ATTEMPTS, 0, labels.attempt(series, "success", kind, None))
        circuit = f"{series.provider}:{series.model}"
        meters.count(n.REJECTIONS, 0, labels.rejection(circuit, series.provider))
        for before, after in _MOVES:
            meters.count(n.TRANSITIONS, 0, labels.transition(circuit, before, after))
        for name in (n.COST, n.QUALITY_SCORE, n.QUALITY_COUNT):
            meters.count(name, 0, labels.series(series))
        meters.count(n.BASELINE_COST, 0, labels.cell(series.workflow, series.stage))

    @quiet
    def transition(self, t: Transition, *, span: RouteSpan | AttemptSpan | None = None) -> None:
        """Count a circuit's change of state, and put it on the span of ours that is under way.

        That is `span` where it is given (a call's span is current only while something is sent), else the current one
        if it is ours.
        """
        self.channel.meters.count(n.TRANSITIONS, 1, self.channel.labels.transition(t.name, t.from_state, t.to_state))
        self.channel.meters.light(CircuitLight(t.name, t.to_state))
        current = span.span if span is not None else trace.get_current_span()
        scope = getattr(current, "instrumentation_scope", None)
        if current.is_recording() and (span is not None or getattr(scope, "name", None) == n.SCOPE):
            current.add_event(n.EVENT_TRANSITION, facts.transition(t), timestamp=int(t.at * 1_000_000) * 1000)

    @quiet
    def rejected(self, name: str, provider: str) -> None:
        """Count a permit refused by the circuit `name`."""
        self.channel.meters.count(n.REJECTIONS, 1, self.channel.labels.rejection(name, provider))

    @quiet
    def quality(self, series: Series, score: float) -> None:
        """Count a verdict (0..1) that came after its call ended."""
        tell_quality(self.channel, series, score)

    @quiet
    def fault(self, where: str) -> None:
        """Count a fault of attune's own. `where` is one of attune's own words."""
        self.channel.meters.count(n.FAULTS, 1, {n.WHERE: where})

    @quiet
    def reader_age(self, reader: str, age_s: float) -> None:
        """Show how old a reader's newest word is, in seconds."""
        self.channel.meters.age(reader, age_s)

    @quiet
    def reader_error(self, reader: str) -> None:
        """Count a reader's failed poll."""
        self.channel.meters.count(n.READER_ERRORS, 1, {n.READER: reader})

    @quiet
    def watch(self, circuits: Callable[[], Iterable[CircuitLight]]) -> None:
        """Read the gauges of circuits from `circuits` at each collection, so that time alone shows too.

        Called on the exporter's thread; must be quick and must not block. Without it the gauges follow transitions.
        """
        self.channel.meters.watch(circuits)

    @quiet
    def flush(self) -> None:
        """Hand noted counts to the instruments. Every collection of the SDK does so by itself."""
        self.channel.meters.flush()

    def forget(self) -> None:
        """Drop counts noted and not yet handed on: in a forked child they are the parent's to tell."""
        self.channel.meters.forget()


def _release() -> str:
    try:
        return version("attune-models")
    except PackageNotFoundError:
        return "0"
