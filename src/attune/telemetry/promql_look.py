"""One look into a store: the time there, the names there, and what was counted in spans of time.

Every value is asked for at a moment of the store's own clock, read from its Date header, so that a wrong clock on either
side moves nothing. Keeps no totals and decides nothing about what they mean.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from attune.models.tally import Series
from attune.telemetry import names as n
from attune.telemetry.promql_http import Answer, Api, QueryRefused, Sample
from attune.telemetry.promql_names import ANY_METRIC, USUAL, Naming, naming_of
from attune.telemetry.promql_queries import SERIES, Queries
from attune.telemetry.promql_rows import ATTEMPTS, FIGURES, Figure, Found, Reading, series_of
from attune.telemetry.promql_spans import HOUR_S, Span

_NAMES_EVERY_S: Final = 300.0
_BREATH: Final = 200  # samples taken in between two breaths, so that calls get the interpreter's lock


class Look:
    """Asks one API. `warnings` and `bad` (values left out) grow until they are taken. One thread at a time."""

    def __init__(self, api: Api, *, selector: str, max_rows: int) -> None:
        self.api = api
        self.naming: Naming | None = None
        self.found: frozenset[str] = frozenset()
        self.leave_out: Collection[str] = ()
        self.warnings: list[str] = []
        self.bad = 0
        self.ahead_s = 0.0  # how far the store's clock is ahead of ours, at most
        self._selector = selector
        self._max_rows = max_rows
        self._named_at: float | None = None
        self._reaches_back = False

    @property
    def queries(self) -> Queries:
        """Queries in the names that are there."""
        return Queries(
            naming=self.naming or USUAL, selector=self._selector, leave_out=self.leave_out, reaches_back=self._reaches_back
        )  # fmt: skip

    def clock(self, until: float) -> int:
        """The store's time now, in whole seconds that have passed; looks at the names there, now and then."""
        due = self._named_at is None or time.monotonic() - self._named_at >= _NAMES_EVERY_S
        if due or self.naming is None:
            found = self.api.ask("label/__name__/values", {"match[]": ANY_METRIC}, until, method="GET")
            self.found = frozenset(found.words())
            self.naming = naming_of(self.found)
            self._named_at = time.monotonic()
        else:
            found = self.api.ask("query", {"query": "vector(1)"}, until)
        self._reaches_back = found.reaches_back
        if found.server_s is None:
            self.ahead_s = 0.0
            return int(found.asked_s)
        self.ahead_s = found.server_s + 1 - found.asked_s
        return found.server_s

    def newest(self, at: int, until: float) -> float | None:
        """When the store heard of an attempt last, on its own clock; None if not within a day: then names are looked up anew."""
        series = self.queries.series(n.ATTEMPTS)
        for query in (self.queries.newest(series), self.queries.newest_of_day(series)):
            values = [float(it.value[1]) for it in self.instant(query, at, until) if it.value is not None]
            if values and 0 < values[0] <= at + 1:
                return min(values[0], float(at))
        self._named_at = None
        return None

    def sightings(self, at: int, until: float) -> dict[Series, float]:
        """How many samples of the last hour each series has."""
        query = self.queries.sightings(self.queries.series(n.ATTEMPTS), SERIES, HOUR_S)
        seen: dict[Series, float] = {}
        for it in self.instant(query, at, until):
            series = series_of(it.metric, self.queries.naming)
            if series is not None and it.value is not None:
                seen[series] = float(it.value[1])
        return seen

    def measure(self, spans: Sequence[Span], until: float) -> dict[Span, Found]:
        """What was counted in spans of one width that follow on one another. TelemetryError where attempts are not told."""
        readings = {span.end: Reading() for span in spans}
        for figure in FIGURES:
            if self.queries.naming.metric(figure.metric, figure.part) not in self.found and figure is not ATTEMPTS:
                continue
            try:
                self._read(figure, spans, readings, until)
            except QueryRefused as error:
                if figure is ATTEMPTS:
                    raise
                self.warnings.append(f"{figure.word} left out: {error}")
        self.bad += sum(reading.bad for reading in readings.values())
        return {span: readings[span.end].found() for span in spans}

    def instant(self, query: str, at: int, until: float) -> Iterator[Sample]:
        """One instant query."""
        return self._samples(self.api.ask("query", {"query": query, "time": str(at), **self._bounds(until)}, until))

    def _read(self, figure: Figure, spans: Sequence[Span], readings: dict[int, Reading], until: float) -> None:
        query, naming = figure.query(self.queries, spans[0].width), self.queries.naming
        ends = [span.end for span in spans]
        if len(spans) == 1:
            samples = self.instant(query, ends[0], until)
        else:
            times = {"start": str(min(ends)), "end": str(max(ends)), "step": str(spans[0].width)}
            samples = self._samples(
                self.api.ask("query_range", {"query": query, **times, **self._bounds(until)}, until)
            )
        taken = 0
        for it in samples:
            for at, value in _values(it):
                reading = readings.get(round(at))
                if reading is not None:
                    reading.add(figure, it.metric, value, naming)
                taken += 1
                if taken % _BREATH == 0:
                    time.sleep(0)

    def _samples(self, answer: Answer) -> Iterator[Sample]:
        samples = answer.samples(self._max_rows)
        if answer.warnings:
            self.warnings.append(f"the store warns that an answer is not whole ({len(answer.warnings)} warnings)")
        return samples

    def _bounds(self, until: float) -> dict[str, str]:
        left = max(0.1, until - time.monotonic())
        return {"limit": str(self._max_rows), "timeout": f"{round(left * 1000)}ms", "partial_response": "false"}


def _values(sample: Sample) -> Iterable[tuple[float, str]]:
    return sample.values or ([sample.value] if sample.value is not None else [])
