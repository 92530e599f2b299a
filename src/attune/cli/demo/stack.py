"""The real stack beside the demo: agent, gateway, Prometheus, Alertmanager and a trace store, as shipped in `collector`.

The configurations differ from the shipped ones in addresses, since every port is a free one of this moment, and in three
waits, since the demo has seconds where a service has days: Prometheus scrapes and evaluates every second, and the gateway
decides on a trace after two. Knows no call and no figure.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from attune.cli.demo.launch import PortTaken, Program, Programs, free_ports
from attune.errors import StateError
from attune.telemetry import Telemetry
from attune.telemetry.names import SPAN_ROUTE

EXPORT_S: Final = 0.5
_TRIES: Final = 3
_QUICKER: Final[Mapping[str, str]] = {"COLLECTOR_DECISION_WAIT": "2s", "COLLECTOR_SPAN_METRICS_FLUSH": "1s"}
_COLLECTOR_PORTS: Final = ("grpc", "http", "health", "metrics")
_JAEGER: Final[Mapping[str, str]] = {  # every port that it opens
    "jaeger": "query.http-server.host-port",
    "jaeger.otlp": "collector.otlp.http.host-port",
    "jaeger.admin": "admin.http.host-port",
    "jaeger.1": "query.grpc-server.host-port",
    "jaeger.2": "collector.otlp.grpc.host-port",
    "jaeger.3": "collector.http-server.host-port",
    "jaeger.4": "collector.grpc-server.host-port",
    "jaeger.5": "http-server.host-port",
    "jaeger.6": "processor.jaeger-compact.server-host-port",
    "jaeger.7": "processor.jaeger-binary.server-host-port",
    "jaeger.8": "processor.zipkin-compact.server-host-port",
}
_PORTS: Final = (
    *(f"{part}.{port}" for part in ("agent", "gateway") for port in _COLLECTOR_PORTS),
    "prometheus",
    "alertmanager",
    *_JAEGER,
)


@dataclass(frozen=True, slots=True)
class Stack:
    """The stack, running. `otlp` is where a service sends its telemetry; the others are for questions."""

    otlp: str
    prometheus: str
    alertmanager: str
    jaeger: str
    programs: tuple[Program, ...]

    def listen(self, telemetry: Telemetry) -> None:
        """Send what is told from now on to the agent too, every half second."""
        import requests
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        direct: Any = requests.Session()
        direct.trust_env = False  # loopback is never sought through a proxy
        spans = OTLPSpanExporter(f"{self.otlp}/v1/traces", session=direct)
        millis = EXPORT_S * 1000
        telemetry.tracer_provider.add_span_processor(BatchSpanProcessor(spans, schedule_delay_millis=millis))
        points = OTLPMetricExporter(f"{self.otlp}/v1/metrics", session=direct)
        telemetry.meter_provider.add_metric_reader(PeriodicExportingMetricReader(points, millis))
        telemetry.tracer_provider.add_span_processor(_FirstOfCell(telemetry))


class _FirstOfCell(SpanProcessor):
    """Sends metrics at once after a cell's first call: a store that is as new as the process knows growth only from there."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._cells: set[str] = set()

    def on_end(self, span: ReadableSpan) -> None:
        """Called by the SDK for each span."""
        if (
            span.name.startswith(SPAN_ROUTE) and span.name not in self._cells
        ):  # the demo's workflows have one stage each
            self._cells.add(span.name)
            self._telemetry.meter_provider.force_flush()


@contextmanager
def running(binaries: Mapping[str, Path], shipped: Path, environ: Mapping[str, str]) -> Iterator[Stack]:
    """Start all of it, and stop all of it when the `with` block ends. StateError where a program does not start."""
    for attempt in range(1, _TRIES + 1):
        with tempfile.TemporaryDirectory(prefix="attune-stack-") as folder, Programs(Path(folder)) as programs:
            try:
                stack = _start(programs, binaries, shipped, Path(folder), environ)
            except PortTaken:
                if attempt == _TRIES:
                    raise
                continue
            yield stack
            return


