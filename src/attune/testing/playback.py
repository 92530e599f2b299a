"""From a step, a behaviour and a fate to what is sent when: frames of bytes with waits before them, and an ending.

Pure: no socket, no clock. `server.py` plays what is made here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from attune.testing.behaviour import Behaviour
from attune.testing.fate import Fate
from attune.testing.http_wire import LAST_CHUNK, chunk, head
from attune.testing.script import BAD, GOOD, Step
from attune.testing.wire import CHARACTERS_PER_TOKEN, Event, Wire, count_tokens, to_json

Ending = Literal["keep", "close", "reset", "hang"]


@dataclass(frozen=True, slots=True)
class Playback:
    """What one request is answered with.

    `frames` are (seconds to wait, bytes); then the connection is kept, closed, reset, or left hanging for `seconds`.
    `status` is None where no headers are sent. `good` and the token counts speak of whole answers only.
    """

    frames: Sequence[tuple[float, bytes]] = ()
    ending: Ending = "keep"
    status: int | None = None
    seconds: float = 0.0
    good: bool | None = None
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What matters of a request: `name` tells it from all others, `topic` is what its prompt is about.

    `tell_usage`: a stream is to tell its token counts, where the dialect leaves that to the client.
    """

    wire: Wire
    name: str
    model: str
    stream: bool
    max_tokens: int
    input_tokens: int
    topic: str | None = None
    tell_usage: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer in the dialect's shape, and what is known of it."""

    whole: Mapping[str, Any]
    spent: Mapping[str, Any]
    good: bool | None

    @property
    def facts(self) -> dict[str, Any]:
        """What a Playback tells of it."""
        counts = {name: self.spent[name] for name in ("input_tokens", "output_tokens")}
        return {"good": self.good, **counts}


def simple(status: int, body: Any, name: str, extra: Mapping[str, str] | None = None, wait_s: float = 0.0) -> Playback:
    """One JSON response, whole and at once."""
    return Playback(((wait_s, _whole(status, to_json(body), name, extra)),), status=status)


def perform(step: Step, behaviour: Behaviour, fate: Fate, ask: Ask) -> Playback:
    """Everything that will be seen of one request."""
    if step.act == "refuse" or (step.act in ("cut", "hang") and step.after is None):
        ending: Ending = {"refuse": "reset", "cut": "close"}.get(step.act, "hang")  # type: ignore[assignment]
        return Playback(((_wait(step.delay_ms), b""),), ending, seconds=step.seconds)
    if step.act == "fail" or (step.act == "stream_error" and not ask.stream):
        return _failure(step, ask)
    answer = _answer(step, behaviour, fate, ask)
    slowness = math.exp(behaviour.spread * fate.slowness) / 1000
    if ask.stream:
        return _stream(step, behaviour, slowness, ask, answer)
    return _body(step, _wait(step.delay_ms, behaviour.latency_ms * slowness), ask, answer)


def _wait(delay_ms: float | None, usual_s: float = 0.0) -> float:
    return usual_s if delay_ms is None else delay_ms / 1000


def _whole(status: int, body: bytes, name: str, extra: Mapping[str, str] | None = None) -> bytes:
    headers = {"content-type": "application/json", "request-id": f"req_{name}", **(extra or {})}
    return head(status, {**headers, "content-length": str(len(body))}) + body


def _failure(step: Step, ask: Ask) -> Playback:
    extra = {}
    if step.retry_after_s is not None:
        extra["retry-after"] = f"{step.retry_after_s:g}"
    if step.should_retry is not None:
        extra["x-should-retry"] = str(step.should_retry).lower()
    body = ask.wire.error(step.error_type, step.message, f"req_{ask.name}", step.error_code)
    return simple(step.status, body, ask.name, extra, _wait(step.delay_ms))


