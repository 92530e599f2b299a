"""The stack's programs are what they are meant to be: each starts on loopback, and does the one thing it is there for."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from stack import programs

ROOT = Path(__file__).parents[2]
SOON_S = 10.0  # a program that needs longer to start would spoil the demo
ALERTMANAGER = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
COLLECTOR = """
receivers:
  otlp:
    protocols:
      grpc: {endpoint: "127.0.0.1:{grpc}"}
      http: {endpoint: "127.0.0.1:{http}"}
processors:
  memory_limiter: {check_interval: 1s, limit_mib: 200}
  attributes: {actions: [{key: seen, value: "yes", action: insert}]}
  resource: {attributes: [{key: tier, value: test, action: insert}]}
  filter: {error_mode: ignore, traces: {span: ['name == "noise"']}}
  redaction: {allow_all_keys: true, blocked_values: ["canary-[0-9]+"]}
  transform: {trace_statements: [{context: span, statements: ['set(name, "call") where name == "old"']}]}
  tail_sampling: {decision_wait: 100ms, policies: [{name: all, type: always_sample}]}
connectors:
  forward: {}
  span_metrics: {}
exporters:
  debug: {}
  file: {path: "{folder}/out.jsonl", flush_interval: 50ms}
  otlp_grpc: {endpoint: "127.0.0.1:1", tls: {insecure: true}}
  otlp_http: {endpoint: "http://127.0.0.1:1", auth: {authenticator: bearertokenauth}}
extensions:
  health_check: {endpoint: "127.0.0.1:{health}"}
  file_storage: {directory: "{folder}"}
  bearertokenauth: {token: "${env:COLLECTOR_TOKEN}"}
service:
  extensions: [health_check, file_storage, bearertokenauth]
  telemetry: {metrics: {level: none}}
  pipelines:
    traces/in:
      receivers: [otlp]
      processors: [memory_limiter, filter, transform, attributes, resource, redaction]
      exporters: [forward, span_metrics]
    traces/out: {receivers: [forward], processors: [tail_sampling], exporters: [file]}
    metrics: {receivers: [span_metrics], exporters: [debug]}
    logs: {receivers: [otlp], exporters: [otlp_http, otlp_grpc]}
"""


def fetch(url: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
    """What a GET, or a POST of this body, is answered with."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return answer.read()


def soon(ask, seconds: float = 10.0):
    """The first true answer."""
    until = time.monotonic() + seconds
    while not (answer := ask()) and time.monotonic() < until:
        time.sleep(0.05)
    return answer


def value(program, query: str) -> list[str]:
    """The values that an instant query finds."""
    answer = json.loads(fetch(program.url("/api/v1/query?" + urllib.parse.urlencode({"query": query}))))
    return [row["value"][1] for row in answer["data"]["result"]]


def trace(name: str) -> bytes:
    """One span as OTLP/JSON, that ended just now, with a canary in an attribute."""
    now = time.time_ns()
    span = {
        "traceId": TRACE_ID,
        "spanId": "b7ad6b7169203331",
        "name": name,
        "kind": 3,
        "startTimeUnixNano": str(now - 5_000_000),
        "endTimeUnixNano": str(now),
        "attributes": [{"key": "note", "value": {"stringValue": "canary-17"}}],
    }
    service = {"attributes": [{"key": "service.name", "value": {"stringValue": "stack-test"}}]}
    return json.dumps({"resourceSpans": [{"resource": service, "scopeSpans": [{"spans": [span]}]}]}).encode()


@pytest.mark.needs("otelcol")
def test_the_collector_has_every_component(yard):
    """One pipeline through every component of builder.yaml: what goes in comes out, changed by each."""
    collector = yard.otelcol(COLLECTOR, environ={"COLLECTOR_TOKEN": "secret"})
    assert collector.ready_s < SOON_S
    for name in ("old", "noise"):
        fetch(collector.url("/v1/traces"), trace(name))
    out = collector.folder / "out.jsonl"
    assert soon(lambda: out.exists() and out.stat().st_size)
    text = out.read_text(encoding="utf-8")
    assert '"name":"call"' in text
    assert '"seen"' in text
    assert '"tier"' in text
    assert "canary" not in text
    assert "noise" not in text
    assert collector.stop() == 0


