"""Waits and the budget of repeated attempts: pure arithmetic over dice and time."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attune.errors import ConfigError
from attune.models.retry import RetryBudget, RetryPolicy


def none():
    return 0.0


def almost_all():
    return 0.999999


def test_waits_double_from_half_a_second_to_eight():
    policy = RetryPolicy()
    assert [policy.wait_s(retries, None, none) for retries in range(7)] == [0.5, 1, 2, 4, 8, 8, 8]


def test_jitter_shortens_a_wait_to_three_quarters_at_most():
    assert RetryPolicy().wait_s(1, None, almost_all) == pytest.approx(0.75, abs=1e-5)


def test_what_the_provider_asks_for_counts_exactly_up_to_the_longest_wait():
    policy = RetryPolicy(max_wait_s=10)
    assert policy.wait_s(0, 7.25, almost_all) == 7.25
    assert policy.wait_s(5, 0.0, none) == 0.0
    assert policy.wait_s(0, 10.0, none) == 10.0
    assert policy.wait_s(0, 10.5, none) == 0.5
    assert (policy.too_long(10.0), policy.too_long(10.5), policy.too_long(None)) == (False, True, False)


@given(
    retries=st.integers(-5, 10_000),
    asked=st.none() | st.floats(0, 1e9),
    dice=st.floats(0, 1, exclude_max=True),
    longest=st.floats(0, 1e6),
)
def test_no_wait_is_negative_or_longer_than_the_longest(retries, asked, dice, longest):
    wait_s = RetryPolicy(max_wait_s=longest).wait_s(retries, asked, lambda: dice)
    assert 0 <= wait_s <= longest


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": 2.0},
        {"max_attempts": True},
        {"max_wait_s": -1},
        {"max_wait_s": float("inf")},
        {"budget": 1.1},
        {"budget": float("nan")},
        {"initial_s": "0.5"},
        {"cap_s": None},
        {"jitter": -0.1},
        {"floor_per_s": -1},
        {"window_s": 0},
    ],
)
def test_values_that_could_never_work_are_refused_by_name(wrong):
    (name, value), *_ = wrong.items()
    with pytest.raises(ConfigError, match=f"{name}={value!r}"):
        RetryPolicy(**wrong)


def taken(budget, now, tries=1000):
    return sum(budget.take(now=now) for _ in range(tries))


def test_a_budget_begins_with_the_floor_of_one_window():
    assert taken(RetryBudget(RetryPolicy()), 0.0) == 10


def test_the_floor_comes_back_at_one_a_second():
    budget = RetryBudget(RetryPolicy())
    taken(budget, 0.0)
    assert taken(budget, 3.0) == 3
    assert taken(budget, 1000.0) == 10


def test_calls_earn_a_fifth_of_a_repeated_attempt_each():
    budget = RetryBudget(RetryPolicy())
    taken(budget, 0.0)
    for _ in range(100):
        budget.call(now=0.0)
    assert budget.left(now=0.0) == pytest.approx(20)
    assert taken(budget, 0.0) in (19, 20)


def test_what_calls_earned_is_forgotten_after_the_window():
    budget = RetryBudget(RetryPolicy(floor_per_s=0))
    for _ in range(1000):
        budget.call(now=0.0)
    assert budget.left(now=10.0) < 200 / 2
    assert not budget.take(now=120.0)


def test_no_budget_means_no_repeated_attempt():
    budget = RetryBudget(RetryPolicy(budget=0, floor_per_s=0))
    budget.call(now=0.0)
    assert not budget.take(now=1e6)


def test_in_an_outage_repeated_attempts_stay_a_fifth_of_the_calls():
    """100 calls a second for a minute, each of which wants two repeats: about 20 a second and the floor get through."""
    budget, repeated = RetryBudget(RetryPolicy()), 0
    for tick in range(6000):
        budget.call(now=tick / 100)
        repeated += budget.take(now=tick / 100) + budget.take(now=tick / 100)
    assert 0.2 * 6000 * 0.9 <= repeated <= 0.2 * 6000 + 60 + 10


def test_time_that_goes_back_gives_nothing_away():
    budget = RetryBudget(RetryPolicy())
    taken(budget, 100.0)
    assert taken(budget, 0.0) == 0
    assert taken(budget, 101.0) == 1


def test_threads_never_take_more_than_there_is():
    budget, got = RetryBudget(RetryPolicy(floor_per_s=5)), []
    threads = [threading.Thread(target=lambda: got.append(taken(budget, 0.0, 200))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(got) == 50
