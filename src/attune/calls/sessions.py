"""Which target a session keeps: the one that its first call was sent to, until it falls back or is ruled out.

A session is a name that the caller gave, within one cell, so that its prompts find the provider's caches warm. Names stay
in this memory: nothing tells of them. Bounded, the one used longest ago goes first; forgotten after an idle hour.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, Final

from attune.models.call import Target
from attune.models.circuits import Circuits
from attune.models.decision import Candidate, Decision, Reason
from attune.models.question import Choice, Question

MOST: Final = 10_000
IDLE_S: Final = 3600.0

# A session stays with a target that is one of these: it lost to another only on price, or is still being tried.
_STAYS: Final = (None, "costlier", "insufficient_data")

Key = tuple[str, str, str]


@dataclass(slots=True)
class _Kept:
    """One session's target, and why it was chosen."""

    place: tuple[Any, ...]
    decision: Decision
    used_s: float


class Sessions:
    """One runtime's sessions. Thread-safe."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def stay(self, name: str, question: Question, choice: Choice, circuits: Circuits, now: float) -> Choice:
        """The choice for a session's call: its own target if that is admissible, else what the router chose."""
        with self._lock:
            kept = self._kept.get(_key(name, question))
        if kept is None or now - kept.used_s > IDLE_S:
            return choice
        i = next((i for i in choice.order if _place(question.targets[i]) == kept.place), None)
        if i is None:
            return choice
        target = question.targets[i]
        if not circuits.allows(target.provider, target.model, endpoint=target.endpoint, now=now):
            return choice
        if i == choice.order[0]:
            return choice
        row = next((it for it in choice.decision.candidates if _is(it, target)), None)
        if row is None or row.eliminated_by not in _STAYS:
            return choice
        return Choice(_decision(kept, choice, target, row), (i, *(j for j in choice.order if j != i)))

    def keep(self, name: str, question: Question, target: Target, decision: Decision, now: float) -> None:
        """A call of the session was answered by this target."""
        key = _key(name, question)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept.place == _place(target) and now - kept.used_s <= IDLE_S:
                kept.used_s = now
            else:
                # its candidates hold the evidence of that moment, which would stay as long as the session does
                self._kept[key] = _Kept(_place(target), replace(decision, candidates=()), now)
            self._kept.move_to_end(key)
            if len(self._kept) > MOST:
                self._kept.popitem(last=False)


def _decision(kept: _Kept, choice: Choice, target: Target, row: Candidate) -> Decision:
    """As the session's target was chosen at first; a trial that is over by now is told as what came of it."""
    fresh, first = choice.decision, kept.decision
    proven = row.eliminated_by == "costlier"
    trial = first.explored and row.eliminated_by == "insufficient_data"
    reason: Reason = "proven" if proven else "best"
    if trial or (first.reason == "default" and not proven):
        reason = first.reason
    return replace(
        fresh,
        model=target.model,
        provider=target.provider,
        reason=reason,
        constraint_satisfied=proven and not fresh.gave_way,
        explored=trial,
        probability=first.probability if trial else 1.0,
    )


def _is(row: Candidate, target: Target) -> bool:
    return (row.provider, row.model) == (target.provider, target.model)


def _key(name: str, question: Question) -> Key:
    return (name, question.workflow, question.stage)


def _place(target: Target) -> tuple[Any, ...]:
    return (target.provider, target.model, target.endpoint, target.account)
