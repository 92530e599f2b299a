"""Totals and histograms: exact integers, the one definition of success, and what ModelPerformance says of itself."""

from __future__ import annotations

import random

from attune.models.histogram import MAX_BUCKETS, Latest, added, count_over, index_of, lower_bound, quantile
from attune.models.performance import BUCKET_S, ModelPerformance, Row, Series, Tally, merge
from attune.models.registry import ModelTier
from attune.models.sums import success

SERIES = Series("review", "draft", "anthropic", "small")


def row(seq: int, answers: int, *, writer: str = "a", bucket_s: int = 0) -> Row:
    return Row(series=SERIES, bucket_s=bucket_s, writer=writer, seq=seq, tally=Tally(answers=answers))


def test_a_bucket_holds_its_upper_bound_and_not_its_lower():
    """As in OTLP: over 2**(i/16), up to and including 2**((i+1)/16)."""
    for index in (0, 5, 160, 300):
        low, high = lower_bound(index, 4), lower_bound(index + 1, 4)
        assert index_of(high * (1 - 1e-9), 4) == index
        assert index_of(low * (1 + 1e-9), 4) == index
    assert index_of(1024.0, 4) == 159 and index_of(1024.0, 0) == 9 and index_of(1024.0, -1) == 4
    assert index_of(1025.0, 0) == 10 and index_of(0, 4) == index_of(1, 4) == -1


def test_quantiles_are_within_half_a_bucket():
    """At scale 4, p50, p90 and p95 err by at most 2.3 % of the value."""
    dice = random.Random(1)
    values = sorted(dice.lognormvariate(13, 0.8) for _ in range(5000))
    hist = Latest({})
    for value in values:
        hist.count(value)
    buckets, scale = hist.whole()
    for q in (0.5, 0.9, 0.95):
        true = values[int(q * len(values)) - 1]
        assert abs(quantile(buckets, scale, q) - true) <= 0.023 * true
    assert sum(buckets.values()) == 5000 and quantile({}, 4, 0.5) is None


def test_many_buckets_become_coarser_and_lose_no_count():
    """More than 160 distinct buckets are merged in pairs."""
    buckets, scale = added({}, 4, [(index, 1) for index in range(500)], 4)
    assert len(buckets) <= MAX_BUCKETS and scale == 2 and sum(buckets.values()) == 500


def test_what_was_handed_out_of_a_histogram_never_changes():
    """A reading keeps its counts while counting goes on, across the merge of what waited."""
    hist = Latest({})
    handed = []
    for number in range(200):
        hist.count(1000 + number)
        handed.append(hist.parts())
    assert [sum(sum(part.values()) for part, _ in parts) for parts in handed] == list(range(1, 201))


def test_a_limits_own_bucket_is_within_the_limit():
    """Two calls of exactly the limit are not over it; one a good deal longer is."""
    hist = Latest({})
    for value in (3_000_000, 3_000_000, 3_300_000):
        hist.count(value)
    buckets, scale = hist.whole()
    assert count_over(buckets, scale, 3_000_000) == 1


def test_success_counts_failures_and_empty_answers_and_believes_verdicts():
    """(verdicts + answers without verdict) / (answers + failures); an empty answer is 0."""
    assert success((8, 0, 2, 0, 0), judged=False) == (10, 8)
    assert success((8, 1, 2, 0, 0), judged=False) == (10, 7)
    assert success((10, 0, 0, 4, 1_000_000), judged=False) == (10, 7)


def test_success_leaves_unjudged_answers_out_where_there_are_verdicts():
    """Ten answers of which four were judged, two failures, one empty answer: seven samples."""
    assert success((10, 1, 2, 4, 3_000_000), judged=True) == (7, 3)


def test_of_two_rows_with_one_key_the_newer_wins_and_others_add_up():
    """Rows hold running totals: replay and duplication change nothing."""
    rows = [row(1, 5), row(3, 9), row(2, 7), row(3, 9), row(1, 4, writer="b"), row(1, 2, bucket_s=BUCKET_S)]
    totals = merge(rows)
    assert totals[SERIES, 0].answers == 13 and totals[SERIES, BUCKET_S].answers == 2


def test_the_quality_score_is_the_documented_one():
    """100 * success - 10 * USD, and positional in the documented order."""
    it = ModelPerformance("small", ModelTier.CHEAP, 0.9, 1200.0, 0.05, 40)
    assert it.quality_score == 89.5 and it.recent_failures == 0
