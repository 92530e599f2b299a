"""What a guarded call costs over the bare client, in CPU microseconds: `request()` answered from memory.

Run: python tests/benchmarks/bench_calls.py. Minimum of 15 batches; figures of one run, side by side.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from typing import Any

import anthropic
from anthropic.types import Message, TextBlock, Usage
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

import attune

ANSWER = Message(
    id="m", content=[TextBlock(type="text", text="hi")], model="claude-haiku-5-5", role="assistant",
    stop_reason="end_turn", type="message", usage=Usage(input_tokens=10, output_tokens=5),
)  # fmt: skip


class Anthropic(anthropic.Anthropic):
    """The real client, answering from memory."""

    def request(self, *args: Any, **kwargs: Any) -> Any:
        """No wire."""
        return ANSWER


class Nowhere(SpanExporter):
    """Exports to nobody."""

    def export(self, spans: Any) -> SpanExportResult:
        """Take and forget."""
        return SpanExportResult.SUCCESS


def cpu_us(call: Callable[[], Any], batches: int = 15, calls: int = 400) -> float:
    """The least CPU microseconds of this thread for a call, of several batches."""
    for _ in range(100):
        call()
    best = float("inf")
    for _ in range(batches):
        before = time.thread_time()
        for _ in range(calls):
            call()
        best = min(best, (time.thread_time() - before) / calls * 1e6)
    return best


def main() -> int:
    """Measure, print, and say whether the promises hold."""
    bare = Anthropic(api_key="k", base_url="http://127.0.0.1:9")
    request = {"max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    base = cpu_us(lambda: bare.messages.create(model="claude-haiku-5-5", **request))
    print(f"bare client                 {base:8.1f} us")
    worst = 0
    traces = TracerProvider()
    traces.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=100_000))
    meters = MeterProvider([InMemoryMetricReader()])
    for name, bound, words in (
        ("telemetry off", 30, {}),
        ("SDK spans and metrics", 150, {"tracer_provider": traces, "meter_provider": meters}),
    ):
        runtime = attune.configure(state="memory", readers=(), **words)
        guarded = attune.wrap(bare, workflow="bench", stage="one")
        for model in ("auto", "claude-haiku-5-5"):
            over = cpu_us(functools.partial(guarded.messages.create, model=model, **request)) - base
            worst = max(worst, over > bound)
            print(f"{name:22} {model[:6]:6} {over:+7.1f} us over it (promised: {bound})")
        print(f"  faults: {dict(runtime.faults)}")
    traces.shutdown()
    return worst


if __name__ == "__main__":
    sys.exit(main())
