"""CircuitBreaker: the seed's face of the circuits, in its names, units and manners.

It owns what may be handed in: names, seconds, times of day, a clock. Without an argument it is a handle on the circuits that
the calls of this process use, looked up each time; with one, it has circuits of its own. What circuits do is `circuits.py`'s
rule, what exceptions mean `circuit_door.py`'s, when guarded code is over `circuit_guard.py`'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Any, Final, ParamSpec, TypeVar

from attune.errors import ConfigError
from attune.models.call import Transition
from attune.models.circuit import require_count, require_seconds
from attune.models.circuit_door import Door, TimedPermit
from attune.models.circuit_guard import Guard
from attune.models.circuits import Circuits, CircuitSettings, CircuitStatus, Permit, PermitOutcome
from attune.models.failures import Classify
from attune.models.process import Clock, current

__all__ = ["CircuitBreaker", "CircuitStatus", "TimedPermit"]

P = ParamSpec("P")
R = TypeVar("R")


class Unset(Enum):
    """Nothing was handed in, not even None."""

    UNSET = "unset"


UNSET: Final = Unset.UNSET
_MOST_SPELLINGS: Final = 1024


class CircuitBreaker:
    """Guards providers: after `failure_threshold` failures in a row a circuit opens, and one successful probe closes it.

    Without an argument: a handle on the circuits of this process, which every guarded call uses. With any: private circuits.
    `failure_threshold`: consecutive failures (1 or more, default 5). `recovery_timeout_seconds`: how long it stays open (over
    0, default 60). `half_open_calls`: probes at one time (1 or more, default 1). `probe_lease_seconds`: after which a probe
    that never reported loses its slot (over 0, default 120: more than any honest call). `clock`: monotonic() decides, time()
    is only shown; None: the process's. `classify`: an exception -> a FailureKind, or None for the table; for `guard` and
    `protect`. Raises ConfigError. Thread-safe, and safe in event loops.

    A key is a provider, or a provider and a scope: a model, a tier, any string. `tier=` and `scope=` are one argument.
    """

    def __init__(
        self,
        failure_threshold: int | Unset = UNSET,
        recovery_timeout_seconds: float | Unset = UNSET,
        half_open_calls: int | Unset = UNSET,
        probe_lease_seconds: float | Unset = UNSET,
        clock: Clock | Unset | None = UNSET,
        classify: Classify | Unset | None = UNSET,
    ) -> None:
        given = (failure_threshold, recovery_timeout_seconds, half_open_calls, probe_lease_seconds, clock, classify)
        hook = None if classify is UNSET else classify
        timer = None if clock is UNSET else clock
        if hook is not None and not callable(hook):
            raise ConfigError(f"classify={hook!r}: must be a function from an exception to a FailureKind or None.")
        if timer is not None and not all(callable(getattr(timer, name, None)) for name in ("monotonic", "time")):
            raise ConfigError(f"clock={timer!r}: must have monotonic() and time(), both in seconds.")
        settings = CircuitSettings(
            failure_threshold=_count("failure_threshold", failure_threshold, 5),
            recovery_timeout_s=_seconds("recovery_timeout_seconds", recovery_timeout_seconds, 60.0),
            half_open_calls=_count("half_open_calls", half_open_calls, 1),
            probe_lease_s=_seconds("probe_lease_seconds", probe_lease_seconds, 120.0),
        )
        private = any(value is not UNSET for value in given)
        self._door = Door(Circuits(settings) if private else None, timer, hook)
        self._keys: dict[tuple[str, str | None, str | None], tuple[str, str | None]] = {}

    # -- status and control ------------------------------------------------------------------------------------------

    def get_status(self) -> dict[str, CircuitStatus]:
        """Each key that was seen, by name: `provider` or `provider:scope`. Plain data, ready for JSON; times in UTC."""
        circuits, clock = self._settled_parts()
        return circuits.status(now=clock.monotonic())

    def reset(self, provider: str | None = None, tier: str | None = None, *, scope: str | None = None) -> None:
        """Close a provider's circuit and its narrower keys; with a tier or scope that key; without anything, all.

        Ends manual states, cooldowns and the slots of running probes. A provider nobody has met is no error.
        """
        if provider is None:
            if tier is not None or scope is not None:
                raise ConfigError("reset(tier=…) needs a provider. Name it, or reset everything with reset().")
            key: tuple[str | None, str | None] = (None, None)
        else:
            key = self._key(provider, scope, tier)
        circuits, clock = self._settled_parts()
        circuits.reset(*key, now=clock.monotonic())

    def force_open(self, provider: str) -> None:
        """Admit nothing, until `auto` or `reset`."""
        name = _provider(provider, "force_open")
        circuits, clock = self._settled_parts()
        circuits.force_open(name, now=clock.monotonic())

    def disable(self, provider: str) -> None:
        """Admit everything and count nothing, until `auto` or `reset`."""
        name = _provider(provider, "disable")
        circuits, clock = self._settled_parts()
        circuits.disable(name, now=clock.monotonic())

    def metrics_only(self, provider: str) -> None:
        """Admit everything, count, and tell listeners what would have happened, until `auto` or `reset`."""
        name = _provider(provider, "metrics_only")
        circuits, clock = self._settled_parts()
        circuits.metrics_only(name, now=clock.monotonic())

    def auto(self, provider: str) -> None:
        """End a manual state: closed, with a count of 0."""
        name = _provider(provider, "auto")
        circuits, clock = self._settled_parts()
        circuits.auto(name, now=clock.monotonic())

    def cool_down(
        self,
        provider: str,
        scope: str | None = None,
        *,
        until: float | datetime,
        reason: str = "",
        tier: str | None = None,
    ) -> None:
        """Skip a key until a time of day (epoch seconds, or an aware datetime) without counting it as sick.

        The later one wins; one that is over changes nothing. ConfigError for a naive datetime or a time without end.
        """
        key = self._key(provider, scope, tier)
        moment_s = _moment(until)
        circuits, clock = self._door.parts()
        now = clock.monotonic()
        circuits.cool_down(*key, until=now + (moment_s - clock.time()), now=now, reason=reason)

    def add_listener(self, listener: Callable[[Transition], None]) -> None:
        """Call `listener` with each Transition: in order, outside every lock, on the thread that caused it.

        What it raises is counted as a fault of attune's, and never passed on.
        """
        if not callable(listener):
            raise ConfigError(f"add_listener({listener!r}): must be a function of one Transition.")
        circuits, _ = self._door.parts()
        circuits.add_listener(listener, self._door.fault)

    # -- one call at a time ------------------------------------------------------------------------------------------

    def allows(self, provider: str, scope: str | None = None, *, tier: str | None = None) -> bool:
        """Whether a call may start now. A pure question: takes nothing, changes nothing."""
        key = self._key(provider, scope, tier)
        circuits, clock = self._door.parts()
        return circuits.allows(*key, now=clock.monotonic())

    def acquire(self, provider: str, scope: str | None = None, *, tier: str | None = None) -> TimedPermit:
        """Leave for one call: settle it exactly once. Raises CircuitOpenError where the circuit is open or cooling."""
        name, narrow = self._key(provider, scope, tier)
        door = self._door
        return TimedPermit(door.take(name, narrow), door.own_clock or door.clock())

    def is_available(self, provider: str, tier: str | None = None, *, scope: str | None = None) -> bool:
        """The first of two calls: whether a call may start now. If so, say how it went with one of the `record_` calls.

        Where the circuit is half-open this takes the probe's slot, for the length of the lease.
        """
        key = self._key(provider, scope, tier)
        circuits, clock = self._door.parts()
        now = clock.monotonic()
        answer = circuits.acquire(*key, now=now)
        if not isinstance(answer, Permit):
            return False
        circuits.held.keep(answer, now=now)
        return True

    def record_success(self, provider: str, tier: str | None = None, *, scope: str | None = None) -> None:
        """It went well: settles the oldest permit that this thread or task took for the key by `is_available`."""
        self._record(self._key(provider, scope, tier), "success")

    def record_failure(self, provider: str, tier: str | None = None, *, scope: str | None = None) -> None:
        """It failed: settles as `record_success` does. Without such a permit it counts only while the circuit is closed."""
        self._record(self._key(provider, scope, tier), "failure")

    def guard(
        self, provider: str, scope: str | None = None, *, classify: Classify | None = None, tier: str | None = None
    ) -> Guard:
        """`with` or `async with` around one call: CircuitOpenError at entry, or a permit that is settled at exit.

        Any exception counts as a failure but caller errors (TypeError, ValueError, LookupError, AssertionError …),
        cancellations, and answers that say nothing of the provider's health (400, 404, 413, 422; a 429 cools it down).
        """
        return Guard(self._door, *self._key(provider, scope, tier), classify)

    def protect(
        self, provider: str, scope: str | None = None, *, classify: Classify | None = None, tier: str | None = None
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """The decorator of the same kind: for functions, coroutines and generators, async ones too.

        A stream is settled at its end; one that its reader leaves early says nothing of the provider.
        """
        guard = Guard(self._door, *self._key(provider, scope, tier), classify)
        return guard.protect

    def _key(self, provider: str, scope: str | None, tier: str | None) -> tuple[str, str | None]:
        """What was handed in, as a key; each spelling is looked at once."""
        try:
            found = self._keys.get((provider, scope, tier))
        except TypeError:  # what cannot be hashed is no name either
            found = None
        if found is None:
            found = _key(provider, scope, tier)
            if len(self._keys) < _MOST_SPELLINGS:
                self._keys[provider, scope, tier] = found
        return found

    def _record(self, key: tuple[str, str | None], outcome: PermitOutcome) -> None:
        circuits, clock = self._door.parts()
        permit = circuits.held.take(*key)
        if permit is None:
            circuits.record(*key, outcome, now=clock.monotonic())
        else:
            permit.settle(outcome, now=clock.monotonic())

    def _settled_parts(self) -> tuple[Circuits, Clock]:
        """For questions and commands: what other processes of this machine have found belongs to the answer."""
        if self._door.shared:
            current().settle_in()
        return self._door.parts()


def _count(name: str, value: int | Unset, default: int) -> int:
    if isinstance(value, Unset):
        return default
    require_count(name, value)
    return value


def _seconds(name: str, value: float | Unset, default: float) -> float:
    if isinstance(value, Unset):
        return default
    require_seconds(name, value)
    return float(value)


def _text(what: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{what}={value!r}: must be a non-empty string.")
    return str.__str__(value)  # of a str enum, its value


def _provider(provider: Any, act: str) -> str:
    name = _text("provider", provider)
    if ":" in name:
        raise ConfigError(f"{act}({name!r}): manual states are a provider's. Name {name.partition(':')[0]!r}.")
    return name


def _key(provider: Any, scope: Any, tier: Any) -> tuple[str, str | None]:
    """A key from what was handed in; `"provider:scope"`, as the status spells it, is one too."""
    name = _text("provider", provider)
    if scope is not None and tier is not None and scope != tier:
        raise ConfigError(f"scope={scope!r} and tier={tier!r} are two words for one thing. Give one of them.")
    narrow = scope if scope is not None else tier
    if narrow is not None:
        return name, _text("scope" if scope is not None else "tier", narrow)
    head, colon, tail = name.partition(":")
    return (head, tail) if head.strip() and colon and tail.strip() else (name, None)


def _moment(until: Any) -> float:
    """Epoch seconds of a time of day."""
    if isinstance(until, datetime):
        if until.tzinfo is None or until.utcoffset() is None:
            raise ConfigError(f"until={until!r}: has no time zone. Use datetime.now(UTC) + …, or epoch seconds.")
        return until.timestamp()
    if isinstance(until, bool) or not isinstance(until, int | float) or not math.isfinite(until):
        raise ConfigError(f"until={until!r}: must be epoch seconds or an aware datetime.")
    return float(until)
