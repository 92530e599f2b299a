"""The rules that dashboards, alerts and the reader share: their names exist, and each alert fires and stays silent as it should.

`collector/rules/tests` holds the cases for promtool. Here every threshold is moved, one at a time, and a case must notice.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from stack import programs
from stack.prometheus_names import ALWAYS, ATTRIBUTES, metrics

from attune.telemetry import names as n

COLLECTOR = Path(__file__).resolve().parents[2] / "collector"
RULES = COLLECTOR / "rules"
FILES = ("recording.yaml", "budget.yaml", "alerts.yaml")
CASES = sorted((RULES / "tests").glob("*.yaml"))
DASHBOARDS = {"attune-overview", "attune-routing", "attune-circuits", "attune-health"}
PROMTOOLS = [
    pytest.param("promtool", marks=pytest.mark.needs("promtool")),
    pytest.param("promtool-oldest", marks=pytest.mark.needs("promtool-oldest")),
]


def rules() -> list[dict]:
    """All rules of all files, recording rules first."""
    found = [
        rule
        for name in FILES
        for group in yaml.safe_load((RULES / name).read_text())["groups"]
        for rule in group["rules"]
    ]
    return sorted(found, key=lambda rule: "alert" in rule)


def alerts() -> list[dict]:
    return [rule for rule in rules() if "alert" in rule]


def bare(expr: str) -> str:
    """An expression without the texts in it."""
    return re.sub(r'"[^"]*"', '""', expr)


def promtool(outside, name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = ["nice", programs.find(name, outside), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_every_metric_has_its_attributes_in_the_table():
    """The table of this folder speaks of all that names.py names."""
    assert set(ATTRIBUTES) == {*n.COUNTERS, *n.GAUGES, n.CALL_DURATION, n.ATTEMPT_DURATION}


def test_every_name_in_a_rule_exists():
    """Metrics come from names.py; what is recorded is used under the name that it is recorded by."""
    known, recorded = metrics(), {rule["record"] for rule in rules() if "record" in rule}
    for rule in rules():
        names = set(re.findall(r"(?<![\w:])[a-z_][\w:]*(?=\s*[{[)]|$|\s)", bare(rule["expr"])))
        for name in names:
            if name.startswith("attune:"):
                assert name in recorded, name
            elif name.startswith(("attune_", "gen_ai_")) and name not in {
                x for labels in known.values() for x in labels
            }:
                assert name in known, name


def test_every_label_in_a_selector_is_one_of_its_metric():
    known = metrics()
    found = 0
    for rule in rules():
        for name, selector in re.findall(r"\b(attune_\w+)\{([^}]*)\}", rule["expr"]):
            for one in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector):
                assert one in known[name], (name, one)
                found += 1
    assert found > 10


def test_every_label_in_a_grouping_is_one_that_somebody_has():
    known = {name for labels in metrics().values() for name in labels} | ALWAYS
    for rule in rules():
        for inner in re.findall(r"\b(?:by|on|group_left)\s*\(([\w\s,]*)\)", rule["expr"]):
            assert {name.strip() for name in inner.split(",") if name.strip()} <= known, rule["expr"]


def test_an_alert_says_how_urgent_it_is_and_where_to_look():
    """Severity, summary, description, a runbook that exists, a dashboard that exists."""
    for alert in alerts():
        said = alert["annotations"]
        assert alert["labels"]["severity"] in {"page", "ticket"}
        assert said["summary"]
        assert said["description"]
        assert said["runbook"] == f"runbooks/{alert['alert']}.md"
        assert (COLLECTOR / said["runbook"]).is_file()
        assert said["dashboard_url"].removeprefix("http://127.0.0.1:3000/d/") in DASHBOARDS


def test_there_is_an_alert_for_each_trouble_and_no_runbook_without_one():
    expected = {
        "AttuneCircuitOpen", "AttuneCircuitFlapping", "AttuneStageWithoutProvider", "AttuneFloorNotMet",
        "AttuneCostBurn", "AttuneRouterBlind", "AttuneReaderStale", "AttuneCollectorDropping", "AttuneTelemetryAbsent",
    }  # fmt: skip
    assert {alert["alert"] for alert in alerts()} == expected
    assert {path.stem for path in (COLLECTOR / "runbooks").glob("*.md")} == expected


@pytest.mark.parametrize("alert", sorted({alert["alert"] for alert in alerts()}))
def test_each_alert_has_a_firing_and_a_silent_case(alert):
    """Told with the labels and texts it fires with: one for each rule of that name."""
    cases = [yaml.safe_load(path.read_text()) for path in CASES if path.name.startswith(alert + ".")]
    tests = [test for case in cases for test in case["tests"]]
    told = [check for test in tests for check in test.get("alert_rule_test", ()) if check["alertname"] == alert]
    firing = [one["exp_labels"] for check in told for one in check["exp_alerts"]]
    for rule in (rule for rule in alerts() if rule["alert"] == alert):
        assert any(rule["labels"].items() <= labels.items() for labels in firing), rule["labels"]
    silent = [
        test for test in tests
        if all(not check["exp_alerts"] for check in test.get("alert_rule_test", ()))
        and all(not check.get("exp_samples") for check in test.get("promql_expr_test", ()) if "ALERTS" in check["expr"])
    ]  # fmt: skip
    assert silent


@pytest.mark.parametrize("name", PROMTOOLS)
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_the_rules_do_what_their_cases_say(case, name, outside):
    done = promtool(outside, name, "test", "rules", case)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.needs("promtool")
def test_the_rules_pass_every_lint(outside):
    done = promtool(
        outside, "promtool", "check", "rules", "--lint=all", "--lint-fatal", *(RULES / name for name in FILES)
    )
    assert done.returncode == 0, done.stdout + done.stderr


def only(alert: str) -> dict[str, dict]:
    """The files again, without what this alert does not rest on: promtool evaluates every rule it is given."""
    by_name = {rule["record"]: rule for rule in rules() if "record" in rule}
    needed, ask = set(), [rule["expr"] for rule in alerts() if rule["alert"] == alert]
    while ask:
        new = {name for name in re.findall(r"attune:[\w:]+", ask.pop()) if name not in needed}
        needed |= new
        ask += [by_name[name]["expr"] for name in new]
    kept: dict[str, dict] = {}
    for name in FILES:
        kept[name] = yaml.safe_load((RULES / name).read_text())
        for group in kept[name]["groups"]:
            group["rules"] = [
                rule for rule in group["rules"] if rule.get("alert") == alert or rule.get("record") in needed
            ]
        kept[name]["groups"] = [group for group in kept[name]["groups"] if group["rules"]]
    return kept


def moves(files: dict[str, dict]) -> Iterator[tuple[dict, str, str]]:
    """Each threshold in its place, and what is put there: numbers that are compared, waiting times, the budget."""
    for content in files.values():
        for rule in (rule for group in content["groups"] for rule in group["rules"]):
            if "alert" in rule or "budget" in rule["record"].partition("attune:cost_")[2][:6]:
                yield from ((rule, "expr", moved) for moved in moved_numbers(rule["expr"]))
                waits = [(key, seconds(rule[key])) for key in ("for", "keep_firing_for") if key in rule]
                yield from ((rule, key, f"{int(wait * by)}s") for key, wait in waits for by in (0.5, 1.5))


def moved_numbers(expr: str) -> Iterator[str]:
    """The expression with one number a quarter down, and up; counts by one; a zero to 5."""
    for number in re.finditer(r"(?:([><=]=?) |vector\()([\d.]+)", expr):
        sign, value = number[1], float(number[2])
        there = (
            (5.0,) if value == 0 else (value - 1, value + 1) if sign in {"==", ">="} else (value * 0.75, value * 1.25)
        )
        yield from (expr[: number.start(2)] + f"{other:g}" + expr[number.end(2) :] for other in there)


def seconds(wait: str) -> int:
    return sum(int(count) * {"h": 3600, "m": 60, "s": 1}[unit] for count, unit in re.findall(r"(\d+)([hms])", wait))


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("alert", sorted({alert["alert"] for alert in alerts()}))
def test_a_threshold_that_is_moved_makes_a_case_fail(alert, outside, tmp_path):
    """Each number and each waiting time, down and up by a quarter or a half, one at a time."""
    files = only(alert)
    (tmp_path / "tests").mkdir()
    cases = [Path(shutil.copy(path, tmp_path / "tests")) for path in CASES if path.name.startswith(alert + ".")]

    def sound(first: str) -> bool:
        for name, content in files.items():
            (tmp_path / name).write_text(yaml.safe_dump(content, sort_keys=False))
        ordered = sorted(cases, key=lambda case: first not in case.name)  # who must notice is asked first
        return all(promtool(outside, "promtool", "test", "rules", case).returncode == 0 for case in ordered)

    assert sound(""), "less than the alert rests on was kept"
    unnoticed, moved = [], 0
    for rule, key, there in list(moves(files)):
        before, rule[key] = rule[key], there
        moved += 1
        if sound(f".{rule.get('labels', {}).get('window', '')}."):
            unnoticed.append((before, there))
        rule[key] = before
    assert not unnoticed
    assert moved >= 3
