"""Every expression that Grafana would ask is asked: of a real Prometheus, with data of real calls, behind the real gateway.

No error, no warning, not empty. The service is `busy.py`; its telemetry goes through collector/gateway.yaml as shipped
into Prometheus with collector/prometheus.yml and collector/rules, only faster. TraceQL is tried on the same run's spans,
and its equalities in a real trace store.
"""

from __future__ import annotations

import json
import math
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from stack import busy, collectors, shown, traceql
from stack.launch import free_port

pytest.importorskip("grafana_foundation_sdk", reason="the dependency group `grafana` is not installed")
yaml = pytest.importorskip("yaml", reason="the dependency group `grafana` is not installed")

pytestmark = pytest.mark.needs("prometheus", "otelcol", "jaeger")

# Panels and queries that this run leaves empty, and why.
EMPTY: dict[str, str] = {}

# Recorded series that this run cannot have, and why: a rule that records one is still evaluated without an error.
SILENT = {
    "attune:process_lost:increase5m": "only a process that lost spans tells of it; rules/tests has one, and no span is lost here"
}
# The one remark that is let pass: the collector's own counters have no suffix in this version (0.159).
TOLERATED = re.compile(r'might not be a counter, .*: "otelcol_\w+" ')
# What Grafana would put in, for a dashboard of the last quarter of an hour.
VARIABLES = {
    "$__rate_interval": "20s",
    "$__interval": "5s",
    "$__range": "15m",
    "$__tags": f'service_name="{busy.SERVICE}"',
    "$objective": "0.99",
    **dict.fromkeys(("$service", "$workflow", "$stage", "$provider", "$model"), ".*"),
}
STEP_S = 1


@dataclass
class Run:
    """What is there after the service has lived: where to ask, when it was, and its own spans."""

    prometheus: Any
    jaeger: Any
    spans: tuple[Any, ...]
    began: float
    ended: float

    def ask(self, path: str, **words: Any) -> dict[str, Any]:
        """Prometheus's answer."""
        url = self.prometheus.url(f"/api/v1/{path}?{urllib.parse.urlencode(words, doseq=True)}")
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return json.loads(error.read())

    def evaluate(self, expr: str, *, instant: bool) -> dict[str, Any]:
        """The answer to an expression: at the end of the run, or all along it."""
        if instant:
            return self.ask("query", query=expr, time=self.ended)
        # The steps are laid from the end backwards: laid from the start, the last of them may stop short of what was just recorded.
        start = self.ended - math.ceil((self.ended - self.began) / STEP_S) * STEP_S
        return self.ask("query_range", query=expr, start=start, end=self.ended, step=STEP_S)


def filled(text: str) -> str:
    """The expression with its variables replaced, longest names first."""
    for name in sorted(VARIABLES, key=len, reverse=True):
        text = text.replace(name, VARIABLES[name])
    assert "$" not in text, text
    return text


