"""The pure core: when circuits open, who may probe them, and what each outcome does."""

from __future__ import annotations

import pytest

from attune.errors import ConfigError
from attune.models.circuits import Circuits, CircuitSettings, Permit, Refusal
from attune.models.failures import FailureKind

P, M1, M2, M3 = "anthropic", "haiku", "sonnet", "opus"


def fail(circuits, times=1, scope=None, *, now=0.0, provider=P, endpoint="", touches="model", kind=None):
    for _ in range(times):
        permit = circuits.acquire(provider, scope, endpoint=endpoint, now=now)
        permit.settle("failure", now=now, touches=touches, kind=kind)


def opened(scope=None, **settings):
    circuits = Circuits(CircuitSettings(**settings))
    fail(circuits, circuits.settings.failure_threshold, scope)
    return circuits


# -- counting


def test_it_opens_on_the_fifth_failure_in_a_row_and_not_before():
    circuits = Circuits()
    fail(circuits, 4)
    assert circuits.state(P, now=0) == "closed"
    assert circuits.quiet
    fail(circuits)
    assert circuits.state(P, now=0) == "open"
    assert not circuits.quiet
    refusal = circuits.acquire(P, now=12.5)
    assert refusal == Refusal(name=P, state="open", retry_after_s=47.5, cooling=False)


def test_a_success_in_between_starts_the_count_anew():
    circuits = Circuits()
    fail(circuits, 4)
    circuits.acquire(P, now=0).settle("success", now=0)
    assert circuits.status(now=0)[P]["failure_count"] == 0
    fail(circuits, 4)
    assert circuits.allows(P, now=0)


def test_a_neutral_outcome_neither_counts_nor_resets():
    circuits = Circuits()
    fail(circuits, 4)
    circuits.acquire(P, now=0).settle("neutral", now=0)
    assert circuits.status(now=0)[P]["failure_count"] == 4
    fail(circuits)
    assert not circuits.allows(P, now=0)


@pytest.mark.parametrize("first", ["success", "failure", "neutral"])
def test_the_first_outcome_of_a_permit_counts_and_later_ones_do_nothing(first):
    circuits = Circuits(CircuitSettings(failure_threshold=2))
    permit = circuits.acquire(P, now=0)
    permit.settle(first, now=0)
    for later in ("failure", "success", "neutral", "failure"):
        permit.settle(later, now=0)
    assert circuits.status(now=0)[P]["failure_count"] == (1 if first == "failure" else 0)


def test_another_word_for_an_outcome_is_refused_by_name():
    permit = Circuits().acquire(P, now=0)
    with pytest.raises(ConfigError, match=r"'rejected'.*success, failure, neutral"):
        permit.settle("rejected", now=0)


def test_results_without_a_permit_count_while_closed():
    circuits = Circuits()
    for _ in range(4):
        circuits.record(P, None, "failure", now=0)
    circuits.record(P, None, "neutral", now=0)
    assert circuits.status(now=0)[P]["failure_count"] == 4
    circuits.record(P, None, "success", now=0)
    assert circuits.status(now=0)[P]["failure_count"] == 0


@pytest.mark.parametrize("outcome", ["success", "failure"])
@pytest.mark.parametrize("now", [30.0, 75.0])
def test_results_without_a_permit_change_nothing_while_open_or_half_open(outcome, now):
    circuits = opened()
    before = circuits.status(now=now)
    circuits.record(P, None, outcome, now=now)
    assert circuits.status(now=now) == before


# -- time


def test_time_alone_turns_open_into_half_open_and_reading_changes_nothing():
    circuits = opened()
    assert circuits.state(P, now=59.999) == "open"
    assert circuits.state(P, now=60.0) == "half_open"
    assert circuits.allows(P, now=60.0)
    assert circuits.state(P, now=59.999) == "open"  # nothing was written


def test_one_successful_probe_closes():
    circuits = opened()
    probe = circuits.acquire(P, now=60)
    assert probe.probe
    assert probe.state == "half_open"
    probe.settle("success", now=61)
    assert circuits.state(P, now=61) == "closed"
    assert circuits.quiet
    assert not circuits.acquire(P, now=61).probe


def test_a_failed_probe_opens_for_the_whole_time_again():
    circuits = opened()
    circuits.acquire(P, now=70).settle("failure", now=71)
    assert circuits.retry_after_s(P, now=71) == 60.0
    assert circuits.status(now=71)[P]["failure_count"] == 6


