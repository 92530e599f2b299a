"""What came back: LLMResponse for people, Usage for prices.

Token counts are the provider's own, read from its raw usage object; nothing is estimated here.
"""

from __future__ import annotations

from dataclasses import dataclass


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
