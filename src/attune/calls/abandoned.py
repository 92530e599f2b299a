"""Calls and streams that nobody holds any more: a finalizer takes a note here, and the note is settled later.

A finalizer may run inside any line that allocates, whatever lock is held there: it must not settle by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Protocol


class Left(Protocol):
    """What was left, waiting to be settled."""

    def closed(self) -> None:
        """Settle it."""
        ...


class Abandoned:
    """The notes of one runtime. `append` may be called from anywhere; `settle` by the next call, or by the background."""

    __slots__ = ("_notes", "_on_fault")

    def __init__(self, on_fault: Callable[[str, BaseException], None]) -> None:
        self._notes: deque[Left] = deque()
        self._on_fault = on_fault

    def __bool__(self) -> bool:
        """Whether there is anything to settle."""
        return bool(self._notes)

    def append(self, left: Left) -> None:
        """Take a note, and nothing else."""
        self._notes.append(left)

    def settle(self) -> None:
        """Settle what was left, each in a context of its own: it is nobody's last call here."""
        while self._notes:
            try:
                left = self._notes.popleft()
            except IndexError:  # another thread was quicker
                return
            try:
                Context().run(left.closed)
            except Exception as error:  # noqa: BLE001 - law 5
                self._on_fault("stream", error)

    def clear(self) -> None:
        """Forget them: in a forked child they are the parent's."""
        self._notes.clear()
