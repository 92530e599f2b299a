"""Who is running here: the asyncio or trio task, else the thread.

The identity of what runs is the one thing outside that the breaker asks for: the two-call protocol must find the permit
that the same thread or task took, and a call inside a guard must not be refused by the guard's own probe. Libraries that
nobody has imported are not imported here: without them there are no tasks.
"""

from __future__ import annotations

import sys
import threading
from typing import Any


class _Thread:
    """Stands for one thread, and is gone with it: unlike a thread's number, it never comes back for another."""

    __slots__ = ("__weakref__",)


class Running:
    """Tells threads and tasks apart, by objects that live as long as they do and can be referred to weakly."""

    def __init__(self) -> None:
        self._threads = threading.local()

    def here(self) -> object:
        """The current task, else what stands for the current thread."""
        task = _asyncio_task() or _trio_task()
        if task is not None:
            return task
        try:
            return self._threads.token
        except AttributeError:
            token = self._threads.token = _Thread()
            return token


def _asyncio_task() -> object | None:
    asyncio: Any = sys.modules.get("asyncio")
    running_loop = getattr(asyncio, "_get_running_loop", None)  # in asyncio's __all__; says None instead of raising
    if running_loop is None or running_loop() is None:
        return None
    task: object | None = asyncio.current_task()
    return task


def _trio_task() -> object | None:
    lowlevel: Any = sys.modules.get("trio.lowlevel")
    inside = getattr(lowlevel, "in_trio_task", None)
    return lowlevel.current_task() if inside is not None and inside() else None
