"""What a metric or attribute of attune is called in Prometheus, from `names.py` alone, and which labels each may bear."""

from __future__ import annotations

import re

from attune.telemetry import names as n

CELL = {n.WORKFLOW, n.STAGE}
SERIES = CELL | {n.GEN_AI_PROVIDER, n.GEN_AI_MODEL}
CIRCUIT = {n.CIRCUIT_NAME, n.GEN_AI_PROVIDER}
# The table of metrics: which attributes each is told with.
ATTRIBUTES = {
    n.CALL_DURATION: CELL | {n.OUTCOME},
    n.ATTEMPT_DURATION: SERIES | {n.OUTCOME},
    n.ATTEMPTS: SERIES | {n.OUTCOME, n.ATTEMPT_KIND, n.ERROR_TYPE},
    n.COST: SERIES,
    n.BASELINE_COST: CELL,
    n.QUALITY_SCORE: SERIES,
    n.QUALITY_COUNT: SERIES,
    n.DECISIONS: SERIES | {n.ROUTE_REASON, n.ROUTE_EXPLORED, n.ROUTE_SATISFIED, n.MODE},
    n.CIRCUIT_OPEN: CIRCUIT | {n.GEN_AI_MODEL},
    n.CIRCUIT_HALF_OPEN: CIRCUIT | {n.GEN_AI_MODEL},
    n.CIRCUIT_COOLING: CIRCUIT | {n.GEN_AI_MODEL},
    n.TRANSITIONS: CIRCUIT | {n.CIRCUIT_FROM, n.CIRCUIT_TO},
    n.REJECTIONS: CIRCUIT,
    n.READER_AGE: {n.READER},
    n.READER_ERRORS: {n.READER},
    n.FAULTS: {n.WHERE},
}
# What Prometheus adds from the resource (collector/prometheus.yml), and what belongs to histograms.
ALWAYS = {
    "job", "instance", "service_name", "service_namespace", "service_version", "service_instance_id",
    "deployment_environment_name",
}  # fmt: skip


def label(attribute: str) -> str:
    """An attribute's name as a label."""
    return re.sub(r"\W", "_", attribute)


def metrics() -> dict[str, set[str]]:
    """Every series of attune's own by its name in Prometheus, with the labels it may bear."""
    known: dict[str, set[str]] = {}
    for name, attributes in ATTRIBUTES.items():
        base, labels = label(name), {label(attribute) for attribute in attributes} | ALWAYS
        if name in n.COUNTERS:
            known[f"{base}_total"] = labels
        elif name in n.GAUGES:
            known[base + ("_seconds" if n.GAUGES[name] == n.SECONDS else "")] = labels
        else:
            known |= {f"{base}_seconds_sum": labels, f"{base}_seconds_count": labels}
            known[f"{base}_seconds_bucket"] = labels | {"le"}
    return known
