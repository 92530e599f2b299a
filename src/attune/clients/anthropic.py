"""The Anthropic Messages API, as its official SDK (0.89 to 2.x) speaks it.

What an answer, an event and an error of it mean; the seam itself is `stainless.py`. The SDK is imported only to build a
refusal that `except anthropic.APIError` catches, and by then the caller has imported it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any

from attune.clients import anthropic_asked, neighbours, stainless
from attune.clients.asked import Binding
from attune.clients.dialect import NOTHING, EventReader, Facts
from attune.clients.generated import GeneratedDialect
from attune.models.failures import FailureKind
from attune.models.response import Usage

FAILURES: Mapping[str, FailureKind] = {
    **stainless.FAILURES,
    "EnforcedSpendLimitReached": FailureKind.SPEND_LIMIT,
    "ContractSpendLimitReached": FailureKind.SPEND_LIMIT,
    "enforced_spend_limit_reached": FailureKind.SPEND_LIMIT,
    "contract_spend_limit_reached": FailureKind.SPEND_LIMIT,
    # inside a stream of Bedrock (anthropic 2.12 gives its words as the error's type; AWS's InvokeModelWithResponseStream)
    "internalServerException": FailureKind.SERVER,
    "modelStreamErrorException": FailureKind.SERVER,
    "modelTimeoutException": FailureKind.TIMEOUT,
    "serviceUnavailableException": FailureKind.OVERLOADED,
    "throttlingException": FailureKind.RATE_LIMIT,
    "validationException": FailureKind.INVALID_REQUEST,
    # before a request is sent: what botocore, google-auth and azure-identity raise where there is no credential, or an old one
    "NoCredentialsError": FailureKind.AUTH,
    "PartialCredentialsError": FailureKind.AUTH,
    "CredentialRetrievalError": FailureKind.AUTH,
    "TokenRetrievalError": FailureKind.AUTH,
    "SSOTokenLoadError": FailureKind.AUTH,
    "UnauthorizedSSOTokenError": FailureKind.AUTH,
    "DefaultCredentialsError": FailureKind.AUTH,
    "RefreshError": FailureKind.AUTH,
    "ClientAuthenticationError": FailureKind.AUTH,
}

_ALONE: Mapping[str, Any] = MappingProxyType({})  # one model answered, and nothing helped it


class AnthropicDialect(GeneratedDialect):
    """`anthropic.Anthropic` and `anthropic.AsyncAnthropic`."""

    name = "anthropic"
    provider = "anthropic"
    failures = FAILURES
    package = "anthropic"
    clients = frozenset({"Anthropic", "AsyncAnthropic"})
    answers = frozenset({"/v1/messages"})
    plain = (b'"content_block_delta"',)
    seams = stainless.seams("anthropic", ("Anthropic", "AsyncAnthropic"))

    def native_span(self, client: Any) -> bool:
        """Since 1.14 the SDK traces itself, if its tracer exists and a tracer provider records; and so may neighbours."""
        if neighbours.record("anthropic"):
            return True
        if client is None:  # some client inside a function
            return _traces_by_default() and _recorded()
        if getattr(client, "_tracer", None) is None:
            return False
        given = getattr(client, "_open_telemetry", None)
        own = isinstance(given, dict) and given.get("tracer_provider") is not None
        return own or _recorded()

    def bound(self, body: Mapping[str, Any], headers: Mapping[str, Any]) -> Binding:
        """What only the account that made it has (files, threads, what is signed); a list of fallbacks of its own."""
        return anthropic_asked.binding(body, headers)

    def reader(self) -> EventReader:
        """A reader for raw message events."""
        return MessageEvents()

    def read(self, answer: Any) -> Facts:
        """A Message, or a raw response that holds one."""
        answer = stainless.unwrapped(answer)
        usage = getattr(answer, "usage", None)
        if usage is None or not hasattr(answer, "content"):
            return NOTHING
        reason = getattr(answer, "stop_reason", None)
        return Facts(
            usage=read_usage(usage),
            model=_text(getattr(answer, "model", None)),
            response_id=_text(getattr(answer, "id", None)),
            finish_reasons=(reason,) if isinstance(reason, str) else (),
            empty=not answer.content,
            **read_iterations(usage),
        )


def _traces_by_default() -> bool:
    """Whether a client of this process has a tracer, unless it was told otherwise."""
    return "anthropic._tracing" in sys.modules and os.environ.get("ANTHROPIC_OPEN_TELEMETRY", "").lower() != "false"


def _recorded() -> bool:
    from opentelemetry import trace

    return not isinstance(trace.get_tracer_provider(), (trace.ProxyTracerProvider, trace.NoOpTracerProvider))


class MessageEvents:
    """What the events of one message stream have said. Content begins with the first delta of any block."""

    __slots__ = ("_counts", "_id", "_model", "_reason", "_text", "content", "done")

    def __init__(self) -> None:
        self.content = False
        self.done = False
        self._text: list[str] = []
        self._counts: dict[str, Any] = {}
        self._model: str | None = None
        self._id: str | None = None
        self._reason: str | None = None

    @property
    def text(self) -> str:
        """The text deltas so far."""
        return "".join(self._text)

    def feed(self, event: Any) -> None:
        """Take one raw event in; unknown ones pass."""
        kind = getattr(event, "type", None)
        if kind == "content_block_delta":
            self.content = True
            if isinstance(text := getattr(event.delta, "text", None), str):
                self._text.append(text)
        elif kind == "message_start":
            self._model, self._id = _text(event.message.model), _text(event.message.id)
            self._count(event.message.usage)
        elif kind == "message_delta":
            self._count(getattr(event, "usage", None))
            self._reason = _text(getattr(event.delta, "stop_reason", None))
        elif kind == "message_stop":
            self.done = True

    def _count(self, usage: Any) -> None:
        for name in (
            "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation",
            "iterations",
        ):  # fmt: skip
            if (value := getattr(usage, name, None)) is not None:
                self._counts[name] = value  # the counts of later events replace, they do not add

    def facts(self) -> Facts:
        """Usage as the last events gave it."""
        counts = SimpleNamespace(**self._counts)
        return Facts(
            usage=read_usage(counts) if self._counts else None,
            model=self._model,
            response_id=self._id,
            finish_reasons=(self._reason,) if self._reason else (),
            empty=self.done and not self.content,
            **read_iterations(counts),
        )


def read_usage(usage: Any) -> Usage:
    """Anthropic's usage object: its `input_tokens` already leaves cache reads and writes out."""
    hourly = getattr(getattr(usage, "cache_creation", None), "ephemeral_1h_input_tokens", None)
    return Usage(
        input_tokens=_count(getattr(usage, "input_tokens", None)),
        output_tokens=_count(getattr(usage, "output_tokens", None)),
        cache_read_tokens=_count(getattr(usage, "cache_read_input_tokens", None)),
        cache_write_tokens=_count(getattr(usage, "cache_creation_input_tokens", None)),
        cache_write_1h_tokens=_count(hourly),
    )


def read_iterations(usage: Any) -> Mapping[str, Any]:
    """Who answered, where the provider's own fallback did, and what its helpers used that the totals leave out.

    As anthropic 2.12 and the API's pages of 2026-11 say: an entry `fallback_message` names the model that answered; the
    tokens of a compaction and of an advisor are in no total.
    """
    iterations = getattr(usage, "iterations", None)
    if not isinstance(iterations, list):
        return _ALONE
    served, besides = None, []
    for entry in iterations:
        it = SimpleNamespace(**entry) if isinstance(entry, dict) else entry  # the SDK's classes for it are beta's
        kind, model = getattr(it, "type", None), _text(getattr(it, "model", None))
        if kind == "fallback_message":
            served = model
        elif kind in ("compaction", "advisor_message"):
            besides.append((model, read_usage(it)))
    return {"served_by": served, "besides": tuple(besides)}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
