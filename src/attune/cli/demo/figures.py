"""From what was measured to the figures that are told: one object, the same for people and for programs.

Pure arithmetic over a Course. Every figure can be worked out again from the exported spans.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from attune.cli.demo.arms import Done
from attune.cli.demo.course import Course
from attune.cli.demo.traffic import WORKFLOWS

SCHEMA: Final = 1


def compose(course: Course) -> dict[str, Any]:
    """The object of `attune demo --json`: rates 0..1, USD, milliseconds, seconds after the first route span's start."""
    return {
        "schema": SCHEMA,
        "seed": course.seed,
        "calls": len(course.attune),
        "seconds": round(course.seconds, 3),
        "with_attune": _run(course.attune),
        "without": {**_run(course.without), "model": course.pinned},
        "always_premium": {**_run(course.always_premium), "model": course.premium},
        "outage": _outage(course),
        "circuits": [
            {
                "name": it.name, "from": it.from_state, "to": it.to_state, "at_s": round(it.at - course.start_s, 3),
                "reason": it.reason,
            }
            for it in course.transitions
        ],
        "decisions": dict(Counter(done.reason for done in course.attune).most_common()),
        "workflows": [_workflow(it.name, it.stage, it.floor, course.attune) for it in WORKFLOWS],
        "best_models": course.best_models,
        "second_process": {"best_models": course.second_best, "agrees": course.agrees},
        "files": [str(path) for path in course.files],
    }  # fmt: skip


def p95(latencies: Sequence[float]) -> float:
    """The nearest-rank 95th percentile; 0.0 of nothing."""
    return sorted(latencies)[math.ceil(0.95 * len(latencies)) - 1] if latencies else 0.0


def share(many: Sequence[bool]) -> float:
    """How many of them hold, 0..1; 0.0 of nothing."""
    return round(sum(many) / len(many), 6) if many else 0.0


def _run(calls: Sequence[Done]) -> dict[str, Any]:
    return {
        "calls": len(calls),
        "success_rate": share([it.good for it in calls]),
        "cost_usd": round(math.fsum(it.cost for it in calls), 9),
        "p95_ms": round(p95([it.latency_ms for it in calls]), 3),
    }


def _workflow(name: str, stage: str, floor: float, calls: Sequence[Done]) -> dict[str, Any]:
    its = [it.good for it in calls if it.task.workflow.name == name]
    return {"workflow": name, "stage": stage, "floor": floor, "calls": len(its), "success_rate": share(its)}


def _outage(course: Course) -> dict[str, Any]:
    outage = course.outage
    if outage is None:
        nothing = dict.fromkeys(("model", "from_s", "to_s", "with_attune", "without", "lost", "detected_after"))
        return {**nothing, "returned_after": None}
    inside = [it for it in course.attune if it.phase == "outage"]
    opened = next(
        (it.at for it in course.transitions
         if it.to_state == "open" and it.name == f"anthropic:{outage.model}" and outage.from_s <= it.at <= outage.to_s),
        None,
    )  # fmt: skip
    after = [it for it in course.attune if it.at_s >= outage.to_s]
    back = (
        n for n, it in enumerate(after, 1) if it.returned and (it.provider, it.model) == ("anthropic", outage.model)
    )
    return {
        "model": outage.model,
        "from_s": round(outage.from_s - course.start_s, 3),
        "to_s": round(outage.to_s - course.start_s, 3),
        "with_attune": {"success_rate": share([it.returned for it in inside])},
        "without": {"success_rate": share([it.returned for it in course.without if it.phase == "outage"])},
        "lost": sum(not it.returned for it in inside),
        "detected_after": None if opened is None else sum(it.at_s <= opened for it in inside),
        "returned_after": next(back, None),
    }
