"""Overview: how calls fare, as their callers see it: rate, errors, duration, cost against the baseline, the objective.

Whoever opens this page asks "is it all right, and what does it cost?". Why a model was chosen is on Routing, which
provider is sick on Circuits.
"""

from __future__ import annotations

from typing import Any

from attune.telemetry import names as n
from boards import words as w
from boards.panels import (
    BAD,
    COUNT,
    GOOD,
    OUTCOMES,
    PER_SECOND,
    PERCENT,
    PLAIN,
    RATE,
    SECONDS,
    USD,
    WARN,
    density,
    figure,
    rows,
    series,
    steps,
)

HOUR = "3600 * "
OLDER, NEWER = w.label(n.GENAI_OLDER.usage or ""), n.GENAI_2026


def panels() -> dict[str, list[Any]]:
    """The rows of the dashboard and what stands in them."""
    return {
        "In this time range": _figures(),
        "Rate and errors": _errors(),
        "Duration": _durations(),
        "Cost": _costs(),
        "Objectives": _objectives(),
        "Tokens": _tokens(),
        "Workflows": [_workflows()],
    }


def _figures() -> list[Any]:
    cost, baseline = w.added(w.total(w.COST, w.IN_CELL)), w.added(w.total(w.BASELINE, w.IN_CELL))
    verdicts = w.added(w.total(w.VERDICTS, w.IN_CELL))
    return [
        figure("Calls", "Calls that ended, whatever their outcome.", COUNT, w.added(w.total(w.CALLS, w.IN_CELL))),
        figure(
            "Success", "Calls that ended in success, of all that did not end neutral. A refused call is no success.",
            PERCENT, w.succeeded(w.IN_CELL, over=w.RANGE), colours=steps(BAD, (0.9, WARN), (0.99, GOOD)),
        ),
        figure(
            "Duration, p95", "A call took no longer than this in 95 of 100 cases, waits and further attempts included.",
            SECONDS, w.quantile(0.95, w.CALL_DURATION, w.IN_CELL, over=w.RANGE),
        ),
        figure("Cost", "What attempts cost as far as their price is known, failed ones included.", USD, cost),
        figure(
            "Cost avoided", "What the same tokens would have cost at each call's default target, less what they did cost. "
            "Below zero, routing bought quality.", USD, f"{baseline} - {cost}", colours=steps(WARN, (0, GOOD)),
        ),
        figure(
            "Quality", "The mean of all verdicts, 0 to 1. Without verdicts there is none.", PERCENT,
            f"{w.added(w.total(w.SCORE, w.IN_CELL))} / ({verdicts} > 0)", empty="no verdicts",
        ),
    ]  # fmt: skip


def _errors() -> list[Any]:
    errors = w.added(w.rate(w.ATTEMPTS, w.IN_SERIES, f'{w.ERROR}!=""'), w.ERROR)
    return [
        series(
            "Calls by outcome", "Calls a second. Rejected: an open circuit or a limit refused the call, and no attempt was made.",
            RATE, (w.added(w.rate(w.CALLS, w.IN_CELL), w.OUTCOME), f"{{{{{w.OUTCOME}}}}}"), stacked=True, colours=OUTCOMES,
        ),
        series(
            "Success by workflow", "The share of each workflow's calls that ended in success, neutral ones left out.", PERCENT,
            (w.succeeded(w.IN_CELL, w.WORKFLOW), f"{{{{{w.WORKFLOW}}}}}"), most=1,
        ),
        series(
            "Failed attempts by kind", "Attempts a second that ended with an error, by its kind. Calls may still have succeeded "
            "elsewhere.", PER_SECOND, (errors, f"{{{{{w.ERROR}}}}}"), stacked=True,
        ),
    ]  # fmt: skip


def _durations() -> list[Any]:
    whole = [(w.quantile(of, w.CALL_DURATION, w.IN_CELL), f"p{of * 100:g}") for of in (0.95, 0.5, 0.99)]
    each = w.quantile(0.95, w.ATTEMPT_DURATION, w.IN_SERIES, w.MODEL)
    spread = w.added(w.rate(f"{w.CALL_DURATION}_bucket", w.IN_CELL), "le")
    return [
        series("Duration of calls", "From entry to exit, waits and further attempts included. Dots are single calls: "
               "click one for its trace.", SECONDS, *whole, exemplars=True),
        density("Spread of durations", "How many calls took how long. Two bands mean two kinds of calls, or a fallback's time.",
                spread),
        series("Duration of attempts by model, p95", "One try at one model, failed ones included.", SECONDS,
               (each, f"{{{{{w.MODEL}}}}}"), exemplars=True),
    ]  # fmt: skip


def _costs() -> list[Any]:
    cost = w.added(w.rate(w.COST, w.IN_CELL))
    each = w.added(w.rate(w.COST, w.IN_CELL), w.WORKFLOW)
    calls = w.added(w.rate(w.CALLS, w.IN_CELL), w.WORKFLOW)
    return [
        series("Cost an hour against the baseline", "What attempts cost, and what the same tokens would have cost at the default "
               "target.", USD, (HOUR + cost, "cost"), (HOUR + w.added(w.rate(w.BASELINE, w.IN_CELL)), "baseline"),
               colours={"cost": "blue", "baseline": "gray"}),
        series("Cost an hour by model", "Where the money goes.", USD,
               (HOUR + w.added(w.rate(w.COST, w.IN_SERIES), w.MODEL), f"{{{{{w.MODEL}}}}}"), stacked=True),
        series("Cost of a call by workflow", "The mean, failed attempts included.", USD,
               (f"{each} / ({calls} > 0)", f"{{{{{w.WORKFLOW}}}}}")),
    ]  # fmt: skip


