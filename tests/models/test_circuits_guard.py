"""Code under a permit: what an exception says, and when blocks, functions, tasks and streams are over."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect

import pytest

from attune.errors import CircuitOpenError, ConfigError, DeadlineExceeded, StreamInterrupted
from attune.models import process
from attune.models.circuit_breaker import CircuitBreaker
from attune.models.failures import FailureKind
from attune.testing.clock import FakeClock

P, M = "anthropic", "haiku"


class Boom(Exception):
    """A provider's exception that nobody has a word for."""


class Answered(Exception):
    """An SDK's status error."""

    def __init__(self, status, **headers):
        super().__init__("an error status")
        self.status_code = status
        self.response = type("Response", (), {"headers": {k.replace("_", "-"): v for k, v in headers.items()}})()


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def breaker(clock):
    return CircuitBreaker(clock=clock)


def count(breaker, name=P):
    return breaker.get_status().get(name, {"failure_count": 0})["failure_count"]


def half_open(breaker, clock):
    for _ in range(5):
        breaker.record_failure(P)
    clock.advance(60)


def slots_taken(breaker):
    circuits, clock = breaker._door.parts()
    circuit = circuits._groups[P].circuits[None, ""]
    return sum(probe.live and probe.expires > clock.monotonic() for probe in circuit.probes)


# -- what an exception says


@pytest.mark.parametrize("error", [Boom("x"), RuntimeError("x"), ConnectionError("x"), TimeoutError("x"), OSError("x")])
def test_guard_counts_any_exception_and_passes_it_on_untouched(breaker, error):
    with pytest.raises(type(error)) as caught, breaker.guard(P):
        raise error
    assert caught.value is error
    assert count(breaker) == 1


@pytest.mark.parametrize(
    "error", [TypeError, ValueError, KeyError, IndexError, AssertionError, AttributeError, NameError, ConfigError]
)
def test_a_callers_mistake_is_neutral(breaker, error):
    breaker.record_failure(P)
    with pytest.raises(error), breaker.guard(P):
        raise error("the caller's")
    assert count(breaker) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_interruptions_and_cancellations_are_neutral(breaker, clock, error):
    half_open(breaker, clock)
    with pytest.raises(error), breaker.guard(P):
        raise error
    assert breaker.get_status()[P]["state"] == "half_open"
    assert slots_taken(breaker) == 0


@pytest.mark.parametrize(
    ("error", "counted"),
    [
        (Answered(500), 1),
        (Answered(529), 1),
        (Answered(408), 1),
        (Answered(401), 1),
        (Answered(400), 0),
        (Answered(404), 0),
        (Answered(409), 0),
        (Answered(413), 0),
        (Answered(422), 0),
        (Answered(429), 0),
        (CircuitOpenError("open"), 0),
        (DeadlineExceeded("late"), 0),
        (StreamInterrupted("cut"), 1),
    ],
)
def test_the_table_says_what_an_answer_means(breaker, error, counted):
    with pytest.raises(type(error)), breaker.guard(P):
        raise error
    assert count(breaker) == counted


def test_an_answer_that_names_a_wait_cools_the_key_down(breaker, clock):
    with pytest.raises(Answered), breaker.guard(P, M):
        raise Answered(429, retry_after="30")
    assert not breaker.allows(P, M)
    assert breaker.allows(P)
    assert count(breaker, f"{P}:{M}") == 0
    clock.advance(30)
    assert breaker.allows(P, M)


def test_what_concerns_the_provider_counts_on_it_even_under_a_narrow_key(breaker):
    for _ in range(5):
        with pytest.raises(ConnectionError), breaker.guard(P, M):
            raise ConnectionError
    assert breaker.get_status()[P]["last_failure_kind"] == "connection"
    assert not breaker.allows(P, "another")


def test_the_breakers_hook_and_the_guards_come_before_the_table(clock):
    breaker = CircuitBreaker(clock=clock, classify=lambda error: "server" if isinstance(error, KeyError) else None)
    with pytest.raises(KeyError), breaker.guard(P):
        raise KeyError
    assert count(breaker) == 1
    with pytest.raises(Boom), breaker.guard(P):
        raise Boom
    assert count(breaker) == 2
    with pytest.raises(Boom), breaker.guard(P, classify=lambda _: FailureKind.CALLER):
        raise Boom
    assert count(breaker) == 2
    with pytest.raises(Boom), breaker.guard(P, classify=lambda _: "no such word"):
        raise Boom
    assert count(breaker) == 2


