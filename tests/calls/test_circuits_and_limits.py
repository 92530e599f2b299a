"""What attune refuses on purpose, and where a call goes when circuits, accounts or time stand in the way."""

from __future__ import annotations

import anthropic
import pytest
from calls.ways import HAIKU, OPUS, SONNET, Bench, Ledger, Way

import attune
from attune.testing import Sandbox, ScriptedProvider, fail, hang

PLAIN = Way("plain")
TWO = [HAIKU, SONNET]


def sicken(bench: Bench, client, *models: str) -> None:
    """Let each model fail until its circuit is open."""
    for model in models:
        bench.provider.script(model, *[fail("overloaded", should_retry=False)] * 5)
        for _ in range(5):
            assert bench.ask(PLAIN, client, model).error is not None


def asked(bench: Bench) -> list[str]:
    return [it.model for it in bench.provider.requests]


def test_an_open_circuit_of_the_only_target_rejects(bench: Bench, sandbox: Sandbox, way: Way):
    """No request, no attempt; the refusal is also the SDK's connection error, and says when."""
    client = bench.wrapped(way)
    sicken(bench, bench.wrapped(PLAIN), HAIKU)
    before = len(bench.provider.requests)
    sandbox.clock.advance(20)
    seen = bench.ask(way, client, HAIKU)
    assert isinstance(seen.error, attune.CircuitOpenError)
    assert isinstance(seen.error, anthropic.APIConnectionError)
    assert (seen.error.provider, seen.error.retry_after_s) == ("anthropic", 40.0)
    assert seen.error.status[f"anthropic:{HAIKU}"]["state"] == "open"
    assert "40.0 s" in str(seen.error)
    assert str(seen.error.request.url).startswith(bench.url)
    assert (seen.record.outcome, seen.record.attempts, seen.record.cost) == ("rejected", (), 0.0)
    assert len(bench.provider.requests) == before


def test_a_sick_model_blocks_no_other_and_comes_back_by_a_probe(bench: Bench, sandbox: Sandbox, monkeypatch):
    """`auto` leaves it at once; after 60 s one probe closes it again."""
    client = bench.wrapped(PLAIN, candidates=TWO)
    sicken(bench, client, HAIKU)
    seen = bench.ask(PLAIN, client)
    assert seen.tried == [(SONNET, "initial", "success", None)]
    assert bench.ask(PLAIN, client, SONNET).error is None
    sandbox.clock.advance(60)
    ledger = Ledger(sandbox, monkeypatch)
    sandbox.exporter.clear()
    seen = bench.ask(PLAIN, client, HAIKU)
    assert seen.tried == [(HAIKU, "probe", "success", None)]
    assert seen.record.attempts[0].circuit == "half_open"
    assert sandbox.circuits[f"anthropic:{HAIKU}"]["state"] == "closed"
    ledger.check(seen.records)


def test_all_circuits_open_one_is_probed_at_most_once_in_five_seconds(bench: Bench, sandbox: Sandbox):
    """With two targets the one due soonest is tried; in between the call is refused."""
    client = bench.wrapped(PLAIN, candidates=TWO)
    sicken(bench, client, HAIKU)
    sandbox.clock.advance(10)
    for _ in range(5):  # so that the provider is not held to be dead
        assert bench.ask(PLAIN, client, OPUS).error is None
    sicken(bench, client, SONNET)
    before = len(bench.provider.requests)
    bench.provider.script(HAIKU, fail("overloaded", should_retry=False))
    bench.provider.script(SONNET, fail("overloaded", should_retry=False))

    seen = bench.ask(PLAIN, client)
    assert isinstance(seen.error, anthropic.APIStatusError)  # an InternalServerError since 1.0
    assert seen.tried[0] == (HAIKU, "probe", "failure", "overloaded")
    tried = asked(bench)[before:]
    sandbox.clock.advance(1)
    for _ in range(3):
        assert isinstance(bench.ask(PLAIN, client).error, (attune.CircuitOpenError, anthropic.APIStatusError))
    assert max(asked(bench)[before:].count(model) for model in TWO) == 1
    assert isinstance(bench.ask(PLAIN, client).error, attune.CircuitOpenError)
    sandbox.clock.advance(5)
    seen = bench.ask(PLAIN, client)
    assert seen.error is None
    assert seen.tried[0][1:3] == ("probe", "success")
    assert tried[0] == HAIKU


def test_a_circuit_forced_open_is_never_probed(bench: Bench, sandbox: Sandbox):
    """A person said so; the other provider's target answers, or the call is refused."""
    sandbox.runtime.circuits.force_open("anthropic", now=sandbox.clock.monotonic())
    seen = bench.ask(PLAIN, bench.wrapped(PLAIN, candidates=TWO))
    assert isinstance(seen.error, attune.CircuitOpenError)
    assert bench.provider.requests == ()


