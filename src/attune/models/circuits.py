"""All circuits of one process: leave to attempt is asked for here, and outcomes come back here.

It owns what happens at once: one lock, held for the few circuits of one provider and never over a callback, and not taken
at all while all is well. Pure: `now` (monotonic seconds) is an argument. How a circuit moves is `circuit.py`'s rule, which
circuits an attempt meets `circuit_group.py`'s, how they are shown `circuit_status.py`'s.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from attune.models.call import CircuitState, Transition
from attune.models.circuit import CircuitSettings, Move
from attune.models.circuit_group import Group, Manual, Refusal, Rules
from attune.models.circuit_status import CircuitStatus, describe, list_endpoints
from attune.models.failures import FailureKind, Touches
from attune.models.held import HeldPermits
from attune.models.listeners import Listener, Listeners, OnFault
from attune.models.permit import Permit, PermitOutcome, Route, WaryPermit
from attune.models.running import Running

__all__ = ["CircuitSettings", "CircuitStatus", "Circuits", "Key", "Permit", "PermitOutcome", "Refusal"]

_AUTOMATIC: Final = ("failures", "failures_across_models", "recovery_timeout", "probe_failed", "probe_succeeded")
_MOST_KEYS: Final = 4096  # past it, keys that are well and were not used for longest are forgotten
Key = tuple[str, str | None, str]
A = TypeVar("A")


class Circuits:
    """The circuits of a process, or private ones. Thread-safe; one object serves threads and event loops alike.

    `wall_offset_s` is what makes epoch seconds of `now`. With `measure_only` everything is admitted, and what would have
    happened is still told, its reason behind "measured: ". `quiet`: nothing is open, half-open, cooling or set by hand, so
    everything is allowed. `version` changes whenever `allows` may answer differently for another reason than time passing.
    `held` keeps permits between the two calls of the two-call protocol.
    """

    def __init__(
        self,
        settings: CircuitSettings = CircuitSettings(),  # noqa: B008 - frozen
        *,
        wall_offset_s: float = 0.0,
        measure_only: bool = False,
    ) -> None:
        self.settings = settings
        self.wall_offset_s = wall_offset_s
        self.measure_only = measure_only
        self.quiet = True
        self.version = 0
        self._versions = itertools.count(1)
        self._rules = Rules(settings, measure_only, Running())
        self.held = HeldPermits(self._rules.running, settings.probe_lease_s)
        self._routes: dict[Key, Route] = {}
        self._groups: dict[str, Group] = {}
        self._listeners = Listeners()
        # Re-entrant, because a finalizer may run, and settle, in the middle of what holds it.
        self._lock = threading.RLock()

    # -- leave to attempt --------------------------------------------------------------------------------------------

    def acquire(self, provider: str, scope: str | None = None, *, endpoint: str = "", now: float) -> Permit | Refusal:
        """One permit for the provider's circuit and the narrow one together, or why not. Never raises for an open one."""
        route = self._routes.get((provider, scope, endpoint))
        if route is not None:
            own_era, target_era = route.own.era, route.target.era  # before `calm`: a racing trip then leaves them stale
            if route.group.calm:
                route.target.used = now
                return Permit(route, own_era, target_era)
        return self._admit(provider, scope, endpoint, now, forced=False)

    def force_probe(
        self, provider: str, scope: str | None = None, *, endpoint: str = "", now: float
    ) -> Permit | Refusal:
        """A leased probe on circuits that are still open, at most once in 5 s for each of them.

        Cooldowns, circuits forced open and taken slots refuse as ever; a failure leaves the end of the open time alone.
        """
        return self._admit(provider, scope, endpoint, now, forced=True)

    def due_soonest(self, keys: Iterable[Key], *, now: float) -> Key | None:
        """The key (provider, scope, endpoint) to force a probe on: the shortest wait; cooling ones after open ones."""

        def rank(key: Key) -> tuple[bool, bool, float]:
            refusal = self._refusal(*key, now)
            return (False, False, 0.0) if refusal is None else (refusal.forced, refusal.cooling, refusal.retry_after_s)

        return min(keys, key=rank, default=None)

    def _admit(self, provider: str, scope: str | None, endpoint: str, now: float, *, forced: bool) -> Permit | Refusal:
        def act(moves: list[Move]) -> Permit | Refusal:
            route = self._route(provider, scope, endpoint)
            group = route.group
            route.target.used = now
            if not group.calm:
                self._refresh(group, now)
            if (refusal := group.refusal(scope, endpoint, now, forced=forced)) is not None:
                return refusal
            state = group.state(scope, endpoint, now)
            claims = group.claims(scope, endpoint, now, moves, forced=forced)
            if claims:
                self.freed()
            return WaryPermit(route, route.own.era, route.target.era, claims, state)

        return self._locked(act)

    # -- pure questions ----------------------------------------------------------------------------------------------

    def allows(self, provider: str, scope: str | None = None, *, endpoint: str = "", now: float) -> bool:
        """Whether `acquire` would give leave now. Takes nothing, changes nothing."""
        return self.quiet or self._refusal(provider, scope, endpoint, now) is None

    def state(self, provider: str, scope: str | None = None, *, endpoint: str = "", now: float) -> CircuitState:
        """The worst state among the circuits that such an attempt meets. Time alone turns open into half-open."""
        group = self._groups.get(provider)
        return "closed" if group is None else group.state(scope, endpoint, now)

    def retry_after_s(self, provider: str, scope: str | None = None, *, endpoint: str = "", now: float) -> float:
        """Seconds until such an attempt may start; 0.0 if it may now, or if nobody knows."""
        refusal = self._refusal(provider, scope, endpoint, now)
        return 0.0 if refusal is None else refusal.retry_after_s

    def _refusal(self, provider: str, scope: str | None, endpoint: str, now: float) -> Refusal | None:
        group = self._groups.get(provider)
        return None if group is None or group.calm else group.refusal(scope, endpoint, now)

    def status(self, *, now: float, provider: str | None = None) -> dict[str, CircuitStatus]:
        """All keys that were seen, as `get_status()` tells them; of one provider only, where one is named."""
        with self._lock:
            groups = [group for name, group in self._groups.items() if provider in (None, name)]
            facts = [fact for group in groups for fact in group.facts(now)]
        told = describe(facts, now=now, wall_offset_s=self.wall_offset_s)
        list_endpoints(facts, told)
        return told

    # -- outcomes ----------------------------------------------------------------------------------------------------

    def record(
        self, provider: str, scope: str | None, outcome: PermitOutcome, *, endpoint: str = "", now: float,
        kind: FailureKind | None = None, touches: Touches = "model",
    ) -> None:  # fmt: skip
        """A result that has no permit: it counts only while the circuit is closed."""

        def act(moves: list[Move]) -> None:
            route = self._route(provider, scope, endpoint)
            route.target.used = now
            for circuit in dict.fromkeys((route.target, route.own)) if outcome != "neutral" else ():
                route.group.count(
                    circuit, scope, success=outcome == "success", probing=False, kind=kind, touches=touches, now=now,
                    moves=moves,
                )  # fmt: skip

        self._locked(act)

    def settle(
        self, permit: Permit, outcome: PermitOutcome, now: float, kind: FailureKind | None, touches: Touches
    ) -> None:
        """Count a permit's success or failure; for Permit, which settles the rest without a lock."""

        def act(moves: list[Move]) -> None:
            if permit.done:
                return
            permit.done, route, void = True, permit.route, -1
            begun = {route.target: (permit.target_era, False)}
            begun.setdefault(route.own, (permit.own_era, False))
            for claim in permit.claims:
                in_time = claim.probe.live and claim.probe.expires > now  # else its slot may be another's by now
                claim.circuit.release(claim.probe)
                begun[claim.circuit] = (claim.era if in_time else void, True)
            if permit.claims:
                self.freed()
            for circuit, (era, probing) in begun.items():
                if circuit.era == era:
                    route.group.count(
                        circuit, route.scope, success=outcome == "success", probing=probing, kind=kind, touches=touches,
                        now=now, moves=moves,
                    )  # fmt: skip

        self._locked(act)

    def cool_down(
        self, provider: str, scope: str | None = None, *, endpoint: str = "", until: float, now: float, reason: str = ""
    ) -> None:
        """Skip a key until a moment (monotonic) without counting it as sick. The later one wins; nothing is shortened."""

        def act(_: list[Move]) -> None:
            route = self._route(provider, scope, endpoint)
            (circuit := route.target).used = now
            if until > max(now, circuit.cooling):
                circuit.cooling, circuit.cooling_reason = until, reason
                route.group.restless.add(circuit)
                self._changed(route.group, now)

        self._locked(act)

    # -- by hand -----------------------------------------------------------------------------------------------------

    def reset(self, provider: str | None = None, scope: str | None = None, *, now: float) -> None:
        """As if new: one narrow key, a provider with its keys, or all; after a reset of all, the status is empty."""

        def act(moves: list[Move]) -> None:
            for group in tuple(self._groups.values()):
                if provider not in (None, group.provider):
                    continue
                group.manual = group.manual if scope is not None else None
                group.renew("reset", now, moves, scope=scope)
                for circuit in group.circuits.values() if provider is None else ():
                    circuit.used = None
                self._changed(group, now)

        self._locked(act)

    def force_open(self, provider: str, *, now: float) -> None:
        """Nothing of this provider is admitted until `auto` or `reset`."""
        self._set_by_hand(provider, "forced_open", now)

    def disable(self, provider: str, *, now: float) -> None:
        """Admit everything and count nothing, until `auto` or `reset`."""
        self._set_by_hand(provider, "disabled", now)

    def metrics_only(self, provider: str, *, now: float) -> None:
        """Admit everything, count as ever, and tell what would have happened, until `auto` or `reset`."""
        self._set_by_hand(provider, "metrics_only", now)

    def auto(self, provider: str, *, now: float) -> None:
        """Back to the rule: closed, count 0. Cooldowns stay, for they are the provider's word."""
        self._set_by_hand(provider, None, now)

    def _set_by_hand(self, provider: str, manual: Manual | None, now: float) -> None:
        def act(moves: list[Move]) -> None:
            route = self._route(provider, None, "")
            route.own.used = now
            route.group.manual = manual
            if manual == "forced_open":
                route.own.force_open(now, moves)
            else:
                route.group.renew(manual or "auto", now, moves, keep_cooling=True)
            self._changed(route.group, now)

        self._locked(act)

    # -- telling, and keeping ----------------------------------------------------------------------------------------

    def add_listener(self, listener: Listener, on_fault: OnFault | None = None) -> None:
        """Tell `listener` of each Transition: in order, outside every lock, on the thread that caused it."""
        self._listeners.add(listener, on_fault)

    def freed(self) -> None:
        """What `allows` answers may have changed. Lock-free: no number is given out twice."""
        self.version = next(self._versions)

    def _route(self, provider: str, scope: str | None, endpoint: str) -> Route:
        route = self._routes.get((provider, scope, endpoint))
        if route is None:
            if len(self._routes) >= _MOST_KEYS:
                self._forget()
            if (group := self._groups.get(provider)) is None:
                group = self._groups[provider] = Group(provider, self._rules)
            route = self._routes[provider, scope, endpoint] = Route(self, group, scope, endpoint)
        return route

    def _forget(self) -> None:
        well = [key for key, route in self._routes.items() if route.group.calm and key[1] and not route.target.failures]
        well.sort(key=lambda key: self._routes[key].target.used or 0.0)
        for key in well[: len(well) // 2 + 1]:
            route = self._routes.pop(key)
            route.group.circuits.pop((route.scope, route.endpoint), None)

    def _changed(self, group: Group, now: float) -> None:
        self._refresh(group, now)
        self.freed()

    def _refresh(self, group: Group, now: float) -> None:
        calm = group.settle_down(now)
        if calm != group.calm:
            group.calm = calm
            self.quiet = all(other.calm for other in self._groups.values())

    def _locked(self, act: Callable[[list[Move]], A]) -> A:
        moves: list[Move] = []
        with self._lock:
            answer = act(moves)
            for move in moves:
                group = self._groups[move.circuit.provider]
                group.restless.add(move.circuit)
                self._changed(group, move.now)
            told = [self._transition(move) for move in moves]
        if told:
            self._listeners.tell(told)
        return answer

    def _transition(self, move: Move) -> Transition:
        measured = move.reason in _AUTOMATIC and self._groups[move.circuit.provider].measuring
        return Transition(
            name=move.circuit.name, from_state=move.from_state, to_state=move.to_state,
            reason=f"measured: {move.reason}" if measured else move.reason, at=move.now + self.wall_offset_s,
        )  # fmt: skip
