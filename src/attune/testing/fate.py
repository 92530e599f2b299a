"""The dice of one request: everything random about it, drawn from (seed, model, ordinal) alone.

All draws happen, in one order, whatever they are used for. So the n-th request of a model meets the same luck in each
run, whichever thread sent it, and a change of behaviour changes only what that behaviour decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Fate:
    """Two chances in [0, 1) and one normal number: is it answered, is the answer good, how slow is it."""

    success: float
    good: float
    slowness: float


def draw(seed: int, model: str, ordinal: int) -> Fate:
    """The fate of a model's n-th request."""
    dice = Random(f"{seed}/{model}/{ordinal}")
    return Fate(dice.random(), dice.random(), dice.gauss(0.0, 1.0))
