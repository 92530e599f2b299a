"""The dated tables behind the catalogue: the default model of each tier, who is called what, and what was retired.

Prices are nowhere here: they come from the price data (`catalogue.py`). A row changes by hand, with its date and its
source; `tests/clients/test_catalogue.py` holds every row against the installed price data.

Why these models: per provider the newest generation that the vendor sells as its quick, its balanced and its ablest line
for everyday work, provided its price is known, and no tier dearer than the one above. Hence not Haiku 4.5 (ten times the
price of 5.5), not Fable or Astra (sold for the longest tasks, at twice the premium tier's price or more), and not
gpt-6.2-sol (not yet priced). A provider whose own words do not rank its models, or whose ids depend on the account
(Bedrock, Azure), has no row.
"""

from __future__ import annotations

from datetime import date
from types import MappingProxyType
from typing import Final

from attune.models.registry import ModelTier

AS_OF: Final = date(2026, 11, 23)

# Sources, read on AS_OF: platform.claude.com/docs (models overview), developers.openai.com/api/docs/models, ai.google.dev,
# by way of the descriptions in genai-prices 0.2.3; api-docs.deepseek.com names its two lines Flash and Pro.
TIER_DEFAULTS: Final = MappingProxyType(
    {
        "anthropic": {
            ModelTier.CHEAP: "claude-haiku-5-5",
            ModelTier.CAPABLE: "claude-sonnet-5-5",
            ModelTier.PREMIUM: "claude-opus-5-5",
        },
        "openai": {
            ModelTier.CHEAP: "gpt-6-luna",
            ModelTier.CAPABLE: "gpt-6.1-terra",
            ModelTier.PREMIUM: "gpt-6.1-sol",
        },
        "google": {
            ModelTier.CHEAP: "gemini-3.5-flash-lite",
            ModelTier.CAPABLE: "gemini-3.8-flash",
            ModelTier.PREMIUM: "gemini-4-argon",
        },
        "deepseek": {
            ModelTier.CHEAP: "deepseek-flash",
            ModelTier.CAPABLE: "deepseek-v4-pro",
        },
    }
)

# The longest answer in tokens. Sources, read on AS_OF: platform.claude.com and developers.openai.com, each model's page.
LONGEST_ANSWERS: Final = MappingProxyType(
    {
        "claude-haiku-5-5": 128_000,
        "claude-sonnet-5-5": 128_000,
        "claude-opus-5-5": 128_000,
        "claude-haiku-4-5": 64_000,
        "gpt-6-luna": 128_000,
        "gpt-6.1-terra": 128_000,
    }
)

# A model's tier by the vendor's own family word in its id, whoever serves it; the first that fits. An id without such a
# word has no tier. The words are the vendors', the mapping follows TIER_DEFAULTS.
FAMILIES: Final = MappingProxyType(
    {
        "claude": (
            ("haiku", ModelTier.CHEAP),
            ("instant", ModelTier.CHEAP),
            ("sonnet", ModelTier.CAPABLE),
            ("opus", ModelTier.PREMIUM),
            ("fable", ModelTier.PREMIUM),
            ("mythos", ModelTier.PREMIUM),
        ),
        "gpt-": (
            ("nano", ModelTier.CHEAP),
            ("mini", ModelTier.CHEAP),
            ("luna", ModelTier.CHEAP),
            ("terra", ModelTier.CAPABLE),
            ("sol", ModelTier.PREMIUM),
            ("astra", ModelTier.PREMIUM),
            ("pro", ModelTier.PREMIUM),
        ),
        "gemini": (
            ("lite", ModelTier.CHEAP),
            ("flash", ModelTier.CAPABLE),
            ("pro", ModelTier.PREMIUM),
            ("argon", ModelTier.PREMIUM),
        ),
        "deepseek": (("flash", ModelTier.CHEAP), ("pro", ModelTier.CAPABLE)),
    }
)

# Lines whose every model reads images, by the start of the id. Source: the vendors' model pages, read on AS_OF.
READS_IMAGES: Final = (
    "claude-3", "claude-4", "claude-5", "claude-haiku", "claude-sonnet", "claude-opus", "claude-fable", "claude-mythos",
    "gpt-4o", "gpt-4.1", "gpt-5", "gpt-6", "gemini-",
)  # fmt: skip

# Model ids that answer no more, or will not after the date given. Source: anthropic 2.12.0, the list its `messages`
# resource warns from.
RETIRED: Final = MappingProxyType(
    {
        "claude-1.3": date(2024, 11, 6),
        "claude-1.3-100k": date(2024, 11, 6),
        "claude-instant-1.1": date(2024, 11, 6),
        "claude-instant-1.1-100k": date(2024, 11, 6),
        "claude-instant-1.2": date(2024, 11, 6),
        "claude-2.0": date(2025, 7, 21),
        "claude-2.1": date(2025, 7, 21),
        "claude-3-sonnet-20240229": date(2025, 7, 21),
        "claude-3-opus-20240229": date(2026, 1, 5),
        "claude-3-5-haiku-20241022": date(2026, 2, 19),
        "claude-3-5-haiku-latest": date(2026, 2, 19),
        "claude-3-7-sonnet-20250219": date(2026, 2, 19),
        "claude-3-7-sonnet-latest": date(2026, 2, 19),
        "claude-opus-4-0": date(2026, 6, 15),
        "claude-opus-4-20250514": date(2026, 6, 15),
        "claude-sonnet-4-0": date(2026, 6, 15),
        "claude-sonnet-4-20250514": date(2026, 6, 15),
        "claude-mythos-preview": date(2026, 6, 30),
        "claude-sonnet-4-5": date(2026, 11, 30),
        "claude-sonnet-4-5-20250929": date(2026, 11, 30),
    }
)

# Other words for a provider of the price data, as OpenTelemetry's conventions, LiteLLM and the clouds spell them.
PROVIDER_WORDS: Final = MappingProxyType(
    {
        "amazon": "aws",
        "aws.bedrock": "aws",
        "aws_bedrock": "aws",
        "azure.ai.inference": "azure",
        "azure.ai.openai": "azure",
        "azure_ai": "azure",
        "bedrock": "aws",
        "fireworks_ai": "fireworks",
        "foundry": "anthropic",  # Claude there, at Anthropic's prices
        "gcp.gemini": "google",
        "gcp.gen_ai": "google",
        "gcp.vertex_ai": "google",
        "gemini": "google",
        "mistral_ai": "mistral",
        "mistralai": "mistral",
        "moonshot": "moonshotai",
        "moonshot_ai": "moonshotai",
        "together-ai": "together",
        "together_ai": "together",
        "vertex": "google",
        "vertex_ai": "google",
        "x_ai": "x-ai",
        "xai": "x-ai",
    }
)

# Who is asked for an id without a slash, in this order: those who made the model before those who only serve it.
MAKERS: Final = (
    "anthropic", "openai", "google", "mistral", "deepseek", "x-ai", "cohere", "moonshotai", "zai", "minimax", "meta",
    "perplexity", "voyageai", "groq", "cerebras", "aws",
)  # fmt: skip
