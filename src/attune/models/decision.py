"""What a decision says of itself: the target chosen, and for each other candidate the one constraint that eliminated it.

Plain data; `router.py` makes it. Prints as a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

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


class Candidates(Sequence[Candidate]):
    """The candidates of a decision, worked out when they are first looked at: most decisions are never asked why.

    `source` is a function of captured, immutable data, so when it is called makes no difference.
    """

    __slots__ = ("_made", "_source")

    def __init__(self, source: Callable[[], tuple[Candidate, ...]] | tuple[Candidate, ...]) -> None:
        self._source = source
        self._made: tuple[Candidate, ...] | None = None

    @property
    def _all(self) -> tuple[Candidate, ...]:
        if self._made is None:
            self._made = self._source() if callable(self._source) else tuple(self._source)
        return self._made

    @overload
    def __getitem__(self, index: int) -> Candidate: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Candidate, ...]: ...
    def __getitem__(self, index: int | slice) -> Candidate | tuple[Candidate, ...]:
        return self._all[index]

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self._all)

    def __eq__(self, other: object) -> bool:
        return self._all == (other._all if isinstance(other, Candidates) else other)

    def __hash__(self) -> int:
        return hash(self._all)

    def __repr__(self) -> str:
        return repr(self._all)

    def __reduce__(self) -> tuple[Any, ...]:
        return Candidates, (self._all,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The target chosen, and why. `probability` is the chance with which it was picked (1.0: no dice).

    `constraint_satisfied` is False where no candidate met every constraint, or none was known to. `gave_way` names the
    limits that yielded. Immutable, safe to share; prints as a table.
    """

    model: str
    provider: str
    reason: Reason
    constraint_satisfied: bool = True
    explored: bool = False
    probability: float = 1.0
    gave_way: tuple[str, ...] = ()
    candidates: Sequence[Candidate] = ()

    def __str__(self) -> str:
        """The decision as a table, one candidate a line."""
        met = "constraints met" if self.constraint_satisfied else "constraints not met, or not known to be"
        how = f", by dice (probability {self.probability:.2f})" if self.probability < 1 else ""
        ways = f"; gave way: {', '.join(self.gave_way)}" if self.gave_way else ""
        head = ("", "model", "tier", "samples", "success", "range", "cost USD", "p90 ms", "circuit", "eliminated by")
        lines = [head, *(_line(it, chosen=self._is(it)) for it in self.candidates)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
        table = (
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        )
        return "\n".join((f"{self.provider}/{self.model}: {self.reason} ({met}{ways}){how}", *table))

    def _is(self, candidate: Candidate) -> bool:
        return (candidate.provider, candidate.model) == (self.provider, self.model)


def _line(it: Candidate, *, chosen: bool) -> tuple[str, ...]:
    def said(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    between = "-" if it.lower is None or it.upper is None else f"{it.lower:.0%}-{it.upper:.0%}"
    return (
        "*" if chosen else "", f"{it.provider}/{it.model}", it.tier or "-", str(it.sample_size), said(it.success_rate, ".1%"),
        between, said(it.cost, ".6f"), said(it.p90_latency_ms, ".0f"), it.state,
        "chosen" if chosen else it.eliminated_by or "-",
    )  # fmt: skip
