"""What `with` blocks set for the calls inside them: a ContextVar that holds a chain of immutable frames, innermost first.

A block takes back its own frame wherever it is left, and leaves the others alone. What the frames mean is `context.py`'s.
"""

from __future__ import annotations

from contextvars import ContextVar
from types import TracebackType
from typing import Any


class Frame:
    """What one `with` block set, on top of what was set around it. Never changed once made."""

    __slots__ = ("outer", "owner", "said", "value")

    def __init__(self, owner: Entered, said: Any, outer: Frame | None) -> None:
        self.owner = owner
        self.said = said
        self.outer = outer
        self.value = owner.over(said, outer)


class Entered:
    """A `with` block that sets a ContextVar and takes back what it set: that and nothing else, wherever it is left.

    It keeps nothing itself, so one object may be entered by many threads and tasks at once, and may be left in another
    context than it was entered in, as the block in an async generator is that another task closes.
    """

    __slots__ = ("_said", "_var")

    def __init__(self, var: ContextVar[Frame | None], said: Any) -> None:
        self._var = var
        self._said = said

    def __enter__(self) -> Any:
        frame = Frame(self, self._said, self._var.get())
        self._var.set(frame)
        return frame.value

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        top = frame = self._var.get()
        inside = []
        while frame is not None and frame.owner is not self:
            inside.append(frame)
            frame = frame.outer
        if frame is None or top is None:
            return  # this context never saw it
        rest = frame.outer
        for each in reversed(inside):  # blocks that are still in force, now without this one around them
            rest = Frame(each.owner, each.said, rest)
        self._var.set(rest)

    def over(self, said: Any, outer: Frame | None) -> Any:
        """What is in force with `said` inside `outer`."""
        del outer
        return said
