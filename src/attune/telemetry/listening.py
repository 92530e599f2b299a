"""Whether anybody listens to OpenTelemetry in this process, and under which name its signals leave.

Uses the API alone: asking must not load the SDK. Sets nothing up.
"""

from __future__ import annotations

from typing import Any

from opentelemetry import metrics, trace

from attune.telemetry import names as n

_NOBODY = frozenset({"ProxyTracerProvider", "NoOpTracerProvider", "_ProxyMeterProvider", "NoOpMeterProvider"})


def listened() -> bool:
    """Whether a global tracer or meter provider was set up that keeps what it is told."""
    return (
        type(trace.get_tracer_provider()).__name__ not in _NOBODY
        or type(metrics.get_meter_provider()).__name__ not in _NOBODY
    )


def instance_of(provider: Any = None) -> str | None:
    """`service.instance.id` that a tracer provider (None: the global one) sends; None where it has none.

    The process's own windows bear it as their writer, so that a reader's rows of this process are known as its own.
    """
    provider = trace.get_tracer_provider() if provider is None else provider
    attributes = getattr(getattr(provider, "resource", None), "attributes", None) or {}
    found = attributes.get(n.INSTANCE_ID)
    return str(found) if found else None
