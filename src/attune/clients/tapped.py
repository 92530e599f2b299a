"""The streams of the SDKs that Stainless generates: held until there is content, then watched, in place.

The instance is changed and never its class, so it stays what it was to `isinstance` and to its own helpers. No event is
understood here; that is an EventReader's business.
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections.abc import Sequence
from typing import Any

from attune.clients.dialect import EventReader, Watch
from attune.clients.watched import AsyncEvents, watched


def is_stream(value: Any, package: str) -> bool:
    """Whether it is a Stream or AsyncStream of the SDK `package`, or what its helpers make of one."""
    kind: Any = type(_raw(value))  # a plain type is hashable, though its stub says otherwise of type[Any]
    return bool(_is_stream_type(kind, package))


def _raw(value: Any) -> Any:
    """The stream inside a helper such as MessageStream, which reads it event by event."""
    return getattr(value, "_raw_stream", value)


@functools.lru_cache(maxsize=256)  # programs make classes as they go: these are kept alive here
def _is_stream_type(kind: Any, package: str) -> bool:
    return any(
        cls.__name__ in ("Stream", "AsyncStream") and cls.__module__.partition(".")[0] == package
        for cls in kind.__mro__
    )


def is_async(stream: Any) -> bool:
    """Whether its events are awaited."""
    return hasattr(type(stream), "__aiter__")


def hold(stream: Any, reader: EventReader) -> Any:
    """Take events until there is content; see `Dialect.hold`."""
    raw = _raw(stream)
    return _ahold(raw, reader) if is_async(raw) else _hold(raw, reader)


def _hold(stream: Any, reader: EventReader) -> list[Any]:
    held = []
    for event in stream._iterator:  # noqa: SLF001 - the one attribute through which both generations read
        reader.feed(event)
        held.append(event)
        if reader.content:
            break
    return held


async def _ahold(stream: Any, reader: EventReader) -> list[Any]:
    held = []
    async for event in stream._iterator:  # noqa: SLF001 - as above
        reader.feed(event)
        held.append(event)
        if reader.content:
            break
    return held


def tap(stream: Any, watch: Watch, held: Sequence[Any] = ()) -> Any:
    """Put `watch` between the stream and its reader, in place; see `Dialect.tap`.

    The instance is changed and never its class: before 1.0 the SDKs' `isinstance` knows the exact class only.
    """
    raw = _raw(stream)
    asynchronous = is_async(raw)
    raw._iterator = (AsyncEvents if asynchronous else watched)(raw._iterator, watch, held)  # noqa: SLF001 - as above
    raw.close = (_aclosing if asynchronous else _closing)(weakref.ref(raw), raw.response, watch)
    _tap_response(raw, watch, asynchronous=asynchronous)
    weakref.finalize(raw, watch.dropped).atexit = False
    return stream


def _tap_response(raw: Any, watch: Watch, *, asynchronous: bool) -> None:
    """Hear of it, too, where the response is closed in place of the stream, as openai's helpers do when they are left.

    A stream closes its response itself at its end, while its generator runs: then the end speaks for itself.
    """
    response, ref = raw.response, weakref.ref(raw)
    # The collector clears weak references before it ends a stream: then there is still the body, which holds the connection.
    inner, body = weakref.ref(response), getattr(response, "stream", None)
    running = "ag_running" if asynchronous else "gi_running"

    def leave() -> None:
        stream = ref()
        if stream is not None and not getattr(stream._iterator, running, True):  # noqa: SLF001 - as above
            watch.closed()

    def close() -> None:
        leave()
        if (it := inner()) is not None:
            type(it).close(it)
        elif body is not None:
            body.close()

    async def aclose() -> None:
        leave()
        if (it := inner()) is not None:
            await type(it).aclose(it)
        elif body is not None:
            await body.aclose()

    with contextlib.suppress(AttributeError, TypeError):  # a response that takes no attribute is watched less closely
        setattr(response, "aclose" if asynchronous else "close", aclose if asynchronous else close)


def _closing(ref: Any, response: Any, watch: Watch) -> Any:
    """`close` for one instance, by a weak reference: a dropped stream must not wait for the garbage collector.

    In `create(...).close()` the stream is gone before its `close` runs, and the response is not.
    """

    def close() -> None:
        watch.closed()
        if (stream := ref()) is not None:
            type(stream).close(stream)
        else:
            response.close()

    return close


def _aclosing(ref: Any, response: Any, watch: Watch) -> Any:
    async def close() -> None:
        watch.closed()
        if (stream := ref()) is not None:
            await type(stream).close(stream)
        else:
            await response.aclose()

    return close
