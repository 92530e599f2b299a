"""Who is running here: the asyncio or trio task, else the thread.

The identity of what runs is the one thing outside that the breaker asks for: the two-call protocol must find the permit
that the same thread or task took, and a call inside a guard must not be refused by the guard's own probe. Libraries that
nobody has imported are not imported here: without them there are no tasks.
"""

from __future__ import annotations

import sys
import threading
from typing import Any, Final

_LIBRARIES: Final = (("asyncio", "asyncio"), ("trio", "trio.lowlevel"))


class _Thread:
    """Stands for one thread, and is gone with it: unlike a thread's number, it never comes back for another."""

    __slots__ = ("__weakref__",)


class Running:
    """Tells threads and tasks apart, by objects that live as long as they do and can be referred to weakly."""

    def __init__(self) -> None:
        self._threads = threading.local()

    def here(self) -> object:
        """The current task, else what stands for the current thread."""
        for library, home in _LIBRARIES:
            current: Any = getattr(sys.modules.get(home), "current_task", None) if library in sys.modules else None
            if current is None:
                continue
            try:
                task = current()
            except RuntimeError:  # no loop of this library runs on this thread
                continue
            if task is not None:
                return task  # type: ignore[no-any-return]
        try:
            return self._threads.token  # type: ignore[no-any-return]
        except AttributeError:
            token = self._threads.token = _Thread()
            return token
