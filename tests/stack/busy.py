"""A service that has everything happen to it in a few seconds: real guarded calls through the SDK, told over OTLP/HTTP.

Failures of several kinds, retries, fallbacks, an open circuit with a failed and a successful probe, a refusal, a cooldown,
verdicts, trials, pinned and merely observed calls, streams, empty answers, a fault of attune's own, a reader that fails
and one that does not, both generations of the GenAI conventions' names. So every panel has something to show.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import anthropic
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import attune
from attune.models import get_all_models
from attune.models.performance import Batch
from attune.testing import Behaviour, ScriptedProvider, empty, fail, is_good, ok

SERVICE = "busy-service"
RECOVERY_S = 1.0
EXPORT_S = 0.5


class Fresh:
    """A reader whose newest word is two seconds old."""

    name, scope = "fresh", "fleet"

    def poll(self, since: bytes | None, deadline_s: float) -> Batch:
        return Batch(cursor=since, watermark_ns=time.time_ns() - 2_000_000_000)

    def close(self) -> None:
        """Nothing is held."""


class Broken(Fresh):
    """A reader that cannot read."""

    name = "broken"

    def poll(self, since: bytes | None, deadline_s: float) -> Batch:
        raise attune.TelemetryError("the store is gone")


class Service:
    """One process's providers, clients and runtime. `spans` are those that it ended."""

    def __init__(self, home: Path, otlp: str, provider: ScriptedProvider, stack: ExitStack) -> None:
        about = Resource({"service.name": SERVICE, "service.instance.id": "busy-1"})
        self._kept = InMemorySpanExporter()
        self.tracers = TracerProvider(resource=about, shutdown_on_exit=False)
        self.tracers.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(f"{otlp}/v1/traces"), schedule_delay_millis=200)
        )
        self.tracers.add_span_processor(SimpleSpanProcessor(self._kept))
        sending = PeriodicExportingMetricReader(OTLPMetricExporter(f"{otlp}/v1/metrics"), EXPORT_S * 1000)
        self.meters = MeterProvider([sending], resource=about, shutdown_on_exit=False)
        stack.callback(self.meters.shutdown)
        stack.callback(self.tracers.shutdown)
        stack.callback(attune.shutdown)
        self.home, self.provider = home, provider
        found = get_all_models()["anthropic"]
        self.cheap, self.capable, self.premium = (found[tier].id for tier in ("cheap", "capable", "premium"))
        bare = stack.enter_context(anthropic.Anthropic(base_url=provider.url, api_key="scripted", max_retries=1))
        self._bare = bare

    @property
    def spans(self) -> tuple[Any, ...]:
        return self._kept.get_finished_spans()

    def begin(self, **words: Any) -> None:
        """A runtime with these settings over the usual ones."""
        usual: dict[str, Any] = {
            "state": "memory",
            "readers": (Fresh(), Broken()),
            "refresh_s": 0.3,
            "seed": 7,
            "max_wait_s": 0.2,
        }
        self.runtime = attune.configure(
            **usual,
            home=self.home,
            breaker={"failure_threshold": 3, "recovery_timeout_seconds": RECOVERY_S},
            tracer_provider=self.tracers,
            meter_provider=self.meters,
            **words,
        )
        self.client = attune.wrap(self._bare, candidates=[self.cheap, self.capable, self.premium])

    def call(self, model: str = attune.AUTO, *, topic: str = "any", stream: bool = False, to: Any = None) -> None:
        """One call; what it raises is its own affair."""
        body: dict[str, Any] = {"max_tokens": 40, "messages": [{"role": "user", "content": f"[topic:{topic}] hello"}]}
        with suppress(anthropic.APIError):
            answer = (to or self.client).messages.create(model=model, stream=stream, **body)
            if stream:
                for _ in answer:
                    pass


