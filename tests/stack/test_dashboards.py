"""Dashboards and data sources: built from what is committed, sound in schema, honest in names, fit to be read.

None of this starts Grafana: whether it renders them is seen only where CI starts the compose file (grafana/README.md).
"""

from __future__ import annotations

import copy
import json
import re
from collections import Counter

import pytest

pytest.importorskip("grafana_foundation_sdk", reason="the dependency group `grafana` is not installed")
pytest.importorskip("yaml", reason="the dependency group `grafana` is not installed")

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import units
from house.source import refuse
from stack import shown

from attune.telemetry import names as n

UIDS = {
    "overview.json": "attune-overview",
    "routing.json": "attune-routing",
    "circuits.json": "attune-circuits",
    "telemetry-health.json": "attune-health",
}
KNOWN_UNITS = {value for name, value in vars(units).items() if not name.startswith("_") and isinstance(value, str)}
COUNTED = re.compile(r"\b(\w+_(?:total|bucket|sum|count))\{")
# Where a counter may stand without rate or increase: only its presence or its time is asked for.
PRESENCE = re.compile(r"(?:timestamp|count by \(\w+\)) ?\($")


def again(board: dict) -> dict:
    """The dashboard as the schema understands it: an unknown key does not come back."""
    schema = shown.schema()
    return json.loads(json.dumps(schema.Dashboard.from_json(copy.deepcopy(board)), cls=JSONEncoder))


# The collector and the budget are nobody's in particular.
EVERYBODYS = ("attune:collector_lost", "attune:cost_burn")


def unscoped(text: str) -> list[str]:
    """Selectors of attune's metrics that the variable `service` does not narrow."""
    ours = {name for name in (*shown.metrics(), *shown.recorded()) if not name.startswith(EVERYBODYS)}
    return [
        f"{name}{{{within}}}"
        for name, within in re.findall(r"([a-zA-Z_:][\w:]*)(?:\{([^}]*)\})?", re.sub(r"by \([^)]*\)", "", text))
        if name in ours and 'service_name=~"$service"' not in within
    ]


def bare_counters(text: str) -> list[str]:
    """Counters that are read neither through rate or increase nor as the difference of two moments."""
    return [
        found[1]
        for found in COUNTED.finditer(text)
        if not text[: found.start()].endswith(("rate(", "increase(", "max_over_time(", "last_over_time("))
        and not PRESENCE.search(text[: found.start()])
    ]


