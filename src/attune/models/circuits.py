"""All circuits of one process: leave to attempt is asked for here, and outcomes come back here.

It owns which circuits one attempt concerns: the provider's and the narrow one, at its endpoint, below those of the name.
Pure: `now` (monotonic seconds) is an argument; the identity of the running thread or task is the one thing it looks up.
One lock, held for the few circuits of one provider and never over a callback; while all is well it is not taken at all.
It knows no error and no clock; how a circuit moves is `circuit.py`'s, how it is shown `circuit_status.py`'s.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from attune.models.call import CircuitState, Transition
from attune.models.circuit import RANK, Circuit, CircuitSettings, Move, Probe
from attune.models.circuit_status import CircuitStatus, Facts, describe, list_endpoints
from attune.models.failures import FailureKind, Touches
from attune.models.listeners import Listener, Listeners, OnFault
from attune.models.permit import Claim, Group, Manual, Permit, PermitOutcome, Refusal, Route
from attune.models.running import running

__all__ = ["CircuitSettings", "CircuitStatus", "Circuits", "Key", "Permit", "PermitOutcome", "Refusal"]

PANIC_S: Final = 5.0  # where every circuit of a call is open: one forced probe a key in so many seconds
_AUTOMATIC: Final = ("failures", "failures_across_models", "recovery_timeout", "probe_failed", "probe_succeeded")
Key = tuple[str, str | None, str]
A = TypeVar("A")


class Circuits:
    """The circuits of a process, or private ones. Thread-safe; one object serves threads and event loops alike.

    `wall_offset_s` is what makes epoch seconds of `now`. With `measure_only` everything is admitted, and what would have
    happened is still told, its reason behind "measured: ". `quiet`: nothing is open, half-open, cooling or set by hand, so
    everything is allowed. `version` changes whenever `allows` may answer differently for another reason than time passing.
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
                return Permit(self, route, own_era, target_era)
        return self._locked(lambda moves: self._admit(self._route(provider, scope, endpoint), now, moves))

    def force_probe(
        self, provider: str, scope: str | None = None, *, endpoint: str = "", now: float
    ) -> Permit | Refusal:
        """A leased probe on circuits that are still open, at most once in 5 s for each of them.

        For a call all of whose circuits are open. Cooldowns, circuits forced open and taken slots refuse as ever; a success
        closes, a failure leaves the end of the open time where it was.
        """
        route = self._route(provider, scope, endpoint)
        return self._locked(lambda moves: self._admit(route, now, moves, forced=True))

    def due_soonest(self, keys: Iterable[Key], *, now: float) -> Key | None:
        """The key (provider, scope, endpoint) to force a probe on: shortest wait; cooling ones after open ones."""

        def rank(key: Key) -> tuple[bool, bool, float]:
            refusal = self._refusal(*key, now)
            return (False, False, 0.0) if refusal is None else (refusal.forced, refusal.cooling, refusal.retry_after_s)

        return min(keys, key=rank, default=None)

    def _admit(self, route: Route, now: float, moves: list[Move], *, forced: bool = False) -> Permit | Refusal:
        group = route.group
        route.target.used = now
        self._refresh(group, now)
        above = [] if group.manual == "disabled" else group.concerning(route.scope, route.endpoint)
        if not self._measuring(group):
            refusing = [c for c in above if not self._admits(c, route.endpoint, now, forced=forced)]
            if refusing:
                return _refuse(refusing, now)
        state: CircuitState = "closed"
        claims = []
        for circuit in above:
            shown = circuit.shown(now)
            state = max(state, shown, key=RANK.__getitem__)
            if shown == "half_open" or (forced and shown == "open"):
                claim = self._claim(circuit, route.endpoint, now, moves)
                claims += [claim] if claim is not None else []  # without a slot only where it is but measured
        return Permit(self, route, route.own.era, route.target.era, tuple(claims), state)

    def _admits(self, circuit: Circuit, endpoint: str, now: float, *, forced: bool = False) -> bool:
        if circuit.cooling > now:
            return False
        shown = circuit.shown(now)
        free = shown == "closed" or circuit.free_slot(now, self.settings.half_open_calls)
        if shown == "open":
            return forced and free and not circuit.forced and now - circuit.pushed >= PANIC_S
        return free or _lent(circuit, endpoint) is not None

    def _claim(self, circuit: Circuit, endpoint: str, now: float, moves: list[Move]) -> Claim | None:
        if circuit.free_slot(now, self.settings.half_open_calls):
            holder = None if endpoint else weakref.ref(running())
            probe = Probe(now + self.settings.probe_lease_s, by_name=not endpoint, holder=holder)
            circuit.claim(probe, now, moves)
            self.freed()
            return Claim(circuit, probe, circuit.era, lent=False)
        lent = _lent(circuit, endpoint)
        return None if lent is None else Claim(circuit, lent, circuit.era, lent=True)

    # -- pure questions ----------------------------------------------------------------------------------------------

    def allows(self, provider: str, scope: str | None = None, *, endpoint: str = "", now: float) -> bool:
        """Whether `acquire` would give leave now. Takes nothing, changes nothing."""
        return self.quiet or self._refusal(provider, scope, endpoint, now) is None

    def state(self, provider: str, scope: str | None = None, *, endpoint: str = "", now: float) -> CircuitState:
        """The worst state among the circuits that such an attempt meets. Time alone turns open into half-open."""
        group = self._groups.get(provider)
        if group is None or group.manual in ("disabled", "metrics_only"):
            return "closed"
        states = (circuit.shown(now) for circuit in group.concerning(scope, endpoint))
        return max(states, key=RANK.__getitem__, default="closed")

    def retry_after_s(self, provider: str, scope: str | None = None, *, endpoint: str = "", now: float) -> float:
        """Seconds until such an attempt may start; 0.0 if it may now, or if nobody knows."""
        refusal = self._refusal(provider, scope, endpoint, now)
        return 0.0 if refusal is None else refusal.retry_after_s

    def _refusal(self, provider: str, scope: str | None, endpoint: str, now: float) -> Refusal | None:
        group = self._groups.get(provider)
        if group is None or group.calm or group.manual == "disabled" or self._measuring(group):
            return None
        above = group.concerning(scope, endpoint)
        refusing = [circuit for circuit in above if not self._admits(circuit, endpoint, now)]
        return _refuse(refusing, now) if refusing else None

    def status(self, *, now: float, provider: str | None = None) -> dict[str, CircuitStatus]:
        """All keys that were seen, as `get_status()` tells them; of one provider only, where one is named."""
        with self._lock:
            groups = [group for name, group in self._groups.items() if provider in (None, name)]
            facts = [self._facts(group, circuit, now) for group in groups for circuit in group.circuits.values()]
        told = describe(facts, now=now, wall_offset_s=self.wall_offset_s)
        list_endpoints(facts, told)
        return told

    def _facts(self, group: Group, circuit: Circuit, now: float) -> Facts:
        forced, free = group.manual == "forced_open", group.manual in ("disabled", "metrics_only")
        state: CircuitState = "open" if forced else "closed" if free else circuit.shown(now)
        cooling = circuit.cooling if circuit.cooling > now else None
        shut = not free and not self.measure_only
        return Facts(
            provider=circuit.provider, scope=circuit.scope, endpoint=circuit.endpoint, used=circuit.used, state=state,
            is_open=shut and (state == "open" or cooling is not None), failures=circuit.failures, failed=circuit.failed,
            kind=circuit.kind, opened=None if free else circuit.opened, cooling=cooling,
            wait_s=circuit.wait_s(now) if shut and not forced else 0.0,
        )  # fmt: skip

    # -- outcomes ----------------------------------------------------------------------------------------------------

    def record(
        self, provider: str, scope: str | None, outcome: PermitOutcome, *, endpoint: str = "", now: float,
        kind: FailureKind | None = None, touches: Touches = "model",
    ) -> None:  # fmt: skip
        """A result that has no permit: it counts only while the circuit is closed."""

        def act(moves: list[Move]) -> None:
            route = self._route(provider, scope, endpoint)
            route.target.used = now
            for circuit in _home(route) if outcome != "neutral" else ():
                self._count(route, circuit, outcome, now, moves, kind=kind, touches=touches, probing=False)

        self._locked(act)

    def settle(
        self, permit: Permit, outcome: PermitOutcome, now: float, kind: FailureKind | None, touches: Touches
    ) -> None:
        """Count a permit's success or failure; for Permit, which says what is settled without."""

        def act(moves: list[Move]) -> None:
            if permit.done:
                return
            permit.done = True
            route, voided = permit.route, -1
            begun = {route.own: (permit.own_era, False), route.target: (permit.target_era, False)}
            for claim in permit.claims:
                in_time = claim.probe.live and claim.probe.expires > now  # else its slot may be another's by now
                claim.circuit.release(claim.probe)
                begun[claim.circuit] = (claim.era if in_time else voided, True)
            if permit.claims:
                self.freed()
            for circuit, (era, probing) in begun.items():
                if circuit.era == era:
                    self._count(route, circuit, outcome, now, moves, kind=kind, touches=touches, probing=probing)

        self._locked(act)

    def _count(
        self, route: Route, circuit: Circuit, outcome: PermitOutcome, now: float, moves: list[Move], *,
        kind: FailureKind | None, touches: Touches, probing: bool,
    ) -> None:  # fmt: skip
        if route.group.manual in ("forced_open", "disabled"):
            return
        concerns_provider = touches == "provider" or route.scope is None
        if outcome == "success":
            circuit.succeed(now, moves, probing=probing)
        elif circuit.scope is None:
            circuit.fail(
                now, moves, self.settings, kind=kind, probing=probing, own=concerns_provider, model=route.scope
            )
        elif not concerns_provider:
            circuit.fail(now, moves, self.settings, kind=kind, probing=probing)

    def cool_down(
        self, provider: str, scope: str | None = None, *, endpoint: str = "", until: float, now: float, reason: str = ""
    ) -> None:
        """Skip a key until a moment (monotonic) without counting it as sick. The later one wins; nothing is shortened."""

        def act(_: list[Move]) -> None:
            route = self._route(provider, scope, endpoint)
            circuit = route.target
            circuit.used = now
            if until > max(now, circuit.cooling):
                circuit.cooling, circuit.cooling_reason = until, reason
                self._refresh(route.group, now)
                self.freed()

        self._locked(act)

    # -- by hand -----------------------------------------------------------------------------------------------------

    def reset(self, provider: str | None = None, scope: str | None = None, *, now: float) -> None:
        """Closed, count 0, no cooldown, nothing set by hand: one narrow key, a provider with its keys, or all.

        After a reset of all, the status is empty.
        """

        def act(moves: list[Move]) -> None:
            for group in tuple(self._groups.values()):
                if provider in (None, group.provider):
                    if scope is None:
                        group.manual = None
                    self._renew(group, "reset", now, moves, scope=scope, forget=provider is None)

        self._locked(act)

    def force_open(self, provider: str, *, now: float) -> None:
        """Nothing of this provider is admitted until `auto` or `reset`."""

        def act(moves: list[Move]) -> None:
            route = self._route(provider, None, "")
            route.own.used = now
            route.own.force_open(now, moves)
            route.group.manual = "forced_open"
            self._refresh(route.group, now)
            self.freed()

        self._locked(act)

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
            self._renew(route.group, manual or "auto", now, moves, keep_cooling=True)

        self._locked(act)

    def _renew(
        self, group: Group, reason: str, now: float, moves: list[Move], *, scope: str | None = None,
        keep_cooling: bool = False, forget: bool = False,
    ) -> None:  # fmt: skip
        for circuit in group.circuits.values():
            if scope in (None, circuit.scope):
                circuit.renew(reason, now, moves, keep_cooling=keep_cooling)
                circuit.used = None if forget else circuit.used
        self._refresh(group, now)
        self.freed()

    # -- telling, and keeping ----------------------------------------------------------------------------------------

    def add_listener(self, listener: Listener, on_fault: OnFault | None = None) -> None:
        """Tell `listener` of each Transition: in order, outside every lock, on the thread that caused it."""
        self._listeners.add(listener, on_fault)

    def freed(self) -> None:
        """What `allows` answers may have changed. Lock-free: numbers are never given out twice."""
        self.version = next(self._versions)

    def _measuring(self, group: Group) -> bool:
        return self.measure_only or group.manual == "metrics_only"

    def _route(self, provider: str, scope: str | None, endpoint: str) -> Route:
        route = self._routes.get((provider, scope, endpoint))
        if route is None:
            with self._lock:
                group = self._groups.setdefault(provider, Group(provider))
                route = self._routes.setdefault((provider, scope, endpoint), Route(group, scope, endpoint))
        return route

    def _refresh(self, group: Group, now: float) -> None:
        calm = group.manual is None and all(c.state == "closed" and c.cooling <= now for c in group.circuits.values())
        if calm != group.calm:
            group.calm = calm
            self.quiet = all(other.calm for other in self._groups.values())

    def _locked(self, act: Callable[[list[Move]], A]) -> A:
        moves: list[Move] = []
        with self._lock:
            answer = act(moves)
            for move in moves:
                self._refresh(self._groups[move.circuit.provider], move.now)
                self.freed()
        if moves:
            self._listeners.tell([self._transition(move) for move in moves])
        return answer

    def _transition(self, move: Move) -> Transition:
        measured = move.reason in _AUTOMATIC and self._measuring(self._groups[move.circuit.provider])
        return Transition(
            name=move.circuit.name, from_state=move.from_state, to_state=move.to_state,
            reason=f"measured: {move.reason}" if measured else move.reason, at=move.now + self.wall_offset_s,
        )  # fmt: skip


def _home(route: Route) -> tuple[Circuit, ...]:
    """The circuits on which a key's outcomes count, each once."""
    return (route.own,) if route.target is route.own else (route.target, route.own)


def _lent(circuit: Circuit, endpoint: str) -> Probe | None:
    """The slot of a permit by name that the thread or task running here holds around this call to an endpoint.

    Without it, `guard` or `is_available` around a guarded client would be refused by its own probe, for ever.
    """
    by_name = [probe for probe in circuit.probes if probe.live and probe.by_name] if endpoint else []
    here = running() if by_name else None
    return next((probe for probe in by_name if probe.holder is not None and probe.holder() is here), None)


def _refuse(refusing: list[Circuit], now: float) -> Refusal:
    worst = max(refusing, key=lambda circuit: (circuit.forced, circuit.wait_s(now)))
    return Refusal(
        name=worst.name, state=worst.shown(now), retry_after_s=0.0 if worst.forced else worst.wait_s(now),
        cooling=all(circuit.cooling > now and circuit.shown(now) != "open" for circuit in refusing),
        forced=worst.forced, reason=worst.cooling_reason if worst.cooling > now else "",
    )  # fmt: skip
