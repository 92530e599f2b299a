"""Every failure of a provider, four ways in three APIs: what the caller sees, what is written down, what the breaker learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from calls.ways import EVERY, Bench, Ledger, Way

import attune
from attune.clients.anthropic import AnthropicDialect
from attune.testing import Sandbox, Step, cut, empty, fail, hang, malformed, refusal, refuse, stream_error


@dataclass(frozen=True)
class Case:
    """One failure and what the table says of it."""

    step: Step
    kind: str
    outcome: str = "failure"
    retry: bool = False  # asked again at the same target
    fall_back: bool = False  # another model of the same account may answer
    circuit: str | None = None  # whose count goes up: MODEL's or PROVIDER's
    cools: str | None = None
    wait_s: float | None = None

    def named(self, word: str | None, way: Way) -> str | None:
        """The circuit that is meant."""
        return {None: None, PROVIDER: way.sdk.provider, MODEL: f"{way.sdk.provider}:{way.sdk.small}"}[word]


MODEL, PROVIDER = "the model's", "the provider's"
CASES = {
    "overloaded": Case(fail("overloaded"), "overloaded", retry=True, fall_back=True, circuit=MODEL),
    "server": Case(fail("server"), "server", retry=True, fall_back=True, circuit=MODEL),
    "unavailable": Case(fail("unavailable"), "server", retry=True, fall_back=True, circuit=MODEL),
    "gateway time-out": Case(fail("timeout"), "server", retry=True, fall_back=True, circuit=MODEL),
    "request time-out": Case(fail("request_timeout"), "timeout", retry=True, fall_back=True, circuit=MODEL),
    "rate limit": Case(fail("rate_limit"), "rate_limit", retry=True, fall_back=True, cools=MODEL, wait_s=1.0),
    "rate limit, told to wait": Case(
        fail("rate_limit", retry_after_s=3), "rate_limit", retry=True, fall_back=True, cools=MODEL, wait_s=3.0
    ),
    "rate limit, a long wait": Case(fail("rate_limit", retry_after_s=90), "rate_limit", fall_back=True, cools=MODEL),
    "spend limit": Case(fail("spend_limit"), "spend_limit", cools=PROVIDER),
    "auth": Case(fail("auth"), "auth", circuit=PROVIDER),
    "payment": Case(fail("payment"), "payment", circuit=PROVIDER),
    "permission": Case(fail("permission"), "auth", circuit=PROVIDER),
    "not found": Case(fail("not_found"), "not_found", "neutral"),
    "invalid": Case(fail("invalid_request"), "invalid_request", "neutral"),
    "unprocessable": Case(fail("unprocessable"), "invalid_request", "neutral"),
    "too large": Case(fail("too_large"), "too_large", "neutral"),
    "conflict": Case(fail("conflict"), "other", "neutral", retry=True),
    "told not to retry": Case(fail("overloaded", should_retry=False), "overloaded", fall_back=True, circuit=MODEL),
    "refused": Case(refuse(), "connection", retry=True, fall_back=True, circuit=PROVIDER),
    "cut before headers": Case(cut(), "connection", retry=True, fall_back=True, circuit=PROVIDER),
}


@pytest.fixture(params=CASES, ids=str)
def case(request) -> Case:
    return CASES[request.param]


def bare_error(bench: Bench, way: Way, step: Step) -> BaseException:
    """What the SDK alone raises."""
    bench.provider.script(way.sdk.small, step)
    seen = bench.ask(way, bench.bare(way, max_retries=0), way.sdk.small)
    assert seen.error is not None
    assert seen.records == []
    return seen.error


def two(way: Way) -> list[str]:
    """Two candidates."""
    return [way.sdk.small, way.sdk.large]


def counted(sandbox: Sandbox) -> dict[str, int]:
    return {name: it["failure_count"] for name, it in sandbox.circuits.items() if it["failure_count"]}


def evidence(sandbox: Sandbox, way: Way) -> Any:
    cell = sandbox.runtime.snapshot().cells.get(("review", "default"))
    return cell.stat(way.sdk.provider, way.sdk.small) if cell else None


def test_a_failure_of_the_first_target_of_two(
    bench: Bench, ledger: Ledger, sandbox: Sandbox, every_way: Way, case: Case
):
    """Another target answers where the table allows it; else the caller gets the SDK's own exception."""
    way = every_way
    small, large = two(way)
    bare = bare_error(bench, way, case.step)
    bench.provider.script(small, case.step)
    seen = bench.ask(way, bench.wrapped(way, workflow="review", candidates=[small, large]))

    first = (small, "initial", case.outcome, case.kind)
    if case.fall_back:
        assert seen.error is None
        assert seen.tried == [first, (large, "fallback", "success", None)]
        assert seen.record.cost > 0
        assert seen.record.outcome == "success"
        assert seen.record.model == large
        assert sandbox.clock.sleeps == ()
    elif case.retry:
        assert seen.error is None
        assert seen.tried == [first, (small, "retry", "success", None)]
    else:
        assert type(seen.error) is type(bare)
        assert str(seen.error).startswith(str(bare)[:40])
        assert seen.tried == [first]
        assert (seen.record.outcome, seen.record.cost) == (case.outcome, 0.0)
    assert seen.record.cost_complete
    assert seen.record.attempts[0].cost == 0.0
    assert seen.record.partial_text is None
    if case.fall_back and case.circuit == PROVIDER:
        assert counted(sandbox) == {}  # the other model's answer says that the provider is well
    else:
        learned(sandbox, case, way)
    ledger.check(seen.records)


