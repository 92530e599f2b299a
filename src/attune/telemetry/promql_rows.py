"""Vectors become tallies: what a store says of a span of time, as integers that add up with everybody else's.

Counts and cost are exact where the store's are; a latency comes back within one classic bucket. Values that are no
numbers, negative or out of all bounds are left out and counted; a missing value is unknown, never 0. Asks nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf, isfinite
from typing import Final, Literal, NamedTuple

from attune.models.failures import RULES, FailureKind
from attune.models.histogram import SCALE, fitted, index_of
from attune.models.tally import Series, Tally
from attune.telemetry import names as n
from attune.telemetry.promql_names import Naming
from attune.telemetry.promql_queries import SERIES, Queries

_MOST: Final = 1e12  # of anything in a span: what is more is no count
_MAX_NAME: Final = 256
_PLACES: Final = 5  # 29 classic buckets on 5 places each stay within a histogram's 160
_UNBILLED: Final = frozenset({"", *(str(kind) for kind in FailureKind if kind in RULES and RULES[kind].billed == "no")})


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing to ask of a store: which metric, split by which attributes, of which series, and how exactly."""

    word: str
    metric: str
    part: str = ""
    by: tuple[str, ...] = ()
    only: tuple[tuple[str, str], ...] = ()
    how: Literal["gained", "increase", "lost"] = "gained"

    def query(self, queries: Queries, window_s: int) -> str:
        """The query for what was counted in the last `window_s` seconds."""
        more = ",".join(queries.matcher(label, value) for label, value in self.only)
        series = queries.series(self.metric, self.part, more)
        write = {"gained": queries.gained, "increase": queries.increase, "lost": queries.lost}[self.how]
        return write(series, (*SERIES, *self.by), window_s)


_ANSWERED: Final = ((n.OUTCOME, "success"),)  # only answers have a latency that counts
ATTEMPTS: Final = Figure("attempts", n.ATTEMPTS, by=(n.OUTCOME, n.ATTEMPT_KIND, n.ERROR_TYPE))
FIGURES: Final = (
    ATTEMPTS,
    Figure("lost", n.ATTEMPTS, how="lost"),
    Figure("cost", n.COST),
    Figure("score", n.QUALITY_SCORE),
    Figure("verdicts", n.QUALITY_COUNT),
    Figure("explored", n.DECISIONS, only=((n.ROUTE_EXPLORED, "true"), (n.MODE, "enforce"))),
    Figure("seconds", n.ATTEMPT_DURATION, "_sum", only=_ANSWERED, how="increase"),
    Figure("buckets", n.ATTEMPT_DURATION, "_bucket", by=("le",), only=_ANSWERED, how="increase"),
)


class Found(NamedTuple):
    """What is known of one span: totals by series, and how many attempts before the first sample they may lack."""

    tallies: Mapping[Series, Tally] = {}
    lost: Mapping[Series, int] = {}


class Reading:
    """What is known of one span, under way."""

    def __init__(self) -> None:
        self.bad = 0
        self._sums: dict[Series, dict[str, float]] = {}
        self._buckets: dict[Series, dict[float, float]] = {}

    def add(self, figure: Figure, labels: Mapping[str, str], value: str, naming: Naming) -> None:
        """Take one value in."""
        series = series_of(labels, naming)
        number = _number(value)
        if series is None or number is None:
            self.bad += 1
            return
        if figure.word == "buckets":
            bound = _bound(labels.get("le", ""))
            if bound is None:
                self.bad += 1
            else:
                known = self._buckets.setdefault(series, {})
                known[bound] = known.get(bound, 0.0) + number
            return
        sums = self._sums.setdefault(series, {})
        for word in _columns(figure, labels, naming):
            sums[word] = sums.get(word, 0.0) + number

    def found(self) -> Found:
        """The totals of each series that did anything, and what the first values hid."""
        tallies = {series: _tally(sums, self._buckets.get(series, {})) for series, sums in self._sums.items()}
        lost = {series: round(sums["lost"]) for series, sums in self._sums.items() if sums.get("lost", 0.0) >= 1.0}
        return Found({series: tally for series, tally in tallies.items() if tally != _NOTHING}, lost)


_NOTHING: Final = Tally()


def series_of(labels: Mapping[str, str], naming: Naming) -> Series | None:
    """The series that labels name; None where they name none that may be counted."""
    workflow, stage, provider, model = (labels.get(naming.label(name), "") for name in SERIES)
    names = (workflow, stage, provider, model)
    if not provider or not model or n.OTHER in names or max(map(len, names)) > _MAX_NAME:
        return None
    return Series(workflow, stage, n.our_provider(provider), model)


def _columns(figure: Figure, labels: Mapping[str, str], naming: Naming) -> Iterable[str]:
    if figure.word != "attempts":
        return (figure.word,)
    outcome = labels.get(naming.label(n.OUTCOME), "")
    probe = labels.get(naming.label(n.ATTEMPT_KIND)) == "probe"
    column = {"success": "answers", "neutral": "neutral", "failure": "failures_open" if probe else "failures"}.get(
        outcome
    )
    if column is None:
        return ()
    known = labels.get(naming.label(n.ERROR_TYPE), "") in _UNBILLED
    return (column, "costed") if known else (column,)


def _tally(sums: Mapping[str, float], buckets: Mapping[float, float]) -> Tally:
    count = {word: round(value) for word, value in sums.items()}
    cost = round(sums.get("cost", 0.0) * 1e9)
    costed = max(1, count.get("costed", 0)) if cost else 0  # where no price is known, the cost stays at its announced 0
    explored = min(count.get("explored", 0), count.get("answers", 0) + count.get("failures", 0))
    seconds = sums.get("seconds")
    timed, spread, scale = _spread(buckets if seconds is not None else {})
    judged = count.get("verdicts", 0)
    return Tally(
        answers=count.get("answers", 0),
        failures=count.get("failures", 0),
        failures_open=count.get("failures_open", 0),
        neutral=count.get("neutral", 0),
        judged=judged,
        quality_micro=min(round(sums.get("score", 0.0) * 1e6), judged * 1_000_000),
        explored=explored,
        explored_cost_nano=cost * explored // costed if costed else 0,
        costed=costed,
        cost_nano=cost,
        timed=timed,
        latency_us=round((seconds or 0.0) * 1e6) if timed else 0,
        buckets=spread,
        scale=scale,
    )


def _spread(classic: Mapping[float, float]) -> tuple[int, tuple[tuple[int, int], ...], int]:
    """Classic buckets (upper bound in seconds -> cumulative count) as base-2 ones: count, buckets, scale.

    Each is spread over a few of those it covers, so a limit that is one of its bounds parts the counts as it did there,
    and a percentile is within one classic bucket of the truth.
    """
    counts: dict[int, int] = {}
    below, given, low = 0.0, 0, index_of(1.0, SCALE)
    for bound in sorted(classic):
        below = max(below, classic[bound])
        high = low + 1 if bound == inf else max(low + 1, index_of(bound * 1e6, SCALE))
        here, width = round(below) - given, high - low
        places = min(here, width, _PLACES)
        for place in range(places):
            index = low + 1 + (2 * place + 1) * width // (2 * places)
            counts[index] = counts.get(index, 0) + here * (place + 1) // places - here * place // places
        given, low = given + here, high
    spread, scale = fitted(counts, SCALE)
    return given, tuple(sorted(spread.items())), scale


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    if not isfinite(number) or not -1e-6 < number < _MOST:
        return None
    return max(0.0, number)


def _bound(text: str) -> float | None:
    try:
        bound = float(text)
    except ValueError:
        return None
    return bound if bound > 0 else None
