"""`opentelemetry-instrument python app.py`: a script that does not know attune is guarded, traced, and routed by a rule."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from calls.ways import HAIKU, OPUS
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from stack.posted import Posted

from attune.testing import ScriptedProvider

BIN = Path(sys.executable).parent
SCRIPT = f"""
import sys
import anthropic

client = anthropic.Anthropic(base_url=sys.argv[1], api_key="k")
message = client.messages.create(model="{OPUS}", max_tokens=50, messages=[{{"role": "user", "content": "hello"}}])
print(type(message).__name__, message.model, "attune" in globals())
"""


class Sink(Posted):
    """An OTLP endpoint in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[tuple[Any, Any, str]] = []
        self.metrics: set[str] = set()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        del headers
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    self.spans += [(span, resource.resource, scope.scope.name) for span in scope.spans]
        elif path == "/v1/metrics":
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.metrics |= {metric.name for scope in resource.scope_metrics for metric in scope.metrics}
        return 200


def run(folder: Path, url: str, **variables: str) -> str:
    (folder / "app.py").write_text(SCRIPT)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "ATTUNE_"))}
    others = "anthropic,openai"  # the tests' environment has more instrumentations than this script's would
    more = {"ATTUNE_HOME": str(folder / "home"), "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": others, **variables}
    done = subprocess.run(
        [BIN / "opentelemetry-instrument", sys.executable, "app.py", url],
        capture_output=True, text=True, cwd=folder, env={**inherited, **more}, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.strip()


def written(folder: Path) -> list[tuple[str, ...]]:
    """What the process left in the host store: cell, model and writer."""
    with contextlib.closing(sqlite3.connect(folder / "home" / "state.db")) as store:
        return store.execute("SELECT workflow, stage, model, writer FROM windows JOIN series ON id = series").fetchall()


def attributes(it: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in it.attributes}


def test_an_unchanged_script_is_guarded_traced_and_routed(tmp_path: Path):
    """A rule in attune.toml; exporters, resource and instance are the SDK's own, and the store knows the same instance."""
    (tmp_path / "attune.toml").write_text(
        f'[reroute]\n"claude-opus-*" = {{workflow = "rule", stage = "all", candidates = ["{HAIKU}"]}}\n'
    )
    with ScriptedProvider() as provider, Sink() as sink:
        told = run(
            tmp_path, provider.url, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_LOGS_EXPORTER="none", OTEL_SERVICE_NAME="app",
        )  # fmt: skip
        assert [it.body["model"] for it in provider.requests] == [HAIKU]
    assert told == f"Message {HAIKU} False"
    spans = {span.name: span for span, _, _ in sink.spans}
    assert set(spans) == {"attune.route rule", "attune.attempt", "anthropic.messages.create"}
    assert len(sink.spans) == 3
    route = attributes(spans["attune.route rule"])
    assert (route["attune.request.model"], route["attune.route.model"]) == (OPUS, HAIKU)
    (instance,) = {attributes(resource)["service.instance.id"] for _, resource, _ in sink.spans}
    assert instance
    assert {attributes(resource)["service.name"] for _, resource, _ in sink.spans} == {"app"}
    assert {"attune.attempts", "attune.attempt.duration", "gen_ai.client.operation.duration"} <= sink.metrics
    assert written(tmp_path) == [("rule", "all", HAIKU, instance)]


def test_without_settings_and_without_exporters_it_is_guarded(tmp_path: Path):
    """No distribution that sets up providers: nothing is told, the call is as it was written, and its outcome is kept."""
    with ScriptedProvider() as provider:
        told = run(tmp_path, provider.url, OTEL_PYTHON_DISTRO="none", OTEL_PYTHON_CONFIGURATOR="none")
        assert [it.body["model"] for it in provider.requests] == [OPUS]
    assert told == f"Message {OPUS} False"
    ((workflow, stage, model, _),) = written(tmp_path)
    assert (workflow, stage, model) == ("default", "default", OPUS)
