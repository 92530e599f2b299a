"""Raw responses whose body the caller reads: the verdict comes at the body's end, whichever way it is read."""

from __future__ import annotations

import contextlib
import contextvars
import gc
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import anthropic
import pytest
from calls.ways import BODY, HAIKU, SONNET, Bench, Ledger, Way

import attune
from attune.calls.reading import CarefulReader
from attune.clients.unread import EventLines, WholeBody
from attune.testing import Sandbox, cut, ok, stream_error, truncate

USAGE = {"input_tokens": 70, "output_tokens": 9}


async def settle(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def each(values: Any) -> list[Any]:
    return [it async for it in values] if hasattr(values, "__aiter__") else list(values)


@contextlib.asynccontextmanager
async def within(manager: Any):
    if hasattr(manager, "__aenter__"):
        async with manager as value:
            yield value
    else:
        with manager as value:
            yield value


async def parse(response: Any) -> None:
    value = await settle(response.parse())
    if not isinstance(value, anthropic.types.Message):
        await each(value)


async def lines(response: Any) -> None:
    assert await each(response.iter_lines())


async def chunks(response: Any) -> None:
    assert await each(response.iter_bytes())


async def whole(response: Any) -> None:
    assert await settle(response.read())


READINGS: list[Callable[[Any], Awaitable[None]]] = [parse, lines, chunks, whole]


@pytest.fixture(params=["plain", "async"])
def side(request: pytest.FixtureRequest) -> Way:
    return Way(request.param)


@pytest.fixture(params=[False, True], ids=["answer", "events"])
def body(request: pytest.FixtureRequest) -> dict:
    return {**BODY, "model": "auto", "stream": True} if request.param else {**BODY, "model": "auto"}


def run(bench: Bench, work: Any) -> Any:
    return bench.loop.run(work, context=contextvars.copy_context())


@pytest.mark.parametrize("read", READINGS)
def test_a_streamed_response_is_judged_when_it_has_been_read(
    bench: Bench, ledger: Ledger, side: Way, body: dict, read: Any
):
    """Not at its head; with usage and cost, although the caller reads bytes."""
    client = bench.wrapped(side, candidates=[HAIKU, SONNET])
    bench.provider.script(HAIKU, ok("one two three", usage=USAGE))

    async def ask() -> None:
        async with within(client.messages.with_streaming_response.create(**body)) as response:
            assert calls == []
            await read(response)

    with attune.capture() as calls:
        run(bench, ask())
    assert [it.outcome for it in calls] == ["success"]
    assert (calls[0].usage.input_tokens, calls[0].usage.output_tokens) == (70, 9)
    assert calls[0].cost > 0
    assert calls[0].cost_complete
    ledger.check(calls)


@pytest.mark.parametrize("read", READINGS)
def test_a_raw_stream_is_judged_when_it_has_been_read(bench: Bench, ledger: Ledger, side: Way, read: Any):
    """`with_raw_response.create(stream=True)`: its body is not read either."""
    client = bench.wrapped(side, candidates=[HAIKU, SONNET])
    bench.provider.script(HAIKU, ok("one two three", usage=USAGE))

    async def ask() -> None:
        response = await settle(client.messages.with_raw_response.create(model="auto", stream=True, **BODY))
        assert calls == []
        if read is parse:
            await parse(response)
        else:
            http = response.http_response
            await each(http.aiter_lines() if side.asynchronous else http.iter_lines())

    with attune.capture() as calls:
        run(bench, ask())
    assert [it.outcome for it in calls] == ["success"]
    assert calls[0].usage.output_tokens == 9
    ledger.check(calls)


def test_a_body_that_is_closed_unread_is_nobody_s_fault(bench: Bench, ledger: Ledger, side: Way, body: dict):
    client = bench.wrapped(side)

    async def ask() -> None:
        async with within(client.messages.with_streaming_response.create(**body)) as response:
            assert response.status_code == 200

    with attune.capture() as calls:
        run(bench, ask())
    assert [it.outcome for it in calls] == ["neutral"]
    ledger.check(calls)


def test_a_body_that_is_left_half_read(bench: Bench, ledger: Ledger, side: Way):
    """Neutral; and a response that nobody closes is settled once nobody holds it."""
    client = bench.wrapped(side)

    async def ask() -> None:
        async with within(
            client.messages.with_streaming_response.create(model="auto", stream=True, **BODY)
        ) as response:
            lines = response.iter_lines()
            await anext(lines) if side.asynchronous else next(lines)

    async def drop() -> None:
        response = await settle(client.messages.with_raw_response.create(model="auto", stream=True, **BODY))
        await settle(response.http_response.aclose() if side.asynchronous else response.http_response.close())
        del response

    with attune.capture() as calls:
        run(bench, ask())
        run(bench, drop())
        gc.collect()
    assert [it.outcome for it in calls] == ["neutral", "neutral"]
    ledger.check(calls)


def test_a_response_that_is_dropped_unread(bench: Bench, ledger: Ledger):
    """No close: its permit comes back all the same."""
    client = bench.wrapped(Way("plain"))
    with attune.capture() as calls:
        response = client.messages.with_raw_response.create(model="auto", stream=True, **BODY)
        response.http_response.stream.close()  # the connection goes back; the response hears nothing of it
        del response
        gc.collect()
        ledger.sandbox.runtime.settle_abandoned()
    assert [it.outcome for it in calls] == ["neutral"]
    ledger.check(calls)


def test_a_body_is_read_where_nobody_holds_its_response(bench: Bench, ledger: Ledger, side: Way):
    """As in `StreamingResponse(response.http_response.aiter_bytes())`: a method keeps its response alive, as it does bare."""

    async def read(client: Any) -> bytes:
        response = await settle(client.messages.with_raw_response.create(model=HAIKU, stream=True, **BODY))
        body = response.http_response.aiter_bytes if side.asynchronous else response.http_response.iter_bytes
        del response
        gc.collect()
        return b"".join(await each(body()))

    bench.provider.script(HAIKU, ok("one"), ok("one"))
    bare = run(bench, read(bench.bare(side)))
    with attune.capture() as calls:
        guarded = run(bench, read(bench.wrapped(side)))
    assert len(guarded) == len(bare)
    assert [it.outcome for it in calls] == ["success"]
    ledger.check(calls)


def test_a_finalizer_of_a_half_read_body_settles_nothing(bench: Bench, ledger: Ledger, sandbox: Sandbox):
    """It closes the body, and may run inside any line that allocates: the note it takes is settled later."""
    client = bench.wrapped(Way("plain"))
    with attune.capture() as calls:
        response = client.messages.with_raw_response.create(model="auto", stream=True, **BODY)
        chunks = response.http_response.iter_bytes(10)
        next(chunks)
        ring: list[Any] = [chunks]
        ring.append(ring)
        del chunks, ring
        gc.collect()
        assert calls == []
        sandbox.runtime.settle_abandoned()
    assert [it.outcome for it in calls] == ["neutral"]
    ledger.check(calls)


@pytest.mark.parametrize("step", [truncate(after=1), cut(after=1), stream_error("overloaded", after=1)], ids=str)
def test_a_body_that_breaks_is_a_failure(bench: Bench, ledger: Ledger, sandbox: Sandbox, side: Way, step: Any):
    """The caller sees what the SDK shows of it; the breaker learns."""
    client = bench.wrapped(side)
    bench.provider.script(HAIKU, step)

    async def ask() -> None:
        async with within(client.messages.with_streaming_response.create(model=HAIKU, stream=True, **BODY)) as response:
            with contextlib.suppress(Exception):
                await lines(response)

    with attune.capture() as calls:
        run(bench, ask())
    assert [(it.outcome, it.attempts[0].error_type) for it in calls] == [("failure", "stream_broken")]
    assert not calls[0].cost_complete
    assert sandbox.circuits[f"anthropic:{HAIKU}"]["failure_count"] == 1
    ledger.check(calls)


def test_an_answer_that_is_cut_is_a_failure(bench: Bench, ledger: Ledger, sandbox: Sandbox, side: Way):
    client = bench.wrapped(side)
    bench.provider.script(HAIKU, cut(after=1))

    async def ask() -> None:
        async with within(client.messages.with_streaming_response.create(model=HAIKU, **BODY)) as response:
            with contextlib.suppress(Exception):
                await chunks(response)

    with attune.capture() as calls:
        run(bench, ask())
    assert [(it.outcome, it.attempts[0].error_type) for it in calls] == [("failure", "stream_broken")]
    ledger.check(calls)


def test_a_body_that_cannot_be_understood_is_the_caller_s_all_the_same(attune_sandbox: Sandbox):
    """JSON nested deeper than the parser goes: its bytes come out, and nothing of ours."""
    body = b"[" * 200_000 + b"]" * 200_000
    for faulty in (False, True):
        reader = CarefulReader(
            Faulty() if faulty else WholeBody(lambda answer: answer, True), attune_sandbox.runtime.fault
        )
        reader.feed(body)
        assert reader.done is faulty
        assert reader.text == ""
    assert attune_sandbox.faults == {"dialect": 2}


def test_types_are_the_sdk_s(bench: Bench, sandbox: Sandbox):
    """The response, its HTTP response, and what it parses to."""
    for client in (bench.bare(Way("plain")), bench.wrapped(Way("plain"))):
        with client.messages.with_streaming_response.create(model=HAIKU, **BODY) as response:
            kinds = (type(response), type(response.http_response), type(response.parse()))
        if client is not None and not hasattr(type(client), "__attune_inner__"):
            expected = kinds
    assert kinds == expected


# -- readers


class Reader:
    def __init__(self) -> None:
        self.fed: list[str] = []
        self.content = False
        self.done = False

    def feed(self, event: Any) -> None:
        self.fed.append(event.type)
        self.content = self.content or event.type == "delta"

    def facts(self) -> Any:
        return attune


class Faulty(Reader):
    """Somebody's own."""

    done = property(lambda self: 1 // 0)
    text = property(lambda self: 1 // 0)

    def __init__(self) -> None:
        self.fed: list[str] = []

    def feed(self, event: Any) -> None:
        """Nothing is wrong yet."""


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_are_put_together_from_any_chunks(size: int, end: str):
    """However the bytes are cut; pieces of text after the first are not parsed again."""
    events = ['{"type": "start"}', '{"type": "delta"}', '{"type": "delta", "text": "é"}', "[DONE]", '{"type": "stop"}']
    text = "".join(f"event: x{end}data: {it}{end}{end}" for it in events).encode()
    reader = Reader()
    body = EventLines(reader, (b'"delta"',))
    for i in range(0, len(text), size):
        body.feed(text[i : i + size])
    assert reader.fed == ["start", "delta", "stop"]


def test_a_whole_body_that_is_too_long_is_not_kept():
    """It says nothing then, and is no failure."""
    body = WholeBody(lambda answer: answer, True)
    for _ in range(5):
        body.feed(b"x" * 1_000_000)
    assert body.done
    assert len(body._chunks) == 4
    assert body.facts().usage is None
