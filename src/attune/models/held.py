"""Permits between two calls: `is_available` took them, `record_success` or `record_failure` will settle them.

It owns who a permit belongs to: the thread or task that took it, oldest first for each key. What nobody comes back for is
forgotten: with its thread or task, after the lease, or when too many of a key wait. It decides nothing about circuits.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Final
from weakref import WeakKeyDictionary

from attune.models.permit import Permit
from attune.models.running import Running

_MOST: Final = 256  # of one key in one thread or task: more is somebody who only asks


class HeldPermits:
    """Thread-safe."""

    def __init__(self, running: Running, lease_s: float) -> None:
        self._running = running
        self._lease_s = lease_s
        self._lock = threading.Lock()
        self._of: WeakKeyDictionary[object, dict[tuple[str, str | None], deque[tuple[float, Permit]]]] = (
            WeakKeyDictionary()
        )

    def keep(self, permit: Permit, *, now: float) -> None:
        """Hold a permit for whoever runs here."""
        here = self._running.here()
        with self._lock:
            waiting = self._of.setdefault(here, {}).setdefault((permit.provider, permit.scope), deque(maxlen=_MOST))
            while waiting and now - waiting[0][0] > self._lease_s:
                waiting.popleft()
            waiting.append((now, permit))

    def take(self, provider: str, scope: str | None) -> Permit | None:
        """The oldest permit for this key that whoever runs here holds; None if there is none."""
        here = self._running.here()
        with self._lock:
            keys = self._of.get(here, {})
            waiting = keys.get((provider, scope))
            if not waiting:
                return None
            _, permit = waiting.popleft()
            if not waiting:
                del keys[provider, scope]
            return permit