def learned(sandbox: Sandbox, case: Case, way: Way) -> None:
    """Count and cooldown are where the table puts them, and nowhere else."""
    status, circuit, cools = sandbox.circuits, case.named(case.circuit, way), case.named(case.cools, way)
    if circuit is not None:
        assert status[circuit]["failure_count"] == 1
        assert status[circuit]["last_failure_kind"] == case.kind
    assert {name for name, it in status.items() if it["cooling_until"]} == ({cools} if cools else set())
    assert counted(sandbox) == ({circuit: 1} if circuit else {})


def test_a_failure_of_a_pinned_model_that_passes(
    bench: Bench, ledger: Ledger, sandbox: Sandbox, some_way: Way, case: Case
):
    """One target: it is asked again where the SDK would, after the wait that was asked for, and no other is."""
    way, small = some_way, some_way.sdk.small
    bare = bare_error(bench, way, case.step)
    bench.provider.script(small, case.step)
    seen = bench.ask(way, bench.wrapped(way, workflow="review"), small)

    first = (small, "initial", case.outcome, case.kind)
    if case.retry:
        assert seen.error is None
        assert seen.tried == [first, (small, "retry", "success", None)]
        assert counted(sandbox) == ({} if case.circuit == MODEL else counted(sandbox))
        (wait_s,) = sandbox.clock.sleeps
        assert wait_s == case.wait_s if case.wait_s else 0.375 <= wait_s <= 0.5
    else:
        assert type(seen.error) is type(bare)
        assert seen.tried == [first]
        assert sandbox.clock.sleeps == ()
        learned(sandbox, case, way)
    ledger.check(seen.records)


def test_a_failure_of_a_pinned_model_that_stays(
    bench: Bench, ledger: Ledger, sandbox: Sandbox, some_way: Way, case: Case
):
    """The SDK's own exception passes, after as many attempts as the client would have made; a note says what was tried."""
    way, small = some_way, some_way.sdk.small
    bare = bare_error(bench, way, case.step)
    bench.provider.script(small, *[case.step] * 3)
    seen = bench.ask(way, bench.wrapped(way, workflow="review"), small)

    assert type(seen.error) is type(bare)
    assert isinstance(seen.error, way.sdk.module.APIError)
    assert len(seen.record.attempts) == (3 if case.retry else 1)
    assert {(it[2], it[3]) for it in seen.tried} == {(case.outcome, case.kind)}
    assert seen.record.outcome == case.outcome
    assert (seen.record.cost, seen.record.cost_complete) == (0.0, True)
    notes = getattr(seen.error, "__notes__", [])
    waits = [note for note in notes if "max_wait_s" in note]
    assert len(waits) == ((case.step.retry_after_s or 0) > 10)  # longer than anybody here is ready to wait
    tried = [note for note in notes if note not in waits]
    assert len(tried) == (1 if case.retry else 0)
    assert all(small in note and case.kind in note for note in tried)
    assert sum(counted(sandbox).values()) == (len(seen.record.attempts) if case.circuit else 0)
    stat = evidence(sandbox, way)
    samples = len(seen.record.attempts) if case.outcome == "failure" else 0
    assert (stat.samples if stat else 0) == samples
    ledger.check(seen.records)


# -- streams, after their headers


IN_STREAM = {
    "error before content": (stream_error("overloaded"), "overloaded", True, 0.0),
    "error before the first event": (stream_error("server", after=None), "server", True, 0.0),
    "error after content": (stream_error("overloaded", after=1), "overloaded", False, None),
    "cut after content": (cut(after=1), "stream_broken", False, None),
    "cut after the opening": (cut(after=0), "stream_broken", True, None),
    "malformed after content": (malformed(after=1), "server", False, None),
}


