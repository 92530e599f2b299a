"""Every way out of a call and of a stream: permit, observation, span and record are there exactly once."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import openai
import pytest
from calls.sdks import CHAT, MESSAGES, RESPONSES, SDKS, Sdk
from calls.ways import BODY, Bench, Ledger, Way

import attune
from attune.testing import Sandbox, anthropic_wire, fail, openai_wire, responses_wire, truncate

WIRES = {MESSAGES: anthropic_wire, CHAT: openai_wire, RESPONSES: responses_wire}
CLIENTS = {anthropic: (anthropic.Anthropic, anthropic.AsyncAnthropic), openai: (openai.OpenAI, openai.AsyncOpenAI)}
SPENT = {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}


def http_of(sdk: Sdk) -> Any:
    """The HTTP library that this generation of the SDK uses."""
    base = sdk.module._base_client
    return getattr(base, "httpx2", None) or base.httpx


@pytest.fixture(params=SDKS, ids=repr)
def sdk(request: pytest.FixtureRequest) -> Sdk:
    return request.param


def slow(http: Any, events: list[Any]) -> Any:
    """A body that gives the event loop a turn before each event."""

    class Slow(http.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for event in events:
                await asyncio.sleep(0)
                yield event.encode()

        async def aclose(self) -> None:
            await asyncio.sleep(0)

    return Slow()


def transport(sdk: Sdk, failures: int) -> Any:
    """Overloaded first, then an answer, in memory, with turns for the loop in between: each await can be cancelled."""
    http, wire = http_of(sdk), WIRES[sdk]
    answer = wire.message("1", sdk.small, [{"type": "text", "text": "one two"}], "end_turn", SPENT)
    left = [wire.error("overloaded_error", "busy", "1")] * failures

    class Transport(http.AsyncBaseTransport):
        failures_left = left

        async def handle_async_request(self, request: Any) -> Any:
            for _ in range(3):
                await asyncio.sleep(0)
            if left:
                return http.Response(529, json=left.pop())
            if json.loads(request.content).get("stream"):
                events = list(wire.events(answer, 2, usage=True))
                return http.Response(200, headers={"content-type": "text/event-stream"}, stream=slow(http, events))
            return http.Response(200, json=answer)

    return Transport()


def aclient(sdk: Sdk, transport: Any) -> Any:
    return CLIENTS[sdk.module][1](api_key="k", http_client=http_of(sdk).AsyncClient(transport=transport, verify=False))


async def converse(sdk: Sdk, client: Any, model: str, stream: bool) -> Any:
    body = {**sdk.body(stream=stream), "model": model}
    if not stream:
        return await sdk.ask(client, **body)
    return "".join([sdk.text(event) async for event in await sdk.ask(client, stream=True, **body)])


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
@pytest.mark.parametrize("model", ["auto", "pinned"])
def test_cancellation_at_every_await(attune_sandbox: Sandbox, monkeypatch, sdk: Sdk, model, stream):
    """Wherever the task is cancelled, it ends cancelled, and everything that was begun is ended once."""
    ended_whole = False
    outcomes = set()
    named = sdk.small if model == "pinned" else model
    for turns in range(1, 80):
        attune_sandbox.exporter.clear()
        attune_sandbox.configure()
        ledger = Ledger(attune_sandbox, monkeypatch)

        async def run(turns: int = turns) -> bool:
            async with aclient(sdk, transport(sdk, failures=1)) as bare:
                return await cancelled_after(turns, converse(sdk, attune.wrap(bare), named, stream))

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


def test_cancellation_in_the_wait_before_a_retry(attune_sandbox: Sandbox, sdk: Sdk):
    """The wait is not the caller's: cancelled there, the call ends there."""

    async def run() -> tuple[BaseException | None, int]:
        wire = transport(sdk, failures=1)
        waiting = asyncio.Event()

        async def asleep(_seconds: float) -> None:
            waiting.set()
            await asyncio.Event().wait()

        attune_sandbox.clock.asleep = asleep
        async with aclient(sdk, wire) as bare:
            task = asyncio.ensure_future(converse(sdk, attune.wrap(bare), sdk.small, stream=False))
            await waiting.wait()
            task.cancel()
            done, _ = await asyncio.wait([task])
            return done.pop().cancelled(), len(wire.failures_left)

    with attune.capture() as records:
        assert asyncio.run(run()) == (True, 0)
    assert [(it.outcome, it.error_type) for it in records[0].attempts] == [("failure", "overloaded")]
    assert records[0].outcome == "neutral"


