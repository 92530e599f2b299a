"""CircuitBreaker, line by line of what it promises: names, units, errors, the two-call protocol, the process's circuits."""

from __future__ import annotations

import asyncio
import json
import pickle
import threading
from datetime import UTC, datetime, timedelta

import pytest
import trio

from attune.errors import CircuitOpenError, ConfigError
from attune.models import process
from attune.models.circuit_breaker import CircuitBreaker
from attune.models.circuits import Circuits
from attune.models.registry import ModelTier
from attune.testing.clock import EPOCH, FakeClock

P, M = "anthropic", "claude-haiku-4-5"


@pytest.fixture
def clock():
    return FakeClock(100.0)


@pytest.fixture
def breaker(clock):
    return CircuitBreaker(clock=clock)


class Process:
    """A stand-in for the live parts of a process."""

    def __init__(self, clock):
        self.clock, self.settled, self.faults = clock, 0, []
        self.circuits = Circuits(wall_offset_s=clock.time() - clock.monotonic())

    def settle_in(self):
        self.settled += 1

    def fault(self, where, error):
        self.faults.append((where, type(error).__name__))


@pytest.fixture
def live(clock, monkeypatch):
    parts = Process(clock)
    monkeypatch.setattr(process, "_slot", [lambda: parts])
    return parts


def trip(breaker, provider=P, tier=None, times=5):
    for _ in range(times):
        breaker.record_failure(provider, tier)


# -- the seed's promise


def test_opens_after_five_failures_and_stays_open_for_sixty_seconds(breaker, clock):
    trip(breaker, times=4)
    assert breaker.is_available(P)
    breaker.record_failure(P)
    status = breaker.get_status()[P]
    assert status["is_open"] is True
    assert status["failure_count"] == 5
    assert status["last_failure"] == datetime.fromtimestamp(EPOCH + 100, UTC).isoformat()
    assert status["retry_after_s"] == 60.0
    clock.advance(59.9)
    assert not breaker.is_available(P)
    clock.advance(0.1)
    assert breaker.is_available(P)
    breaker.record_success(P)
    assert breaker.get_status()[P]["state"] == "closed"


def test_reset_re_enables_one_provider_or_all(breaker):
    trip(breaker)
    trip(breaker, "openai")
    breaker.reset(provider=P)
    assert breaker.allows(P)
    assert not breaker.allows("openai")
    breaker.reset()
    assert breaker.get_status() == {}


def test_a_new_breaker_has_an_empty_status(breaker):
    assert breaker.get_status() == {}


def test_the_status_is_plain_data(breaker):
    trip(breaker, tier=M)
    breaker.cool_down("openai", until=EPOCH + 200)
    assert json.loads(json.dumps(breaker.get_status())) == breaker.get_status()


# -- keys


def test_tier_and_scope_are_one_argument_everywhere(breaker):
    trip(breaker, tier="cheap")
    assert not breaker.allows(P, "cheap")
    assert not breaker.allows(P, tier="cheap")
    assert not breaker.allows(P, scope="cheap")
    assert not breaker.is_available(P, scope="cheap")
    assert breaker.is_available(P, "capable")
    assert breaker.is_available(P)
    with pytest.raises(CircuitOpenError):
        breaker.acquire(P, tier="cheap")
    with pytest.raises(CircuitOpenError), breaker.guard(P, tier="cheap"):
        pass
    breaker.reset(P, scope="cheap")
    assert breaker.allows(P, "cheap")


def test_a_key_may_be_spelled_as_the_status_spells_it(breaker):
    trip(breaker, tier=M)
    (name,) = [name for name in breaker.get_status() if name != P]
    assert not breaker.allows(name)
    breaker.reset(name)
    assert breaker.allows(P, M)


def test_an_enums_value_is_the_key(breaker):
    trip(breaker, tier=ModelTier.CHEAP)
    assert f"{P}:cheap" in breaker.get_status()
    assert not breaker.allows(P, "cheap")


@pytest.mark.parametrize("wrong", ["", "  ", None, 5, b"anthropic", True, ["anthropic"]])
@pytest.mark.parametrize(
    "act",
    ["is_available", "record_success", "record_failure", "allows", "acquire", "guard", "protect", "force_open", "auto"],
)
def test_what_is_no_name_is_refused(breaker, act, wrong):
    with pytest.raises(ConfigError, match="provider="):
        getattr(breaker, act)(wrong)


