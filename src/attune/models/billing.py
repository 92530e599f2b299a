"""What a request that holds a module of code costs, by plan and by token, with every supposition named.

Arithmetic over the catalogue's price and window. Knows no file and no choice of the user's; `auth_strategy.py` asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attune.models.registry import NANO, ModelInfo, ModelTier
from attune.models.response import Usage

ANSWER_SHARE: Final = 0.2  # a supposition, not a measurement: the answer is a fifth as long as the module


def assumed_model() -> ModelInfo | None:
    """The model that an estimate is made for where none is named: the one that a Claude plan offers for code."""
    from attune.models.process import current  # the strategy is read and written without a process

    return current().catalogue.default("anthropic", ModelTier.CAPABLE)


def estimate(tokens: int, *, mode: str, plan: str, model: ModelInfo | None, tokens_per_line: float) -> dict[str, Any]:
    """The dict of `AuthStrategy.estimate_cost` for a module of so many tokens. Costs in USD."""
    answer = max(1, int(tokens * ANSWER_SHARE))
    price = model.price if model is not None else None
    window = model.context_window if model is not None else None
    cost = price.cost_nano(Usage(input_tokens=tokens, output_tokens=answer)) / NANO if price is not None else None
    by_plan = mode == "subscription"
    return {
        "mode": mode,
        "monetary_cost": 0.0 if by_plan else cost,
        "quota_cost": _quota(tokens + answer, plan) if by_plan else None,
        "tokens_used": tokens,
        "fits_in_context": tokens + answer <= window if window is not None else None,
        "tier": plan,
        "assumptions": {
            "model": model.id if model is not None else None,
            "input_cost_per_million": model.input_cost_per_million if model is not None else None,
            "output_cost_per_million": model.output_cost_per_million if model is not None else None,
            "context_window": window,
            "tokens_per_line": tokens_per_line,
            "tokens_input": tokens,
            "tokens_output": answer,
            "requests": 1,
            "cache": "none",
        },
    }


def _quota(tokens: int, plan: str) -> str:
    if plan == "api_only":
        return "no plan: there is no allowance to draw on"
    return f"about {tokens:,} tokens of the {plan} plan's allowance"


def compare(
    by_plan: Mapping[str, Any], by_token: Mapping[str, Any], auto: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The dict of `AuthStrategy.get_pros_cons`, from the estimates of its three modes."""
    return {
        "subscription": {
            "name": "Subscription",
            "cost": f"{by_plan['quota_cost']}; nothing besides",
            "pros": ["No bill by the token", "The cost of a month is known beforehand"],
            "cons": [
                "The allowance is shared with everything else the plan is used for, and can run out in the middle of work",
                "Runs through the vendor's own programs only: the API takes no plan's login",
                *_window(by_plan),
            ],
            "estimate": dict(by_plan),
        },
        "api": {
            "name": "API",
            "cost": _dollars(by_token["monetary_cost"]),
            "pros": ["Limited by the account's rate limits alone", "Every token is accounted for, call by call"],
            "cons": ["Each call is paid for", "Needs an API key", *_window(by_token)],
            "estimate": dict(by_token),
        },
        "auto": {
            "name": "Automatic",
            "cost": f"as {auto['current_recommendation']} for a module of this size",
            "pros": ["Each module takes the mode that suits its size"],
            "cons": ["The bill depends on the sizes that come", "Needs both a plan and an API key to be of use"],
            "estimate": dict(auto),
        },
    }


def _window(estimated: Mapping[str, Any]) -> list[str]:
    if estimated["fits_in_context"] is not False:
        return []
    window = estimated["assumptions"]["context_window"]
    return [f"Does not fit into one request: the model's window is {window:,} tokens"]


def _dollars(cost: float | None) -> str:
    return "unknown: the model has no known price" if cost is None else f"about ${cost:.6f} a request"