def test_a_neutral_probe_frees_its_slot_and_decides_nothing():
    circuits = opened()
    circuits.acquire(P, now=60).settle("neutral", now=60)
    assert circuits.state(P, now=60) == "half_open"
    assert circuits.acquire(P, now=60).probe


# -- half-open


@pytest.mark.parametrize("k", [1, 3])
def test_exactly_k_probes_run_at_one_time(k):
    circuits = opened(half_open_calls=k)
    answers = [circuits.acquire(P, now=60) for _ in range(1000)]
    assert sum(isinstance(it, Permit) for it in answers) == k
    assert all(it == Refusal(name=P, state="half_open", retry_after_s=0.0, cooling=False) for it in answers[k:])
    assert not circuits.allows(P, now=60)
    answers[0].settle("neutral", now=60)
    assert isinstance(circuits.acquire(P, now=60), Permit)
    assert isinstance(circuits.acquire(P, now=60), Refusal)


def test_probes_of_an_earlier_era_keep_their_slots():
    """With k = 2: one probe re-opens the circuit while the other runs on, and the next half-open time has one slot left."""
    circuits = opened(half_open_calls=2)
    slow, quick = circuits.acquire(P, now=60), circuits.acquire(P, now=60)
    quick.settle("failure", now=60)
    assert isinstance(circuits.acquire(P, now=120), Permit)
    assert isinstance(circuits.acquire(P, now=120), Refusal)
    slow.settle("success", now=121)  # of an earlier era: it frees the slot and closes nothing
    assert circuits.state(P, now=121) == "half_open"
    assert isinstance(circuits.acquire(P, now=121), Permit)


def test_a_lost_probe_gives_its_slot_back_when_its_lease_ends():
    circuits = opened(probe_lease_s=120.0)
    lost = circuits.acquire(P, now=60)
    assert isinstance(circuits.acquire(P, now=179.9), Refusal)
    second = circuits.acquire(P, now=180)
    assert second.probe
    lost.settle("failure", now=181)  # void: the slot is another's by now
    assert circuits.state(P, now=181) == "half_open"
    second.settle("success", now=182)
    assert circuits.state(P, now=182) == "closed"


def test_an_expired_probe_is_no_failure():
    circuits = opened(probe_lease_s=10.0)
    circuits.acquire(P, now=60)
    assert circuits.state(P, now=70) == "half_open"
    assert circuits.status(now=70)[P]["failure_count"] == 5


def test_the_lease_binds_probes_only():
    """A call that began while all was well counts however long it takes."""
    circuits = Circuits(CircuitSettings(failure_threshold=1, probe_lease_s=10.0))
    circuits.acquire(P, now=0).settle("failure", now=5000)
    assert circuits.state(P, now=5000) == "open"


# -- eras


@pytest.mark.parametrize("outcome", ["success", "failure"])
def test_late_results_of_an_earlier_era_change_nothing(outcome):
    circuits = Circuits()
    late = [circuits.acquire(P, now=0) for _ in range(6)]
    fail(circuits, 5)
    late.pop().settle(outcome, now=30)
    assert circuits.retry_after_s(P, now=30) == 30.0  # neither closed nor stretched
    probe = circuits.acquire(P, now=60)
    late.pop().settle(outcome, now=60)
    assert circuits.state(P, now=60) == "half_open"
    probe.settle("success", now=60)
    while late:
        late.pop().settle(outcome, now=61)
    assert circuits.state(P, now=61) == "closed"
    assert circuits.status(now=61)[P]["failure_count"] == 0


def test_what_began_before_a_reset_does_not_count_after_it():
    circuits = Circuits()
    old = [circuits.acquire(P, now=0) for _ in range(5)]
    circuits.reset(P, now=0)
    for permit in old:
        permit.settle("failure", now=1)
    assert circuits.status(now=1)[P]["failure_count"] == 0


# -- the provider and its models


def test_a_sick_model_leaves_its_neighbours_and_the_provider_alone():
    circuits = opened(M1)
    assert not circuits.allows(P, M1, now=0)
    assert circuits.allows(P, M2, now=0)
    assert circuits.allows(P, now=0)
    assert circuits.acquire(P, M1, now=0).name == f"{P}:{M1}"


