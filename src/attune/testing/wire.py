"""What every dialect of a scripted provider shares: events, JSON, how tokens are counted, and what a dialect must say.

Tokens are counted by one rule: a token is four characters, rounded up, at least 1 for a request and 0 for no answer.
A request's characters are its texts: the system prompt or instructions, every text and tool result of its messages or
input, and its tools as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

CHARACTERS_PER_TOKEN = 4
Part = Literal["opening", "content", "closing"]


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event; without a name only its data is sent. `part` says where in the answer it belongs."""

    name: str
    data: bytes
    part: Part = "opening"

    def encode(self) -> bytes:
        """The event as it stands on the wire."""
        if not self.name:
            return b"data: %b\n\n" % self.data
        return b"event: %b\ndata: %b\n\n" % (self.name.encode(), self.data)


class Wire(Protocol):
    """A dialect: a module with these functions. `spent` has the Anthropic API's names, whatever the dialect's are."""

    BROKEN: Event

    def message(
        self, name: str, model: str, blocks: Sequence[Mapping[str, Any]], stop_reason: str, spent: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A whole answer of text and tool_use blocks."""
        ...

    def events(self, whole: Mapping[str, Any], pieces: int, *, usage: bool) -> Iterator[Event]:
        """The same as a stream, its texts in at most so many pieces; `usage`: the request asked for counts."""
        ...

    def error(self, kind: str, text: str, request_id: str, error_code: str | None = None) -> dict[str, Any]:
        """An error's body; `kind` is the Anthropic API's word for it."""
        ...

    def error_event(self, body: Mapping[str, Any], whole: Mapping[str, Any], number: int) -> Event:
        """An error inside the stream of this answer, as its event of this number."""
        ...


def to_json(data: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()


def count_tokens(text: str) -> int:
    """Four characters are a token, rounded up."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def prompt_text(body: Mapping[str, Any]) -> str:
    """Everything of a request that is text, in order."""
    parts = [*_texts(body.get("system")), *_texts(body.get("instructions"))]
    messages = body.get("messages", body.get("input"))
    if isinstance(messages, str):
        parts.append(messages)
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict):
            parts += [*_texts(message.get("content")), *_texts(message.get("output"))]
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


def split(text: str, pieces: int) -> list[str]:
    """A text in at most so many pieces of nearly equal length, none empty."""
    size = max(1, -(-len(text) // pieces))
    return [text[at : at + size] for at in range(0, len(text), size)]
