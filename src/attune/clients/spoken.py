"""The dialects that attune speaks by itself, in the order in which they are asked whose a client is.

A new provider is one file beside this one, and a word here. The user's own dialects come before these.
"""

from __future__ import annotations

from attune.clients.anthropic import AnthropicDialect
from attune.clients.dialect import Dialect
from attune.clients.openai import AzureOpenAIDialect, OpenAIDialect

SPOKEN: tuple[Dialect, ...] = (AnthropicDialect(), AzureOpenAIDialect(), OpenAIDialect())  # Azure's are OpenAI's, too
