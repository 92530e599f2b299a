"""Windows: what a process counted is in its next snapshot, what others counted adds up once, and history costs nothing."""

from __future__ import annotations

import threading
import time

import pytest

from attune.models.ledger import FLEET_CAP
from attune.models.performance import BUCKET_S, Observation, Row, Series, Tally, Verdict
from attune.models.windows import OTHER, Windows

T0 = 1_800_000_000.0
SERIES = Series("review", "draft", "anthropic", "small")


def seen(at_s: float = T0, *, series: Series = SERIES, **facts) -> Observation:
    facts = {"outcome": "success", "latency_us": 1_000_000, "cost_nano": 2_000, **facts}
    return Observation(series=series, at_us=int(at_s * 1e6), **facts)


def word(quality: float, at_s: float = T0, *, series: Series = SERIES, before: float | None = None) -> Verdict:
    return Verdict(
        series=series,
        at_us=int(at_s * 1e6),
        quality_micro=int(quality * 1e6),
        replaces_micro=None if before is None else int(before * 1e6),
    )


def stat_of(windows: Windows, at_s: float = T0, series: Series = SERIES):
    return windows.snapshot(at_s).cell(series.workflow, series.stage).stat(series.provider, series.model)


def test_an_outcome_is_in_the_next_snapshot_and_quiet_gives_the_same_object():
    """No lag in the process; unchanged evidence is the same object."""
    windows = Windows(writer="a")
    empty = windows.snapshot(T0)
    assert empty.cell("review", "draft") is None and windows.snapshot(T0 + 1) is empty
    windows.record(seen())
    first = windows.snapshot(T0)
    assert first.cell("review", "draft").stat("anthropic", "small").n == 1
    assert windows.snapshot(T0 + 1) is first
    windows.record(seen(series=Series("review", "other", "anthropic", "small")))
    second = windows.snapshot(T0)
    assert second.cell("review", "draft") is first.cell("review", "draft")
    assert first.cell("review", "other") is None and second.pooled("anthropic", "small").n == 2


@pytest.mark.parametrize(
    ("facts", "n", "s"),
    [
        ({"outcome": "success"}, 1, 1),
        ({"outcome": "success", "empty": True}, 1, 0),
        ({"outcome": "failure"}, 1, 0),
        ({"outcome": "failure", "circuit": "open"}, 0, 0),
        ({"outcome": "failure", "circuit": "half_open"}, 0, 0),
        ({"outcome": "neutral", "error_type": "cancelled"}, 0, 0),
    ],
)
def test_what_counts_as_success(facts, n, s):
    """Failures while the circuit is not closed are the breaker's business; a neutral attempt is nothing."""
    windows = Windows(writer="a")
    windows.record(seen(**facts))
    assert (stat_of(windows).n, stat_of(windows).s) == (n, s)


def test_a_cell_that_has_had_verdicts_leaves_unjudged_answers_out_for_every_model():
    """Also for the cell's other models, from the first verdict on."""
    other = SERIES._replace(model="large")
    windows = Windows(writer="a")
    for _ in range(4):
        windows.record(seen())
        windows.record(seen(series=other))
    windows.judge(word(0.5))
    assert (stat_of(windows).n, stat_of(windows).s) == (1, 0.5)
    assert stat_of(windows, series=other).n == 0


def test_a_later_verdict_replaces_the_earlier_one():
    """The call still counts once."""
    windows = Windows(writer="a")
    windows.record(seen())
    windows.judge(word(1.0))
    windows.judge(word(0.25, before=1.0))
    assert (stat_of(windows).n, stat_of(windows).s) == (1, 0.25)


