"""This process's evidence: its own rows, and those absorbed from readers, published as immutable snapshots.

One lock, held for one observation, one row or the cells that changed, whatever the history; folding and adding up happen
outside. Who reads rows, and when, is known elsewhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from threading import RLock
from typing import Final, Literal

from attune.models.drift import Track, changed
from attune.models.ledger import KEEP_S, Line, Quality, newest_of
from attune.models.performance import Observation, Row, Verdict
from attune.models.snapshot import Cell, Detail, Latencies, Snapshot, Stat
from attune.models.sums import Counts, timed_us
from attune.models.tally import BUCKET_S, Series

OTHER: Final = "_other"
RECENT: Final = 20
_REFRESH_S: Final = 3600.0  # an idle cell's evidence is aged this often
_AHEAD_S: Final = 3600.0  # rows from further in the future come from a wrong clock
_PRESUMED: Final = 0.8

_At = tuple[str, str]


class Windows:
    """Evidence of one process. Thread-safe.

    `writer` names this process in its rows: rows of that writer are never absorbed. At most `max_series` series are told
    apart; what comes after is kept under the workflow and stage "_other". `watch`: look for change-points and for models
    to set aside, as outcomes arrive; without it, readings are plain discounted means.
    """

    def __init__(self, *, writer: str, max_series: int = 2000, watch: bool = True) -> None:
        self.writer = writer
        self._watch = watch
        self._max = max_series
        # Re-entrant, because a stream's finalizer may record in the middle of what holds it.
        self._lock = RLock()
        self._lines: dict[Series, Line] = {}
        self._at: dict[_At, dict[_At, Line]] = {}
        self._tracks: dict[_At, Track] = {}
        self._aside: dict[_At, float] = {}
        self._judged: set[_At] = set()
        self._recent: dict[_At, deque[list[float]]] = {}  # epoch microseconds, failed 0..1, whether a verdict said so
        self._runs: dict[_At, tuple[int, int, _At | None]] = {}  # size, when the run began, whose successes it is of
        self._dirty: dict[Series, Line] = {}
        self._written: dict[tuple[Series, int], int] = {}  # what changed last comes last
        self._seq = 0
        self._heard_s = 0.0
        self._swept = 0.0
        self._tokens = [0.0, 0.0, 0.0]
        self._snapshot = Snapshot(detail=self.detail)

    def record(self, observation: Observation) -> None:
        """Count one finished attempt. It is in the next snapshot."""
        it = observation
        with self._lock:
            line = self._line(it.series)
            answered = it.outcome == "success"
            self._mark(line, line.observe(it), steady=answered and not it.empty and not it.explored)
            if not answered and not (it.outcome == "failure" and it.circuit == "closed"):
                return
            bad = not answered or it.empty
            recent = self._recent.setdefault(line.series[:2], deque(maxlen=RECENT))
            recent.append([it.at_us, float(bad), float(bad)])
            if answered:
                if (latency := timed_us(it)) > 0:
                    self._track(line).time(latency)
                if it.empty or line.series[:2] not in self._judged:
                    self._weigh(line, 0.0 if bad else 1.0, (1, it.empty, 0, 0, 0))

    def judge(self, verdict: Verdict) -> None:
        """Count one verdict, in the bucket of the call that it is about."""
        it = verdict
        with self._lock:
            line = self._line(it.series)
            at = line.series[:2]
            score = it.quality_micro * 1e-6
            bucket = line.judge(it.at_us, it.quality_micro, it.replaces_micro)
            self._mark(line, bucket, steady=score == 1.0 and it.replaces_micro is None)
            for entry in reversed(self._recent.get(at, ())):
                if entry[0] == it.at_us:
                    entry[1:] = [1.0 - score, 1.0]
                    break
            if at not in self._judged:
                self._mark_judged(at)
            elif it.replaces_micro is None:
                self._weigh(line, score, (0, 0, 0, 1, it.quality_micro))

    def absorb(self, rows: Iterable[Row], *, scope: Literal["host", "fleet"]) -> int:
        """Take over what other processes counted; the number of rows that were new or newer.

        Rows of this writer are left out. Of two rows with one key the higher `seq` wins. Evidence of the host counts as
        one's own; that of the fleet is a prior: weighed by half, at most 100 samples.
        """
        count = 0
        stale: dict[Series, Line] = {}
        for row in rows:
            if row.writer != self.writer and row.series.workflow != OTHER:
                with self._lock:
                    if (line := self._take(row, scope)) is not None:
                        count += 1
                        if line.stale:
                            stale[line.series] = line
        for line in stale.values():
            self._refold(line)
        return count

    def own_rows(self, since_seq: int = 0) -> tuple[list[Row], int]:
        """This process's rows that changed after `since_seq`, as absolute totals, and the seq to ask with next time."""
        with self._lock:
            seq, keys = self._seq, []
            for key in reversed(self._written):
                if (at := self._written[key]) <= since_seq:
                    break
                keys.append((key, at))
        found = []
        for (series, bucket), at in reversed(keys):
            with self._lock:
                line = self._lines.get(series)
                counts = line.own.get(bucket) if line else None
                tally = counts.tally() if counts else None
            if tally is not None:
                found.append(Row(series=series, bucket_s=bucket * BUCKET_S, writer=self.writer, seq=at, tally=tally))
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
        with self._lock:
            places = [at for at in self._at if at[0] == workflow and stage in {None, at[1]}]
            parts = [(of, list(line.totals(since_s))) for at in places for of, line in self._at[at].items()]
            judged = any(at in self._judged for at in places)
            newest = sorted(tuple(entry) for at in places for entry in self._recent.get(at, ()))
            lines = [line for at in places for line in self._at[at].values()]
        totals: dict[_At, Counts] = {}
        for of, tallies in parts:
            whole = totals.setdefault(of, Counts())
            for tally in tallies:
                whole.include(tally)
        known = [bad for _, bad, verdict in newest if verdict or not judged][-RECENT:]
        recent = (len(known), sum(known)) if len(known) == RECENT else newest_of(lines, known, RECENT, judged=judged)
        return Detail({of: counts.tally() for of, counts in totals.items()}, judged, recent)

    def _line(self, series: Series) -> Line:
        if (line := self._lines.get(series)) is not None:
            return line
        if len(self._lines) >= self._max and series.workflow != OTHER:
            return self._line(Series(OTHER, OTHER, series.provider, series.model))
        line = self._lines[series] = Line(series)
        self._at.setdefault(series[:2], {})[series[2:]] = line
        return line

    def _track(self, line: Line) -> Track:
        of = line.series[2:]
        if (track := self._tracks.get(of)) is None:
            track = self._tracks[of] = Track()
        return track

    def _mark(self, line: Line, bucket: int, *, steady: bool) -> None:
        self._seq += 1
        at, of = line.series[:2], line.series[2:]
        size, run, whose = self._runs.get(at, (0, 0, None))
        goes_on = steady and whose == of
        self._runs[at] = (size + 1, run if goes_on else self._seq, of if steady else None)
        key = (line.series, bucket)
        self._written.pop(key, None)
        self._written[key] = self._seq
        self._dirty[line.series] = line

    def _mark_judged(self, at: _At) -> None:
        self._judged.add(at)
        self._interrupt(at)
        self._dirty.update((line.series, line) for line in self._at[at].values())

    def _interrupt(self, at: _At) -> None:
        self._seq += 1
        self._runs[at] = (self._runs.get(at, (0, 0, None))[0], self._seq, None)

    def _weigh(self, line: Line, score: float, quality: Quality) -> None:
        if not self._watch:
            return
        track, judged = self._track(line), line.series[:2] in self._judged
        if track.weigh(line, score, quality, judged=judged):
            of = line.series[2:]
            self._aside = {name: it.share for name, it in self._tracks.items() if it.aside}
            self._dirty.update((it.series, it) for it in self._lines.values() if it.series[2:] == of)
        elif not track.aside and changed(line, score, judged=judged):
            line.cut(judged=judged)

    def _take(self, row: Row, scope: Literal["host", "fleet"]) -> Line | None:
        if self._snapshot.at_s and row.bucket_s > self._snapshot.at_s + _AHEAD_S:
            return None
        line = self._line(row.series)
        known = (line.host if scope == "host" else line.fleet).get(row.bucket_s // BUCKET_S, {}).get(row.writer)
        if not line.absorb(row, scope):
            return None
        self._dirty[line.series] = line
        self._interrupt(line.series[:2])
        self._heard_s = max(self._heard_s, float(row.bucket_s))
        self._track(line).absorb(row.tally, known.tally if known is not None else None)
        if row.tally.judged and line.series[:2] not in self._judged:
            self._mark_judged(line.series[:2])
        return line

    def _refold(self, line: Line) -> None:
        """Fold outside the lock; a bucket that closes meanwhile makes it be done again."""
        for _ in range(3):
            with self._lock:
                newest, parts = line.folding()
            closed = line.fold(newest, parts)
            with self._lock:
                if line.install(newest, closed):
                    self._dirty[line.series] = line
                    self._interrupt(line.series[:2])
                    return

    def _sweep(self, now_s: float) -> None:
        first, self._swept = not self._swept, now_s
        if first:
            return
        for series, line in list(self._lines.items()):
            if line.forget(now_s - KEEP_S):
                del self._lines[series], self._at[series[:2]][series[2:]]
                if not self._at[series[:2]]:
                    del self._at[series[:2]]
                    self._judged.discard(series[:2])
                    self._recent.pop(series[:2], None)
                    self._runs.pop(series[:2], None)
            self._dirty[series] = line
        oldest = (now_s - KEEP_S) // BUCKET_S
        self._written = {key: seq for key, seq in self._written.items() if key[1] >= oldest}

    def _publish(self, now_s: float) -> None:
        before, dirty = self._snapshot, self._dirty
        self._dirty = {}
        cells, pool = dict(before.cells), dict(before.pool)
        fresh: dict[_At, dict[_At, Stat]] = {}
        for series, line in dirty.items():
            at, of = series[:2], series[2:]
            if (stats := fresh.get(at)) is None:
                stats = fresh[at] = dict(cells[at].stats) if at in cells else {}
            old = stats.pop(of, None)
            new = line.stat(now_s, judged=at in self._judged) if series in self._lines else None
            track = self._track(line)
            whole = pool[of] = _pooled(pool.get(of), old, new, track)
            if new is not None:
                stats[of] = new
                line.usual = (whole.s + 6 * _PRESUMED) / (whole.n + 6)
            for sign, stat in ((1.0, new), (-1.0, old)):
                if stat is not None:
                    self._tokens[0] += sign * stat.tokened
                    self._tokens[1] += sign * stat.tokens_in
                    self._tokens[2] += sign * stat.tokens_out
        for at, stats in fresh.items():
            if stats:
                size, run, _ = self._runs.get(at, (0, 0, None))
                cells[at] = Cell(stats, judged=at in self._judged, run=run, size=size)
            else:
                cells.pop(at, None)
        n, given, got = self._tokens
        self._snapshot = Snapshot(
            at_s=now_s, heard_s=self._heard_s, cells=cells, pool=pool, detail=self.detail, quarantined=self._aside,
            tokens=(given / n, got / n) if n >= 1 else None,
        )  # fmt: skip


def _pooled(pool: Stat | None, old: Stat | None, new: Stat | None, track: Track) -> Stat:
    """The model's sums over all cells, after one cell's figures changed; latencies are those of its track."""
    base, gone, come = pool or Stat(), old or Stat(), new or Stat()
    return Stat(
        n=max(0.0, base.n - gone.n + come.n),
        s=max(0.0, base.s - gone.s + come.s),
        samples=base.samples - gone.samples + come.samples,
        timed=track.timed,
        latencies=Latencies(track.hist.parts()),
    )
