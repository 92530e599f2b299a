"""Starts the shipped agent and gateway as they are, plays the store behind them, and speaks OTLP to them.

Configurations are never edited for a test: all that differs is the environment that their heads document.
"""

from __future__ import annotations

import gzip
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from stack.launch import Running, Yard, answers, free_port
from stack.posted import Posted

COLLECTOR = Path(__file__).resolve().parents[2] / "collector"
PORTS = ("grpc", "http", "health", "metrics")


def start(yard: Yard, *configs: str, environ: Mapping[str, str], at: Mapping[str, int] | None = None) -> Running:
    """A collector with shipped configurations, on free ports; its disk queue is a new folder unless `environ` says where."""
    at = at or {name: free_port() for name in PORTS}
    known = {f"COLLECTOR_{name.upper()}": f"127.0.0.1:{at[name]}" for name in ("grpc", "http", "health")}
    known |= {"COLLECTOR_METRICS_PORT": str(at["metrics"]), "COLLECTOR_QUEUE": str(yard.folder / f"queue-{at['http']}")}

    def arguments(_folder: Path, _ports: Mapping[str, int]) -> list[str]:
        return [f"--config={COLLECTOR / config}" for config in configs]

    return yard.start(
        "otelcol", arguments, ports=PORTS, ready=answers("/", "health"), environ={**known, **environ}, at=at
    )


def gateway(yard: Yard, sink: str, at: Mapping[str, int] | None = None, *more: str, **environ: str) -> Running:
    """gateway.yaml in front of one store that takes both signals."""
    known = {"COLLECTOR_METRICS_URL": sink, "COLLECTOR_TRACES_URL": sink, "COLLECTOR_DECISION_WAIT": "1s"}
    return start(yard, "gateway.yaml", *more, environ={**known, "COLLECTOR_SPAN_METRICS_FLUSH": "1s", **environ}, at=at)


def agent(yard: Yard, gateway_url: str, at: Mapping[str, int] | None = None, **environ: str) -> Running:
    """agent.yaml in front of a gateway."""
    return start(yard, "agent.yaml", environ={"COLLECTOR_GATEWAY": gateway_url, **environ}, at=at)


class Sink(Posted):
    """A store that keeps every request of OTLP/HTTP as it came; `status` is what it answers."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[tuple[str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        if (status := self.status) == 200:
            packed = headers.get("Content-Encoding") == "gzip"
            self.bodies.append((path, gzip.decompress(body) if packed else body))
            self.headers.append(headers)
        return status

    def everything(self) -> bytes:
        return b"\n".join(body for _, body in list(self.bodies))

    def traces(self) -> list[tuple[str, Span]]:
        """Scope and span of all that came."""
        requests = [ExportTraceServiceRequest.FromString(body) for path, body in list(self.bodies) if "traces" in path]
        return [
            (scoped.scope.name, span)
            for request in requests
            for resource in request.resource_spans
            for scoped in resource.scope_spans
            for span in scoped.spans
        ]

    def trace_ids(self) -> set[bytes]:
        return {span.trace_id for _, span in self.traces()}

    def metrics(self) -> dict[str, Any]:
        """The newest of each metric, by its OTLP name."""
        requests = [
            ExportMetricsServiceRequest.FromString(body) for path, body in list(self.bodies) if "metrics" in path
        ]
        return {
            metric.name: metric
            for request in requests
            for resource in request.resource_metrics
            for scoped in resource.scope_metrics
            for metric in scoped.metrics
        }


def facts(known: Mapping[str, Any], onto: Any) -> None:
    """Attributes onto a protobuf list of them."""
    for key, value in known.items():
        one = onto.add(key=key).value
        if isinstance(value, bool):
            one.bool_value = value
        elif isinstance(value, int):
            one.int_value = value
        elif isinstance(value, float):
            one.double_value = value
        else:
            one.string_value = value


def read(onto: Any) -> dict[str, Any]:
    """The inverse of `facts`."""
    return {fact.key: getattr(fact.value, fact.value.WhichOneof("value")) for fact in onto}


def span(
    trace_id: int, name: str = "chat m", *, known: Mapping[str, Any] | None = None, duration_s: float = 0.5,
    error: str | None = None, events: Iterable[tuple[str, Mapping[str, Any]]] = (), span_id: int = 1,
) -> Span:  # fmt: skip
    """A span that ended just now. `error`: its status message."""
    now = time.time_ns()
    made = Span(
        trace_id=trace_id.to_bytes(16, "big"),
        span_id=span_id.to_bytes(8, "big"),
        name=name,
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=now - int(duration_s * 1e9),
        end_time_unix_nano=now,
    )
    facts(known or {}, made.attributes)
    if error is not None:
        made.status.code, made.status.message = Status.STATUS_CODE_ERROR, error
    for event, about in events:
        facts(about, made.events.add(name=event, time_unix_nano=now).attributes)
    return made


def request(
    spans: Iterable[Span], scope: str = "attune", resource: Mapping[str, Any] | None = None
) -> ExportTraceServiceRequest:
    """An OTLP request of one process and one scope."""
    told = ExportTraceServiceRequest()
    group = told.resource_spans.add()
    facts({"service.name": "test", "service.instance.id": "one", **(resource or {})}, group.resource.attributes)
    scoped = group.scope_spans.add()
    scoped.scope.name = scope
    scoped.spans.extend(spans)
    return told


def counter(name: str, value: int, **known: Any) -> ExportMetricsServiceRequest:
    """An OTLP request with one counter of one process, by default of a success."""
    told = ExportMetricsServiceRequest()
    group = told.resource_metrics.add()
    facts({"service.name": "test", "service.instance.id": "one"}, group.resource.attributes)
    scoped = group.scope_metrics.add()
    scoped.scope.name = "attune"
    metric = scoped.metrics.add(name=name, unit="{attempt}")
    metric.sum.aggregation_temporality, metric.sum.is_monotonic = 2, True
    now = time.time_ns()
    point = metric.sum.data_points.add(as_int=value, start_time_unix_nano=now - 1_000_000_000, time_unix_nano=now)
    facts({"attune.outcome": "success", **known}, point.attributes)
    return told


def send(
    collector: Running, told: Any, *, token: str | None = None, url: str | None = None, context: Any = None
) -> int:
    """Post it by OTLP/HTTP; the status."""
    path = "/v1/traces" if isinstance(told, ExportTraceServiceRequest) else "/v1/metrics"
    headers = {"Content-Type": "application/x-protobuf", **({"Authorization": f"Bearer {token}"} if token else {})}
    asked = urllib.request.Request((url or collector.url()) + path, told.SerializeToString(), headers)
    try:
        with urllib.request.urlopen(asked, timeout=10, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def soon(ask: Callable[[], Any], seconds: float = 15.0) -> Any:
    """The first true answer, or the last false one."""
    until = time.monotonic() + seconds
    while not (answer := ask()) and time.monotonic() < until:
        time.sleep(0.05)
    return answer


def own_metrics(collector: Running) -> dict[str, float]:
    """The collector's own counters, summed over their labels, without `_total`."""
    with urllib.request.urlopen(collector.url("/metrics", "metrics"), timeout=5) as answer:
        text = answer.read().decode()
    sums: dict[str, float] = {}
    for line in text.splitlines():
        if line and line[0] != "#":
            name = line.partition("{")[0].partition(" ")[0].removesuffix("_total")
            sums[name] = sums.get(name, 0.0) + float(line.rpartition(" ")[2])
    return sums
