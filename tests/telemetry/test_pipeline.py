"""setup(): what the variables ask for, files where they ask for nothing, and no trouble for anybody."""

from __future__ import annotations

import http.server
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from telemetry.kit import NOW, seen, tell

from attune.errors import ConfigError
from attune.telemetry import OtlpFileReader, setup
from attune.telemetry.emit import Emitter
from attune.telemetry.listening import instance_of
from attune.telemetry.otlp_file import LineFile


@pytest.fixture
def begin(tmp_path):
    """setup() with a home of the test's own; shut down afterwards."""
    handles = []

    def started(**settings):
        handle = setup(home=tmp_path / "home", set_as_global=False, **settings)
        handles.append(handle)
        emitter = Emitter(
            tracer_provider=handle.tracer_provider, meter_provider=handle.meter_provider, time=lambda: NOW
        )
        return handle, emitter

    yield started
    for handle in handles:
        handle.shutdown(1.0)


def test_without_an_endpoint_spans_and_metrics_go_into_files(begin):
    """One file a signal, of JSON lines; private to the user; named on the handle."""
    handle, emitter = begin(service_name="shop")
    tell(emitter, seen())
    assert handle.flush(5.0)
    traces, metrics = handle.files
    assert traces.name.startswith("traces-") and metrics.name.startswith("metrics-") and traces.is_absolute()
    assert stat.S_IMODE(traces.stat().st_mode) == 0o600 and stat.S_IMODE(traces.parent.stat().st_mode) == 0o700
    (request,) = map(json.loads, traces.read_text().splitlines())
    about = {
        pair["key"]: pair["value"]["stringValue"] for pair in request["resourceSpans"][0]["resource"]["attributes"]
    }
    assert about["service.name"] == "shop" and about["service.instance.id"] == handle.instance_id
    assert instance_of(handle.tracer_provider) == handle.instance_id
    (request,) = map(json.loads, metrics.read_text().splitlines())
    found = {m["name"]: m for m in request["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]}
    point = found["attune.attempts"]["sum"]["dataPoints"][0]
    assert found["attune.attempts"]["sum"]["aggregationTemporality"] == 2 and point["asInt"] == "1"


def test_what_is_written_is_read_back(begin, tmp_path):
    """The loop: emitted, exported, read, as rows of the writer that emitted."""
    handle, emitter = begin()
    tell(emitter, seen(), quality=0.5)
    handle.shutdown()
    batch = OtlpFileReader(tmp_path / "home" / "telemetry", now=lambda: NOW).poll()
    (row,) = batch.rows
    assert row.writer == handle.instance_id and row.series == seen().series
    assert (row.tally.answers, row.tally.judged, row.tally.quality_micro, row.tally.cost_nano) == (
        1,
        1,
        500_000,
        1_500_000,
    )
    assert batch.warnings == () and batch.complete and batch.watermark_ns > NOW * 1e9


def test_every_process_has_an_identity_of_its_own(begin, monkeypatch):
    first, second = begin()[0], begin()[0]
    assert first.instance_id != second.instance_id
    assert begin(instance_id="mine")[0].instance_id == "mine"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=theirs")
    assert begin()[0].instance_id == "theirs"


def test_a_disabled_sdk_writes_nothing(begin, monkeypatch):
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    handle, emitter = begin()
    tell(emitter, seen())
    handle.flush()
    assert handle.files == []


def test_none_leaves_a_signal_out(begin, monkeypatch):
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    handle, emitter = begin()
    tell(emitter, seen())
    handle.flush()
    assert [path.name.split("-")[0] for path in handle.files] == ["traces"]


@pytest.mark.parametrize(
    "variables",
    [{"OTEL_TRACES_EXPORTER": "zipkin"},
     {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}],
)  # fmt: skip
def test_a_variable_that_cannot_be_followed_is_named(begin, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=list(variables)[-1]):
        begin()


def test_with_an_endpoint_spans_go_over_the_wire(begin, monkeypatch):
    """http/protobuf to a receiver on loopback; nothing in files."""
    got = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words): ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        handle, emitter = begin()
        tell(emitter, seen())
        handle.shutdown(5.0)
        server.shutdown()
    requests = dict(got)
    spans = ExportTraceServiceRequest.FromString(requests["/v1/traces"]).resource_spans[0].scope_spans[0].spans
    assert {span.name for span in spans} == {"attune.route review", "chat claude-haiku-4-5"}
    assert "/v1/metrics" in requests and handle.files == []


def test_a_collector_that_is_away_reaches_no_call(begin, monkeypatch):
    """Telling goes on as ever; what cannot be exported is lost, and shutdown keeps its time."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    handle, emitter = begin()
    tell(emitter, seen())
    assert emitter.channel.meters is not None
    handle.shutdown(0.5)


def test_a_file_grows_to_its_size_and_is_renamed(tmp_path):
    lines = LineFile(tmp_path, "traces", rotate_bytes=100, max_bytes=10_000)
    for number in range(7):
        assert lines.append(b"%040d" % number)
    lines.close()
    assert len(lines.files) == 3
    assert b"".join(path.read_bytes() for path in lines.files).split() == [b"%040d" % number for number in range(7)]


def test_the_oldest_files_go_when_all_together_are_too_large(tmp_path):
    old = tmp_path / "traces-1-old.jsonl"
    old.write_bytes(b"x" * 500)
    os.utime(old, (1, 1))
    fresh = tmp_path / "traces-2-fresh.jsonl"
    fresh.write_bytes(b"x" * 500)
    lines = LineFile(tmp_path, "traces", rotate_bytes=100, max_bytes=400)
    for number in range(40):
        lines.append(b"%040d" % number)
    lines.close()
    assert not old.exists() and fresh.exists()  # another process may have it open
    assert sum(path.stat().st_size for path in lines.files) <= 400


def test_a_file_that_cannot_be_written_is_told_once(tmp_path, caplog):
    (tmp_path / "in-the-way").write_text("")
    lines = LineFile(tmp_path / "in-the-way", "traces")
    assert [lines.append(b"{}"), lines.append(b"{}")] == [False, False]
    assert len(caplog.records) == 1


def test_setup_is_global_unless_told_otherwise_and_not_twice(tmp_path):
    """In a process of its own, because global providers are set once in a lifetime; a forked child writes its own file."""
    code = f"""
import os, sys
from attune.errors import ConfigError
from attune.telemetry import setup
from attune.telemetry.emit import Emitter
from opentelemetry import trace
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
from telemetry.kit import seen, tell, TARGET
early = Emitter(time=lambda: 1.0)
early.announce("w", "s", [TARGET])
handle = setup(home={str(tmp_path)!r})
assert trace.get_tracer_provider() is handle.tracer_provider
tell(early, seen())
handle.flush()
before = handle.instance_id
pid = os.fork()
if pid == 0:
    tell(early, seen())
    ok = handle.flush() and handle.instance_id != before and len(handle.files) == 2
    os._exit(0 if ok else 3)
assert os.waitpid(pid, 0)[1] == 0, "the child"
assert handle.instance_id == before
try:
    setup(home={str(tmp_path)!r})
except ConfigError as error:
    assert "set_as_global=False" in str(error)
else:
    raise SystemExit("set twice")
print(len(handle.files))
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.returncode) == ("2\n", 0), done.stderr
    assert len(list((tmp_path / "telemetry").glob("traces-*.jsonl"))) == 2
    rows = OtlpFileReader(tmp_path / "telemetry", now=lambda: NOW).poll().rows
    assert sorted(row.tally.answers for row in rows) == [1, 1] and len({row.writer for row in rows}) == 2
