"""Routing: which model was chosen, why, what trials cost, what was saved, and the last decisions one by one.

Whoever opens this page asks "why this model?". Decisions are counted once a call; attempts are on Circuits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from boards import words as w
from boards.panels import (
    BAD,
    CALM,
    COUNT,
    GOOD,
    PERCENT,
    RATE,
    SECONDS,
    USD,
    WARN,
    figure,
    ranking,
    rows,
    series,
    steps,
    traces,
    trend,
)

REASONS = {"fault": BAD, "default": CALM, "pinned": "purple", "trial": "yellow", "proven": GOOD, "best": WARN}
NAMED_BY = f"{{{{{w.MODEL}}}}}"


def panels(queries: Mapping[str, Mapping[str, str]]) -> dict[str, list[Any]]:
    """The rows of the dashboard and what stands in them."""
    return {
        "In this time range": _figures(),
        "What is chosen": _chosen(),
        "What it brings": _brought(),
        "Models by workflow": [_targets()],
        "Single decisions": [
            traces("Last decisions", queries["last_decisions"]),
            traces("Trials", queries["trials"], width=12),
            traces("Limits that gave way", queries["gave_way"], width=12),
            traces("Dear calls", queries["dear_calls"], width=12),
            trend("Calls in the trace store, p95", queries["duration_of_calls"], SECONDS, width=12),
            trend("Time to the first content of streams, p95", queries["first_chunk"], SECONDS, width=24),
        ],
    }


def _figures() -> list[Any]:
    decided = w.added(w.total(w.DECISIONS, w.IN_SERIES))
    baseline, cost = (w.added(w.total(name, w.IN_CELL)) for name in (w.BASELINE, w.COST))

    def part(*of: str) -> str:
        return w.share(w.added(w.total(w.DECISIONS, w.IN_SERIES, *of)), decided)

    return [
        figure("Decisions", "One for each call, pinned ones included.", COUNT, decided),
        figure("Share of trials", "Decisions that tried a model to learn about it. At most a quarter of the calls while nothing is proven.",
               PERCENT, part(f'{w.EXPLORED}="true"'), colours=steps("text", (0.25, WARN))),
        figure("Limits unmet", "Decisions for which no model met every limit, so that one gave way. The reason is in the trace.",
               PERCENT, part(f'{w.SATISFIED}="false"'), colours=steps(GOOD, (0.05, WARN), (0.5, BAD))),
        figure("By default", "Decisions that fell to the default because nothing was known, or because attune itself failed.",
               PERCENT, part(f'{w.REASON}=~"default|fault"'), colours=steps(GOOD, (0.5, WARN))),
        figure("Cost avoided", "The baseline (the same tokens at the default target) less what attempts cost.",
               USD, f"{baseline} - {cost}", colours=steps(WARN, (0, GOOD))),
        figure("Cost, of the baseline", "What was paid of what the default target would have cost.", PERCENT,
               w.share(cost, baseline), colours=steps(GOOD, (1, WARN))),
    ]  # fmt: skip


def _chosen() -> list[Any]:
    def decided(by: str) -> str:
        return w.added(w.rate(w.DECISIONS, w.IN_SERIES), by)

    return [
        series("Share of decisions by model", "What was chosen. A switch is a band that grows where another one shrinks.", RATE,
               (decided(w.MODEL), NAMED_BY), stacked="percent", width=12),
        series("Decisions by reason", "Proven: enough samples meet the floor. Trial: to learn. Best: nothing meets the floor. "
               "Probe, retry: around an open circuit. Pinned: the caller named the model.", RATE,
               (decided(w.REASON), f"{{{{{w.REASON}}}}}"), stacked=True, colours=REASONS, width=12),
        series("Share of trials by workflow", "Learning ends where a model is proven; it comes back when one changes.", PERCENT,
               (w.share(w.added(w.rate(w.DECISIONS, w.IN_SERIES, f'{w.EXPLORED}="true"'), w.WORKFLOW), decided(w.WORKFLOW)),
                f"{{{{{w.WORKFLOW}}}}}"), limit=0.25),
        series("Limits unmet by workflow", "The share of decisions for which a limit gave way.", PERCENT,
               (w.share(w.added(w.rate(w.DECISIONS, w.IN_SERIES, f'{w.SATISFIED}="false"'), w.WORKFLOW), decided(w.WORKFLOW)),
                f"{{{{{w.WORKFLOW}}}}}"), most=1),
        series("Decisions by mode", "Enforce routes; observe only tells what it would have chosen.", RATE,
               (decided(w.MODE), f"{{{{{w.MODE}}}}}"), stacked=True),
    ]  # fmt: skip


def _brought() -> list[Any]:
    cell = (w.WORKFLOW,)
    cost, baseline = (w.added(w.rate(name, w.IN_CELL), *cell) for name in (w.COST, w.BASELINE))
    tried = w.added(w.rate(w.ATTEMPTS, w.IN_SERIES, f'{w.OUTCOME}=~"success|failure"'), w.MODEL)
    good = w.added(w.rate(w.ATTEMPTS, w.IN_SERIES, f'{w.OUTCOME}="success"'), w.MODEL)
    verdicts = w.added(w.rate(w.VERDICTS, w.IN_SERIES), w.MODEL)
    attempts = w.added(w.total(f"{w.ATTEMPT_DURATION}_count", w.IN_SERIES), w.MODEL)
    return [
        series("Cost avoided an hour by workflow", "The baseline less the cost. Below zero, routing bought quality.", USD,
               (f"3600 * ({baseline} - {cost})", f"{{{{{w.WORKFLOW}}}}}"), least=None),
        series("Quality by model", "The mean verdict, 0 to 1, where a judge or a later report gave one. A fall here is drift.",
               PERCENT, (f"{w.added(w.rate(w.SCORE, w.IN_SERIES), w.MODEL)} / ({verdicts} > 0)", NAMED_BY), most=1),
        series("Attempts that succeed by model", "Of those that ended in success or failure; availability, not quality.", PERCENT,
               (w.share(good, tried), NAMED_BY), most=1),
        ranking("Cost of an attempt by model", "The mean over the time range, failed attempts included.", USD,
                f"{w.added(w.total(w.COST, w.IN_SERIES), w.MODEL)} / ({attempts} > 0)", NAMED_BY),
        ranking("Duration of an attempt by model, p95", "Over the time range.", SECONDS,
                w.quantile(0.95, w.ATTEMPT_DURATION, w.IN_SERIES, w.MODEL, over=w.RANGE), NAMED_BY),
        ranking("Verdicts by model", "How many judgements the quality rests on. Ten are enough to prove a model.", COUNT,
                w.added(w.total(w.VERDICTS, w.IN_SERIES), w.MODEL), NAMED_BY, colours=steps(WARN, (10, GOOD))),
    ]  # fmt: skip


def _targets() -> Any:
    by = (w.WORKFLOW, w.STAGE, w.PROVIDER, w.MODEL)
    decided = w.added(w.total(w.DECISIONS, w.IN_SERIES), *by)
    tried = w.added(w.total(w.ATTEMPTS, w.IN_SERIES, f'{w.OUTCOME}=~"success|failure"'), *by)
    good = w.added(w.total(w.ATTEMPTS, w.IN_SERIES, f'{w.OUTCOME}="success"'), *by)
    verdicts = w.added(w.total(w.VERDICTS, w.IN_SERIES), *by)
    cost = w.added(w.total(w.COST, w.IN_SERIES), *by)
    columns = [
        ("Decisions", COUNT, decided),
        ("Attempts", COUNT, tried),
        ("Attempts that succeed", PERCENT, w.share(good, tried)),
        ("Quality", PERCENT, f"{w.added(w.total(w.SCORE, w.IN_SERIES), *by)} / ({verdicts} > 0)"),
        ("Verdicts", COUNT, verdicts),
        ("Cost of an attempt", USD, f"{cost} / ({tried} > 0)"),
        ("Duration, p95", SECONDS, w.quantile(0.95, w.ATTEMPT_DURATION, w.IN_SERIES, *by, over=w.RANGE)),
    ]
    headings = {w.WORKFLOW: "Workflow", w.STAGE: "Stage", w.PROVIDER: "Provider", w.MODEL: "Model"}
    why = "What the router knows of each model in each cell, as far as this store holds it. `attune routes explain` says more."
    return rows("Each target", why, columns, headings)
