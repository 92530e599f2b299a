"""The router: each constraint eliminates by its name, trials are bounded, and the same dice make the same choices."""

from __future__ import annotations

import logging
import pickle
import random
import time

import pytest

from attune.errors import NoModelAvailable
from attune.models.call import Target
from attune.models.circuits import Circuits
from attune.models.performance import Observation, Series, Verdict
from attune.models.registry import ModelTier, Price
from attune.models.router import Question, Router
from attune.models.windows import Windows

T0 = 1_800_000_000.0
NEVER = 0.999999  # dice that never explore


def target(model: str, usd: float | None = 1.0, tier: str | None = None, **facts) -> Target:
    price = None if usd is None else Price(input=round(usd * 1e9), output=round(usd * 5e9))
    return Target(model, provider="p", price=price, tier=ModelTier(tier) if tier else None, **facts)


TARGETS = (target("small", 1, "cheap"), target("middle", 4, "capable"), target("large", 20, "premium"))


def asked(**facts) -> Question:
    return Question(**{"workflow": "w", "stage": "s", "targets": TARGETS, **facts})


def told(windows: Windows, model: str, good: int, bad: int = 0, *, stage: str = "s", **facts) -> None:
    cost = {"small": 1_000_000, "middle": 4_000_000, "large": 20_000_000}.get(model, 1_000_000)
    facts = {"latency_us": 1_000_000, "cost_nano": cost, "outcome": "success", **facts}
    for number in range(good + bad):
        series, at = Series("w", stage, "p", model), int((T0 + number) * 1e6)
        windows.record(Observation(series=series, at_us=at, empty=number < bad, **facts))


def known(**records: tuple[int, int]) -> Windows:
    windows = Windows(writer="a")
    for model, (good, bad) in records.items():
        told(windows, model, good, bad)
    return windows


def decide(windows: Windows, question: Question | None = None, *, router=None, circuits=None, dice=NEVER, now=0.0):
    snapshot = windows.snapshot(T0 + 60)
    return (router or Router()).decide(
        question or asked(), snapshot, circuits or Circuits(), now=now, dice=dice if callable(dice) else lambda: dice
    )


def why(decision) -> dict[str, str | None]:
    return {it.model: it.eliminated_by for it in decision.candidates}


def tripped(model: str = "small", count: int = 5) -> Circuits:
    circuits = Circuits()
    for _ in range(count):
        circuits.acquire("p", model, now=0.0).settle("failure", now=0.0)
    return circuits


# -- what is chosen, and why


def test_the_cheapest_that_is_proven_is_chosen():
    """Both meet the floor; the dearer is only costlier, the rest has said nothing yet."""
    choice = decide(known(middle=(95, 5), large=(99, 1)), asked(min_success_rate=0.8))
    assert (choice.decision.model, choice.decision.reason) == ("middle", "proven")
    assert choice.decision.constraint_satisfied and not choice.decision.explored
    assert why(choice.decision) == {"small": "insufficient_data", "middle": None, "large": "costlier"}


def test_a_model_under_the_floor_is_eliminated_by_it():
    """Forty bad samples refute; the pick is told with its numbers."""
    choice = decide(known(small=(10, 40), middle=(60, 2)))
    assert choice.decision.model == "middle"
    assert why(choice.decision)["small"] == "min_success_rate"
    candidate = choice.decision.candidates[0]
    assert candidate.sample_size == 50 and candidate.success_rate == pytest.approx(0.2)
    assert candidate.lower < 0.3 and candidate.upper < 0.45


def test_nothing_proven_takes_the_best_so_far_and_says_so():
    """The cheapest within 3 points of the best expectation; the constraint is not met."""
    choice = decide(known(small=(10, 40), middle=(20, 30), large=(20, 30)))
    assert choice.decision.reason == "best" and choice.decision.model == "middle"
    assert not choice.decision.constraint_satisfied
    assert decide(Windows(writer="a")).decision.model == "small"


