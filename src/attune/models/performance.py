"""What was measured, and how rows of it merge exactly: Observation, Verdict, Row, and who brings them.

A row holds one writer's running totals for one series in one bucket of time, so replay and duplication change nothing:
of two rows with the same key the one with the higher `seq` is the newer, and rows of different keys add up in any order.
Evidence is discounted when it is read, never when it is written. This file knows no clock and no store.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from typing import Literal, Protocol

from attune.models.call import CircuitState, Outcome
from attune.models.registry import ModelTier
from attune.models.snapshot import Cell, Snapshot, Stat
from attune.models.tally import BUCKET_S, Series, Tally

__all__ = [
    "BUCKET_S",
    "Batch",
    "Cell",
    "Fold",
    "ModelPerformance",
    "Observation",
    "Row",
    "Series",
    "Snapshot",
    "Stat",
    "Tally",
    "TelemetryReader",
    "Verdict",
    "merge",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One finished attempt, as numbers.

    `at_us` is its start in epoch microseconds, `latency_us` the whole attempt (0 if unknown), `first_us` the time to the
    first content (streams only), `cost_nano` nano-USD or None if unknown. `circuit` is the state when it began: failures outside a
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
    """A judge's word on one answered call: `quality_micro` is 0..1_000_000, `at_us` the call's start.

    `replaces_micro` is the earlier verdict on the same call, if there was one: the later one takes its place.
    """

    series: Series
    at_us: int
    quality_micro: int
    replaces_micro: int | None = None


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


def newer(row: Row, than: Row) -> bool:
    """Whether a row replaces another of the same key. Equal `seq` with unequal totals (never written by us) still has one order."""
    return row.seq > than.seq or (row.seq == than.seq and astuple(row.tally) > astuple(than.tally))


def merge(rows: Iterable[Row]) -> dict[tuple[Series, int], Tally]:
    """Totals of all writers by series and bucket: bit for bit the same in any order, split or duplication."""
    latest: dict[tuple[Series, int, str], Row] = {}
    for row in rows:
        key = (row.series, row.bucket_s, row.writer)
        if (known := latest.get(key)) is None or newer(row, known):
            latest[key] = row
    totals: dict[tuple[Series, int], Tally] = {}
    for (series, bucket_s, _), row in latest.items():
        sum_so_far = totals.get((series, bucket_s))
        totals[series, bucket_s] = row.tally if sum_so_far is None else sum_so_far + row.tally
    return totals


@dataclass(frozen=True, slots=True)
class ModelPerformance:
    """What is known of one model at one workflow. Rates 0..1, latency in milliseconds, cost in USD a call."""

    model_id: str
    tier: ModelTier | str | None
    success_rate: float
    avg_latency_ms: float
    avg_cost: float
    sample_size: int
    recent_failures: int = 0

    @property
    def quality_score(self) -> float:
        """100 * success_rate - 10 * avg_cost, for people to compare; attune does not rank by it."""
        return 100 * self.success_rate - 10 * self.avg_cost


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
