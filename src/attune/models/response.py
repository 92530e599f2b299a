"""What came back: LLMResponse for people, Usage for prices.

Token counts are the provider's own, read from its raw usage object; nothing is estimated here, and no price is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one answer, each billed once: `input_tokens` holds neither cache reads nor cache writes.

    `cache_write_1h_tokens` is the part of `cache_write_tokens` written for an hour (Anthropic bills it apart).
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0

    @property
    def total_input_tokens(self) -> int:
        """All tokens that went in, as `gen_ai.usage.input_tokens` counts them."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens


@dataclass(frozen=True, slots=True)
class LLMResponse:
    """One answer, or the failure that stands in its place: then `content` is empty and `success` False.

    `model_id`, `provider` and `tier` say who answered, or who was tried last. `tokens_input` holds all tokens that went
    in, cached ones too. `cost_estimate` is USD, 0.0 also where it is unknown (`metadata` says which), `latency_ms` the
    whole call, waits included. `metadata` holds facts about the call, never text of it. The content stays out of the repr.
    """

    content: str = field(repr=False)
    model_id: str
    provider: str
    tier: str
    tokens_input: int = 0
    tokens_output: int = 0
    cost_estimate: float = 0.0
    latency_ms: float = 0
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def success(self) -> bool:
        """Whether anything came back: False where the content is empty."""
        return bool(self.content)

    @property
    def input_tokens(self) -> int:
        """`tokens_input`, by the name that SDKs use."""
        return self.tokens_input

    @property
    def output_tokens(self) -> int:
        """`tokens_output`, by the name that SDKs use."""
        return self.tokens_output

    @property
    def total_tokens(self) -> int:
        """Tokens in and out."""
        return self.tokens_input + self.tokens_output

    @property
    def cost(self) -> float:
        """`cost_estimate` in USD."""
        return self.cost_estimate

    @property
    def model_used(self) -> str:
        """`model_id`, by its other name."""
        return self.model_id
