"""What one runtime remembers of its calls besides evidence: refusals, sessions, failures that somebody repeats.

Each part has its own rule and its own bound. None of it leaves the process, and none of it is told.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from attune.calls.lessons import Lessons
from attune.calls.loops import Loops
from attune.calls.sessions import Sessions
from attune.models.question import Question

_NARROWED: Final = 256  # narrowed questions remembered; past that the memory starts anew


class Memory:
    """Made with its runtime. Thread-safe, as its parts are."""

    __slots__ = ("_narrowed", "lessons", "loops", "sessions")

    def __init__(self) -> None:
        self.lessons = Lessons()
        self.sessions = Sessions()
        self.loops = Loops()
        self._narrowed: dict[tuple[int, frozenset[int]], tuple[Question, Question]] = {}

    def narrowed(self, question: Question, out: Collection[int]) -> Question:
        """The same question without some of its targets; the same object each time, as the router remembers by it."""
        key = (id(question), frozenset(out))
        known = self._narrowed.get(key)
        if known is None or known[0] is not question:
            left = [i for i in range(len(question.targets)) if i not in out]
            default = left.index(question.default) if question.default in left else 0
            made = replace(question, targets=tuple(question.targets[i] for i in left), default=default)
            if len(self._narrowed) >= _NARROWED:
                self._narrowed.clear()
            known = self._narrowed[key] = (question, made)
        return known[1]