def test_a_hook_that_raises_is_a_counted_fault_and_the_table_decides(breaker, monkeypatch):
    faults = []
    live = type("Live", (), {"fault": lambda _, where, error: faults.append((where, type(error).__name__))})()
    monkeypatch.setattr(process, "_slot", [lambda: live])
    with pytest.raises(Boom), breaker.guard(P, classify=lambda _: 1 / 0):
        raise Boom
    assert count(breaker) == 1
    assert faults == [("classify", "ZeroDivisionError")]


# -- blocks


def test_guard_settles_at_exit_and_hands_out_its_permit(breaker):
    breaker.record_failure(P)
    with breaker.guard(P) as permit:
        assert permit.name == P
        assert count(breaker) == 1
    assert count(breaker) == 0


def test_what_is_said_inside_a_guard_comes_first(breaker):
    with breaker.guard(P) as permit:
        permit.settle("failure")
    assert count(breaker) == 1


def test_guard_refuses_at_entry_and_takes_nothing_before(breaker, clock):
    half_open(breaker, clock)
    guard = breaker.guard(P)
    assert slots_taken(breaker) == 0
    with guard:
        assert slots_taken(breaker) == 1
        with pytest.raises(CircuitOpenError), breaker.guard(P):
            pytest.fail("the block must not run")
    assert breaker.get_status()[P]["state"] == "closed"


def test_an_async_guard_is_settled_when_its_task_is_cancelled(breaker, clock):
    half_open(breaker, clock)

    async def scene():
        entered = asyncio.Event()

        async def guarded():
            async with breaker.guard(P):
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(guarded())
        await entered.wait()
        assert slots_taken(breaker) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())
    assert slots_taken(breaker) == 0
    assert breaker.get_status()[P]["state"] == "half_open"
    assert count(breaker) == 5


# -- functions and coroutines


def test_protect_guards_a_function_and_keeps_its_face(breaker):
    @breaker.protect(P)
    def double(number):
        """Twice."""
        if number < 0:
            raise Boom
        return 2 * number

    assert double(4) == 8
    assert (double.__name__, double.__doc__) == ("double", "Twice.")
    for _ in range(5):
        with pytest.raises(Boom):
            double(-1)
    with pytest.raises(CircuitOpenError):
        double(4)


def test_protect_guards_methods(breaker):
    class Client:
        @breaker.protect(P)
        def ask(self, word):
            return self, word

    client = Client()
    assert client.ask("x") == (client, "x")


def test_protect_counts_a_coroutine_when_it_is_over_and_not_when_it_is_made(breaker):
    @breaker.protect(P)
    async def ask(fails):
        await asyncio.sleep(0)
        if fails:
            raise Boom
        return "answer"

    assert inspect.iscoroutinefunction(ask)
    assert asyncio.run(ask(False)) == "answer"
    for _ in range(5):
        with pytest.raises(Boom):
            asyncio.run(ask(True))
    with pytest.raises(CircuitOpenError):
        asyncio.run(ask(False))


def test_a_function_that_hands_out_a_coroutine_is_over_when_that_is(breaker):
    async def ask():
        raise Boom

    asked = breaker.protect(P)(functools.partial(lambda: ask()))()
    assert count(breaker) == 0
    with pytest.raises(Boom):
        asyncio.run(asked)
    assert count(breaker) == 1


def test_an_argument_that_does_not_fit_leaks_no_slot(breaker, clock):
    @breaker.protect(P)
    async def ask():
        pass

    half_open(breaker, clock)
    with pytest.raises(TypeError):
        asyncio.run(ask("too much"))
    assert slots_taken(breaker) == 0


@pytest.mark.parametrize("awaits", range(4))
def test_a_task_cancelled_at_any_await_gives_its_slot_back(breaker, clock, awaits):
    half_open(breaker, clock)

    @breaker.protect(P)
    async def ask():
        for _ in range(4):
            await asyncio.sleep(0)

    async def scene():
        task = asyncio.create_task(ask())
        for _ in range(awaits + 1):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())
    assert slots_taken(breaker) == 0
    assert (breaker.get_status()[P]["state"], count(breaker)) == ("half_open", 5)


def test_a_herd_of_tasks_at_half_open_sends_exactly_k(clock):
    breaker = CircuitBreaker(half_open_calls=3, clock=clock)
    half_open(breaker, clock)
    running = 0

    @breaker.protect(P)
    async def ask():
        nonlocal running
        running += 1
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def scene():
        return await asyncio.gather(*(ask() for _ in range(1000)), return_exceptions=True)

    answers = asyncio.run(scene())
    assert running == 3
    assert sum(isinstance(answer, CircuitOpenError) for answer in answers) == 997


# -- streams


def items(breaker, *, fails=False, seen=None):
    @breaker.protect(P)
    def stream():
        try:
            sent = yield "first"
            yield sent
            if fails:
                raise Boom
            return "the end"
        finally:
            if seen is not None:
                seen.append("closed")

    return stream


