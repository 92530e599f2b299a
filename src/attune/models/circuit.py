"""One circuit: the state machine of one key, and the slots of the probes that are under way.

It owns three rules: when a run of failures trips, how long open lasts, and what a probe's outcome decides. Each change of
state opens a new era, so that what began in an earlier one can be told apart. It knows neither names of other circuits nor
manual states, holds no lock (`circuits.py` does) and reads no clock: `now` is always handed in, in monotonic seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from attune.errors import ConfigError
from attune.models.call import CircuitState
from attune.models.failures import FailureKind

ACROSS_MODELS: Final = 5  # the provider's circuit opens on so many failures in a row over at least two models
RANK: Mapping[CircuitState, int] = {"closed": 0, "half_open": 1, "open": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitSettings:
    """When circuits open and for how long.

    `failure_threshold`: consecutive counted failures (1 or more, default 5). `recovery_timeout_s`: seconds open (over 0,
    default 60). `half_open_calls`: probes at one time (1 or more, default 1). `probe_lease_s`: seconds after which a probe
    that never reported loses its slot (over 0, default 120). Both defaults of the seed agree with what Envoy, Finagle,
    gobreaker and resilience4j ship. Raises ConfigError.
    """

    failure_threshold: int = 5
    recovery_timeout_s: float = 60.0
    half_open_calls: int = 1
    probe_lease_s: float = 120.0

    def __post_init__(self) -> None:
        """Refuse what could never work."""
        require_count("failure_threshold", self.failure_threshold)
        require_seconds("recovery_timeout_s", self.recovery_timeout_s)
        require_count("half_open_calls", self.half_open_calls)
        require_seconds("probe_lease_s", self.probe_lease_s)


def require_count(name: str, value: Any) -> None:
    """ConfigError unless it is a whole number of 1 or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name}={value!r}: must be a whole number of 1 or more.")