def _start(
    programs: Programs, binaries: Mapping[str, Path], shipped: Path, folder: Path, environ: Mapping[str, str]
) -> Stack:
    ports = free_ports(_PORTS)
    at = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
    plain = {"PATH": environ.get("PATH", "")}
    jaeger = _trace_store(programs, binaries["jaeger"], at, plain)
    alertmanager = _alertmanager(programs, binaries["alertmanager"], shipped, at["alertmanager"], plain)
    config = folder / "prometheus.yml"
    config.write_text(_prometheus(shipped, at), "utf-8")
    prometheus = _metric_store(programs, binaries["prometheus"], config, at["prometheus"], plain)
    stores = {
        "COLLECTOR_METRICS_URL": f"{prometheus.url}/api/v1/otlp",
        "COLLECTOR_TRACES_URL": f"http://{at['jaeger.otlp']}",
        "COLLECTOR_QUEUE": str(folder / "queue"),
    }
    otelcol = binaries["otelcol"]
    gateway = _collector(programs, "gateway", otelcol, shipped, ports, {**plain, **stores, **_QUICKER})
    agent = _collector(programs, "agent", otelcol, shipped, ports, {**plain, "COLLECTOR_GATEWAY": gateway.url})
    return Stack(
        otlp=agent.url,
        prometheus=prometheus.url,
        alertmanager=alertmanager.url,
        jaeger=jaeger.url,
        programs=tuple(programs.started),
    )


def _trace_store(programs: Programs, binary: Path, at: Mapping[str, str], environ: Mapping[str, str]) -> Program:
    # its own queries are not traced: it would send them to a fixed port, and wait for an answer as it stops
    quiet = {"SPAN_STORAGE_TYPE": "memory", "OTEL_TRACES_SAMPLER": "always_off"}
    return programs.start(
        "jaeger",
        [binary, *(f"--{flag}={at[port]}" for port, flag in _JAEGER.items())],
        url=f"http://{at['jaeger']}",
        ready=f"http://{at['jaeger.admin']}/",
        environ={**environ, **quiet},
    )


def _alertmanager(programs: Programs, binary: Path, shipped: Path, at: str, environ: Mapping[str, str]) -> Program:
    return programs.start(
        "alertmanager",
        [binary, f"--config.file={shipped / 'alertmanager.yml'}", "--storage.path=data",
         f"--web.listen-address={at}", "--cluster.listen-address="],
        url=f"http://{at}",
        ready=f"http://{at}/-/ready",
        environ=environ,
    )  # fmt: skip


def _metric_store(programs: Programs, binary: Path, config: Path, at: str, environ: Mapping[str, str]) -> Program:
    return programs.start(
        "prometheus",
        [binary, f"--config.file={config}", "--storage.tsdb.path=data", f"--web.listen-address={at}",
         "--web.enable-otlp-receiver", "--enable-feature=exemplar-storage"],
        url=f"http://{at}",
        ready=f"http://{at}/-/ready",
        environ=environ,
    )  # fmt: skip


def _collector(
    programs: Programs, part: str, binary: Path, shipped: Path, ports: Mapping[str, int], environ: Mapping[str, str]
) -> Program:
    at = {port: f"127.0.0.1:{ports[f'{part}.{port}']}" for port in _COLLECTOR_PORTS}
    own = {f"COLLECTOR_{port.upper()}": at[port] for port in ("grpc", "http", "health")}
    return programs.start(
        part,
        [binary, f"--config={shipped / part}.yaml"],
        url=f"http://{at['http']}",
        ready=f"http://{at['health']}/",
        environ={**environ, **own, "COLLECTOR_METRICS_PORT": str(ports[f"{part}.metrics"])},
    )


def _prometheus(shipped: Path, at: Mapping[str, str]) -> str:
    """The shipped prometheus.yml, with the addresses of this run and quicker rounds."""
    text = (shipped / "prometheus.yml").read_text("utf-8")
    places = {
        "rules/*.yaml": str(shipped / "rules" / "*.yaml"),
        "alertmanager:9093": at["alertmanager"],
        "127.0.0.1:9090": at["prometheus"],
        "agent:8888": at["agent.metrics"],
        "gateway:8888": at["gateway.metrics"],
        "scrape_interval: 15s": "scrape_interval: 1s",
        "evaluation_interval: 15s": "evaluation_interval: 1s",
    }
    for there, here in places.items():
        if there not in text:
            raise StateError(
                f"{shipped / 'prometheus.yml'} has no {there!r}, which --stack puts an address or a wait for."
            )
        text = text.replace(there, here)
    return text
