"""A retry loop around guarded calls is told of once, with what to do; anything else is left in peace."""

from __future__ import annotations

import asyncio

import anthropic
import pytest
import tenacity
from calls.ways import BODY, HAIKU, HELLO, SONNET, Bench, Way

import attune
from attune.calls.loops import SOON_S, Loops
from attune.testing import Sandbox, fail

PLAIN = Way("plain")


@pytest.fixture(autouse=True)
def _no_circuit(sandbox: Sandbox) -> None:
    """Circuits only measure here, so that each call makes its attempts."""
    sandbox.runtime.circuits.metrics_only("anthropic", now=0.0)


def told(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if "told once" in record.getMessage()]


def test_a_hand_written_loop_is_told_of_once(bench: Bench, sandbox: Sandbox, way: Way, caplog):
    """At its second failure, not at its first, and never again."""
    bench.provider.outage()
    client = bench.wrapped(way)
    for turn in range(4):
        seen = bench.ask(way, client, HAIKU)
        assert isinstance(seen.error, anthropic.APIStatusError)
        assert len(told(caplog)) == (turn > 0)
        sandbox.clock.advance(2)
    (line,) = told(caplog)
    assert "failed after 3 attempts" in line
    assert "a retry loop around guarded calls" in line
    assert "max_attempts=1" in line
    assert sandbox.faults == {}


def test_tenacity_is_called_by_its_name(bench: Bench, sandbox: Sandbox, caplog):
    """Its frames are around the call."""
    bench.provider.outage()
    client = bench.wrapped(PLAIN, candidates=[HAIKU, SONNET])
    retry = tenacity.retry(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_none(), reraise=True)
    with pytest.raises(anthropic.APIStatusError):
        retry(client.messages.create)(model="auto", **BODY)
    (line,) = told(caplog)
    assert "tenacity around guarded calls" in line


def test_langchain_s_retry_is_called_by_its_name(bench: Bench, sandbox: Sandbox, caplog):
    """It retries by tenacity, and is what the user wrote."""
    runnables = pytest.importorskip("langchain_core.runnables")
    bench.provider.outage()
    client = bench.wrapped(PLAIN)
    ask = runnables.RunnableLambda(lambda text: client.messages.create(model=HAIKU, **BODY))
    with pytest.raises(anthropic.APIStatusError):
        ask.with_retry(stop_after_attempt=2, wait_exponential_jitter=False).invoke("x")
    (line,) = told(caplog)
    assert "LangChain's with_retry around guarded calls" in line


def test_tenacity_in_a_task_too(bench: Bench, sandbox: Sandbox, caplog):
    bench.provider.outage()
    client = bench.wrapped(Way("async"))

    @tenacity.retry(stop=tenacity.stop_after_attempt(2), wait=tenacity.wait_none(), reraise=True)
    async def ask():
        return await client.messages.create(model=HAIKU, **BODY)

    with pytest.raises(anthropic.APIStatusError):
        bench.loop.run(ask())
    assert len(told(caplog)) == 1
    assert "tenacity" in told(caplog)[0]


def test_a_loop_around_a_routed_function(sandbox: Sandbox, caplog):
    """Told by the function's arguments, whatever is inside."""

    @attune.routed(workflow="w", candidates=[HAIKU, SONNET])
    def review(text: object, *, model: str = attune.AUTO):
        raise ConnectionError

    for i in range(9):  # each text may be where the last one was
        with pytest.raises(ConnectionError):
            review(f"item {i}" * 50)
        with pytest.raises(ConnectionError):
            review([f"item {i}" * 50, {"a": [i]}])
        with pytest.raises(ConnectionError):
            review(object())  # so may each object, of which nothing else is known
    assert told(caplog) == []
    with pytest.raises(ConnectionError):
        review("two")
    with pytest.raises(ConnectionError):
        review("two")
    assert len(told(caplog)) == 1


def test_other_requests_in_an_outage_are_no_loop(bench: Bench, sandbox: Sandbox, caplog):
    """A batch goes on with its next item, and a conversation with its next turn."""
    bench.provider.outage()
    client = bench.wrapped(PLAIN)
    for i in range(5):
        assert bench.ask(PLAIN, client, HAIKU, messages=[{"role": "user", "content": f"item {i}"}]).error is not None
    assert bench.ask(PLAIN, client, HAIKU, messages=HELLO).error is not None
    assert bench.ask(PLAIN, client, HAIKU, messages=[*HELLO, *HELLO]).error is not None
    with attune.scope(stage="other"):
        assert bench.ask(PLAIN, client, HAIKU, messages=HELLO).error is not None
    assert told(caplog) == []


def test_the_same_request_at_once_or_much_later_is_no_loop(bench: Bench, sandbox: Sandbox, caplog):
    """Five samples of one prompt begin together; a probe by the minute is a probe."""
    bench.provider.outage()
    client = bench.wrapped(Way("async"))

    async def samples():
        ask = client.messages.create
        return await asyncio.gather(*(ask(model=HAIKU, **BODY) for _ in range(5)), return_exceptions=True)

    assert all(isinstance(it, anthropic.APIStatusError) for it in bench.loop.run(samples()))
    assert told(caplog) == []
    sandbox.clock.advance(SOON_S + 1)
    assert bench.ask(PLAIN, bench.wrapped(PLAIN), HAIKU).error is not None
    assert told(caplog) == []


def test_one_attempt_multiplies_nothing(bench: Bench, sandbox: Sandbox, caplog):
    """Where attune does not retry, the loop outside may."""
    bench.provider.outage()
    client = attune.wrap(bench.bare(PLAIN, max_retries=0))
    for _ in range(3):
        assert bench.ask(PLAIN, client, HAIKU).error is not None
    assert told(caplog) == []


def test_what_retrying_cannot_help_is_no_matter(bench: Bench, sandbox: Sandbox, caplog):
    """A wrong request fails on the default too: two attempts, and nobody's loop."""
    client = bench.wrapped(PLAIN, candidates=[HAIKU, SONNET], default=SONNET)
    for _ in range(3):
        for model in (HAIKU, SONNET):
            bench.provider.script(model, fail("invalid_request"))
        bench.ask(PLAIN, client)
    assert told(caplog) == []


def test_the_memory_is_bounded(caplog):
    """And holds numbers only."""
    loops = Loops()
    for mark in range(500):
        loops.failed(mark, attempts=2, began_s=float(mark), now_s=float(mark))
    assert len(loops._failed) <= 64
    assert all(isinstance(it, int) for it in loops._failed)
    assert told(caplog) == []
