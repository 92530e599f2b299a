"""The one background thread: it polls readers, absorbs their rows, saves the process's own, and has the snapshot published.

A reader that fails is left alone for a while that doubles (with jitter, at most a minute), and its trouble is logged once
a change. The store is opened here, never on a call's path. A fault in here reaches `on_fault`, never a call.
"""

from __future__ import annotations

import functools
import logging
import os
import random
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import Final, Literal, Protocol

from attune.errors import AttuneError
from attune.models.performance import Batch, Row, TelemetryReader
from attune.models.windows import Windows

_log = logging.getLogger("attune.telemetry")
FLUSH_S: Final = 1.0  # own rows are saved this often
_BACKOFF_MAX_S: Final = 60.0
_DEADLINE_S: Final = 5.0
_NEAR: Final = 200  # neighbours that a fleet's reader is told of, the newest
_SLICE: Final = 200  # rows absorbed between two breaths, so that calls get the interpreter's lock


class Store(Protocol):
    """The host store as this thread sees it: `state.host.HostStore` fits."""

    name: str

    def poll(self, since: bytes | None, deadline_s: float) -> Batch:
        """Rows of other writers changed since the cursor."""
        ...

    def save(self, rows: Iterable[Row]) -> None:
        """Keep own rows."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class Clock(Protocol):
    """What this room needs of `models.process.Clock`."""

    def time(self) -> float:
        """Epoch seconds."""
        ...


@dataclass(slots=True)
class _Source:
    reader: TelemetryReader | Store
    scope: Literal["host", "fleet"]
    cursor: bytes | None = None
    failures: int = 0
    not_before: float = 0.0  # monotonic, real time
    trouble: str = ""  # what was last logged of it, without its figures


class Refresher:
    """Keeps `windows` up to date from `readers` and the store that `store_factory` opens (on this thread).

    Polls every `refresh_s` seconds and saves own rows at least each second. `on_fault(where, error)` hears of failures,
    `on_age(reader, seconds)` how old each reader's newest word is. Without readers and store no thread is started.
    Waits are real time, whatever the clock says. Thread-safe.
    """

    def __init__(
        self,
        windows: Windows,
        readers: Sequence[TelemetryReader] = (),
        store_factory: Callable[[], Store] | None = None,
        *,
        clock: Clock,
        refresh_s: float = 2.0,
        on_fault: Callable[[str, BaseException], None] = lambda _where, _error: None,
        on_age: Callable[[str, float], None] = lambda _reader, _age: None,
        on_round: Callable[[], None] = lambda: None,
    ) -> None:
        self._windows = windows
        self._sources = [_Source(reader, reader.scope) for reader in readers]
        self._factory = store_factory
        self._store: Store | None = None
        self._clock = clock
        self._refresh_s = refresh_s
        self._on_fault = on_fault
        self._on_age = on_age
        self._on_round = on_round
        self._saved_seq = 0
        self._near: dict[str, int] = {}  # writers of this machine, and the newest bucket each wrote
        self._work = Lock()  # one round at a time, whoever asks
        self._starting = Lock()
        self._wake = Event()
        self._ready = Event()
        self._closing = False
        self._thread: Thread | None = None
        self._pid = os.getpid()

    @property
    def idle(self) -> bool:
        """Whether there is nothing to read and nothing to save to."""
        return not self._sources and self._factory is None

    @property
    def store(self) -> Store | None:
        """The store, once it is open. To be used by this thread's work only."""
        return self._store

    def start(self) -> None:
        """Start the thread, if there is work for one and it does not run. Quick; call it as often as you like."""
        if self._thread is not None and self._pid == os.getpid():
            return
        if self.idle or self._closing:
            return
        if self._pid != os.getpid():
            self._after_fork()
        with self._starting:
            if self._thread is None:
                self._thread = Thread(target=self._run, name="attune-refresh", daemon=True)
                self._thread.start()

    def ready(self, timeout_s: float = 1.0) -> bool:
        """Wait until the first round is done; True if it is. Starts the thread."""
        if self.idle:
            return True
        self.start()
        return self._ready.wait(timeout_s)

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Save own rows and read what is there, now, on this thread; False where that was not possible in time."""
        if self.idle or self._pid != os.getpid():
            return True
        if not self._work.acquire(timeout=max(0.0, timeout_s)):
            return False
        try:
            return self._round(patient=False)
        finally:
            self._work.release()

    def close(self, timeout_s: float = 5.0) -> None:
        """Save a last time, stop the thread and let go of everything. Waits `timeout_s` seconds at most."""
        until = time.monotonic() + timeout_s
        already, self._closing = self._closing, True
        self._wake.set()
        if self._pid != os.getpid() or already:
            return
        if self._thread is not None:
            self._thread.join(max(0.0, until - time.monotonic()))
        if not self._work.acquire(timeout=max(0.0, until - time.monotonic())):
            return  # a round hangs: its daemon thread ends with the process
        try:
            if self._thread is not None:
                self._open()  # a short process may end before its thread came to it
            self._save()
            for act in [source.reader.close for source in self._sources]:
                self._guard("refresh.close", act)
            if self._store is not None and all(source.reader is not self._store for source in self._sources):
                self._guard("refresh.close", self._store.close)
        finally:
            self._work.release()

    def poll_once(self) -> bool:
        """One round, now, on this thread: True if every source answered. Sources that are backing off are left out."""
        with self._work:
            return self._round(patient=True)

    def _run(self) -> None:
        next_poll = 0.0
        while not self._closing:
            with self._work:
                if time.monotonic() >= next_poll:
                    self._round(patient=True)
                    next_poll = time.monotonic() + self._refresh_s * (0.9 + 0.2 * random.random())
                else:
                    self._save()
            self._wake.wait(max(0.01, min(FLUSH_S, self._refresh_s, next_poll - time.monotonic())))
            self._wake.clear()

    def _round(self, *, patient: bool) -> bool:
        self._open()
        well = self._save()
        for source in self._sources:
            if not patient or time.monotonic() >= source.not_before:
                well = self._poll(source) and well
        self._guard("refresh.publish", lambda: self._windows.snapshot(self._clock.time()))
        self._guard("refresh.round", self._on_round)
        self._ready.set()
        return well

    def _open(self) -> None:
        if self._store is None and self._factory is not None:
            try:
                self._store = self._factory()
            except Exception as error:  # noqa: BLE001 - memory alone will do
                self._factory = None
                self._on_fault("refresh.store", error)
                return
            for source in self._sources:
                use = getattr(source.reader, "use", None)
                if use is not None and getattr(self._store, "durable", False):
                    self._guard("refresh.fold", functools.partial(use, self._store))
            self._sources.insert(0, _Source(self._store, "host"))

    def _poll(self, source: _Source) -> bool:
        name = source.reader.name
        try:
            self._part(source)
            batch = source.reader.poll(source.cursor, _DEADLINE_S)
            rows = list(batch.rows)
            if source.scope == "host":
                self._near.update((row.writer, max(row.bucket_s, self._near.get(row.writer, 0))) for row in rows)
            for at in range(0, len(rows), _SLICE):
                self._windows.absorb(rows[at : at + _SLICE], scope=source.scope)
                time.sleep(0)
        except Exception as error:  # noqa: BLE001 - a reader's trouble is its own
            source.failures += 1
            pause = min(_BACKOFF_MAX_S, self._refresh_s * 2.0**source.failures)
            source.not_before = time.monotonic() + pause * (0.5 + random.random() / 2)
            # An error of ours says what to do, and no more than it may; of another one only the type is known to be safe.
            self._report(source, str(error) if isinstance(error, AttuneError) else type(error).__name__)
            self._on_fault(f"reader:{name}", error)
            return False
        source.cursor, source.failures, source.not_before = batch.cursor, 0, 0.0
        if batch.watermark_ns:
            age = max(0.0, self._clock.time() - batch.watermark_ns / 1e9)
            self._guard("refresh.age", lambda: self._on_age(name, age))
        self._report(source, "; ".join(batch.warnings))
        return True

    def _part(self, source: _Source) -> None:
        """Tell a reader of the fleet which instances are known otherwise: this process, and its neighbours' rows."""
        leave_out = getattr(source.reader, "leave_out", None)
        if source.scope == "fleet" and callable(leave_out):
            self._near = dict(sorted(self._near.items(), key=lambda it: it[1])[-_NEAR:])
            leave_out([self._windows.writer, *self._near])

    def _report(self, source: _Source, trouble: str) -> None:
        words = re.sub(r"\d+", "#", trouble)
        if words != source.trouble and (words or source.failures == 0):
            source.trouble = words
            if trouble:
                _log.warning("reader %s: %s", source.reader.name, trouble)
            else:
                _log.info("reader %s is well again", source.reader.name)

    def _save(self) -> bool:
        if self._store is None:
            return True
        try:
            rows, seq = self._windows.own_rows(self._saved_seq)
            if rows:
                self._store.save(rows)
            self._saved_seq = seq
        except Exception as error:  # noqa: BLE001 - own evidence stays in memory
            self._on_fault("refresh.save", error)
            return False
        return True

    def _guard(self, where: str, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - what others hang in here must not stop the thread
            self._on_fault(where, error)

    def _after_fork(self) -> None:
        """The parent's thread is not here, and its locks may be held by it."""
        self._pid = os.getpid()
        self._work, self._starting = Lock(), Lock()
        self._wake, self._ready = Event(), Event()
        self._thread = None
