"""A world of its own for one test: a runtime, a home, a clock that is told to move, and telemetry that is kept in memory.

`attune_sandbox` is the pytest fixture, `Sandbox` what it gives. Nothing here knows what is tested: it puts a runtime in
place of the process's, keeps what it tells, and takes it away again. This file imports pytest; nothing else of attune does.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from attune.testing.clock import FakeClock

if TYPE_CHECKING:  # as a plugin this file is loaded for every test run: the rest comes with the first sandbox
    from attune.calls.runtime import Runtime


class Sandbox:
    """One test's attune. `home` is its ATTUNE_HOME, `clock` its FakeClock; `runtime` serves `attune.routed` and `wrap`.

    The runtime keeps its state in memory, reads nothing, runs no thread, and explores nothing until `configure` says
    otherwise. Not thread-safe; what runs on it is.
    """

    def __init__(self, home: Path) -> None:
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        from attune.calls.context import forget

        self.home = home
        self.clock = FakeClock()
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        resource = Resource({"service.name": "sandbox"})  # made, not detected: detection starts threads
        self._tracer_provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self._meter_provider = MeterProvider([self.reader], resource=resource, shutdown_on_exit=False)
        self.runtime = self.configure()
        forget()

    def configure(self, **words: Any) -> Runtime:
        """Start anew with these settings of `attune.configure` over the sandbox's own; clock and telemetry stay."""
        from attune.calls.default import configure

        own: dict[str, Any] = {
            "state": "memory",
            "readers": (),
            "home": self.home,
            "explore": False,
            "clock": self.clock,
            "tracer_provider": self._tracer_provider,
            "meter_provider": self._meter_provider,
        }
        self.runtime = configure(**{**own, **words})
        self.clock = words.get("clock") or self.clock
        return self.runtime

    @property
    def spans(self) -> tuple[Any, ...]:
        """The spans that have ended, in the order of their ends."""
        return self.exporter.get_finished_spans()

    def metrics(self) -> dict[str, dict[tuple[tuple[str, Any], ...], Any]]:
        """What was measured: metric name -> sorted attributes -> a sum's or gauge's value, a histogram's count."""
        data = self.reader.get_metrics_data()
        scopes = itertools.chain.from_iterable(it.scope_metrics for it in data.resource_metrics) if data else ()
        return {
            metric.name: {
                tuple(sorted((point.attributes or {}).items())): getattr(point, "value", getattr(point, "count", None))
                for point in metric.data.data_points
            }
            for metric in itertools.chain.from_iterable(it.metrics for it in scopes)
        }

    @property
    def circuits(self) -> Mapping[str, Any]:
        """The circuits as `CircuitBreaker().get_status()` tells them."""
        return self.runtime.circuits.status(now=self.runtime.clock.monotonic())

    @property
    def faults(self) -> Counter[str]:
        """Attune's own faults by place; empty in a test that should see none."""
        return self.runtime.faults

    def text(self) -> str:
        """Everything that spans and metrics say, as one text: for tests that look for what must not be in it."""
        return "\n".join([*(span.to_json() for span in self.spans), repr(self.metrics())])

    def close(self) -> None:
        """End the runtime and its telemetry; the process has no runtime afterwards. More than once is fine."""
        from attune.calls.default import shutdown

        shutdown(1.0)
        self._tracer_provider.shutdown()
        self._meter_provider.shutdown()


@pytest.fixture
def attune_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A Sandbox in place of the process's attune, until the test ends. `ATTUNE_HOME` is a folder of the test's own."""
    home = tmp_path / "attune"
    monkeypatch.setenv("ATTUNE_HOME", str(home))
    sandbox = Sandbox(home)
    yield sandbox
    sandbox.close()
