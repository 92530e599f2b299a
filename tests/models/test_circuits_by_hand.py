"""What a person says stands above what was counted: reset, forced open, disabled, metrics only; and mode observe."""

from __future__ import annotations

import pytest

from attune.models.circuits import Circuits, CircuitSettings, Permit

P, M1, M2 = "anthropic", "haiku", "sonnet"


def fail(circuits, times, scope=None, *, now=0.0, endpoint="", touches="model"):
    for _ in range(times):
        permit = circuits.acquire(P, scope, endpoint=endpoint, now=now)
        permit.settle("failure", now=now, touches=touches)


def told_by(circuits):
    told = []
    circuits.add_listener(lambda it: told.append((it.name, it.from_state, it.to_state, it.reason)))
    return told


# -- reset


def test_reset_of_a_provider_closes_it_and_its_narrower_keys_at_every_endpoint():
    circuits = Circuits()
    fail(circuits, 5, M1, endpoint="e1")
    fail(circuits, 5, M2, endpoint="e2", touches="provider")
    for _ in range(5):
        circuits.record(P, None, "failure", now=0)
    circuits.cool_down(P, M2, until=999, now=0)
    circuits.reset(P, now=0)
    assert circuits.quiet
    status = circuits.status(now=0)
    assert set(status) == {P, f"{P}:{M1}", f"{P}:{M2}"}
    assert all(
        (it["is_open"], it["failure_count"], it["state"], it["cooling_until"]) == (False, 0, "closed", None)
        for it in status.values()
    )


def test_reset_of_a_narrow_key_leaves_its_neighbours_open():
    circuits = Circuits()
    fail(circuits, 5, M1, endpoint="e1")
    circuits.acquire(P, M2, endpoint="e1", now=0).settle("success", now=0)
    fail(circuits, 5, M2, endpoint="e1")
    circuits.reset(P, M1, now=0)
    assert circuits.allows(P, M1, now=0)
    assert not circuits.allows(P, M2, now=0)


def test_reset_of_all_empties_the_status():
    circuits = Circuits()
    fail(circuits, 5)
    circuits.force_open("openai", now=0)
    circuits.reset(now=0)
    assert circuits.status(now=0) == {}
    assert circuits.quiet


def test_reset_frees_the_slots_of_running_probes():
    circuits = Circuits()
    fail(circuits, 5)
    old = circuits.acquire(P, now=60)
    circuits.reset(P, now=60)
    fail(circuits, 5, now=60)
    new = circuits.acquire(P, now=120)
    assert isinstance(new, Permit)
    old.settle("failure", now=120)
    assert circuits.state(P, now=120) == "half_open"
    new.settle("success", now=120)
    assert circuits.quiet


def test_reset_of_what_nobody_has_met_is_no_error_and_makes_nothing():
    circuits = Circuits()
    circuits.reset("nobody", now=0)
    circuits.reset("nobody", "m", now=0)
    assert circuits.status(now=0) == {}


def test_reset_of_a_narrow_key_leaves_a_providers_manual_state():
    circuits = Circuits()
    circuits.force_open(P, now=0)
    circuits.reset(P, M1, now=0)
    assert not circuits.allows(P, now=0)
    circuits.reset(P, now=0)
    assert circuits.allows(P, now=0)


# -- forced open


def test_forced_open_refuses_everything_of_the_provider_for_ever():
    circuits = Circuits()
    circuits.acquire(P, M1, endpoint="e1", now=0)
    circuits.force_open(P, now=0)
    for now in (0, 60, 1e9):
        for endpoint in ("", "e1", "e2"):
            assert not circuits.allows(P, M1, endpoint=endpoint, now=now)
            assert circuits.acquire(P, endpoint=endpoint, now=now).forced
    assert circuits.allows("openai", now=0)
    status = circuits.status(now=1e9)
    for name in (P, f"{P}:{M1}"):
        assert (status[name]["is_open"], status[name]["state"], status[name]["retry_after_s"]) == (True, "open", 0.0)
    assert status[P]["opened_at"] == "1970-01-01T00:00:00+00:00"


def test_forced_open_shows_no_wait_even_where_the_circuit_was_open_or_cooling():
    circuits = Circuits()
    fail(circuits, 5, M1)
    circuits.cool_down(P, until=50, now=0)
    circuits.force_open(P, now=0)
    assert {it["retry_after_s"] for it in circuits.status(now=0).values()} == {0.0}
    assert circuits.acquire(P, M1, now=0).retry_after_s == 0.0


def test_auto_returns_to_closed_with_count_0_and_late_results_change_nothing():
    circuits = Circuits(CircuitSettings(failure_threshold=1))
    late = circuits.acquire(P, M1, now=0)
    circuits.force_open(P, now=0)
    circuits.record(P, M1, "failure", now=0)
    circuits.auto(P, now=1)
    late.settle("failure", now=2)
    assert circuits.quiet
    assert {it["failure_count"] for it in circuits.status(now=2).values()} == {0}


