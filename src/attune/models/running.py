"""Who is running here: the asyncio or trio task, else the thread.

The identity of what runs is the one thing outside that the breaker asks for: the two-call protocol must find the permit
that the same thread or task took, and a call inside a guard must not be refused by the guard's own probe. Libraries that
nobody has imported are not imported here: without them there are no tasks.
"""

from __future__ import annotations

import sys
import threading


def running() -> object:
    """The current task, else the current thread: weakly referenceable, and one object for as long as it runs."""
    for module, path in (("asyncio", ()), ("trio", ("lowlevel",))):
        found: object = sys.modules.get(module)
        for name in (*path, "current_task"):
            found = getattr(found, name, None)
        if not callable(found):
            continue
        try:
            task = found()
        except RuntimeError:  # no loop runs on this thread
            continue
        if task is not None:
            return task  # type: ignore[no-any-return]
    return threading.current_thread()
