"""How long to wait before the same target is asked again, and how often that is allowed at all.

Two rules: the wait of one call (exponential with jitter, or what the provider asked for), and the budget that keeps a fleet
of calls from multiplying its own load in an outage. It knows neither errors nor clocks: dice and `now` are handed in, and
whether a failure may be retried is `failures.py`'s word.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from attune.errors import ConfigError

_DOUBLINGS: Final = 64  # enough for any cap, and far from what a float can hold


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often one target is asked in one call, and how long between. Immutable; raises ConfigError.

    `max_attempts`: attempts at one target, the first included (1 or more, default 3: the SDKs' `max_retries` of 2).
    `max_wait_s`: the longest wait for anything (0 or more, default 10): a longer `Retry-After` is not waited for.
    `budget`: repeated attempts per call over all calls of a process (0..1, default 0.2, as in Finagle and Envoy), on top of
    `floor_per_s` a second (0 or more, default 1), over `window_s` (over 0, default 10). `initial_s` and `cap_s`: the first
    wait and the longest of the doubling ones (0.5 and 8 s), each shortened by up to `jitter` (0..1, default 0.25): what the
    anthropic and openai SDKs do (read in anthropic 2.12 and openai 3.54).
    """

    max_attempts: int = 3
    max_wait_s: float = 10.0
    budget: float = 0.2
    initial_s: float = 0.5
    cap_s: float = 8.0
    jitter: float = 0.25
    floor_per_s: float = 1.0
    window_s: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what could never work."""
        attempts: Any = self.max_attempts
        if isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1:
            raise ConfigError(f"max_attempts={attempts!r}: must be a whole number of 1 or more.")
        for name, most in (("budget", 1.0), ("jitter", 1.0)):
            if not 0 <= self._number(name) <= most:
                raise ConfigError(f"{name}={getattr(self, name)!r}: must be between 0 and {most:g}.")
        for name in ("max_wait_s", "initial_s", "cap_s", "floor_per_s"):
            if not 0 <= self._number(name) < math.inf:
                raise ConfigError(f"{name}={getattr(self, name)!r}: must be a finite number of 0 or more.")
        if not 0 < self._number("window_s") < math.inf:
            raise ConfigError(f"window_s={self.window_s!r}: must be a finite number of seconds over 0.")

    def _number(self, name: str) -> float:
        value: Any = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"{name}={value!r}: must be a number.")
        return float(value)

    def wait_s(self, retries_so_far: int, retry_after_s: float | None, dice: Callable[[], float]) -> float:
        """Seconds to wait before the next attempt at the same target. `dice` gives numbers in [0, 1).

        What the provider asked for counts exactly, if it is at most `max_wait_s`; see `too_long` for the rest.
        """
        if retry_after_s is not None and 0 <= retry_after_s <= self.max_wait_s:
            return retry_after_s
        doubled = self.initial_s * 2.0 ** min(max(retries_so_far, 0), _DOUBLINGS)
        return min(doubled, self.cap_s, self.max_wait_s) * (1.0 - self.jitter * dice())

    def too_long(self, retry_after_s: float | None) -> bool:
        """Whether the provider asks for a longer wait than anybody here is ready for."""
        return retry_after_s is not None and not retry_after_s <= self.max_wait_s


class RetryBudget:
    """What all calls of a process may repeat: a share of their number, and a floor. Thread-safe; `now` in monotonic seconds.

    A bucket of tokens: each call puts `budget` in, each second `floor_per_s`, each repeated attempt takes one out, and
    `window_s` without calls empties what calls have put in. It starts with the floor's worth of one window.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._lock = threading.Lock()
        self._earned = 0.0  # by calls; decays over the window
        self._floor = self._most = policy.floor_per_s * policy.window_s
        self._at: float | None = None

    def call(self, *, now: float) -> None:
        """A call began: its share of a repeated attempt is earned."""
        with self._lock:
            self._pass_time(now)
            self._earned += self._policy.budget

    def take(self, *, now: float) -> bool:
        """Take what one repeated attempt costs. False, and nothing taken, where it is not there."""
        with self._lock:
            self._pass_time(now)
            if self._earned + self._floor < 1.0:
                return False
            from_earned = min(self._earned, 1.0)
            self._earned -= from_earned
            self._floor -= 1.0 - from_earned
            return True

    def left(self, *, now: float) -> float:
        """Repeated attempts that could start now."""
        with self._lock:
            self._pass_time(now)
            return self._earned + self._floor

    def _pass_time(self, now: float) -> None:
        since = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now if self._at is None else max(now, self._at)
        self._earned *= math.exp(-since / self._policy.window_s)
        self._floor = min(self._most, self._floor + since * self._policy.floor_per_s)
