"""The OpenAI APIs that make a model answer, as the official SDK (1.109 to 3.x) speaks them, to OpenAI, to Azure, or to
whoever offers the same paths: Chat Completions, the Responses API, and the old Completions.

Which clients, which paths, what an error means; what an answer says is read in `openai_chat.py` and
`openai_responses.py`. The SDK is imported only to build a refusal that `except openai.APIError` catches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attune.clients import neighbours, openai_asked, openai_chat, openai_responses, stainless, tapped, unread
from attune.clients.asked import FREE, Binding, Shape, shape_of
from attune.clients.dialect import NOTHING, EventReader, Facts, Intercept, Request, Watch
from attune.clients.refusals import dual
from attune.errors import CallError, CircuitOpenError, DeadlineExceeded, StreamInterrupted
from attune.models.failures import FailureKind

# Words in an error's `code` or `type`. Sources: the codes in the SDK's types and docstrings (openai 3.54), the error
# guides of OpenAI and Azure (2026-11); numbers are what resellers write into a stream in place of a status.
_CODES: Mapping[str, FailureKind] = {
    "account_deactivated": FailureKind.AUTH,
    "billing_hard_limit_reached": FailureKind.SPEND_LIMIT,
    "billing_not_active": FailureKind.SPEND_LIMIT,
    "bio_policy": FailureKind.INVALID_REQUEST,
    "content_filter": FailureKind.INVALID_REQUEST,
    "content_policy_violation": FailureKind.INVALID_REQUEST,
    "context_length_exceeded": FailureKind.TOO_LARGE,
    "data_residency_mismatch": FailureKind.INVALID_REQUEST,
    "invalid_api_key": FailureKind.AUTH,
    "invalid_prompt": FailureKind.INVALID_REQUEST,
    "misalignment_policy_violation": FailureKind.INVALID_REQUEST,
    "model_not_found": FailureKind.NOT_FOUND,
    "server_is_overloaded": FailureKind.OVERLOADED,
    "service_unavailable_error": FailureKind.OVERLOADED,
    "slow_down": FailureKind.RATE_LIMIT,
    "vector_store_timeout": FailureKind.SERVER,
    "DeploymentNotFound": FailureKind.NOT_FOUND,
    "NoCapacity": FailureKind.OVERLOADED,
    "RateLimitReached": FailureKind.RATE_LIMIT,
    **{str(status): kind for status, kind in (
        (400, FailureKind.INVALID_REQUEST), (401, FailureKind.AUTH), (402, FailureKind.PAYMENT), (403, FailureKind.AUTH),
        (404, FailureKind.NOT_FOUND), (408, FailureKind.TIMEOUT), (429, FailureKind.RATE_LIMIT),
    )},
}  # fmt: skip

FAILURES: Mapping[str, FailureKind] = {
    **stainless.FAILURES,
    **_CODES,
    "APIError": FailureKind.SERVER,  # inside a stream, with no code that says more
    # what `.parse` makes of a whole answer: the request's limits and texts are the caller's
    "LengthFinishReasonError": FailureKind.CALLER,
    "ContentFilterFinishReasonError": FailureKind.CALLER,
}

_CLIENTS = frozenset({"OpenAI", "AsyncOpenAI"})
_AZURE_CLIENTS = frozenset({"AzureOpenAI", "AsyncAzureOpenAI"})
# Not among them: /responses/compact, /responses/{id}/cancel, embeddings, images, audio, assistants, files, batches.
_ANSWERS = frozenset({"/chat/completions", "/completions", "/responses"})


class OpenAIDialect:
    """`openai.OpenAI` and `openai.AsyncOpenAI`; Azure's clients too, as alternates that serve the same ids."""

    name = "openai"
    provider = "openai"
    failures = FAILURES
    seams = stainless.seams("openai", ("OpenAI", "AsyncOpenAI"))

    def speaks(self, client: Any) -> bool:
        """By class name, so that nothing is imported. Azure's clients are subclasses."""
        return stainless.speaks(client, "openai", _CLIENTS)

    def endpoint(self, client: Any) -> str:
        """The base URL."""
        return stainless.endpoint(client)

    def guard(self, client: Any, intercept: Intercept) -> Any:
        """A guarded copy; see `stainless.guard`."""
        return stainless.guard(client, intercept, _ANSWERS, address)

    def catch(self, client: Any, through: Any, args: Any, kwargs: Any, *, asynchronous: bool) -> Request | None:
        """See `Instrumentable.catch`."""
        return stainless.catch(_ANSWERS, address, client, through, args, kwargs, asynchronous=asynchronous)

    def binding(self, request: Any) -> Binding:
        """See `RequestReader.binding`."""
        body = getattr(request, "body", None)
        return openai_asked.binding(body) if isinstance(body, Mapping) else FREE

    def shape(self, request: Any) -> Shape | None:
        """See `RequestReader.shape`."""
        body = getattr(request, "body", None)
        return shape_of(body) if isinstance(body, Mapping) else None

    def native_span(self, client: Any) -> bool:
        """The SDK makes no spans (read in 1.109 and 3.54); neighbours may."""
        del client
        return neighbours.record("openai")

    def native_metrics(self, client: Any) -> bool:
        """Nor does it measure."""
        del client
        return neighbours.measure("openai")

    def read(self, answer: Any) -> Facts:
        """A ChatCompletion, Completion or Response, or a raw response that holds one."""
        answer = stainless.unwrapped(answer)
        kind = getattr(answer, "object", None)
        if kind == "response":
            return openai_responses.read(answer)
        return openai_chat.read(answer) if hasattr(answer, "choices") else NOTHING

    def events(self, stream: Any) -> EventReader | None:
        """A reader for chunks, or for the events of a response: which of both, the first event tells."""
        return OpenAIEvents() if tapped.is_stream(stream, "openai") else None

    def unread(self, answer: Any) -> EventReader | None:
        """See `Unread.unread`."""
        response = unread.body_of(answer)
        if response is None:
            return None
        return unread.reader_of(response, OpenAIEvents(), self.read, plain=(b'.delta"', b'"finish_reason":null'))

    def hold(self, stream: Any, reader: EventReader) -> Any:
        """See `Dialect.hold`."""
        return tapped.hold(stream, reader)

    def tap(self, stream: Any, watch: Watch, held: Sequence[Any] = ()) -> Any:
        """See `Dialect.tap`."""
        if (response := unread.body_of(stream)) is not None:
            unread.tap(response, watch)
            return stream
        return tapped.tap(stream, watch, held)

    def refusal(self, error: CallError, client: Any) -> CallError:
        """Also an `openai.APIConnectionError`, `APITimeoutError` or `APIError`."""
        nearest = "APIError"
        if isinstance(error, (CircuitOpenError, StreamInterrupted)):
            nearest = "APIConnectionError"
        elif isinstance(error, DeadlineExceeded):
            nearest = "APITimeoutError"
        return dual(error, "openai", nearest, url=stainless.endpoint(client))


