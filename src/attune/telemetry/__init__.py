"""Tell and listen: OpenTelemetry out, and back as evidence. Nothing heavy loads before a name is used.

`setup()` builds providers and OTLP exporters, and is never called implicitly; the readers bring evidence back.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from attune.models.performance import Batch, TelemetryReader

if TYPE_CHECKING:
    from attune.telemetry.pipeline import Telemetry, setup
    from attune.telemetry.read_otlp_file import OtlpFileReader
    from attune.telemetry.read_promql import PromQLReader
    from attune.telemetry.readers import from_text

__all__ = ["Batch", "OtlpFileReader", "PromQLReader", "Telemetry", "TelemetryReader", "from_text", "setup"]

_HOMES = (
    ("setup", "pipeline"),
    ("Telemetry", "pipeline"),
    ("OtlpFileReader", "read_otlp_file"),
    ("PromQLReader", "read_promql"),
    ("from_text", "readers"),
)


def __getattr__(name: str) -> Any:
    """Load what is asked for."""
    for known, module in _HOMES:
        if name == known:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *(name for name, _ in _HOMES)})
