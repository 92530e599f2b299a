"""What a decision says of itself: the target chosen, and for each other candidate the one constraint that eliminated it.

Plain data; `router.py` makes it. Prints as a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Reason = Literal["pinned", "proven", "trial", "retry", "probe", "best", "default", "observe", "fault"]
Elimination = Literal[
    "max_cost", "max_latency_ms", "min_success_rate", "circuit", "quarantined", "context_window", "capability",
    "insufficient_data", "costlier",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One candidate as the router saw it. Costs in USD, latencies in ms, rates 0..1; None where nothing is known."""

    provider: str
    model: str
    tier: str | None = None
    sample_size: int = 0
    success_rate: float | None = None
    lower: float | None = None
    upper: float | None = None
    cost: float | None = None
    p90_latency_ms: float | None = None
    state: str = "closed"
    eliminated_by: Elimination | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The target chosen, and why. `probability` is the chance with which it was picked (1.0: no dice)."""

    model: str
    provider: str
    reason: Reason
    constraint_satisfied: bool = True
    explored: bool = False
    probability: float = 1.0
    candidates: tuple[Candidate, ...] = ()
