"""What a store said of each span of time, and which rows follow from it.

Counters only grow, so an answer that says less of the same span lowers nothing. Hours become days as they grow old, in one
step, so that nothing is counted in both. A row stands where its span began, whether the span is still open or not, so the
later replaces the earlier. Asks nothing and knows no clock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from attune.models.tally import BUCKET_S, Series, Tally
from attune.telemetry.promql_rows import Found
from attune.telemetry.promql_spans import DAY_S, Span, hours_of, missing

ENOUGH: Final = 40  # attempts, and samples in the last hour: a series with less is told as incomplete
_LACK: Final = 20  # and one that may lack more than a 20th


class Past:
    """One reader's spans. Not thread-safe."""

    def __init__(self) -> None:
        self._open: tuple[Span, Found] | None = None
        self._closed: dict[Span, Found] = {}
        self._doubtful: set[Span] = set()
        self._without: set[str] = set()

    def behind(self, span: Span, closed: Collection[Span]) -> list[list[Span]]:
        """What must be known before the open span may begin where `span` does: else it would be missing for a while."""
        if self._open is None:
            return []
        return missing([one for one in closed if self._open[0].start <= one.start < span.start], self._closed)

    def unread(self, closed: Collection[Span]) -> list[list[Span]]:
        """What is not known, or was not whole, newest first."""
        return missing(closed, self._closed.keys() - self._doubtful)

    def keep_open(self, span: Span, found: Found, *, leave_out: Collection[str] = ()) -> None:
        """Take what is known of the open span: it never shrinks, but when others than before are left out."""
        same = self._open is not None and self._open[0].start == span.start and set(leave_out) == self._without
        if same and self._open is not None:
            found = _higher(self._open[1], found)
        self._open, self._without = (span, found), set(leave_out)

    def keep(self, found: Mapping[Span, Found], *, whole: bool) -> None:
        """Take what is known of closed spans."""
        for span, one in found.items():
            known = self._closed.get(span)
            self._closed[span] = one if known is None else _higher(known, one)
            (self._doubtful.discard if whole else self._doubtful.add)(span)
            for hour in hours_of(span) if span.width == DAY_S else ():
                self._closed.pop(hour, None)

    def tidy(self, closed: Collection[Span]) -> None:
        """Let hours become days, and forget what is past the window."""
        wanted, waiting = set(closed), set()
        for day in closed:
            if day.width == DAY_S and day not in self._closed:
                hours = hours_of(day)
                if all(hour in self._closed for hour in hours):
                    self._closed[day] = _together([self._closed[hour] for hour in hours])
                else:
                    waiting.update(hours)  # not all of the day, and better than nothing
        self._closed = {span: one for span, one in self._closed.items() if span in wanted or span in waiting}
        self._doubtful &= self._closed.keys()

    def totals(self, shift: int) -> dict[tuple[Series, int], Tally]:
        """Every row's tally by series and bucket, `shift` seconds earlier than the store dates it."""
        rows: dict[tuple[Series, int], Tally] = {}
        for span, one in self._all():
            begin = span.start + (DAY_S // 2 if span.width == DAY_S else 0)
            bucket = (begin - shift) // BUCKET_S * BUCKET_S
            for series, tally in one.tallies.items():
                known = rows.get((series, bucket))
                rows[series, bucket] = tally if known is None else known + tally
        return rows

    def sparse(self, seen: Mapping[Series, float]) -> tuple[Series, ...]:
        """Series too rare to be relied on, or that may lack much; `seen`: samples of the last hour."""
        count: dict[Series, int] = {series: 0 for series, times in seen.items() if times < ENOUGH}
        young, lost = set(count), dict.fromkeys(count, 0)
        for _, one in self._all():
            for series, tally in one.tallies.items():
                count[series] = count.get(series, 0) + attempts(tally)
            for series, lack in one.lost.items():
                lost[series] = lost.get(series, 0) + lack
        rare = {series for series, number in count.items() if 0 < number < ENOUGH}
        lacking = {series for series, lack in lost.items() if lack * _LACK > count.get(series, 0) + lack}
        active = {series for series in young if count[series] or lost.get(series)}
        return tuple(sorted(rare | lacking | active))

    def _all(self) -> list[tuple[Span, Found]]:
        return [*self._closed.items(), *([self._open] if self._open is not None else [])]


def attempts(tally: Tally) -> int:
    """All attempts of a tally."""
    return tally.answers + tally.failures + tally.failures_open + tally.neutral


def _higher(known: Found, new: Found) -> Found:
    kept = dict(new.tallies)
    for series, tally in known.tallies.items():
        if series not in kept or attempts(kept[series]) < attempts(tally):
            kept[series] = tally
    return Found(kept, new.lost)


def _together(several: Collection[Found]) -> Found:
    tallies: dict[Series, Tally] = {}
    lost: dict[Series, int] = {}
    for one in several:
        for series, tally in one.tallies.items():
            known = tallies.get(series)
            tallies[series] = tally if known is None else known + tally
        for series, lack in one.lost.items():
            lost[series] = lost.get(series, 0) + lack
    return Found(tallies, lost)
