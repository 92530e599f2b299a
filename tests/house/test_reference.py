"""The reference page says what the code says: settings, words, the failure table and the metrics."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from attune.calls.context import Scope
from attune.calls.settings import Live, Settings
from attune.models.failures import RULES
from attune.telemetry import names as n

PAGE = (Path(__file__).parents[2] / "docs" / "reference.md").read_text("utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    part = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_setting_is_listed_with_its_default():
    listed = {row[0]: row[1] for row in rows("Settings")}
    assert list(listed) == [f.name for f in fields(Settings)]
    settings = Settings()
    for name in ("mode", "state", "namespace", "gen_ai_names", "default_tier"):
        assert listed[name] == str(getattr(settings, name))
    for name in ("max_wait_s", "refresh_s", "max_series"):
        assert float(listed[name]) == getattr(settings, name)
    for name in ("explore", "strict_streams", "gen_ai_metrics"):
        assert listed[name] == str(getattr(settings, name)).lower()
    assert {name for name, value in listed.items() if value == "none"} == {
        f.name for f in fields(Settings) if getattr(settings, f.name) in (None, (), {})
    }
    breaker = settings.breaker
    assert listed["breaker"] == f"{breaker.failure_threshold} failures, {breaker.recovery_timeout_seconds:g} s"


def test_every_live_object_is_named():
    part = PAGE.split("Only in code")[1].split("\n## ")[0]
    assert set(re.findall(r"`(\w+)`", part)) >= {f.name for f in fields(Live)}


def test_every_word_of_a_scope_is_listed():
    listed = [word.strip("` ") for row in rows("What a caller may say of a call") for word in row[0].split(",")]
    assert listed == [f.name for f in fields(Scope)]


def test_the_failure_table_is_the_codes():
    told = {}
    for kind, rule in RULES.items():
        circuit = f"failure of the {rule.touches}" if rule.settles == "failure" else "nothing"
        if rule.cool_s:
            circuit = f"cools the {rule.touches} {rule.cool_s:g} s"
        billed = {"no": "0", "unknown": "unknown"}[rule.billed]
        told[str(kind)] = [rule.outcome, circuit, "yes" if rule.retry else "no", rule.fall_back, billed]
    assert {row[0]: row[1:] for row in rows("What an error means")} == told


def test_every_metric_is_listed_as_it_reaches_prometheus():
    units = {n.CALL_DURATION: "s", n.ATTEMPT_DURATION: "s", **n.COUNTERS, **n.GAUGES}
    expected = {}
    for name, unit in units.items():
        suffix = "_seconds" if unit == "s" else ""
        total = "_total" if name in n.COUNTERS else ""
        expected[name] = [name.replace(".", "_") + suffix + total, unit]
    assert {row[0]: row[1:] for row in rows("Metrics")} == expected