def test_a_stream_succeeds_at_its_end_and_not_at_its_head(breaker):
    breaker.record_failure(P)
    stream = items(breaker)
    assert inspect.isgeneratorfunction(stream)
    flow = stream()
    assert next(flow) == "first"
    assert flow.send("echo") == "echo"
    assert count(breaker) == 1
    with pytest.raises(StopIteration) as end:
        next(flow)
    assert end.value.value == "the end"
    assert count(breaker) == 0


def test_a_stream_that_breaks_in_the_middle_counts(breaker):
    for _ in range(5):
        with pytest.raises(Boom):
            list(items(breaker, fails=True)())
    assert not breaker.allows(P)
    with pytest.raises(CircuitOpenError):
        next(items(breaker)())


def test_a_stream_left_early_is_neutral_and_closed(breaker, clock):
    half_open(breaker, clock)
    seen = []
    flow = items(breaker, seen=seen)()
    next(flow)
    assert slots_taken(breaker) == 1
    flow.close()
    assert (seen, slots_taken(breaker)) == (["closed"], 0)
    assert (breaker.get_status()[P]["state"], count(breaker)) == ("half_open", 5)


def test_a_stream_that_was_dropped_gives_its_slot_back(breaker, clock):
    half_open(breaker, clock)
    next(items(breaker)())
    gc.collect()
    assert slots_taken(breaker) == 0


def test_a_stream_that_never_began_takes_nothing(breaker, clock):
    half_open(breaker, clock)
    items(breaker)().close()
    assert slots_taken(breaker) == 0


def test_a_function_that_hands_out_a_generator_is_over_when_that_is(breaker):
    def broken():
        yield 1
        raise Boom

    flow = breaker.protect(P)(lambda: broken())()
    assert next(flow) == 1
    assert count(breaker) == 0
    with pytest.raises(Boom):
        next(flow)
    assert count(breaker) == 1


def async_items(breaker, *, fails=False, seen=None):
    @breaker.protect(P)
    async def stream():
        try:
            try:
                sent = yield "first"
            except KeyError:
                sent = "caught"
            yield sent
            if fails:
                raise Boom
        finally:
            await asyncio.sleep(0)
            if seen is not None:
                seen.append("closed")

    return stream


def test_an_async_stream_is_counted_at_its_end_and_passes_on_what_is_sent_and_thrown(breaker):
    breaker.record_failure(P)

    async def scene():
        stream = async_items(breaker)
        assert inspect.isasyncgenfunction(stream)
        flow = stream()
        assert await anext(flow) == "first"
        assert await flow.asend("echo") == "echo"
        assert count(breaker) == 1
        with pytest.raises(StopAsyncIteration):
            await anext(flow)
        assert count(breaker) == 0
        flow = stream()
        await anext(flow)
        assert await flow.athrow(KeyError()) == "caught"
        await flow.aclose()

    asyncio.run(scene())


def test_an_async_stream_that_breaks_counts_and_opens(breaker):
    async def scene():
        for _ in range(5):
            with pytest.raises(Boom):
                async for _ in async_items(breaker, fails=True)():
                    pass
        with pytest.raises(CircuitOpenError):
            await anext(async_items(breaker)())

    asyncio.run(scene())
    assert count(breaker) == 5


def test_an_async_stream_left_early_is_neutral_and_closed(breaker, clock):
    half_open(breaker, clock)
    seen = []

    async def scene():
        flow = async_items(breaker, seen=seen)()
        await anext(flow)
        assert slots_taken(breaker) == 1
        await flow.aclose()

    asyncio.run(scene())
    assert (seen, slots_taken(breaker)) == (["closed"], 0)
    assert (breaker.get_status()[P]["state"], count(breaker)) == ("half_open", 5)


def test_an_async_stream_whose_reader_is_cancelled_gives_its_slot_back(breaker, clock):
    half_open(breaker, clock)

    async def scene():
        @breaker.protect(P)
        async def endless():
            while True:
                await asyncio.sleep(0)
                yield 1

        async def read():
            async for _ in endless():
                pass

        task = asyncio.create_task(read())
        for _ in range(5):
            await asyncio.sleep(0)
        assert slots_taken(breaker) == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())
    assert slots_taken(breaker) == 0


def test_a_function_that_hands_out_an_async_generator_is_over_when_that_is(breaker):
    async def broken():
        yield 1
        raise Boom

    async def scene():
        flow = breaker.protect(P)(lambda: broken())()
        assert await anext(flow) == 1
        assert count(breaker) == 0
        with pytest.raises(Boom):
            await anext(flow)

    asyncio.run(scene())
    assert count(breaker) == 1
