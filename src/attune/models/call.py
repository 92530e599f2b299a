"""Plain data of one call that the upper rooms pass around: Target, Attempt, CallRecord, Transition.

Nouns only. Nothing here decides, waits, reads a clock or knows a client's shape; a client is carried, never opened.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Final, Literal

from attune.errors import ConfigError
from attune.models.decision import Decision
from attune.models.registry import ModelTier, Price
from attune.models.response import Usage

AUTO: Final = "auto"

Outcome = Literal["success", "failure", "neutral", "rejected"]
AttemptKind = Literal["initial", "retry", "fallback", "probe"]
CircuitState = Literal["closed", "open", "half_open"]
Mode = Literal["enforce", "observe", "off"]
OnInfeasible = Literal["best", "default", "raise"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a call can go: a model, its provider, and the client that reaches it.

    `alias` is the id on the wire (or the word a decorated function is handed) where it differs from `model`; `price` is a
    Price, or USD per million tokens as `(input, output)`; `account` tells two keys of one provider apart; `max_share`
    (0..1) bounds the target's share of a cell's calls. `endpoint` and `written` are filled in when candidates are
    resolved: the client's base URL without credentials, and the candidate as the user wrote it.
    """

    model: str
    _: KW_ONLY
    provider: str = "anthropic"
    client: Any = field(default=None, repr=False, compare=False)
    alias: str | None = None
    tier: ModelTier | None = None
    price: Price | None = None
    account: str | None = None
    max_share: float | None = None
    context_window: int | None = None
    endpoint: str = ""
    written: str = ""

    def __post_init__(self) -> None:
        """Refuse what could never be reached, and turn the user's shapes into ours."""
        for name in ("model", "provider"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise ConfigError(f"Target({name}={value!r}): {name} must be a non-empty string.")
        if self.model == AUTO:
            raise ConfigError('Target("auto"): "auto" is the question, not a model. Name a model id.')
        price: Any = self.price
        tier: Any = self.tier
        if price is not None and not isinstance(price, Price):
            object.__setattr__(self, "price", _price(price))
        if tier is not None and not isinstance(tier, ModelTier):
            object.__setattr__(self, "tier", _tier(tier))
        if self.max_share is not None and not 0 < self.max_share <= 1:
            raise ConfigError(f"Target(max_share={self.max_share!r}): a share is over 0 and at most 1.")

    @property
    def wire(self) -> str:
        """The model id that is sent."""
        return self.alias or self.model

    @property
    def handed(self) -> str:
        """The word a decorated function is handed: the alias, else the candidate as it was written."""
        return self.alias or self.written or self.model


def _price(price: Any) -> Price:
    try:
        given, out = price
        rates = [round(float(rate) * 1e9) for rate in (given, out)]
    except (TypeError, ValueError, OverflowError):
        rates = [-1]
    if min(rates) < 0:
        raise ConfigError(f"Target(price={price!r}): a price is (input, output) in USD per million tokens, 0 or more.")
    return Price(input=rates[0], output=rates[1])


def _tier(tier: Any) -> ModelTier:
    try:
        return ModelTier(tier)
    except ValueError:
        known = ", ".join(ModelTier)
        raise ConfigError(f"Target(tier={tier!r}): not a tier. Use one of: {known}.") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at one target. `cost` in USD, None if unknown; `circuit` is the circuit's state when it began."""

    index: int
    provider: str
    model: str
    kind: AttemptKind
    outcome: Outcome
    error_type: str | None = None
    cost: float | None = None
    latency_ms: float = 0.0
    circuit: CircuitState = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One finished call, whatever became of it.

    `latency_ms` runs from entry to exit, waits included. `cost` (USD) sums what is known of all attempts,
    `cost_complete` says whether that is all. `quality` is the judge's verdict, 0..1. `partial_text` is what arrived of a
    stream that broke, and stays out of the repr.
    """

    id: str
    workflow: str
    stage: str
    decision: Decision | None
    attempts: tuple[Attempt, ...] = ()
    outcome: Outcome = "neutral"
    cost: float = 0.0
    cost_complete: bool = True
    latency_ms: float = 0.0
    quality: float | None = None
    partial_text: str | None = field(default=None, repr=False)
    usage: Usage | None = None

    @property
    def model(self) -> str | None:
        """The model that answered, else the last one tried; None where nothing was tried."""
        return self.attempts[-1].model if self.attempts else None

    @property
    def provider(self) -> str | None:
        """The provider of `model`."""
        return self.attempts[-1].provider if self.attempts else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One change of a circuit's state. `name` is `provider` or `provider:scope`, `at` epoch seconds."""

    name: str
    from_state: CircuitState
    to_state: CircuitState
    reason: str
    at: float
