"""What a person sees while the demo runs: a live table of models and a progress bar, on stderr.

Where stderr is no terminal, a line for each phase. It looks on; nothing that is measured depends on it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from attune.cli.demo.arms import Done
from attune.cli.demo.figures import p95

WINDOW: Final = 100  # calls that the table speaks of
_EVERY_S: Final = 0.2
_TOLD: Final[Mapping[str, str]] = {
    "learning": "learning: all is well",
    "outage": "outage: {model} answers 529",
    "calm": "calm: {model} is back",
    "slowness": "slowness: {model} is slower than the time limit",
    "recovery": "recovery: all is well again",
}


class Display:
    """Shows a course under way. `circuits` gives the states by name, as `CircuitBreaker.get_status()` does."""

    def __init__(self, console: Console, total: int, circuits: Callable[[], Mapping[str, Mapping[str, Any]]]) -> None:
        self._console = console
        self._circuits = circuits
        self._recent: deque[Done] = deque(maxlen=WINDOW)
        self._phase = "starting the scripted providers"
        self._seen = 0
        self._shown_at = 0.0
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
        )
        self._bar = self._progress.add_task(self._phase, total=total)
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def phase(self, name: str, model: str) -> None:
        """A phase begins."""
        self._phase = _TOLD.get(name, name).format(model=model)
        if self._live is None:
            self._console.print(f"attune demo: after {self._seen} calls, {self._phase}", markup=False, highlight=False)
        self._show(at_once=True)

    def done(self, call: Done) -> None:
        """One more call."""
        self._recent.append(call)
        self._seen += 1
        self._show()

    def _show(self, *, at_once: bool = False) -> None:
        if self._live is None or (time.monotonic() - self._shown_at < _EVERY_S and not at_once):
            return
        self._shown_at = time.monotonic()
        self._progress.update(self._bar, completed=self._seen, description=self._phase)
        self._live.update(Group(self._table(), self._progress), refresh=True)

    def _table(self) -> Table:
        title = f"With attune, the last {len(self._recent)} calls"
        table = Table(
            Column("model", no_wrap=True),
            "share",
            "success",
            "p95",
            "cost a call",
            "circuit",
            title=title,
            title_justify="left",
        )
        circuits = self._circuits()
        for provider, model in sorted({(it.provider, it.model) for it in self._recent}):
            its = [it for it in self._recent if (it.provider, it.model) == (provider, model)]
            state = circuits.get(f"{provider}:{model}", {}).get("state", "closed")
            table.add_row(
                f"{provider}/{model}",
                f"{len(its) / len(self._recent):.0%}",
                f"{sum(it.good for it in its) / len(its):.0%}",
                f"{p95([it.latency_ms for it in its]):.0f} ms",
                f"${sum(it.cost for it in its) / len(its):.6f}",
                state if state == "closed" else f"[bold red]{state}[/bold red]",
            )
        return table

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