@pytest.mark.parametrize(("wait_s", "waits"), [(4, True), (10, True), (11, False)])
def test_a_single_target_that_cools_is_waited_for(bench: Bench, sandbox: Sandbox, way: Way, wait_s, waits):
    """Up to `max_wait_s`, else the refusal says how long."""
    sandbox.runtime.circuits.cool_down("anthropic", HAIKU, until=wait_s, now=0.0)
    seen = bench.ask(way, bench.wrapped(way), HAIKU)
    if waits:
        assert seen.error is None
        assert sandbox.clock.sleeps == (wait_s,)
        assert seen.tried == [(HAIKU, "initial", "success", None)]
    else:
        assert isinstance(seen.error, attune.CircuitOpenError)
        assert seen.error.retry_after_s == wait_s
        assert sandbox.clock.sleeps == ()


def test_a_wait_that_the_deadline_does_not_allow(bench: Bench, sandbox: Sandbox):
    sandbox.runtime.circuits.cool_down("anthropic", HAIKU, until=4, now=0.0)
    with attune.scope(timeout_s=3):
        seen = bench.ask(PLAIN, bench.wrapped(PLAIN), HAIKU)
    assert isinstance(seen.error, attune.CircuitOpenError)
    assert sandbox.clock.sleeps == ()


def test_a_rate_limited_model_is_left_until_it_has_cooled(bench: Bench, sandbox: Sandbox):
    """Its cooldown is what the provider asked for; then it is asked again."""
    client = bench.wrapped(PLAIN, candidates=TWO)
    bench.provider.script(HAIKU, fail("rate_limit", retry_after_s=30))
    assert bench.ask(PLAIN, client).value.model == SONNET
    with attune.scope(model=HAIKU):
        assert isinstance(bench.ask(PLAIN, client).error, attune.CircuitOpenError)
    sandbox.clock.advance(31)
    with attune.scope(model=HAIKU):
        assert bench.ask(PLAIN, client).value.model == HAIKU


@pytest.mark.parametrize("what", ["not_found", "invalid_request", "too_large", "unprocessable"])
def test_a_refusal_that_routing_may_have_caused_is_tried_once_on_the_default(bench: Bench, sandbox: Sandbox, way, what):
    """A model that the caller did not name: the default answers, and no circuit counts it."""
    client = bench.wrapped(way, candidates=[HAIKU, SONNET, OPUS], default=OPUS)
    bench.provider.script(HAIKU, fail(what))
    seen = bench.ask(way, client)
    assert seen.error is None
    assert [it[0] for it in seen.tried] == [HAIKU, OPUS]
    assert all(it["failure_count"] == 0 for it in sandbox.circuits.values())

    sandbox.configure()
    bench.provider.script(HAIKU, fail(what))
    bench.provider.script(OPUS, fail(what))
    seen = bench.ask(way, client)
    assert isinstance(seen.error, anthropic.APIStatusError)
    assert [it[0] for it in seen.tried] == [HAIKU, OPUS]

    bench.provider.script(HAIKU, fail(what))
    seen = bench.ask(way, client, HAIKU)
    assert isinstance(seen.error, anthropic.APIStatusError)
    assert [it[0] for it in seen.tried] == [HAIKU]


# -- other clients


@pytest.fixture
def other():
    with ScriptedProvider() as provider:
        yield provider


@pytest.mark.parametrize("what", ["auth", "payment", "permission", "spend_limit"])
@pytest.mark.parametrize("model", ["auto", HAIKU])
def test_trouble_with_an_account_falls_back_to_another_client_only(
    bench: Bench, other: ScriptedProvider, ledger: Ledger, what, model
):
    """Never to another model of the same account; the same id elsewhere is legal for a pinned call too."""
    alternate = bench.bare(PLAIN).with_options(base_url=other.url, api_key="second")
    client = bench.wrapped(PLAIN, candidates=TWO, alternates=[alternate])
    bench.provider.script(HAIKU, fail(what))
    seen = bench.ask(PLAIN, client, model)
    assert seen.error is None
    assert asked(bench) == [HAIKU]
    assert [it.model for it in other.requests] == [HAIKU]
    assert [it[1:3] for it in seen.tried] == [("initial", "failure"), ("fallback", "success")]
    ledger.check(seen.records)


def test_a_pinned_model_falls_back_to_its_twin_and_to_an_alias(bench: Bench, other: ScriptedProvider, way: Way):
    """An alternate client, and a Target whose id is spelled otherwise; never another model."""
    alternate = bench.bare(way).with_options(base_url=other.url, api_key="second")
    client = bench.wrapped(way, alternates=[attune.Target(HAIKU, client=alternate, alias="eu.haiku")])
    bench.provider.script(HAIKU, *[fail("overloaded")] * 2)
    seen = bench.ask(way, client, HAIKU)
    assert seen.error is None
    assert seen.tried == [(HAIKU, "initial", "failure", "overloaded"), (HAIKU, "fallback", "success", None)]
    assert [it.model for it in other.requests] == ["eu.haiku"]


