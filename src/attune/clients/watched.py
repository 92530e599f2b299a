"""Handing events on under a watch: one generator for sync streams, one for async ones.

Whatever ends the stream, the watch hears of it exactly here: the end, an error, or that nobody reads any more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
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
        watch.dropped()  # as above
        await events.aclose()
        raise
    except BaseException as error:
        watch.broken(error)
        raise
    if (cut := watch.finished()) is not None:
        raise cut
