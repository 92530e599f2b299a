"""What the end of an attempt does to circuits: its permit is settled, and a limit cools.

The table in `models/failures.py` says which circuit a failure touches and for how long a limit cools; nothing is decided
here. A stream that broke on its way is told so by the failure that it is handed.
"""

from __future__ import annotations

from typing import Any

from attune.calls.attempt import Attached, Try
from attune.models.call import Outcome
from attune.models.circuits import Circuits
from attune.models.failures import Failure


def settle(
    circuits: Circuits, attempt: Try, outcome: Outcome, failure: Failure | None, now_s: float, span: Any
) -> None:
    """Settle an attempt's permit, then cool its circuit if its failure is a limit. A transition is an event on `span`."""
    permit = attempt.permit
    if outcome == "success" and permit is not None and not permit.probe:
        permit.settle("success", now=now_s)
        return
    with Attached(span):
        if permit is not None:
            settles = failure.rule.settles if failure is not None else outcome
            permit.settle(
                settles if settles in ("success", "failure") else "neutral",
                now=now_s,
                kind=failure.kind if failure is not None else None,
                touches=failure.rule.touches if failure is not None else "model",
            )
        if failure is not None and failure.cools_s is not None:
            target = attempt.target
            scope = None if failure.rule.touches == "provider" else target.model
            until = now_s + failure.cools_s
            circuits.cool_down(
                target.provider, scope, endpoint=target.endpoint, until=until, now=now_s, reason=failure.kind
            )
