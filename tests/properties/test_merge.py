"""Merging is exact: bit for bit the same in any order, split or duplication, and equal to counting in one place."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from attune.models.ledger import Line
from attune.models.performance import BUCKET_S, Observation, Row, Series, Tally, Verdict, merge
from attune.models.sums import MONEY, QUALITY
from attune.models.windows import Windows

T0 = 1_800_000_000
SERIES = [Series("w", stage, "p", model) for stage in ("a", "b") for model in ("x", "y")]

observations = st.builds(
    Observation,
    series=st.sampled_from(SERIES),
    at_us=st.integers(T0 * 1_000_000, (T0 + 4 * BUCKET_S) * 1_000_000),
    outcome=st.sampled_from(["success", "failure", "neutral"]),
    latency_us=st.integers(1, 10**9),
    first_us=st.none() | st.integers(1, 10**6),
    cost_nano=st.none() | st.integers(0, 10**12),
    tokens_in=st.integers(0, 10**6),
    tokens_out=st.none() | st.integers(0, 10**6),
    empty=st.booleans(),
    explored=st.booleans(),
    circuit=st.sampled_from(["closed", "half_open"]),
)
verdicts = st.builds(
    Verdict,
    series=st.sampled_from(SERIES),
    at_us=st.integers(T0 * 1_000_000, (T0 + 4 * BUCKET_S) * 1_000_000),
    quality_micro=st.integers(0, 1_000_000),
)
facts = st.lists(observations | verdicts, min_size=1, max_size=60)


def fill(windows: Windows, all_facts) -> Windows:
    for fact in all_facts:
        windows.record(fact) if isinstance(fact, Observation) else windows.judge(fact)
    return windows


@given(facts, st.data())
@settings(max_examples=60)
def test_any_split_over_writers_any_order_and_any_duplication_give_the_same_totals(all_facts, data):
    """Rows of three writers, some sent twice or in an older version, in any order: equal to one writer's own totals."""
    owners = data.draw(st.lists(st.integers(0, 2), min_size=len(all_facts), max_size=len(all_facts)))
    alone = merge(fill(Windows(writer="one"), all_facts).own_rows()[0])
    rows: list[Row] = []
    for number in range(3):
        mine = [fact for fact, owner in zip(all_facts, owners, strict=True) if owner == number]
        windows = Windows(writer=f"w{number}")
        half = len(mine) // 2
        rows += fill(windows, mine[:half]).own_rows()[0]
        rows += fill(windows, mine[half:]).own_rows()[0]
    shuffled = data.draw(st.permutations([*rows, *rows[:3]]))
    assert merge(shuffled) == alone
    reader = Windows(writer="reader")
    for part in (shuffled[:5], shuffled[5:]):
        reader.absorb(part, scope="host")
    whole = reader.snapshot(T0 + 5 * BUCKET_S).detail("w", None, 0.0).totals
    for of, tally in whole.items():
        expected = sum((it for (series, _), it in alone.items() if series[2:] == of), Tally())
        assert tally == expected


tallies = st.builds(
    Tally,
    answers=st.integers(0, 100),
    latency_us=st.integers(0, 10**15),
    buckets=st.dictionaries(st.integers(-1, 600), st.integers(1, 9), max_size=120).map(
        lambda counts: tuple(sorted(counts.items()))
    ),
    scale=st.integers(0, 6),
)


@given(tallies, tallies, tallies)
@settings(max_examples=100)
def test_adding_is_associative_and_commutative_whatever_the_scales(a, b, c):
    """Also where scales differ, and where buckets must become coarser on the way."""
    assert (a + b) + c == a + (b + c) == (c + a) + b
    assert a + b == b + a


@given(st.lists(tallies, min_size=1, max_size=4), st.data())
@settings(max_examples=50)
def test_equal_seqs_with_unequal_totals_still_have_one_order(some, data):
    """Nobody writes such rows; if somebody does, the order of arrival decides nothing."""
    rows = [Row(series=SERIES[0], bucket_s=T0, writer="w", seq=1, tally=tally) for tally in some]
    assert merge(data.draw(st.permutations(rows))) == merge(rows)


@given(facts)
@settings(max_examples=60)
def test_the_running_figures_equal_the_books(all_facts):
    """What is kept in step call by call is what summing the open and closed buckets gives."""
    windows = fill(Windows(writer="one"), all_facts)
    for line in windows._lines.values():
        quality, money = list(line.live.quality), list(line.live.money)
        line._total()
        for mine, theirs in zip((quality, money), (line.live.quality, line.live.money), strict=True):
            assert all(abs(a - b) <= 1e-6 * max(1.0, abs(b)) for a, b in zip(mine, theirs, strict=True))
        exact = [sum(getattr(it, name) for it in line.totals(0.0)) for name in QUALITY]
        assert exact == line.seen


def test_folding_at_once_equals_folding_as_time_goes():
    """Neither the order of arrival nor the moment of folding changes the reading of closed buckets."""
    live, later = Line(SERIES[0]), Line(SERIES[0])
    tally = Tally(answers=10, failures=1, costed=11, cost_nano=1100)
    rows = [Row(series=SERIES[0], bucket_s=T0 + n * BUCKET_S, writer="w", seq=1, tally=tally) for n in range(30)]
    for row in rows:
        live.absorb(row, "host")
    for row in reversed(rows):
        later.absorb(replace(row, seq=2), "host")
    newest, parts = later.folding()
    assert later.install(newest, later.fold(newest, parts))
    for name, index in ((name, index) for names in (QUALITY, MONEY) for index, name in enumerate(names)):
        which = "quality" if name in QUALITY else "money"
        assert abs(getattr(live.live, which)[index] - getattr(later.live, which)[index]) < 1e-6