def _objectives() -> list[Any]:
    def burn(window: str) -> str:
        return f"(1 - ({w.succeeded(w.IN_CELL, over=window)})) / (1 - $objective)"

    cell = f"{{{{{w.WORKFLOW}}}}} {{{{{w.STAGE}}}}}"
    unmet = f"{w.recorded('decisions_unmet:ratio_increase1h')}{{{w.IN_CELL}}}"
    spent = [(w.recorded(f"cost_burn:ratio_rate{window}"), window) for window in ("1h", "5m", "6h", "3d")]
    alerts = f'max by (alertname, alertstate, severity, {w.SERVICE}) (ALERTS{{alertname=~"Attune.+"}})'
    return [
        series(
            "Error budget burn",
            "How many times as fast as the objective allows calls fail, over three windows. 1 spends the budget exactly; 14.4 for "
            "an hour spends 2 % of a month's. The objective is chosen above.",
            PLAIN,
            *((burn(window), window) for window in ("1h", "5m", "6h")),
            limit=1,
        ),
        series(
            "Money budget burn",
            "How many times as fast as the budget allows money is spent, over all services. The budget is a number in "
            "collector/rules/budget.yaml; the alerts read the same curves.",
            PLAIN,
            *spent,
            limit=1,
        ),
        series(
            "Decisions for which a limit gave way",
            "The share of the last hour's free decisions, without trials and pinned calls: what AttuneFloorNotMet watches.",
            PERCENT,
            (unmet, cell),
            most=1,
            limit=0.5,
        ),
        rows(
            "Alerts of attune",
            "Pending or firing now. Each has a runbook beside collector/rules.",
            [("Now", PLAIN, alerts)],
            {"alertname": "Alert", "alertstate": "State", "severity": "Severity", w.SERVICE: "Service"},
        ),
    ]


def _tokens() -> list[Any]:
    """Both generations of the GenAI conventions' names: only one of them is sent."""
    flow = w.added(w.rate(f"{OLDER}_sum", w.IN_TARGET), w.TOKEN)
    newer = [(NEWER.input_counter, "input"), (NEWER.output_counter, "output")]
    sizes = [(NEWER.input_histogram, "input"), (NEWER.output_histogram, "output")]
    operation = w.metric(n.GENAI_OLDER.duration), w.metric(NEWER.duration)
    return [
        series("Tokens", "Tokens a second by type, cache reads and writes included in the input.", PER_SECOND,
               (flow, f"{{{{{w.TOKEN}}}}}"),
               *((w.added(w.rate(w.metric(name or ""), w.IN_TARGET)), word) for name, word in newer), stacked=True),
        series("Tokens of one operation, p95", "Large inputs cost, long outputs take time.", COUNT,
               (w.quantile(0.95, OLDER, w.IN_TARGET, w.TOKEN), f"{{{{{w.TOKEN}}}}}"),
               *((w.quantile(0.95, w.label(name or ""), w.IN_TARGET), word) for name, word in sizes)),
        series("Duration of operations as the GenAI conventions tell it, p95", "From attune, or from another instrumentation of "
               "the same client that records it. To compare with services that do not use attune.", SECONDS,
               *((w.quantile(0.95, name, w.IN_TARGET, w.MODEL), f"{{{{{w.MODEL}}}}}") for name in operation), exemplars=True),
    ]  # fmt: skip


def _workflows() -> Any:
    cell = (w.WORKFLOW, w.STAGE)
    calls, cost = (w.added(w.total(name, w.IN_CELL), *cell) for name in (w.CALLS, w.COST))
    verdicts = w.added(w.total(w.VERDICTS, w.IN_CELL), *cell)
    columns = [
        ("Calls", COUNT, calls),
        ("Success", PERCENT, w.succeeded(w.IN_CELL, *cell, over=w.RANGE)),
        ("Duration, p95", SECONDS, w.quantile(0.95, w.CALL_DURATION, w.IN_CELL, *cell, over=w.RANGE)),
        ("Cost", USD, cost),
        ("Cost of a call", USD, f"{cost} / ({calls} > 0)"),
        ("Cost avoided", USD, f"{w.added(w.total(w.BASELINE, w.IN_CELL), *cell)} - {cost}"),
        ("Quality", PERCENT, f"{w.added(w.total(w.SCORE, w.IN_CELL), *cell)} / ({verdicts} > 0)"),
    ]
    address = "/d/attune-routing?${__url_time_range}&${service:queryparam}&var-workflow=${__value.text}"
    return rows(
        "Each workflow and stage", "One row a cell: what routing decides for, and what its limits speak of.", columns,
        {w.WORKFLOW: "Workflow", w.STAGE: "Stage"}, links={"Workflow": ("How it is routed", address)},
    )  # fmt: skip