def _answer(step: Step, behaviour: Behaviour, fate: Fate, ask: Ask) -> Answer:
    good, text = None, step.text
    if text is None:
        good = step.good if step.good is not None else fate.good < behaviour.chance_of_good(ask.topic)
        text = _fit(f"{GOOD if good else BAD} {behaviour.text}", behaviour.output_tokens)
    stop_reason = step.stop_reason
    limit = ask.max_tokens * CHARACTERS_PER_TOKEN
    if len(text) > limit:
        text, stop_reason = text[:limit], "max_tokens"
    blocks: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    told = text
    if step.tool is not None:
        given = dict(step.tool_input or {})
        blocks.append({"type": "tool_use", "id": f"toolu_{ask.name}", "name": step.tool, "input": given})
        told += to_json(given).decode()
    counts = {"input_tokens": ask.input_tokens, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    spent = {**counts, "output_tokens": count_tokens(told), **(step.usage or {})}
    whole = ask.wire.message(ask.name, ask.model, blocks, stop_reason, spent)
    return Answer(whole=whole, spent=spent, good=good)


def _fit(text: str, tokens: int | None) -> str:
    if tokens is None:
        return text
    size = tokens * CHARACTERS_PER_TOKEN
    return (text + " " + text * (size // len(text)))[:size]


def _body(step: Step, wait_s: float, ask: Ask, answer: Answer) -> Playback:
    body = to_json(answer.whole)
    if step.act == "answer":
        return Playback(((wait_s, _whole(200, body, ask.name)),), status=200, **answer.facts)
    half = body[: len(body) // 2]
    if step.act in ("truncate", "malformed"):
        return Playback(((wait_s, _whole(200, half, ask.name)),), status=200)
    ending: Ending = "close" if step.act == "cut" else "hang"
    return Playback(((wait_s, _whole(200, body, ask.name)[: -len(half)]),), ending, 200, step.seconds)


def _stream(step: Step, behaviour: Behaviour, slowness: float, ask: Ask, answer: Answer) -> Playback:
    events = list(ask.wire.events(answer.whole, behaviour.chunks, usage=ask.tell_usage))
    if step.act != "answer":
        events = events[: _position(events, step.after)]
    if step.act == "stream_error":
        told = ask.wire.error(step.error_type, step.message, f"req_{ask.name}", step.error_code)
        events.append(ask.wire.error_event(told, answer.whole, len(events)))
    elif step.act == "malformed":
        events.append(ask.wire.BROKEN)
    first_ms = behaviour.latency_ms if behaviour.first_ms is None else behaviour.first_ms
    first_s = _wait(step.delay_ms, first_ms * slowness)
    opening = head(
        200,
        {
            "content-type": "text/event-stream; charset=utf-8",
            "cache-control": "no-cache",
            "request-id": f"req_{ask.name}",
            "transfer-encoding": "chunked",
        },
    )
    broken = step.act in ("cut", "hang")
    frames = _frames(opening, first_s, behaviour.chunk_ms * slowness, events, b"" if broken else LAST_CHUNK)
    if broken:
        return Playback(frames, "close" if step.act == "cut" else "hang", 200, step.seconds)
    return Playback(frames, status=200, **(answer.facts if step.act == "answer" else {}))


def _position(events: Sequence[Event], after: int | None) -> int:
    """Where a stream breaks off: before its piece of content number `after`, or before its closing words."""
    if after is None:
        return 0
    pieces = [at for at, event in enumerate(events) if event.part == "content"]
    if after < len(pieces):
        return pieces[after]
    return pieces[-1] + 1 if pieces else next(at for at, event in enumerate(events) if event.part == "closing")


def _frames(
    opening: bytes, first_s: float, chunk_s: float, events: Sequence[Event], closing: bytes
) -> list[tuple[float, bytes]]:
    """The frames of a stream; what needs no wait of its own goes along with what stands before it."""
    frames: list[tuple[float, bytes]] = []
    wait_s, held = first_s, [opening]
    for event in events:
        if event.part == "content" and chunk_s > 0:
            frames.append((wait_s, b"".join(held)))
            wait_s, held = chunk_s, []
        held.append(chunk(event.encode()))
    return [*frames, (wait_s, b"".join([*held, closing]))]
