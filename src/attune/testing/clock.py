"""A clock that moves only when it is told to: durations become arithmetic, and a minute's cooldown takes no time.

Implements the Clock of `attune.models.process`. Threads and tasks do not wait for each other on it.
"""

from __future__ import annotations

import math
import threading

from attune.errors import ConfigError

EPOCH = 1_800_000_000.0  # 2027-01-15T08:00:00Z: a round number, and none that a test could meet by accident


class FakeClock:
    """Time in seconds, from `start` on. Thread-safe.

    `epoch` is what `time()` says when `monotonic()` is 0. Sleeping advances the clock and returns at once; `sleeps`
    holds what was slept, in order.
    """

    def __init__(self, start: float = 0.0, *, epoch: float = EPOCH) -> None:
        self._now = _duration("FakeClock(start=…)", start)
        self._epoch = epoch
        self._lock = threading.Lock()
        self._sleeps: list[float] = []

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._now

    def time(self) -> float:
        """Epoch seconds."""
        return self._epoch + self._now

    def advance(self, seconds: float) -> None:
        """Let this much time pass. Raises ConfigError unless it is finite and 0 or more."""
        seconds = _duration("FakeClock.advance", seconds)
        with self._lock:
            self._now += seconds

    def sleep(self, seconds: float) -> None:
        """Advance, and note it in `sleeps`."""
        seconds = _duration("FakeClock.sleep", seconds)
        with self._lock:
            self._now += seconds
            self._sleeps.append(seconds)

    async def asleep(self, seconds: float) -> None:
        """The same in a task; others get their turn, and cancellation is noticed. On asyncio and trio."""
        self.sleep(seconds)
        from anyio.lowlevel import checkpoint

        await checkpoint()

    @property
    def sleeps(self) -> tuple[float, ...]:
        """What was slept, in order."""
        with self._lock:
            return tuple(self._sleeps)


def _duration(what: str, seconds: float) -> float:
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ConfigError(f"{what}: {seconds!r} is no duration. Use finite seconds, 0 or more.")
    return float(seconds)