def test_auto_ends_an_ordinary_open_state_and_leaves_a_cooldown_alone():
    circuits = Circuits()
    fail(circuits, 5)
    circuits.cool_down(P, until=100, now=0)
    circuits.auto(P, now=0)
    assert circuits.state(P, now=0) == "closed"
    assert circuits.acquire(P, now=0).cooling


# -- disabled, metrics only


def test_disabled_admits_everything_and_counts_nothing():
    circuits = Circuits(CircuitSettings(failure_threshold=1))
    fail(circuits, 1)
    circuits.cool_down(P, M1, until=100, now=0)
    circuits.disable(P, now=0)
    assert circuits.allows(P, M1, now=0)
    fail(circuits, 20, M1)
    circuits.record(P, None, "failure", now=0)
    status = circuits.status(now=0)
    assert {(it["is_open"], it["state"], it["failure_count"]) for it in status.values()} == {(False, "closed", 0)}
    assert {it["retry_after_s"] for it in status.values()} == {0.0}


def test_metrics_only_admits_everything_counts_and_tells_what_would_have_happened():
    circuits = Circuits()
    circuits.metrics_only(P, now=0)
    told = told_by(circuits)
    fail(circuits, 7, M1)
    assert told == [(f"{P}:{M1}", "closed", "open", "measured: failures")]
    entry = circuits.status(now=0)[f"{P}:{M1}"]
    assert (entry["is_open"], entry["state"], entry["failure_count"], entry["retry_after_s"]) == (False, "closed", 5, 0)
    circuits.acquire(P, M1, now=60).settle("success", now=60)
    assert [it[3] for it in told[1:]] == ["measured: recovery_timeout", "measured: probe_succeeded"]
    circuits.auto(P, now=60)
    fail(circuits, 5, M1, now=60)
    assert told[-1][3] == "failures"


# -- observe


def test_measuring_admits_everything_and_moves_as_it_would_have():
    circuits = Circuits(measure_only=True)
    told = told_by(circuits)
    fail(circuits, 9)
    assert circuits.state(P, now=0) == "open"
    assert circuits.allows(P, now=0)
    assert circuits.retry_after_s(P, now=0) == 0.0
    entry = circuits.status(now=0)[P]
    assert (entry["state"], entry["is_open"], entry["retry_after_s"]) == ("open", False, 0.0)
    probe, beside = (circuits.acquire(P, now=60) for _ in range(2))
    assert (probe.probe, beside.probe) == (True, False)
    beside.settle("success", now=60)
    assert circuits.state(P, now=60) == "half_open"
    probe.settle("success", now=60)
    assert [it[3] for it in told] == ["measured: failures", "measured: recovery_timeout", "measured: probe_succeeded"]


# -- transitions


def test_transitions_are_told_with_name_states_reason_and_time_of_day():
    circuits = Circuits(wall_offset_s=1_000_000.0)
    told = []
    circuits.add_listener(told.append)
    fail(circuits, 5, M1, now=5)
    circuits.acquire(P, M1, now=65).settle("failure", now=66)
    circuits.acquire(P, M1, now=126).settle("success", now=127)
    assert [(it.from_state, it.to_state, it.reason, it.at) for it in told] == [
        ("closed", "open", "failures", 1_000_005.0),
        ("open", "half_open", "recovery_timeout", 1_000_065.0),
        ("half_open", "open", "probe_failed", 1_000_066.0),
        ("open", "half_open", "recovery_timeout", 1_000_126.0),
        ("half_open", "closed", "probe_succeeded", 1_000_127.0),
    ]
    assert {it.name for it in told} == {f"{P}:{M1}"}


@pytest.mark.parametrize(("act", "reason"), [("reset", "reset"), ("auto", "auto"), ("disable", "disabled")])
def test_what_a_person_does_is_told_where_it_changes_a_state(act, reason):
    circuits = Circuits()
    told = told_by(circuits)
    getattr(circuits, act)(P, now=0)
    assert told == []
    circuits.force_open(P, now=0)
    circuits.force_open(P, now=0)
    getattr(circuits, act)(P, now=0)
    assert told == [(P, "closed", "open", "forced_open"), (P, "open", "closed", reason)]


def test_listeners_run_in_order_outside_the_lock_and_what_they_raise_is_counted():
    circuits = Circuits(CircuitSettings(failure_threshold=1))
    heard, faults = [], []

    def raising(transition):
        heard.append(("first", transition.to_state))
        raise RuntimeError("a listener's own trouble")

    def re_entering(transition):
        heard.append(("second", transition.to_state))
        assert circuits.status(now=0)[P]["state"] == transition.to_state
        if transition.to_state == "open":
            circuits.reset(P, now=0)

    circuits.add_listener(raising, lambda where, error: faults.append((where, str(error))))
    circuits.add_listener(re_entering)
    circuits.add_listener(lambda it: heard.append(("third", it.to_state)))
    fail(circuits, 1)
    assert heard == [(who, state) for state in ("open", "closed") for who in ("first", "second", "third")]
    assert faults == [("circuit listener", "a listener's own trouble")] * 2


