"""Every figure of `attune demo --json`, worked out again from the OTLP files it leaves, with nothing but json and arithmetic.

No line of attune is imported here: what the printer got wrong cannot be wrong here in the same way.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from types import SimpleNamespace

import pytest

CALLS, SEED = 600, 0
FLOORS = {"support/triage": 0.8, "code-review/analysis": 0.8, "research/synthesis": 0.7}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run of the program, and what it left."""
    place = tmp_path_factory.mktemp("demo")
    home = place / "home"
    home.mkdir()
    ended = subprocess.run(
        [
            sys.executable,
            "-m",
            "attune.cli.main",
            "demo",
            "--json",
            "--calls",
            str(CALLS),
            "--seed",
            str(SEED),
            "--out",
            place / "out",
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(home), "ATTUNE_HOME": str(home / ".attune")},
        timeout=110,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    spans = list(read(told["files"]))
    routes = sorted((it for it in spans if it.name.startswith("attune.route ")), key=lambda it: it.start)
    return SimpleNamespace(
        told=told,
        ended=ended,
        home=home,
        spans=spans,
        routes=routes,
        first=routes[0].start,
        runs={
            name: sorted((it for it in spans if it.scope == "attune.demo" and it.run == name), key=lambda it: it.start)
            for name in ("without", "always_premium")
        },
    )


def read(files):
    """The spans of OTLP JSON lines."""
    for path in files:
        for line in Path(path).read_text(encoding="utf-8").splitlines():
            for resource in json.loads(line).get("resourceSpans", []):
                for scope in resource["scopeSpans"]:
                    for raw in scope["spans"]:
                        yield SimpleNamespace(
                            scope=scope["scope"]["name"],
                            name=raw["name"],
                            start=int(raw["startTimeUnixNano"]) / 1e9,
                            end=int(raw["endTimeUnixNano"]) / 1e9,
                            events=[
                                (it["name"], int(it["timeUnixNano"]) / 1e9, known(it)) for it in raw.get("events", [])
                            ],
                            known=(facts := known(raw)),
                            run=facts.get("run"),
                        )


def known(raw):
    """Attributes as a dict; an OTLP int is a string."""
    told = {}
    for it in raw.get("attributes", []):
        ((kind, value),) = it["value"].items()
        told[it["key"]] = int(value) if kind == "intValue" else value
    return told


def returned(route):
    return route.known["attune.outcome"] == "success"


def good(route):
    return returned(route) and route.known.get("attune.quality.score") == 1


def p95_ms(spans):
    """Nearest rank."""
    took = sorted((it.end - it.start) * 1e3 for it in spans)
    return took[math.ceil(0.95 * len(took)) - 1]


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def transitions(run):
    told = ((at, it) for route in run.routes for name, at, it in route.events if name == "attune.circuit.transition")
    return sorted(told, key=lambda each: each[0])


def test_the_object_has_these_keys_and_no_others(run):
    four = {"calls", "success_rate", "cost_usd", "p95_ms"}
    told = run.told
    assert set(told) == {
        "schema", "seed", "calls", "seconds", "with_attune", "without", "always_premium", "outage", "circuits", "decisions",
        "workflows", "best_models", "second_process", "files",
    }  # fmt: skip
    assert set(told["with_attune"]) == four
    assert set(told["without"]) == set(told["always_premium"]) == four | {"model"}
    assert set(told["outage"]) == {
        "model", "from_s", "to_s", "with_attune", "without", "lost", "detected_after", "returned_after",
    }  # fmt: skip
    assert (told["seed"], told["calls"]) == (SEED, CALLS)


def test_stdout_is_one_object_and_progress_is_on_stderr(run):
    assert len(run.ended.stdout.splitlines()) == 1
    assert "outage" in run.ended.stderr


def test_calls_success_cost_and_p95_with_attune(run):
    told = run.told["with_attune"]
    assert told["calls"] == len(run.routes) == CALLS
    assert told["success_rate"] == pytest.approx(mean(map(good, run.routes)), abs=1e-6)
    assert told["cost_usd"] == pytest.approx(sum(it.known["attune.call.cost"] for it in run.routes), abs=1e-8)
    assert told["p95_ms"] == pytest.approx(p95_ms(run.routes), rel=0.02, abs=0.5)


@pytest.mark.parametrize("name", ["without", "always_premium"])
def test_the_runs_without_attune_were_measured(run, name):
    told, spans = run.told[name], run.runs[name]
    assert told["calls"] == len(spans) == CALLS
    assert {it.known["model"] for it in spans} == {told["model"]}
    assert told["success_rate"] == pytest.approx(mean(it.known["success"] for it in spans), abs=1e-6)
    assert told["cost_usd"] == pytest.approx(sum(it.known["cost"] for it in spans), abs=1e-8)
    assert told["p95_ms"] == pytest.approx(p95_ms(spans), rel=1e-3, abs=1e-2)


def test_the_same_traffic_went_through_all_three_runs(run):
    with_attune = [it.known["attune.workflow"] for it in run.routes]
    assert with_attune == [it.known["workflow"] for it in run.runs["without"]]
    assert with_attune == [it.known["workflow"] for it in run.runs["always_premium"]]


def test_seconds_is_how_long_the_traffic_took(run):
    traffic = [*run.routes, *itertools.chain(*run.runs.values())]
    assert run.told["seconds"] == pytest.approx(max(it.end for it in traffic) - run.first, abs=1.0)


def test_the_outage_is_of_the_busiest_model(run):
    outage = run.told["outage"]
    before = Counter(
        it.known["attune.route.model"]
        for it in run.routes
        if it.start - run.first < outage["from_s"] and it.known["attune.route.provider"] == "anthropic"
    )
    assert outage["model"] == before.most_common(1)[0][0] == run.told["without"]["model"]


def test_calls_answered_in_the_outage(run):
    outage = run.told["outage"]
    inside = [it for it in run.routes if outage["from_s"] <= it.start - run.first < outage["to_s"]]
    beside = [it for it in run.runs["without"] if outage["from_s"] <= it.start - run.first < outage["to_s"]]
    assert len(inside) == len(beside) > 0
    assert outage["with_attune"]["success_rate"] == pytest.approx(mean(map(returned, inside)), abs=1e-6)
    assert outage["without"]["success_rate"] == pytest.approx(mean(it.known["returned"] for it in beside), abs=1e-6)
    assert outage["lost"] == sum(not returned(it) for it in inside)


def test_when_it_left_the_sick_model_and_when_it_came_back(run):
    outage = run.told["outage"]
    began, ended = run.first + outage["from_s"], run.first + outage["to_s"]
    opened = [
        at
        for at, it in transitions(run)
        if it["attune.circuit.name"] == f"anthropic:{outage['model']}"
        and it["attune.circuit.to"] == "open"
        and began <= at <= ended
    ]
    until = [it for it in run.routes if began <= it.start <= min(opened)] if opened else None
    assert outage["detected_after"] == (None if until is None else len(until))
    after = [it for it in run.routes if it.start >= ended]
    back = [
        n
        for n, it in enumerate(after, 1)
        if returned(it)
        and (it.known["attune.route.provider"], it.known["attune.route.model"]) == ("anthropic", outage["model"])
    ]
    assert outage["returned_after"] == (back[0] if back else None)


def test_the_timeline_of_the_circuits(run):
    found = [
        (it["attune.circuit.name"], it["attune.circuit.from"], it["attune.circuit.to"], it["attune.circuit.reason"])
        for _, it in transitions(run)
    ]
    told = run.told["circuits"]
    assert [(it["name"], it["from"], it["to"], it["reason"]) for it in told] == found
    assert [it["at_s"] for it in told] == pytest.approx([at - run.first for at, _ in transitions(run)], abs=0.01)
    assert found, "an outage without a transition is none"


def test_decisions_by_reason_are_one_a_call(run):
    assert run.told["decisions"] == dict(Counter(it.known["attune.route.reason"] for it in run.routes))
    assert sum(run.told["decisions"].values()) == CALLS


def test_success_of_each_workflow(run):
    by_cell = defaultdict(list)
    for it in run.routes:
        by_cell[f"{it.known['attune.workflow']}/{it.known['attune.stage']}"].append(good(it))
    told = {f"{it['workflow']}/{it['stage']}": it for it in run.told["workflows"]}
    assert {cell: it["floor"] for cell, it in told.items()} == FLOORS
    assert {cell: it["calls"] for cell, it in told.items()} == {cell: len(its) for cell, its in by_cell.items()}
    for cell, its in by_cell.items():
        assert told[cell]["success_rate"] == pytest.approx(mean(its), abs=1e-6)


def test_the_best_models_are_the_cheapest_that_meet_the_floor(run):
    scores, costs = defaultdict(list), defaultdict(list)
    for it in run.spans:
        cell = f"{it.known.get('attune.workflow')}/{it.known.get('attune.stage')}"
        if it.name.startswith("attune.route ") and "attune.quality.score" in it.known:
            of = (cell, it.known["attune.route.provider"], it.known["attune.route.model"])
            scores[of].append(it.known["attune.quality.score"])
        elif it.scope == "attune" and "attune.attempt.index" in it.known:
            of = (cell, it.known["gen_ai.provider.name"], it.known["gen_ai.request.model"])
            if it.known["attune.outcome"] == "failure" and it.known["attune.circuit.state"] == "closed":
                scores[of].append(0.0)
            if "attune.attempt.cost" in it.known:
                costs[of].append(it.known["attune.attempt.cost"])
    for cell, floor in FLOORS.items():
        fit = [of for of, its in scores.items() if of[0] == cell and len(its) >= 10 and mean(its) >= floor]
        assert run.told["best_models"][cell] == min(fit, key=lambda of: mean(costs[of]))[2]


def test_the_second_process_agrees(run):
    second = run.told["second_process"]
    assert second == {"best_models": run.told["best_models"], "agrees": True}


def test_the_files_are_there_and_nothing_else_was_written(run):
    assert run.told["files"]
    assert all(Path(path).is_absolute() and Path(path).is_file() for path in run.told["files"])
    assert list(run.home.iterdir()) == []


def test_the_bounds_hold(run):
    """The promises of the demo, on this seed."""
    told = run.told
    assert told["outage"]["with_attune"]["success_rate"] >= 0.98
    assert told["outage"]["without"]["success_rate"] < 0.9
    assert told["with_attune"]["cost_usd"] <= 0.6 * told["always_premium"]["cost_usd"]
    assert all(it["success_rate"] >= it["floor"] - 0.02 for it in told["workflows"])


def test_no_prompt_is_in_the_files(run):
    """Nor any answer's text."""
    for path in run.told["files"]:
        text = Path(path).read_text(encoding="utf-8")
        assert "paragraph of material" not in text
        assert "scripted answer" not in text