def test_an_open_provider_closes_its_narrower_keys_and_no_other_provider():
    circuits = opened()
    assert not circuits.allows(P, M1, now=0)
    assert circuits.acquire(P, M1, now=0).name == P
    assert circuits.allows("openai", M1, now=0)
    assert circuits.acquire("openai", M1, now=0).state == "closed"


def test_what_concerns_the_provider_counts_on_it_and_is_neutral_for_the_model():
    circuits = Circuits()
    fail(circuits, 5, M1, touches="provider", kind=FailureKind.CONNECTION)
    status = circuits.status(now=0)
    assert status[P]["state"] == "open"
    assert status[P]["last_failure_kind"] == "connection"
    assert status[f"{P}:{M1}"]["state"] == "closed"
    assert status[f"{P}:{M1}"]["failure_count"] == 0
    assert not circuits.allows(P, M2, now=0)


def test_a_models_failures_do_not_count_on_the_provider():
    circuits = Circuits()
    fail(circuits, 4, M1)
    assert circuits.status(now=0)[P]["failure_count"] == 0
    assert circuits.status(now=0)[f"{P}:{M1}"]["failure_count"] == 4


def test_five_failures_in_a_row_over_two_models_open_the_provider():
    circuits = Circuits()
    fail(circuits, 3, M1)
    fail(circuits, 1, M2)
    assert circuits.allows(P, M3, now=0)
    fail(circuits, 1, M2)
    assert not circuits.allows(P, M3, now=0)
    status = circuits.status(now=0)
    assert status[P]["state"] == "open"
    assert status[P]["failure_count"] == 5
    assert status[f"{P}:{M1}"]["state"] == "closed"


def test_a_success_of_any_model_keeps_the_provider_closed():
    circuits = Circuits()
    fail(circuits, 3, M1)
    fail(circuits, 1, M2)
    circuits.acquire(P, M3, now=0).settle("success", now=0)
    fail(circuits, 1, M2)
    assert circuits.allows(P, M3, now=0)


def test_a_429_or_another_neutral_outcome_is_none_of_the_last_five():
    circuits = Circuits()
    fail(circuits, 4, M1)
    circuits.acquire(P, M2, now=0).settle("neutral", now=0)
    assert circuits.allows(P, M3, now=0)
    fail(circuits, 1, M2)
    assert not circuits.allows(P, M3, now=0)


def test_five_failures_of_one_model_never_open_the_provider():
    circuits = Circuits(CircuitSettings(failure_threshold=50))
    fail(circuits, 49, M1)
    assert circuits.allows(P, M2, now=0)


def test_a_success_closes_both_circuits_of_a_probe():
    circuits = opened()
    fail(circuits, 0)
    circuits.reset(now=0)
    fail(circuits, 5, M1)
    fail(circuits, 5, None)
    permit = circuits.acquire(P, M1, now=60)
    assert isinstance(circuits.acquire(P, M2, now=60), Refusal)  # one slot, at the provider
    permit.settle("success", now=60)
    assert circuits.quiet


def test_a_probe_that_only_its_model_failed_leaves_the_provider_to_the_next_model():
    """After an outage one model is still sick: its failed probe must not shut out the ones that are well."""
    circuits = Circuits()
    fail(circuits, 3, M1)
    fail(circuits, 2, M2)
    circuits.acquire(P, M1, now=60).settle("failure", now=60)
    assert circuits.state(P, now=60) == "half_open"
    circuits.acquire(P, M2, now=60).settle("success", now=60)
    assert circuits.state(P, now=60) == "closed"


def test_a_provider_re_opens_when_probes_of_two_models_failed():
    circuits = Circuits()
    fail(circuits, 3, M1)
    fail(circuits, 2, M2)
    circuits.acquire(P, M1, now=60).settle("failure", now=60)
    circuits.acquire(P, M3, now=60).settle("failure", now=60)
    assert circuits.retry_after_s(P, now=60) == 60.0


def test_a_provider_re_opens_at_once_where_the_probes_failure_concerns_it():
    circuits = opened()
    circuits.acquire(P, M1, now=60).settle("failure", now=60, touches="provider")
    assert circuits.state(P, now=60) == "open"


# -- cooldowns


