"""A marker in everything that people write is found in nothing behind agent and gateway; what is counted arrives.

Two ways in: calls of attune itself against a provider that answers and fails with the marker, and spans of other
instrumentations that hold it wherever a span can hold text: without events, with events, with a status message.
"""

from __future__ import annotations

import contextlib
import json
import logging
import urllib.parse
import urllib.request
from pathlib import Path

import anthropic
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from stack import collectors
from stack.loop import QUICK, Webhook, start

import attune
from attune.telemetry import setup
from attune.testing import ScriptedProvider, fail, ok, stream_error

MODEL = "claude-haiku-4-5"
MARK = "canary-7f3a"
PROMPT = f"Dear model, {MARK} is my secret"
KEY = f"sk-ant-api03-{MARK}-AAAAAAAA"
CONTENT = {
    "gen_ai.prompt": PROMPT,
    "gen_ai.completion": PROMPT,
    "gen_ai.input.messages": json.dumps([{"role": "user", "content": PROMPT}]),
    "gen_ai.output.messages": json.dumps([{"role": "assistant", "content": PROMPT}]),
    "gen_ai.system_instructions": PROMPT,
    "gen_ai.tool.call.arguments": PROMPT,
    "gen_ai.tool.call.result": PROMPT,
    "gen_ai.request.stop_sequences": PROMPT,
    "llm.prompts.0.content": PROMPT,
    "llm.input_messages.0.message.content": PROMPT,
    "traceloop.entity.input": PROMPT,
    "input.value": PROMPT,
    "output.value": PROMPT,
    "http.request.header.authorization": f"Bearer {KEY}",
    "http.request.header.x-api-key": KEY,
    "http.request.body.content": PROMPT,
    "url.full": f"http://127.0.0.1/?key={KEY}",
    "db.statement": PROMPT,
    "exception.message": PROMPT,
    "my.own.note": PROMPT,
    "gen_ai.response.id": KEY,  # an allowed key with what looks like a credential in it
}
COUNTS = {"gen_ai.usage.input_tokens": 17, "gen_ai.usage.output_tokens": 5, "gen_ai.request.model": "haiku"}
RESOURCE = {"service.name": "foreign", "process.command_line": f"run {KEY}", "note": PROMPT}
NAMES = ("chat haiku", PROMPT, MARK)


def foreign_spans(first: int, events: list, error: str | None) -> list:
    """One for each kind of name, all errors so that sampling keeps them."""
    made = []
    for number, name in enumerate(NAMES):
        known = {**CONTENT, **COUNTS, **({"gen_ai.operation.name": "chat"} if number == 0 else {})}
        made.append(collectors.span(first + number, name, known=known, events=events, error=error))
        made[-1].status.code = 2
        made[-1].trace_state = f"vendor={MARK}"
    return made


EVENTS = [
    ("gen_ai.content.prompt", {"gen_ai.prompt": PROMPT}),
    ("exception", {"exception.type": "ValueError", "exception.message": PROMPT, "exception.stacktrace": PROMPT}),
    (PROMPT, {"anything": PROMPT}),
]
SHAPES = {
    "without events": ([], None),
    "with events": (EVENTS, None),
    "with a status message": ([], f"ValueError: {PROMPT}"),
    "with both": (EVENTS, PROMPT),
}


def on_disk(folder: Path) -> list[Path]:
    """Every file below with the marker in it."""
    return [path for path in folder.rglob("*") if path.is_file() and MARK.encode() in path.read_bytes()]


@pytest.mark.needs("otelcol")
@pytest.mark.parametrize(("events", "error"), SHAPES.values(), ids=SHAPES)
def test_foreign_spans_arrive_without_what_people_wrote(events, error, yard):
    """Through the gateway alone, the one boundary there is: names, messages, attributes, resource, trace state."""
    with collectors.Sink() as store:
        gateway = collectors.gateway(yard, store.url)
        told = collectors.request(foreign_spans(1, events, error), scope="other.instrumentation", resource=RESOURCE)
        told.resource_spans[0].scope_spans[0].scope.attributes.add(key="note").value.string_value = PROMPT
        assert collectors.send(gateway, told) == 200
        assert collectors.soon(lambda: len(store.traces()) == len(NAMES)), gateway.log
        assert collectors.soon(lambda: "traces.span.metrics.calls" in store.metrics())
        spans = [span for _, span in store.traces()]
        gateway.stop()
        assert MARK.encode() not in store.everything()
        assert on_disk(yard.folder) == []
    assert sorted(span.name for span in spans) == ["chat haiku", "span", "span"]
    for span in spans:
        kept = collectors.read(span.attributes)
        assert {key: kept[key] for key in COUNTS} == COUNTS
        assert [event.name for event in span.events] == (["event", "exception", "event"] if events else [])
        assert [collectors.read(event.attributes) for event in span.events if event.name == "exception"] == (
            [{"exception.type": "ValueError"}] if events else []
        )
        assert span.status.message == ""
        assert span.status.code == 2


