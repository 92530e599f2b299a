"""Circuits: which are open, since when, what they refused, how probes ended, and where calls went instead.

Whoever opens this page asks "which provider is sick, and are we through it?". A gauge of a process that ended lingers for
five minutes; the counters of transitions do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from boards import words as w
from boards.panels import (
    BAD,
    COUNT,
    GOOD,
    OUTCOMES,
    PER_SECOND,
    PERCENT,
    WARN,
    figure,
    ranking,
    series,
    states,
    steps,
    traces,
)

WORDS = {0: ("closed", GOOD), 1: ("cooling", "blue"), 2: ("half open", "yellow"), 3: ("open", BAD)}
STATES = {"open": BAD, "half_open": "yellow", "closed": GOOD}
NAMED = f"{{{{{w.CIRCUIT}}}}}"


def _worst(of: str) -> str:
    """The worst over processes, one for each circuit."""
    return f"max by ({w.CIRCUIT}) ({of}{{{w.IN_PROVIDER}}})"


def state() -> str:
    """One number a circuit, the worst over processes: the words above."""
    ranked = (f"{name}{{{w.IN_PROVIDER}}} * {value}" for name, value in ((w.OPEN, 3), (w.HALF_OPEN, 2), (w.COOLING, 1)))
    return f"max by ({w.CIRCUIT}) ({' > 0 or '.join(ranked)} > 0 or {w.OPEN}{{{w.IN_PROVIDER}}} * 0)"


def transitions() -> str:
    """Where a circuit changed its state: the annotation on every dashboard."""
    changed = w.happened(w.TRANSITIONS, w.IN_PROVIDER, over=w.EACH)
    return f"sum by ({w.CIRCUIT}, {w.FROM}, {w.TO}) ({changed}) > 0"


def panels(queries: Mapping[str, Mapping[str, str]]) -> dict[str, list[Any]]:
    """The rows of the dashboard and what stands in them."""
    return {
        "Now": _now(),
        "States": [states("State of each circuit", "The worst state over all processes. A circuit is a provider, or a provider "
                          "and a model.", state(), NAMED, WORDS)],
        "Changes": _changes(),
        "Fallback": _fallback(),
        "Single calls": [
            traces("Changes of state in their calls", queries["transitions"]),
            traces("Calls that fell back", queries["fell_back"], width=12),
            traces("Calls that were refused", queries["refused"], width=12),
            traces("Attempts at an open or half-open circuit", queries["guarded"], width=12),
            traces("Failed attempts", queries["failed_attempts"], width=12),
        ],
    }  # fmt: skip


def _now() -> list[Any]:
    def lit(gauge: str) -> str:
        return f"count({_worst(gauge)} == 1) or vector(0)"

    probes = w.added(w.happened(w.ATTEMPTS, w.IN_SERIES, f'{w.KIND}="probe"', f'{w.OUTCOME}!="neutral"'))
    good = w.added(w.happened(w.ATTEMPTS, w.IN_SERIES, f'{w.KIND}="probe"', f'{w.OUTCOME}="success"'))
    return [
        figure("Open", "Circuits that admit nothing now, in one process at least.", COUNT, lit(w.OPEN),
               colours=steps(GOOD, (1, BAD))),
        figure("Half open", "Circuits that admit probes only.", COUNT, lit(w.HALF_OPEN), colours=steps(GOOD, (1, WARN))),
        figure("Cooling", "Circuits that wait because the provider asked for it: a 429 or Retry-After. No sickness.", COUNT,
               lit(w.COOLING), colours=steps(GOOD, (1, "blue"))),
        figure("Changes of state", "In this time range. Many of them on one circuit are flapping.", COUNT,
               w.added(w.happened(w.TRANSITIONS, w.IN_PROVIDER))),
        figure("Refusals", "Permits refused in this time range. A refused attempt may have been made elsewhere.", COUNT,
               w.added(w.happened(w.REJECTIONS, w.IN_PROVIDER))),
        figure("Probes that succeed", "One successful probe closes a circuit.", PERCENT, w.share(good, probes),
               empty="no probes"),
    ]  # fmt: skip


def _changes() -> list[Any]:
    trips = f"max by ({w.CIRCUIT}) ({w.recorded('circuit_trips:increase30m')}{{{w.IN_PROVIDER}}})"
    stages = f"{w.recorded('stage_open:ratio')}{{{w.IN_CELL}}}"
    probes = w.added(w.happened(w.ATTEMPTS, w.IN_SERIES, f'{w.KIND}="probe"', over=w.EACH), w.OUTCOME)
    opened = f"avg_over_time({_worst(w.OPEN)}[{w.RANGE}:])"
    return [
        series("Changes by new state", "How many; the annotations name the circuit.", COUNT,
               (w.added(w.happened(w.TRANSITIONS, w.IN_PROVIDER, over=w.EACH), w.TO), f"{{{{{w.TO}}}}}"), bars=True, stacked=True, colours=STATES),
        series("Refusals by circuit", "How many permits were refused.", COUNT,
               (w.added(w.happened(w.REJECTIONS, w.IN_PROVIDER, over=w.EACH), w.CIRCUIT), NAMED), bars=True, stacked=True),
        series("Probes by outcome", "Attempts let through to find out whether a target is back.", COUNT,
               (probes, f"{{{{{w.OUTCOME}}}}}"), bars=True, stacked=True, colours=OUTCOMES),
        series("Targets open by stage", "The share of a stage's targets that cannot be reached, in the process that is worst off. "
               "At 1 its calls are refused.", PERCENT, (stages, f"{{{{{w.WORKFLOW}}}}} {{{{{w.STAGE}}}}}"), most=1, limit=1),
        ranking("Time spent open", "The share of the time range in which a circuit was open, in one process at least.", PERCENT,
                opened, NAMED, colours=steps(GOOD, (0.001, WARN), (0.1, BAD))),
        series("Trips from closed in 30 minutes", "The worst process. More than three are flapping: what AttuneCircuitFlapping "
               "watches.", COUNT, (trips, NAMED), limit=3),
    ]  # fmt: skip


def _fallback() -> list[Any]:
    def tried(*of: str, by: tuple[str, ...] = (w.PROVIDER, w.MODEL)) -> str:
        return w.added(w.rate(w.ATTEMPTS, w.IN_SERIES, *of), *by)

    target = f"{{{{{w.PROVIDER}}}}} {{{{{w.MODEL}}}}}"
    fell = w.added(w.rate(w.ATTEMPTS, w.IN_SERIES, f'{w.KIND}="fallback"'), w.WORKFLOW)
    return [
        series("Left behind", "Failed attempts a second by target: where calls fall back from.", PER_SECOND,
               (tried(f'{w.OUTCOME}="failure"'), target), stacked=True),
        series("Taken over", "Fallback attempts a second by target: where calls go instead. Watch its own limits.", PER_SECOND,
               (tried(f'{w.KIND}="fallback"'), target), stacked=True),
        series("Fallbacks by outcome", "Whether going elsewhere helped.", PER_SECOND,
               (tried(f'{w.KIND}="fallback"', by=(w.OUTCOME,)), f"{{{{{w.OUTCOME}}}}}"), stacked=True, colours=OUTCOMES),
        series("Attempts by kind", "Initial, retry at the same target, fallback to another, probe.", PER_SECOND,
               (tried(by=(w.KIND,)), f"{{{{{w.KIND}}}}}"), stacked="percent"),
        series("Fallbacks for each call by workflow", "How much of a workflow lives on its second choice.", PERCENT,
               (w.share(fell, w.added(w.rate(w.CALLS, w.IN_CELL), w.WORKFLOW)), f"{{{{{w.WORKFLOW}}}}}")),
        series("Failures by provider and kind", "What a provider's failures are: the kind decides which circuit they count on.",
               PER_SECOND, (tried(f'{w.OUTCOME}="failure"', by=(w.PROVIDER, w.ERROR)), f"{{{{{w.PROVIDER}}}}} {{{{{w.ERROR}}}}}"),
               stacked=True),
    ]  # fmt: skip
