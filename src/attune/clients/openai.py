"""The OpenAI APIs that make a model answer, as the official SDK (1.109 to 3.x) speaks them, to OpenAI, to Azure, or to
whoever offers the same paths: Chat Completions, the Responses API, and the old Completions.

Which clients, which paths, what an error means; what an answer says is read in `openai_chat.py` and
`openai_responses.py`. The SDK is imported only to build a refusal that `except openai.APIError` catches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attune.clients import openai_asked, openai_chat, openai_responses, stainless
from attune.clients.asked import Binding
from attune.clients.dialect import NOTHING, EventReader, Facts
from attune.clients.generated import GeneratedDialect
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
    **dict.fromkeys((
        "empty_image_file", "failed_to_download_image", "image_content_policy_violation", "image_file_not_found",
        "image_file_too_large", "image_parse_error", "image_too_large", "image_too_small", "invalid_base64_image",
        "invalid_image", "invalid_image_format", "invalid_image_mode", "invalid_image_url", "unsupported_image_media_type",
    ), FailureKind.INVALID_REQUEST),
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


class OpenAIDialect(GeneratedDialect):
    """`openai.OpenAI` and `openai.AsyncOpenAI`; Azure's clients too, as alternates that serve the same ids.

    The SDK makes no spans and measures nothing by itself (read in 1.109 and 3.54).
    """

    name = "openai"
    provider = "openai"
    failures = FAILURES
    package = "openai"
    clients = frozenset({"OpenAI", "AsyncOpenAI"})  # Azure's are subclasses
    # Not among them: /responses/compact, /responses/{id}/cancel, embeddings, images, audio, assistants, files, batches.
    answers = frozenset({"/chat/completions", "/completions", "/responses"})
    plain = (b'.delta"', b'"finish_reason":null')
    seams = stainless.seams("openai", ("OpenAI", "AsyncOpenAI"))

    def address(self, client: Any, path: str, model: str) -> str | None:
        """Where a request for this model goes if its path alone does not say so.

        An Azure client that was made for one deployment has it in its base URL, whatever model the body names.
        """
        deployment, home = getattr(client, "_azure_deployment", None), getattr(client, "_azure_endpoint", None)
        if not deployment or home is None or deployment == model or not path.endswith("/completions"):
            return None
        return f"{str(home).rstrip('/')}/openai/deployments/{model}{path}"

    def bound(self, body: Mapping[str, Any], headers: Mapping[str, Any]) -> Binding:
        """See `openai_asked.py`."""
        del headers
        return openai_asked.binding(body)

    def reader(self) -> EventReader:
        """A reader for chunks, or for the events of a response: which of both, the first event tells."""
        return OpenAIEvents()

    def read(self, answer: Any) -> Facts:
        """A ChatCompletion, Completion or Response, or a raw response that holds one."""
        answer = stainless.unwrapped(answer)
        kind = getattr(answer, "object", None)
        if kind == "response":
            return openai_responses.read(answer)
        return openai_chat.read(answer)


class AzureOpenAIDialect(OpenAIDialect):
    """`openai.AzureOpenAI` and `openai.AsyncAzureOpenAI`. A model there is a deployment, so there are no tier defaults."""

    name = "azure openai"
    provider = "azure"
    clients = frozenset({"AzureOpenAI", "AsyncAzureOpenAI"})


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
