"""HostStore: rows of all processes of one machine, and readers' cursors, in one SQLite file (WAL) under `{home}`.

A row is one writer's absolute totals, so writing it again changes nothing. Opened and driven by one thread, after a fork
anew. A broken file is put aside and counted, an unknown newer one or an unwritable home means memory alone, with one log
line: no trouble in here ever reaches a call. Decides nothing about what a row says.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from attune.errors import StateError
from attune.models.performance import BUCKET_S, Batch, Row, Series, Tally

VERSION: Final = 1
KEEP_S: Final = 8 * 86_400
_EXPIRE_EVERY_S: Final = 3600
_BUSY_S: Final = 2.0
_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_log = logging.getLogger("attune.state")

_SCHEMA: Final = (
    "CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), file TEXT NOT NULL, change INTEGER NOT NULL)",
    """CREATE TABLE series (id INTEGER PRIMARY KEY, workflow TEXT NOT NULL, stage TEXT NOT NULL, provider TEXT NOT NULL,
       model TEXT NOT NULL, UNIQUE (workflow, stage, provider, model))""",
    # `source` is empty for a process's own rows, else the reader whose cursor goes with the row.
    """CREATE TABLE windows (source TEXT NOT NULL, bucket INTEGER NOT NULL, series INTEGER NOT NULL, writer TEXT NOT NULL,
       seq INTEGER NOT NULL, tally BLOB NOT NULL, change INTEGER NOT NULL,
       PRIMARY KEY (source, bucket, series, writer)) WITHOUT ROWID""",
    "CREATE INDEX changes ON windows (change)",
    "CREATE TABLE cursors (reader TEXT PRIMARY KEY, cursor BLOB)",
)
_READ: Final = """SELECT s.workflow, s.stage, s.provider, s.model, w.bucket, w.writer, w.seq, w.tally, w.change
                  FROM windows AS w JOIN series AS s ON s.id = w.series """
# A row that is older than what is kept, by its seq, changes nothing: replay is harmless.
_WRITE: Final = """INSERT INTO windows VALUES (?, ?, (SELECT id FROM series WHERE workflow = ? AND stage = ? AND provider = ?
                   AND model = ?), ?, ?, ?, ?) ON CONFLICT (source, bucket, series, writer) DO UPDATE
                   SET seq = excluded.seq, tally = excluded.tally, change = excluded.change WHERE excluded.seq > seq"""
_SERIES: Final = "INSERT OR IGNORE INTO series (workflow, stage, provider, model) VALUES (?, ?, ?, ?)"


class HostStore:
    """The file `state.db` under `home`. Implements `Fold` and polls like a reader. One thread at a time.

    `now` gives epoch seconds; `on_fault(where, error)` hears of a broken or unusable file. `durable` is False where only
    memory is left: then nothing is kept and nothing is read. Rows are kept for 8 days.
    """

    name = "host"
    scope: Literal["host", "fleet"] = "host"

    def __init__(
        self,
        home: str | os.PathLike[str],
        *,
        now: Callable[[], float] = time.time,
        on_fault: Callable[[str, BaseException], None] = lambda _where, _error: None,
    ) -> None:
        self.path = Path(home).expanduser() / "state.db"
        self._now = now
        self._on_fault = on_fault
        self._decode = msgspec.json.Decoder(Tally)
        self._writers: set[str] = set()
        self._cursors: dict[str, bytes | None] = {}
        self._file = ""
        self._expired_at = 0.0
        self._inherited: list[sqlite3.Connection] = []
        self._db: sqlite3.Connection | None = None
        self._pid = os.getpid()
        self.durable = True
        self._inode = 0
        with contextlib.suppress(sqlite3.OperationalError):  # locked for now; the next use tries again
            self._open()

    def poll(self, since: bytes | None = None, deadline_s: float = 5.0) -> Batch:  # noqa: ARG002 - the protocol's signature
        """Rows that other processes counted, or read elsewhere, and that changed since the cursor."""
        with self._using() as db:
            if db is None:
                return Batch()
            file, _, change = (since or b"").decode("ascii", "replace").partition(":")
            newest = int(change) if file == self._file and change.isdigit() else 0
            rows, newest = self._rows(db.execute(f"{_READ} WHERE w.change > ?", (newest,)), newest)
            rows = [row for row in rows if row.writer not in self._writers]
            watermark = max((row.bucket_s for row in rows), default=0) * 1_000_000_000
            return Batch(rows=rows, cursor=f"{self._file}:{newest}".encode(), watermark_ns=watermark)
        raise AssertionError

    def save(self, rows: Iterable[Row]) -> None:
        """Keep this process's own rows. Raises sqlite3.OperationalError while another process holds the file too long."""
        rows = list(rows)
        self._writers.update(row.writer for row in rows)
        with self._using() as db:
            if db is not None and rows:
                with _transaction(db):
                    self._write(db, "", rows)
                self._expire(db)

    def cursor(self, reader: str) -> bytes | None:
        """The cursor that was committed last, None for a new reader."""
        with self._using() as db:
            found = db.execute("SELECT cursor FROM cursors WHERE reader = ?", (reader,)).fetchone() if db else None
            self._cursors[reader] = found[0] if found else None
        return self._cursors[reader]

    def load(self, reader: str) -> Sequence[Row]:
        """The rows that were committed for a reader."""
        with self._using() as db:
            return [] if db is None else self._rows(db.execute(f"{_READ} WHERE w.source = ?", (reader,)), 0)[0]
        raise AssertionError

    def commit(self, reader: str, cursor: bytes | None, rows: Sequence[Row]) -> None:
        """Keep both or neither. Raises StateError where another process moved the cursor since it was last seen here."""
        with self._using() as db:
            if db is None:
                return
            with _transaction(db):
                found = db.execute("SELECT cursor FROM cursors WHERE reader = ?", (reader,)).fetchone()
                if (found[0] if found else None) != self._cursors.get(reader):
                    raise StateError(f"The cursor of {reader} was moved by another process. Read from where it is now.")
                db.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (reader, cursor))
                self._write(db, reader, rows)
            self._cursors[reader] = cursor

    def close(self) -> None:
        """Let go of the file."""
        if self._db is not None and self._pid == os.getpid():
            self._db.close()
        self._db = None

    @contextlib.contextmanager
    def _using(self) -> Iterator[sqlite3.Connection | None]:
        """The open file, None where only memory is left. A file found broken is put aside."""
        if self._pid != os.getpid():
            self._leave_to_parent()
        if self._db is not None and self._inode != self._there():
            self.close()  # somebody moved or deleted the file
        if self._db is None and self.durable:
            self._open()
        try:
            yield self._db
        except sqlite3.OperationalError:
            raise  # locked, or full: it may pass
        except sqlite3.DatabaseError as error:
            self._put_aside(error)
            raise StateError(f"{self.path} was broken. It was put aside, and a new one begun.") from error

    def _leave_to_parent(self) -> None:
        # A connection must neither be used nor closed in a forked child, so it is kept from the garbage collector.
        if self._db is not None:
            self._inherited.append(self._db)
        self._db, self._pid, self._writers, self._cursors = None, os.getpid(), set(), {}

    def _open(self) -> None:
        try:
            self._db = self._connect()
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY:
                raise
            self._memory_only(str(error), error)
        except sqlite3.DatabaseError as error:
            self._put_aside(error)
            with contextlib.suppress(sqlite3.Error, OSError):
                self._db = self._connect()
        except OSError as error:
            self._memory_only(error.strerror or type(error).__name__, error)

    def _connect(self) -> sqlite3.Connection | None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        db = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            if db.execute("PRAGMA journal_mode = wal").fetchone()[0] != "wal":
                raise sqlite3.OperationalError("the file system has no shared memory for a write-ahead log")
            db.execute("PRAGMA synchronous = normal")
            with _transaction(db):
                if (version := db.execute("PRAGMA user_version").fetchone()[0]) == 0:
                    self._create(db)
                elif version > VERSION:
                    raise sqlite3.OperationalError(
                        f"written by a newer attune (schema {version}, known here {VERSION})"
                    )
                self._file = db.execute("SELECT file FROM meta").fetchone()[0]
        except BaseException:
            db.close()
            raise
        self._inode = self._there()
        return db

    def _there(self) -> int:
        """The inode of the file, 0 where there is none."""
        try:
            return self.path.stat().st_ino
        except OSError:
            return 0

    def _create(self, db: sqlite3.Connection) -> None:
        for statement in _SCHEMA:
            db.execute(statement)
        db.execute("INSERT INTO meta VALUES (1, ?, 0)", (uuid.uuid4().hex,))
        db.execute(f"PRAGMA user_version = {VERSION}")

    def _memory_only(self, why: str, error: BaseException) -> None:
        self.durable, self._db = False, None
        _log.warning("%s is not used (%s): this process remembers in memory alone", self.path, why)
        self._on_fault("state.open", error)

    def _put_aside(self, error: BaseException) -> None:
        held = self._db is not None
        self.close()
        if held and self._inode != self._there():
            return  # another process put it aside already
        aside = self.path.with_name(f"state.db.broken-{int(time.time())}")
        try:
            self.path.replace(aside)
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        except OSError as trouble:
            self._memory_only(trouble.strerror or type(trouble).__name__, trouble)
            return
        _log.warning("%s is broken and was put aside as %s", self.path, aside.name)
        self._on_fault("state.broken", error)

    def _write(self, db: sqlite3.Connection, source: str, rows: Iterable[Row]) -> None:
        db.execute("UPDATE meta SET change = change + 1")
        change = db.execute("SELECT change FROM meta").fetchone()[0]
        rows = list(rows)
        db.executemany(_SERIES, {row.series for row in rows})
        db.executemany(
            _WRITE,
            [
                (source, row.bucket_s, *row.series, row.writer, row.seq, msgspec.json.encode(row.tally), change)
                for row in rows
            ],
        )

    def _rows(self, found: Iterable[tuple[Any, ...]], newest: int) -> tuple[list[Row], int]:
        rows = []
        for *series, at_s, writer, seq, tally, change in found:
            newest = max(newest, change)
            with contextlib.suppress(msgspec.MsgspecError):  # a row that no attune wrote
                totals = self._decode.decode(tally)
                bucket_s = at_s - at_s % BUCKET_S
                rows.append(Row(series=Series(*series), bucket_s=bucket_s, writer=writer, seq=seq, tally=totals))
        return rows, newest

    def _expire(self, db: sqlite3.Connection) -> None:
        if self._now() - self._expired_at < _EXPIRE_EVERY_S:
            return
        self._expired_at = self._now()
        with _transaction(db):
            db.execute("DELETE FROM windows WHERE bucket < ?", (self._now() - KEEP_S,))
            db.execute("DELETE FROM series WHERE id NOT IN (SELECT series FROM windows)")


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
