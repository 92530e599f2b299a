"""What targets refused that others then answered: not asked of them again for a while.

A refusal is remembered for one target and one shape of request, an overlong request by its size, and a model that is not
there for every shape. It knows no circuit: what a model cannot do is no sickness. Bounded, and forgotten after an hour.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from attune.clients.asked import Shape
from attune.models.call import Target
from attune.models.decision import Elimination
from attune.models.failures import FailureKind

KEPT_S: Final = 3600.0
_PLACES: Final = 256  # targets remembered at once; the one that learnt last stays longest
_SHAPES: Final = 64  # shapes remembered of one target

Place = tuple[str, str, str, str | None]


class _Lesson:
    """What one target refused; times are monotonic seconds until which that holds."""

    __slots__ = ("absent", "shapes", "too_large", "until")

    def __init__(self) -> None:
        self.until = 0.0  # all of it
        self.absent = 0.0
        self.shapes: OrderedDict[frozenset[str], float] = OrderedDict()
        self.too_large: tuple[int, float] | None = None  # the smallest size refused


class Lessons:
    """One runtime's memory of refusals. Thread-safe; reading takes no lock. `learnt` is false while there are none."""

    def __init__(self) -> None:
        self.learnt: OrderedDict[Place, _Lesson] = OrderedDict()
        self._lock = threading.Lock()

    def concern(self, target: Target, now: float) -> bool:
        """Whether anything is remembered of a target, and so its requests' shapes are worth a look."""
        lesson = self.learnt.get(_place(target))
        return lesson is not None and lesson.until > now

    def learn(self, target: Target, kind: FailureKind, shape: Shape | None, now: float) -> None:
        """A target refused a request of this shape, and another one answered it."""
        until = now + KEPT_S
        with self._lock:
            lesson = self.learnt.setdefault(_place(target), _Lesson())
            lesson.until = until
            self.learnt.move_to_end(_place(target))
            if len(self.learnt) > _PLACES:
                self.learnt.popitem(last=False)
            if kind is FailureKind.NOT_FOUND:
                lesson.absent = until
            elif shape is not None and kind is FailureKind.TOO_LARGE:
                known = lesson.too_large
                held = known is not None and known[1] > now and known[0] < shape.size
                lesson.too_large = known if held else (shape.size, until)
            elif shape is not None:
                lesson.shapes[shape.names] = until
                lesson.shapes.move_to_end(shape.names)
                if len(lesson.shapes) > _SHAPES:
                    lesson.shapes.popitem(last=False)

    def against(self, target: Target, shape: Shape | None, now: float) -> Elimination | None:
        """What a target is known to be unfit for in such a request; None where nothing is known."""
        lesson = self.learnt.get(_place(target))
        if lesson is None:
            return None
        if lesson.absent > now:
            return "capability"
        if shape is None:
            return None
        large = lesson.too_large
        if large is not None and large[1] > now and shape.size >= large[0]:
            return "context_window"
        return "capability" if lesson.shapes.get(shape.names, 0.0) > now else None


def _place(target: Target) -> Place:
    return (target.provider, target.model, target.endpoint, target.account)
