"""Models, tiers and prices as integers: the immutable Catalogue that is handed in.

This file knows what a price is, how tokens are billed by it, and which model a name means. It never knows where prices
come from (`clients/catalogue.py` compiles them), which provider is reached how, or what was measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Protocol

from attune.errors import ConfigError
from attune.models.response import Usage

NANO = 1_000_000_000
_PER_MILLION = 1_000_000
_REMEMBERED = 4096  # look-ups kept per catalogue: more names than any program calls models by
_DATE = re.compile(r"[-@](?:20\d{6}|20\d\d-\d\d-\d\d|latest)$")


class ModelTier(StrEnum):
    """How able, and how dear, a model is within its provider."""

    CHEAP = "cheap"
    CAPABLE = "capable"
    PREMIUM = "premium"

    @classmethod
    def _missing_(cls, value: object) -> ModelTier | None:
        return cls.__members__.get(value.upper()) if isinstance(value, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Integer rates in nano-USD per million tokens: 1 USD per million tokens is 1_000_000_000.

    A cache rate of None is billed as plain input; an hour's cache write without a rate of its own, as any cache write.
    `steps` are `(tokens, Price)`, ascending: where more than so many tokens went in, every token of the answer is billed
    by that price instead. The rates here are the base, in force below the first step.
    """

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    steps: tuple[tuple[int, Price], ...] = ()

    def cost_nano(self, usage: Usage) -> int:
        """What these tokens cost in nano-USD: exact integers, rounded half up once, at the end."""
        rates = self._in_force(usage.total_input_tokens) if self.steps else self
        read = rates.input if rates.cache_read is None else rates.cache_read
        write = rates.input if rates.cache_write is None else rates.cache_write
        write_1h = write if rates.cache_write_1h is None else rates.cache_write_1h
        billed = (
            usage.input_tokens * rates.input
            + usage.output_tokens * rates.output
            + usage.cache_read_tokens * read
            + (usage.cache_write_tokens - usage.cache_write_1h_tokens) * write
            + usage.cache_write_1h_tokens * write_1h
        )
        return (billed + _PER_MILLION // 2) // _PER_MILLION

    def _in_force(self, tokens: int) -> Price:
        for start, price in reversed(self.steps):
            if tokens > start:
                return price
        return self


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model: whose it is, what it costs (USD per million tokens, None if unknown), and what fits into it.

    `tier` is None where nobody has said. `max_tokens` is a sensible bound for one answer, `context_window` all tokens of
    a request, None if unknown. A cache price of None is billed as plain input. `price_steps` is Price's `steps`.
    Raises ConfigError for what can be no model. Immutable, so safe to share between threads.
    """

    id: str
    provider: str
    tier: ModelTier | None = None
    input_cost_per_million: float | None = None
    output_cost_per_million: float | None = None
    max_tokens: int = 4096
    supports_vision: bool = False
    supports_tools: bool = True
    context_window: int | None = None
    cache_read_cost_per_million: float | None = None
    cache_write_cost_per_million: float | None = None
    cache_write_1h_cost_per_million: float | None = None
    price_steps: tuple[tuple[int, Price], ...] = ()
    price: Price | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what could be no model, and turn the prices into integers once."""
        for name in ("id", "provider"):
            value: Any = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise ConfigError(f"ModelInfo({name}={value!r}): {name} must be a non-empty string.")
        if self.tier is not None:
            object.__setattr__(self, "tier", as_tier(self.tier))
        for name in ("max_tokens", "context_window"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ConfigError(
                    f"ModelInfo({self.id!r}, {name}={value!r}): a number of tokens is an integer, 1 or more."
                )
        object.__setattr__(self, "price", self._price())

    def _price(self) -> Price | None:
        given, out, read, write, write_1h = (
            self._rate(f"{name}_cost_per_million")
            for name in ("input", "output", "cache_read", "cache_write", "cache_write_1h")
        )
        if given is None and out is None:
            return None
        if given is None or out is None:
            raise ConfigError(
                f"ModelInfo({self.id!r}): a price has two sides. Give input_cost_per_million and output_cost_per_million, or "
                "leave both None if the price is unknown."
            )
        return Price(
            input=given, output=out, cache_read=read, cache_write=write, cache_write_1h=write_1h, steps=self.price_steps
        )

    def _rate(self, name: str) -> int | None:
        usd = getattr(self, name)
        if usd is None:
            return None
        if not isinstance(usd, (int, float)) or isinstance(usd, bool) or not 0 <= usd < float("inf"):
            raise ConfigError(
                f"ModelInfo({self.id!r}, {name}={usd!r}): USD per million tokens, 0 or more, or None if unknown."
            )
        return round(usd * NANO)


def as_tier(word: Any) -> ModelTier:
    """Read a tier in any case. Raises ConfigError for a word that is none."""
    try:
        return ModelTier(word)
    except ValueError:
        raise ConfigError(f"tier={word!r}: not a tier. Use one of: {', '.join(ModelTier)}.") from None


class PriceBook(Protocol):
    """A source of models: asked once for a name, then remembered by the Catalogue."""

    def find(self, model_id: str, provider: str | None) -> ModelInfo | None:
        """The model of this id at this provider; with None, of the one provider whose id it is."""
        ...

    def knows(self, provider: str) -> bool:
        """Whether this is the name of a provider."""
        ...


class Catalogue:
    """Models by name, and the default of each tier. Never changes, so safe to share; look-ups are remembered.

    `models` are the user's and come first; `book` is asked next; `defaults` names, for each provider, the model of each
    tier. A user's model fills a tier of its provider that `defaults` leaves empty, and replaces a default of the same id.
    """

    __slots__ = ("_book", "_defaults", "_found", "_own", "_read", "_tiers")

    def __init__(
        self,
        models: Iterable[ModelInfo] = (),
        *,
        book: PriceBook | None = None,
        defaults: Mapping[str, Mapping[ModelTier, str]] | None = None,
    ) -> None:
        self._own = tuple({(model.provider, model.id): model for model in models}.values())
        self._book = book
        self._defaults = {name: dict(tiers) for name, tiers in (defaults or {}).items()}
        self._found: dict[tuple[str, str | None], ModelInfo | None] = {}
        self._read: dict[tuple[str, str | None], tuple[str, str]] = {}
        self._tiers: dict[str, Mapping[ModelTier, ModelInfo]] = {}

    def override(self, models: Iterable[ModelInfo]) -> Catalogue:
        """Another catalogue in which these models are added, or stand in place of those of the same provider and id."""
        return Catalogue((*self._own, *models), book=self._book, defaults=self._defaults)

    def find(self, model_id: str, provider: str | None = None) -> ModelInfo | None:
        """The model that this id means, dated or not; None if unknown. One dictionary look-up after the first time.

        With a provider that the catalogue knows, that provider's model; with one that it does not know (a proxy), the
        maker's.
        """
        key = (model_id, provider)
        try:
            return self._found[key]
        except KeyError:
            pass
        if len(self._found) >= _REMEMBERED:
            self._found.clear()
        found = self._found[key] = self._look_up(model_id, provider and provider.lower())
        return found

    def owner(self, model_id: str) -> str | None:
        """The provider whose model this id is, None if the catalogue does not know the id."""
        found = self.find(model_id)
        return found.provider if found else None

    def knows(self, provider: str) -> bool:
        """Whether this is a known provider's name, in any case."""
        name = provider.lower()
        if name in self._defaults or any(model.provider.lower() == name for model in self._own):
            return True
        return self._book is not None and self._book.knows(name)

    def resolve(self, candidate: str, provider: str | None = None) -> tuple[str, str]:
        """Read a candidate as `(provider, model)`.

        An id of the catalogue is that model, slashes and all (the user's models first, then those of `provider`); else
        what stands before the first "/" is the provider, if that is a known provider's name; else `provider`; else
        "other". One dictionary look-up after the first time.
        """
        key = (candidate, provider)
        try:
            return self._read[key]
        except KeyError:
            pass
        if len(self._read) >= _REMEMBERED:
            self._read.clear()
        read = self._read[key] = self._resolve(candidate, provider)
        return read

    def _resolve(self, candidate: str, provider: str | None) -> tuple[str, str]:
        if (own := self._of_user(candidate, None)) is not None and (
            provider is None or not self._at(candidate, provider)
        ):
            return own.provider, candidate
        if provider is not None and self._at(candidate, provider):
            return provider, candidate
        if self._book is not None and (listed := self._book.find(candidate, None)) is not None:
            return listed.provider, candidate
        head, slash, rest = candidate.partition("/")
        if slash and rest and self.knows(head):
            return head.lower(), rest
        return provider or "other", candidate

    def providers(self) -> tuple[str, ...]:
        """The providers that have a model for at least one tier, in the order of the defaults."""
        own = (model.provider for model in self._own if model.tier is not None)
        return tuple(dict.fromkeys((*self._defaults, *own)))

    def tier_defaults(self, provider: str) -> Mapping[ModelTier, ModelInfo]:
        """The model of each tier of a provider, cheapest tier first; empty if none is known. The name in any case."""
        name = provider.lower()
        if (made := self._tiers.get(name)) is None:
            made = self._tiers[name] = MappingProxyType(self._make_tiers(name))
        return made

    def default(self, provider: str, tier: ModelTier | str) -> ModelInfo | None:
        """The model of one tier, None if the provider has none. Raises ConfigError for a word that is no tier."""
        return self.tier_defaults(provider).get(as_tier(tier))

    def _make_tiers(self, name: str) -> dict[ModelTier, ModelInfo]:
        own = [model for model in self._own if model.provider.lower() == name]
        tiers = {}
        for tier in ModelTier:
            model_id = self._defaults.get(name, {}).get(tier)
            chosen = self.find(model_id, name) if model_id is not None else None
            chosen = chosen or next((model for model in own if model.tier is tier), None)
            if chosen is not None:
                tiers[tier] = chosen
        return tiers

    def _look_up(self, model_id: str, provider: str | None) -> ModelInfo | None:
        if provider is not None and self.knows(provider):
            return self._at(model_id, provider)
        if (own := self._of_user(model_id, None)) is not None:
            return own
        if self._book is not None and (listed := self._book.find(model_id, None)) is not None:
            return listed
        head, slash, rest = model_id.partition("/")
        return self._at(rest, head) if slash and self.knows(head) else None

    def _at(self, model_id: str, provider: str) -> ModelInfo | None:
        name = provider.lower()
        if (own := self._of_user(model_id, name)) is not None:
            return own
        return self._book.find(model_id, name) if self._book is not None and self._book.knows(name) else None

    def _of_user(self, model_id: str, provider: str | None) -> ModelInfo | None:
        for wanted in (model_id, _DATE.sub("", model_id)):
            for model in reversed(self._own):
                if model.id == wanted and (provider is None or model.provider.lower() == provider):
                    return model
        return None