@contextmanager
def service(home: Path, otlp: str) -> Iterator[Service]:
    """A service in front of a scripted provider, told to `otlp`."""
    with ExitStack() as stack:
        usual = Behaviour(quality={"review": 0.9, None: 0.95}, latency_ms=4.0, spread=0.5, output_tokens=30)
        provider = stack.enter_context(ScriptedProvider(seed=3, default=usual))
        yield Service(home, otlp, provider, stack)


def live(busy: Service) -> None:
    """Everything, once. Takes about six seconds."""
    busy.begin()
    judged = _judged(busy)
    _learn(busy, judged)
    _stumble(busy)
    time.sleep(EXPORT_S * 2)
    _suffer(busy)
    _learn(busy, judged)
    time.sleep(EXPORT_S * 2)
    busy.begin(gen_ai_names="0.1", mode="observe")
    for _ in range(4):
        busy.call(topic="observed")
    time.sleep(EXPORT_S * 3)
    for _ in range(4):
        busy.call(topic="observed")
    time.sleep(EXPORT_S * 2)


def _judged(busy: Service) -> Any:
    @attune.routed(workflow="code-review", stage="analysis", min_success_rate=0.5, judge=is_good)
    def review(*, model: str = attune.AUTO) -> Any:
        body = [{"role": "user", "content": "[topic:review] hello"}]
        return busy.client.messages.create(model=model, max_tokens=40, messages=body)

    return review


def _learn(busy: Service, judged: Any) -> None:
    """Quiet times: verdicts, trials, a stream, a pinned call, limits that nothing meets, a judge that fails."""
    for _ in range(16):
        judged()
    for stream in (False, True):
        with attune.scope(workflow="support", stage="triage"):
            busy.call(stream=stream)
            busy.call(busy.capable, stream=stream)
    with attune.scope(workflow="support", stage="answer", max_cost=1e-9, on_infeasible="best"):
        busy.call()
    busy.provider.script(busy.premium, ok(usage={"input_tokens": 900, "output_tokens": 9000}))
    with attune.scope(workflow="support", stage="dear"):
        busy.call(busy.premium)
    busy.provider.script(busy.cheap, empty())
    with attune.scope(workflow="support", stage="empty"):
        busy.call(busy.cheap)

    def broken(_: Any) -> bool:
        raise RuntimeError("a judge with a fault")

    @attune.routed(workflow="support", stage="judged", judge=broken)
    def ask(*, model: str = attune.AUTO) -> Any:
        return busy.client.messages.create(model=model, max_tokens=40, messages=[{"role": "user", "content": "hello"}])

    ask()


def _stumble(busy: Service) -> None:
    """One decision that fails inside attune: the call goes to the default."""
    decide = busy.runtime.router.decide

    def broken(*_args: Any, **_words: Any) -> Any:
        raise RuntimeError("a router with a fault")

    busy.runtime.router.decide = broken
    busy.call()
    busy.runtime.router.decide = decide


def _suffer(busy: Service) -> None:
    """Trouble: an outage with fallback, a circuit that opens, fails its probe and recovers; a cooldown; a refusal."""
    single = attune.wrap(busy._bare, candidates=[busy.premium], workflow="research", stage="deep")
    for kind in ("server", "overloaded"):
        busy.provider.script(None, fail(kind, should_retry=False))
        with attune.scope(workflow="support", stage="triage"):
            busy.call()  # another model answers
    busy.provider.script(busy.cheap, fail("timeout"))
    with attune.scope(workflow="support", stage="triage", model=busy.cheap):
        busy.call()  # the same model answers
    busy.provider.outage(busy.premium, status=500)
    for _ in range(3):
        busy.call(busy.premium, to=single)  # opens the circuit, is refused by it
    for _ in range(3):
        with attune.scope(workflow="support", stage="triage"):
            busy.call()
    time.sleep(RECOVERY_S + 0.1)
    busy.call(busy.premium, to=single)  # a probe that fails
    busy.provider.recover()
    time.sleep(RECOVERY_S + 0.1)
    busy.call(busy.premium, to=single)  # a probe that succeeds
    busy.provider.script(busy.capable, fail("rate_limit", retry_after_s=20))
    busy.call(busy.capable)
