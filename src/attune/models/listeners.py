"""Who is told of circuits' transitions, in which order, and what becomes of a listener that raises.

Each transition is told on the thread that caused it, outside every lock, to the listeners in the order in which they were
added. A transition that a listener itself causes is told after the one under way, so that all listeners see one order.
What a listener raises is counted through its `on_fault` and never passed on.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Sequence

from attune.models.call import Transition

Listener = Callable[[Transition], None]
OnFault = Callable[[str, BaseException], None]


class Listeners:
    """The listeners of one set of circuits. Thread-safe."""

    def __init__(self) -> None:
        self._told: tuple[tuple[Listener, OnFault | None], ...] = ()
        self._under_way: dict[int, deque[Transition]] = {}
        self._lock = threading.Lock()

    def add(self, listener: Listener, on_fault: OnFault | None) -> None:
        """One more, told after those that were added before."""
        with self._lock:
            self._told = (*self._told, (listener, on_fault))

    def tell(self, transitions: Sequence[Transition]) -> None:
        """Tell all listeners. Re-entered by one of them, it leaves the news to the loop that is under way below it."""
        if not self._told or not transitions:
            return
        thread = threading.get_ident()
        waiting = self._under_way.get(thread)
        if waiting is not None:
            waiting.extend(transitions)
            return
        waiting = self._under_way[thread] = deque(transitions)
        try:
            while waiting:
                self._tell_one(waiting.popleft())
        finally:
            del self._under_way[thread]

    def _tell_one(self, transition: Transition) -> None:
        for listener, on_fault in self._told:
            try:
                listener(transition)
            except Exception as error:  # noqa: BLE001 - a listener never changes what a circuit does to a call
                if on_fault is not None:
                    _report(on_fault, error)


def _report(on_fault: OnFault, error: BaseException) -> None:
    with contextlib.suppress(Exception):  # the counter of faults is the last resort: there is nobody left to tell
        on_fault("circuit listener", error)