@pytest.mark.parametrize("wrong", ["", 3, b"cheap", False])
def test_what_is_no_scope_is_refused(breaker, wrong):
    with pytest.raises(ConfigError, match="scope="):
        breaker.allows(P, wrong)
    with pytest.raises(ConfigError, match="tier="):
        breaker.allows(P, tier=wrong)


def test_two_different_words_for_the_scope_are_refused(breaker):
    with pytest.raises(ConfigError, match="two words for one thing"):
        breaker.allows(P, "cheap", tier="capable")
    assert breaker.allows(P, "cheap", tier="cheap")


def test_a_tier_without_a_provider_is_refused_and_resets_nothing(breaker):
    trip(breaker)
    with pytest.raises(ConfigError, match="needs a provider"):
        breaker.reset(tier="cheap")
    with pytest.raises(ConfigError, match="provider=''"):
        breaker.reset("")
    assert not breaker.allows(P)


@pytest.mark.parametrize("act", ["force_open", "disable", "metrics_only", "auto"])
def test_manual_states_are_a_providers(breaker, act):
    with pytest.raises(ConfigError, match=r"a provider's\. Name 'anthropic'"):
        getattr(breaker, act)(f"{P}:{M}")
    assert breaker.get_status() == {}


# -- arguments


@pytest.mark.parametrize("name", ["failure_threshold", "half_open_calls"])
@pytest.mark.parametrize("wrong", [0, -1, 2.5, True, "5", None, float("nan")])
def test_counts_are_whole_numbers_of_one_or_more(name, wrong):
    with pytest.raises(ConfigError, match=name):
        CircuitBreaker(**{name: wrong})


@pytest.mark.parametrize("name", ["recovery_timeout_seconds", "probe_lease_seconds"])
@pytest.mark.parametrize("wrong", [0, -0.5, float("nan"), float("inf"), "60", None, True])
def test_seconds_are_finite_and_over_zero(name, wrong):
    with pytest.raises(ConfigError, match=name):
        CircuitBreaker(**{name: wrong})


