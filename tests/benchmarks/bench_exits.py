"""What 100,000 dropped streams and 100,000 cancelled calls leave behind: nothing. Answered from memory, told as spans.

Run: python tests/benchmarks/bench_exits.py [CALLS]. Every figure that is not back where it was after the warm-up is a leak,
and the exit status 1. Memory may differ by 4 MB: the allocator's affair, and 20 bytes a call at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import itertools
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

import attune
from attune.testing import FakeClock

http: Any = getattr(anthropic._base_client, "httpx2", None) or anthropic._base_client.httpx

MODEL = "claude-haiku-5-5"
BODY: dict[str, Any] = {"max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
DELTA = 'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}\n\n'
START = (
    'event: message_start\ndata: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":'
    '"claude-haiku-5-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}}'
    "\n\n"
)
EVENTS = [START, DELTA, DELTA, DELTA]
BATCH = 500
MEMORY_BYTES = 4_000_000
EVIDENCE = 50  # objects of what is remembered for all calls together: figures, circuits, the newest snapshots


class Bytes(http.SyncByteStream):  # type: ignore[misc]  # whichever generation of the HTTP library is there
    """A body that knows whether it was given back."""

    given_back = False

    def __iter__(self) -> Iterator[bytes]:
        for event in EVENTS:
            yield event.encode()

    def close(self) -> None:
        """Given back, once."""
        BODIES["closed"] += not self.given_back
        self.given_back = True


class ABytes(http.AsyncByteStream):  # type: ignore[misc]  # as above
    """The same, with a turn for the loop before each event."""

    given_back = False

    async def __aiter__(self) -> Any:
        for event in EVENTS:
            await asyncio.sleep(0)
            yield event.encode()

    async def aclose(self) -> None:
        """Given back, once."""
        BODIES["closed"] += not self.given_back
        self.given_back = True


BODIES: Counter[str] = Counter()
EVENT: Any = anthropic.types.RawMessageStreamEvent
POST = http.Request("POST", "http://127.0.0.1:9/v1/messages")


class Anthropic(anthropic.Anthropic):
    """The real client and its real streams, answering from memory."""

    def request(self, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:
        """No wire."""
        BODIES["opened"] += 1
        return stream_cls(cast_to=EVENT, response=http.Response(200, stream=Bytes(), request=POST), client=self)


class AsyncAnthropic(anthropic.AsyncAnthropic):
    """The same, with turns for the loop on the way, and every third request to be tried again."""

    asked = itertools.count()

    async def request(self, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:
        """No wire."""
        for _ in range(3):
            await asyncio.sleep(0)
        if not stream and next(self.asked) % 3 == 0:
            busy = http.Response(409, json={"type": "error", "error": {"type": "conflict_error"}}, request=POST)
            raise self._make_status_error_from_response(busy)
        if not stream:
            await asyncio.Event().wait()  # nobody answers: cancelled here, or on the way here
        BODIES["opened"] += 1
        return stream_cls(cast_to=EVENT, response=http.Response(200, stream=ABytes(), request=POST), client=self)


class Counted(SpanProcessor):
    """Spans begun and ended."""

    def __init__(self) -> None:
        self.begun = self.ended = 0

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """One more under way."""
        self.begun += 1

    def on_end(self, span: Any) -> None:
        """One less."""
        self.ended += 1


class Books:
    """What is there now, and what was."""

    def __init__(self) -> None:
        self.spans = Counted()
        tracer = TracerProvider(shutdown_on_exit=False)
        tracer.add_span_processor(self.spans)
        self.runtime = attune.configure(
            state="memory", readers=(), clock=FakeClock(), tracer_provider=tracer, explore=False
        )
        self.permits: list[Any] = []
        self.taken = self.told = 0
        self.outcomes: Counter[str] = Counter()
        self.turn: Callable[[], None] = lambda: None  # of the loop: it closes generators that the collector found
        acquire = self.runtime.circuits.acquire

        def kept(*args: Any, **words: Any) -> Any:
            permit = acquire(*args, **words)
            if hasattr(permit, "done"):
                self.permits.append(permit)
            return permit

        self.runtime.circuits.acquire = kept  # type: ignore[method-assign]  # counted, else as it was

    def batch(self, run: Callable[[], None]) -> None:
        """Run some calls, and look at what each of them left."""
        with attune.capture() as calls:
            run()
            gc.collect()
            self.runtime.settle_abandoned()
        self.told += len(calls)
        self.outcomes.update(call.outcome for call in calls)
        self.taken += sum(not permit.done for permit in self.permits)
        self.permits.clear()

    def now(self) -> dict[str, int]:
        """The figures that must not grow."""
        for _ in range(3):
            gc.collect()
            self.turn()
            self.runtime.settle_abandoned()
        kinds = Counter(type(it) for it in gc.get_objects() if str(type(it).__module__).startswith("attune."))
        objects = {f"{kind.__module__}.{kind.__qualname__}": n for kind, n in kinds.items()}
        descriptors = Path("/proc/self/fd")
        return {
            **objects,
            "spans under way": self.spans.begun - self.spans.ended,
            "permits not given back": self.taken,
            "bodies not closed": BODIES["opened"] - BODIES["closed"],
            "file descriptors": len(list(descriptors.iterdir())) if descriptors.is_dir() else 0,
            "threads": threading.active_count(),
            "faults": sum(self.runtime.faults.values()),
        }


def drop(client: Any, number: int) -> None:
    """Leave one stream, in one of seven manners."""
    pinned = number // 7 % 2
    stream = client.messages.create(model=("auto", MODEL)[pinned], stream=True, **BODY)
    match number % 7:
        case 0:  # never read: the SDK gives a body back only once it was begun, as it is where there is another target
            BODIES["closed"] += pinned
        case 1:
            next(iter(stream))
        case 2:
            for event in stream:
                if event.type == "content_block_delta":
                    break
        case 3:
            next(stream)
            stream.close()
        case 4:
            with contextlib.suppress(KeyError), stream:
                raise KeyError
        case 5:
            next(stream)
            stream.myself = stream  # a cycle: the collector's
        case 6:
            texts = (event for event in stream)
            next(texts)
            texts.close()


async def adrop(client: Any, number: int) -> None:
    """The same for an async one."""
    pinned = number // 6 % 2
    stream = await client.messages.create(model=("auto", MODEL)[pinned], stream=True, **BODY)
    match number % 6:
        case 0:
            BODIES["closed"] += pinned
        case 1:
            await anext(aiter(stream))
        case 2:
            async for event in stream:
                if event.type == "content_block_delta":
                    break
        case 3:
            await anext(stream)
            await stream.close()
        case 4:
            with contextlib.suppress(KeyError):
                async with stream:
                    raise KeyError
        case 5:
            await anext(stream)
            stream.myself = stream


async def cancel(client: Any, number: int) -> bool:
    """Cancel one call after some turns of the loop; whether it ended so."""
    words = {"stream": True} if number % 4 == 0 else {}
    task = asyncio.ensure_future(client.messages.create(model=("auto", MODEL)[number % 2], **words, **BODY))
    for _ in range(1 + number // 4 % 9):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    if task.cancelled():
        return True
    if task.exception() is None:
        await task.result().close()  # it was there first
    return False


def streams(client: Any, numbers: range) -> None:
    """A batch of dropped ones."""
    for number in numbers:
        drop(client, number)


async def astreams(client: Any, numbers: range) -> None:
    """A batch of dropped async ones."""
    await asyncio.gather(*(adrop(client, number) for number in numbers))
    gc.collect()
    await asyncio.sleep(0)


async def cancels(client: Any, numbers: range) -> None:
    """A batch of cancelled calls."""
    await asyncio.gather(*(cancel(client, number) for number in numbers))


def memory_bytes() -> int:
    """Resident bytes of this process; 0 where nobody says."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def measure(name: str, books: Books, calls: int, run: Callable[[range], None]) -> list[str]:
    """Warm up, note, run, and say what grew."""
    for at in range(0, 4 * BATCH, BATCH):
        books.batch(lambda at=at: run(range(at, at + BATCH)))  # type: ignore[misc]  # mypy infers no defaulted lambda
    books.outcomes.clear()
    before, resident, told, began = books.now(), memory_bytes(), books.told, time.perf_counter()
    for at in range(0, calls, BATCH):
        books.batch(lambda at=at: run(range(at, at + BATCH)))  # type: ignore[misc]  # as above
    took = time.perf_counter() - began
    after, grown = books.now(), memory_bytes() - resident
    leaks = [
        f"{what}: {before.get(what, 0)} -> {n}"
        for what, n in after.items()
        if n > before.get(what, 0) + (EVIDENCE if what.startswith("attune.models.") else 0)
    ]
    if books.told - told > calls or (name != "calls cancelled" and books.told - told != calls):
        leaks.append(f"calls told: {books.told - told} of {calls}")
    if grown > MEMORY_BYTES:
        leaks.append(f"memory: {grown / 1e6:.1f} MB more")
    outcomes = ", ".join(f"{n} {what}" for what, n in sorted(books.outcomes.items()))
    print(
        f"{name:24} {calls:7} in {took:5.1f} s, {took / calls * 1e6:5.0f} us each; {outcomes}; memory {grown / 1e6:+.1f} MB"
    )
    print("".join(f"  LEAK {leak}\n" for leak in leaks) or "  nothing left\n", end="")
    return leaks


def main(calls: int = 100_000) -> int:
    """Measure, print, and say whether anything leaks."""
    gc.collect()
    gc.freeze()  # what is imported by now is not looked at again
    books = Books()
    where = {"api_key": "k", "base_url": "http://127.0.0.1:9"}
    candidates = [MODEL, "claude-sonnet-5-5"]
    guarded = attune.wrap(Anthropic(**where), candidates=candidates)
    leaks = measure("streams dropped", books, calls // 2, lambda numbers: streams(guarded, numbers))
    with asyncio.Runner() as runner:
        books.turn = lambda: runner.run(asyncio.sleep(0.001))
        later = attune.wrap(AsyncAnthropic(**where), candidates=candidates)

        def run(work: Any) -> Callable[[range], None]:
            return lambda numbers: runner.run(work(later, numbers), context=contextvars.copy_context())

        leaks += measure("async streams dropped", books, calls // 2, run(astreams))
        leaks += measure("calls cancelled", books, calls, run(cancels))
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:2])))
