"""OTLP spans become observations and verdicts again: the inverse of what `facts.py` puts on them.

One attempt span gives one Observation, one route span with a score gives one Verdict. Nothing in a request is trusted:
what is out of bounds, misspelt or too long is left out and counted. JSON and protobuf requests end in one shape, `Span`.
Whether a span counts at all (attune's, or another instrumentation's) is a question of who else spoke; see `Heard`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, cast, get_args

from attune.models.call import CircuitState, Outcome
from attune.models.performance import Observation, Series, Verdict
from attune.telemetry import names as n

MAX_LATENCY_US: Final = 3_600_000_000  # an attempt takes less than an hour
MAX_COST_NANO: Final = 10**15  # a million USD
MAX_TOKENS: Final = 10**9
MAX_NAME: Final = 256
MAX_AT_US: Final = 2**53

Value = str | bool | int | float
Attributes = Mapping[str, Value]
_OUTCOMES: Final = frozenset(get_args(Outcome))
_STATES: Final = frozenset(get_args(CircuitState))

WANTED: Final = frozenset({
    n.WORKFLOW, n.STAGE, n.OUTCOME, n.PROVIDER_AS_WRITTEN, n.ROUTE_PROVIDER, n.ROUTE_MODEL, n.ROUTE_EXPLORED, n.QUALITY,
    n.ATTEMPT_COST, n.ATTEMPT_FIRST, n.ATTEMPT_KIND, n.ATTEMPT_EMPTY, n.CIRCUIT_STATE, n.ERROR_TYPE, n.GEN_AI_PROVIDER,
    n.GEN_AI_SYSTEM, n.GEN_AI_MODEL, n.GEN_AI_INPUT_TOKENS, n.GEN_AI_OUTPUT_TOKENS, n.GEN_AI_FIRST, n.GEN_AI_OPERATION,
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span as it stands in a request: who sent it, of which scope, when, and the attributes that are wanted."""

    instance: str
    scope: str
    name: str
    start_ns: int
    end_ns: int
    attributes: Attributes
    failed: bool = False
    key: bytes = b""  # trace and span id together, as bytes


class OutOfBounds(ValueError):  # noqa: N818 - says what it is of
    """A value that no span of ours has. Never leaves this module's callers."""


def read(span: Span) -> Observation | Verdict | None:
    """What a span of scope `attune` says; None where it says nothing that counts. Raises OutOfBounds."""
    facts = span.attributes
    if n.ATTEMPT_KIND in facts:
        return _observation(span)
    if n.QUALITY in facts and n.ROUTE_MODEL in facts:
        score = _number(facts, n.QUALITY, 0.0, 1.0)
        series = _series(facts, n.ROUTE_PROVIDER, n.ROUTE_MODEL)
        return Verdict(series=series, at_us=_at(span), quality_micro=round((score or 0.0) * 1e6))
    return None


def read_foreign(span: Span, *, workflow: str = "", stage: str = "") -> Observation | None:
    """What another instrumentation's inference span says; None where it is none. Raises OutOfBounds.

    Such spans know no cell: they count under `workflow` and `stage` as given.
    """
    facts = span.attributes
    provider = n.GEN_AI_PROVIDER if n.GEN_AI_PROVIDER in facts else n.GEN_AI_SYSTEM
    if provider not in facts or n.GEN_AI_MODEL not in facts:
        return None
    if facts.get(n.GEN_AI_OPERATION, n.OPERATION) not in {n.OPERATION, "generate_content", "text_completion"}:
        return None
    target = _series(facts, provider, n.GEN_AI_MODEL, cell=False)
    error = facts.get(n.ERROR_TYPE)
    failed = span.failed or error is not None
    return Observation(
        series=target._replace(workflow=workflow, stage=stage),
        at_us=_at(span),
        latency_us=_latency(span),
        outcome="failure" if failed else "success",
        error_type="other" if failed else None,
        first_us=_scaled(facts, n.GEN_AI_FIRST, 1e6, MAX_LATENCY_US),
        tokens_in=_scaled(facts, n.GEN_AI_INPUT_TOKENS, 1, MAX_TOKENS),
        tokens_out=_scaled(facts, n.GEN_AI_OUTPUT_TOKENS, 1, MAX_TOKENS),
    )