@pytest.mark.parametrize("wrong", [{"clock": 5}, {"clock": object()}, {"classify": "server"}])
def test_clocks_and_hooks_are_looked_at_when_handed_in(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        CircuitBreaker(**wrong)


def test_seconds_may_be_fractions_and_arguments_positional(clock):
    breaker = CircuitBreaker(1, 0.25, 2, 0.5, clock)
    breaker.record_failure(P)
    clock.advance(0.2499)
    assert not breaker.is_available(P)
    clock.advance(0.0002)
    assert [breaker.is_available(P) for _ in range(3)] == [True, True, False]
    clock.advance(0.51)
    assert breaker.is_available(P)  # the leases have ended


# -- permits


def test_acquire_gives_a_permit_that_is_settled_once(breaker):
    permit = breaker.acquire(P, M)
    assert (permit.provider, permit.scope, permit.name) == (P, M, f"{P}:{M}")
    assert (permit.probe, permit.state) == (False, "closed")
    permit.settle("failure")
    permit.settle("failure")
    permit.settle("success")
    assert breaker.get_status()[f"{P}:{M}"]["failure_count"] == 1
    with pytest.raises(ConfigError, match="an outcome is one of"):
        breaker.acquire(P).settle("ok")


def test_a_refusal_says_what_how_long_and_what_to_do(breaker):
    trip(breaker)
    with pytest.raises(CircuitOpenError) as caught:
        breaker.acquire(P, M)
    error = pickle.loads(pickle.dumps(caught.value))
    assert error.provider == P
    assert error.retry_after_s == 60.0
    assert error.status[P]["is_open"] is True
    assert str(error) == (
        "The circuit of 'anthropic' is open. Try again in 60.0 s; get_status() says why, "
        "and reset(provider='anthropic') closes it now."
    )


def test_a_refusal_tells_half_open_cooling_and_forced_apart(breaker, clock):
    trip(breaker)
    clock.advance(60)
    breaker.acquire(P)
    with pytest.raises(CircuitOpenError, match="half-open, and its probes are under way"):
        breaker.acquire(P)
    breaker.cool_down("openai", until=clock.time() + 7)
    with pytest.raises(CircuitOpenError, match=r"is cooling. Try again in 7.0 s"):
        breaker.acquire("openai")
    breaker.force_open("groq")
    with pytest.raises(CircuitOpenError, match=r"is forced open. auto\(\) or reset\(\) ends that"):
        breaker.acquire("groq")


# -- cooldowns


def test_a_cooldown_ends_at_a_time_of_day_however_it_is_said(breaker, clock):
    breaker.cool_down(P, until=clock.time() + 30)
    assert breaker.get_status()[P]["retry_after_s"] == pytest.approx(30)
    later = datetime.fromtimestamp(clock.time() + 90, UTC).astimezone()
    breaker.cool_down(P, until=later, reason="rate limit")
    breaker.cool_down(P, until=clock.time() + 10)
    assert breaker.get_status()[P]["retry_after_s"] == pytest.approx(90)
    assert datetime.fromisoformat(breaker.get_status()[P]["cooling_until"]) == later
    clock.advance(90.001)
    assert breaker.allows(P)


def test_a_cooldown_that_is_over_changes_nothing(breaker, clock):
    breaker.cool_down(P, until=clock.time() - 5)
    assert breaker.allows(P)
    assert breaker.get_status()[P]["is_open"] is False


@pytest.mark.parametrize(
    "wrong",
    [
        datetime.fromisoformat("2030-01-01T00:00"),
        float("nan"),
        float("inf"),
        "2030-01-01",
        None,
        True,
        timedelta(seconds=5),
    ],
)
def test_a_time_that_is_none_is_refused(breaker, wrong):
    with pytest.raises(ConfigError, match="until="):
        breaker.cool_down(P, until=wrong)


def test_the_wall_clock_decides_nothing(clock):
    """A day's jump of the time of day while open neither opens nor closes."""

    class Jumping(FakeClock):
        jump = 0.0

        def time(self):
            return super().time() + self.jump

    jumping = Jumping(100.0)
    breaker = CircuitBreaker(clock=jumping)
    trip(breaker)
    for jumping.jump in (86_400.0, -86_400.0):
        assert not breaker.allows(P)
        assert breaker.get_status()[P]["retry_after_s"] == 60.0
    jumping.advance(60)
    assert breaker.allows(P)


# -- two calls


def test_the_two_call_protocol_takes_the_probes_slot_and_gives_it_back(breaker, clock):
    trip(breaker)
    clock.advance(60)
    assert breaker.is_available(P)
    assert not breaker.is_available(P)
    breaker.record_failure(P)
    assert breaker.get_status()[P]["state"] == "open"
    clock.advance(60)
    assert breaker.is_available(P)
    breaker.record_success(P)
    assert breaker.get_status()[P]["state"] == "closed"


def test_a_result_settles_the_oldest_permit_of_its_thread(breaker, clock):
    """What began before the circuit opened and closed again belongs to that time; the second result is of today."""
    breaker.is_available(P)
    trip_elsewhere = threading.Thread(target=trip, args=(breaker,))
    trip_elsewhere.start()
    trip_elsewhere.join()
    clock.advance(60)
    breaker.acquire(P).settle("success")
    breaker.is_available(P)
    breaker.record_failure(P)
    assert breaker.get_status()[P]["failure_count"] == 0
    breaker.record_failure(P)
    assert breaker.get_status()[P]["failure_count"] == 1


def test_another_threads_permit_is_not_touched(breaker, clock):
    trip(breaker)
    clock.advance(60)
    assert breaker.is_available(P)
    other = threading.Thread(target=breaker.record_success, args=(P,))
    other.start()
    other.join()
    assert breaker.get_status()[P]["state"] == "half_open"  # without a permit, and not closed: it changes nothing
    breaker.record_success(P)
    assert breaker.get_status()[P]["state"] == "closed"


@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_tasks_on_one_thread_are_told_apart(breaker, clock, library):
    trip(breaker)
    clock.advance(60)
    states = []

    async def prober():
        states.append(breaker.is_available(P))

    async def stranger():
        breaker.record_success(P)
        states.append(breaker.get_status()[P]["state"])

    async def under_asyncio():
        await asyncio.gather(asyncio.create_task(prober()), asyncio.create_task(stranger()))

    async def under_trio():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(prober)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stranger)

    asyncio.run(under_asyncio()) if library == "asyncio" else trio.run(under_trio)
    assert states == [True, "half_open"]


def test_one_who_only_asks_fills_no_memory(breaker):
    for _ in range(2000):
        breaker.is_available(P)
    circuits, _ = breaker._door.parts()
    assert sum(len(queue) for keys in circuits.held._of.values() for queue in keys.values()) <= 256


