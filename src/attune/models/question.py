"""What is asked of the router, and what it gives back: Question, Choice, and which limits a person can mean.

Plain data, made once per kind of call; nothing here looks at evidence.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Final, NamedTuple

from attune.errors import ConfigError
from attune.models.call import OnInfeasible, Target
from attune.models.decision import Decision

_POLICIES: Final[tuple[OnInfeasible, ...]] = ("best", "default", "raise")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Question:
    """What is asked: where to, among which targets, within which limits.

    `default` is an index into `targets`; `max_cost_nano` bounds the expected cost of a call in nano-USD; `min_success_rate`
    is the floor, 0..1; `expected_tokens` (in, out) where this call's size is known: round it, rankings are kept per value.
    Rankings are also kept per `targets` object: hand in the same tuple again.
    """

    workflow: str
    stage: str
    targets: tuple[Target, ...]
    default: int = 0
    max_cost_nano: int | None = None
    max_latency_ms: float | None = None
    min_success_rate: float = 0.8
    on_infeasible: OnInfeasible = "best"
    expected_tokens: tuple[float, float] | None = None
    key: tuple[Any, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """What rankings are remembered by."""
        key = (
            self.workflow, self.stage, id(self.targets), self.default, self.max_cost_nano, self.max_latency_ms,
            self.min_success_rate, self.on_infeasible, self.expected_tokens,
        )  # fmt: skip
        object.__setattr__(self, "key", key)


class Choice(NamedTuple):
    """A decision, and every target that the call may go to, best first: the chosen one, then the fallbacks."""

    decision: Decision
    order: tuple[int, ...]


def check_limits(max_cost: Any, max_latency_ms: Any, min_success_rate: Any, on_infeasible: Any) -> OnInfeasible:
    """Refuse limits that nobody can mean: ConfigError with the name, the value and what to do. Gives `on_infeasible`."""
    for name, value, unit in (("max_cost", max_cost, "USD a call"), ("max_latency_ms", max_latency_ms, "milliseconds")):
        if value is not None and not (is_number(value) and value >= 0):
            raise ConfigError(f"{name}={value!r}: give {unit}, 0 or more, or None for no limit.")
    if not (is_number(min_success_rate) and 0 <= min_success_rate <= 1):
        raise ConfigError(f"min_success_rate={min_success_rate!r}: a rate is a number from 0 to 1, such as 0.8.")
    for policy in _POLICIES:
        if on_infeasible == policy:
            return policy
    raise ConfigError(f"on_infeasible={on_infeasible!r}: use one of {', '.join(_POLICIES)}.")


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, and no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
