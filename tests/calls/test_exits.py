"""Every way out of a call and of a stream: permit, observation, span and record are there exactly once."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import pytest
from calls.ways import BODY, HAIKU, Bench, Ledger, Way

import attune
from attune.testing import Sandbox, fail, truncate

http = getattr(anthropic._base_client, "httpx2", None) or anthropic._base_client.httpx

OPENING = [
    {"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": HAIKU,
     "content": [], "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
]  # fmt: skip
REST = [
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "one "}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "two"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]  # fmt: skip
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": HAIKU, "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 1},
}  # fmt: skip


def sse(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


class Slow(http.AsyncByteStream):
    """A body that gives the event loop a turn before each event."""

    def __init__(self, events: list[Any]) -> None:
        self._events = events

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for event in self._events:
            await asyncio.sleep(0)
            yield sse(event)

    async def aclose(self) -> None:
        await asyncio.sleep(0)


class Transport(http.AsyncBaseTransport):
    """Overloaded first, then an answer, in memory, with turns for the loop in between: each await can be cancelled."""

    def __init__(self, failures: int) -> None:
        self._failures = failures

    async def handle_async_request(self, request: Any) -> Any:
        for _ in range(3):
            await asyncio.sleep(0)
        if self._failures:
            self._failures -= 1
            return http.Response(529, json={"type": "error", "error": {"type": "overloaded_error", "message": "busy"}})
        if json.loads(request.content).get("stream"):
            return http.Response(200, headers={"content-type": "text/event-stream"}, stream=Slow([*OPENING, *REST]))
        return http.Response(200, json=MESSAGE)


def aclient(transport: Any) -> Any:
    return anthropic.AsyncAnthropic(api_key="k", http_client=http.AsyncClient(transport=transport, verify=False))


async def converse(client: Any, model: str, stream: bool) -> str:
    if not stream:
        return (await client.messages.create(model=model, **BODY)).content[0].text
    return "".join(
        [
            event.delta.text
            async for event in await client.messages.create(model=model, stream=True, **BODY)
            if event.type == "content_block_delta"
        ]
    )


async def cancelled_after(turns: int, work: Any) -> bool:
    """Cancel a task after so many turns of the loop. False if it was done by then; else it ended cancelled."""
    task = asyncio.ensure_future(work)
    for _ in range(turns):
        await asyncio.sleep(0)
        if task.done():
            await task
            return False
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled(), f"cancelled after {turns} turns, and went on"
    return True


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("model", ["auto", HAIKU])
def test_cancellation_at_every_await(attune_sandbox: Sandbox, monkeypatch, model, stream):
    """Wherever the task is cancelled, it ends cancelled, and everything that was begun is ended once."""
    ended_whole = False
    outcomes = set()
    for turns in range(1, 80):
        attune_sandbox.exporter.clear()
        attune_sandbox.configure()
        ledger = Ledger(attune_sandbox, monkeypatch)

        async def run(turns: int = turns) -> bool:
            async with aclient(Transport(failures=1)) as bare:
                return await cancelled_after(turns, converse(attune.wrap(bare), model, stream))

        with attune.capture() as records:
            cancelled = asyncio.run(run())
        gc.collect(0)
        attune_sandbox.runtime.settle_abandoned()
        assert len(records) <= 1
        ledger.check(records)
        if not cancelled:
            ended_whole = True
            assert records[0].outcome == "success"
            break
        outcomes.update(it.outcome for it in records)
    assert ended_whole
    assert outcomes == {"neutral"}


def test_cancellation_in_the_wait_before_a_retry(attune_sandbox: Sandbox):
    """The wait is not the caller's: cancelled there, the call ends there."""

    async def run() -> tuple[BaseException | None, int]:
        transport = Transport(failures=1)
        waiting = asyncio.Event()

        async def asleep(_seconds: float) -> None:
            waiting.set()
            await asyncio.Event().wait()

        attune_sandbox.clock.asleep = asleep
        async with aclient(transport) as bare:
            task = asyncio.ensure_future(converse(attune.wrap(bare), HAIKU, stream=False))
            await waiting.wait()
            task.cancel()
            done, _ = await asyncio.wait([task])
            return done.pop().cancelled(), transport._failures

    with attune.capture() as records:
        assert asyncio.run(run()) == (True, 0)
    assert [(it.outcome, it.error_type) for it in records[0].attempts] == [("failure", "overloaded")]
    assert records[0].outcome == "neutral"


