"""OtlpFileReader: evidence from OTLP files, as attune's own exporter or the Collector's `file` exporter writes them.

Rows are the reader's own absolute totals; with a `Fold`, cursor and rows are kept in one transaction, so that nothing is
counted twice or lost over restarts and kills. Trusts nothing in a file: what cannot be read is a warning, never an error.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Literal

from attune.errors import ConfigError, StateError
from attune.models.performance import Batch, Fold, Row
from attune.telemetry.decode import Heard, OutOfBounds, Span, read, read_foreign
from attune.telemetry.otlp_wire import OtlpDecoder
from attune.telemetry.tail import Inode, Tail
from attune.telemetry.totals import Totals

_PAUSE_S: Final = 30.0
_SEEN: Final = 20_000  # spans remembered, because OTLP delivers at least once


class OtlpFileReader:
    """Reads `path`: a file, a directory or a glob; `~` is the home directory.

    `fold` keeps cursor and rows over restarts. `foreign=True` also counts other instrumentations' gen_ai spans, of
    instances that never spoke with scope `attune`, under empty workflow and stage. `now` gives epoch seconds. Raises
    ConfigError for a path that cannot lead anywhere. One thread at a time.
    """

    scope: Literal["host", "fleet"] = "host"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        fold: Fold | None = None,
        foreign: bool = False,
        max_series: int = 2000,
        now: Callable[[], float] = time.time,
    ) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise ConfigError(f"OtlpFileReader({path!r}): a path is text or a Path.")
        self._tail = Tail(os.fspath(path))
        self.name = name or f"file:{self._tail.path}"
        self._fold = fold
        self._foreign = foreign
        self._max_series = max_series
        self._now = now
        self._decoder = OtlpDecoder()
        self._loaded = False
        self._paused_until = 0.0
        self._cursor: bytes | None = None
        self._kept: list[Row] = []
        self._totals = Totals(max_series=max_series)
        self._heard = Heard()
        self._watermark = 0
        self._bad = 0
        self._seen: set[bytes] = set()
        self._order: deque[bytes] = deque()

    @classmethod
    def from_text(cls, text: str, *, now: Callable[[], float] = time.time) -> OtlpFileReader:
        """A reader from its text form, `file:PATH`."""
        kind, _, path = text.partition(":")
        if kind != "file" or not path:
            raise ConfigError(f"{text!r} is no OTLP file reader. Write file:PATH, a file, a directory or a glob.")
        return cls(path, now=now)

    def use(self, fold: Fold) -> None:
        """Keep cursor and rows in `fold` from the next poll on."""
        self._fold, self._loaded = fold, False

    def poll(self, since: bytes | None = None, deadline_s: float = 5.0) -> Batch:
        """Rows that changed since the cursor, within `deadline_s` seconds of work; what is left comes next time.

        A cursor other than the last one given begins anew: from what the fold keeps, else from the files' beginning.
        """
        if time.monotonic() < self._paused_until:
            return Batch(cursor=self._cursor)
        if not self._loaded or (since is not None and since != self._cursor):
            self._begin()
        until = time.monotonic() + deadline_s
        complete = True
        for record, is_json in self._tail.records():
            self._take(record, is_json=is_json)
            time.sleep(0)  # let the calls have the interpreter
            if time.monotonic() >= until:
                complete = False
                break
        rows = self._totals.take(self._now())
        cursor = json.dumps([[*inode, offset] for inode, offset in sorted(self._tail.offsets.items())]).encode()
        changed, self._cursor = cursor != self._cursor, cursor
        if self._fold is not None and (changed or rows):
            self._loaded = False  # what is in memory counts only once it is kept
            try:
                self._fold.commit(self.name, cursor, rows)
            except StateError:
                # Another process reads these files and keeps their rows: let it, look again later, and go on from there.
                self._paused_until = time.monotonic() + _PAUSE_S
                return Batch(cursor=None, complete=False)
            self._loaded = True
        rows, told = self._give(rows), self._told()
        return Batch(rows=rows, cursor=cursor, watermark_ns=self._watermark, complete=complete, warnings=told)

    def _give(self, rows: Iterable[Row] = ()) -> list[Row]:
        """The rows to hand out: those kept from before too, the first time."""
        kept, self._kept = self._kept, []
        return [*kept, *rows]

    def close(self) -> None:
        """Let go of the files."""
        self._tail.close()

    def _begin(self) -> None:
        self._forget_all()
        self._loaded = True
        if self._fold is not None:
            self._kept = list(self._fold.load(self.name))
            self._totals.load(self._kept)
            self._cursor = self._fold.cursor(self.name)
            self._tail.offsets = _offsets(self._cursor)

    def _forget_all(self) -> None:
        self._tail.close()
        self._tail.offsets = {}
        self._totals = Totals(max_series=self._max_series)
        self._heard = Heard()
        self._cursor = None
        self._kept = []
        self._watermark = 0
        self._bad = 0
        self._seen = set()
        self._order = deque()

    def _take(self, record: bytes, *, is_json: bool) -> None:
        try:
            decode = self._decoder.from_json if is_json else self._decoder.from_protobuf
            spans = list(decode(record))
        except (ValueError, RecursionError):
            self._bad += 1
            return
        now_s = self._now()
        for span in self._heard.own(spans):
            self._count(span, now_s, foreign=False)
        if self._foreign:
            for span in self._heard.foreign(spans):
                self._count(span, now_s, foreign=True)

    def _count(self, span: Span, now_s: float, *, foreign: bool) -> None:
        try:
            fact = read_foreign(span) if foreign else read(span)
        except OutOfBounds:
            self._bad += 1
            return
        if fact is None or self._repeated(span.key):
            return
        if len(span.instance) > 256:
            self._bad += 1
            return
        self._totals.add(fact, span.instance or self.name, now_s)
        self._watermark = max(self._watermark, span.end_ns)

    def _repeated(self, key: bytes) -> bool:
        if not key:
            return False
        if key in self._seen:
            return True
        self._seen.add(key)
        self._order.append(key)
        if len(self._order) > _SEEN:
            self._seen.discard(self._order.popleft())
        return False

    def _told(self) -> tuple[str, ...]:
        told = list(dict.fromkeys(self._tail.warnings))
        self._tail.warnings.clear()
        if self._bad:
            told.append(f"{self._bad} lines or spans could not be read")
        if self._totals.left_out:
            told.append(f"{self._totals.left_out} spans are too old, dated ahead, or of too many series")
        self._bad = self._totals.left_out = 0
        return tuple(told)


def _offsets(cursor: bytes | None) -> dict[Inode, int]:
    try:
        found = json.loads(cursor or b"[]")
        return {Inode(int(device), int(number)): max(0, int(offset)) for device, number, offset in found}
    except (ValueError, TypeError):
        return {}
