"""Two targets that both cool: a short cooldown is waited out, within the deadline; a long one is a refusal."""

from __future__ import annotations

import anthropic
import pytest
from calls.ways import HAIKU, SONNET, Bench, Ledger, Way

import attune
from attune.testing import Sandbox, fail

PLAIN = Way("plain")
TWO = [HAIKU, SONNET]


def cool(sandbox: Sandbox, **until: float) -> None:
    now = sandbox.clock.monotonic()
    for model, seconds in until.items():
        model = {"haiku": HAIKU, "sonnet": SONNET}[model]
        sandbox.runtime.circuits.cool_down("anthropic", model, until=now + seconds, now=now)


def test_the_one_that_has_cooled_first_answers(bench: Bench, ledger: Ledger, sandbox: Sandbox, way: Way):
    """One wait, as long as the shortest cooldown, and no attempt before it."""
    cool(sandbox, haiku=9, sonnet=4)
    seen = bench.ask(way, bench.wrapped(way, candidates=TWO))
    assert seen.error is None
    assert sandbox.clock.sleeps == (4,)
    assert seen.tried == [(SONNET, "initial", "success", None)]
    ledger.check(seen.records)


@pytest.mark.parametrize(("words", "haiku", "sonnet"), [({}, 11, 30), ({"timeout_s": 3}, 4, 5)])
def test_a_cooldown_that_is_too_long_is_refused(bench: Bench, sandbox: Sandbox, way: Way, words, haiku, sonnet):
    """Over `max_wait_s`, or over what is left of the deadline: the refusal says when."""
    cool(sandbox, haiku=haiku, sonnet=sonnet)
    seen = bench.ask(way, bench.wrapped(way, candidates=TWO, **words))
    assert isinstance(seen.error, attune.CircuitOpenError)
    assert seen.error.retry_after_s == haiku
    assert sandbox.clock.sleeps == ()


def test_an_open_circuit_is_probed_before_a_cooldown_is_waited_out(bench: Bench, sandbox: Sandbox):
    """A probe costs no wait; where it was used up within 5 s, the healthy one that cools is waited for."""
    client = bench.wrapped(PLAIN, candidates=TWO)
    bench.provider.script(HAIKU, *[fail("overloaded", should_retry=False)] * 6)
    with attune.scope(model=HAIKU):
        for _ in range(5):
            bench.ask(PLAIN, client)
    sandbox.clock.advance(10)
    cool(sandbox, sonnet=3)
    slept = len(sandbox.clock.sleeps)
    seen = bench.ask(PLAIN, client)
    assert seen.tried == [(HAIKU, "probe", "failure", "overloaded"), (SONNET, "fallback", "success", None)]
    assert sandbox.clock.sleeps[slept:] == (3,)
    cool(sandbox, sonnet=1)
    seen = bench.ask(PLAIN, client)
    assert seen.tried == [(SONNET, "initial", "success", None)]
    assert sandbox.clock.sleeps[slept:] == (3, 1)


def test_an_untried_target_that_cools_is_waited_for_before_the_call_gives_up(bench: Bench, sandbox: Sandbox, way: Way):
    """The first target says that retrying is pointless; the second will be there in two seconds."""
    cool(sandbox, sonnet=2)
    bench.provider.script(HAIKU, fail("overloaded", should_retry=False))
    seen = bench.ask(way, bench.wrapped(way, candidates=TWO))
    assert seen.error is None
    assert seen.tried == [(HAIKU, "initial", "failure", "overloaded"), (SONNET, "fallback", "success", None)]
    assert sandbox.clock.sleeps == (2,)


def test_a_cooldown_is_waited_out_once(bench: Bench, sandbox: Sandbox, monkeypatch):
    """If it cools again meanwhile, the call is refused rather than kept."""
    cool(sandbox, haiku=2, sonnet=3)
    clock = sandbox.clock
    sleep = clock.sleep

    def longer(seconds: float) -> None:
        cool(sandbox, haiku=9, sonnet=9)
        sleep(seconds)

    monkeypatch.setattr(clock, "sleep", longer)
    seen = bench.ask(PLAIN, bench.wrapped(PLAIN, candidates=TWO))
    assert isinstance(seen.error, attune.CircuitOpenError)
    assert clock.sleeps == (2,)
    assert sandbox.faults == {}


def test_a_wait_that_is_too_long_is_told_on_the_error(bench: Bench, sandbox: Sandbox):
    """The SDK alone would have waited: whoever reads the error learns which setting did not."""
    way = Way("plain")
    bench.provider.script(HAIKU, fail("rate_limit", retry_after_s=12))
    seen = bench.ask(way, bench.wrapped(way), HAIKU)
    assert isinstance(seen.error, anthropic.RateLimitError)
    assert any("12 s" in note and "max_wait_s" in note for note in seen.error.__notes__)
