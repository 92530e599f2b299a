"""Providers in memory, a call told from end to end, and Hypothesis' idea of an observation."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from attune.models.call import Attempt, CallRecord, Target
from attune.models.decision import Decision
from attune.models.failures import FailureKind
from attune.models.performance import Observation, Series
from attune.telemetry.emit import Emitter

SERIES = Series("review", "analysis", "anthropic", "claude-haiku-4-5")
TARGET = Target("claude-haiku-4-5")
DECISION = Decision(model="claude-haiku-4-5", provider="anthropic", reason="proven")
NOW = 1_790_000_000.0


def studio(*, instance="me", **settings):
    """An emitter with providers in memory: `.emitter`, `.spans()`, `.points(name)`, `.names()`."""
    resource = Resource({"service.instance.id": instance})
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    meters = MeterProvider(resource=resource, metric_readers=[reader], shutdown_on_exit=False)
    emitter = Emitter(tracer_provider=tracers, meter_provider=meters, time=lambda: NOW, **settings)

    def metrics():
        data = reader.get_metrics_data()
        groups = data.resource_metrics if data else []
        return {m.name: m for group in groups for scope in group.scope_metrics for m in scope.metrics}

    def points(name):
        found = metrics().get(name)
        return [] if found is None else [(dict(p.attributes), getattr(p, "value", p)) for p in found.data.data_points]

    return SimpleNamespace(
        emitter=emitter, tracers=tracers, meters=meters, reader=reader, metrics=metrics, points=points,
        spans=lambda: {span.name: span for span in spans.get_finished_spans()}, finished=spans.get_finished_spans,
    )  # fmt: skip


def tell(emitter, seen, *, quality=None, native=False, kind="initial", error_type=None, **attempt):
    """Tell one call with one attempt, as the plan does."""
    series = seen.series
    target = Target(series.model, provider=series.provider)
    route = emitter.route(
        workflow=series.workflow, stage=series.stage, mode="enforce", requested_model="auto", at_us=seen.at_us
    )
    route.decided(DECISION, candidates=3, eliminated=2, data_age_s=1.5)
    span = route.attempt(
        target=target, index=0, kind=kind, circuit_name=f"{series.provider}:{series.model}", circuit_state=seen.circuit,
        explored=seen.explored, native=native, stream=seen.first_us is not None, at_us=seen.at_us, **attempt,
    )  # fmt: skip
    token = span.attach()
    span.detach(token)
    span.end(seen, usage=None, response={"gen_ai.response.id": "msg_1"})
    record = CallRecord(
        id="id-1", workflow=series.workflow, stage=series.stage, decision=DECISION, outcome=seen.outcome, quality=quality,
        attempts=(Attempt(index=0, provider=series.provider, model=series.model, kind=kind, outcome=seen.outcome),),
        cost=(seen.cost_nano or 0) / 1e9, latency_ms=seen.latency_us / 1e3,
    )  # fmt: skip
    end_s = (seen.at_us + seen.latency_us) / 1e6
    route.end(record, error_type=error_type or seen.error_type, baseline_cost=0.002, end_s=end_s)
    return route, span


def seen(**changes):
    """One answered attempt."""
    facts = {
        "series": SERIES, "at_us": int(NOW * 1e6), "outcome": "success", "latency_us": 1_234_567, "cost_nano": 1_500_000,
        "tokens_in": 1000, "tokens_out": 50,
    }  # fmt: skip
    return Observation(**{**facts, **changes})


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40).filter(
    lambda text: text.strip() and text not in {"auto", "_other"}
)
PROVIDERS = st.one_of(st.sampled_from(["anthropic", "openai", "bedrock", "aws.bedrock", "vertex", "x_ai"]), NAMES)
OBSERVATIONS = st.builds(
    Observation,
    series=st.builds(Series, NAMES, NAMES, PROVIDERS, NAMES),
    at_us=st.integers(0, 2**51),
    outcome=st.sampled_from(["success", "failure", "neutral", "rejected"]),
    latency_us=st.integers(0, 3_599_999_999),
    error_type=st.none() | st.sampled_from([str(kind) for kind in FailureKind]),
    first_us=st.none() | st.integers(0, 3_599_999_999),
    cost_nano=st.none() | st.integers(0, 10**15),
    tokens_in=st.none() | st.integers(0, 10**9),
    tokens_out=st.none() | st.integers(0, 10**9),
    empty=st.booleans(),
    explored=st.booleans(),
    circuit=st.sampled_from(["closed", "open", "half_open"]),
)