def test_the_default_policy_takes_the_default_target_where_nothing_is_proven():
    """And no longer, once something is."""
    question = asked(on_infeasible="default", default=2)
    choice = decide(known(small=(10, 40)), question)
    assert (choice.decision.model, choice.decision.reason) == ("large", "default")
    assert decide(known(middle=(60, 0)), question).decision.reason == "proven"


def test_every_target_is_a_fallback_in_order_of_merit():
    """The chosen one first, then what meets the floor by cost, then the rest by success."""
    choice = decide(known(small=(10, 40), middle=(60, 2), large=(60, 2)))
    assert [TARGETS[i].model for i in choice.order] == ["middle", "large", "small"]


# -- limits


def test_max_cost_never_gives_way():
    """The observed mean is the cost; what is over it is not even a fallback."""
    windows = known(small=(10, 40))
    told(windows, "large", 60, cost_nano=50_000_000)
    choice = decide(windows, asked(max_cost_nano=20_000_000))
    assert why(choice.decision)["large"] == "max_cost"
    assert 2 not in choice.order


@pytest.mark.parametrize("policy", ["best", "default", "raise"])
def test_nothing_within_max_cost_is_refused_whatever_the_policy(policy):
    """The message names each candidate's constraint and what to do, and the decision survives pickling."""
    with pytest.raises(NoModelAvailable) as caught:
        decide(known(small=(40, 0)), asked(max_cost_nano=1, on_infeasible=policy))
    assert why(caught.value.decision) == dict.fromkeys(("small", "middle", "large"), "max_cost")
    assert "p/small: max_cost" in str(caught.value) and "Relax max_cost" in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert why(again.decision) == why(caught.value.decision)


def test_an_unknown_price_is_not_free():
    """Without a limit it is taken for as dear as the dearest; with one, it is eliminated, and the refusal says why."""
    targets = (target("odd", None), target("plain", 4))
    windows = known(odd=(40, 0), plain=(40, 0))
    silent = Windows(writer="b")
    for model in ("odd", "plain"):
        told(silent, model, 40, cost_nano=None)
    assert decide(silent, asked(targets=targets)).decision.model == "plain"
    choice = decide(silent, asked(targets=targets, max_cost_nano=10**9))
    assert why(choice.decision)["odd"] == "max_cost" and choice.decision.candidates[0].cost is None
    assert why(decide(windows, asked(targets=targets, max_cost_nano=10**9)).decision)["odd"] != "max_cost"
    with pytest.raises(NoModelAvailable, match="its price is unknown"):
        decide(Windows(writer="c"), asked(targets=targets[:1], max_cost_nano=10**9))


def test_more_than_a_tenth_of_slow_calls_eliminates():
    """It is the share of calls over the limit that counts, not the mean."""
    windows = known(middle=(60, 0))
    told(windows, "small", 48)
    told(windows, "small", 12, latency_us=9_000_000)
    choice = decide(windows, asked(max_latency_ms=3000))
    assert choice.decision.model == "middle" and why(choice.decision)["small"] == "max_latency_ms"
    assert decide(windows, asked(max_latency_ms=10_000)).decision.model == "small"


def test_the_latency_limit_yields_to_the_floor():
    """Where it would cost more than 15 points of success, and that is told."""
    windows = known(small=(10, 50), middle=(10, 50))
    told(windows, "large", 60, latency_us=9_000_000)
    choice = decide(windows, asked(max_latency_ms=3000))
    assert choice.decision.model == "large"
    assert choice.decision.gave_way == ("max_latency_ms",) and not choice.decision.constraint_satisfied


def test_a_request_that_does_not_fit_is_not_sent_there():
    """By the context window, where this call's size is known; if nothing seems to hold it, the provider shall say so."""
    targets = (target("short", 1, context_window=8_000), target("long", 4, context_window=200_000))
    choice = decide(Windows(writer="a"), asked(targets=targets, expected_tokens=(20_000.0, 500.0)))
    assert choice.decision.model == "long" and why(choice.decision)["short"] == "context_window"
    assert len(decide(Windows(writer="a"), asked(targets=targets, expected_tokens=(1e6, 1.0))).order) == 2


