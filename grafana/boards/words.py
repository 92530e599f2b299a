"""attune's metrics and labels as Prometheus spells them, and the few shapes of expression that panels are made of.

Every name comes from `attune.telemetry.names`; none of attune's is written out here or in a dashboard. The translation is
the default one of Prometheus, the same that the reader uses. Counters are only read through `rate`, `total` or `happened`.
"""

from __future__ import annotations

from attune.telemetry import names as n
from attune.telemetry.promql_names import USUAL

# The conventions' metrics, whose units stand in no table of names.py: the suffix of each.
_SUFFIXES = {
    n.GENAI_OLDER.duration: "_seconds",
    n.GENAI_2026.duration: "_seconds",
    n.GENAI_2026.input_counter: "_total",
    n.GENAI_2026.output_counter: "_total",
}


def label(name: str) -> str:
    """An attribute's name as a Prometheus label."""
    return USUAL.label(name)


def metric(name: str) -> str:
    """A metric's name as Prometheus spells it; histograms still want `_bucket`, `_sum` or `_count`."""
    return USUAL.metric(name) + _SUFFIXES.get(name, "")


WORKFLOW, STAGE = label(n.WORKFLOW), label(n.STAGE)
PROVIDER, MODEL = label(n.GEN_AI_PROVIDER), label(n.GEN_AI_MODEL)
OUTCOME, KIND, ERROR = label(n.OUTCOME), label(n.ATTEMPT_KIND), label(n.ERROR_TYPE)
REASON, EXPLORED, SATISFIED = label(n.ROUTE_REASON), label(n.ROUTE_EXPLORED), label(n.ROUTE_SATISFIED)
MODE = label(n.MODE)
CIRCUIT, FROM, TO = label(n.CIRCUIT_NAME), label(n.CIRCUIT_FROM), label(n.CIRCUIT_TO)
READER, WHERE, TOKEN = label(n.READER), label(n.WHERE), label(n.GEN_AI_TOKEN_TYPE)
SERVICE, INSTANCE = "service_name", label(n.INSTANCE_ID)

CALL_DURATION, ATTEMPT_DURATION = metric(n.CALL_DURATION), metric(n.ATTEMPT_DURATION)
CALLS = f"{CALL_DURATION}_count"
ATTEMPTS, COST, BASELINE = metric(n.ATTEMPTS), metric(n.COST), metric(n.BASELINE_COST)
SCORE, VERDICTS = metric(n.QUALITY_SCORE), metric(n.QUALITY_COUNT)
DECISIONS = metric(n.DECISIONS)
OPEN, HALF_OPEN, COOLING = metric(n.CIRCUIT_OPEN), metric(n.CIRCUIT_HALF_OPEN), metric(n.CIRCUIT_COOLING)
TRANSITIONS, REJECTIONS = metric(n.TRANSITIONS), metric(n.REJECTIONS)
READER_AGE, READER_ERRORS, FAULTS = metric(n.READER_AGE), metric(n.READER_ERRORS), metric(n.FAULTS)

# What a panel may be narrowed to: each level names the variables that its metrics have labels for.
IN_SERVICE = f'{SERVICE}=~"$service"'
IN_PROVIDER = f'{IN_SERVICE}, {PROVIDER}=~"$provider"'
IN_TARGET = f'{IN_PROVIDER}, {MODEL}=~"$model"'
IN_CELL = f'{IN_SERVICE}, {WORKFLOW}=~"$workflow", {STAGE}=~"$stage"'
IN_SERIES = f'{IN_CELL}, {PROVIDER}=~"$provider", {MODEL}=~"$model"'


def recorded(rule: str) -> str:
    """A series that collector/rules records, so that dashboards, alerts and readers see one figure."""
    return f"{n.SCOPE}:{rule}"


STEP, RANGE, EACH = "$__rate_interval", "$__range", "$__interval"


def rate(name: str, within: str, *more: str, over: str = STEP) -> str:
    """How fast a counter grows, a second."""
    return f"rate({name}{{{', '.join((within, *more))}}}[{over}])"


def total(name: str, within: str, *more: str) -> str:
    """How much a counter grew in the time range of the dashboard."""
    return f"increase({name}{{{', '.join((within, *more))}}}[{RANGE}])"


def happened(name: str, within: str, *more: str, over: str = RANGE) -> str:
    """How often something rare happened, exactly. `increase` would miss the first time: a series that begins at 1 never
    grew. Each process has series of its own, so that none of them is ever reset. Back after a gap of less than an hour, a
    series is not taken for a new one.
    """
    chosen = f"{name}{{{', '.join((within, *more))}}}"
    newest = f"max_over_time({chosen}[{over}])"
    return f"{newest} - last_over_time({chosen}[1h] offset {over}) or {newest}"


def added(inner: str, *by: str) -> str:
    """The sum, one for each value of these labels."""
    return f"sum by ({', '.join(by)}) ({inner})" if by else f"sum({inner})"


def share(part: str, whole: str) -> str:
    """Part of a whole. Where the whole is nothing there is no share; where only the part is missing it is nought."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def quantile(of: float, name: str, within: str, *by: str, over: str = STEP) -> str:
    """A quantile of a classic histogram: in seconds for durations, read between two of its buckets."""
    return f"histogram_quantile({of:g}, {added(rate(f'{name}_bucket', within, over=over), 'le', *by)})"


def succeeded(within: str, *by: str, over: str = STEP) -> str:
    """The share of calls that ended in success; neutral ones, such as those that the caller cut short, are left out."""
    good = added(rate(CALLS, within, f'{OUTCOME}="success"', over=over), *by)
    return share(good, added(rate(CALLS, within, f'{OUTCOME}!="neutral"', over=over), *by))
