"""A session keeps its target: so that prompt caches stay warm, whatever the router would try meanwhile."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from types import SimpleNamespace

import pytest
from calls.ways import BODY, HAIKU, HELLO, OPUS, SONNET, Bench, Ledger, Way

import attune
from attune.calls.sessions import IDLE_S, MOST, Sessions
from attune.models.call import Target
from attune.models.decision import Decision
from attune.models.performance import Observation, Series
from attune.models.snapshot import Snapshot
from attune.testing import Sandbox, fail

PLAIN = Way("plain")
THREE = [HAIKU, SONNET, OPUS]


def prove(sandbox: Sandbox, model: str, *, successes: int = 60, of: int = 60, cost: int = 1, stage: str = "default"):
    for i in range(of):
        sandbox.runtime.windows.record(
            Observation(
                series=Series("chat", stage, "anthropic", model),
                at_us=int(sandbox.clock.time() * 1e6),
                outcome="success",
                latency_us=1000,
                cost_nano=cost * 1000,
                tokens_in=10,
                tokens_out=10,
                empty=i >= successes,
            )
        )


def client_of(bench: Bench, way: Way, **words):
    return bench.wrapped(way, workflow="chat", candidates=THREE, **words)


def model_of(seen) -> str:
    assert seen.error is None
    return seen.record.model


def test_a_session_stays_where_it_began(bench: Bench, ledger: Ledger, sandbox: Sandbox, way: Way):
    """A cheaper model that is proven meanwhile gets the new sessions, not the one that is under way."""
    client = client_of(bench, way)
    with attune.scope(session="s1"):
        first = bench.ask(way, client)
    home = model_of(first)
    other = next(model for model in THREE if model != home)
    prove(sandbox, home, cost=9)
    prove(sandbox, other, cost=1)
    with attune.scope(session="s1"):
        kept = bench.ask(way, client)
    with attune.scope(session="s2"):
        fresh = bench.ask(way, client)
    assert [model_of(it) for it in (kept, fresh)] == [home, other]
    decision = kept.record.decision
    assert (decision.model, decision.reason, decision.explored, decision.probability) == (home, "proven", False, 1.0)
    assert decision.constraint_satisfied
    assert {it.model: it.eliminated_by for it in decision.candidates}[home] == "costlier"


def test_exploring_moves_no_session(bench: Bench, sandbox: Sandbox):
    """New sessions may begin with a trial; all calls of one session go to one model."""
    sandbox.configure(explore=True, seed=1)
    prove(sandbox, SONNET, cost=10_000)  # dear, so that a cheaper one is worth a trial
    client = client_of(bench, PLAIN)
    begun = set()
    for i in range(12):
        with attune.scope(session=f"other {i}"):
            begun.add(model_of(bench.ask(PLAIN, client)))
    assert len(begun) > 1
    for i in range(6):
        with attune.scope(session=f"long {i}"):
            assert len({model_of(bench.ask(PLAIN, client)) for _ in range(12)}) == 1


def test_a_fallback_moves_the_session(bench: Bench, ledger: Ledger, sandbox: Sandbox, way: Way):
    """The target that answered is the session's from then on, although the first one is well again."""
    client = client_of(bench, way)
    with attune.scope(session="s"):
        home = model_of(bench.ask(way, client))
        bench.provider.script(home, fail("overloaded"))
        moved = bench.ask(way, client)
        assert moved.tried[0][:3] == (home, "initial", "failure")
        there = model_of(moved)
        assert there != home
        prove(sandbox, home, cost=1)
        prove(sandbox, there, cost=9)
        assert {model_of(bench.ask(way, client)) for _ in range(5)} == {there}


@pytest.mark.parametrize("how", ["open", "cooling"])
def test_a_circuit_that_refuses_moves_the_session(bench: Bench, sandbox: Sandbox, how):
    """No attempt at it, no wait for it; and it does not come back by itself."""
    client = client_of(bench, PLAIN)
    with attune.scope(session="s"):
        home = model_of(bench.ask(PLAIN, client))
        now, circuits = sandbox.clock.monotonic(), sandbox.runtime.circuits
        if how == "cooling":
            circuits.cool_down("anthropic", home, endpoint=bench.url, until=now + 5, now=now)
        else:
            bench.provider.script(home, *[fail("overloaded", should_retry=False)] * 5)
            for _ in range(5):
                with attune.scope(model=home):
                    bench.ask(PLAIN, client)
        moved = bench.ask(PLAIN, client)
        assert len(moved.tried) == 1
        there = model_of(moved)
        assert there != home
        assert sandbox.clock.sleeps == ()
        sandbox.clock.advance(120)
        assert model_of(bench.ask(PLAIN, client)) == there