def test_raise_waits_until_the_evidence_has_spoken():
    """While a candidate may yet meet the floor it is tried; once all have missed it, the call is refused."""
    question = asked(on_infeasible="raise")
    assert decide(known(small=(5, 5)), question).decision.reason == "best"
    with pytest.raises(NoModelAvailable, match=r"min_success_rate \(20.0% of 50\)"):
        decide(known(small=(10, 40), middle=(10, 40), large=(10, 40)), question)


# -- health


def test_an_open_circuit_eliminates_and_comes_last():
    """Its siblings are taken; it stays a fallback of last resort."""
    choice = decide(known(small=(60, 0), middle=(60, 0)), circuits=tripped())
    assert choice.decision.model == "middle" and why(choice.decision)["small"] == "circuit"
    assert TARGETS[choice.order[-1]].model == "small" and choice.decision.candidates[0].state == "open"


def test_a_half_open_circuit_is_probed_where_it_would_be_the_pick():
    """After 60 seconds, once; a model that would not be picked is not probed."""
    windows, circuits, router = known(small=(60, 0), middle=(60, 0)), tripped(), Router(explore=False)
    ask = {"circuits": circuits, "router": router}
    assert decide(windows, now=59.0, **ask).decision.model == "middle"
    probe = decide(windows, now=60.5, **ask).decision
    assert (probe.model, probe.reason) == ("small", "probe")
    permit = circuits.acquire("p", "small", now=60.6)
    assert decide(windows, now=60.7, **ask).decision.model == "middle"
    permit.settle("success", now=61.0)
    assert decide(windows, now=61.1, **ask).decision.reason == "proven"
    assert decide(windows, circuits=tripped("large"), now=60.5).decision.model == "small"


def test_with_every_circuit_open_there_is_still_an_order():
    """The plan tries the one due soonest; the decision says that the circuits gave way."""
    circuits = Circuits()
    circuits.force_open("p", now=0.0)
    choice = decide(known(small=(60, 0)), circuits=circuits)
    assert sorted(choice.order) == [0, 1, 2] and not choice.decision.constraint_satisfied
    assert choice.decision.gave_way == ("circuit",)


def test_a_model_set_aside_is_probed_by_dice_or_by_turns():
    """With `explore=False` probes go on, by counting: without them it would never return."""
    windows = known(small=(60, 0), middle=(60, 0))
    for stage in ("s", "t"):
        for number in range(12):
            series, at = Series("w", stage, "p", "small"), int((T0 + number) * 1e6)
            windows.record(Observation(series=series, at_us=at, outcome="success", latency_us=1))
            windows.judge(Verdict(series=series, at_us=at, quality_micro=0))
    told(windows, "middle", 1)
    for number in range(60):
        series = Series("w", "s", "p", "middle")
        windows.judge(Verdict(series=series, at_us=int((T0 + number) * 1e6), quality_micro=1_000_000))
        windows.judge(
            Verdict(
                series=series._replace(model="small"), at_us=int(T0 * 1e6), quality_micro=1_000_000, replaces_micro=0
            )
        )
    assert ("p", "small") in windows.snapshot(T0 + 60).quarantined
    assert decide(windows).decision.model == "middle" and why(decide(windows).decision)["small"] == "quarantined"
    assert decide(windows, dice=0.0).decision.reason == "probe"
    router = Router(explore=False)
    reasons = [decide(windows, router=router).decision.reason for _ in range(200)]
    assert 3 <= reasons.count("probe") <= 50


# -- exploring


def test_at_most_a_quarter_of_the_calls_are_trials():
    """A cheaper untried model is tried while another is proven; the probability is told."""
    dice = random.Random(5)
    windows, router, question = known(middle=(60, 0)), Router(), asked()
    decisions = [decide(windows, question, router=router, dice=dice.random).decision for _ in range(2000)]
    trials = [it for it in decisions if it.reason == "trial"]
    assert 400 < len(trials) < 600 and {it.model for it in trials} == {"small"}
    assert all(it.explored and it.probability == 0.25 for it in trials)
    assert {it.reason for it in decisions} <= {"proven", "trial", "retry"}


