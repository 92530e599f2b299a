"""`setup()`: providers and OTLP exporters from the standard OTEL_* variables, only when asked for.

With an endpoint, spans and metrics go there (http/protobuf, or grpc where the variable says so); without one, into OTLP
JSON files under `{home}/telemetry`, where any later process finds them. Nothing calls this but a person's code or command.
"""

from __future__ import annotations

import importlib
import os
import uuid
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    ConsoleMetricExporter,
    MetricExporter,
    MetricReader,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter

from attune.errors import ConfigError
from attune.telemetry import names as n
from attune.telemetry.otlp_file import MAX_BYTES, ROTATE_BYTES, FileMetricExporter, FileSpanExporter, LineFile

_PROTOCOLS: Final = ("http/protobuf", "grpc")
_FILE_BATCH: Final = 128
_FILE_DELAY_MS: Final = 1000  # of spans on their way into a file; readers promise export + 2 s


@dataclass(slots=True, weakref_slot=True)
class Telemetry:
    """What `setup()` built. Everything here may be called more than once, and from every thread."""

    tracer_provider: TracerProvider
    meter_provider: MeterProvider
    lines: tuple[LineFile, ...] = ()
    _over: bool = field(default=False, repr=False)

    @property
    def instance_id(self) -> str:
        """`service.instance.id` of this process; another one after a fork."""
        return str(self.tracer_provider.resource.attributes.get(n.INSTANCE_ID, ""))

    @property
    def files(self) -> list[Path]:
        """The OTLP files of this process, rotated ones too, oldest first; none where it exports over the network."""
        return [path.absolute() for lines in self.lines for path in lines.files]

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Export what is pending; False where that did not end in time."""
        millis = max(1, int(timeout_s * 1000))
        done = self.tracer_provider.force_flush(millis)
        return bool(self.meter_provider.force_flush(millis)) and bool(done)

    def shutdown(self, timeout_s: float = 5.0) -> None:
        """Export what is pending and stop. Nothing is told after that."""
        if not self._over:
            self._over = True
            self.flush(timeout_s)
            self.tracer_provider.shutdown()
            self.meter_provider.shutdown(max(1, timeout_s * 1000))


def setup(
    *,
    service_name: str | None = None,
    home: str | os.PathLike[str] | None = None,
    resource: Mapping[str, str] | None = None,
    instance_id: str | None = None,
    set_as_global: bool = True,
    rotate_bytes: int = ROTATE_BYTES,
    max_bytes: int = MAX_BYTES,
) -> Telemetry:
    """Build providers and exporters from the standard OTEL_* variables, and make them the global ones.

    Without an endpoint in OTEL_EXPORTER_OTLP_[TRACES_|METRICS_]ENDPOINT, a signal goes into files of OTLP JSON lines under
    `home`/telemetry (default: ATTUNE_HOME, else ~/.attune), rotated at `rotate_bytes` and bounded by `max_bytes` a signal.
    OTEL_TRACES_EXPORTER and OTEL_METRICS_EXPORTER may say `none`, `console` or `otlp`. `instance_id` names this process
    (`service.instance.id`); None: the one in OTEL_RESOURCE_ATTRIBUTES, else a new one. With OTEL_SDK_DISABLED=true
    nothing is exported. Raises ConfigError for a variable that cannot be followed, and where global providers are set
    already. Exporters that fail later are logged by the SDK and reach no call.
    """
    if set_as_global:
        _refuse_second()
    directory = _home(home) / "telemetry"
    lines = [
        LineFile(directory, signal, rotate_bytes=rotate_bytes, max_bytes=max_bytes) for signal in ("traces", "metrics")
    ]
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    traces, points = (None, None) if disabled else (_choose("traces", lines[0]), _choose("metrics", lines[1]))
    about = _resource(service_name, resource, instance_id)
    tracer_provider = TracerProvider(resource=about)
    if traces is not None:
        tracer_provider.add_span_processor(_batches(traces))
    readers: Sequence[MetricReader] = [] if points is None else [PeriodicExportingMetricReader(points)]
    meter_provider = MeterProvider(resource=about, metric_readers=readers)
    handle = Telemetry(tracer_provider, meter_provider, tuple(lines))
    _renew_after_fork(handle)
    if set_as_global:
        trace.set_tracer_provider(tracer_provider)
        metrics.set_meter_provider(meter_provider)
    return handle


def _refuse_second() -> None:
    for what, provider in (("tracer", trace.get_tracer_provider()), ("meter", metrics.get_meter_provider())):
        if isinstance(provider, (TracerProvider, MeterProvider)):
            raise ConfigError(
                f"A global {what} provider is set already ({type(provider).__module__}.{type(provider).__name__}). attune "
                "reports to it as it is: leave out setup(), or call setup(set_as_global=False) and hand its providers to "
                "attune.configure(tracer_provider=..., meter_provider=...)."
            )


def _home(home: str | os.PathLike[str] | None) -> Path:
    return Path(home or os.environ.get("ATTUNE_HOME") or "~/.attune").expanduser()


def _resource(service_name: str | None, more: Mapping[str, str] | None, instance_id: str | None) -> Resource:
    given = Resource.create()
    attributes: dict[str, str] = dict(more or {})
    if service_name is not None:
        attributes["service.name"] = service_name
    if n.INSTANCE_ID not in attributes:
        told = n.INSTANCE_ID in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        if instance_id is not None or not told:
            attributes[n.INSTANCE_ID] = instance_id or str(uuid.uuid4())
    return given.merge(Resource(attributes))


def _batches(exporter: SpanExporter) -> BatchSpanProcessor:
    """The SDK's own settings over the network; into a file sooner, and in lines that a reader takes in a millisecond."""
    if not isinstance(exporter, FileSpanExporter):
        return BatchSpanProcessor(exporter)
    return BatchSpanProcessor(
        exporter,
        schedule_delay_millis=None if "OTEL_BSP_SCHEDULE_DELAY" in os.environ else _FILE_DELAY_MS,
        max_export_batch_size=None if "OTEL_BSP_MAX_EXPORT_BATCH_SIZE" in os.environ else _FILE_BATCH,
    )