@pytest.mark.needs("otelcol")
def test_a_foreign_span_with_links_is_dropped(yard):
    """No statement reaches the attributes of a link."""
    with collectors.Sink() as store:
        gateway = collectors.gateway(yard, store.url)
        linked, plain = (collectors.span(number, error="no") for number in (1, 2))
        collectors.facts({"note": PROMPT}, linked.links.add(trace_id=b"1" * 16, span_id=b"1" * 8).attributes)
        collectors.send(gateway, collectors.request([linked, plain], scope="other"))
        assert collectors.soon(store.trace_ids) == {plain.trace_id}
        assert MARK.encode() not in store.everything()


@pytest.mark.needs("otelcol")
def test_metrics_arrive_without_what_people_wrote(yard):
    """Labels are on a list as well; a metric of no known name does not pass; exemplars keep their trace, not their text."""
    told = ExportMetricsServiceRequest()
    group = told.resource_metrics.add()
    collectors.facts(RESOURCE, group.resource.attributes)
    scoped = group.scope_metrics.add()
    for name in ("gen_ai.client.token.usage", "their.own.metric"):
        metric = scoped.metrics.add(name=name, description=PROMPT)
        metric.sum.aggregation_temporality, metric.sum.is_monotonic = 2, True
        point = metric.sum.data_points.add(as_int=3, time_unix_nano=1_795_000_000_000_000_000)
        collectors.facts(
            {"prompt": PROMPT, "gen_ai.token.type": "input", "gen_ai.request.model": KEY}, point.attributes
        )
        exemplar = point.exemplars.add(as_int=3, trace_id=b"t" * 16, span_id=b"s" * 8)
        collectors.facts({"prompt": PROMPT}, exemplar.filtered_attributes)
    with collectors.Sink() as store:
        gateway = collectors.gateway(yard, store.url)
        assert collectors.send(gateway, told) == 200
        found = collectors.soon(store.metrics)
        assert set(found) == {"gen_ai.client.token.usage"}
        point = found["gen_ai.client.token.usage"].sum.data_points[0]
        assert collectors.read(point.attributes)["gen_ai.token.type"] == "input"
        assert point.exemplars[0].trace_id == b"t" * 16
        gateway.stop()
        assert MARK.encode() not in store.everything()
        assert on_disk(yard.folder) == []


@pytest.mark.needs("otelcol")
def test_a_flat_list_of_statements_leaks_and_is_why_there_are_groups(yard, tmp_path):
    """The trap, seen: the same statements in one group pass `validate`, and spans without events keep their prompts."""
    trap = """
processors:
  transform/redact:
    error_mode: propagate
    trace_statements:
      - keep_matching_keys(span.attributes, "^gen_ai.usage")
      - keep_matching_keys(spanevent.attributes, "^nothing$")
    metric_statements: []
"""
    flat = tmp_path / "flat.yaml"
    flat.write_text(trap, encoding="utf-8")
    with collectors.Sink() as store:
        gateway = collectors.gateway(yard, store.url, None, str(flat))
        for first, events in ((1, []), (101, EVENTS)):
            spans = [collectors.span(first + number, known=CONTENT, events=events, error="") for number in range(50)]
            collectors.send(gateway, collectors.request(spans, scope="other"))
        assert collectors.soon(lambda: len(store.traces()) == 100)
        leaking = [span for _, span in store.traces() if "gen_ai.prompt" in collectors.read(span.attributes)]
        assert len(leaking) == 50
        assert not any(span.events for span in leaking)