@dataclass(slots=True)
class Heard:
    """Which instances ever spoke with scope `attune`: another instrumentation's spans from those count nothing.

    So an attempt that attune and the SDK's own tracer both tell is counted once.
    """

    spoke: set[str] = field(default_factory=set)
    limit: int = 10_000

    def own(self, spans: Iterable[Span]) -> Iterator[Span]:
        """Spans of scope `attune`; their instances are remembered."""
        for span in spans:
            if span.scope == n.SCOPE:
                if len(self.spoke) < self.limit:
                    self.spoke.add(span.instance)
                yield span

    def foreign(self, spans: Iterable[Span]) -> Iterator[Span]:
        """Spans of other scopes from instances that never spoke with ours. Ask after `own` has seen the request."""
        return (span for span in spans if not span.scope.startswith(n.SCOPE) and span.instance not in self.spoke)


def _observation(span: Span) -> Observation:
    facts = span.attributes
    outcome, state = facts.get(n.OUTCOME), facts.get(n.CIRCUIT_STATE, "closed")
    if outcome not in _OUTCOMES or state not in _STATES:
        raise OutOfBounds(n.OUTCOME if outcome not in _OUTCOMES else n.CIRCUIT_STATE)
    error = facts.get(n.ERROR_TYPE)
    return Observation(
        series=_series(facts, n.GEN_AI_PROVIDER, n.GEN_AI_MODEL),
        at_us=_at(span),
        latency_us=_latency(span),
        outcome=cast("Outcome", outcome),
        error_type=None if error is None else _name(error, n.ERROR_TYPE),
        first_us=_scaled(facts, n.ATTEMPT_FIRST, 1e6, MAX_LATENCY_US),
        cost_nano=_scaled(facts, n.ATTEMPT_COST, 1e9, MAX_COST_NANO),
        tokens_in=_scaled(facts, n.GEN_AI_INPUT_TOKENS, 1, MAX_TOKENS),
        tokens_out=_scaled(facts, n.GEN_AI_OUTPUT_TOKENS, 1, MAX_TOKENS),
        empty=facts.get(n.ATTEMPT_EMPTY) is True,
        explored=facts.get(n.ROUTE_EXPLORED) is True,
        circuit=cast("CircuitState", state),
    )


def _series(facts: Attributes, provider: str, model: str, *, cell: bool = True) -> Series:
    word = _name(facts.get(n.PROVIDER_AS_WRITTEN, n.our_provider(_name(facts.get(provider), provider))), provider)
    workflow, stage = (facts.get(n.WORKFLOW), facts.get(n.STAGE)) if cell else ("", "")
    return Series(_name(workflow, n.WORKFLOW), _name(stage, n.STAGE), word, _name(facts.get(model), model))


def _name(value: Value | None, what: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_NAME or value == n.OTHER:
        raise OutOfBounds(what)
    return value


def _at(span: Span) -> int:
    at_us = span.start_ns // 1000
    if not 0 <= at_us < MAX_AT_US:
        raise OutOfBounds("start")
    return at_us


def _latency(span: Span) -> int:
    latency = (span.end_ns - span.start_ns) // 1000
    if not 0 <= latency < MAX_LATENCY_US:
        raise OutOfBounds("duration")
    return latency


def _number(facts: Attributes, name: str, low: float, high: float) -> float | None:
    value = facts.get(name)
    if value is None:
        return None
    if isinstance(value, (str, bool)) or not low <= value <= high:  # NaN compares false, too
        raise OutOfBounds(name)
    return value


def _scaled(facts: Attributes, name: str, scale: float, high: int) -> int | None:
    value = _number(facts, name, 0, high / scale)
    return None if value is None else round(value * scale)