def _choose(signal: str, lines: LineFile) -> Any:
    """The exporter of one signal, None for none."""
    upper = signal.upper()
    asked = os.environ.get(f"OTEL_{upper}_EXPORTER", "").strip().lower()
    endpoint = os.environ.get(f"OTEL_EXPORTER_OTLP_{upper}_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    if asked == "none":
        return None
    if asked == "console":
        return ConsoleSpanExporter() if signal == "traces" else ConsoleMetricExporter()
    if asked not in {"", "otlp"}:
        raise ConfigError(f"OTEL_{upper}_EXPORTER={asked!r}: attune sets up otlp, console or none. Unset it for files.")
    if asked == "" and not endpoint:
        return FileSpanExporter(lines) if signal == "traces" else FileMetricExporter(lines)
    return _otlp(signal)


def _otlp(signal: str) -> SpanExporter | MetricExporter:
    specific = f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL"
    name = specific if os.environ.get(specific) else "OTEL_EXPORTER_OTLP_PROTOCOL"
    protocol = os.environ.get(name, "").strip() or _PROTOCOLS[0]
    if protocol not in _PROTOCOLS:
        raise ConfigError(f"{name}={protocol!r}: use one of {', '.join(_PROTOCOLS)}.")
    room = "grpc" if protocol == "grpc" else "http"
    kind, name = ("trace", "OTLPSpanExporter") if signal == "traces" else ("metric", "OTLPMetricExporter")
    module = importlib.import_module(f"opentelemetry.exporter.otlp.proto.{room}.{kind}_exporter")
    exporter: SpanExporter | MetricExporter = getattr(module, name)()
    return exporter


def _renew_after_fork(handle: Telemetry) -> None:
    """Give a child locks and an identity of its own. The SDK restarts its threads by itself."""
    weak = weakref.ref(handle)

    def renew() -> None:
        alive = weak()
        if alive is None:
            return
        for lines in alive.lines:
            lines.renew_lock()
        fresh = Resource({n.INSTANCE_ID: str(uuid.uuid4())})
        for provider in (alive.tracer_provider, alive.meter_provider):
            update = getattr(provider, "_update_resource", None)  # SDK 1.45; older ones keep the parent's id
            if update is not None:
                update(fresh)

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=renew)