def test_permits_nobody_came_back_for_end_with_their_thread(breaker):
    asker = threading.Thread(target=breaker.is_available, args=(P,))
    asker.start()
    asker.join()
    circuits, _ = breaker._door.parts()
    assert len(circuits.held._of) == 0


# -- manual states


def test_manual_states_and_the_way_back(breaker):
    breaker.force_open(P)
    assert not breaker.allows(P)
    assert breaker.get_status()[P]["state"] == "open"
    breaker.disable(P)
    trip(breaker, times=9)
    assert breaker.get_status()[P]["failure_count"] == 0
    breaker.metrics_only(P)
    trip(breaker, times=9)
    assert breaker.allows(P)
    breaker.auto(P)
    trip(breaker)
    assert not breaker.allows(P)


# -- the circuits of the process


def test_without_an_argument_it_is_a_handle_on_the_circuits_of_the_process(live):
    trip(CircuitBreaker())
    assert not CircuitBreaker().allows(P)
    assert not live.circuits.allows(P, M, endpoint="https://api.anthropic.com", now=live.clock.monotonic())
    assert (
        CircuitBreaker().get_status()[P]["last_failure"] == datetime.fromtimestamp(live.clock.time(), UTC).isoformat()
    )


def test_handles_share_the_permits_between_two_calls(live):
    trip(CircuitBreaker())
    live.clock.advance(60)
    assert CircuitBreaker().is_available(P)
    CircuitBreaker().record_success(P)
    assert live.circuits.quiet


def test_a_handle_follows_a_process_that_starts_anew(live, monkeypatch):
    handle = CircuitBreaker()
    trip(handle)
    renewed = Process(FakeClock())
    monkeypatch.setattr(process, "_slot", [lambda: renewed])
    assert handle.allows(P)
    assert handle.get_status() == {}


def test_questions_and_commands_wait_for_what_other_processes_found(live):
    handle = CircuitBreaker()
    for number, ask in enumerate(
        [handle.get_status, handle.reset, *(lambda act=act: getattr(handle, act)(P) for act in ("force_open", "auto"))],
        1,
    ):
        ask()
        assert live.settled == number
    handle.allows(P)
    handle.record_failure(P)
    handle.acquire(P).settle("success")
    assert live.settled == 4


@pytest.mark.parametrize("argument", [{"failure_threshold": 5}, {"clock": None}, {"classify": None}])
def test_any_argument_makes_the_circuits_private_on_the_clock_of_the_process(live, argument):
    private = CircuitBreaker(**argument)
    trip(private)
    assert not private.allows(P)
    assert live.circuits.allows(P, now=live.clock.monotonic())
    assert private.get_status()[P]["last_failure"] == datetime.fromtimestamp(live.clock.time(), UTC).isoformat()
    live.clock.advance(60)
    assert private.allows(P)
    assert live.settled == 0


def test_a_two_call_user_around_a_guarded_client_is_not_refused_by_their_own_probe(live):
    """`is_available` by name, then a call by a client at its endpoint, then `record_success`: the way back from open."""
    handle = CircuitBreaker()
    trip(handle)
    live.clock.advance(60)
    assert handle.is_available(P)
    now = live.clock.monotonic()
    live.circuits.acquire(P, M, endpoint="https://api.anthropic.com", now=now).settle("success", now=now)
    handle.record_success(P)
    assert live.circuits.quiet


# -- listeners


def test_listeners_hear_of_transitions_and_their_faults_are_counted(live):
    handle, told = CircuitBreaker(), []
    handle.add_listener(lambda _: 1 / 0)
    handle.add_listener(told.append)
    trip(handle)
    assert [(it.name, it.from_state, it.to_state, it.reason, it.at) for it in told] == [
        (P, "closed", "open", "failures", live.clock.time())
    ]
    assert live.faults == [("circuit listener", "ZeroDivisionError")]


def test_a_private_breakers_listener_may_fail_without_a_process(breaker, monkeypatch):
    monkeypatch.setattr(process, "_slot", [])
    breaker.add_listener(lambda _: 1 / 0)
    trip(breaker)
    assert not breaker.allows(P)


def test_what_is_no_listener_is_refused(breaker):
    with pytest.raises(ConfigError, match="add_listener"):
        breaker.add_listener("print")


def test_listeners_run_on_the_thread_that_caused_the_transition(breaker):
    told = []
    breaker.add_listener(lambda _: told.append(threading.get_ident()))
    other = threading.Thread(target=trip, args=(breaker,))
    other.start()
    ident = other.ident
    other.join()
    assert told == [ident]
