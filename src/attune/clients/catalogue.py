"""Prices and context windows of the installed genai-prices data, as our Catalogue: integers, compiled when first asked.

Owns how that data is read: which entry an id means, which price is in force on a day, what its steps are. Reads the
snapshot bundled in the installed package, never the network. Refuses to know who asks, or what a call is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from typing import Any

from attune.clients import defaults
from attune.models.registry import NANO, Catalogue, ModelInfo, ModelTier, Price

_RATES = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok")


def load_catalogue(on: date, models: Iterable[ModelInfo] = ()) -> Catalogue:
    """The catalogue with the prices in force `on` that day (UTC), the user's `models` first.

    Costs next to nothing: the price data is imported (50 to 270 ms of CPU) at the first question that needs it. A process
    that outlives the day goes on with that day's prices until it loads the catalogue anew.
    """
    return Catalogue(models, book=InstalledPrices(on), defaults=defaults.TIER_DEFAULTS)


class InstalledPrices:
    """The PriceBook over the installed genai-prices. Safe to share between threads: it holds nothing that changes."""

    def __init__(self, on: date) -> None:
        self._on = on

    @cached_property
    def _providers(self) -> dict[str, Any]:
        from genai_prices.data import providers

        return {provider.id: provider for provider in providers}

    @cached_property
    def _listed_once(self) -> dict[str, str]:
        """Ids that exactly one provider lists, in lower case, with that provider. Several hosts, several prices."""
        owners: dict[str, str | None] = {}
        for name, provider in self._providers.items():
            for model in provider.models:
                model_id = model.id.lower()
                owners[model_id] = name if owners.get(model_id, name) == name else None
        return {model_id: name for model_id, name in owners.items() if name is not None}

    def knows(self, provider: str) -> bool:
        """Whether this is a provider of the data, or another word for one."""
        return provider in defaults.PROVIDER_WORDS or provider in self._providers

    def find(self, model_id: str, provider: str | None) -> ModelInfo | None:
        """The model of this id at this provider; with None, of the one provider whose id it is."""
        if provider is None:
            return self._find_owned(model_id)
        name = defaults.PROVIDER_WORDS.get(provider, provider)
        found = self._providers[name].find_model(model_id, all_providers=list(self._providers.values()))
        return self._compile(found, provider) if found is not None else None

    def _find_owned(self, model_id: str) -> ModelInfo | None:
        head, slash, _ = model_id.lower().partition("/")
        if slash and self.knows(head):  # "openai/gpt-…" names openai, though a reseller lists it under that very id
            return None
        if not slash:
            for name in defaults.MAKERS:
                maker = self._providers.get(name)
                if maker is None or (maker.model_match and not maker.model_match.is_match(model_id.lower())):
                    continue
                if (found := maker.find_model(model_id)) is not None:
                    return self._compile(found, name)
        lister = self._listed_once.get(model_id.lower())
        return self.find(model_id, lister) if lister is not None else None

    def _compile(self, found: Any, provider: str) -> ModelInfo:
        price = read_price(prices_on(found.prices, self._on))
        return ModelInfo(
            found.id,
            provider,
            tier_of(found.id),
            _usd(price, "input"),
            _usd(price, "output"),
            max_tokens=defaults.LONGEST_ANSWERS.get(found.id, 4096),
            supports_vision=found.id.startswith(defaults.READS_IMAGES),
            context_window=found.context_window,
            cache_read_cost_per_million=_usd(price, "cache_read"),
            cache_write_cost_per_million=_usd(price, "cache_write"),
            cache_write_1h_cost_per_million=_usd(price, "cache_write_1h"),
            price_steps=price.steps if price else (),
        )


def tier_of(model_id: str) -> ModelTier | None:
    """The tier that the vendor's family word in an id stands for, None where it holds none."""
    words = re.split(r"[^a-z]+", model_id.lower())
    for vendor, families in defaults.FAMILIES.items():
        if vendor in model_id.lower():
            return next((tier for word, tier in families if word in words), None)
    return None


def prices_on(prices: Any, day: date) -> Any:
    """The data's price in force on a day. Of prices that change with the hour, the day's dearest: a limit must hold."""
    if not isinstance(prices, list):
        return prices
    today = []
    for priced in reversed(prices):  # later entries come before earlier ones
        start = getattr(priced.constraint, "start_date", None)
        if start is not None and day < start:
            continue
        today.append(priced.prices)
        if priced.constraint is None or start is not None:
            break
    return max(today or [prices[0].prices], key=lambda price: (_base(price, "input_mtok"), _base(price, "output_mtok")))


def read_price(prices: Any) -> Price | None:
    """One of the data's prices as integers, its steps included; None where tokens alone do not make the bill."""
    given = {name: getattr(prices, name, None) for name in _RATES}
    by_call = getattr(prices, "requests_kcount", None)  # a fee for each request, as for Perplexity's Sonar
    if given["input_mtok"] is None or given["output_mtok"] is None or by_call:
        return None
    starts = sorted({tier.start for rate in given.values() for tier in getattr(rate, "tiers", ())})
    return _price(given, 0, tuple((start, _price(given, start + 1)) for start in starts))


def _price(given: Mapping[str, Any], tokens: int, steps: tuple[tuple[int, Price], ...] = ()) -> Price:
    rates = [_nano(_at(rate, tokens)) for rate in given.values()]
    return Price(
        input=rates[0] or 0,
        output=rates[1] or 0,
        cache_read=rates[2],
        cache_write=rates[3],
        cache_write_1h=rates[4],
        steps=steps,
    )


def _at(rate: Any, tokens: int) -> Decimal | None:
    """A rate for a request of so many input tokens."""
    reached = [tier.price for tier in getattr(rate, "tiers", ()) if tokens > tier.start]
    found: Decimal | None = reached[-1] if reached else getattr(rate, "base", rate)
    return found


def _base(prices: Any, name: str) -> Decimal:
    return _at(getattr(prices, name, None), 0) or Decimal(0)


def _nano(usd: Decimal | None) -> int | None:
    return None if usd is None else int((usd * NANO).to_integral_value(ROUND_HALF_UP))


def _usd(price: Price | None, rate: str) -> float | None:
    nano = getattr(price, rate, None)
    return None if nano is None else nano / NANO
