"""Leave to attempt, or why not: Permit and Refusal, and the circuits that one of them is about.

A permit counts once: the first outcome wins, later ones do nothing. It remembers the eras in which it was given, so that a
late result of an earlier era changes nothing. Handing back a permit that counts for nothing takes no lock, so that a
finalizer may do it at any moment. What an outcome does to a circuit is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Protocol

from attune.errors import ConfigError
from attune.models.call import CircuitState
from attune.models.circuit import Circuit, Probe
from attune.models.failures import FailureKind, Touches

PermitOutcome = Literal["success", "failure", "neutral"]
Manual = Literal["forced_open", "disabled", "metrics_only"]
OUTCOMES: Final = ("success", "failure", "neutral")


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


class Group:
    """All circuits of one provider's name. `calm`: nothing is open, half-open, cooling or set by hand."""

    __slots__ = ("calm", "circuits", "manual", "provider")

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.calm = True
        self.manual: Manual | None = None
        self.circuits: dict[tuple[str | None, str], Circuit] = {}

    def circuit(self, scope: str | None, endpoint: str) -> Circuit:
        """The circuit of a key at an endpoint, new if need be."""
        found = self.circuits.get((scope, endpoint))
        if found is None:
            found = self.circuits[scope, endpoint] = Circuit(self.provider, scope, endpoint)
        return found

    def concerning(self, scope: str | None, endpoint: str) -> list[Circuit]:
        """The circuits that one attempt meets, the widest first: at an endpoint its own below the name's, by name all."""
        if not endpoint:
            return [circuit for (key, _), circuit in tuple(self.circuits.items()) if key is None or key == scope]
        keys = dict.fromkeys(((None, ""), (None, endpoint), (scope, ""), (scope, endpoint)))
        return [circuit for key in keys if (circuit := self.circuits.get(key)) is not None]


class Route:
    """What one key's outcomes count on: the provider's circuit at this endpoint, and the narrow one (`target`), if any."""

    __slots__ = ("endpoint", "group", "own", "scope", "target")

    def __init__(self, group: Group, scope: str | None, endpoint: str) -> None:
        self.group = group
        self.scope = scope
        self.endpoint = endpoint
        self.own = group.circuit(None, endpoint)
        self.target = group.circuit(scope, endpoint)


class Claim(NamedTuple):
    """A probe's slot in one circuit. `lent`: it is the slot of a permit by name, held around this call."""

    circuit: Circuit
    probe: Probe
    era: int
    lent: bool


class Book(Protocol):
    """Where a permit's outcome is counted."""

    def settle(
        self, permit: Permit, outcome: PermitOutcome, now: float, kind: FailureKind | None, touches: Touches
    ) -> None:
        """Count a success or a failure."""
        ...

    def freed(self) -> None:
        """A slot is free again."""
        ...


class Permit:
    """Leave for one attempt, covering the provider's circuit and the narrow one. Settle it once, from any thread."""

    __slots__ = ("book", "claims", "done", "own_era", "route", "state", "target_era")

    def __init__(
        self, book: Book, route: Route, own_era: int, target_era: int, claims: tuple[Claim, ...] = (),
        state: CircuitState = "closed",
    ) -> None:  # fmt: skip
        self.book = book
        self.route = route
        self.own_era = own_era
        self.target_era = target_era
        self.claims = claims
        self.state: CircuitState = state  # the worst of the circuits concerned, when granted
        self.done = False

    @property
    def provider(self) -> str:
        """Whose circuits these are."""
        return self.route.group.provider

    @property
    def scope(self) -> str | None:
        """The narrow key, usually a model."""
        return self.route.scope

    @property
    def endpoint(self) -> str:
        """The endpoint; empty for a permit by name."""
        return self.route.endpoint

    @property
    def name(self) -> str:
        """`provider` or `provider:scope`."""
        return self.route.target.name

    @property
    def probe(self) -> bool:
        """Whether a circuit waits for this outcome to decide."""
        return bool(self.claims)

    def settle(
        self, outcome: PermitOutcome, *, now: float, kind: FailureKind | None = None, touches: Touches = "model"
    ) -> None:
        """Say how it went; the first word counts. Any thread, any time. ConfigError for another word than the three.

        A failure that `touches` the provider counts on its circuit and is neutral for the narrow one.
        """
        if self.done or self.settle_unseen(outcome):
            return
        if outcome not in OUTCOMES:
            raise ConfigError(f"settle({outcome!r}): an outcome is one of {', '.join(OUTCOMES)}.")
        self.book.settle(self, outcome, now, kind, touches)

    def settle_unseen(self, outcome: PermitOutcome) -> bool:
        """Settle where that changes no count: no lock, no clock. False if it must be counted."""
        if outcome == "success":
            route = self.route
            if self.claims or route.own.run or route.target.failures:
                return False
        elif outcome != "neutral":
            return False
        self.done, already = True, self.done
        if self.claims and not already:
            for claim in self.claims:
                if not claim.lent:
                    claim.probe.live = False
            self.book.freed()
        return True
