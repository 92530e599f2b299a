"""What the dashboards, the data sources and the TraceQL file say, taken apart: expressions, names, labels, panels.

Reads the committed files, not the builders, so that it sees what Grafana would see. Knows nothing of a running store.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import json
import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attune.telemetry import names as n

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "grafana"
RULES = ROOT / "collector" / "rules"
WORDS = {
    "sum", "by", "rate", "increase", "histogram_quantile", "max", "min", "count", "avg_over_time", "or", "and", "unless",
    "vector", "time", "max_over_time", "last_over_time", "offset", "timestamp", "topk", "absent", "__name__",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Expression:
    """One PromQL expression and where it stands."""

    place: str
    text: str
    legend: str = ""
    instant: bool = False

    def __str__(self) -> str:
        return self.place


@contextlib.contextmanager
def classic() -> Iterator[None]:
    """The Foundation SDK calls the classic dashboard deprecated; every Grafana takes it, and older ones only it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


@functools.cache
def schema() -> Any:
    """The classic dashboard's schema."""
    with classic():
        importlib.import_module("grafana_foundation_sdk.cog.plugins").register_default_plugins()
        return importlib.import_module("grafana_foundation_sdk.models.dashboard")


@functools.cache
def build() -> Any:
    """The module grafana/build.py. Wants the dependency group `grafana`."""
    sys.path.insert(0, str(GRAFANA))
    try:
        spec = importlib.util.spec_from_file_location("attune_grafana_build", GRAFANA / "build.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        with classic():
            spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(GRAFANA))
    return module


@functools.cache
def dashboards() -> dict[str, dict[str, Any]]:
    """The committed dashboards by file name."""
    return {
        path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted((GRAFANA / "dashboards").glob("*"))
    }


@functools.cache
def documents(folder: Path, pattern: str = "*.yaml") -> dict[str, Any]:
    """Every YAML file of a folder."""
    import yaml

    return {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(pattern))}


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """The panels of a dashboard, without its rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def targets() -> list[Expression]:
    """The PromQL of every panel."""
    return [
        Expression(
            f"{board['uid']}: {panel['title']} {target['refId']}",
            target["expr"],
            target.get("legendFormat", ""),
            bool(target.get("instant")),
        )
        for board in dashboards().values()
        for panel in panels(board)
        for target in panel["targets"]
        if "expr" in target
    ]


def annotations() -> list[Expression]:
    """The PromQL of every annotation, its title and text as its legend."""
    return [
        Expression(
            f"{board['uid']}: annotation {one['name']}",
            one["target"]["expr"],
            f"{one['titleFormat']} {one['textFormat']} {{{{{one['tagKeys']}}}}}",
        )
        for board in dashboards().values()
        for one in board["annotations"]["list"]
    ]


def variables() -> list[tuple[str, str, str]]:
    """(place, selector, label) of every variable that asks for values of a label."""
    found = []
    for board in dashboards().values():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
                assert asked, variable["query"]
                found.append((f"{board['uid']}: ${variable['name']}", asked[1], asked[2]))
    return found


def linked() -> list[Expression]:
    """The PromQL of the links from traces to metrics, and of Grafana's own alerts."""
    found = []
    for source in documents(GRAFANA / "provisioning" / "datasources")["attune.yaml"]["datasources"]:
        for query in source["jsonData"].get("tracesToMetrics", {}).get("queries", []):
            found.append(Expression(f"{source['uid']}: {query['name']}", query["query"].replace("$$", "$")))
    for group in documents(GRAFANA / "provisioning" / "alerting")["attune.yaml"]["groups"]:
        for rule in group["rules"]:
            found += [Expression(f"alert {rule['title']}", asked["model"]["expr"]) for asked in rule["data"]]
    return found


def metrics() -> dict[str, str]:
    """Metrics of attune: Prometheus's name -> the name in names.py."""
    words = sys.modules[build().w.__name__]
    newer, older = n.GENAI_2026, n.GENAI_OLDER
    durations = [n.CALL_DURATION, n.ATTEMPT_DURATION, older.duration, newer.duration]
    tokens = [older.usage, newer.input_histogram, newer.output_histogram]
    plain = [*n.COUNTERS, *n.GAUGES, newer.input_counter, newer.output_counter]
    found = {words.metric(name): name for name in plain if name}
    for name in (*durations, *tokens):
        for part in ("_bucket", "_sum", "_count"):
            found[words.metric(name or "") + part] = name or ""
    return found


def attributes() -> dict[str, str]:
    """Attributes of attune: Prometheus's label -> the name in names.py."""
    words = sys.modules[build().w.__name__]
    constants = {value for name, value in vars(n).items() if name.isupper() and isinstance(value, str)}
    constants -= {value for name, value in vars(n).items() if name.startswith("SCOPE")}
    facts = {*n.REQUEST_FACTS.values(), *n.RESPONSE_FACTS.values(), n.GENAI_2026.cache_write, n.GENAI_OLDER.cache_write}
    spoken = {name for name in constants | facts if "." in name} - {n.SPAN_ROUTE, n.SPAN_ATTEMPT, n.EVENT_TRANSITION}
    return {words.label(name): name for name in spoken - set(metrics().values()) | {n.QUALITY}}


def rules() -> list[dict[str, Any]]:
    """Every rule of collector/rules."""
    return [rule for document in documents(RULES).values() for group in document["groups"] for rule in group["rules"]]


@functools.cache
def recorded() -> frozenset[str]:
    """The series that the recording rules make."""
    return frozenset(rule["record"] for rule in rules() if "record" in rule)


def spoken(text: str) -> set[str]:
    """The metrics and labels that an expression names: every word that is no function, no number and no variable."""
    named = set(re.findall(r'__name__=~"(\w+)\(', text))
    bare = re.sub(r'"[^"]*"', '""', text)
    bare = re.sub(r"\[[^\]]*\]|\$\w+|\b\d[\w.]*", " ", bare)
    return set(re.findall(r"[a-zA-Z_:][\w:]*", bare)) - WORDS | named


def shown_labels(legend: str) -> set[str]:
    """The labels that a legend shows."""
    return set(re.findall(r"\{\{\s*(\w+)\s*\}\}", legend))


def traced(query: str) -> Iterator[tuple[str, str]]:
    """(scope, attribute) of each attribute that a TraceQL query names."""
    bare = re.sub(r'"[^"]*"', '""', query)
    yield from re.findall(r"\b(span|resource|event)\.([\w.]+)", bare)