@pytest.mark.parametrize("words", [{"max_cost": 3e-6}, {"min_success_rate": 0.8}])
def test_a_limit_moves_the_session(bench: Bench, sandbox: Sandbox, words):
    """A target that a limit rules out is left, session or not."""
    client = client_of(bench, PLAIN, **words)
    for model, cost in ((HAIKU, 1), (SONNET, 2), (OPUS, 9)):
        prove(sandbox, model, cost=cost)
    with attune.scope(session="s"):
        assert model_of(bench.ask(PLAIN, client)) == HAIKU
        prove(sandbox, HAIKU, successes=0, of=300, cost=1 if "max_cost" not in words else 90)
        assert model_of(bench.ask(PLAIN, client)) == SONNET


def test_each_cell_of_a_session_has_its_own_target(bench: Bench, sandbox: Sandbox):
    """Two stages ask two questions, and may have two answers."""
    prove(sandbox, HAIKU, stage="draft")
    prove(sandbox, HAIKU, stage="check", successes=10)
    prove(sandbox, OPUS, stage="check", cost=9)
    client = client_of(bench, PLAIN, session="s")
    with attune.scope(stage="draft"):
        assert {model_of(bench.ask(PLAIN, client)) for _ in range(3)} == {HAIKU}
    with attune.scope(stage="check"):
        assert {model_of(bench.ask(PLAIN, client)) for _ in range(3)} == {OPUS}


def test_a_pinned_call_neither_follows_nor_moves_a_session(bench: Bench, sandbox: Sandbox):
    client = client_of(bench, PLAIN, session="s")
    home = model_of(bench.ask(PLAIN, client))
    other = next(model for model in THREE if model != home)
    assert model_of(bench.ask(PLAIN, client, other)) == other
    assert model_of(bench.ask(PLAIN, client)) == home


def test_a_session_lives_in_its_runtime_and_dies_of_an_idle_hour(bench: Bench, sandbox: Sandbox):
    client = client_of(bench, PLAIN, session="s")
    home = model_of(bench.ask(PLAIN, client))
    sessions = sandbox.runtime.memory.sessions
    assert len(sessions) == 1
    other = next(model for model in THREE if model != home)
    sandbox.clock.advance(IDLE_S - 1)
    assert model_of(bench.ask(PLAIN, client)) == home
    sandbox.clock.advance(IDLE_S + 1)
    prove(sandbox, other, cost=1)
    prove(sandbox, home, cost=9)
    assert model_of(bench.ask(PLAIN, client)) == other
    sandbox.configure()
    assert len(sandbox.runtime.memory.sessions) == 0


def test_a_routed_function_keeps_its_session_s_target(bench: Bench, sandbox: Sandbox):
    """Where the guarded call inside takes over, and where the function is plain."""
    client = bench.wrapped(PLAIN)
    handed = []

    @attune.routed(workflow="chat", candidates=THREE)
    def review(*, model: str = attune.AUTO):
        handed.append(model)
        return client.messages.create(model=model, **BODY)

    @attune.routed(workflow="plain", candidates=THREE)
    async def plain(*, model: str = attune.AUTO):
        return model

    with attune.scope(session="s"):
        assert len({review().model for _ in range(12)}) == 1
        loop = contextvars.copy_context()
        assert len({loop.run(asyncio.run, plain()) for _ in range(12)}) == 1
    assert len(set(handed)) == 1


def test_the_name_of_a_session_is_told_nowhere(bench: Bench, sandbox: Sandbox, way: Way, caplog):
    caplog.set_level("DEBUG")
    with attune.scope(session="canary-7f3a"):
        for _ in range(2):
            seen = bench.ask(way, client_of(bench, way))
    assert seen.error is None
    assert "canary" not in caplog.text
    assert "canary" not in repr([span.to_json() for span in sandbox.spans])
    assert "canary" not in repr(seen.record)


def test_sessions_leave_questions_alone(bench: Bench, sandbox: Sandbox):
    """A thousand names are one question: what the router remembers does not grow with them."""
    client = client_of(bench, PLAIN)
    for i in range(20):
        with attune.scope(session=str(i)):
            bench.ask(PLAIN, client, messages=HELLO)
    assert len(sandbox.runtime.router._memos) == 1


def test_a_session_keeps_no_evidence_alive(bench: Bench, sandbox: Sandbox):
    """Each began at a moment of its own; what was known then goes with the moment."""
    client = client_of(bench, PLAIN)
    alive = []
    for i in range(8):
        with attune.scope(session=str(i)):
            bench.ask(PLAIN, client)
        sandbox.clock.advance(31)  # a ranking holds for 30 s
        gc.collect()
        alive.append(sum(isinstance(it, Snapshot) for it in gc.get_objects()))
    assert alive[-1] <= alive[1]


def test_the_memory_is_bounded_and_forgets_the_one_unused_for_longest():
    sessions, target = Sessions(), Target("m")
    question = SimpleNamespace(workflow="w", stage="s", targets=(target,))
    decision = Decision(model="m", provider="anthropic", reason="best")
    for i in range(MOST + 5):
        sessions.keep(str(i), question, target, decision, float(i))
        sessions.keep("0", question, target, decision, float(i))
    assert len(sessions) == MOST
    assert ("0", "w", "s") in sessions._kept
    assert ("1", "w", "s") not in sessions._kept