@pytest.mark.parametrize("name", IN_STREAM)
def test_a_stream_that_breaks_with_two_targets(bench: Bench, ledger: Ledger, sandbox: Sandbox, name, stream_way: Way):
    """Before the first content another target takes over; after it, what the SDK shows passes: its exception, its event."""
    step, kind, fell_back, cost = IN_STREAM[name]
    way, sdk = stream_way, stream_way.sdk
    small, large = two(way)
    bench.provider.script(small, step)
    bare = bench.ask(way, bench.bare(way, max_retries=0), small)
    bench.provider.script(small, step)
    seen = bench.ask(way, bench.wrapped(way, workflow="review", candidates=[small, large]))

    first = (small, "initial", "failure", sdk.in_stream(kind))
    if fell_back:
        assert seen.error is None
        assert seen.tried == [first, (large, "fallback", "success", None)]
        assert sdk.model(seen.events[0]) == large
        assert sdk.kind(seen.events[-1]) == sdk.ending
        assert seen.record.partial_text is None
    else:
        assert type(seen.error) is type(bare.error)
        assert [sdk.kind(it) for it in seen.events] == [sdk.kind(it) for it in bare.events]
        assert seen.tried == [first]
        assert seen.record.outcome == "failure"
        assert seen.record.partial_text
        assert seen.record.partial_text == "".join(map(sdk.text, seen.events))
    assert seen.record.attempts[0].cost == cost
    assert seen.record.cost_complete == (cost is not None)
    assert sandbox.circuits[f"{sdk.provider}:{small}"]["failure_count"] == 1
    ledger.check(seen.records)


@pytest.mark.parametrize("name", IN_STREAM)
def test_a_stream_that_breaks_with_one_target(bench: Bench, ledger: Ledger, sandbox: Sandbox, name, stream_way: Way):
    """Nothing is held: the caller sees what the SDK shows, event by event, and then its exception."""
    step, kind, _, _ = IN_STREAM[name]
    way, sdk, small = stream_way, stream_way.sdk, stream_way.sdk.small
    bench.provider.script(small, step)
    bare = bench.ask(way, bench.bare(way, max_retries=0), small)
    bench.provider.script(small, step)
    seen = bench.ask(way, bench.wrapped(way, workflow="review"), small)

    assert type(seen.error) is type(bare.error)
    assert (seen.error is None) == (step.act == "stream_error" and not sdk.raises_in_stream)
    assert [sdk.kind(it) for it in seen.events] == [sdk.kind(it) for it in bare.events]
    assert seen.tried == [(small, "initial", "failure", sdk.in_stream(kind))]
    assert sandbox.circuits[f"{sdk.provider}:{small}"]["failure_count"] == 1
    ledger.check(seen.records)


@pytest.mark.parametrize(("step", "kind"), [(malformed(), "server"), (cut(after=1), "connection")])
@pytest.mark.parametrize("way", [way for way in EVERY if not way.stream], ids=repr)
def test_a_plain_answer_that_does_not_parse_or_is_cut(bench: Bench, ledger: Ledger, way, step, kind):
    """Half a body, or none that is JSON: the other target answers."""
    small, large = two(way)
    bench.provider.script(small, step)
    seen = bench.ask(way, bench.wrapped(way, workflow="review", candidates=[small, large]))
    assert seen.tried == [(small, "initial", "failure", kind), (large, "fallback", "success", None)]
    ledger.check(seen.records)


def test_silence_ends_at_the_client_s_own_time_out(bench: Bench, ledger: Ledger, sandbox: Sandbox, some_way: Way):
    """A hang counts as a time-out of the model, and may have cost something; the other target answers."""
    way = some_way
    small, large = two(way)
    bench.provider.script(small, hang())
    seen = bench.ask(way, bench.wrapped(way, workflow="review", candidates=[small, large]), timeout=0.15)
    assert seen.error is None
    assert seen.tried == [(small, "initial", "failure", "timeout"), (large, "fallback", "success", None)]
    assert not seen.record.cost_complete
    ledger.check(seen.records)

    bench.provider.script(small, *[hang()] * 2)
    twice = attune.wrap(bench.bare(way, max_retries=1), workflow="review")
    seen = bench.ask(way, twice, small, timeout=0.15)
    assert type(seen.error) is way.sdk.module.APITimeoutError
    assert [it.error_type for it in seen.record.attempts] == ["timeout"] * 2


def test_a_prohibited_answer_and_an_empty_one_are_answers(
    bench: Bench, ledger: Ledger, sandbox: Sandbox, every_way: Way
):
    """Neither is a failure of the provider; an empty one counts as no success of the model."""
    way, small = every_way, every_way.sdk.small
    for step, samples, successes in ((refusal("I would rather not."), 1, 1), (empty(), 2, 1)):
        bench.provider.script(small, step)
        seen = bench.ask(way, bench.wrapped(way, workflow="review"), small)
        assert seen.error is None
        assert seen.tried == [(small, "initial", "success", None)]
        stat = evidence(sandbox, way)
        assert (stat.samples, round(stat.s)) == (samples, successes)
    assert counted(sandbox) == {}


def test_a_dialect_that_cannot_tell_what_binds_a_request_changes_no_outcome(
    bench: Bench, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    """The next target is asked, as if nothing bound it."""
    monkeypatch.setattr(AnthropicDialect, "binding", lambda self, request: 1 // 0)
    way = Way("plain")
    bench.provider.script(way.sdk.small, fail("server"))
    seen = bench.ask(way, bench.wrapped(way, candidates=[way.sdk.small, way.sdk.large]))
    assert seen.error is None
    assert [it[0] for it in seen.tried] == [way.sdk.small, way.sdk.large]
    assert sandbox.faults == {"reach": 1}
