"""Every span, metric, attribute, unit and bucket of attune's telemetry, spelled once.

Nothing else in the package spells one. The GenAI conventions renamed their client metrics in 2026; which generation is
sent is one value, `GenAINames`, and readers accept both. Units are `s` or braced words, because a bare `1` or `USD`
changes the Prometheus name on some paths. This file imports no telemetry library and knows no value of any call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

SCOPE: Final = "attune"
SCOPE_DEMO: Final = "attune.demo"  # of the demo's runs without attune; readers count nothing of it
OTHER: Final = "_other"  # stands for every value past the bound; readers leave it out

# Spans
SPAN_ROUTE: Final = "attune.route"
SPAN_ATTEMPT: Final = "attune.attempt"
EVENT_TRANSITION: Final = "attune.circuit.transition"
OPERATION: Final = "chat"

# Attributes of ours
WORKFLOW: Final = "attune.workflow"
STAGE: Final = "attune.stage"
MODE: Final = "attune.mode"
ASKED_MODEL: Final = "attune.request.model"
OUTCOME: Final = "attune.outcome"
PROVIDER_AS_WRITTEN: Final = "attune.provider"  # only where the wire's word would be read back as another one
ROUTE_PROVIDER: Final = "attune.route.provider"
ROUTE_MODEL: Final = "attune.route.model"
ROUTE_REASON: Final = "attune.route.reason"
ROUTE_EXPLORED: Final = "attune.route.explored"
ROUTE_PROBABILITY: Final = "attune.route.probability"
ROUTE_SATISFIED: Final = "attune.route.constraint_satisfied"
ROUTE_CANDIDATES: Final = "attune.route.candidates"
ROUTE_ELIMINATED: Final = "attune.route.eliminated"
ROUTE_DATA_AGE: Final = "attune.route.data_age_s"
ATTEMPT_COUNT: Final = "attune.attempt.count"
FALLBACK_COUNT: Final = "attune.fallback.count"
CALL_ID: Final = "attune.call.id"
CALL_COST: Final = "attune.call.cost"
ATTEMPT_INDEX: Final = "attune.attempt.index"
ATTEMPT_COST: Final = "attune.attempt.cost"
ATTEMPT_FIRST: Final = "attune.attempt.time_to_first_chunk"
ATTEMPT_KIND: Final = "attune.attempt.kind"
ATTEMPT_EMPTY: Final = "attune.attempt.empty"  # only where it answered with nothing in it
CIRCUIT_NAME: Final = "attune.circuit.name"
CIRCUIT_STATE: Final = "attune.circuit.state"
CIRCUIT_FROM: Final = "attune.circuit.from"
CIRCUIT_TO: Final = "attune.circuit.to"
CIRCUIT_REASON: Final = "attune.circuit.reason"
QUALITY: Final = "attune.quality.score"  # the attribute; the counter below bears the same name
READER: Final = "attune.reader"
WHERE: Final = "attune.where"

# Attributes of the conventions
ERROR_TYPE: Final = "error.type"
INSTANCE_ID: Final = "service.instance.id"
GEN_AI_OPERATION: Final = "gen_ai.operation.name"
GEN_AI_PROVIDER: Final = "gen_ai.provider.name"
GEN_AI_SYSTEM: Final = "gen_ai.system"  # the provider's name before semantic conventions 1.37
GEN_AI_MODEL: Final = "gen_ai.request.model"
GEN_AI_STREAM: Final = "gen_ai.request.stream"
GEN_AI_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"  # cache reads and writes included
GEN_AI_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
GEN_AI_CACHE_READ: Final = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_FIRST: Final = "gen_ai.response.time_to_first_chunk"
GEN_AI_TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - a name, no secret
GEN_AI_MODALITY: Final = "gen_ai.token.modality"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

# What a dialect may tell of a request and an answer, by its short word or by the conventions' name. Only numbers, flags
# and ids: nothing that a user wrote.
_REQUEST: Final = (
    "max_tokens", "temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed", "choice.count",
    "reasoning.level",
)  # fmt: skip
_RESPONSE: Final = ("id", "model", "finish_reasons")
REQUEST_FACTS: Final[Mapping[str, str]] = {
    **{fact: f"gen_ai.request.{fact}" for fact in _REQUEST},
    **{f"gen_ai.request.{fact}": f"gen_ai.request.{fact}" for fact in _REQUEST},
    **{name: name for name in ("gen_ai.output.type", SERVER_ADDRESS, SERVER_PORT)},
}
RESPONSE_FACTS: Final[Mapping[str, str]] = {
    **{fact: f"gen_ai.response.{fact}" for fact in _RESPONSE},
    **{f"gen_ai.response.{fact}": f"gen_ai.response.{fact}" for fact in _RESPONSE},
    "http.response.status_code": "http.response.status_code",
}

# Metrics
CALL_DURATION: Final = "attune.call.duration"
ATTEMPT_DURATION: Final = "attune.attempt.duration"
ATTEMPTS: Final = "attune.attempts"
COST: Final = "attune.attempt.cost"
BASELINE_COST: Final = "attune.baseline.cost"
QUALITY_SCORE: Final = "attune.quality.score"
QUALITY_COUNT: Final = "attune.quality.count"
DECISIONS: Final = "attune.route.decisions"
CIRCUIT_OPEN: Final = "attune.circuit.open"
CIRCUIT_HALF_OPEN: Final = "attune.circuit.half_open"
CIRCUIT_COOLING: Final = "attune.circuit.cooling"
TRANSITIONS: Final = "attune.circuit.transitions"
REJECTIONS: Final = "attune.circuit.rejections"
READER_AGE: Final = "attune.reader.age"
READER_ERRORS: Final = "attune.reader.errors"
FAULTS: Final = "attune.faults"

SECONDS: Final = "s"
TOKENS: Final = "{token}"
COUNTERS: Final[Mapping[str, str]] = {
    ATTEMPTS: "{attempt}",
    COST: "{USD}",
    BASELINE_COST: "{USD}",
    QUALITY_SCORE: "{score}",
    QUALITY_COUNT: "{verdict}",
    DECISIONS: "{decision}",
    TRANSITIONS: "{transition}",
    REJECTIONS: "{rejection}",
    READER_ERRORS: "{error}",
    FAULTS: "{fault}",
}
GAUGES: Final[Mapping[str, str]] = {
    CIRCUIT_OPEN: "{circuit}",
    CIRCUIT_HALF_OPEN: "{circuit}",
    CIRCUIT_COOLING: "{circuit}",
    READER_AGE: SECONDS,
}

# Neighbours stand 1.25 to 1.67 apart between 0.05 s and 128 s, so that a latency read back from classic buckets is
# within one bucket of the truth and a percentile is not off by the factor 2 that the conventions' own bounds allow.
DURATION_BUCKETS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0,
    24.0, 32.0, 48.0, 64.0, 96.0, 128.0, 300.0, 600.0,
)  # fmt: skip
# The two lists of advice in the GenAI conventions (client metrics; read 2026-11).
GEN_AI_DURATION_BUCKETS: Final = tuple(round(0.01 * 2**power, 2) for power in range(14))
GEN_AI_TOKEN_BUCKETS: Final = tuple(4**power for power in range(14))


@dataclass(frozen=True, slots=True, kw_only=True)
class GenAINames:
    """One generation of the GenAI conventions' client metrics. A name of None is not sent in that generation."""

    duration: str
    usage: str | None = None  # one histogram by token type
    input_counter: str | None = None
    output_counter: str | None = None
    input_histogram: str | None = None
    output_histogram: str | None = None
    cache_write: str = "gen_ai.usage.cache_creation.input_tokens"


