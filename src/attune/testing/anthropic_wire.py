"""The Anthropic Messages API as JSON and events: what a message, an error, a stream and a list of models look like.

Tokens are counted by one rule: a token is four characters, rounded up, at least 1 for a request and 0 for no answer.
A request's characters are its texts: the system prompt, every text and tool result of its messages, and its tools as
JSON. Shapes: https://docs.claude.com/en/api/messages and /en/api/messages-streaming (2026-11).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event; `content` marks a piece of the answer."""

    name: str
    data: bytes
    content: bool = False

    def encode(self) -> bytes:
        """The event as it stands on the wire."""
        return b"event: %b\ndata: %b\n\n" % (self.name.encode(), self.data)


def to_json(data: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()


def count_tokens(text: str) -> int:
    """Four characters are a token, rounded up."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def prompt_text(body: Mapping[str, Any]) -> str:
    """Everything of a request that is text, in order."""
    parts = [*_texts(body.get("system"))]
    messages = body.get("messages")
    for message in messages if isinstance(messages, list) else ():
        parts += _texts(message.get("content") if isinstance(message, dict) else None)
    if body.get("tools"):
        parts.append(to_json(body["tools"]).decode())
    return "\n".join(parts)


def _texts(content: Any) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict):
            yield from _texts(block.get("text"))
            yield from _texts(block.get("content"))


def usage(input_tokens: int, output_tokens: int, given: Mapping[str, int] | None = None) -> dict[str, Any]:
    """An answer's usage; `given` wins, by the API's own names."""
    return {
        "input_tokens": input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output_tokens,
        "service_tier": "standard",
        **(given or {}),
    }


def message(
    name: str, model: str, blocks: Sequence[Mapping[str, Any]], stop_reason: str | None, spent: Mapping[str, Any]
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
        "usage": dict(spent),
    }


def error(kind: str, text: str, request_id: str, error_code: str | None = None) -> dict[str, Any]:
    """An error's body, in HTTP or in an event."""
    told: dict[str, Any] = {"type": kind, "message": text}
    if error_code is not None:
        told["details"] = {"error_code": error_code}
    return {"type": "error", "error": told, "request_id": request_id}


def event(data: Mapping[str, Any], *, content: bool = False) -> Event:
    """An event named by its data's type."""
    return Event(data["type"], to_json(data), content)


def events(whole: Mapping[str, Any], pieces: int) -> Iterator[Event]:
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
            yield event({"type": "content_block_delta", "index": index, "delta": delta}, content=True)
        yield event({"type": "content_block_stop", "index": index})
    stop = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    counted = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    spent = {name: whole["usage"][name] for name in counted}
    yield event({"type": "message_delta", "delta": stop, "usage": spent})
    yield event({"type": "message_stop"})


def _block(block: Mapping[str, Any], pieces: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if block["type"] == "tool_use":
        told = to_json(block["input"]).decode()
        parts = ["", *split(told, pieces)]
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": part} for part in parts]
    return {**block, "text": ""}, [{"type": "text_delta", "text": part} for part in split(block["text"], pieces)]


def split(text: str, pieces: int) -> list[str]:
    """A text in at most so many pieces of nearly equal length, none empty."""
    size = max(1, -(-len(text) // pieces))
    return [text[at : at + size] for at in range(0, len(text), size)]


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
