"""The OpenAI Responses API as JSON and events, in the terms of the Anthropic one, which the scripts are written in.

Shapes: https://platform.openai.com/docs/api-reference/responses and /responses-streaming (2026-11). A refusal is a part of
the message; an error inside a stream is told as `response.failed`, which the SDK hands on like any other event.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attune.testing import openai_wire
from attune.testing.wire import Event, Part, split, to_json

BROKEN = Event("response.output_text.delta", b'{"type":"response.output_text.delta","item_id":"msg","del')

_CUT: Mapping[str, str] = {"max_tokens": "max_output_tokens"}  # why an answer is not whole; all else is complete
_UNSAID: Mapping[str, Any] = {
    "instructions": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
}


def message(
    name: str, model: str, blocks: Sequence[Mapping[str, Any]], stop_reason: str, spent: Mapping[str, Any]
) -> dict[str, Any]:
    """A whole response."""
    cut = _CUT.get(stop_reason)
    output = [_item(name, at, block, stop_reason) for at, block in enumerate(blocks)]
    if not output and stop_reason == "refusal":
        output = [_item(name, 0, {"type": "text", "text": "I cannot help with that."}, stop_reason)]
    return {
        **_UNSAID,
        "id": f"resp_{name}",
        "object": "response",
        "created_at": openai_wire.CREATED,
        "model": model,
        "status": "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": cut} if cut else None,
        "output": output,
        "usage": _usage(spent),
    }


def events(whole: Mapping[str, Any], pieces: int, *, usage: bool = True) -> Iterator[Event]:  # noqa: ARG001 - always told
    """The events that tell a whole response as a stream, each item's content in at most so many pieces."""
    opening = {**whole, "status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
    told: list[tuple[str, dict[str, Any], Part]] = [
        ("response.created", {"response": opening}, "opening"),
        ("response.in_progress", {"response": opening}, "opening"),
    ]
    for index, item in enumerate(whole["output"]):
        told += _told(index, item, pieces)
    told.append((f"response.{whole['status']}", {"response": whole}, "closing"))
    for number, (kind, data, part) in enumerate(told):
        yield event(kind, number, data, part)


def event(kind: str, number: int, data: Mapping[str, Any], part: Part = "opening") -> Event:
    """An event named by its type."""
    return Event(kind, to_json({"type": kind, "sequence_number": number, **data}), part)


def error(kind: str, text: str, request_id: str, error_code: str | None = None) -> dict[str, Any]:
    """An error's body: that of every OpenAI API."""
    return openai_wire.error(kind, text, request_id, error_code)


def error_event(body: Mapping[str, Any], whole: Mapping[str, Any], number: int) -> Event:
    """An error inside a stream: the response that it belongs to has failed."""
    told = body["error"]
    reason = {"code": told["code"] or told["type"], "message": told["message"]}
    failed = {**whole, "status": "failed", "error": reason, "incomplete_details": None, "output": [], "usage": None}
    return event("response.failed", number, {"response": failed})


def _item(name: str, at: int, block: Mapping[str, Any], stop_reason: str) -> dict[str, Any]:
    if block["type"] == "tool_use":
        return {
            "type": "function_call",
            "id": f"fc_{name}_{at}",
            "call_id": block["id"].replace("toolu_", "call_"),
            "name": block["name"],
            "arguments": to_json(block["input"]).decode(),
            "status": "completed",
        }
    text: dict[str, Any] = {"type": "output_text", "text": block["text"], "annotations": [], "logprobs": []}
    if stop_reason == "refusal":
        text = {"type": "refusal", "refusal": block["text"]}
    status = "incomplete" if stop_reason in _CUT else "completed"
    return {"type": "message", "id": f"msg_{name}_{at}", "role": "assistant", "status": status, "content": [text]}


def _told(index: int, item: Mapping[str, Any], pieces: int) -> list[tuple[str, dict[str, Any], Part]]:
    at = {"output_index": index}
    here = {**at, "item_id": item["id"]}
    begun = {**item, "status": "in_progress", **({"content": []} if "content" in item else {"arguments": ""})}
    told: list[tuple[str, dict[str, Any], Part]] = [("response.output_item.added", {**at, "item": begun}, "opening")]
    if item["type"] == "function_call":
        kind = "response.function_call_arguments"
        told += [(f"{kind}.delta", {**here, "delta": part}, "content") for part in split(item["arguments"], pieces)]
        told.append((f"{kind}.done", {**here, "name": item["name"], "arguments": item["arguments"]}, "opening"))
    else:
        told += _texts({**here, "content_index": 0}, item["content"][0], pieces)
    return [*told, ("response.output_item.done", {**at, "item": dict(item)}, "opening")]


def _texts(here: Mapping[str, Any], part: Mapping[str, Any], pieces: int) -> list[tuple[str, dict[str, Any], Part]]:
    key = "refusal" if part["type"] == "refusal" else "text"
    kind = "response.refusal" if key == "refusal" else "response.output_text"
    more: dict[str, Any] = {} if key == "refusal" else {"logprobs": []}
    deltas = [(f"{kind}.delta", {**here, **more, "delta": piece}) for piece in split(part[key], pieces)]
    return [
        ("response.content_part.added", {**here, "part": {**part, key: ""}}, "opening"),
        *((name, data, "content") for name, data in deltas),
        (f"{kind}.done", {**here, **more, key: part[key]}, "opening"),
        ("response.content_part.done", {**here, "part": dict(part)}, "opening"),
    ]


def _usage(spent: Mapping[str, Any]) -> dict[str, Any]:
    read, written = spent["cache_read_input_tokens"], spent["cache_creation_input_tokens"]
    given = spent["input_tokens"] + read + written
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
        "output_tokens": spent["output_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": given + spent["output_tokens"],
    }
