"""Who else instruments the clients of an SDK in this process, and what they make of a call: a span, and metrics or none.

Known by facts alone: an instrumentor that is loaded, and says that it is at work. So it does not matter who came first, and
nothing is imported. A neighbour that is not in the table here is not seen.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbour:
    """One instrumentation. `metrics`: whether it emits `gen_ai.client.*`; `switch`: the variable that turns these off."""

    module: str
    instrumentor: str
    metrics: bool
    switch: str | None = None

    def at_work(self) -> bool:
        """Whether it instruments this process now."""
        if (module := sys.modules.get(self.module)) is None:
            return False
        one = getattr(getattr(module, self.instrumentor, None), "_instance", None)
        return getattr(one, "is_instrumented_by_opentelemetry", False) is True

    def measures(self) -> bool:
        """Whether its metrics are on, too."""
        if not self.metrics or not self.at_work():
            return False
        return self.switch is None or os.environ.get(self.switch, "true").lower() in ("", "true")


_TRACELOOP = "TRACELOOP_METRICS_ENABLED"

# Read in and tried with: opentelemetry-instrumentation-genai-* 1.3b0, OpenLLMetry 0.62.4, OpenInference 3.1.0 and 0.1.66,
# opentelemetry-instrumentation-openai-v2 2.4b0 (read only) (2026-11).
_NEIGHBOURS: Mapping[str, tuple[Neighbour, ...]] = {
    "anthropic": (
        Neighbour(
            module="opentelemetry.instrumentation.genai.anthropic", instrumentor="AnthropicInstrumentor", metrics=True
        ),
        Neighbour(
            module="opentelemetry.instrumentation.anthropic", instrumentor="AnthropicInstrumentor", metrics=True,
            switch=_TRACELOOP,
        ),
        Neighbour(module="openinference.instrumentation.anthropic", instrumentor="AnthropicInstrumentor", metrics=False),
    ),
    "openai": (
        Neighbour(module="opentelemetry.instrumentation.genai.openai", instrumentor="OpenAIInstrumentor", metrics=True),
        Neighbour(module="opentelemetry.instrumentation.openai_v2", instrumentor="OpenAIInstrumentor", metrics=True),
        Neighbour(
            module="opentelemetry.instrumentation.openai", instrumentor="OpenAIInstrumentor", metrics=True,
            switch=_TRACELOOP,
        ),
        Neighbour(module="openinference.instrumentation.openai", instrumentor="OpenAIInstrumentor", metrics=False),
    ),
}  # fmt: skip


def record(sdk: str) -> bool:
    """Whether a neighbour makes a span for a call of this SDK's clients."""
    return any(neighbour.at_work() for neighbour in _NEIGHBOURS.get(sdk, ()))


def measure(sdk: str) -> bool:
    """Whether a neighbour emits the `gen_ai.client.*` metrics for it."""
    return any(neighbour.measures() for neighbour in _NEIGHBOURS.get(sdk, ()))
