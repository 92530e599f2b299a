"""The scripted world: two providers in processes of their own, how well each model does each work, and what befalls them.

The figures here are the demo's only inventions. They are set before anything runs, and nothing measured changes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Literal, Self

from attune.errors import StateError
from attune.models import get_all_models
from attune.models.registry import ModelInfo, ModelTier, Price
from attune.testing import Behaviour, RemoteProvider, ScriptedProvider

Phase = Literal["learning", "outage", "calm", "slowness", "recovery"]
PHASES: Final[tuple[tuple[Phase, int], ...]] = (
    ("learning", 50), ("outage", 15), ("calm", 8), ("slowness", 6), ("recovery", 21),
)  # fmt: skip

TIMEOUT_S: Final = 0.1  # of every client; the slow model is slower
RECOVERY_S: Final = 0.6  # the breaker's, 60 s in real life: time here is compressed about a hundred times
SLOW_MS: Final = 160.0
BACKUP_PRICE: Final = 1.5  # times the catalogue's

# How often a model's answer is good, by workflow: the cheap one can triage, the capable one reviews, research needs the best.
_QUALITY: Final[Mapping[str, Mapping[str | None, float]]] = {
    "cheap": {"support": 0.98, "code-review": 0.30, "research": 0.10},
    "capable": {"support": 0.99, "code-review": 0.98, "research": 0.40},
    "premium": {"support": 0.99, "code-review": 0.98, "research": 0.98},
}
_LATENCY_MS: Final[Mapping[str, float]] = {"cheap": 0.5, "capable": 1.0, "premium": 2.0}


@dataclass(frozen=True, slots=True)
class Model:
    """One of the three models, with its price from the catalogue."""

    id: str
    tier: str
    price: Price

    @property
    def backup_price(self) -> Price:
        """What the second provider asks for it."""
        return Price(input=round(self.price.input * BACKUP_PRICE), output=round(self.price.output * BACKUP_PRICE))

    def behaviour(self) -> Behaviour:
        """What it does on a quiet day."""
        return Behaviour(
            quality=_QUALITY[self.tier], latency_ms=_LATENCY_MS[self.tier], spread=0.2, chunks=2, output_tokens=80
        )


def tier_defaults() -> tuple[Model, Model, Model]:
    """The catalogue's cheap, capable and premium model."""
    found = get_all_models()["anthropic"]
    cheap, capable, premium = (_priced(found[tier]) for tier in (ModelTier.CHEAP, ModelTier.CAPABLE, ModelTier.PREMIUM))
    return cheap, capable, premium


def _priced(info: ModelInfo) -> Model:
    if info.price is None or info.tier is None:
        raise StateError(f"The catalogue has no price for {info.id!r}, which the demo needs. Upgrade genai-prices.")
    return Model(info.id, info.tier, info.price)


def phases(calls: int) -> list[tuple[Phase, range]]:
    """Which calls each phase holds; together all of them."""
    bounds = [0]
    for _, percent in PHASES:
        bounds.append(bounds[-1] + percent)
    edges = [calls * bound // 100 for bound in bounds]
    return [(name, range(edges[i], edges[i + 1])) for i, (name, _) in enumerate(PHASES)]


class World:
    """Both providers, running until the `with` block ends. `befall` is what makes a phase."""

    def __init__(self, models: Iterable[Model], seed: int) -> None:
        self._behaviours = {it.id: it.behaviour() for it in models}
        with ExitStack() as stack:
            spawn = ScriptedProvider.spawn
            self.main: RemoteProvider = stack.enter_context(spawn(seed=seed, models=self._behaviours, default=None))
            self.backup: RemoteProvider = stack.enter_context(
                spawn(seed=seed + 1_000_000, models=self._behaviours, default=None)
            )
            self._open = stack.pop_all()

    def befall(self, phase: Phase, model: str) -> None:
        """Begin a phase: `model` of the main provider is the one that suffers."""
        usual = self._behaviours[model]
        match phase:
            case "outage":
                self.main.outage(model, status=529)
            case "slowness":
                self.main.set(model, replace(usual, latency_ms=SLOW_MS, spread=0.0))
            case "learning" | "calm" | "recovery":
                self.main.recover(model)
                self.main.set(model, usual)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()