def test_a_coroutine_that_is_closed(attune_sandbox: Sandbox, ledger: Ledger):
    """`close()` of a coroutine that waits for its answer is an exit like any other."""

    class Never(http.AsyncBaseTransport):
        async def handle_async_request(self, request: Any) -> Any:
            await asyncio.Event().wait()

    async def run() -> None:
        async with aclient(Never()) as bare:
            work = converse(attune.wrap(bare), "auto", stream=False)
            context = contextvars.copy_context()
            context.run(work.send, None)
            context.run(work.close)

    with attune.capture() as records:
        asyncio.run(run())
    assert records[0].outcome == "neutral"
    ledger.check(records)


@pytest.mark.parametrize("model", ["auto", HAIKU])
@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_the_transport(attune_sandbox: Sandbox, ledger: Ledger, model, raised):
    """It passes, at once, as the same object; nothing is tried again."""
    error = raised()
    asked = []

    def handle(request: Any) -> Any:
        asked.append(request)
        raise error

    with (
        anthropic.Anthropic(
            api_key="k", http_client=http.Client(transport=http.MockTransport(handle), verify=False)
        ) as bare,
        attune.capture() as records,
        pytest.raises(raised) as seen,
    ):
        attune.wrap(bare).messages.create(model=model, **BODY)
    assert seen.value is error
    assert len(asked) == 1
    assert [(it.outcome, it.error_type) for it in records[0].attempts] == [("neutral", "cancelled")]
    ledger.check(records)
    assert not records[0].cost_complete


# -- streams that are left


def left(bench: Bench, model: str, leave: Any) -> Any:
    with attune.capture() as records:
        leave(bench.wrapped(Way("stream")), {"model": model, **BODY})
        gc.collect(0)
        bench_runtime_settle()
    return records


def bench_runtime_settle() -> None:
    from attune.calls.default import current

    current().settle_abandoned()


def never_read(client: Any, body: Any) -> None:
    client.messages.create(stream=True, **body)


def break_and_drop(client: Any, body: Any) -> None:
    for event in client.messages.create(stream=True, **body):
        if event.type == "content_block_delta":
            break


def close_it(client: Any, body: Any) -> None:
    stream = client.messages.create(stream=True, **body)
    next(iter(stream))
    stream.close()
    stream.close()


def leave_with(client: Any, body: Any) -> None:
    with client.messages.create(stream=True, **body) as stream:
        next(stream)


def leave_with_error(client: Any, body: Any) -> None:
    with pytest.raises(KeyError), client.messages.create(stream=True, **body) as stream:
        next(stream)
        raise KeyError("mine")


def leave_helper(client: Any, body: Any) -> None:
    with client.messages.stream(**body) as stream:
        next(iter(stream.text_stream))


def close_a_generator_around_it(client: Any, body: Any) -> None:
    def texts() -> Iterator[Any]:
        yield from client.messages.create(stream=True, **body)

    items = texts()
    next(items)
    items.close()


def make_a_cycle(client: Any, body: Any) -> None:
    stream = client.messages.create(stream=True, **body)
    next(iter(stream))
    stream.myself = stream


@pytest.mark.parametrize(
    "leave",
    [
        never_read, break_and_drop, close_it, leave_with, leave_with_error, leave_helper, close_a_generator_around_it,
        make_a_cycle,
    ],
)  # fmt: skip
@pytest.mark.parametrize("model", ["auto", HAIKU])
def test_a_stream_that_is_left_early(bench: Bench, ledger: Ledger, sandbox: Sandbox, model, leave):
    """Nobody's fault: neutral, its cost unknown, its circuit untouched, its connection given back."""
    records = left(bench, model, leave)
    assert [it.outcome for it in records] == ["neutral"]
    assert [(it.outcome, it.error_type) for it in records[0].attempts] == [("neutral", None)]
    assert not records[0].cost_complete
    assert sandbox.circuits.get(f"anthropic:{HAIKU}", {"failure_count": 0})["failure_count"] == 0
    ledger.check(records)


def read_all_and_close(client: Any, body: Any) -> None:
    with client.messages.create(stream=True, **body) as stream:
        assert [it.type for it in stream][-1] == "message_stop"