def hurried(folder: Path, own: dict[str, int]) -> str:
    """collector/prometheus.yml and its rules, with seconds for minutes of waiting. No threshold and no window is touched."""
    rules = folder / "rules"
    rules.mkdir()
    for name, document in shown.documents(shown.RULES).items():
        groups = [{**group, "interval": "1s"} for group in document["groups"]]
        (rules / name).write_text(yaml.safe_dump({"groups": groups}), encoding="utf-8")
    config = shown.documents(shown.RULES.parent, "prometheus.yml")["prometheus.yml"]
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(rules / "*.yaml")]
    del config["alerting"]
    jobs = [{"job_name": job, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for job, port in own.items()]
    return yaml.safe_dump({**config, "scrape_configs": jobs})


@pytest.fixture(scope="module")
def run(lasting_yard, tmp_path_factory):
    """One life of the service, and what it left in the stores."""
    folder = tmp_path_factory.mktemp("rules")
    ports: set[int] = set()  # a port that was freed a moment ago may come twice
    while len(ports) <= len(collectors.PORTS):
        ports.add(free_port())
    port, *others = ports
    at = dict(zip(collectors.PORTS, others, strict=True))
    config = hurried(folder, {"prometheus": port, "otelcol-gateway": at["metrics"]})
    prometheus = lasting_yard.prometheus(config, at={"http": port})
    jaeger = lasting_yard.jaeger()
    gateway = collectors.gateway(
        lasting_yard,
        prometheus.url("/api/v1/otlp"),
        at,
        COLLECTOR_TRACES_URL=jaeger.url(port="otlp_http"),
        COLLECTOR_KEEP_PERCENT="100",
    )
    began = time.time()
    with busy.service(folder / "home", gateway.url()) as service:
        busy.live(service)
        assert service.tracers.force_flush()
        assert service.meters.force_flush()
        ready = Run(prometheus, jaeger, service.spans, began, time.time())
        recorded = [
            *sorted(shown.recorded() - SILENT.keys()),
            'attune:collector_lost:rate5m{job=~"otelcol-.+"}',
        ]  # some need two scrapes of what traffic brought
        collectors.soon(lambda: all(ready.ask("query", query=name)["data"]["result"] for name in recorded), 30)
        ready.ended = time.time()
        yield ready


def test_the_last_step_of_a_range_is_the_end_of_the_run(monkeypatch):
    """A series recorded in the last second of the run is on the range, however the beginning lies on the grid."""
    asked = []
    monkeypatch.setattr(Run, "ask", lambda _run, path, **words: asked.append(words) or {})
    for began in (100.0, 100.4, 100.999):
        Run(None, None, (), began, 110.9).evaluate("up", instant=False)
    for words in asked:
        steps = (words["end"] - words["start"]) / words["step"]
        assert words["end"] == 110.9
        assert steps == round(steps)
    assert [words["start"] <= began for words, began in zip(asked, (100.0, 100.4, 100.999), strict=True)] == [True] * 3


def complaint(answer: dict[str, Any]) -> str:
    """What Prometheus has against an expression; nothing where it is content."""
    if answer["status"] != "success":
        return answer["error"]
    return "; ".join(
        told for told in answer.get("warnings", []) + answer.get("infos", []) if not TOLERATED.search(told)
    )


def faults(run: Run, asked: list[shown.Expression]) -> list[str]:
    """Expressions with an error, a warning, or nothing to show."""
    wrong = []
    for one in asked:
        answer = run.evaluate(filled(one.text), instant=one.instant)
        if told := complaint(answer):
            wrong.append(f"{one}: {told}")
        elif not answer["data"]["result"] and one.place not in EMPTY:
            wrong.append(f"{one}: empty: {filled(one.text)}")
        elif answer["data"]["result"] and one.place in EMPTY:
            wrong.append(f"{one}: no longer empty: take it off the list")
    return wrong


@pytest.mark.timeout(180)
@pytest.mark.parametrize("uid", ["attune-overview", "attune-routing", "attune-circuits", "attune-health"])
def test_every_panel_shows_something(run, uid):
    asked = [one for one in (*shown.targets(), *shown.annotations()) if one.place.startswith(f"{uid}:")]
    assert asked
    assert "\n".join(faults(run, asked)) == ""


def test_links_and_alerts_ask_something_that_is_there(run):
    """From a span to its metrics; Grafana's own alert."""
    assert "\n".join(faults(run, shown.linked())) == ""


def test_every_rule_evaluates(run):
    """Prometheus itself says how its rules fare, and every recorded series is there."""
    groups = run.ask("rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"]: rule["lastError"] for rule in rules if rule.get("lastError")} == {}
    assert {rule["health"] for rule in rules} == {"ok"}
    missing = [
        name for name in sorted(shown.recorded()) if not run.ask("query", query=name, time=run.ended)["data"]["result"]
    ]
    assert missing == sorted(SILENT)
    for rule in rules:
        if rule["type"] == "alerting":
            assert complaint(run.evaluate(rule["query"], instant=True)) == "", rule["name"]


def test_every_variable_has_values(run):
    for place, selector, label in shown.variables():
        words = {"match[]": filled(selector), "start": run.began, "end": run.ended}
        answer = run.ask(f"label/{label}/values", **words)
        assert complaint(answer) == "", place
        assert answer["data"], place


def test_a_narrowed_dashboard_is_narrower(run):
    """One workflow chosen: only its rows are left."""
    table = next(one for one in shown.targets() if one.place == "attune-overview: Each workflow and stage A")
    narrow = filled(table.text.replace("$workflow", "support"))
    rows = run.evaluate(narrow, instant=True)["data"]["result"]
    assert {row["metric"]["attune_workflow"] for row in rows} == {"support"}
    everything = run.evaluate(filled(table.text), instant=True)["data"]["result"]
    assert len(everything) > len(rows) > 0