def test_exploring_never_overspends_its_allowance():
    """Twenty calls and half of the bill while nothing is proven: dear trials stop, also after a restart."""
    windows = Windows(writer="a")
    told(windows, "small", 20, 20, cost_nano=1_000_000)
    told(windows, "large", 1, 8, cost_nano=20_000_000, explored=True)
    restarted = Windows(writer="b")
    restarted.absorb(windows.own_rows()[0], scope="host")
    for it in (windows, restarted):
        assert decide(it, dice=0.0).decision.model != "large"


def test_without_exploring_there_are_no_dice():
    """`explore=False` never rolls."""

    def forbidden() -> float:
        raise AssertionError("rolled")

    assert decide(known(middle=(60, 0)), router=Router(explore=False), dice=forbidden).decision.reason == "proven"


def test_the_same_dice_make_the_same_choices():
    """A seed and the same order of outcomes repeat every decision."""

    def run() -> list[tuple[str, str]]:
        dice, windows, router, question = random.Random(9), Windows(writer="a"), Router(), asked()
        chosen = []
        for number in range(300):
            choice = router.decide(
                question, windows.snapshot(T0 + number), Circuits(), now=float(number), dice=dice.random
            )
            model = choice.decision.model
            chosen.append((model, choice.decision.reason))
            good = dice.random() < {"small": 0.6, "middle": 0.9, "large": 0.95}[model]
            series = Series("w", "s", "p", model)
            windows.record(
                Observation(
                    series=series, at_us=int((T0 + number) * 1e6), outcome="success", latency_us=1, empty=not good
                )
            )
        return chosen

    first = run()
    assert first == run() and first[-1] == ("middle", "proven")


def test_a_share_bounds_a_target():
    """`max_share` sends the rest to the next best."""
    targets = (target("small", 1, max_share=0.3), target("middle", 4))
    dice, router, question = random.Random(2), Router(explore=False), asked(targets=targets)
    windows = known(small=(60, 0), middle=(60, 0))
    models = [decide(windows, question, router=router, dice=dice.random).decision.model for _ in range(1000)]
    assert 240 < models.count("small") < 360


# -- questions, explanations, cost


def test_a_question_names_what_ten_samples_prove():
    """The cheapest at or over the floor, by plain means; fewer samples are insufficient data."""
    router, circuits = Router(), Circuits()
    snapshot = known(small=(9, 0), middle=(8, 2), large=(12, 0)).snapshot(T0)
    decision = router.ask(asked(), snapshot, circuits, now=0.0)
    assert (decision.model, decision.reason, decision.constraint_satisfied) == ("middle", "proven", True)
    assert why(decision) == {"small": "insufficient_data", "middle": None, "large": "costlier"}
    assert router.ask(asked(min_success_rate=0.9), snapshot, circuits, now=0.0).model == "large"


def test_a_question_falls_back_on_the_default_tier():
    """And says that nothing meets the limits; it raises only if told to."""
    snapshot = known(large=(2, 10)).snapshot(T0)
    router = Router(default_tier=ModelTier.CAPABLE)
    decision = router.ask(asked(max_cost_nano=1, on_infeasible="default"), snapshot, Circuits(), now=0.0)
    assert (decision.model, decision.reason, decision.constraint_satisfied) == ("middle", "default", False)
    with pytest.raises(NoModelAvailable):
        router.ask(asked(on_infeasible="raise"), snapshot, Circuits(), now=0.0)


def test_a_question_changes_nothing():
    """Neither evidence nor the next decision."""
    windows, router = known(middle=(60, 0)), Router()
    before = windows.snapshot(T0)
    for _ in range(50):
        router.ask(asked(), before, Circuits(), now=0.0)
    assert windows.snapshot(T0) is before and not router._memos


