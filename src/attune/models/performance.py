"""What was measured, as integers that merge exactly: Observation, Tally, Row, and the windows they add up to.

A row holds one writer's running totals for one series in one bucket of time, so replay and duplication change nothing:
of two rows with the same key the one with the higher `seq` is the newer, and rows of different keys add up in any order.
Evidence is discounted when it is read, never when it is written. This file knows no clock and no store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from attune.models.call import CircuitState, Outcome

BUCKET_S = 300


class Series(NamedTuple):
    """What one line of statistics is about."""

    workflow: str
    stage: str
    provider: str
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One finished attempt, as numbers.

    `at_us` is its start in epoch microseconds, `latency_us` the whole attempt, `first_us` the time to the first content
    (streams only), `cost_nano` nano-USD or None if unknown. `circuit` is the state when it began: failures outside a
    closed circuit are the breaker's business, not the model's record. `empty`: it answered, with nothing in it.
    """

    series: Series
    at_us: int
    outcome: Outcome
    latency_us: int
    error_type: str | None = None
    first_us: int | None = None
    cost_nano: int | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    empty: bool = False
    explored: bool = False
    circuit: CircuitState = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A judge's word on one answered call: `quality_micro` is 0..1_000_000, `at_us` the call's start."""

    series: Series
    at_us: int
    quality_micro: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Totals of one series in one bucket. All integers, so that adding is exact in any order."""

    answers: int = 0
    empty: int = 0
    failures: int = 0  # outside an open circuit
    failures_open: int = 0  # of probes: the breaker's business
    neutral: int = 0
    judged: int = 0
    quality_micro: int = 0
    explored: int = 0
    explored_cost_nano: int = 0
    costed: int = 0
    cost_nano: int = 0
    tokened: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    timed: int = 0
    latency_us: int = 0
    buckets: tuple[tuple[int, int], ...] = ()  # base-2 exponential histogram of latency in us: (index, count), sorted
    scale: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One writer's running totals of one series in one bucket of BUCKET_S seconds."""

    series: Series
    bucket_s: int
    writer: str
    seq: int
    tally: Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a reader found since its cursor. `rows` hold absolute totals; `watermark_ns` is the newest fact's time."""

    rows: Sequence[Row] = ()
    cursor: bytes | None = None
    watermark_ns: int = 0
    complete: bool = True
    warnings: tuple[str, ...] = ()


class TelemetryReader(Protocol):
    """Something that brings evidence back. May block; only ever called from the background thread or a command."""

    name: str
    scope: Literal["host", "fleet"]

    def poll(self, since: bytes | None, deadline_s: float) -> Batch:
        """Read what is new since the cursor, within `deadline_s` seconds."""
        ...

    def close(self) -> None:
        """Let go of files and connections."""
        ...


class Fold(Protocol):
    """A store that moves a reader's cursor and its rows in one transaction."""

    def cursor(self, reader: str) -> bytes | None:
        """The cursor that was committed last, None for a new reader."""
        ...

    def load(self, reader: str) -> Sequence[Row]:
        """The rows that were committed for a reader, so that it goes on from its own totals."""
        ...

    def commit(self, reader: str, cursor: bytes | None, rows: Sequence[Row]) -> None:
        """Keep both or neither."""
        ...
