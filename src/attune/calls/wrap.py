"""`attune.wrap(client)`: a guarded copy of a client. The copy keeps the class, to isinstance and to type checkers.

It only checks what a person wrote; `guard.py` does the rest at each call.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Never, TypeVar

from attune.calls import default as process
from attune.calls.context import checked, refuse_other
from attune.calls.guard import guard
from attune.calls.runtime import Runtime
from attune.calls.site import Site
from attune.calls.targets import kin
from attune.clients.dialect import Dialect
from attune.errors import ConfigError
from attune.models.call import Target

ClientT = TypeVar("ClientT")


def wrap(
    client: ClientT,
    *,
    candidates: Sequence[str | Target] | None = None,
    alternates: Sequence[Any] = (),
    default: str | None = None,
    workflow: str | None = None,
    stage: str | None = None,
    max_cost: float | None = None,
    max_latency_ms: float | None = None,
    min_success_rate: float | None = None,
    timeout_s: float | None = None,
    on_infeasible: Any = None,
    model: str | None = None,
    session: str | None = None,
    runtime: Runtime | None = None,
    **other: Never,
) -> ClientT:
    """Guard a client: its calls with `model="auto"` are routed, and every call for an answer is guarded and measured.

    `candidates`: model ids or Targets, None for the tier defaults of the client's provider. `alternates`: clients of the
    same SDK that serve the same ids, or Targets. `default`: where a call goes when nothing can be decided
    (one more candidate, if it is none of them). The rest are
    defaults for `attune.scope`. The client handed in is unchanged and shares its connections with the copy. ConfigError
    if no dialect speaks this client, or a value is wrong. The copy is as thread-safe as the client.
    """
    refuse_other("wrap", wrap, other)
    scope = checked(
        "wrap",
        workflow=workflow,
        stage=stage,
        max_cost=max_cost,
        max_latency_ms=max_latency_ms,
        min_success_rate=min_success_rate,
        timeout_s=timeout_s,
        on_infeasible=on_infeasible,
        model=model,
        session=session,
    )
    ground = runtime or process.current()
    dialect = ground.dialect_of(client)
    if dialect is None:
        spoken = ", ".join(each.name for each in ground.dialects)
        raise ConfigError(
            f"wrap({type(client).__module__}.{type(client).__qualname__}): no dialect speaks this client. Spoken: {spoken}. "
            "Decorate the function that calls it with @attune.routed, or bring a dialect: attune.configure(dialects=[...])."
        )
    for alternate in alternates:
        if not isinstance(alternate, Target):
            _check(ground, dialect, alternate)
    site = Site(
        dialect=dialect, client=client, candidates=candidates, alternates=alternates, default=default, scope=scope
    )
    for way in (*alternates, *(site.candidates or ())):
        if not isinstance(way, str):
            _check_colour(client, way.client if isinstance(way, Target) else way)
    site.check(ground)  # prices are read, and mistakes found, here rather than in the middle of a call
    guarded: ClientT = guard(client, site, (lambda: runtime) if runtime is not None else process.current)
    return guarded


def _check(ground: Runtime, home: Dialect, alternate: Any) -> None:
    """Refuse a client that can be no alternate as it is, here rather than in the outage that it was meant for."""
    name = type(alternate).__qualname__
    if not kin(ground, alternate, home):
        raise ConfigError(f"wrap(alternates=[{name}]): an alternate is a client of the same SDK, or a Target.")
    there = ground.dialect_of(alternate) or home
    if there.provider != home.provider and (getattr(there, "own_ids", False) or getattr(home, "own_ids", False)):
        raise ConfigError(
            f"wrap(alternates=[{name}]): {home.provider} and {there.provider} call the same models by different ids. Say "
            f"which: attune.Target(<model>, provider={there.provider!r}, client=..., alias=<its id there>)."
        )


def _check_colour(client: Any, there: Any) -> None:
    """A sync request cannot be made at an async client, nor the other way round."""
    if there is not None and _is_async(there) != _is_async(client):
        here, other = type(client).__qualname__, type(there).__qualname__
        raise ConfigError(
            f"wrap({here}) with {other}: one is async and the other is not. Give it one of its own colour."
        )


def _is_async(client: Any) -> bool:
    return inspect.iscoroutinefunction(getattr(type(client), "request", None))