def test_circuits_are_kept_by_endpoint(bench: Bench, sandbox: Sandbox, other: ScriptedProvider):
    """A dead endpoint does not close the same model elsewhere."""
    alternate = bench.bare(PLAIN).with_options(base_url=other.url)
    sicken(bench, bench.wrapped(PLAIN), HAIKU)
    assert isinstance(bench.ask(PLAIN, bench.wrapped(PLAIN), HAIKU).error, attune.CircuitOpenError)
    assert bench.ask(PLAIN, attune.wrap(alternate), HAIKU).error is None


@pytest.mark.parametrize("model", ["auto", HAIKU])
def test_a_copy_that_sends_elsewhere_meets_the_circuits_of_elsewhere(
    bench: Bench, sandbox: Sandbox, other: ScriptedProvider, model
):
    """`with_options(base_url=...)` of a guarded client: a stub that fails opens nothing of the real endpoint's."""
    real = bench.wrapped(PLAIN, candidates=[HAIKU])
    stub = real.with_options(base_url=other.url)
    other.outage(status=fail("overloaded", should_retry=False))
    for _ in range(5):
        assert bench.ask(PLAIN, stub, model).error is not None
    assert isinstance(bench.ask(PLAIN, stub, model).error, attune.CircuitOpenError)
    assert bench.ask(PLAIN, real, model).error is None
    assert bench.ask(PLAIN, real.with_options(timeout=3), model).error is None
    assert len(bench.provider.requests) == 2


# -- limits


def test_no_model_within_the_limits(bench: Bench, sandbox: Sandbox, way: Way):
    """`max_cost` never gives way: NoModelAvailable, also the SDK's APIError, with the decision."""
    seen = bench.ask(way, bench.wrapped(way, max_cost=1e-9))
    assert isinstance(seen.error, attune.NoModelAvailable)
    assert isinstance(seen.error, anthropic.APIError)
    assert {it.eliminated_by for it in seen.error.decision.candidates} == {"max_cost"}
    assert (seen.record.outcome, seen.record.attempts) == ("rejected", ())
    assert bench.ask(way, bench.wrapped(way, max_cost=1e-9), HAIKU).error is None


def test_no_attempt_starts_after_the_deadline(bench: Bench, sandbox: Sandbox, way: Way):
    """What the provider raised last passes; where nothing was tried, DeadlineExceeded, also the SDK's time-out."""
    client = bench.wrapped(way, timeout_s=0.6)
    bench.provider.script(HAIKU, *[fail("overloaded")] * 3)
    seen = bench.ask(way, client, HAIKU)
    assert isinstance(seen.error, anthropic.APIStatusError)
    assert len(seen.record.attempts) == 2
    assert sum(sandbox.clock.sleeps) <= 0.6

    class Late(type(sandbox.clock)):
        def monotonic(self) -> float:
            self._now += 1
            return self._now

    sandbox.configure(clock=Late())
    seen = bench.ask(way, client, HAIKU)
    assert isinstance(seen.error, attune.DeadlineExceeded)
    assert isinstance(seen.error, anthropic.APITimeoutError)
    assert (seen.error.deadline_s, seen.error.attempts) == (0.6, ())
    assert seen.record.outcome == "rejected"


def test_attempts_are_bounded_by_the_client_s_own_retries(bench: Bench, sandbox: Sandbox):
    """`max_retries` + 1, unless `max_attempts` says otherwise."""
    for retries, words, attempts in ((0, {}, 1), (1, {}, 2), (4, {}, 5), (4, {"max_attempts": 2}, 2)):
        sandbox.configure(breaker={"failure_threshold": 50}, **words)
        bench.provider.outage(HAIKU)
        seen = bench.ask(PLAIN, attune.wrap(bench.bare(PLAIN, max_retries=retries)), HAIKU)
        assert len(seen.record.attempts) == attempts
        bench.provider.recover()


def test_the_retry_budget_ends_repeated_attempts_where_there_are_two_targets(bench: Bench, sandbox: Sandbox):
    """In an outage of everything each call tries each target once, and few try one again."""
    sandbox.runtime.circuits.metrics_only("anthropic", now=0.0)
    bench.provider.outage()
    client = bench.wrapped(PLAIN, candidates=TWO)
    attempts = [len(bench.ask(PLAIN, client).record.attempts) for _ in range(30)]
    assert min(attempts) == 2
    assert sum(attempts) <= 30 * 2 + 30 + sum(sandbox.clock.sleeps)
    assert sandbox.faults == {}


def test_a_model_that_times_out_costs_one_time_out(bench: Bench, sandbox: Sandbox):
    """The deadline bounds the whole call: the request gets what is left of it."""
    bench.provider.script(HAIKU, hang())
    with attune.scope(timeout_s=0.05):
        seen = bench.ask(PLAIN, bench.wrapped(PLAIN, candidates=[HAIKU]))
    assert isinstance(seen.error, anthropic.APITimeoutError)
    assert seen.tried[0] == (HAIKU, "initial", "failure", "timeout")