def read_all_by_next(client: Any, body: Any) -> None:
    stream = client.messages.create(stream=True, **body)
    while next(stream, None):
        pass


def read_by_helper(client: Any, body: Any) -> None:
    with client.messages.stream(**body) as stream:
        assert stream.get_final_message().stop_reason == "end_turn"


def leave_after_the_last_event(client: Any, body: Any) -> None:
    for event in client.messages.create(stream=True, **body):
        if event.type == "message_stop":
            break


@pytest.mark.parametrize("read", [read_all_and_close, read_all_by_next, read_by_helper, leave_after_the_last_event])
@pytest.mark.parametrize("model", ["auto", HAIKU])
def test_a_stream_that_is_read_to_its_end(bench: Bench, ledger: Ledger, model, read):
    """A success, with usage and cost, however it is read."""
    records = left(bench, model, read)
    assert [it.outcome for it in records] == ["success"]
    assert records[0].usage.output_tokens > 0
    assert records[0].cost > 0
    assert records[0].cost_complete
    ledger.check(records)


def test_async_streams_that_are_left(bench: Bench, ledger: Ledger, sandbox: Sandbox):
    """Break, aclose, an async with block, and an exception in it."""

    async def leave(how: str) -> None:
        client = bench.wrapped(Way("async"))
        if how == "helper":
            async with client.messages.stream(model="auto", **BODY) as stream:
                async for _ in stream.text_stream:
                    break
            return
        stream = await client.messages.create(model="auto", stream=True, **BODY)
        if how == "break":
            async for _ in stream:
                break
        elif how == "close":
            await anext(aiter(stream))
            await stream.close()
        elif how == "with":
            async with stream:
                await anext(aiter(stream))
        elif how == "raise":
            with pytest.raises(KeyError):
                async with stream:
                    raise KeyError("mine")
        del stream
        gc.collect(0)
        await asyncio.sleep(0)

    hows = ("break", "close", "with", "raise", "helper", "never read")
    with attune.capture() as records:
        for how in hows:
            bench.loop.run(leave(how), context=contextvars.copy_context())
            gc.collect()  # before 1.0 the SDK's streams are cycles
            sandbox.runtime.settle_abandoned()
    assert [it.outcome for it in records] == ["neutral"] * len(hows)
    ledger.check(records)


@pytest.mark.parametrize("model", ["auto", HAIKU])
def test_a_truncated_stream_ends_as_it_does_bare(bench: Bench, ledger: Ledger, sandbox: Sandbox, model):
    """Counted as a failure, told on the record, and no exception."""
    bench.provider.script(HAIKU, truncate(after=1))
    seen = bench.ask(Way("stream"), bench.wrapped(Way("stream")), model)
    assert seen.error is None
    assert seen.tried == [(HAIKU, "initial", "failure", "stream_broken")]
    assert seen.record.partial_text
    assert sandbox.circuits[f"anthropic:{HAIKU}"]["failure_count"] == 1
    ledger.check(seen.records)


@pytest.mark.parametrize("name", ["stream", "async stream"])
def test_a_truncated_stream_raises_where_that_was_asked_for(bench: Bench, sandbox: Sandbox, monkeypatch, name):
    """`strict_streams`: StreamInterrupted, which is also the SDK's connection error."""
    sandbox.configure(strict_streams=True)
    ledger = Ledger(sandbox, monkeypatch)
    bench.provider.script(HAIKU, truncate(after=1))
    way = Way(name)
    seen = bench.ask(way, bench.wrapped(way), HAIKU)
    assert isinstance(seen.error, attune.StreamInterrupted)
    assert isinstance(seen.error, anthropic.APIConnectionError)
    assert len(seen.events) == 3
    ledger.check(seen.records)


def test_a_plain_call_drops_no_exception_object(bench: Bench, way: Way):
    """The provider's exception reaches the caller as the same object that the SDK raised."""
    raised = []
    client = bench.bare(way)
    make = type(client)._make_status_error

    class Watched(type(client)):
        def _make_status_error(self, *args: Any, **kwargs: Any) -> Any:
            raised.append(make(self, *args, **kwargs))
            return raised[-1]

    watched = client.with_options()
    watched.__class__ = Watched
    bench.provider.script(HAIKU, *[fail("overloaded")] * 3)
    seen = bench.ask(way, attune.wrap(watched, candidates=[HAIKU]), "auto")
    assert seen.error is raised[-1]
