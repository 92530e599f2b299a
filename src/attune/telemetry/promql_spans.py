"""How a reader cuts the past: one open span up to now, whole hours for a day or two, whole UTC days before.

Closed spans never change, so each is asked for once; the open one begins at a full hour at least 15 minutes ago, so that
what arrives late is still in it, and its length bounds what a poll costs. Seconds of the store's clock. Asks nothing.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Final, NamedTuple

HOUR_S: Final = 3600
DAY_S: Final = 86_400
OPEN_S: Final = 900
_AT_ONCE: Final[Mapping[int, int]] = {HOUR_S: 12, DAY_S: 2}  # so many spans in one range query


class Span(NamedTuple):
    """From `start` (exclusive) to `end` (inclusive), in epoch seconds."""

    start: int
    end: int

    @property
    def width(self) -> int:
        """Seconds."""
        return self.end - self.start


def cut(at: int, window_s: int) -> tuple[Span, list[Span]]:
    """The open span that ends at `at`, and the closed ones of the window, newest first.

    A short window is one open span. Of a longer one the hour in which it begins counts whole, else up to an hour would be
    missing; of days the middle decides.
    """
    oldest = at - window_s
    begin = (at - OPEN_S) // HOUR_S * HOUR_S
    if window_s <= HOUR_S + OPEN_S or begin <= oldest:  # no longer than an open span may be: one span, to the second
        return Span(oldest, at), []
    midnight = (begin - DAY_S) // DAY_S * DAY_S
    closed = [Span(end - HOUR_S, end) for end in range(begin, midnight, -HOUR_S) if end > oldest]
    if midnight > oldest:
        closed += [Span(end - DAY_S, end) for end in range(midnight, oldest + DAY_S // 2, -DAY_S)]
    return Span(begin, at), closed


def hours_of(span: Span) -> list[Span]:
    """The hours that a day is made of."""
    return [Span(start, start + HOUR_S) for start in range(span.start, span.end, HOUR_S)]


def missing(closed: Iterable[Span], known: Container[Span]) -> list[list[Span]]:
    """What is still to be asked for, newest first, in runs that one range query answers."""
    runs: list[list[Span]] = []
    for span in closed:
        if span in known:
            continue
        last = runs[-1] if runs else []
        if last and last[-1].start == span.end and last[-1].width == span.width and len(last) < _AT_ONCE[span.width]:
            last.append(span)
        else:
            runs.append([span])
    return runs
