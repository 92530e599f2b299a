"""Models by name, for people: the seed's three questions, answered from this process's catalogue.

Faces only. What a name means and what it costs is `registry.py`'s; where the catalogue comes from, the process's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attune.errors import ConfigError
from attune.models.process import current
from attune.models.registry import Catalogue, ModelInfo, ModelTier, as_tier

if TYPE_CHECKING:
    MODEL_REGISTRY: dict[str, dict[ModelTier, ModelInfo]]


def __getattr__(name: str) -> Any:
    """MODEL_REGISTRY is `get_all_models()`, asked at each access: importing a name costs no price data."""
    if name == "MODEL_REGISTRY":
        return get_all_models()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def get_model(provider: str, tier: ModelTier | str, *, catalogue: Catalogue | None = None) -> ModelInfo | None:
    """The default model of a provider's tier, both in any case; None if the provider has none in that tier.

    `catalogue`: None asks this process's. Raises ConfigError for a provider without any default, and for a word that is
    no tier. Safe from any thread.
    """
    asked = current().catalogue if catalogue is None else catalogue
    wanted = as_tier(tier)
    tiers = asked.tier_defaults(str(provider))
    if not tiers:
        raise ConfigError(
            f"Provider {provider!r} is not supported. Use one of: {', '.join(asked.providers())}; or add its models with "
            "attune.configure(models=[ModelInfo(...)])."
        )
    return tiers.get(wanted)


def get_all_models(*, catalogue: Catalogue | None = None) -> dict[str, dict[ModelTier, ModelInfo]]:
    """Every default as `{provider: {tier: ModelInfo}}`: a fresh dictionary, the caller's to keep. Tiers are strings too."""
    asked = current().catalogue if catalogue is None else catalogue
    return {name: dict(asked.tier_defaults(name)) for name in asked.providers()}


def get_pricing_for_model(model_id: str, *, catalogue: Catalogue | None = None) -> dict[str, float] | None:
    """`{"input", "output"}` in USD per million tokens, None if the model or its price is unknown.

    Dated ids resolve. Where a price has steps, this is the base, below the first step.
    """
    asked = current().catalogue if catalogue is None else catalogue
    found = asked.find(model_id)
    if found is None or found.input_cost_per_million is None or found.output_cost_per_million is None:
        return None
    return {"input": found.input_cost_per_million, "output": found.output_cost_per_million}