def test_a_cooldown_refuses_and_leaves_state_and_count_as_they_are():
    circuits = Circuits()
    fail(circuits, 2, M1)
    circuits.cool_down(P, M1, until=30, now=0, reason="rate_limit")
    assert circuits.state(P, M1, now=0) == "closed"
    assert circuits.acquire(P, M1, now=10) == Refusal(
        name=f"{P}:{M1}", state="closed", retry_after_s=20.0, cooling=True, reason="rate_limit"
    )
    assert circuits.status(now=10)[f"{P}:{M1}"]["failure_count"] == 2
    assert circuits.allows(P, M2, now=10)
    assert not circuits.quiet
    assert circuits.allows(P, M1, now=30)
    assert isinstance(circuits.acquire(P, M1, now=30), Permit)
    assert circuits.quiet


def test_a_providers_cooldown_closes_its_models():
    circuits = Circuits()
    circuits.cool_down(P, until=30, now=0)
    assert not circuits.allows(P, M1, now=0)
    assert circuits.retry_after_s(P, M1, now=0) == 30.0


def test_the_later_cooldown_wins_and_nothing_shortens_it():
    circuits = Circuits()
    for until in (30, 90, 10, -5):
        circuits.cool_down(P, until=until, now=0)
    assert circuits.retry_after_s(P, now=0) == 90.0


def test_a_cooldown_outlasts_the_open_time():
    circuits = opened()
    circuits.cool_down(P, until=100, now=0)
    assert circuits.retry_after_s(P, now=0) == 100.0
    assert circuits.state(P, now=70) == "half_open"
    refusal = circuits.acquire(P, now=70)
    assert (refusal.cooling, refusal.retry_after_s) == (True, 30.0)


def test_an_open_circuit_that_cools_too_is_not_worth_waiting_for():
    circuits = opened()
    circuits.cool_down(P, until=10, now=0)
    assert not circuits.acquire(P, now=0).cooling


# -- by name and by endpoint


def test_endpoints_are_counted_apart():
    circuits = Circuits()
    fail(circuits, 5, M1, endpoint="stub")
    assert not circuits.allows(P, M1, endpoint="stub", now=0)
    assert circuits.allows(P, M1, endpoint="production", now=0)


def test_results_by_name_stand_above_all_endpoints():
    circuits = opened()
    assert not circuits.allows(P, M1, endpoint="e1", now=0)
    assert circuits.acquire(P, M1, endpoint="e2", now=0).name == P


def test_by_name_is_answered_for_the_worst_endpoint():
    circuits = Circuits()
    fail(circuits, 2, M1, endpoint="e1")
    fail(circuits, 5, M1, endpoint="e2")
    assert not circuits.allows(P, M1, now=0)
    assert circuits.allows(P, now=0)
    assert circuits.state(P, M1, now=0) == "open"
    entry = circuits.status(now=0)[f"{P}:{M1}"]
    assert entry["failure_count"] == 5
    assert {name: (it["state"], it["failure_count"]) for name, it in entry["endpoints"].items()} == {
        "e1": ("closed", 2),
        "e2": ("open", 5),
    }


def test_a_probe_by_name_probes_the_endpoints_and_closes_them():
    circuits = Circuits()
    fail(circuits, 5, endpoint="e1")
    probe = circuits.acquire(P, now=60)
    assert probe.probe
    probe.settle("success", now=60)
    assert circuits.quiet


def test_a_call_inside_its_own_guard_is_not_refused_by_the_guards_probe():
    """A guard by name around a guarded client: the inner call runs under the slot that the outer one holds."""
    circuits = opened()
    outer = circuits.acquire(P, now=60)
    inner = circuits.acquire(P, M1, endpoint="e1", now=60)
    assert isinstance(inner, Permit)
    inner.settle("success", now=60)
    assert circuits.state(P, now=60) == "closed"
    outer.settle("success", now=60)
    assert circuits.state(P, now=60) == "closed"


def test_a_neutral_inner_call_leaves_the_outer_probe_its_slot():
    circuits = opened()
    outer = circuits.acquire(P, now=60)
    circuits.acquire(P, M1, endpoint="e1", now=60).settle("neutral", now=60)
    assert isinstance(circuits.acquire(P, now=60), Refusal)
    outer.settle("success", now=60)
    assert circuits.quiet


