"""This process's evidence: its own rows, and those absorbed from readers, published as immutable snapshots.

One lock, held for one observation, one row or one changed cell at a time; never across a callback. Who reads rows, and
when, is known elsewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from threading import Lock
from typing import Final, Literal

from attune.models.ledger import KEEP_S, Line
from attune.models.performance import Observation, Row, Verdict
from attune.models.snapshot import Cell, Detail, Snapshot, Stat
from attune.models.tally import BUCKET_S, Series, Tally

OTHER: Final = "_other"
RECENT: Final = 20
_REFRESH_S: Final = 3600.0  # an idle cell's evidence is aged this often

_At = tuple[str, str]


class Windows:
    """Evidence of one process. Thread-safe.

    `writer` names this process in its rows: rows of that writer are never absorbed. At most `max_series` series are told
    apart; what comes after is kept under the workflow and stage "_other".
    """

    def __init__(self, *, writer: str, max_series: int = 2000) -> None:
        self.writer = writer
        self._max = max_series
        self._lock = Lock()
        self._lines: dict[Series, Line] = {}
        self._at: dict[_At, dict[_At, Line]] = {}
        self._judged: set[_At] = set()
        self._recent: dict[_At, deque[tuple[int, float]]] = {}
        self._dirty: dict[Series, Line] = {}
        self._seq = 0
        self._heard_s = 0.0
        self._swept = 0.0
        self._tokens = [0.0, 0.0, 0.0]
        self._snapshot = Snapshot(detail=self.detail)

    def record(self, observation: Observation) -> None:
        """Count one finished attempt. It is in the next snapshot."""
        with self._lock:
            line = self._line(observation.series)
            self._seq += 1
            line.observe(observation, self._seq)
            self._dirty[line.series] = line
            if observation.outcome == "success" or (
                observation.outcome == "failure" and observation.circuit == "closed"
            ):
                bad = 0.0 if observation.outcome == "success" and not observation.empty else 1.0
                self._recent.setdefault(line.series[:2], deque(maxlen=RECENT)).append((observation.at_us, bad))

    def judge(self, verdict: Verdict) -> None:
        """Count one verdict, in the bucket of the call that it is about."""
        with self._lock:
            line = self._line(verdict.series)
            self._seq += 1
            line.judge(verdict.at_us, verdict.quality_micro, verdict.replaces_micro, self._seq)
            self._mark_judged(line.series[:2])
            self._dirty[line.series] = line
            recent = self._recent.get(line.series[:2], ())
            for index in range(len(recent) - 1, -1, -1):
                if recent[index][0] == verdict.at_us:
                    recent[index] = (verdict.at_us, 1.0 - verdict.quality_micro * 1e-6)  # type: ignore[index]
                    break

    def absorb(self, rows: Iterable[Row], *, scope: Literal["host", "fleet"]) -> int:
        """Take over what other processes counted; the number of rows that were new or newer.

        Rows of this writer are left out. Of two rows with one key the higher `seq` wins. Evidence of the host counts as
        one's own; that of the fleet is a prior: weighed by half, at most 100 samples.
        """
        changed: dict[Series, Line] = {}
        count = 0
        for row in rows:
            if row.writer == self.writer or row.series.workflow == OTHER:
                continue
            with self._lock:
                line = self._line(row.series)
                if line.absorb(row, scope):
                    count += 1
                    changed[line.series] = line
                    self._heard_s = max(self._heard_s, float(row.bucket_s))
                    if row.tally.judged:
                        self._mark_judged(line.series[:2])
        for series, line in changed.items():
            with self._lock:
                line.refold()
                self._dirty[series] = line
        return count

    def own_rows(self, since_seq: int = 0) -> tuple[list[Row], int]:
        """This process's rows that changed after `since_seq`, as absolute totals, and the seq to ask with next time."""
        with self._lock:
            seq = self._seq
            found = [
                Row(
                    series=series,
                    bucket_s=bucket * BUCKET_S,
                    writer=self.writer,
                    seq=at,
                    tally=line.own[bucket].tally(),
                )
                for series, line in self._lines.items()
                for bucket, at in line.own_seq.items()
                if at > since_seq
            ]
        return found, seq

    def snapshot(self, now_s: float) -> Snapshot:
        """Everything at this moment, immutable; the same object while nothing changed."""
        if not self._dirty and now_s - self._swept < _REFRESH_S:
            return self._snapshot
        with self._lock:
            if now_s - self._swept >= _REFRESH_S:
                self._sweep(now_s)
            if self._dirty:
                self._publish(now_s)
            return self._snapshot

    def detail(self, workflow: str, stage: str | None, since_s: float) -> Detail:
        """Exact totals at a workflow (and stage) since a moment, as they are now."""
        totals: dict[_At, Tally] = {}
        with self._lock:
            places = [at for at in self._at if at[0] == workflow and stage in {None, at[1]}]
            for at in places:
                for of, line in self._at[at].items():
                    totals[of] = totals.get(of, Tally()) + line.tally(since_s)
            newest = sorted(entry for at in places for entry in self._recent.get(at, ()))
            judged = any(at in self._judged for at in places)
        return Detail(totals, judged, [bad for _, bad in newest[-RECENT:]])

    def _line(self, series: Series) -> Line:
        if (line := self._lines.get(series)) is not None:
            return line
        if len(self._lines) >= self._max and series.workflow != OTHER:
            return self._line(Series(OTHER, OTHER, series.provider, series.model))
        line = self._lines[series] = Line(series)
        self._at.setdefault(series[:2], {})[series[2:]] = line
        return line

    def _mark_judged(self, at: _At) -> None:
        if at not in self._judged:
            self._judged.add(at)
            self._dirty.update((line.series, line) for line in self._at[at].values())

    def _sweep(self, now_s: float) -> None:
        first, self._swept = not self._swept, now_s
        if first:
            return
        for series, line in list(self._lines.items()):
            if line.forget(now_s - KEEP_S):
                del self._lines[series], self._at[series[:2]][series[2:]]
            self._dirty[series] = line

    def _publish(self, now_s: float) -> None:
        before = self._snapshot
        cells, pool = dict(before.cells), dict(before.pool)
        fresh: dict[_At, dict[_At, Stat]] = {}
        for series, line in self._dirty.items():
            at, of = series[:2], series[2:]
            if (stats := fresh.get(at)) is None:
                old_cell = cells.get(at)
                stats = fresh[at] = dict(old_cell.stats) if old_cell else {}
            old = stats.pop(of, None)
            new = line.stat(now_s, judged=at in self._judged) if series in self._lines else None
            if new is not None:
                stats[of] = new
            pool[of] = _pooled(pool.get(of), old, new)
            self._count_tokens(old, new)
        self._dirty = {}
        for at, stats in fresh.items():
            cells[at] = Cell(stats, judged=at in self._judged)
        n, given, got = self._tokens
        self._snapshot = Snapshot(
            at_s=now_s, heard_s=self._heard_s, cells=cells, pool=pool, detail=self.detail,
            tokens=(given / n, got / n) if n >= 1 else None,
        )  # fmt: skip

    def _count_tokens(self, old: Stat | None, new: Stat | None) -> None:
        for sign, stat in ((1.0, new), (-1.0, old)):
            if stat is not None:
                for index, value in enumerate((stat.tokened, stat.tokens_in, stat.tokens_out)):
                    self._tokens[index] += sign * value


def _pooled(pool: Stat | None, old: Stat | None, new: Stat | None) -> Stat:
    """The model's sum over all cells, after one cell's figures changed. Latencies are pooled elsewhere."""
    base = pool or Stat()
    gone, come = old or Stat(), new or Stat()
    sums = [max(0, total - less + more) for total, less, more in zip(base[:12], gone[:12], come[:12], strict=True)]
    return Stat._make([*sums, ()])
