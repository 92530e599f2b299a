"""Writes the four dashboards of `grafana/dashboards` from `grafana/boards`: run it after a change there, and commit both.

    python grafana/build.py            write them
    python grafana/build.py --check    say which differ, and end with 1 if one does

Needs the dependency group `grafana`: the Foundation SDK at the one version in constraints.txt. Also holds the one list of
metrics and labels that are not attune's, and the list of attune's names that no panel shows, each with its reason.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from boards import circuits, health, overview, routing
from boards import words as w
from boards.panels import METRICS, identity
from grafana_foundation_sdk.builders import dashboard, prometheus
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as schema

from attune.telemetry import names as n

HERE = Path(__file__).parent
MADE = HERE / "dashboards"

# Metrics and labels that dashboards and provisioning name and attune does not send. Nothing else of a stranger's may be named.
FOREIGN: Mapping[str, str] = {
    "ALERTS": "Prometheus: alerts that are pending or firing",
    "prometheus_rule_evaluation_failures_total": "Prometheus: its own rules",
    "prometheus_tsdb_head_series": "Prometheus: series in memory",
    "up": "Prometheus: whether a target answered its last scrape",
    "otelcol_exporter_queue_capacity": "collector: places in an exporter's queue",
    "otelcol_exporter_queue_size": "collector: places taken",
    "otelcol_exporter_sent_metric_points": "collector: delivered",
    "otelcol_exporter_sent_spans": "collector: delivered",
    "otelcol_process_memory_rss": "collector: resident memory",
    "otelcol_processor_tail_sampling_count_traces_sampled": "collector: decisions of tail sampling",
    "otelcol_receiver_accepted_metric_points": "collector: taken in",
    "otelcol_receiver_accepted_spans": "collector: taken in",
    "alertname": "label of ALERTS",
    "alertstate": "label of ALERTS",
    "cause": "label of a recorded series: what the collector lost it to",
    "decision": "label of the collector's tail sampling",
    "exporter": "label of the collector",
    "instance": "label of every scrape",
    "job": "label of every scrape",
    "le": "label of every classic histogram",
    "policy": "label of the collector's tail sampling",
    "receiver": "label of the collector",
    "service_name": "the resource's service.name, promoted by Prometheus",
    "severity": "label of alerts",
}

# attune's names that no panel, variable, query or data source shows, and why. What is not here must be charted.
NOT_CHARTED: Mapping[str, str] = {
    **dict.fromkeys(
        {*n.REQUEST_FACTS.values(), *n.RESPONSE_FACTS.values()}, "a fact of one request: read it on its span"
    ),
    **dict.fromkeys(
        (
            n.GEN_AI_INPUT_TOKENS,
            n.GEN_AI_OUTPUT_TOKENS,
            n.GEN_AI_CACHE_READ,
            n.GENAI_OLDER.cache_write,
            n.GENAI_2026.cache_write,
        ),
        "tokens of one attempt: their sums are charted from metrics",
    ),
    n.GEN_AI_FIRST: "the conventions' twin of attune.attempt.time_to_first_chunk, which is charted",
    n.GEN_AI_MODALITY: "always unknown: attune does not look into contents",
    n.GEN_AI_OPERATION: "always chat",
    n.GEN_AI_STREAM: "a fact of one request: read it on its span",
    n.GEN_AI_SYSTEM: "read from others, never sent",
    n.PROVIDER_AS_WRITTEN: "only where a provider's name would be read back as another one",
}

BOARDS = {
    "overview": (
        "attune-overview",
        "attune: overview",
        "Rate, errors, duration, cost against the baseline, objectives.",
    ),
    "routing": ("attune-routing", "attune: routing", "Which model is chosen, why, and what it brings."),
    "circuits": ("attune-circuits", "attune: circuits", "Which circuits are open, and where calls go instead."),
    "telemetry-health": ("attune-health", "attune: telemetry health", "Whether the other dashboards can be believed."),
}


def queries() -> dict[str, dict[str, str]]:
    """The TraceQL queries by name."""
    found = yaml.safe_load((HERE / "traceql.yaml").read_text(encoding="utf-8"))
    return dict(found)


def documents() -> dict[str, str]:
    """Each dashboard's text by its file's name."""
    asked = queries()
    contents = {
        "overview": overview.panels(),
        "routing": routing.panels(asked),
        "circuits": circuits.panels(asked),
        "telemetry-health": health.panels(),
    }
    return {f"{name}.json": _text(_board(*BOARDS[name], rows)) for name, rows in contents.items()}


def _text(board: Any) -> str:
    return json.dumps(board, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _board(uid: str, title: str, why: str, rows: Mapping[str, Sequence[Any]]) -> Any:
    board = dashboard.Dashboard(title).uid(uid).description(why).tags(["attune", "llm"]).readonly()
    board.time("now-3h", "now").refresh("30s").timezone("browser").tooltip(schema.DashboardCursorSync.CROSSHAIR)
    for variable in _variables():
        board.with_variable(variable)
    board.annotation(_transitions())
    link = dashboard.DashboardLink("attune").type(schema.DashboardLinkType.DASHBOARDS).tags(["attune"])
    board.link(link.include_vars(True).keep_time(True))
    for heading, panels in rows.items():
        board.with_row(dashboard.Row(heading).id(identity(f"row {uid} {heading}")))
        for panel in panels:
            board.with_panel(panel)
    return board.build()


def _variables() -> list[Any]:
    source = dashboard.DatasourceVariable("datasource").label("Metrics").type("prometheus")
    traces = dashboard.DatasourceVariable("traces").label("Traces").type("tempo")
    within: list[str] = []
    objective = dashboard.CustomVariable("objective").label("Objective").values("0.99,0.9,0.95,0.999")
    objective.current(schema.VariableOption(selected=True, text="0.99", value="0.99"))
    asked = []
    for name, title, metric, label in (
        ("service", "Service", w.CALLS, w.SERVICE),
        ("workflow", "Workflow", w.CALLS, w.WORKFLOW),
        ("stage", "Stage", w.CALLS, w.STAGE),
        ("provider", "Provider", w.ATTEMPTS, w.PROVIDER),
        ("model", "Model", w.ATTEMPTS, w.MODEL),
    ):
        asked.append(_variable(name, title, f"label_values({metric}{{{', '.join(within)}}}, {label})"))
        within.append(f'{label}=~"${name}"')
    return [source, traces, *asked, objective]


def _variable(name: str, title: str, query: str) -> Any:
    everything = schema.VariableOption(selected=True, text=["All"], value=["$__all"])
    made = dashboard.QueryVariable(name).label(title).datasource(METRICS).definition(query)
    made.query({"query": query, "refId": f"variable-{name}"}).refresh(schema.VariableRefresh.ON_TIME_RANGE_CHANGED)
    made.sort(schema.VariableSort.ALPHABETICAL_ASC).multi(True).current(everything)
    # .* also finds what lacks the label: circuits of a provider as a whole, stores without a promoted service name.
    return made.include_all(True).all_value(".*")


def _transitions() -> Any:
    query = prometheus.Dataquery().expr(circuits.transitions()).ref_id("Anno").datasource(METRICS).range()
    made = dashboard.AnnotationQuery().name("Circuit transitions").datasource(METRICS).enable(True).icon_color("orange")
    made.target(query.legend_format("")).title_format(f"{{{{{w.CIRCUIT}}}}}")
    return made.text_format(f"{{{{{w.FROM}}}}} -> {{{{{w.TO}}}}}").tag_keys(w.CIRCUIT)


def main(argv: Sequence[str] | None = None) -> int:
    """Write or compare."""
    parser = argparse.ArgumentParser(description="Writes grafana/dashboards from grafana/boards.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; 1 if a file differs from what would be written"
    )
    checking = parser.parse_args(argv).check
    differing = []
    for name, text in documents().items():
        path = MADE / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            differing.append(name)
            if not checking:
                path.write_text(text, encoding="utf-8")
    if differing:
        sys.stdout.write(f"{'Differ' if checking else 'Written'}: {', '.join(differing)}\n")
    return int(checking and bool(differing))


if __name__ == "__main__":
    sys.exit(main())
