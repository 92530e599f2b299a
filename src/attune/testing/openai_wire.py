"""The OpenAI Chat Completions API as JSON and events, in the terms of the Anthropic one, which the scripts are written in.

Shapes: https://platform.openai.com/docs/api-reference/chat (2026-11). What a script says of usage and errors is
translated; a refusal is `message.refusal`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attune.testing.wire import Event, Part, split, to_json

BROKEN = Event("", b'{"id":"chatcmpl","object":"chat.completion.chunk","choices":[{"ind')
CREATED = 1_800_000_000  # one moment for every answer, so that runs repeat to the byte

_STOPS: Mapping[str, str] = {"max_tokens": "length", "tool_use": "tool_calls"}  # all else is "stop"
_ERRORS: Mapping[str, tuple[str, str | None]] = {
    "authentication_error": ("invalid_request_error", "invalid_api_key"),
    "billing_error": ("unknown_error", "invalid_request_error"),  # OpenAI has none; as DeepSeek says it
    "not_found_error": ("invalid_request_error", "model_not_found"),
    "rate_limit_error": ("requests", "rate_limit_exceeded"),
    "permission_error": ("invalid_request_error", None),
    "request_too_large": ("invalid_request_error", None),
    "api_error": ("server_error", None),
    "overloaded_error": ("server_error", None),
    "timeout_error": ("server_error", None),
}
_SPEND_CAP = ("insufficient_quota", "insufficient_quota")


def message(
    name: str, model: str, blocks: Sequence[Mapping[str, Any]], stop_reason: str, spent: Mapping[str, Any]
) -> dict[str, Any]:
    """A whole completion with one choice."""
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    refused = stop_reason == "refusal"
    told: dict[str, Any] = {
        "role": "assistant",
        "content": None if refused else text,
        "refusal": (text or "I cannot help with that.") if refused else None,
    }
    calls = [_call(block) for block in blocks if block["type"] == "tool_use"]
    if calls:
        told["tool_calls"] = calls
    choice = {"index": 0, "message": told, "logprobs": None, "finish_reason": _STOPS.get(stop_reason, "stop")}
    return {
        "id": f"chatcmpl-{name}",
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
        "choices": [choice],
        "usage": _usage(spent),
    }


def events(whole: Mapping[str, Any], pieces: int, *, usage: bool = False) -> Iterator[Event]:
    """The chunks that tell a whole completion as a stream, and the word that ends it."""
    choice = whole["choices"][0]
    told = choice["message"]
    yield _chunk(whole, {"role": "assistant", "content": "", "refusal": None})
    for key in ("content", "refusal"):
        for part in split(told[key] or "", pieces):
            yield _chunk(whole, {key: part}, part="content")
    for call in told.get("tool_calls", ()):  # one at most: a step names one tool
        head = {**call, "index": 0, "function": {**call["function"], "arguments": ""}}
        yield _chunk(whole, {"tool_calls": [head]}, part="content")
        for part in split(call["function"]["arguments"], pieces):
            yield _chunk(whole, {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}, part="content")
    yield _chunk(whole, {}, choice["finish_reason"], part="closing")
    if usage:
        last = {**_shell(whole), "choices": [], "usage": whole["usage"]}
        yield Event("", to_json(last), "closing")
    yield Event("", b"[DONE]", "closing")


def error(kind: str, text: str, request_id: str, error_code: str | None = None) -> dict[str, Any]:  # noqa: ARG001 - in the headers only
    """An error's body."""
    told, code = _SPEND_CAP if error_code == "enforced_spend_limit_reached" else _ERRORS.get(kind, (kind, None))
    return {"error": {"message": text, "type": told, "param": None, "code": code}}


def error_event(body: Mapping[str, Any], whole: Mapping[str, Any], number: int) -> Event:  # noqa: ARG001 - it stands alone
    """An error inside a stream."""
    return Event("", to_json(body))


def _call(block: Mapping[str, Any]) -> dict[str, Any]:
    asked = {"name": block["name"], "arguments": to_json(block["input"]).decode()}
    return {"id": block["id"].replace("toolu_", "call_"), "type": "function", "function": asked}


def _usage(spent: Mapping[str, Any]) -> dict[str, Any]:
    cached = spent["cache_read_input_tokens"]
    given = spent["input_tokens"] + cached + spent["cache_creation_input_tokens"]
    return {
        "prompt_tokens": given,
        "completion_tokens": spent["output_tokens"],
        "total_tokens": given + spent["output_tokens"],
        "prompt_tokens_details": {
            "cached_tokens": cached,
            "cache_write_tokens": spent["cache_creation_input_tokens"],
            "audio_tokens": 0,
        },
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _shell(whole: Mapping[str, Any]) -> dict[str, Any]:
    return {key: whole[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}


def _chunk(
    whole: Mapping[str, Any], delta: Mapping[str, Any], finish_reason: str | None = None, *, part: Part = "opening"
) -> Event:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return Event("", to_json({**_shell(whole), "choices": [choice]}), part)
