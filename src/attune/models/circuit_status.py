"""What is told of circuits: one entry for each key that was seen, the worst of its endpoints.

It owns the words of `get_status()` and the one rule that only the view knows: a provider all of whose models in use are open
is shown as open. It changes nothing, and is given facts, never circuits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, NamedTuple, NotRequired, TypedDict

from attune.models.call import CircuitState
from attune.models.circuit import RANK
from attune.models.failures import FailureKind

IN_USE_S: Final = 60.0
_LAST_SECOND: Final = 253402300799.0  # of the year 9999, where datetime ends


class EndpointStatus(TypedDict):
    """One endpoint's circuit, where a name has several."""

    is_open: bool
    state: CircuitState
    failure_count: int
    retry_after_s: float


class CircuitStatus(TypedDict):
    """One circuit as it is told. Times are ISO 8601 in UTC, waits seconds.

    `is_open`: nothing is admitted now. `failure_count`: consecutive counted failures. `retry_after_s`: 0.0 unless open or
    cooling. `open_models`: of a provider, the narrower keys that are open themselves. `endpoints`: only if there are two.
    """

    is_open: bool
    failure_count: int
    last_failure: str | None
    last_failure_kind: str | None
    opened_at: str | None
    state: CircuitState
    retry_after_s: float
    cooling_until: str | None
    open_models: list[str]
    endpoints: NotRequired[dict[str, EndpointStatus]]


class Facts(NamedTuple):
    """One circuit at one endpoint, as it is at this moment. Times are monotonic seconds."""

    provider: str
    scope: str | None
    endpoint: str
    used: float | None
    state: CircuitState
    is_open: bool
    failures: int
    failed: float | None
    kind: FailureKind | None
    opened: float | None
    wait_s: float
    cooling: float | None


def describe(facts: Iterable[Facts], *, now: float, wall_offset_s: float) -> dict[str, CircuitStatus]:
    """The entries of all keys that were seen, providers before their models, in the order of their names."""
    providers: dict[str, dict[str | None, list[Facts]]] = {}
    for fact in facts:
        providers.setdefault(fact.provider, {}).setdefault(fact.scope, []).append(fact)
    told: dict[str, CircuitStatus] = {}
    for provider, keys in sorted(providers.items()):
        own = _worst(keys.pop(None))
        models = {scope: _worst(same) for scope, same in sorted(keys.items(), key=str) if scope is not None}
        models = {scope: model for scope, model in models.items() if model.used is not None}
        if own.used is None and not models:
            continue
        told[provider] = _entry(_with_models(own, models, now), own.state, wall_offset_s)
        told[provider]["open_models"] = [scope for scope, model in models.items() if model.is_open]
        for scope, model in models.items():
            shut = model._replace(is_open=model.is_open or own.is_open, wait_s=max(model.wait_s, own.wait_s))
            told[f"{provider}:{scope}"] = _entry(shut, model.state, wall_offset_s)
    return told


def list_endpoints(facts: Iterable[Facts], told: dict[str, CircuitStatus]) -> None:
    """Add the endpoints to those entries that stand for two or more."""
    names: dict[str, dict[str, EndpointStatus]] = {}
    for fact in facts:
        name = fact.provider if fact.scope is None else f"{fact.provider}:{fact.scope}"
        if fact.endpoint and name in told:
            names.setdefault(name, {})[fact.endpoint] = EndpointStatus(
                is_open=fact.is_open, state=fact.state, failure_count=fact.failures, retry_after_s=fact.wait_s
            )
    for name, endpoints in names.items():
        if len(endpoints) > 1:
            told[name]["endpoints"] = dict(sorted(endpoints.items()))


def _badness(fact: Facts) -> tuple[bool, int, float, int, float]:
    failed = -math.inf if fact.failed is None else fact.failed
    return fact.is_open, RANK[fact.state], fact.wait_s, fact.failures, failed


def _worst(same: list[Facts]) -> Facts:
    """One key over its endpoints: the worst one's record, and the longest wait of any."""
    worst = max(same, key=_badness)
    return worst._replace(
        used=max((fact.used for fact in same if fact.used is not None), default=None),
        state=max((fact.state for fact in same), key=RANK.__getitem__),
        wait_s=max(fact.wait_s for fact in same),
        cooling=max((fact.cooling for fact in same if fact.cooling is not None), default=None),
    )


def _with_models(own: Facts, models: dict[str, Facts], now: float) -> Facts:
    """A provider whose models in use are all open admits nothing that anybody asks for: it is shown with the worst's record."""
    in_use = [model for model in models.values() if model.used is not None and now - model.used <= IN_USE_S]
    if own.is_open or own.state == "half_open" or not in_use or not all(model.is_open for model in in_use):
        return own
    worst = max(in_use, key=_badness)
    return own._replace(
        is_open=True,
        failures=worst.failures,
        failed=worst.failed,
        kind=worst.kind,
        opened=worst.opened,
        wait_s=worst.wait_s,
    )


def _entry(fact: Facts, state: CircuitState, wall_offset_s: float) -> CircuitStatus:
    return CircuitStatus(
        is_open=fact.is_open,
        failure_count=fact.failures,
        last_failure=_iso(fact.failed, wall_offset_s),
        last_failure_kind=None if fact.kind is None else fact.kind.value,
        opened_at=_iso(fact.opened, wall_offset_s),
        state=state,
        retry_after_s=fact.wait_s,
        cooling_until=_iso(fact.cooling, wall_offset_s),
        open_models=[],
    )


def _iso(moment: float | None, wall_offset_s: float) -> str | None:
    if moment is None:
        return None
    return datetime.fromtimestamp(min(max(moment + wall_offset_s, 0.0), _LAST_SECOND), UTC).isoformat()