@pytest.mark.needs("otelcol", "prometheus", "alertmanager", "jaeger")
def test_calls_with_a_marker_leave_none_in_any_store_log_or_file(yard, tmp_path, monkeypatch, caplog):
    """Agent, gateway and stores as shipped; an application that calls, streams, fails, and tells its exceptions itself."""
    caplog.set_level(logging.DEBUG, logger="attune")
    monkeypatch.setitem(QUICK, "COLLECTOR_KEEP_PERCENT", "100")
    with Webhook() as webhook:
        loop = start(yard, webhook)
        counted = calls(loop.agent.url(), tmp_path / "home", monkeypatch)
        assert collectors.soon(lambda: loop.query("sum(attune_attempts_total) == 5"), 30)
        assert collectors.soon(lambda: len(loop.traces("marked")) == 5, 20)
        seen = {
            "metrics": everything(loop.prometheus.url("/api/v1/series"), {"match[]": '{__name__=~".+"}'}),
            "metadata": everything(loop.prometheus.url("/api/v1/metadata"), {}),
            "exemplars": json.dumps(loop.exemplars('{__name__=~"attune_.+|gen_ai_.+|traces_.+"}')),
            "traces": json.dumps(loop.traces("marked")),
            "alerts": json.dumps([labels for _, _, labels in webhook.alerts]),
            "attune's log": "\n".join(
                f"{it.getMessage()} {it.args!r}" for it in caplog.records if it.name.startswith("attune")
            ),
        }
        for program in yard.started:
            program.stop()
    assert {name for name, text in seen.items() if MARK in text} == set()
    assert tokens(seen["traces"]) == counted
    assert '"application"' in seen["traces"], "the application's own spans, by the name of their scope"
    assert on_disk(yard.folder) == []
    assert on_disk(tmp_path / "home") == []


def tokens(traces: str) -> int:
    """The tokens of attempts that were answered, as the trace store tells them."""
    spans = [
        {tag["key"]: tag["value"] for tag in span["tags"]} for trace in json.loads(traces) for span in trace["spans"]
    ]
    answered = [it for it in spans if it.get("attune.outcome") == "success" and "attune.attempt.index" in it]
    return sum(it["gen_ai.usage.input_tokens"] + it["gen_ai.usage.output_tokens"] for it in answered)


def everything(url: str, asked: dict[str, str]) -> str:
    """A store's answer, as text."""
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(asked)}", timeout=10) as answer:
        return answer.read().decode()


def calls(otlp: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Calls of every outcome, with the marker in all that a person or a provider writes; the tokens of those answered."""
    for name, value in {
        "OTEL_EXPORTER_OTLP_ENDPOINT": otlp, "OTEL_METRIC_EXPORT_INTERVAL": "500", "OTEL_BSP_SCHEDULE_DELAY": "200"
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    telemetry = setup(service_name="marked", home=home, set_as_global=False)
    steps = [
        ok(PROMPT),
        fail("overloaded", message=PROMPT),
        ok(PROMPT),
        fail("auth", message=KEY),
        stream_error(after=1, message=PROMPT),
    ]
    body = {
        "max_tokens": 9,
        "system": PROMPT,
        "messages": [{"role": "user", "content": PROMPT}],
        "stop_sequences": [MARK],
    }
    tracer = telemetry.tracer_provider.get_tracer("application")
    providers = {"tracer_provider": telemetry.tracer_provider, "meter_provider": telemetry.meter_provider}
    attune.configure(state="memory", readers=(), home=home, explore=False, **providers)
    tokens = 0
    try:
        with (
            ScriptedProvider(seed=1) as provider,
            anthropic.Anthropic(base_url=provider.url, api_key=KEY, max_retries=0) as bare,
        ):
            client = attune.wrap(bare, candidates=[MODEL], workflow="w", stage="s")
            provider.script(MODEL, *steps)
            for number in range(len(steps)):
                with (
                    contextlib.suppress(anthropic.APIError),
                    tracer.start_as_current_span(PROMPT, attributes={"prompt": PROMPT}),
                ):
                    told = client.messages.create(
                        model=MODEL, **body, stream=number == len(steps) - 1, extra_headers={"x-mine": MARK}
                    )
                    if number == len(steps) - 1:
                        list(told)
                    else:
                        tokens += told.usage.input_tokens + told.usage.output_tokens
    finally:
        telemetry.flush()
        attune.shutdown()
        telemetry.shutdown()
    return tokens