def require_seconds(name: str, value: Any) -> None:
    """ConfigError unless it is a finite number of seconds over 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigError(f"{name}={value!r}: must be a finite number of seconds over 0.")


class Probe:
    """A slot that a probe holds: until it reports, or until `expires`. `holder`: a weak reference to who took it by name."""

    __slots__ = ("expires", "holder", "live")

    def __init__(self, expires: float, holder: Any = None) -> None:
        self.expires = expires
        self.holder = holder
        self.live = True


@dataclass(frozen=True, slots=True)
class Move:
    """One change of state that is still to be told."""

    circuit: Circuit
    from_state: CircuitState
    to_state: CircuitState
    reason: str
    now: float


class Circuit:
    """The state of one key at one endpoint. Not thread-safe: the owner's lock is held around every method that changes it.

    `failures` counts consecutive failures of this key. `run` names the models of the failures in a row over all models
    (provider circuits only, the last five); a success empties both. `until` ends the open state, `cooling` a cooldown.
    """

    __slots__ = (
        "cooling", "cooling_reason", "endpoint", "era", "failed", "failures", "kind", "name", "opened", "probes", "provider",
        "pushed", "run", "scope", "state", "until", "used",
    )  # fmt: skip

    def __init__(self, provider: str, scope: str | None, endpoint: str) -> None:
        self.provider = provider
        self.scope = scope
        self.endpoint = endpoint
        self.name = provider if scope is None else f"{provider}:{scope}"
        self.era = 0
        self.used: float | None = None
        self.pushed = -math.inf
        self.probes: list[Probe] = []
        self.state: CircuitState = "closed"
        self._blank()

    def _blank(self) -> None:
        self.failures = 0
        self.run: tuple[str | None, ...] = ()
        self.until = 0.0
        self.opened: float | None = None
        self.failed: float | None = None
        self.kind: FailureKind | None = None
        self.cooling = 0.0
        self.cooling_reason = ""

    # -- questions ---------------------------------------------------------------------------------------------------

    def shown(self, now: float) -> CircuitState:
        """The state as it is seen at `now`: time alone turns open into half-open."""
        return "half_open" if self.state == "open" and now >= self.until else self.state

    @property
    def forced(self) -> bool:
        """Whether only a person can end the open state."""
        return self.until == math.inf

    def wait_s(self, now: float) -> float:
        """Seconds until the open state and the cooldown are over; 0.0 where a person alone can end it."""
        open_s = self.until - now if self.state == "open" and not self.forced else 0.0
        return max(0.0, open_s, self.cooling - now)

    def free_slot(self, now: float, slots: int) -> bool:
        """Whether one more probe may run. Probes of earlier eras keep their slots until they end or expire."""
        return sum(probe.live and probe.expires > now for probe in self.probes) < slots

    # -- changes -----------------------------------------------------------------------------------------------------

    def move(self, state: CircuitState, reason: str, now: float, moves: list[Move]) -> None:
        """Enter a state, and with it a new era."""
        self.era += 1
        if state != self.state:
            moves.append(Move(self, self.state, state, reason, now))
            self.state = state

    def claim(self, probe: Probe, now: float, moves: list[Move]) -> None:
        """Give a probe its slot; the first one after the open time is what makes the circuit half-open."""
        if self.state == "open" and now >= self.until:
            self.move("half_open", "recovery_timeout", now, moves)
        elif self.state == "open":
            self.pushed = now
        self.probes = [other for other in self.probes if other.live and other.expires > now]
        self.probes.append(probe)

    def release(self, probe: Probe) -> None:
        """Take the slot back."""
        probe.live = False
        self.probes = [other for other in self.probes if other.live]

    def succeed(self, now: float, moves: list[Move], *, probing: bool) -> None:
        """A success counts while closed; outside, only a probe's does, and it closes."""
        if self.state == "closed" or probing:
            if self.state != "closed":
                self.move("closed", "probe_succeeded", now, moves)
            self.failures, self.run, self.until, self.opened = 0, (), 0.0, None

    def fail(
        self, now: float, moves: list[Move], settings: CircuitSettings, *, kind: FailureKind | None, probing: bool,
        own: bool = True, model: str | None = None,
    ) -> None:  # fmt: skip
        """A failure counts while closed; outside, only a probe's does. A failed probe re-opens.

        `own`: it is this key's failure. Else one model had it, and its provider's circuit hears of it: that counts only
        together with another model's, so that one sick model never shuts its siblings out. A half-open provider therefore
        re-opens on the failures of two models, or of five probes, and until then the next probe may be another model's.
        """
        if self.state != "closed" and not (probing and (own or self.state == "half_open")):
            return
        if self.scope is None:
            self.run = (*self.run, model)[-ACROSS_MODELS:]
        several = len(set(self.run) - {None}) > 1
        full = len(self.run) == ACROSS_MODELS
        reason = ""
        if self.state == "half_open":
            reason = "probe_failed" if own or several or full else ""
        elif self.state == "closed":
            across = "failures_across_models" if several and full else ""
            reason = "failures" if own and self.failures + 1 >= settings.failure_threshold else across
        if own or reason:
            self.failures += own or self.state == "half_open"
            if reason == "failures_across_models":
                self.failures = max(self.failures, ACROSS_MODELS)
            self.failed, self.kind = now, kind
        if reason:
            self.trip(reason, now, moves, settings)

    def trip(self, reason: str, now: float, moves: list[Move], settings: CircuitSettings) -> None:
        """Open for the recovery time, counted from now."""
        self.move("open", reason, now, moves)
        self.run, self.until, self.opened = (), now + settings.recovery_timeout_s, now

    def force_open(self, now: float, moves: list[Move]) -> None:
        """Open until a person says otherwise."""
        self.move("open", "forced_open", now, moves)
        self.probes, self.run, self.until, self.opened = [], (), math.inf, now

    def renew(self, reason: str, now: float, moves: list[Move], *, keep_cooling: bool = False) -> None:
        """Closed, count 0, no probe under way, as if new; what began before belongs to an earlier era."""
        cooling = (self.cooling, self.cooling_reason) if keep_cooling else (0.0, "")
        self.move("closed", reason, now, moves)
        for probe in self.probes:
            probe.live = False
        self.probes, self.pushed = [], -math.inf
        self._blank()
        self.cooling, self.cooling_reason = cooling
