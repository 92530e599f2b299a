"""scope, capture, last_call: nested, in threads, in tasks; and what a person may not write."""

from __future__ import annotations

import asyncio
import contextvars
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from calls.ways import BODY, HAIKU, OPUS, SONNET, Bench, Way

import attune
from attune.testing import Sandbox

PLAIN = Way("plain")


@attune.routed(workflow="inside", candidates=[HAIKU])
def ask(model: str = attune.AUTO) -> str:
    return model


@attune.routed(workflow="inside", candidates=[HAIKU])
async def ask_later(model: str = attune.AUTO) -> str:
    await asyncio.sleep(0)
    return model


def test_scopes_merge_inwards(bench: Bench):
    """The innermost word wins; what it leaves open comes from outside; `wrap`'s words are defaults."""
    client = bench.wrapped(PLAIN, workflow="default", stage="s0", max_cost=0.5)

    def cell() -> tuple[str, str, str]:
        client.messages.create(model="auto", **BODY)
        record = attune.last_call()
        return record.workflow, record.stage, record.model

    assert cell() == ("default", "s0", HAIKU)
    with attune.scope(workflow="outer"):
        assert cell() == ("outer", "s0", HAIKU)
        with attune.scope(stage="s1", model=SONNET):
            assert cell() == ("outer", "s1", SONNET)
            with attune.scope(workflow="inner", model=OPUS):
                assert cell() == ("inner", "s1", OPUS)
            assert cell() == ("outer", "s1", SONNET)
    assert cell() == ("default", "s0", HAIKU)


def test_a_scope_ends_with_an_exception_too(bench: Bench):
    client = bench.wrapped(PLAIN)
    with pytest.raises(KeyError), attune.scope(workflow="w"):
        raise KeyError
    client.messages.create(model="auto", **BODY)
    assert attune.last_call().workflow == "default"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ({"workflow": ""}, "workflow"), ({"workflow": 3}, "workflow"), ({"stage": "  "}, "stage"), ({"model": 4}, "model"),
        ({"max_cost": 0}, "max_cost"), ({"max_cost": math.inf}, "max_cost"), ({"max_cost": "1"}, "max_cost"),
        ({"max_cost": True}, "max_cost"), ({"max_latency_ms": -5}, "max_latency_ms"),
        ({"min_success_rate": 1.01}, "min_success_rate"), ({"min_success_rate": -0.1}, "min_success_rate"),
        ({"timeout_s": 0}, "timeout_s"), ({"timeout_s": math.nan}, "timeout_s"),
        ({"on_infeasible": "give up"}, "on_infeasible"), ({"work_flow": "w"}, "workflow"),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_words_say_what_would_be_right(words, named):
    """ConfigError, which is a ValueError, before anything is entered."""
    with pytest.raises(ValueError, match=named) as seen:
        attune.scope(**words)
    assert isinstance(seen.value, attune.ConfigError)


def test_captures_nest(sandbox: Sandbox):
    """Each block has the calls that started inside it; a stream that ends later is still its own."""
    with attune.capture() as outer:
        ask()
        with attune.capture() as inner:
            ask()
        ask()
    ask()
    assert (len(outer), len(inner)) == (3, 1)
    assert inner[0] is outer[1]
    assert outer.cost == 0.0


def test_a_captured_stream_may_end_after_the_block(bench: Bench):
    client = bench.wrapped(PLAIN)
    with attune.capture() as calls:
        stream = client.messages.create(model="auto", stream=True, **BODY)
    assert calls == []
    list(stream)
    assert len(calls) == 1
    assert calls.cost == calls[0].cost > 0


def test_threads_do_not_see_each_other(sandbox: Sandbox):
    """A thread starts with no scope and no last call; a copied context is captured."""
    seen = {}
    barrier = threading.Barrier(2)

    def work(name: str) -> None:
        assert attune.last_call() is None
        with attune.scope(model=name), attune.capture() as calls:
            barrier.wait(5)
            ask()
            barrier.wait(5)
        seen[name] = (attune.last_call().model, len(calls))

    with attune.capture() as calls, ThreadPoolExecutor(2) as pool:
        list(pool.map(work, (SONNET, OPUS)))
    assert seen == {SONNET: (SONNET, 1), OPUS: (OPUS, 1)}
    assert calls == []
    with attune.capture() as calls:
        before = attune.last_call()
        thread = threading.Thread(target=contextvars.copy_context().run, args=(ask,))
        thread.start()
        thread.join()
    assert len(calls) == 1
    assert attune.last_call() is before


def test_tasks_are_captured_and_keep_their_last_call_to_themselves(sandbox: Sandbox):
    """gather, tasks and `to_thread` count for the block around them; each scope stays in its task."""

    async def one(model: str) -> str:
        with attune.scope(model=model):
            await ask_later()
        return attune.last_call().model

    async def main() -> None:
        before = attune.last_call()
        with attune.capture() as calls:
            assert await asyncio.gather(one(HAIKU), one(SONNET), one(OPUS)) == [HAIKU, SONNET, OPUS]
            assert attune.last_call() is before
            await asyncio.create_task(one(HAIKU))
            await asyncio.to_thread(ask)
            await ask_later()
        assert attune.last_call() is calls[-1]
        assert len(calls) == 6

    asyncio.run(main())


def test_last_call_is_there_after_a_raising_call(sandbox: Sandbox):
    @attune.routed(workflow="w", candidates=[HAIKU])
    def broken(model: str = attune.AUTO) -> None:
        raise ValueError

    assert contextvars.Context().run(attune.last_call) is None
    with pytest.raises(ValueError):
        broken()
    assert (attune.last_call().workflow, attune.last_call().outcome) == ("w", "neutral")


def test_a_verdict_later(sandbox: Sandbox):
    """By the call's id, for as long as a week; the cell learns it; strangers' ids are counted and ignored."""
    ask()
    record = attune.last_call()
    attune.report_quality(record.id, 0.25)
    cell = sandbox.runtime.snapshot().cells["inside", "default"]
    assert cell.judged
    assert cell.stat("anthropic", HAIKU).s == pytest.approx(0.25)
    for stranger in ("", "c1.x.y", "nonsense", "c1..", record.id[:-4]):
        attune.report_quality(stranger, 0.5)
    assert sandbox.faults["report_quality"] >= 4
    sandbox.clock.advance(8 * 86400)
    before = sandbox.faults["report_quality"]
    attune.report_quality(record.id, 0.5)
    assert sandbox.faults["report_quality"] == before + 1
    for wrong in (-0.1, 1.1, "good", True, None, math.nan):
        with pytest.raises(attune.ConfigError, match="score"):
            attune.report_quality(record.id, wrong)


def test_a_runtime_of_one_s_own(sandbox: Sandbox):
    """`runtime=` keeps a function's evidence apart from the process's."""
    from attune.calls.default import build

    own = build(state="memory", readers=(), explore=False)

    @attune.routed(workflow="apart", candidates=[HAIKU], runtime=own)
    def apart(model: str = attune.AUTO) -> str:
        return model

    apart()
    assert ("apart", "default") in own.snapshot().cells
    assert ("apart", "default") not in sandbox.runtime.snapshot().cells
    own.shutdown()
