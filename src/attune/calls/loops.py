"""Tells once that a retry loop around guarded calls multiplies their attempts.

Looked at only when a call has failed after several attempts: a request that fails again soon after the same request failed
so is being repeated by somebody outside. Which library does it, the stack may say. Nothing is kept of a request but a
number that the same one has again, and nothing is looked at once it was told.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from types import FrameType
from typing import Any, Final

log = logging.getLogger("attune")

SOON_S: Final = 60.0  # longer than retry loops usually wait, shorter than people do
_REMEMBERED: Final = 64

# Modules whose frames around a call say that it is being retried. Only names, so nothing is imported.
_RETRIERS: Final[Mapping[str, str]] = {
    "tenacity": "tenacity",
    "langchain_core.runnables.retry": "LangChain's with_retry",
    "litellm.router": "litellm's Router",
    "backoff": "backoff",
    "stamina": "stamina",
    "retrying": "retrying",
    "celery.app.autoretry": "celery's autoretry",
}


class Loops:
    """One runtime's suspicion. Thread-safe."""

    def __init__(self) -> None:
        self.told = False
        self._failed: OrderedDict[int, float] = (
            OrderedDict()
        )  # a request's mark -> when it had failed, monotonic seconds
        self._lock = threading.Lock()

    def failed(self, mark: int, *, attempts: int, began_s: float, now_s: float) -> None:
        """A request failed after several attempts, in a call that began at `began_s`."""
        with self._lock:
            before = self._failed.pop(mark, None)
            self._failed[mark] = now_s
            if len(self._failed) > _REMEMBERED:
                self._failed.popitem(last=False)
            if self.told or before is None or not 0.0 <= began_s - before <= SOON_S:
                return
            self.told = True
            self._failed.clear()
        log.warning(
            "attune: a request that had failed after %d attempts was made again and failed again: %s around guarded calls "
            "multiplies their attempts. Let one of the two retry: take the loop away, or attune.configure(max_attempts=1). "
            "This is told once.",
            attempts,
            _around(inspect.currentframe()) or "a retry loop",
        )


def mark_of(request: Any, place: tuple[Any, ...]) -> int | None:
    """A number that the same request has again, of one cell: by its latest message, or by a function's arguments.

    None where a function was handed an object: another one may be where it was by the next call.
    """
    body = getattr(request, "body", None)
    if body is None:
        function = getattr(request, "function", None)
        said = [*getattr(request, "args", ()), *getattr(request, "kwargs", {}).items()]
        return hash((place, getattr(function, "__qualname__", ""), repr(said))) if _is_plain(said, 6) else None
    turns = body.get("messages", body.get("input"))
    turns = turns if isinstance(turns, (list, tuple)) else [turns]
    return hash((place, body.get("model"), len(turns), repr(turns[-1:])))


def _is_plain(value: Any, depth: int) -> bool:
    """Whether it is made of texts, numbers and the like alone, so that its repr is what it is."""
    if value is None or isinstance(value, (str, bytes, int, float)):
        return True
    if isinstance(value, dict):
        return depth > 0 and all(isinstance(key, str) and _is_plain(it, depth - 1) for key, it in value.items())
    return isinstance(value, (list, tuple)) and depth > 0 and all(_is_plain(it, depth - 1) for it in value)


def _around(frame: FrameType | None) -> str | None:
    """The retrying library whose frames are on the stack: the outermost, which may use another. None where there is none."""
    found = None
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        for module, said in _RETRIERS.items():
            if name == module or name.startswith(f"{module}."):
                found = said
        frame = frame.f_back
    return found