GENAI_OLDER: Final = GenAINames(duration="gen_ai.client.operation.duration", usage="gen_ai.client.token.usage")
GENAI_2026: Final = GenAINames(
    duration="gen_ai.client.inference.duration",
    input_counter="gen_ai.client.inference.usage.input_tokens",
    output_counter="gen_ai.client.inference.usage.output_tokens",
    input_histogram="gen_ai.client.inference.operation.input_tokens",
    output_histogram="gen_ai.client.inference.operation.output_tokens",
    cache_write="gen_ai.usage.cache_write.input_tokens",
)

# Our word for a provider, and the conventions' where they differ. One to one, so that it can be read back.
PROVIDER_WORDS: Final[Mapping[str, str]] = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshotai": "moonshot_ai",
    "vertex": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai",
    "x-ai": "x_ai",
}
_OUR_WORDS: Final[Mapping[str, str]] = {wire: ours for ours, wire in PROVIDER_WORDS.items()}
# Words that would be read back as ours: a span also bears these as they were written.
AMBIGUOUS: Final = frozenset(_OUR_WORDS)


def wire_provider(provider: str) -> str:
    """The conventions' word for a provider of ours."""
    return PROVIDER_WORDS.get(provider, provider)


def our_provider(word: str) -> str:
    """Our word for a provider of the conventions; unknown ones stay as they are."""
    return _OUR_WORDS.get(word, word)