def test_a_coroutine_that_is_closed(attune_sandbox: Sandbox, ledger: Ledger, sdk: Sdk):
    """`close()` of a coroutine that waits for its answer is an exit like any other, settled by whoever comes next."""

    class Never(http_of(sdk).AsyncBaseTransport):
        async def handle_async_request(self, request: Any) -> Any:
            await asyncio.Event().wait()

    async def run() -> None:
        async with aclient(sdk, Never()) as bare:
            work = converse(sdk, attune.wrap(bare), "auto", stream=False)
            context = contextvars.copy_context()
            context.run(work.send, None)
            context.run(work.close)

    with attune.capture() as records:
        asyncio.run(run())
    attune_sandbox.runtime.settle_abandoned()
    assert records[0].outcome == "neutral"
    ledger.check(records)


@pytest.mark.parametrize("model", ["auto", "pinned"])
@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_the_transport(attune_sandbox: Sandbox, ledger: Ledger, sdk: Sdk, model, raised):
    """It passes, at once, as the same object; nothing is tried again."""
    error = raised()
    asked = []

    def handle(request: Any) -> Any:
        asked.append(request)
        raise error

    http = http_of(sdk)
    sync = CLIENTS[sdk.module][0]
    with (
        sync(api_key="k", http_client=http.Client(transport=http.MockTransport(handle), verify=False)) as bare,
        attune.capture() as records,
        pytest.raises(raised) as seen,
    ):
        sdk.ask(attune.wrap(bare), model=sdk.small if model == "pinned" else model, **sdk.body(stream=False))
    assert seen.value is error
    assert len(asked) == 1
    assert [(it.outcome, it.error_type) for it in records[0].attempts] == [("neutral", "cancelled")]
    ledger.check(records)
    assert not records[0].cost_complete


# -- streams that are left


class Leaver:
    """A guarded client, and a body to ask with."""

    def __init__(self, bench: Bench, sdk: Sdk, model: str) -> None:
        self.sdk = sdk
        self.client = bench.wrapped(Way("stream", sdk))
        self.body = {**sdk.body(stream=True), "model": sdk.small if model == "pinned" else model}

    def stream(self) -> Any:
        return self.sdk.ask(self.client, stream=True, **self.body)

    def helper(self) -> Any:
        return self.sdk.helper(self.client, **self.body)


def left(bench: Bench, sdk: Sdk, model: str, leave: Any) -> Any:
    with attune.capture() as records:
        leave(Leaver(bench, sdk, model))
        gc.collect(0)
        bench_runtime_settle()
    return records


def bench_runtime_settle() -> None:
    from attune.calls.default import current

    current().settle_abandoned()


def never_read(it: Leaver) -> None:
    it.stream()


def break_and_drop(it: Leaver) -> None:
    for event in it.stream():
        if it.sdk.text(event):
            break


def close_it(it: Leaver) -> None:
    stream = it.stream()
    next(iter(stream))
    stream.close()
    stream.close()


def leave_with(it: Leaver) -> None:
    with it.stream() as stream:
        next(stream)


def leave_with_error(it: Leaver) -> None:
    with pytest.raises(KeyError), it.stream() as stream:
        next(stream)
        raise KeyError("mine")


def leave_helper(it: Leaver) -> None:
    with it.helper() as stream:
        next(iter(stream))
    assert attune.last_call() is not None  # heard of at once, whatever the collector does with the helper's cycle


def close_a_generator_around_it(it: Leaver) -> None:
    def texts() -> Iterator[Any]:
        yield from it.stream()

    items = texts()
    next(items)
    items.close()


def make_a_cycle(it: Leaver) -> None:
    stream = it.stream()
    next(iter(stream))
    stream.myself = stream


@pytest.mark.parametrize(
    "leave",
    [
        never_read, break_and_drop, close_it, leave_with, leave_with_error, leave_helper, close_a_generator_around_it,
        make_a_cycle,
    ],
)  # fmt: skip
@pytest.mark.parametrize("model", ["auto", "pinned"])
def test_a_stream_that_is_left_early(bench: Bench, ledger: Ledger, sandbox: Sandbox, sdk: Sdk, model, leave):
    """Nobody's fault: neutral, its cost unknown, its circuit untouched, its connection given back."""
    records = left(bench, sdk, model, leave)
    assert [it.outcome for it in records] == ["neutral"]
    assert [(it.outcome, it.error_type) for it in records[0].attempts] == [("neutral", None)]
    assert not records[0].cost_complete
    assert sandbox.circuits.get(f"{sdk.provider}:{sdk.small}", {"failure_count": 0})["failure_count"] == 0
    ledger.check(records)


def read_all_and_close(it: Leaver) -> None:
    with it.stream() as stream:
        assert [it.sdk.kind(event) for event in stream][-1] == it.sdk.ending


