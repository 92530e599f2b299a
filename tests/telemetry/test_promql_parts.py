"""The parts of the fleet's reader that ask nothing: how time is cut, what is kept, how things are called and spread."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attune.errors import ConfigError
from attune.models.histogram import count_over, quantile
from attune.models.performance import Series, Tally
from attune.telemetry import names as n
from attune.telemetry.promql_names import NAMINGS, USUAL, naming_of, quoted, text
from attune.telemetry.promql_past import Past
from attune.telemetry.promql_queries import Queries, checked_selector
from attune.telemetry.promql_rows import FIGURES, Figure, Found, Reading
from attune.telemetry.promql_spans import DAY_S, HOUR_S, OPEN_S, Span, cut, missing

SERIES = Series("w", "s", "anthropic", "m")
LABELS = {"attune_workflow": "w", "attune_stage": "s", "gen_ai_provider_name": "anthropic", "gen_ai_request_model": "m"}
WINDOWS = st.integers(60, 30 * DAY_S)
TIMES = st.integers(1_700_000_000, 1_900_000_000)


@given(TIMES, WINDOWS)
def test_the_past_is_cut_without_gap_or_overlap(at, window):
    """Open, hours, days: each ends where the one before begins; the open one is 15 to 75 minutes, or the whole window."""
    span, closed = cut(at, window)
    assert span.end == at and (span.width == window or OPEN_S <= span.width < OPEN_S + HOUR_S)
    for newer, older in zip([span, *closed], closed, strict=False):
        assert newer.start == older.end
    assert all(one.width in (HOUR_S, DAY_S) and one.end % one.width == 0 for one in closed)
    assert abs((at - window) - (closed[-1].start if closed else span.start)) <= DAY_S
    assert len(closed) <= 48 + 31


@given(TIMES, st.integers(60, DAY_S))
def test_no_minute_of_a_window_of_hours_is_left_out(at, window):
    """At whatever minute it is asked: an hour of a short window that is dropped would be half of the evidence."""
    span, closed = cut(at, window)
    assert (closed[-1].start if closed else span.start) <= at - window


@given(TIMES, WINDOWS, st.sets(st.integers(0, 60)))
def test_runs_hold_exactly_what_is_missing(at, window, holes):
    _, closed = cut(at, window)
    known = {one for i, one in enumerate(closed) if i not in holes}
    runs = missing(closed, known)
    assert [one for run in runs for one in run] == [one for one in closed if one not in known]
    for run in runs:
        assert len({one.width for one in run}) == 1 and len(run) <= 12
        assert all(newer.start == older.end for newer, older in itertools.pairwise(run))


def whole(past):
    return sum(tally.answers for tally in past.totals(0).values())


def told(answers):
    return Found({SERIES: Tally(answers=answers)}, {})


@settings(max_examples=25)
@given(st.integers(1, 200))
def test_as_time_goes_nothing_is_lost_or_doubled(hours):
    """One answer an hour, looked at each hour: the sum is always what the window holds; hours become days by themselves."""
    past, at, window = Past(), 1_790_000_000, 7 * DAY_S
    begin = cut(at, window)[0].start
    for _ in range(hours):
        span, closed = cut(at, window)
        for run in past.behind(span, closed):
            past.keep({one: told(one.width // HOUR_S) for one in run}, whole=True)
        past.keep_open(span, told(1))
        past.tidy(closed)
        at += HOUR_S
    assert past.unread([one for one in closed if one.start >= begin]) == []
    assert whole(past) == min(hours, 1 + sum(one.width for one in closed) // HOUR_S)
    assert len(past.totals(0)) <= 1 + len(closed) + 24


def test_a_day_that_is_read_takes_the_place_of_its_hours():
    past, day = Past(), Span(20_000 * DAY_S, 20_001 * DAY_S)
    past.keep({Span(day.start, day.start + HOUR_S): told(3)}, whole=True)
    past.keep({day: told(30)}, whole=True)
    assert whole(past) == 30


def test_what_was_not_whole_is_read_again_and_never_lowered():
    past, hour = Past(), Span(20_000 * DAY_S, 20_000 * DAY_S + HOUR_S)
    past.keep({hour: told(5)}, whole=False)
    assert past.unread([hour]) == [[hour]]
    past.keep({hour: told(3)}, whole=True)
    assert past.unread([hour]) == [] and whole(past) == 5


@pytest.mark.parametrize("naming", NAMINGS, ids=lambda it: it.strategy)
def test_each_translation_is_known_by_its_names(naming):
    names = [naming.metric(figure.metric, figure.part) for figure in FIGURES]
    assert naming_of(names) == naming and naming_of(["up", "attune"]) is None
    assert len(set(names)) == len(FIGURES) - 1  # `lost` asks the attempts again
    query = Queries(naming=naming).gained(Queries(naming=naming).series(n.ATTEMPTS), [n.WORKFLOW], 60)
    assert ('"attune.workflow"' in query) != naming.escaped


def test_the_usual_names_are_the_contracts():
    assert [USUAL.metric(name) for name in (n.ATTEMPTS, n.COST, n.CIRCUIT_OPEN, n.READER_AGE)] == [
        "attune_attempts_total", "attune_attempt_cost_total", "attune_circuit_open", "attune_reader_age_seconds",
    ]  # fmt: skip
    assert USUAL.metric(n.ATTEMPT_DURATION, "_bucket") == "attune_attempt_duration_seconds_bucket"


@given(st.text(max_size=30))
def test_no_value_leaves_its_quotes(value):
    """Whatever is in it, an unescaped quote only ends it."""
    inside = text(value)[1:-1]
    assert '"' not in inside.replace("\\\\", "").replace('\\"', "") and "\n" not in inside
    assert quoted("a_b") == "a_b" and quoted("a.b") == '"a.b"'


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ("", ""),
        ('app="shop"', 'app="shop"'),
        ('{app="shop", env=~"a|b" , x!="", "dotted.name"!~"1"}', 'app="shop", env=~"a|b" , x!="", "dotted.name"!~"1"'),
        (r'path="a\"}b"', r'path="a\"}b"'),
    ],
)
def test_selectors_that_are_taken(written, taken):
    assert checked_selector(written) == taken


@pytest.mark.parametrize(
    "written", ["app", 'app="a', 'a="b" or c="d"', 'a="b"} or up{x="y"', 'a="b";c="d"', 'a="\n"', "a=b"]
)
def test_selectors_that_are_refused(written):
    with pytest.raises(ConfigError, match="selector="):
        checked_selector(written)


BUCKETS = {figure.word: figure for figure in FIGURES}


def tally_of(seconds):
    """What comes back of latencies that a histogram of attune's bounds counted."""
    reading = Reading()
    for bound in [*n.DURATION_BUCKETS, float("inf")]:
        le = "+Inf" if bound == float("inf") else repr(bound)
        reading.add(BUCKETS["buckets"], {**LABELS, "le": le}, str(sum(it <= bound for it in seconds)), USUAL)
    reading.add(BUCKETS["seconds"], LABELS, repr(sum(seconds)), USUAL)
    return reading.found().tallies[SERIES]


