"""attune routes, guards and measures the LLM calls that you already make.

    client = attune.wrap(anthropic.Anthropic())
    client.messages.create(model="auto", ...)

The front door: each name is loaded from its own file at first use, so that `import attune` costs little. It also says who
provides the live parts that `attune.models` asks for.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attune.models import process as _process

if TYPE_CHECKING:
    from attune.calls.context import capture as capture
    from attune.calls.context import last_call as last_call
    from attune.calls.context import remaining_s as remaining_s
    from attune.calls.context import report as report
    from attune.calls.context import scope as scope
    from attune.calls.default import configure as configure
    from attune.calls.default import flush as flush
    from attune.calls.default import shutdown as shutdown
    from attune.calls.instrumentor import AttuneInstrumentor as AttuneInstrumentor
    from attune.calls.instrumentor import instrument as instrument
    from attune.calls.instrumentor import uninstrument as uninstrument
    from attune.calls.routed import routed as routed
    from attune.calls.runtime import Runtime as Runtime
    from attune.calls.verdicts import report_quality as report_quality
    from attune.calls.wrap import wrap as wrap
    from attune.errors import AttuneError as AttuneError
    from attune.errors import CallError as CallError
    from attune.errors import CircuitOpenError as CircuitOpenError
    from attune.errors import ConfigError as ConfigError
    from attune.errors import DeadlineExceeded as DeadlineExceeded
    from attune.errors import NoModelAvailable as NoModelAvailable
    from attune.errors import StateError as StateError
    from attune.errors import StreamInterrupted as StreamInterrupted
    from attune.errors import TelemetryError as TelemetryError
    from attune.models.call import AUTO as AUTO
    from attune.models.call import Attempt as Attempt
    from attune.models.call import CallRecord as CallRecord
    from attune.models.call import Target as Target
    from attune.models.decision import Decision as Decision
    from attune.models.failures import FailureKind as FailureKind

_HOMES: Mapping[str, str] = {
    "AUTO": "attune.models.call",
    "Attempt": "attune.models.call",
    "AttuneError": "attune.errors",
    "AttuneInstrumentor": "attune.calls.instrumentor",
    "CallError": "attune.errors",
    "CallRecord": "attune.models.call",
    "CircuitOpenError": "attune.errors",
    "ConfigError": "attune.errors",
    "DeadlineExceeded": "attune.errors",
    "Decision": "attune.models.decision",
    "FailureKind": "attune.models.failures",
    "NoModelAvailable": "attune.errors",
    "Runtime": "attune.calls.runtime",
    "StateError": "attune.errors",
    "StreamInterrupted": "attune.errors",
    "Target": "attune.models.call",
    "TelemetryError": "attune.errors",
    "capture": "attune.calls.context",
    "configure": "attune.calls.default",
    "flush": "attune.calls.default",
    "instrument": "attune.calls.instrumentor",
    "last_call": "attune.calls.context",
    "remaining_s": "attune.calls.context",
    "report": "attune.calls.context",
    "report_quality": "attune.calls.verdicts",
    "routed": "attune.calls.routed",
    "scope": "attune.calls.context",
    "shutdown": "attune.calls.default",
    "uninstrument": "attune.calls.instrumentor",
    "wrap": "attune.calls.wrap",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - one list of names, kept above


def __getattr__(name: str) -> Any:
    """Load a public name from the file it lives in."""
    if (home := _HOMES.get(name)) is None:
        if name in ("models", "testing", "telemetry", "clients"):
            return importlib.import_module(f"{__name__}.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return [*__all__, "models", "telemetry", "testing"]


def _provided() -> Any:
    from attune.calls.default import current

    return current()


_process.provide(_provided)