def test_a_late_verdict_lands_in_the_bucket_of_its_call():
    """Days later, without counting the call anew."""
    windows = Windows(writer="a")
    windows.record(seen())
    windows.record(seen(T0 + 86_400))
    windows.judge(word(1.0, T0))
    rows, _ = windows.own_rows()
    judged = {row.bucket_s: row.tally.judged for row in rows}
    assert judged[int(T0) // BUCKET_S * BUCKET_S] == 1 and sum(judged.values()) == 1
    assert stat_of(windows, T0 + 86_400).n == pytest.approx(2 ** (-1 / 7), rel=0.01)


def test_own_rows_are_absolute_totals_of_what_changed():
    """Asked with the last seq, only what changed since comes."""
    windows = Windows(writer="a")
    windows.record(seen())
    windows.record(seen(T0 + BUCKET_S))
    rows, seq = windows.own_rows()
    assert len(rows) == 2 and {row.writer for row in rows} == {"a"}
    assert windows.own_rows(seq) == ([], seq)
    windows.record(seen(T0 + BUCKET_S, outcome="failure"))
    changed, _ = windows.own_rows(seq)
    assert [(row.tally.answers, row.tally.failures) for row in changed] == [(1, 1)]


def test_rows_of_other_writers_count_once_and_ones_own_never():
    """Duplicates, older seqs and this writer's rows change nothing."""
    one, two = Windows(writer="a"), Windows(writer="b")
    for _ in range(5):
        one.record(seen())
    two.record(seen())
    early, seq = one.own_rows()
    one.record(seen())
    late, _ = one.own_rows(seq)
    assert two.absorb(late, scope="host") == 1
    assert two.absorb([*early, *late, *two.own_rows()[0]], scope="host") == 0
    assert stat_of(two).n == 7 and two.snapshot(T0).heard_s > 0
    assert [row.tally.answers for row in two.own_rows()[0]] == [1]


def test_a_process_that_begins_reads_the_same_evidence_as_the_one_before():
    """Through rows alone: what was folded bucket by bucket equals what is folded at once."""
    old, new = Windows(writer="a"), Windows(writer="b")
    for minute in range(600):
        failed = minute % 7 == 0
        old.record(seen(T0 + minute * 60, outcome="failure" if failed else "success", explored=minute % 5 == 0))
    now = T0 + 600 * 60
    new.absorb(old.own_rows()[0], scope="host")
    before, after = stat_of(old, now), stat_of(new, now)
    assert after.samples == before.samples == 600
    for name in ("n", "s", "costed", "cost_nano", "explored", "explored_cost_nano", "timed"):
        assert getattr(after, name) == pytest.approx(getattr(before, name), rel=1e-6), name


def test_fleet_evidence_is_weighed_by_half_and_capped():
    """So that local evidence can out-vote it."""
    windows = Windows(writer="a")
    tally = Tally(answers=40)
    windows.absorb([Row(series=SERIES, bucket_s=int(T0), writer="far", seq=1, tally=tally)], scope="fleet")
    assert stat_of(windows).n == pytest.approx(20, rel=0.01)
    tally = Tally(answers=10_000)
    windows.absorb([Row(series=SERIES, bucket_s=int(T0), writer="far", seq=2, tally=tally)], scope="fleet")
    assert stat_of(windows).n == pytest.approx(FLEET_CAP)


def test_rows_from_a_wrong_clock_are_left_out():
    """A bucket far in the future would age everything else away."""
    windows = Windows(writer="a")
    windows.record(seen())
    windows.snapshot(T0)
    ahead = Row(series=SERIES, bucket_s=int(T0) + 864_000, writer="b", seq=1, tally=Tally(answers=1))
    assert windows.absorb([ahead], scope="host") == 0


def test_evidence_fades_with_a_half_life_of_a_week_and_money_with_a_day():
    """Discounted when read: the rows stay what they were."""
    windows = Windows(writer="a")
    for _ in range(100):
        windows.record(seen())
    windows.record(seen(T0 + 6 * 86_400))
    it = stat_of(windows, T0 + 6 * 86_400)
    assert it.n == pytest.approx(1 + 100 * 2 ** (-6 / 7), rel=0.01)
    assert it.costed == pytest.approx(1 + 100 * 2**-6, rel=0.01)
    assert it.samples == 101


def test_rows_older_than_a_week_are_dropped():
    """Retention is by buckets; what is left stays exact."""
    windows = Windows(writer="a")
    windows.record(seen())
    windows.snapshot(T0)
    windows.record(seen(T0 + 8 * 86_400))
    windows.snapshot(T0 + 8 * 86_400)
    assert [row.tally.answers for row in windows.own_rows()[0]] == [1]
    assert stat_of(windows, T0 + 8 * 86_400).samples == 1


def test_past_the_bound_series_become_other():
    """The bound holds whatever arrives, and readers leave `_other` out."""
    windows = Windows(writer="a", max_series=3)
    for number in range(10):
        windows.record(seen(series=SERIES._replace(stage=f"s{number}")))
    names = {series.workflow for series in windows.snapshot(T0).series()}
    assert names == {"review", OTHER} and len(windows.snapshot(T0).series()) == 4
    reader = Windows(writer="b")
    assert reader.absorb(windows.own_rows()[0], scope="host") == 3


def test_recording_and_reading_stay_as_quick_after_a_week_of_history():
    """Closed buckets are folded: 2,000 of them cost no more than 10 (three times, for a busy machine)."""

    def cost(buckets: int) -> float:
        windows = Windows(writer="a")
        for number in range(buckets):
            windows.record(seen(T0 + number * BUCKET_S))
            windows.snapshot(T0 + number * BUCKET_S)
        now, best = T0 + buckets * BUCKET_S, float("inf")
        for _ in range(7):
            began = time.perf_counter()
            for _ in range(100):
                windows.record(seen(now))
                windows.snapshot(now)
            best = min(best, time.perf_counter() - began)
        return best

    assert cost(2000) < 3 * cost(10)


def test_a_cells_change_leaves_a_short_memory():
    """A model that was good for long and turns bad in one cell is known as bad within tens of verdicts."""
    windows = Windows(writer="a")
    for number in range(400):
        windows.record(seen(T0 + number))
        windows.judge(word(1.0 if number % 10 else 0.0, T0 + number))
        windows.snapshot(T0 + number)
    for number in range(400, 440):
        windows.record(seen(T0 + number))
        windows.judge(word(float(number % 3 == 0), T0 + number))
        windows.snapshot(T0 + number)
    it = stat_of(windows, T0 + 440)
    assert it.n < 60 and it.s / it.n < 0.65
    assert not windows.snapshot(T0 + 440).quarantined
    assert sum(row.tally.judged for row in windows.own_rows()[0]) == 440


def test_a_model_that_goes_bad_everywhere_is_set_aside_and_comes_back():
    """Over two cells or more; what the excursion counted is taken back, probes are told by their chance."""
    windows = Windows(writer="a")
    places = [SERIES, SERIES._replace(stage="final")]

    def play(start: int, count: int, good: float) -> None:
        for number in range(start, start + count):
            series, at = places[number % 2], T0 + number
            windows.record(seen(at, series=series))
            windows.judge(word(good if number % 20 else 0.0, at, series=series))
            windows.snapshot(at)

    play(0, 200, 1.0)
    before = stat_of(windows, T0 + 200)
    play(200, 15, 0.0)
    aside = windows.snapshot(T0 + 215).quarantined
    assert aside == {("anthropic", "small"): 0.02}
    after = stat_of(windows, T0 + 215)
    assert after.s / after.n > before.s / before.n - 0.03
    play(215, 3, 1.0)
    assert windows.snapshot(T0 + 218).quarantined[("anthropic", "small")] > 0.1
    play(221, 3, 1.0)
    assert not windows.snapshot(T0 + 224).quarantined


def test_the_detail_is_exact_and_knows_the_last_outcomes():
    """Totals are integers of everybody; the newest 20 outcomes are this process's own where it has them."""
    windows, other = Windows(writer="a"), Windows(writer="b")
    for number in range(30):
        windows.record(seen(T0 + number, outcome="failure" if number >= 26 else "success"))
    other.record(seen())
    windows.absorb(other.own_rows()[0], scope="host")
    detail = windows.snapshot(T0 + 30).detail("review", None, 0.0)
    tally = detail.totals["anthropic", "small"]
    assert (tally.answers, tally.failures, tally.timed) == (27, 4, 27)
    assert detail.recent == (20, 4.0)
    fresh = Windows(writer="c")
    fresh.absorb(windows.own_rows()[0], scope="host")
    n, failed = fresh.snapshot(T0 + 30).detail("review", "draft", 0.0).recent
    assert n == 20 and failed == pytest.approx(20 * 4 / 30)


def test_threads_lose_nothing():
    """Eight threads record while one reads; the totals are exact."""
    windows = Windows(writer="a")

    def work(number: int) -> None:
        for step in range(300):
            windows.record(seen(T0 + step, series=SERIES._replace(stage=f"s{number % 3}")))
            if step % 10 == 0:
                windows.snapshot(T0 + step)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(row.tally.answers for row in windows.own_rows()[0]) == 2400
    assert windows.snapshot(T0 + 300).pooled("anthropic", "small").samples == 2400
