"""The dialects that attune speaks by itself, in the order in which they are asked whose a client is.

A new provider is one file beside this one, and a word here. The user's own dialects come before these.
"""

from __future__ import annotations

from attune.clients.anthropic import AnthropicDialect
from attune.clients.anthropic_clouds import BedrockDialect, FoundryDialect, VertexDialect
from attune.clients.dialect import Dialect
from attune.clients.openai import AzureOpenAIDialect, OpenAIDialect

# Some of the clouds' clients are Anthropic's too, and Azure's are OpenAI's: the narrower come first.
SPOKEN: tuple[Dialect, ...] = (
    BedrockDialect(),
    VertexDialect(),
    FoundryDialect(),
    AnthropicDialect(),
    AzureOpenAIDialect(),
    OpenAIDialect(),
)
