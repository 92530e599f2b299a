"""The real clock: every duration, circuit and window is measured on a Clock, and this one is the machine's.

The only place of the way of one call that waits.
"""

from __future__ import annotations

import time


class SystemClock:
    """Monotonic seconds for decisions, epoch seconds for show. Stateless."""

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def time(self) -> float:
        """Epoch seconds."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait on this thread."""
        time.sleep(seconds)

    async def asleep(self, seconds: float) -> None:
        """Wait in this task, on asyncio or trio."""
        import anyio

        await anyio.sleep(seconds)