def read_all_by_next(it: Leaver) -> None:
    stream = it.stream()
    while next(stream, None):
        pass


def read_by_helper(it: Leaver) -> None:
    with it.helper() as stream:
        for name in ("get_final_message", "get_final_completion", "get_final_response"):
            if (final := getattr(stream, name, None)) is not None:
                assert final()


def leave_after_the_last_event(it: Leaver) -> None:
    for event in it.stream():
        if it.sdk.kind(event) == it.sdk.ending:
            break


@pytest.mark.parametrize("read", [read_all_and_close, read_all_by_next, read_by_helper, leave_after_the_last_event])
@pytest.mark.parametrize("model", ["auto", "pinned"])
def test_a_stream_that_is_read_to_its_end(bench: Bench, ledger: Ledger, sdk: Sdk, model, read):
    """A success, with usage and cost, however it is read."""
    records = left(bench, sdk, model, read)
    assert [it.outcome for it in records] == ["success"]
    assert records[0].usage.output_tokens > 0
    assert records[0].cost > 0
    assert records[0].cost_complete
    ledger.check(records)


def test_async_streams_that_are_left(bench: Bench, ledger: Ledger, sandbox: Sandbox, sdk: Sdk):
    """Break, aclose, an async with block, and an exception in it."""

    async def leave(how: str) -> None:
        client = bench.wrapped(Way("async", sdk))
        body = {**sdk.body(stream=True), "model": "auto"}
        if how == "helper":
            async with sdk.helper(client, **body) as stream:
                async for _ in stream:
                    break
            return
        stream = await sdk.ask(client, stream=True, **body)
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


@pytest.mark.parametrize("model", ["auto", "pinned"])
def test_a_truncated_stream_ends_as_it_does_bare(bench: Bench, ledger: Ledger, sandbox: Sandbox, sdk: Sdk, model):
    """Counted as a failure, told on the record, and no exception."""
    bench.provider.script(sdk.small, truncate(after=1))
    way = Way("stream", sdk)
    seen = bench.ask(way, bench.wrapped(way), sdk.small if model == "pinned" else model)
    assert seen.error is None
    assert seen.tried == [(sdk.small, "initial", "failure", "stream_broken")]
    assert seen.record.partial_text
    assert sandbox.circuits[f"{sdk.provider}:{sdk.small}"]["failure_count"] == 1
    ledger.check(seen.records)


@pytest.mark.parametrize("name", ["stream", "async stream"])
def test_a_truncated_stream_raises_where_that_was_asked_for(
    bench: Bench, sandbox: Sandbox, monkeypatch, sdk: Sdk, name
):
    """`strict_streams`: StreamInterrupted, which is also the SDK's connection error."""
    sandbox.configure(strict_streams=True)
    ledger = Ledger(sandbox, monkeypatch)
    way = Way(name, sdk)
    bench.provider.script(sdk.small, truncate(after=1))
    bare = bench.ask(way, bench.bare(way), sdk.small)
    bench.provider.script(sdk.small, truncate(after=1))
    seen = bench.ask(way, bench.wrapped(way), sdk.small)
    assert isinstance(seen.error, attune.StreamInterrupted)
    assert isinstance(seen.error, sdk.module.APIConnectionError)
    assert len(seen.events) == len(bare.events) > 1
    ledger.check(seen.records)


def test_a_plain_call_drops_no_exception_object(bench: Bench, every_way: Way):
    """The provider's exception reaches the caller as the same object that the SDK raised."""
    raised = []
    way, small = every_way, every_way.sdk.small
    client = bench.bare(way)
    make = type(client)._make_status_error

    class Watched(type(client)):
        def _make_status_error(self, *args: Any, **kwargs: Any) -> Any:
            raised.append(make(self, *args, **kwargs))
            return raised[-1]

    watched = client.with_options()
    watched.__class__ = Watched
    bench.provider.script(small, *[fail("overloaded")] * 3)
    seen = bench.ask(way, attune.wrap(watched, candidates=[small]), "auto")
    assert seen.error is raised[-1]


def test_an_async_stream_that_is_left_just_before_its_client_is_closed(bench: Bench, sandbox: Sandbox):
    """The SDK's generator is closed in the very turn in which it is bare: before the pool is."""
    troubles: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: troubles.append(told))
        async with attune.wrap(anthropic.AsyncAnthropic(base_url=bench.url, api_key="k")) as client:
            async for event in await client.messages.create(model="auto", stream=True, **BODY):
                if event.type == "content_block_delta":
                    break

    with attune.capture() as calls:
        asyncio.run(main())
        sandbox.runtime.settle_abandoned()
    assert troubles == []
    assert [it.outcome for it in calls] == ["neutral"]