def test_a_counter_of_faults_that_raises_is_survived():
    circuits = Circuits(CircuitSettings(failure_threshold=1))
    circuits.add_listener(lambda _: 1 / 0, lambda *_: 1 / 0)
    circuits.add_listener(lambda _: 1 / 0)
    fail(circuits, 1)
    assert circuits.state(P, now=0) == "open"


# -- status


def test_status_holds_only_keys_that_were_seen():
    circuits = Circuits()
    circuits.allows(P, M1, now=0)
    circuits.state(P, now=0)
    assert circuits.status(now=0) == {}
    circuits.acquire(P, M1, now=0)
    assert list(circuits.status(now=0)) == [P, f"{P}:{M1}"]
    circuits.record("openai", None, "success", now=0)
    assert list(circuits.status(now=0)) == [P, f"{P}:{M1}", "openai"]
    assert list(circuits.status(now=0, provider="openai")) == ["openai"]


def test_status_tells_all_of_an_open_circuit():
    circuits = Circuits(wall_offset_s=1_800_000_000.0)
    fail(circuits, 5, M1, now=10)
    circuits.acquire(P, M2, now=10)
    assert circuits.status(now=20)[f"{P}:{M1}"] == {
        "is_open": True,
        "failure_count": 5,
        "last_failure": "2027-01-15T08:00:10+00:00",
        "last_failure_kind": None,
        "opened_at": "2027-01-15T08:00:10+00:00",
        "state": "open",
        "retry_after_s": 50.0,
        "cooling_until": None,
        "open_models": [],
    }


def test_the_only_model_in_use_sick_shows_as_an_open_provider_and_blocks_no_sibling():
    circuits = Circuits()
    fail(circuits, 5, M1, endpoint="e1")
    shown = circuits.status(now=10)[P]
    assert (shown["is_open"], shown["state"]) == (True, "closed")
    assert (shown["failure_count"], shown["retry_after_s"], shown["open_models"]) == (5, 50.0, [M1])
    assert shown["last_failure"] == shown["opened_at"] == "1970-01-01T00:00:00+00:00"
    assert circuits.allows(P, M2, endpoint="e1", now=10)
    assert circuits.allows(P, now=10)
    circuits.acquire(P, M2, endpoint="e1", now=10)
    assert circuits.status(now=10)[P]["is_open"] is False
    assert circuits.status(now=10)[P]["failure_count"] == 0


def test_a_provider_is_not_shown_open_once_its_only_model_may_be_probed():
    circuits = Circuits()
    fail(circuits, 5, M1)
    assert circuits.status(now=60)[P]["is_open"] is False
    assert circuits.status(now=60)[P]["open_models"] == []


def test_a_model_that_nobody_used_for_a_minute_does_not_speak_for_the_provider():
    circuits = Circuits(CircuitSettings(recovery_timeout_s=600))
    circuits.acquire(P, M2, now=0).settle("success", now=0)
    fail(circuits, 5, M1, now=50)
    assert circuits.status(now=60)[P]["is_open"] is False
    assert circuits.status(now=61)[P]["is_open"] is True


def test_an_open_provider_shuts_its_models_and_leaves_their_state_their_own():
    circuits = Circuits()
    circuits.acquire(P, M1, now=0).settle("success", now=0)
    fail(circuits, 5)
    narrow = circuits.status(now=10)[f"{P}:{M1}"]
    assert (narrow["is_open"], narrow["state"], narrow["retry_after_s"]) == (True, "closed", 50.0)


def test_cooling_shows_as_open_with_the_state_as_it_is():
    circuits = Circuits()
    circuits.cool_down(P, until=30, now=0)
    shown = circuits.status(now=10)[P]
    assert (shown["is_open"], shown["state"], shown["retry_after_s"]) == (True, "closed", 20.0)
    assert shown["cooling_until"] == "1970-01-01T00:00:30+00:00"
    assert circuits.status(now=30)[P]["cooling_until"] is None


def test_half_open_is_never_shown_as_open_however_many_probes_run():
    circuits = Circuits()
    fail(circuits, 5)
    circuits.acquire(P, now=60)
    shown = circuits.status(now=60)[P]
    assert (shown["is_open"], shown["state"], shown["retry_after_s"]) == (False, "half_open", 0.0)
    assert shown["failure_count"] == 5
    assert shown["opened_at"] is not None


def test_last_failure_outlives_a_success_and_ends_with_a_reset():
    circuits = Circuits()
    fail(circuits, 1)
    circuits.acquire(P, now=9).settle("success", now=9)
    assert circuits.status(now=9)[P]["last_failure"] == "1970-01-01T00:00:00+00:00"
    circuits.reset(P, now=9)
    assert circuits.status(now=9)[P]["last_failure"] is None


def test_times_that_no_calendar_holds_are_shown_at_its_ends():
    circuits = Circuits()
    circuits.cool_down(P, until=1e30, now=0)
    assert circuits.status(now=0)[P]["cooling_until"] == "9999-12-31T23:59:59+00:00"
