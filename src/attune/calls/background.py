"""What runs beside the calls: one thread that reads evidence back and keeps this process's own.

It starts with the first call or question, never at import. Without it (nothing to read, nowhere to keep, or a fault) the
process goes on with its own evidence. It decides nothing, and knows no call.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

from attune.calls.settings import Live, Settings
from attune.models.process import Clock
from attune.models.windows import Windows
from attune.telemetry.listening import instance_of

Fault = Callable[[str, BaseException], None]
_LAST_S: Final = 1.0  # as at the exit of a process
_AMONG_THE_LAST: Final = -50  # finalizers of others may make calls; higher ones run first


class Background:
    """The refresh thread's life, and how old its news is. Thread-safe."""

    def __init__(
        self,
        settings: Settings,
        live: Live,
        clock: Clock,
        *,
        on_fault: Fault,
        on_error: Callable[[str], None],
        on_age: Callable[[str, float], None],
        on_round: Callable[[], None],
        on_end: Callable[[float], None],
    ) -> None:
        self._settings = settings
        self._live = live
        self._clock = clock
        self._on_fault = on_fault
        self._on_error = on_error
        self._on_age = on_age
        self._on_round = on_round
        self._on_end = on_end
        self._last: Any = None  # what `multiprocessing` calls at the end of its child
        self._ages: dict[str, tuple[float, float]] = {}  # reader -> age of its newest word, and when that was said
        self._refresher: Any = None
        self._lock = threading.Lock()
        self.started = False

    def start(self, windows: Windows) -> None:
        """Begin, once. A fault is counted, and then there is no background."""
        with self._lock:
            if self.started:
                return
            self.started = True
            try:
                self._refresher = self._make(windows)
                self._refresher.start()
                self._last = self._at_the_end()
            except Exception as error:  # noqa: BLE001 - law 5: the process's own evidence remains
                self._refresher = None
                self._on_fault("reader", error)

    def ready(self, timeout_s: float) -> None:
        """Wait for the first round."""
        if (refresher := self._refresher) is not None:
            refresher.ready(timeout_s)

    def flush(self, timeout_s: float) -> bool:
        """Whether everything known was kept in time."""
        return True if (refresher := self._refresher) is None else bool(refresher.flush(timeout_s))

    def close(self, timeout_s: float) -> None:
        """Flush and stop; it does not start again."""
        self.started = True
        refresher, self._refresher = self._refresher, None
        last, self._last = self._last, None
        if last is not None:
            last.cancel()
        if refresher is not None:
            refresher.close(timeout_s)

    def forget(self) -> None:
        """In a forked child: the parent's thread is not here."""
        self._lock = threading.Lock()
        self._ages.clear()
        self._refresher = self._last = None
        self.started = False

    def age_s(self) -> float | None:
        """How old the oldest reader's newest word is, in seconds; None where no reader has spoken."""
        if not self._ages:
            return None
        now = self._clock.monotonic()
        return max(age_s + now - at for age_s, at in list(self._ages.values()))

    def _at_the_end(self) -> Any:
        """A forked child of `multiprocessing` ends by `os._exit`: its finalizers are run, and what `atexit` knows is not."""
        process, util = (sys.modules.get(f"multiprocessing.{name}") for name in ("process", "util"))
        if process is None or util is None or process.parent_process() is None:
            return None
        return util.Finalize(None, self._end, exitpriority=_AMONG_THE_LAST)

    def _end(self) -> None:
        try:
            self._on_end(_LAST_S)
        except Exception as error:  # noqa: BLE001 - law 5, and it would be printed
            self._on_fault("background.end", error)
        self.started = False  # threads go on, and a spawned child comes to `atexit` yet: their calls count too

    def _make(self, windows: Windows) -> Any:
        from attune.telemetry.refresh import Refresher

        # Count under the name that this process's telemetry bears, so that a reader's rows of it are known as its own.
        windows.writer = instance_of(self._live.tracer_provider) or windows.writer
        if self._settings.state != "memory" and "attune.state.host" not in sys.modules:
            # Here, and opened by the thread: a fork amid that thread's import would leave the child half a module for good.
            with contextlib.suppress(ImportError):  # it is told where the store is opened
                importlib.import_module("attune.state.host")
        return Refresher(
            windows,
            self._readers(),
            None if self._settings.state == "memory" else self._open_store,
            clock=self._clock,
            refresh_s=self._settings.refresh_s,
            on_fault=self._fault,
            on_age=self._age,
            on_round=self._round,
        )

    def _readers(self) -> tuple[Any, ...]:
        from attune.telemetry.readers import from_text

        given = self._live.readers if self._live.readers is not None else self._settings.readers
        if given is None:
            files = self._settings.home / "telemetry"
            given = (f"file:{files}",) if files.is_dir() else ()
        return tuple(from_text(each, now=self._clock.time) if isinstance(each, str) else each for each in given)

    def _open_store(self) -> Any:
        from attune.state.host import HostStore

        return HostStore(self._settings.home, now=self._clock.time, on_fault=self._on_fault)

    def _fault(self, where: str, error: BaseException) -> None:
        self._on_fault(where, error)
        if where.startswith("reader:"):
            self._on_error(where.removeprefix("reader:"))

    def _age(self, reader: str, age_s: float) -> None:
        self._ages[reader] = (age_s, self._clock.monotonic())
        self._on_age(reader, age_s)

    def _round(self) -> None:
        """A reader that fails says nothing, and its news grows older all the same."""
        now = self._clock.monotonic()
        for reader, (age_s, at) in list(self._ages.items()):
            self._on_age(reader, age_s + now - at)
        self._on_round()
