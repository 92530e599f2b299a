"""What spans carry, as plain dictionaries: an attempt's part holds its observation whole, so that it can be read back.

Only numbers, flags, ids and attune's own words pass; a list says which facts a dialect may add. No exception and no text
of a prompt or an answer has a way in. Imports no telemetry library.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attune.models.call import CallRecord, Mode, Transition
from attune.models.decision import Decision
from attune.models.performance import Observation, Series
from attune.models.response import Usage
from attune.telemetry import names as n

Facts = Mapping[str, Any]
_TEXT: Final = 200  # no id, model name or reason of ours is longer; what is comes from somewhere it should not


def transition(change: Transition) -> dict[str, Any]:
    """One change of a circuit's state."""
    return {
        n.CIRCUIT_NAME: change.name[:_TEXT],
        n.CIRCUIT_FROM: change.from_state,
        n.CIRCUIT_TO: change.to_state,
        n.CIRCUIT_REASON: change.reason[:_TEXT],
    }


def route_start(workflow: str, stage: str, mode: Mode, asked: str) -> dict[str, Any]:
    """What is known of a call before it starts."""
    return {n.WORKFLOW: workflow, n.STAGE: stage, n.MODE: mode, n.ASKED_MODEL: asked}


def decided(decision: Decision, candidates: int, eliminated: int, data_age_s: float | None) -> dict[str, Any]:
    """What a decision says of itself."""
    facts: dict[str, Any] = {
        n.ROUTE_REASON: decision.reason,
        n.ROUTE_EXPLORED: decision.explored,
        n.ROUTE_PROBABILITY: float(decision.probability),
        n.ROUTE_SATISFIED: decision.constraint_satisfied,
        n.ROUTE_CANDIDATES: candidates,
        n.ROUTE_ELIMINATED: eliminated,
    }
    if data_age_s is not None:
        facts[n.ROUTE_DATA_AGE] = float(data_age_s)
    return facts


def route_end(record: CallRecord, error_type: str | None) -> dict[str, Any]:
    """What is known of a call when it is over."""
    attempts = record.attempts
    facts: dict[str, Any] = {
        n.CALL_ID: record.id,
        n.OUTCOME: record.outcome,
        n.ATTEMPT_COUNT: len(attempts),
        n.FALLBACK_COUNT: [attempt.kind for attempt in attempts].count("fallback"),
    }
    if record.provider is not None and record.model is not None:
        facts[n.ROUTE_PROVIDER] = n.wire_provider(record.provider)
        facts[n.ROUTE_MODEL] = record.model
        if record.provider in n.AMBIGUOUS:
            facts[n.PROVIDER_AS_WRITTEN] = record.provider
    if record.cost or record.cost_complete:
        facts[n.CALL_COST] = float(record.cost)
    if record.quality is not None:
        facts[n.QUALITY] = float(record.quality)
    if error_type is not None:
        facts[n.ERROR_TYPE] = str(error_type)
    return facts


def attempt_start(series: Series, request: Facts, stream: bool) -> dict[str, Any]:
    """What is known of an attempt before it starts; samplers see this."""
    facts: dict[str, Any] = {
        n.GEN_AI_OPERATION: n.OPERATION,
        n.GEN_AI_PROVIDER: n.wire_provider(series.provider),
        n.GEN_AI_MODEL: series.model,
        n.WORKFLOW: series.workflow,
        n.STAGE: series.stage,
    }
    if series.provider in n.AMBIGUOUS:
        facts[n.PROVIDER_AS_WRITTEN] = series.provider
    if stream:
        facts[n.GEN_AI_STREAM] = True
    if request:
        _allow(facts, request, n.REQUEST_FACTS)
    return facts


def attempt_end(seen: Observation, usage: Usage | None, response: Facts, names: n.GenAINames) -> dict[str, Any]:
    """What is known of an attempt when it is over: the observation, so that it can be read back, and facts beside it."""
    facts: dict[str, Any] = {
        n.OUTCOME: seen.outcome,
        n.ROUTE_EXPLORED: seen.explored,
        n.CIRCUIT_STATE: seen.circuit,
    }
    if seen.cost_nano is not None:
        facts[n.ATTEMPT_COST] = seen.cost_nano / 1e9
    if seen.first_us is not None:
        facts[n.ATTEMPT_FIRST] = facts[n.GEN_AI_FIRST] = seen.first_us / 1e6
    if seen.tokens_in is not None:
        facts[n.GEN_AI_INPUT_TOKENS] = seen.tokens_in
    if seen.tokens_out is not None:
        facts[n.GEN_AI_OUTPUT_TOKENS] = seen.tokens_out
    if seen.empty:
        facts[n.ATTEMPT_EMPTY] = True
    if seen.error_type is not None:
        facts[n.ERROR_TYPE] = str(seen.error_type)
    if usage is not None and usage.cache_read_tokens:
        facts[n.GEN_AI_CACHE_READ] = usage.cache_read_tokens
    if usage is not None and usage.cache_write_tokens:
        facts[names.cache_write] = usage.cache_write_tokens
    if response:
        _allow(facts, response, n.RESPONSE_FACTS)
    return facts


def _allow(known: dict[str, Any], more: Facts, names: Mapping[str, str]) -> None:
    """Take over only facts that are listed, and only numbers, flags and short words among them."""
    for word, value in more.items():
        name = names.get(word)
        if name is None:
            continue
        if isinstance(value, str):
            known[name] = value[:_TEXT]
        elif isinstance(value, (int, float)):
            known[name] = value
        elif isinstance(value, (list, tuple)):
            known[name] = [str(item)[:_TEXT] for item in value[:8]]