def overlapping(board: dict) -> list[str]:
    """Grid cells that no panel covers, or two."""
    covered: Counter[tuple[int, int]] = Counter()
    for panel in board["panels"]:
        at = panel["gridPos"]
        covered.update((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"]))
    bottom = max(y for _, y in covered)
    cells = ((x, y) for y in range(bottom + 1) for x in range(24))
    return [f"{cell} is covered {covered[cell]} times" for cell in cells if covered[cell] != 1] + [
        f"{cell} is off the page" for cell in covered if cell[0] > 23
    ]


def test_what_is_committed_is_what_would_be_built():
    """After a change in grafana/boards: python grafana/build.py."""
    made = shown.build().documents()
    committed = {name: (shown.GRAFANA / "dashboards" / name).read_text(encoding="utf-8") for name in shown.dashboards()}
    assert {name: board["uid"] for name, board in shown.dashboards().items()} == UIDS
    assert committed == made


@pytest.mark.parametrize("name", UIDS)
def test_the_schema_knows_every_key(name):
    board = shown.dashboards()[name]
    assert again(board) == board


def test_the_schema_notices_a_typo():
    """The round trip would be worth nothing if unknown keys came back."""
    board = copy.deepcopy(shown.dashboards()["overview.json"])
    board["panels"][1]["fieldConfig"]["defaults"]["unti"] = "s"
    assert again(board) != board


@pytest.mark.parametrize("name", UIDS)
def test_a_dashboard_is_fit_to_be_read(name):
    """Fixed, tagged, linked, on variables that follow the time range; every panel placed once."""
    board = shown.dashboards()[name]
    assert board["editable"] is False
    assert "attune" in board["tags"]
    assert board["links"][0]["includeVars"]
    assert board["links"][0]["keepTime"]
    assert board["description"].endswith(".")
    assert overlapping(board) == []
    assert max(Counter(panel["id"] for panel in board["panels"]).values()) == 1
    found = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert list(found) == ["datasource", "traces", "service", "workflow", "stage", "provider", "model", "objective"]
    assert [found["datasource"]["query"], found["traces"]["query"]] == ["prometheus", "tempo"]
    for variable in found.values():
        if variable["type"] == "query":
            assert variable["multi"]
            assert variable["includeAll"]
            assert variable["allValue"] == ".*"
            assert variable["refresh"] == shown.schema().VariableRefresh.ON_TIME_RANGE_CHANGED
            assert variable["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@pytest.mark.parametrize("name", UIDS)
def test_a_panel_says_what_it_shows(name):
    """A title, a description, a unit, data sources that are variables, and a legend for each curve."""
    sources = ({"type": "prometheus", "uid": "${datasource}"}, {"type": "tempo", "uid": "${traces}"})
    board = shown.dashboards()[name]
    assert max(Counter(panel["title"] for panel in shown.panels(board)).values()) == 1
    for panel in shown.panels(board):
        where = panel["title"]
        assert panel["description"].endswith((".", "%")), where
        assert panel["fieldConfig"]["defaults"]["unit"] in KNOWN_UNITS, where
        assert panel["datasource"] in sources, where
        assert panel["targets"], where
        assert max(Counter(target["refId"] for target in panel["targets"]).values()) == 1, where
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"], where
            assert target.get("legendFormat") or "query" in target, where
            assert bool(target.get("instant")) is not bool(target.get("range")) or "query" in target, where


def test_rows_have_units_of_their_own():
    """A table's columns differ, so each one says its unit."""
    for board in shown.dashboards().values():
        for panel in shown.panels(board):
            if panel["type"] == "table" and "expr" in panel["targets"][0]:
                told = [
                    rule["matcher"]["options"]
                    for rule in panel["fieldConfig"]["overrides"]
                    if any(told["id"] == "unit" for told in rule["properties"])
                ]
                assert told == [target["legendFormat"] for target in panel["targets"]], panel["title"]


@pytest.mark.parametrize("rule", [unscoped, bare_counters])
def test_every_expression_keeps(rule):
    """Narrowed to the chosen services; counters through rate or increase."""
    refuse(f"{one}: {found}" for one in (*shown.targets(), *shown.annotations()) for found in rule(one.text))


def test_legends_name_labels_that_are_there():
    """A label in a legend that the expression does not keep would show as nothing."""
    for one in (*shown.targets(), *shown.annotations()):
        kept = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", one.text))))
        if not re.match(r"(attune:|\w+ by)", one.text.lstrip("(0123456789* ")) and not kept:
            assert shown.shown_labels(one.legend) == set(), one
        elif kept:
            assert shown.shown_labels(one.legend) <= kept, one


def test_windows_follow_the_resolution():
    """A fixed window is right only where it says so itself: the burn rates."""
    for one in shown.targets():
        windows = set(re.findall(r"\[([^\]]+)\]", one.text))
        if "burn" not in one.place:
            assert windows <= {"$__rate_interval", "$__range", "$__range:", "$__interval", "1h"}, one
            assert "1h" not in windows or "[1h] offset" in one.text, one


def test_every_name_is_known():
    """Metrics and labels are attune's, by names.py; or recorded by a rule; or in the one list of foreign ones."""
    known = {*shown.metrics(), *shown.attributes(), *shown.recorded(), *shown.build().FOREIGN}
    asked = [*shown.targets(), *shown.annotations(), *shown.linked()]
    found = {name: one.place for one in asked for name in shown.spoken(one.text) | shown.shown_labels(one.legend)}
    for place, selector, label in shown.variables():
        found |= dict.fromkeys(shown.spoken(selector) | {label}, place)
    refuse(f"{place} names {name}" for name, place in found.items() if name not in known | {"__name__"})
    assert sorted(set(shown.build().FOREIGN) - set(found)) == []


def test_every_attribute_in_traceql_is_known():
    """Attributes are those of names.py; each query is used by a dashboard, and no dashboard has one of its own."""
    names = set(shown.attributes().values()) | {"service.name"}
    queries = shown.build().queries()
    refuse(
        f"{key} names {scope}.{name}"
        for key, asked in queries.items()
        for scope, name in shown.traced(asked["query"])
        if name not in names
    )
    used = [
        target["query"]
        for board in shown.dashboards().values()
        for panel in shown.panels(board)
        for target in panel["targets"]
        if "query" in target
    ]
    assert sorted(used) == sorted(asked["query"] for asked in queries.values())


def test_every_name_of_attune_is_shown_or_listed():
    """What is sent and never looked at is either listed with a reason, or should not be sent."""
    listed = shown.build().NOT_CHARTED
    by_name = {**shown.metrics(), **shown.attributes()}
    asked = [*shown.targets(), *shown.annotations(), *shown.linked()]
    spoken = {name for one in asked for name in shown.spoken(one.text) | shown.shown_labels(one.legend)}
    spoken |= {label for _, _, label in shown.variables()}
    seen = {by_name[name] for name in spoken if name in by_name}
    seen |= {name for asked in shown.build().queries().values() for _, name in shown.traced(asked["query"])}
    assert sorted(set(by_name.values()) - seen - set(listed)) == []
    assert sorted(set(listed) & seen) == []
    assert sorted(set(listed) - set(by_name.values())) == []
    assert all(listed.values())


def test_data_sources_are_linked():
    """An exemplar opens its trace, a span the metrics of its kind; every uid that is named exists."""
    sources = {
        source["uid"]: source
        for source in shown.documents(shown.GRAFANA / "provisioning" / "datasources")["attune.yaml"]["datasources"]
    }
    assert {uid: source["type"] for uid, source in sources.items()} == {
        "attune-prometheus": "prometheus",
        "attune-tempo": "tempo",
        "attune-alertmanager": "alertmanager",
    }
    metrics, traces = sources["attune-prometheus"]["jsonData"], sources["attune-tempo"]["jsonData"]
    exemplar = metrics["exemplarTraceIdDestinations"][0]
    assert (exemplar["name"], exemplar["datasourceUid"]) == ("trace_id", "attune-tempo")
    assert traces["tracesToMetrics"]["datasourceUid"] == "attune-prometheus"
    assert metrics["alertmanagerUid"] in sources
    labels = {tag["key"]: tag["value"] for tag in traces["tracesToMetrics"]["tags"]}
    assert labels == {name: name.replace(".", "_") for name in labels}
    assert set(labels) - {"service.name"} == {n.WORKFLOW, n.STAGE, n.GEN_AI_PROVIDER, n.GEN_AI_MODEL}
    for group in shown.documents(shown.GRAFANA / "provisioning" / "alerting")["attune.yaml"]["groups"]:
        assert all(asked["datasourceUid"] in sources for rule in group["rules"] for asked in rule["data"])


def test_what_points_at_a_dashboard_finds_it():
    """The alerts' addresses, and the links from panel to panel."""
    alerts = [rule for rule in shown.rules() if "alert" in rule]
    told = {rule["annotations"]["dashboard_url"].rpartition("/d/")[2] for rule in alerts}
    assert told <= set(UIDS.values())
    linked = re.findall(r'"/d/([\w-]+)', json.dumps(shown.dashboards()))
    assert linked
    assert set(linked) <= set(UIDS.values())


def test_dashboards_are_provisioned_and_not_edited_in_the_browser():
    provider = shown.documents(shown.GRAFANA / "provisioning" / "dashboards")["attune.yaml"]["providers"][0]
    assert provider["type"] == "file"
    assert provider["allowUiUpdates"] is False


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (unscoped, "sum(rate(attune_attempts_total[5m]))"),
        (unscoped, 'sum(rate(attune_attempts_total{attune_workflow=~"$workflow"}[5m]))'),
        (bare_counters, 'sum(attune_attempts_total{service_name=~"$service"})'),
    ],
)
def test_the_rule_sees_a_breach(rule, text):
    assert len(rule(text)) == 1


def test_the_grid_sees_a_breach():
    one = {"gridPos": {"x": 0, "y": 0, "w": 24, "h": 1}}
    assert overlapping({"panels": [one]}) == []
    assert overlapping({"panels": [one, one]})
    assert overlapping({"panels": [{"gridPos": {"x": 12, "y": 0, "w": 8, "h": 1}}]})


def test_names_are_taken_out_of_an_expression():
    text = 'sum by (le) (rate(x_total{job=~"a b", service_name="$y"}[$__rate_interval])) / 1e3 > 0 or attune:z:rate5m'
    assert shown.spoken(text) == {"le", "x_total", "job", "service_name", "attune:z:rate5m"}
