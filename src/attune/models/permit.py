"""Leave to attempt: what it covers, and how it is handed back.

A permit counts once: the first outcome wins, later ones do nothing. It remembers the eras in which it was given, so that a
late result of an earlier era changes nothing. Handing back a permit that counts for nothing takes no lock, so that a
finalizer may do it at any moment. What an outcome does to a circuit is not decided here.
"""

from __future__ import annotations

from typing import Final, Literal, Protocol

from attune.errors import ConfigError
from attune.models.call import CircuitState
from attune.models.circuit_group import Claim, Group
from attune.models.failures import FailureKind, Touches

PermitOutcome = Literal["success", "failure", "neutral"]
OUTCOMES: Final = ("success", "failure", "neutral")


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


class Route:
    """What one key's outcomes count on: the provider's circuit at this endpoint, and the narrow one (`target`), if any."""

    __slots__ = ("book", "endpoint", "group", "own", "scope", "target")

    def __init__(self, book: Book, group: Group, scope: str | None, endpoint: str) -> None:
        self.book = book
        self.group = group
        self.scope = scope
        self.endpoint = endpoint
        self.own = group.circuit(None, endpoint)
        self.target = group.circuit(scope, endpoint)


class Permit:
    """Leave for one attempt, covering the provider's circuit and the narrow one. Settle it once, from any thread."""

    __slots__ = ("done", "own_era", "route", "target_era")

    claims: tuple[Claim, ...] = ()
    state: CircuitState = "closed"  # the worst of the circuits concerned, when granted

    def __init__(self, route: Route, own_era: int, target_era: int) -> None:
        self.route = route
        self.own_era = own_era
        self.target_era = target_era
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
        self.route.book.settle(self, outcome, now, kind, touches)

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
            self.route.book.freed()
        return True


class WaryPermit(Permit):
    """A permit that was given while not all was well: it may hold probes' slots."""

    __slots__ = ("claims", "state")

    def __init__(
        self, route: Route, own_era: int, target_era: int, claims: tuple[Claim, ...], state: CircuitState
    ) -> None:
        super().__init__(route, own_era, target_era)
        self.claims = claims
        self.state = state