def test_shares_are_shares(run):
    """What is drawn from 0 to 1 lies there."""
    for board in shown.dashboards().values():
        for panel in shown.panels(board):
            defaults = panel["fieldConfig"]["defaults"]
            if defaults["unit"] == "percentunit" and defaults.get("max") == 1:
                for target in panel["targets"]:
                    for row in run.evaluate(filled(target["expr"]), instant=False)["data"]["result"]:
                        numbers = [float(value) for _, value in row["values"]]
                        assert all(math.isnan(it) or 0 <= it <= 1.000001 for it in numbers), panel["title"]


def test_the_band_of_states_shows_what_happened(run):
    """The circuit of the premium model opened, was half open, and closed; that of the capable one cooled."""
    band = next(one for one in shown.targets() if one.place == "attune-circuits: State of each circuit A")
    rows = run.evaluate(filled(band.text), instant=False)["data"]["result"]
    seen = {row["metric"]["attune_circuit_name"]: {int(float(value)) for _, value in row["values"]} for row in rows}
    transitions = {span.events[0].attributes["attune.circuit.name"] for span in run.spans if span.events}
    assert transitions <= set(seen)
    assert any({0, 3} <= states for states in seen.values())
    assert any(1 in states for states in seen.values())


def test_exemplars_lead_to_their_traces(run):
    """The curve of durations has dots, and the trace of each is in the trace store."""
    curve = next(one for one in shown.targets() if one.place == "attune-overview: Duration of calls A")
    answer = run.ask("query_exemplars", query=filled(curve.text), start=run.began, end=run.ended)
    exemplars = [exemplar["labels"] for series in answer["data"] for exemplar in series["exemplars"]]
    assert exemplars
    trace = exemplars[0]["trace_id"]
    ours = {format(span.context.trace_id, "032x") for span in run.spans}
    assert {labels["trace_id"] for labels in exemplars} <= ours
    assert collectors.soon(lambda: searched(run, f"/api/traces/{trace}"))


def searched(run: Run, path: str) -> list[Any]:
    """What the trace store finds."""
    try:
        with urllib.request.urlopen(run.jaeger.url(path), timeout=5) as answer:
            return json.loads(answer.read())["data"] or []
    except urllib.error.HTTPError as error:
        error.close()
        return []


@pytest.mark.parametrize("name", sorted(shown.documents(shown.GRAFANA, "traceql.yaml")["traceql.yaml"]))
def test_a_traceql_query_finds_spans_of_the_run(run, name):
    """By its own conditions; each field that it shows is on one of them at least; what it equates, Jaeger finds too."""
    asked = shown.documents(shown.GRAFANA, "traceql.yaml")["traceql.yaml"][name]
    query = traceql.parse(filled(asked["query"]))
    spans = traceql.found(query, run.spans)
    assert spans
    dark = [shows for shows in query.shows if not any(traceql.values(span, shows) for span in spans)]
    assert dark == []
    tags = {key.removeprefix("span."): value for key, value in query.equal.items() if key.startswith("span.")}
    if tags:
        told = {key: str(value).lower() if isinstance(value, bool) else value for key, value in tags.items()}
        path = "/api/traces?" + urllib.parse.urlencode({"service": busy.SERVICE, "tags": json.dumps(told)})
        assert collectors.soon(lambda: searched(run, path)), path


@pytest.mark.parametrize(
    "text", ["{ a > 1 ", "{ a > 1 } | rate() by (b)", "{ a ~ 1 } | select(b)", '{ (a = "x" } | select(b)']
)
def test_a_query_of_another_shape_is_refused(text):
    with pytest.raises((ValueError, KeyError, IndexError)):
        traceql.parse(text)


def test_a_bad_expression_is_noticed(run):
    """An error, a warning, an empty answer: each is a fault."""
    for text in ("sum(", "rate(attune_circuit_open[1m])", "no_such_metric"):
        assert faults(run, [shown.Expression("sample", text)])
    assert re.search("empty", faults(run, [shown.Expression("sample", "no_such_metric")])[0])
