"""Raw responses whose body the caller will read himself: watched where the bytes pass, so that they are judged at its end.

Nothing of the response changes but two methods of this one instance, so it stays what it was to `isinstance` and to the
SDK's own `parse`. Lines that carry a piece of text alone are not parsed a second time. What the body says is for a dialect's
readers to understand.
"""

from __future__ import annotations

import contextlib
import functools
import json
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any, Final

from attune.clients import event_frames
from attune.clients.dialect import NOTHING, EventReader, Facts, Watch
from attune.clients.watched import awatched, watched

_KEPT: Final = 4_000_000  # bytes of a whole answer that are kept to be read; a longer one says nothing


def is_raw(value: Any) -> bool:
    """Whether it is a raw response of such an SDK. By its class: to ask a message for what it has not costs 4 us."""
    kind: Any = type(value)  # a plain type is hashable, though its stub says otherwise of type[Any]
    return bool(_is_raw_type(kind))


@functools.lru_cache(maxsize=256)  # programs make classes as they go: these are kept alive here
def _is_raw_type(kind: Any) -> bool:
    return any(cls.__name__.endswith("APIResponse") for cls in kind.__mro__)


def body_of(value: Any) -> Any:
    """The HTTP response inside a raw response that nobody has read yet, None for anything else."""
    response = value.http_response if is_raw(value) else None
    return response if response is not None and getattr(response, "is_closed", True) is False else None


def reader_of(
    response: Any, events: EventReader, read: Callable[[Any], Facts], plain: tuple[bytes, ...]
) -> EventReader:
    """A reader of the body's chunks. Each of `plain` marks lines of a stream that hold a piece of the answer alone."""
    kind = str(response.headers.get("content-type", ""))
    if kind.startswith(event_frames.TYPE):
        return event_frames.EventFrames(events)
    return EventLines(events, plain) if kind.startswith("text/event-stream") else WholeBody(read, "json" in kind)


class EventLines:
    """Server-sent events as bytes, handed to an SDK's event reader as plain names."""

    __slots__ = ("_events", "_plain", "_rest")

    def __init__(self, events: EventReader, plain: tuple[bytes, ...]) -> None:
        self._events = events
        self._plain = plain
        self._rest: list[bytes] = []

    @property
    def content(self) -> bool:
        """As the events' reader says."""
        return self._events.content

    @property
    def done(self) -> bool:
        """As the events' reader says."""
        return self._events.done

    @property
    def text(self) -> str:
        """Not kept: what was not parsed cannot be told."""
        return ""

    def feed(self, event: Any) -> None:
        """Take a chunk of bytes in."""
        self._rest.append(event)
        if b"\n" not in event:
            return
        *lines, rest = b"".join(self._rest).split(b"\n")
        self._rest = [rest]
        for line in lines:
            if line.startswith(b"data:") and not (self._events.content and any(it in line for it in self._plain)):
                with contextlib.suppress(ValueError):  # `[DONE]`, or what the caller will be told of
                    self._events.feed(json.loads(line[5:], object_hook=_named))

    def facts(self) -> Facts:
        """As the events' reader says."""
        return self._events.facts()


class WholeBody:
    """One answer as bytes, read when it has ended."""

    __slots__ = ("_chunks", "_json", "_left", "_read")

    content = False  # a whole answer has no first piece
    text = ""

    def __init__(self, read: Callable[[Any], Facts], is_json: bool) -> None:
        self._read = read
        self._json = is_json
        self._chunks: list[bytes] = []
        self._left = _KEPT

    @property
    def done(self) -> bool:
        """Whether what came is whole; what cannot be told counts as whole."""
        return not self._json or self._left < 0 or self._answer() is not None

    def feed(self, event: Any) -> None:
        """Take a chunk of bytes in."""
        self._left -= len(event)
        if self._left >= 0:
            self._chunks.append(event)

    def facts(self) -> Facts:
        """What the dialect reads in it."""
        answer = self._answer() if self._json and self._left >= 0 else None
        return NOTHING if answer is None else self._read(answer)

    def _answer(self) -> Any:
        try:
            return json.loads(b"".join(self._chunks), object_hook=_named)
        except (ValueError, RecursionError):  # RecursionError: nested too deeply to be read here
            return None


def _named(fields: dict[str, Any]) -> SimpleNamespace:
    return SimpleNamespace(**fields)


def _another(kind: Any, state: dict[str, Any]) -> Any:
    it = object.__new__(kind)
    vars(it).update(state)
    return it


def tap(response: Any, watch: Watch) -> None:
    """Let `watch` see the chunks that are read of a response, and its end: read to it, broken, closed, or dropped."""
    ref: Any = weakref.ref(response)
    kind, state = type(response), dict(vars(response))
    reading: list[Any] = []  # the generator that reads, by a weak reference: nothing here may keep the response alive
    noted: list[bool] = [True] if kind.__module__.partition(".")[0] == "httpx" else []  # whose generators close nothing

    def held() -> Any:
        """The response; where only a method of it is held, as in `response().iter_bytes()`, the same body in another."""
        return it if (it := ref()) is not None else _another(kind, state)

    def iter_bytes(chunk_size: int | None = None) -> Iterator[bytes]:
        chunks = watched(kind.iter_bytes(held(), chunk_size), watch)
        reading[:] = [weakref.ref(chunks)]
        return chunks

    def aiter_bytes(chunk_size: int | None = None) -> AsyncIterator[bytes]:
        chunks = awatched(kind.aiter_bytes(held(), chunk_size), watch)
        reading[:] = [weakref.ref(chunks)]
        return chunks

    def left() -> None:
        """Closed by the caller; at its end a body closes itself, while its generator runs."""
        chunks = reading[0]() if reading else None
        if reading and chunks is None and not noted:
            noted.append(True)
            watch.dropped()  # the generator is gone or going: this may be its finalizer, which closes the body
        elif not (getattr(chunks, "gi_running", False) or getattr(chunks, "ag_running", False)):
            watch.closed()

    def close() -> None:
        left()
        kind.close(held())

    async def aclose() -> None:
        left()
        await kind.aclose(held())

    for put in (iter_bytes, aiter_bytes, close, aclose):
        setattr(response, put.__name__, put)
    weakref.finalize(response, watch.dropped).atexit = False
