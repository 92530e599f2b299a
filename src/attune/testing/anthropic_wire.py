"""The Anthropic Messages API as JSON and events: what a message, an error, a stream and a list of models look like.

Shapes: https://docs.claude.com/en/api/messages and /en/api/messages-streaming (2026-11).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from attune.testing.wire import Event, Part, split, to_json

_UNSAID: Mapping[str, Any] = {
    "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
    "service_tier": "standard",
}
BROKEN = Event("content_block_delta", b'{"type":"content_block_delta","index":0,"delta":{"ty')


def message(
    name: str, model: str, blocks: Sequence[Mapping[str, Any]], stop_reason: str, spent: Mapping[str, Any]
) -> dict[str, Any]:
    """A whole message."""
    return {
        "id": f"msg_{name}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": list(blocks),
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {**_UNSAID, **spent},
    }


def error(kind: str, text: str, request_id: str, error_code: str | None = None) -> dict[str, Any]:
    """An error's body, in HTTP or in an event."""
    told: dict[str, Any] = {"type": kind, "message": text}
    if error_code is not None:
        told["details"] = {"error_code": error_code}
    return {"type": "error", "error": told, "request_id": request_id}


def error_event(body: Mapping[str, Any], whole: Mapping[str, Any], number: int) -> Event:  # noqa: ARG001 - it stands alone
    """An error inside a stream."""
    return Event("error", to_json(body))


def event(data: Mapping[str, Any], part: Part = "opening") -> Event:
    """An event named by its data's type."""
    return Event(data["type"], to_json(data), part)


def events(whole: Mapping[str, Any], pieces: int, *, usage: bool = True) -> Iterator[Event]:  # noqa: ARG001 - always told
    """The events that tell a whole message as a stream, each block's content in at most so many pieces."""
    opening = {**whole, "content": [], "stop_reason": None, "usage": {**whole["usage"], "output_tokens": 1}}
    yield event({"type": "message_start", "message": opening})
    ping = event({"type": "ping"})
    if not whole["content"]:
        yield ping
    for index, block in enumerate(whole["content"]):
        start, deltas = _block(block, pieces)
        yield event({"type": "content_block_start", "index": index, "content_block": start})
        if index == 0:
            yield ping
        for delta in deltas:
            yield event({"type": "content_block_delta", "index": index, "delta": delta}, "content")
        yield event({"type": "content_block_stop", "index": index})
    stop = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    counted = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    spent = {name: whole["usage"][name] for name in counted}
    yield event({"type": "message_delta", "delta": stop, "usage": spent}, "closing")
    yield event({"type": "message_stop"}, "closing")


def _block(block: Mapping[str, Any], pieces: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if block["type"] == "tool_use":
        told = to_json(block["input"]).decode()
        parts = ["", *split(told, pieces)]
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": part} for part in parts]
    return {**block, "text": ""}, [{"type": "text_delta", "text": part} for part in split(block["text"], pieces)]


def model_info(model: str) -> dict[str, Any]:
    """One entry of the list of models."""
    return {"type": "model", "id": model, "display_name": model, "created_at": "2026-01-01T00:00:00Z"}


def model_list(models: Iterable[str]) -> dict[str, Any]:
    """The list of models, all on one page."""
    data = [model_info(model) for model in models]
    return {
        "data": data,
        "has_more": False,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }
