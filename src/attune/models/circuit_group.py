"""All circuits of one provider's name: which of them an attempt meets, who is let through, and what is set by hand.

It owns three rules: an attempt meets the provider's circuit and the narrow one, at its endpoint and above it those of the
name; a probe takes a slot of each circuit that is half-open; a person's word stands above what was counted. Not
thread-safe: `circuits.py` holds the lock around what changes something.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from attune.models.call import CircuitState
from attune.models.circuit import RANK, Circuit, CircuitSettings, Move, Probe
from attune.models.circuit_status import Facts
from attune.models.failures import FailureKind, Touches
from attune.models.running import Running

PANIC_S: Final = 5.0  # where every circuit of a call is open: one forced probe a circuit in so many seconds
Manual = Literal["forced_open", "disabled", "metrics_only"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why no attempt may start: the circuit that stands in the way longest.

    `retry_after_s` is 0.0 where nobody knows: forced open, or half-open with its probes under way. `cooling`: nothing but
    cooldowns stands in the way, so waiting helps. `forced`: only a person can end it. `reason`: the cooldown's, if any.
    """

    name: str
    state: CircuitState
    retry_after_s: float
    cooling: bool
    forced: bool = False
    reason: str = ""


class Claim(NamedTuple):
    """A probe's slot in one circuit. `lent`: it is the slot of a permit by name that is held around this call."""

    circuit: Circuit
    probe: Probe
    era: int
    lent: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """What all groups of one set of circuits share."""

    settings: CircuitSettings
    measure_only: bool
    running: Running


class Group:
    """The circuits of one name. `calm`: nothing is open, half-open, cooling or set by hand, so everything is admitted."""

    __slots__ = ("calm", "circuits", "endpoints", "manual", "provider", "restless", "rules")

    def __init__(self, provider: str, rules: Rules) -> None:
        self.provider = provider
        self.rules = rules
        self.calm = True
        self.manual: Manual | None = None
        self.circuits: dict[tuple[str | None, str], Circuit] = {}
        self.endpoints: tuple[str, ...] = ("",)
        self.restless: set[Circuit] = set()  # those that may be open, half-open or cooling

    def circuit(self, scope: str | None, endpoint: str) -> Circuit:
        """The circuit of a key at an endpoint, new if need be."""
        found = self.circuits.get((scope, endpoint))
        if found is None:
            found = self.circuits[scope, endpoint] = Circuit(self.provider, scope, endpoint)
            if endpoint not in self.endpoints:
                self.endpoints = (*self.endpoints, endpoint)
        return found

    def concerning(self, scope: str | None, endpoint: str) -> list[Circuit]:
        """The circuits that one attempt meets: at an endpoint its own, below the name's; by name those of all endpoints."""
        places = ("", endpoint) if endpoint else self.endpoints
        keys = dict.fromkeys((key, place) for place in places for key in (None, scope))
        return [circuit for key in keys if (circuit := self.circuits.get(key)) is not None]

    @property
    def measuring(self) -> bool:
        """Whether everything is admitted, and what would have happened is told."""
        return self.rules.measure_only or self.manual == "metrics_only"

    def settle_down(self, now: float) -> bool:
        """Whether everything is admitted at `now`, and `acquire` need not look further."""
        self.restless = {circuit for circuit in self.restless if circuit.state != "closed" or circuit.cooling > now}
        return self.manual is None and not self.restless

    def state(self, scope: str | None, endpoint: str, now: float) -> CircuitState:
        """The worst state that an attempt meets."""
        if self.manual in ("disabled", "metrics_only"):
            return "closed"
        states = (circuit.shown(now) for circuit in self.concerning(scope, endpoint))
        return max(states, key=RANK.__getitem__, default="closed")

    # -- admission ---------------------------------------------------------------------------------------------------

    def refusal(self, scope: str | None, endpoint: str, now: float, *, forced: bool = False) -> Refusal | None:
        """Why an attempt may not start now; None if it may. `forced` asks for a probe on circuits that are open."""
        if self.measuring or self.manual == "disabled":
            return None
        above = self.concerning(scope, endpoint)
        refusing = [circuit for circuit in above if not self._admits(circuit, endpoint, now, forced=forced)]
        return _refuse(refusing, now) if refusing else None

    def _admits(self, circuit: Circuit, endpoint: str, now: float, *, forced: bool) -> bool:
        if circuit.cooling > now:
            return False
        shown = circuit.shown(now)
        free = shown == "closed" or circuit.free_slot(now, self.rules.settings.half_open_calls)
        if shown == "open":
            return forced and free and not circuit.forced and now - circuit.pushed >= PANIC_S
        return free or self._lent(circuit, endpoint, now) is not None

    def claims(
        self, scope: str | None, endpoint: str, now: float, moves: list[Move], *, forced: bool
    ) -> tuple[Claim, ...]:
        """Take a probe's slot in each circuit that waits for one. One that but measures does without where none is free."""
        if self.manual == "disabled":
            return ()
        waiting = ("half_open", "open") if forced else ("half_open",)
        found = (
            self._claim(circuit, endpoint, now, moves)
            for circuit in self.concerning(scope, endpoint)
            if circuit.shown(now) in waiting
        )
        return tuple(claim for claim in found if claim is not None)

    def _claim(self, circuit: Circuit, endpoint: str, now: float, moves: list[Move]) -> Claim | None:
        settings = self.rules.settings
        if circuit.free_slot(now, settings.half_open_calls):
            holder: Any = None if endpoint else weakref.ref(self.rules.running.here())
            probe = Probe(now + settings.probe_lease_s, holder)
            circuit.claim(probe, now, moves)
            return Claim(circuit, probe, circuit.era, lent=False)
        lent = self._lent(circuit, endpoint, now)
        return None if lent is None else Claim(circuit, lent, circuit.era, lent=True)

    def _lent(self, circuit: Circuit, endpoint: str, now: float) -> Probe | None:
        """The slot of a permit by name that the thread or task running here holds around this call to an endpoint.

        Without it, `guard` or `is_available` around a guarded client would be refused by its own probe, for ever.
        """
        if not endpoint:
            return None
        by_name = [probe for probe in circuit.probes if probe.live and probe.holder and probe.expires > now]
        here = self.rules.running.here() if by_name else None
        return next((probe for probe in by_name if probe.holder() is here), None)

    # -- outcomes, and by hand ---------------------------------------------------------------------------------------

    def count(
        self, circuit: Circuit, scope: str | None, *, success: bool, probing: bool, kind: FailureKind | None,
        touches: Touches, now: float, moves: list[Move],
    ) -> None:  # fmt: skip
        """Count an outcome of the key `scope` on one of the circuits it concerns."""
        if self.manual in ("forced_open", "disabled"):
            return
        concerns_provider = touches == "provider" or scope is None
        if success:
            circuit.succeed(now, moves, probing=probing)
        elif circuit.scope is None:
            own = concerns_provider
            circuit.fail(now, moves, self.rules.settings, kind=kind, probing=probing, own=own, model=scope)
        elif not concerns_provider:
            circuit.fail(now, moves, self.rules.settings, kind=kind, probing=probing)

    def renew(
        self, reason: str, now: float, moves: list[Move], *, scope: str | None = None, keep_cooling: bool = False
    ) -> None:
        """All circuits, or those of one narrow key, as if new."""
        for circuit in self.circuits.values():
            if scope in (None, circuit.scope):
                circuit.renew(reason, now, moves, keep_cooling=keep_cooling)

    # -- the view ----------------------------------------------------------------------------------------------------

    def facts(self, now: float) -> list[Facts]:
        """Each circuit as it is told."""
        return [self._facts(circuit, now) for circuit in self.circuits.values()]

    def _facts(self, circuit: Circuit, now: float) -> Facts:
        forced, free = self.manual == "forced_open", self.manual in ("disabled", "metrics_only")
        state: CircuitState = "open" if forced else "closed" if free else circuit.shown(now)
        cooling = circuit.cooling if circuit.cooling > now else None
        shuts = not free and not self.rules.measure_only
        opened = self.circuits[None, ""].opened if forced else None if free else circuit.opened
        return Facts(
            provider=circuit.provider, scope=circuit.scope, endpoint=circuit.endpoint, used=circuit.used, state=state,
            is_open=shuts and (state == "open" or cooling is not None), failures=circuit.failures, failed=circuit.failed,
            kind=circuit.kind, opened=opened, cooling=cooling,
            wait_s=circuit.wait_s(now) if shuts and not forced else 0.0,
        )  # fmt: skip


def _refuse(refusing: list[Circuit], now: float) -> Refusal:
    worst = max(refusing, key=lambda circuit: (circuit.forced, circuit.wait_s(now)))
    return Refusal(
        name=worst.name, state=worst.shown(now), retry_after_s=0.0 if worst.forced else worst.wait_s(now),
        cooling=all(circuit.cooling > now and circuit.shown(now) != "open" for circuit in refusing),
        forced=worst.forced, reason=worst.cooling_reason if worst.cooling > now else "",
    )  # fmt: skip
