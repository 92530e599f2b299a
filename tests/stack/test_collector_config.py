"""What an operator copies: the configurations load, broken ones are refused, nothing listens beyond loopback by itself.

What leaves the host goes by TLS and with a token; both are tried here, and so is their absence.
"""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
import urllib.error

import pytest
import yaml
from stack import collectors, programs
from stack.launch import free_port

from attune.telemetry import names as n

COLLECTOR = collectors.COLLECTOR
CONFIGS = {
    "agent": ("agent.yaml",),
    "gateway": ("gateway.yaml",),
    "gateway for a fleet": ("gateway.yaml", "gateway-fleet.yaml"),
}
# What the core distribution holds, of what a configuration may name (opentelemetry-collector-releases, 2026-08).
CORE = {"otlp", "memory_limiter", "attributes", "otlp_http", "otlp_grpc", "health_check"}


def load(name: str) -> dict:
    """A configuration, its environment left as it is written."""
    return yaml.safe_load((COLLECTOR / name).read_text(encoding="utf-8"))


def validate(outside, *configs: object, environ: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [programs.find("otelcol", outside), "validate", *(f"--config={config}" for config in configs)]
    return subprocess.run(command, capture_output=True, text=True, env=environ or {}, timeout=60, check=False)


@pytest.fixture(scope="module")
def identity(tmp_path_factory) -> dict[str, str]:
    """A certificate for 127.0.0.1, its key, and a token, as the gateway for a fleet is told of them."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("identity")
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "token").write_text("right-token", encoding="utf-8")
    return {
        "COLLECTOR_CERT_FILE": str(folder / "cert.pem"),
        "COLLECTOR_KEY_FILE": str(folder / "key.pem"),
        "COLLECTOR_TOKEN_FILE": str(folder / "token"),
    }


@pytest.mark.needs("otelcol")
@pytest.mark.parametrize("configs", CONFIGS.values(), ids=CONFIGS)
def test_a_configuration_is_valid(configs, outside, identity):
    done = validate(outside, *(COLLECTOR / name for name in configs), environ=identity)
    assert (done.returncode, done.stderr) == (0, "")


BROKEN = {
    "a misspelt key": ("agent.yaml", "check_interval: 1s", "check_intervall: 1s"),
    "a memory limiter that never looks": ("agent.yaml", "check_interval: 1s", "check_interval: 0s"),
    "a component that is not there": ("agent.yaml", "otlp_http/gateway:", "kafka/gateway:"),
    "a pipeline that names nobody": ("agent.yaml", "processors: [memory_limiter, attributes/content]", "processors: [nobody]"),
    "no receiver": ("agent.yaml", "receivers: [otlp]", "receivers: []"),
    "a pattern that is none": ("agent.yaml", r"(?i)(^|[._-])", r"(?i)((^|[._-])"),
    "a statement that is none": ("gateway.yaml", 'set(span.status.message, "")', 'sett(span.status.message, "")'),
    "a statement in the wrong context": ("gateway.yaml", "- context: spanevent", "- context: resource"),
    "a share that is no number": ("gateway.yaml", "${env:COLLECTOR_KEEP_PERCENT:-10}", "some"),
    "a queue of no size": ("gateway.yaml", "queue_size: 200000", "queue_size: 0"),
}  # fmt: skip


@pytest.mark.needs("otelcol")
@pytest.mark.parametrize(("name", "right", "wrong"), BROKEN.values(), ids=BROKEN)
def test_a_broken_configuration_is_refused(name, right, wrong, outside, tmp_path):
    """Before it runs: an operator learns of it from `validate`, not from missing telemetry."""
    text = (COLLECTOR / name).read_text(encoding="utf-8")
    assert right in text
    broken = tmp_path / name
    broken.write_text(text.replace(right, wrong), encoding="utf-8")
    done = validate(outside, broken)
    assert done.returncode != 0
    assert done.stderr


@pytest.mark.needs("otelcol")
@pytest.mark.parametrize(
    ("right", "wrong", "word"),
    [
        ("type: status_code", "type: status_codes", "unknown sampling policy type"),
        ("extensions: [health_check, file_storage/queue]", "extensions: [health_check]", "storage"),
    ],
)
def test_what_validate_lets_pass_is_refused_at_the_start(right, wrong, word, outside, tmp_path):
    """A policy of no known type, a queue without its storage: the process ends and says why."""
    text = (COLLECTOR / "gateway.yaml").read_text(encoding="utf-8")
    assert right in text
    broken = tmp_path / "gateway.yaml"
    broken.write_text(text.replace(right, wrong), encoding="utf-8")
    environ = {f"COLLECTOR_{name}": f"127.0.0.1:{free_port()}" for name in ("GRPC", "HTTP", "HEALTH")}
    environ |= {"COLLECTOR_QUEUE": str(tmp_path / "queue"), "COLLECTOR_METRICS_PORT": str(free_port())}
    command = [programs.find("otelcol", outside), f"--config={broken}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=30, check=False)
    assert done.returncode != 0
    assert word in done.stderr


@pytest.mark.needs("promtool")
def test_prometheus_takes_its_configuration_and_all_rules(outside):
    command = [programs.find("promtool", outside), "check", "config", "--lint=all", "--lint-fatal"]
    done = subprocess.run([*command, COLLECTOR / "prometheus.yml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 rule files found" in done.stdout


@pytest.mark.parametrize(
    "amtool",
    [
        pytest.param("amtool", marks=pytest.mark.needs("amtool")),
        pytest.param("amtool-oldest", marks=pytest.mark.needs("amtool-oldest")),
    ],
)
def test_alertmanager_takes_its_configuration_and_sends_by_severity(amtool, outside):
    program = programs.find(amtool, outside)
    done = subprocess.run([program, "check-config", COLLECTOR / "alertmanager.yml"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    for severity in ("page", "ticket"):
        asked = [
            program,
            "config",
            "routes",
            "test",
            f"--config.file={COLLECTOR / 'alertmanager.yml'}",
            f"severity={severity}",
        ]
        assert subprocess.check_output(asked, text=True).strip() == severity


def test_alertmanager_speaks_of_alerts_that_exist():
    rules = "".join((COLLECTOR / "rules" / name).read_text() for name in ("alerts.yaml", "budget.yaml"))
    named = re.findall(r"- alert: (\w+)", rules)
    for word in re.findall(r'alertname=~?"([^"]+)"', (COLLECTOR / "alertmanager.yml").read_text()):
        for one in word.split("|"):
            assert any(re.fullmatch(one, name) for name in named), one


def test_the_agent_needs_the_core_distribution_only():
    config = load("agent.yaml")
    used = {
        name.partition("/")[0]
        for kind in ("receivers", "processors", "exporters", "extensions", "connectors")
        for name in config.get(kind, {})
    }
    assert used <= CORE


@pytest.mark.parametrize("name", ["agent.yaml", "gateway.yaml"])
def test_every_pipeline_guards_its_memory_first_and_no_log_passes(name):
    """Logs hold prompts; attune sends none, so there is no pipeline for them, and nothing prints what passes."""
    config = load(name)
    for key, pipeline in config["service"]["pipelines"].items():
        assert key.partition("/")[0] in {"traces", "metrics"}
        assert key == "traces/out" or pipeline["processors"][0] == "memory_limiter"
    assert not [one for one in config["exporters"] if one.startswith(("debug", "file"))]


@pytest.mark.parametrize("name", ["agent.yaml", "gateway.yaml"])
def test_what_listens_listens_on_loopback(name):
    """Unless the environment says otherwise."""
    text = (COLLECTOR / name).read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{env:COLLECTOR_(?:GRPC|HTTP|HEALTH|METRICS_HOST):-([\d.]+)", text)) == {"127.0.0.1"}
    assert "0.0.0.0" not in text


@pytest.mark.parametrize("name", ["agent.yaml", "gateway.yaml"])
def test_every_queue_is_bounded_batched_and_never_holds_up_the_sender(name):
    exporters = load(name)["exporters"].values()
    for exporter in exporters:
        queue = exporter["sending_queue"]
        assert queue["queue_size"] > 0
        assert queue["block_on_overflow"] is False
        assert queue["batch"]
        assert exporter["retry_on_failure"]["max_elapsed_time"] != "0s"
        assert name == "agent.yaml" or queue["storage"] == "file_storage/queue"
    assert exporters


@pytest.mark.parametrize("name", ["agent.yaml", "gateway.yaml", "gateway-fleet.yaml"])
def test_every_variable_is_explained_and_has_a_default(name):
    text = (COLLECTOR / name).read_text(encoding="utf-8")
    head = text.partition("\nreceivers:")[0].partition("\nextensions:")[0]
    for variable, default in re.findall(r"\$\{env:(\w+)(:-)?", text):
        assert default
        assert variable in head or variable == "COLLECTOR_SPAN_METRICS_FLUSH", variable


def test_redaction_lists_hold_all_that_attune_tells_and_nothing_that_a_user_wrote():
    """The gateway's lists are of keys; names.py is where the keys come from."""
    groups = load("gateway.yaml")["processors"]["transform/redact"]
    spans, points = (
        re.compile(re.search(r'"(.+)"', group["statements"][0])[1].replace("\\\\", "\\"))
        for group in (groups["trace_statements"][2], groups["metric_statements"][3])
    )  # fmt: skip
    ours = {value for key, value in vars(n).items() if key.isupper() and isinstance(value, str) and "." in value}
    ours |= {*n.REQUEST_FACTS.values(), *n.RESPONSE_FACTS.values(), n.GENAI_OLDER.cache_write, n.GENAI_2026.cache_write}
    metrics = {*n.COUNTERS, *n.GAUGES, n.CALL_DURATION, n.ATTEMPT_DURATION} - {n.QUALITY}
    of_points = {n.GEN_AI_TOKEN_TYPE, n.GEN_AI_MODALITY}
    of_resources, spans_and_events = {n.INSTANCE_ID}, {n.SPAN_ROUTE, n.SPAN_ATTEMPT, n.EVENT_TRANSITION}
    for key in ours - metrics - of_points - of_resources - spans_and_events:
        assert spans.match(key), key
    for key in of_points | {
        n.WORKFLOW,
        n.STAGE,
        n.OUTCOME,
        n.GEN_AI_PROVIDER,
        n.GEN_AI_MODEL,
        n.ERROR_TYPE,
        n.READER,
        n.WHERE,
    }:
        assert points.match(key), key
    for key in (
        "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.prompt", "gen_ai.completion",
        "gen_ai.request.stop_sequences", "gen_ai.tool.call.arguments", "llm.prompts.0.content", "url.full", "db.statement",
        "http.request.header.authorization", "exception.message", "input.value", "prompt", "anything",
    ):  # fmt: skip
        assert not spans.match(key), key
        assert not points.match(key), key


def test_each_context_has_a_group_of_its_own():
    """A group that mixes span and span event is run for events alone: spans without events would pass as they are."""
    groups = load("gateway.yaml")["processors"]["transform/redact"]
    for kind, contexts in (
        ("trace_statements", ["resource", "scope", "span", "spanevent"]),
        ("metric_statements", ["resource", "scope", "metric", "datapoint", "exemplar"]),
    ):
        assert [group["context"] for group in groups[kind]] == contexts
        for group in groups[kind]:
            for statement in group["statements"]:
                target = re.match(r"\w+\((\w+)\.", statement)
                assert target
                assert target[1] == group["context"]
    assert groups["error_mode"] == "propagate"


@pytest.mark.needs("otelcol")
def test_a_fleet_is_let_in_by_tls_with_the_token_only(yard, identity):
    """From an agent with the token; not without it, not with another one, not in the clear."""
    with collectors.Sink() as store:
        gateway = collectors.gateway(yard, store.url, None, "gateway-fleet.yaml", **identity)
        secure = gateway.url().replace("http:", "https:")
        trusts = ssl.create_default_context(cafile=identity["COLLECTOR_CERT_FILE"])
        told = collectors.request([collectors.span(1, known={n.OUTCOME: "rejected"})])
        assert collectors.send(gateway, told, url=secure, context=trusts) == 401
        assert collectors.send(gateway, told, url=secure, context=trusts, token="wrong-token") == 401
        assert collectors.send(gateway, told) == 400
        with pytest.raises(urllib.error.URLError, match="self-signed"):
            collectors.send(gateway, told, url=secure, context=ssl.create_default_context())
        authority = {"COLLECTOR_CA_FILE": identity["COLLECTOR_CERT_FILE"]}
        stranger = collectors.agent(yard, secure, None, **authority)
        member = collectors.agent(yard, secure, None, COLLECTOR_TOKEN="right-token", **authority)
        collectors.send(stranger, collectors.request([collectors.span(2, known={n.OUTCOME: "rejected"})]))
        collectors.send(member, collectors.request([collectors.span(3, known={n.OUTCOME: "rejected"})]))
        assert collectors.soon(store.trace_ids) == {(3).to_bytes(16, "big")}
        assert "right-token" not in gateway.log + member.log
        assert collectors.soon(lambda: collectors.own_metrics(stranger).get("otelcol_exporter_send_failed_spans"))


@pytest.mark.needs("otelcol")
def test_what_goes_on_to_the_stores_bears_their_authorization(yard):
    with collectors.Sink() as store:
        gateway = collectors.gateway(yard, store.url, COLLECTOR_STORE_AUTHORIZATION="Bearer for-the-store")
        collectors.send(gateway, collectors.request([collectors.span(1, known={n.OUTCOME: "rejected"})]))
        assert collectors.soon(store.traces)
        assert {header["Authorization"] for header in store.headers} == {"Bearer for-the-store"}
        assert "for-the-store" not in gateway.log


@pytest.mark.needs("otelcol")
def test_an_unknown_signal_is_refused(yard):
    """Logs have no pipeline: whoever sends them is told so."""
    with collectors.Sink() as store:
        gateway = collectors.gateway(yard, store.url)
        assert collectors.send(gateway, collectors.request([]), url=gateway.url("/v1/logs?")) == 404
