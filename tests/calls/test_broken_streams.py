"""Streams that break before their first content: with two targets another one answers, and nobody notices."""

from __future__ import annotations

import anthropic
import pytest
from calls.ways import BODY, HAIKU, OPUS, SONNET, Bench, Ledger, Way

import attune
from attune.testing import Sandbox, cut, empty, fail, stream_error, truncate

TWO = [HAIKU, SONNET]


@pytest.fixture(params=["stream", "async stream"])
def way(request: pytest.FixtureRequest) -> Way:
    return Way(request.param)


def kinds(seen) -> list[str]:
    return [event.type for event in seen.events]


@pytest.mark.parametrize("step", [truncate(after=0), cut(after=0)], ids=["truncated", "cut"])
def test_a_stream_that_ends_before_content_falls_back(bench: Bench, ledger: Ledger, sandbox: Sandbox, way: Way, step):
    """The next target answers; the caller sees its events alone, and the first attempt is a broken stream."""
    bench.provider.script(HAIKU, step)
    seen = bench.ask(way, bench.wrapped(way, candidates=TWO))
    assert seen.error is None
    assert seen.tried == [(HAIKU, "initial", "failure", "stream_broken"), (SONNET, "fallback", "success", None)]
    assert kinds(seen).count("message_start") == 1
    assert kinds(seen)[-1] == "message_stop"
    assert seen.events[0].message.model == SONNET
    assert seen.record.outcome == "success"
    assert (seen.record.attempts[0].cost, seen.record.cost_complete) == (None, False)
    assert sandbox.circuits[f"anthropic:{HAIKU}"]["last_failure_kind"] == "stream_broken"
    assert sandbox.circuits[f"anthropic:{HAIKU}"]["failure_count"] == 1
    ledger.check(seen.records)


def test_an_error_inside_a_stream_before_content_falls_back(bench: Bench, ledger: Ledger, way: Way):
    """Status 200, then an error event: what its code says, and then the next target."""
    bench.provider.script(HAIKU, stream_error("overloaded", after=0))
    seen = bench.ask(way, bench.wrapped(way, candidates=TWO))
    assert seen.tried == [(HAIKU, "initial", "failure", "overloaded"), (SONNET, "fallback", "success", None)]
    assert kinds(seen).count("message_start") == 1
    ledger.check(seen.records)


def test_a_stream_that_is_empty_and_whole_is_an_answer(bench: Bench, ledger: Ledger, way: Way):
    """Its terminal event came: nothing is tried again."""
    bench.provider.script(HAIKU, empty())
    seen = bench.ask(way, bench.wrapped(way, candidates=TWO))
    assert seen.tried == [(HAIKU, "initial", "success", None)]
    assert kinds(seen)[-1] == "message_stop"
    ledger.check(seen.records)


def test_after_content_a_truncated_stream_ends_as_it_does_bare(bench: Bench, ledger: Ledger, way: Way):
    """What the caller has seen cannot be taken back."""
    bench.provider.script(HAIKU, truncate(after=1))
    seen = bench.ask(way, bench.wrapped(way, candidates=TWO))
    assert seen.error is None
    assert seen.tried == [(HAIKU, "initial", "failure", "stream_broken")]
    assert seen.record.partial_text
    ledger.check(seen.records)


def test_every_target_ends_before_content(bench: Bench, ledger: Ledger, sandbox: Sandbox, way: Way):
    """The last stream is handed over as it came, and ends normally; each attempt is counted once."""
    for model in TWO:
        bench.provider.script(model, *[truncate(after=0)] * 5)
    seen = bench.ask(way, bench.wrapped(way, candidates=TWO))
    assert seen.error is None
    assert kinds(seen)[0] == "message_start"
    assert "message_stop" not in kinds(seen)
    assert {it[2:] for it in seen.tried} == {("failure", "stream_broken")}
    assert [it[0] for it in seen.tried[:2]] == TWO
    assert (seen.record.outcome, seen.record.partial_text) == ("failure", None)
    ledger.check(seen.records)


def test_every_target_ends_before_content_and_that_was_to_raise(bench: Bench, sandbox: Sandbox, monkeypatch, way: Way):
    """`strict_streams`: StreamInterrupted from the call itself, also the SDK's connection error; a failure, no refusal."""
    sandbox.configure(strict_streams=True)
    ledger = Ledger(sandbox, monkeypatch)
    for model in TWO:
        bench.provider.script(model, *[truncate(after=0)] * 5)
    seen = bench.ask(way, bench.wrapped(way, candidates=TWO))
    assert isinstance(seen.error, attune.StreamInterrupted)
    assert isinstance(seen.error, anthropic.APIConnectionError)
    assert seen.events == []
    assert seen.record.outcome == "failure"
    assert "attune tried" in seen.error.__notes__[0]
    ledger.check(seen.records)


def test_the_last_target_s_own_error_passes(bench: Bench, ledger: Ledger, way: Way):
    """A stream that ended early, then a target that refuses for good: the caller gets the provider's exception."""
    bench.provider.script(HAIKU, truncate(after=0))
    bench.provider.script(SONNET, fail("auth"))
    seen = bench.ask(way, bench.wrapped(way, candidates=TWO))
    assert isinstance(seen.error, anthropic.AuthenticationError)
    assert [it[3] for it in seen.tried] == ["stream_broken", "auth"]
    ledger.check(seen.records)


def test_one_target_holds_nothing(bench: Bench, ledger: Ledger, way: Way):
    """With a single target the stream is the caller's from its first event."""
    bench.provider.script(HAIKU, truncate(after=0))
    seen = bench.ask(way, bench.wrapped(way), HAIKU)
    assert seen.error is None
    assert seen.tried == [(HAIKU, "initial", "failure", "stream_broken")]
    assert kinds(seen)[0] == "message_start"
    ledger.check(seen.records)


def test_the_sdk_s_stream_helper_never_sees_the_broken_one(bench: Bench, sandbox: Sandbox):
    """`messages.stream()` reads the answer of the target that answered."""
    bench.provider.script(HAIKU, truncate(after=0))
    client = bench.wrapped(Way("stream"), candidates=TWO)
    with client.messages.stream(model="auto", **BODY) as stream:
        assert stream.get_final_message().model == SONNET


def test_a_routed_function_s_stream_falls_back_inside(bench: Bench, ledger: Ledger):
    """The guarded call inside took over: a stream that ended early goes on to the function's next candidate."""
    client = bench.wrapped(Way("stream"))

    @attune.routed(workflow="w", candidates=[HAIKU, OPUS])
    def review(*, model: str = attune.AUTO):
        return client.messages.create(model=model, stream=True, **BODY)

    bench.provider.script(HAIKU, truncate(after=0))
    with attune.capture() as calls:
        events = list(review())
    assert events[-1].type == "message_stop"
    assert [(it.model, it.outcome) for it in calls[0].attempts] == [(HAIKU, "failure"), (OPUS, "success")]
    ledger.check(calls, permits=3)  # one more was withdrawn when the call inside took over
