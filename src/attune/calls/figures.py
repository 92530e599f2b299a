"""The figures of one finished attempt: what it cost, and how it is observed and recorded. Pure arithmetic.

Known means said by the provider or by the caller; what nobody said stays None, never 0.
"""

from __future__ import annotations

from collections.abc import Callable

from attune.calls.attempt import Try
from attune.clients.dialect import Facts
from attune.models.call import Attempt, Outcome, Target
from attune.models.failures import Failure
from attune.models.performance import Observation
from attune.models.registry import Price
from attune.models.response import Usage
from attune.models.tally import Series

Priced = Callable[[str, Target], Price | None]  # a model of the target's provider -> what its tokens cost


class Account:
    """What a call has cost so far, and who answered it. `answered_us`: when that attempt began, else the call."""

    __slots__ = ("answered", "answered_us", "cost_complete", "cost_nano", "usage")

    def __init__(self, at_us: int) -> None:
        self.cost_nano = 0
        self.cost_complete = True
        self.usage: Usage | None = None
        self.answered: Target | None = None
        self.answered_us = at_us

    def add(self, attempt: Try, outcome: Outcome, facts: Facts, cost_nano: int | None) -> None:
        """One more finished attempt. An unknown cost makes the sum incomplete, never wrong."""
        if cost_nano is None:
            self.cost_complete = False
        else:
            self.cost_nano += cost_nano
        if outcome == "success":
            self.answered, self.answered_us = attempt.target, attempt.at_us
            self.usage = usage_of(attempt, facts)


def usage_of(attempt: Try, facts: Facts) -> Usage | None:
    """What was reported wins over what was read."""
    reported = attempt.reported
    return reported.usage if reported is not None and reported.usage is not None else facts.usage


def cost_nano(attempt: Try, outcome: Outcome, failure: Failure | None, facts: Facts, priced: Priced) -> int | None:
    """Nano-USD; None if unknown. An error status costs nothing; what was cut or timed out is unknown."""
    reported = attempt.reported
    if reported is not None and reported.cost_usd is not None:
        nano: int = round(reported.cost_usd * 1e9)
        return nano
    begun = attempt.reader is not None and attempt.reader.content
    refused = failure is not None and (failure.rule.billed == "no" or (failure.status or 0) >= 400)
    if refused and not begun:
        return 0
    if outcome != "success":
        return None
    if facts.cost_nano is not None:
        return facts.cost_nano
    usage, price = usage_of(attempt, facts), attempt.target.price
    if facts.served_by is not None:
        price = priced(facts.served_by, attempt.target)
    if usage is None or price is None:
        return None
    return price.cost_nano(usage) if not facts.besides else _with_others(price, usage, attempt.target, facts, priced)


def _with_others(price: Price, usage: Usage, target: Target, facts: Facts, priced: Priced) -> int | None:
    """The answer and its helpers, each at the price of its own model; unknown, if one of these is."""
    total = price.cost_nano(usage)
    for model, used in facts.besides:
        rate = price if model is None else priced(model, target)
        if rate is None:
            return None
        total += rate.cost_nano(used)
    return total


def observation(
    series: Series,
    attempt: Try,
    outcome: Outcome,
    failure: Failure | None,
    facts: Facts,
    latency_us: int,
    cost: int | None,
) -> Observation:
    """The attempt as the windows count it."""
    usage = usage_of(attempt, facts)
    return Observation(
        series=series,
        at_us=attempt.at_us,
        outcome=outcome,
        latency_us=latency_us,
        error_type=str(failure.kind) if failure is not None else None,
        first_us=attempt.first_us,
        cost_nano=cost,
        tokens_in=usage.total_input_tokens if usage is not None else None,
        tokens_out=usage.output_tokens if usage is not None else None,
        empty=facts.empty and outcome == "success",
        explored=attempt.explored,
        circuit=attempt.state,
    )


def attempt_of(attempt: Try, outcome: Outcome, failure: Failure | None, latency_us: int, cost: int | None) -> Attempt:
    """The attempt as the caller's record shows it."""
    return Attempt(
        index=attempt.index,
        provider=attempt.target.provider,
        model=attempt.target.model,
        kind=attempt.kind,
        outcome=outcome,
        error_type=str(failure.kind) if failure is not None else None,
        cost=None if cost is None else cost / 1e9,
        latency_ms=latency_us / 1e3,
        circuit=attempt.state,
    )