class AzureOpenAIDialect(OpenAIDialect):
    """`openai.AzureOpenAI` and `openai.AsyncAzureOpenAI`. A model there is a deployment, so there are no tier defaults."""

    name = "azure openai"
    provider = "azure"

    def speaks(self, client: Any) -> bool:
        """By class name."""
        return stainless.speaks(client, "openai", _AZURE_CLIENTS)


def address(client: Any, path: str, model: str) -> str | None:
    """Where a request for this model goes if its path alone does not say so.

    An Azure client that was made for one deployment has it in its base URL, whatever model the body names.
    """
    deployment, home = getattr(client, "_azure_deployment", None), getattr(client, "_azure_endpoint", None)
    if not deployment or home is None or deployment == model or not path.endswith("/completions"):
        return None
    return f"{str(home).rstrip('/')}/openai/deployments/{model}{path}"


class OpenAIEvents:
    """The reader of either API's stream, chosen by the first event that is known."""

    __slots__ = ("_reader",)

    def __init__(self) -> None:
        self._reader: openai_chat.ChatEvents | openai_responses.ResponseEvents | None = None

    @property
    def content(self) -> bool:
        """Whether an event has carried something of the answer."""
        return self._reader is not None and self._reader.content

    @property
    def done(self) -> bool:
        """Whether the answer is complete."""
        return self._reader is not None and self._reader.done

    @property
    def text(self) -> str:
        """The text that has arrived."""
        return self._reader.text if self._reader is not None else ""

    def feed(self, event: Any) -> None:
        """Take one event in; unknown ones pass."""
        if self._reader is None:
            if hasattr(event, "choices"):
                self._reader = openai_chat.ChatEvents()
            elif isinstance(getattr(event, "type", None), str):
                self._reader = openai_responses.ResponseEvents()
            else:
                return
        self._reader.feed(event)

    def facts(self) -> Facts:
        """What the events have said so far."""
        return self._reader.facts() if self._reader is not None else NOTHING