@given(st.lists(st.floats(0.001, 599.0), min_size=1, max_size=300), st.sampled_from([0.5, 0.9, 0.95]))
def test_a_percentile_is_within_one_classic_bucket(seconds, q):
    """And their number and sum are exact, in no more buckets than a histogram may have."""
    tally = tally_of(seconds)
    assert tally.timed == sum(count for _, count in tally.buckets) == len(seconds) and len(tally.buckets) <= 160
    assert tally.latency_us == round(sum(seconds) * 1e6)
    true = sorted(seconds)[min(len(seconds) - 1, max(0, -int(-q * len(seconds) // 1) - 1))]
    bounds = [0.0, *n.DURATION_BUCKETS]
    high = next(bound for bound in bounds if true <= bound)
    low = max(bound for bound in bounds if bound < true)
    found = quantile(dict(tally.buckets), tally.scale, q) / 1e6
    assert low * 0.97 <= found <= high * 1.03


@given(st.lists(st.floats(0.001, 599.0), min_size=1, max_size=200), st.sampled_from(n.DURATION_BUCKETS[3:-1]))
def test_a_limit_on_a_bound_parts_them_exactly(seconds, limit):
    """Where attune's own bounds are the user's limits, nothing is lost on the way."""
    tally = tally_of(seconds)
    assert count_over(dict(tally.buckets), tally.scale, limit * 1e6) == sum(it > limit for it in seconds)


def test_bounds_written_in_two_ways_are_one():
    """Prometheus 3 writes 1.0 where 2 wrote 1: a fleet may have both."""
    reading = Reading()
    for le, count in [("1", 3), ("1.0", 4), ("+Inf", 7)]:
        reading.add(BUCKETS["buckets"], {**LABELS, "le": le}, str(count), USUAL)
    reading.add(BUCKETS["seconds"], LABELS, "5", USUAL)
    assert reading.found().tallies[SERIES].timed == 7
    reading.add(BUCKETS["buckets"], {**LABELS, "le": "what"}, "1", USUAL)
    assert reading.bad == 1


@pytest.mark.parametrize("gone", ["gen_ai_provider_name", "gen_ai_request_model"])
def test_what_names_no_target_counts_for_none(gone):
    reading = Reading()
    reading.add(Figure("cost", n.COST), {**LABELS, gone: ""}, "5", USUAL)
    reading.add(Figure("cost", n.COST), {**LABELS, gone: "_other"}, "5", USUAL)
    reading.add(Figure("cost", n.COST), {**LABELS, gone: "x" * 300}, "5", USUAL)
    assert reading.bad == 3 and reading.found().tallies == {}
