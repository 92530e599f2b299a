"""Models, tiers and prices as integers: the immutable Catalogue that is handed in.

This file knows what a price is, never where prices come from (`clients/catalogue.py` compiles them).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ModelTier(str, Enum):
    """How able, and how dear, a model is within its provider."""

    CHEAP = "cheap"
    CAPABLE = "capable"
    PREMIUM = "premium"

    __str__ = str.__str__

    @classmethod
    def _missing_(cls, value: object) -> ModelTier | None:
        return cls.__members__.get(value.upper()) if isinstance(value, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Integer rates in nano-USD per million tokens: 1 USD per million tokens is 1_000_000_000.

    A cache rate of None is billed as plain input.
    """

    input: int
    output: int
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