def test_probes_at_an_endpoint_are_nobody_elses_to_share():
    circuits = opened()
    circuits.acquire(P, M1, endpoint="e1", now=60)
    assert isinstance(circuits.acquire(P, M1, endpoint="e1", now=60), Refusal)


# -- panic


def test_a_forced_probe_runs_on_an_open_circuit_once_in_five_seconds():
    circuits = opened()
    probe = circuits.force_probe(P, now=10)
    assert (probe.probe, probe.state) == (True, "open")
    assert isinstance(circuits.force_probe(P, now=10), Refusal)
    probe.settle("neutral", now=11)
    assert isinstance(circuits.force_probe(P, now=14.9), Refusal)
    assert isinstance(circuits.force_probe(P, now=15), Permit)
    assert isinstance(circuits.acquire(P, now=15), Refusal)


def test_a_forced_probe_closes_by_success_and_never_stretches_by_failure():
    circuits = opened()
    circuits.force_probe(P, now=10).settle("failure", now=10)
    assert circuits.retry_after_s(P, now=10) == 50.0
    circuits.force_probe(P, now=20).settle("success", now=20)
    assert circuits.quiet


def test_nothing_is_forced_on_a_cooling_circuit_or_against_a_persons_word():
    circuits = Circuits()
    circuits.cool_down(P, until=30, now=0)
    assert circuits.force_probe(P, now=0).cooling
    circuits.force_open("openai", now=0)
    assert circuits.force_probe("openai", now=0).forced


def test_the_one_due_soonest_is_open_rather_than_cooling():
    circuits = Circuits()
    fail(circuits, 5, M1, now=0)
    fail(circuits, 5, M2, now=10, provider="groq")
    circuits.cool_down(P, M3, until=20, now=10)
    circuits.force_open("openai", now=10)
    keys = [("openai", None, ""), (P, M3, ""), ("groq", M2, ""), (P, M1, "")]
    assert circuits.due_soonest(keys, now=15) == (P, M1, "")
    assert circuits.due_soonest(iter(keys[:2]), now=15) == (P, M3, "")
    assert circuits.due_soonest([], now=15) is None


# -- versions, settings, keys


def test_version_changes_with_every_answer_that_time_does_not_explain():
    circuits = opened()
    seen = [circuits.version]

    def changed():
        seen.append(circuits.version)
        return seen[-1] != seen[-2]

    circuits.allows(P, now=1)
    assert not changed()
    probe = circuits.acquire(P, now=60)
    assert changed()
    probe.settle("neutral", now=60)
    assert changed()
    circuits.acquire(P, now=60).settle("success", now=60)
    assert changed()
    circuits.cool_down(P, until=99, now=60)
    assert changed()
    for act in (circuits.force_open, circuits.auto, circuits.disable, circuits.metrics_only, circuits.reset):
        act(P, now=60)
        assert changed()


@pytest.mark.parametrize(
    "wrong",
    [
        {"failure_threshold": 0},
        {"failure_threshold": 2.0},
        {"failure_threshold": True},
        {"half_open_calls": 0},
        {"half_open_calls": "1"},
        {"recovery_timeout_s": 0},
        {"recovery_timeout_s": -1},
        {"recovery_timeout_s": float("nan")},
        {"recovery_timeout_s": float("inf")},
        {"recovery_timeout_s": "60"},
        {"probe_lease_s": False},
        {"probe_lease_s": None},
    ],
)
def test_settings_that_could_never_work_are_refused_by_name_and_value(wrong):
    (name, value), *_ = wrong.items()
    with pytest.raises(ConfigError, match=f"{name}={value!r}"):
        CircuitSettings(**wrong)


def test_the_defaults_are_the_seeds():
    settings = CircuitSettings()
    assert (settings.failure_threshold, settings.recovery_timeout_s) == (5, 60.0)
    assert (settings.half_open_calls, settings.probe_lease_s) == (1, 120.0)


def test_keys_that_are_well_are_forgotten_when_there_are_too_many():
    """Model names that nobody will use again must not fill the memory; open ones stay."""
    circuits = Circuits()
    fail(circuits, 5, "sick", provider="b")
    for number in range(10_000):
        circuits.acquire(P, f"model-{number}", now=number).settle("success", now=number)
    status = circuits.status(now=10)
    assert len(status) < 5000
    assert f"{P}:model-9999" in status
    assert "b:sick" in status
