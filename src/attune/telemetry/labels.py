"""The attributes of metrics: built once for each series and outcome, and bounded.

Past `max_series` series, workflow and stage become `_other`, and so does a target that no series within the bound had;
an error type outside attune's own words becomes `other`. So the number of attribute sets has an end, whatever a caller
names. Knows no instrument. Safe from every thread: a race builds the same attributes twice, no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attune.models.failures import FailureKind
from attune.models.performance import Series
from attune.telemetry import names as n

Attributes = Mapping[str, str | bool | int | float]
_KINDS: Final = frozenset(str(kind) for kind in FailureKind)


class Bound:
    """Lets the first `limit` series through, and replaces later ones."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._series: set[Series] = set()
        self._targets: set[tuple[str, str]] = set()
        self._cells: set[tuple[str, str]] = set()
        self._circuits: set[str] = set()

    def series(self, series: Series) -> Series:
        """The series to tell of: itself, or its stand-in."""
        if series in self._series:
            return series
        target = (series.provider, series.model)
        if len(self._series) < self._limit:
            self._targets.add(target)
            self._series.add(series)
            return series
        return Series(n.OTHER, n.OTHER, *self.target(*target))

    def target(self, provider: str, model: str) -> tuple[str, str]:
        """The target to tell of, where no cell is told."""
        if (provider, model) in self._targets:
            return provider, model
        if len(self._targets) < self._limit:
            self._targets.add((provider, model))
            return provider, model
        return n.OTHER, n.OTHER

    def cell(self, workflow: str, stage: str) -> tuple[str, str]:
        """The cell to tell of, where no target is told."""
        if (workflow, stage) in self._cells:
            return workflow, stage
        if len(self._cells) < self._limit:
            self._cells.add((workflow, stage))
            return workflow, stage
        return n.OTHER, n.OTHER

    def circuit(self, name: str) -> str:
        """The circuit to tell of."""
        if name not in self._circuits and len(self._circuits) >= self._limit:
            return n.OTHER
        self._circuits.add(name)
        return name


class Labels:
    """Attribute sets by what they say; each is built once and never changed after."""

    def __init__(self, max_series: int) -> None:
        self._bound = Bound(max_series)
        self._built: dict[tuple[object, ...], Attributes] = {}

    def series(self, series: Series) -> Attributes:
        """Workflow, stage, provider and model."""
        key = ("series", series)
        return self._built.get(key) or self._keep(key, self._of(series))

    def timed(self, series: Series, outcome: str) -> Attributes:
        """A series and an attempt's outcome."""
        key = ("timed", series, outcome)
        return self._built.get(key) or self._keep(key, self._of(series) | {n.OUTCOME: outcome})

    def attempt(self, series: Series, outcome: str, kind: str, error: str | None) -> Attributes:
        """A series and all that is counted of an attempt."""
        key = ("attempt", series, outcome, kind, error)
        built = self._built.get(key)
        if built is None:
            more: dict[str, str | bool] = {n.OUTCOME: outcome, n.ATTEMPT_KIND: kind}
            built = self._keep(key, self._of(series) | more | _error(error))
        return built

    def decision(self, series: Series, reason: str, explored: bool, satisfied: bool, mode: str) -> Attributes:
        """A series and why it was chosen."""
        key = ("decision", series, reason, explored, satisfied, mode)
        built = self._built.get(key)
        if built is None:
            more: dict[str, str | bool] = {n.ROUTE_REASON: reason, n.MODE: mode}
            more |= {n.ROUTE_EXPLORED: explored, n.ROUTE_SATISFIED: satisfied}
            built = self._keep(key, self._of(series) | more)
        return built

    def cell(self, workflow: str, stage: str, outcome: str | None = None) -> Attributes:
        """Workflow and stage, and a call's outcome where there is one."""
        key = ("cell", workflow, stage, outcome)
        built = self._built.get(key)
        if built is None:
            workflow, stage = self._bound.cell(workflow, stage)
            built = {n.WORKFLOW: workflow, n.STAGE: stage}
            built = self._keep(key, built if outcome is None else built | {n.OUTCOME: outcome})
        return built

    def inference(
        self, provider: str, model: str, error: str | None, more: tuple[str, str] | None = None
    ) -> Attributes:
        """What the conventions' client metrics carry, and one name and value more."""
        key = ("inference", provider, model, error, more)
        built = self._built.get(key)
        if built is None:
            provider, model = self._bound.target(provider, model)
            base = {
                n.GEN_AI_OPERATION: n.OPERATION,
                n.GEN_AI_PROVIDER: n.wire_provider(provider),
                n.GEN_AI_MODEL: model,
            }
            built = self._keep(key, base | _error(error) | (dict([more]) if more else {}))
        return built

    def circuit(self, name: str) -> Attributes:
        """A circuit, its provider, and its scope where it has one."""
        key = ("circuit", name)
        built = self._built.get(key)
        if built is None:
            provider, _, scope = name.partition(":")
            known = {n.CIRCUIT_NAME: name, n.GEN_AI_PROVIDER: n.wire_provider(provider)}
            built = self._keep(key, known | ({n.GEN_AI_MODEL: scope} if scope else {}))
        return built

    def transition(self, name: str, before: str, after: str) -> Attributes:
        """A circuit's change of state."""
        key = ("transition", name, before, after)
        built = self._built.get(key)
        if built is None:
            known = {
                n.CIRCUIT_NAME: self._bound.circuit(name),
                n.GEN_AI_PROVIDER: n.wire_provider(name.partition(":")[0]),
            }
            built = self._keep(key, known | {n.CIRCUIT_FROM: before, n.CIRCUIT_TO: after})
        return built

    def rejection(self, name: str, provider: str) -> Attributes:
        """A circuit that refused, and its provider."""
        key = ("rejection", name, provider)
        built = self._built.get(key)
        if built is None:
            known = {n.CIRCUIT_NAME: self._bound.circuit(name), n.GEN_AI_PROVIDER: n.wire_provider(provider)}
            built = self._keep(key, known)
        return built

    def _of(self, series: Series) -> dict[str, str | bool]:
        workflow, stage, provider, model = self._bound.series(series)
        target = {n.GEN_AI_PROVIDER: n.wire_provider(provider), n.GEN_AI_MODEL: model}
        return {n.WORKFLOW: workflow, n.STAGE: stage, **target}

    def _keep(self, key: tuple[object, ...], attributes: Attributes) -> Attributes:
        # A caller who names series without end must not fill the memory either: what is past the bound is built anew.
        if len(self._built) < 16 * 2000 or n.OTHER not in attributes.values():
            self._built[key] = attributes
        return attributes


def _error(error: str | None) -> dict[str, str | bool]:
    if error is None:
        return {}
    return {n.ERROR_TYPE: error if error in _KINDS else "other"}