def test_the_explanation_is_worked_out_later_on_what_was_known_then():
    """Evidence that comes in between changes nothing that is told."""
    windows = known(middle=(60, 0))
    decision = decide(windows).decision
    told(windows, "small", 0, 60)
    windows.snapshot(T0 + 60)
    assert why(decision)["small"] == "insufficient_data" and decision.candidates[0].sample_size == 0


def test_a_decision_prints_as_a_table():
    """One line a candidate, the chosen one marked."""
    text = str(decide(known(small=(10, 40), middle=(60, 0))).decision)
    lines = text.splitlines()
    assert lines[0].startswith("p/middle: proven (constraints met)") and len(lines) == 5
    assert "eliminated by" in lines[1]
    assert "min_success_rate" in lines[2] and "20.0%" in lines[2]
    assert lines[3].startswith("*") and lines[3].endswith("chosen")


def test_every_call_and_question_logs_each_eliminated_candidate(caplog):
    """One DEBUG line each, with the argument's name, and one for what was selected."""
    windows, circuits = known(small=(10, 40), middle=(60, 0)), tripped("large")
    with caplog.at_level(logging.DEBUG, logger="attune.models.router"):
        decide(windows, asked(max_cost_nano=10**9), circuits=circuits)
        Router().ask(asked(), windows.snapshot(T0), circuits, now=0.0)
    lines = [record.getMessage() for record in caplog.records]
    assert lines.count("w/s: p/small eliminated by min_success_rate") == 2
    assert lines.count("w/s: p/large eliminated by circuit") == 2
    assert lines.count("w/s: selected p/middle (proven)") == 2
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="attune.models.router"):
        decide(windows)
    assert not caplog.records


def test_the_memory_of_rankings_follows_evidence_circuits_and_targets():
    """A changed cell, a tripped circuit or another tuple of targets is ranked anew; nothing else is."""
    windows, router, circuits, question = known(middle=(60, 0)), Router(explore=False), Circuits(), asked()
    ask = {"router": router, "circuits": circuits}
    first = decide(windows, question, **ask)
    assert decide(windows, question, **ask) is first
    told(windows, "small", 60)
    assert decide(windows, question, **ask).decision.model == "small"
    for _ in range(5):
        circuits.acquire("p", "small", now=0.0).settle("failure", now=0.0)
    assert decide(windows, question, **ask).decision.model == "middle"
    others = (target("middle", 4), target("tiny", 0.1))
    assert decide(windows, asked(targets=others), **ask).decision.model == "middle"


def test_a_ranking_holds_while_its_pick_only_succeeds():
    """Up to 1 % more successes of one model change no ranking; anything else is in the very next decision."""
    windows, router, question = known(middle=(400, 0)), Router(explore=False), asked()
    first = decide(windows, question, router=router)
    told(windows, "middle", 3)
    assert decide(windows, question, router=router) is first
    told(windows, "middle", 3)
    assert decide(windows, question, router=router) is not first
    second = decide(windows, question, router=router)
    told(windows, "middle", 0, 1)
    third = decide(windows, question, router=router)
    assert third is not second and third.decision.candidates[1].sample_size == 407


def test_a_decision_is_quick_and_flat():
    """p50 of a decision on an unchanged cell with 14 models: 3 us promised, ten times that here for a busy machine."""
    targets = tuple(target(f"m{number}", number + 1) for number in range(14))

    def cost(calls: int) -> float:
        windows, router, question = Windows(writer="a"), Router(), asked(targets=targets)
        for number in range(calls):
            told(windows, f"m{number % 14}", 1)
        snapshot, circuits, best = windows.snapshot(T0), Circuits(), float("inf")
        for _ in range(15):
            began = time.perf_counter()
            for _ in range(200):
                router.decide(question, snapshot, circuits, now=0.0, dice=lambda: NEVER)
            best = min(best, (time.perf_counter() - began) / 200)
        return best

    few, many = cost(14), cost(14_000)
    assert many < 30e-6 and many < 3 * few
