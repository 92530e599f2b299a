"""Handing events on under a watch: one generator for sync streams, one for async ones; and likewise for users' generators.

Whatever ends the stream, the watch hears of it exactly here: the end, an error, or that nobody reads any more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Sequence
from typing import Any

from attune.clients.dialect import Watch


def watched(events: Any, watch: Watch, held: Sequence[Any] = ()) -> Iterator[Any]:
    """Hand out `held`, then the events of a generator, telling `watch` of each of the latter and of the end."""
    try:
        yield from held
        for event in events:
            watch.event(event)
            yield event
    except GeneratorExit:
        watch.dropped()  # by the collector, perhaps: an explicit close has spoken before
        events.close()
        raise
    except BaseException as error:
        watch.broken(error)
        raise
    if (cut := watch.finished()) is not None:
        raise cut


async def awatched(events: Any, watch: Watch, held: Sequence[Any] = ()) -> AsyncIterator[Any]:
    """The same for an async generator."""
    try:
        for event in held:
            yield event
        async for event in events:
            watch.event(event)
            yield event
    except GeneratorExit:
        watch.dropped()  # as above; the loop closes `events` when nobody holds it, as it does bare
        raise
    except BaseException as error:
        watch.broken(error)
        raise
    if (cut := watch.finished()) is not None:
        raise cut


class AsyncEvents:
    """The same for an async stream of an SDK, and no generator: the loop closes those that are dropped, each in a turn of its
    own, and so the SDK's would be closed a turn later than bare, when its client may be closing it, too.

    Who drops it is heard of elsewhere.
    """

    __slots__ = ("__weakref__", "_events", "_held", "_watch")

    def __init__(self, events: Any, watch: Watch, held: Sequence[Any] = ()) -> None:
        self._events = events
        self._watch = watch
        self._held = deque(held)

    @property
    def ag_running(self) -> bool:
        """Whether the SDK's generator is running, by its own word."""
        return bool(getattr(self._events, "ag_running", False))

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if self._held:
            return self._held.popleft()
        try:
            event = await self._events.__anext__()
        except StopAsyncIteration:
            if (cut := self._watch.finished()) is not None:
                raise cut from None
            raise
        except BaseException as error:
            self._watch.broken(error)
            raise
        self._watch.event(event)
        return event


class Ended(list[Any]):
    """The held items of a generator that gave none; `value` is what it returned."""

    value: Any = None


def conversed(items: Any, watch: Watch, held: Sequence[Any] = ()) -> Generator[Any, Any, Any]:
    """The same for a generator that somebody wrote: what is sent or thrown in reaches it, what it returns comes out.

    Its body runs inside `watch.step()`, and nothing between two items does.
    """
    ahead, value = list(held), getattr(held, "value", None)
    turn, word = items.send, None
    try:
        while not isinstance(held, Ended):
            if ahead:
                item = ahead.pop(0)
            else:
                with watch.step():
                    item = turn(word)
                watch.event(item)
            try:
                turn, word = items.send, (yield item)
            except GeneratorExit:
                watch.dropped()  # as above
                with watch.step():
                    items.close()
                raise
            except BaseException as thrown:  # noqa: BLE001 - the body decides what becomes of it
                turn, word = items.throw, thrown
    except GeneratorExit:
        raise
    except StopIteration as end:
        value = end.value
    except BaseException as error:
        watch.broken(error)
        raise
    if (cut := watch.finished()) is not None:
        raise cut
    return value


async def aconversed(items: Any, watch: Watch, held: Sequence[Any] = ()) -> AsyncGenerator[Any, Any]:
    """The same for an async generator."""
    ahead = list(held)
    turn, word = items.asend, None
    try:
        while not isinstance(held, Ended):
            if ahead:
                item = ahead.pop(0)
            else:
                with watch.step():
                    item = await turn(word)
                watch.event(item)
            try:
                turn, word = items.asend, (yield item)
            except GeneratorExit:
                watch.dropped()  # as above
                if not items.ag_running:  # the loop closes it already, where the collector found both
                    with watch.step():
                        await items.aclose()
                raise
            except BaseException as thrown:  # noqa: BLE001 - as above
                turn, word = items.athrow, thrown
    except GeneratorExit:
        raise
    except StopAsyncIteration:
        pass
    except BaseException as error:
        watch.broken(error)
        raise
    if (cut := watch.finished()) is not None:
        raise cut