@pytest.mark.needs("otelcol")
def test_the_collector_refuses_what_it_does_not_have(outside, tmp_path):
    """`validate` is worth asking: a component that was left out is an error."""
    config = tmp_path / "config.yaml"
    config.write_text(COLLECTOR.replace("debug", "loadbalancing"), encoding="utf-8")
    command = [programs.find("otelcol", outside), "validate", f"--config={config}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "loadbalancing" in done.stderr


@pytest.mark.needs("prometheus")
def test_prometheus_takes_metrics_by_otlp(yard):
    """A gauge with a dot in its name is found under its translated name."""
    prometheus = yard.prometheus()
    assert prometheus.ready_s < SOON_S
    metric = Metric(name="stack.circuit.open", unit="{circuit}")
    metric.gauge.data_points.add(as_int=1, time_unix_nano=time.time_ns())
    request = ExportMetricsServiceRequest()
    request.resource_metrics.add().scope_metrics.add().metrics.append(metric)
    fetch(prometheus.url("/api/v1/otlp/v1/metrics"), request.SerializeToString(), "application/x-protobuf")
    assert soon(lambda: value(prometheus, "stack_circuit_open")) == ["1"]
    assert prometheus.stop() == 0


@pytest.mark.needs("prometheus-oldest")
def test_the_oldest_prometheus_is_that_old(yard):
    """2.42 scrapes and takes remote write, and has no OTLP endpoint: whoever needs one learns it from a 404."""
    prometheus = yard.prometheus(oldest=True)
    assert prometheus.ready_s < SOON_S
    about = json.loads(fetch(prometheus.url("/api/v1/status/buildinfo")))
    assert about["data"]["version"].startswith("2.42.")
    for path, status in (("/api/v1/write", 400), ("/api/v1/otlp/v1/metrics", 404)):
        with pytest.raises(urllib.error.HTTPError) as caught:
            fetch(prometheus.url(path), b"no protobuf", "application/x-protobuf")
        caught.value.close()
        assert caught.value.code == status
    assert prometheus.stop() == 0


@pytest.mark.parametrize(
    "oldest",
    [
        pytest.param(False, marks=pytest.mark.needs("alertmanager"), id="newest"),
        pytest.param(True, marks=pytest.mark.needs("alertmanager-oldest"), id="oldest"),
    ],
)
def test_alertmanager_keeps_an_alert(yard, oldest):
    alertmanager = yard.alertmanager(ALERTMANAGER, oldest=oldest)
    assert alertmanager.ready_s < SOON_S
    fetch(alertmanager.url("/api/v2/alerts"), json.dumps([{"labels": {"alertname": "CircuitOpen"}}]).encode())
    alerts = soon(lambda: json.loads(fetch(alertmanager.url("/api/v2/alerts"))))
    assert [alert["labels"] for alert in alerts] == [{"alertname": "CircuitOpen"}]
    about = json.loads(fetch(alertmanager.url("/api/v2/status")))
    assert about["versionInfo"]["version"] == ("0.25.0" if oldest else "0.31.1")
    assert alertmanager.stop() == 0


@pytest.mark.needs("jaeger")
def test_jaeger_finds_a_span_by_an_attribute(yard):
    jaeger = yard.jaeger()
    assert jaeger.ready_s < SOON_S
    fetch(jaeger.url("/v1/traces", "otlp_http"), trace("call"))
    asked = urllib.parse.urlencode({"service": "stack-test", "tags": json.dumps({"note": "canary-17"})})
    found = soon(lambda: json.loads(fetch(jaeger.url(f"/api/traces?{asked}")))["data"])
    assert [one["traceID"] for one in found] == [TRACE_ID]
    assert jaeger.stop() == 0


@pytest.mark.needs("redis-server", "redis-cli")
def test_redis_keeps_a_value(yard, outside):
    redis = yard.redis()
    assert redis.ready_s < SOON_S
    with socket.create_connection(("127.0.0.1", redis.ports["redis"]), timeout=5) as sock:
        sock.sendall(b"SET circuit open\r\n")
        assert sock.recv(16) == b"+OK\r\n"
    command = [programs.find("redis-cli", outside), "-p", str(redis.ports["redis"]), "get", "circuit"]
    assert subprocess.check_output(command, text=True) == "open\n"
    assert redis.stop() == 0


@pytest.mark.needs("victoria-metrics")
def test_victoria_metrics_answers_promql(yard):
    """What speaks Prometheus's API is not always Prometheus: who asks too early is told for some seconds more that nothing is there."""
    store = yard.victoria_metrics()
    assert store.ready_s < SOON_S
    fetch(store.url("/api/v1/import/prometheus"), b'stack_circuit_open{provider="a"} 1\n', "text/plain")
    assert soon(
        lambda: re.findall(rb"^vm_pending_rows.* (\d+)$", fetch(store.url("/metrics")), re.MULTILINE) == [b"0"] * 2
    )
    assert soon(lambda: value(store, "sum by (provider) (stack_circuit_open)")) == ["1"]
    assert store.stop() == 0


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        pytest.param("promtool", "{}", "scrape_configs: 7", marks=pytest.mark.needs("promtool")),
        pytest.param("promtool-oldest", "{}", "scrape_configs: 7", marks=pytest.mark.needs("promtool-oldest")),
        pytest.param("amtool", ALERTMANAGER, "route: {}", marks=pytest.mark.needs("amtool")),
        pytest.param("amtool-oldest", ALERTMANAGER, "route: {}", marks=pytest.mark.needs("amtool-oldest")),
    ],
)
def test_a_checker_knows_good_from_bad(name, good, bad, tmp_path, outside):
    """What the tests of rules and configurations lean on."""
    config = tmp_path / "config.yml"
    verb = ["check", "config"] if name.startswith("promtool") else ["check-config"]
    for text, sound in ((good, True), (bad, False)):
        config.write_text(text, encoding="utf-8")
        done = subprocess.run([programs.find(name, outside), *verb, config], capture_output=True, check=False)
        assert (done.returncode == 0) is sound


@pytest.mark.needs("redis-server")
def test_what_was_started_is_stopped(yard):
    """A program that is frozen, too: it is thawed and ended by its own process id."""
    redis = yard.redis()
    redis.freeze()
    yard.__exit__(None, None, None)
    assert redis.process.returncode == 0


@pytest.mark.needs("redis-server")
def test_a_program_that_cannot_start_tells_why(yard):
    with pytest.raises(AssertionError, match="no-such-option"):
        yard.redis("--no-such-option", "x")


def test_the_collector_above_uses_all_of_the_manifest():
    """A component that no test runs would be carried for nothing."""
    manifest = (ROOT / "collector" / "builder.yaml").read_text(encoding="utf-8")
    kinds = "receiver|processor|connector|exporter|extension"
    carried = {re.sub("_|storage/", "", name) for _, name in re.findall(rf"/({kinds})/(\S+?)(?:{kinds})? v", manifest)}
    used = {
        re.sub(r"_", "", name) for name in re.findall(r"^  (\w+):", COLLECTOR.partition("service:")[0], re.MULTILINE)
    }
    assert carried == {"otlp" if name == "otlpgrpc" else name for name in used}
