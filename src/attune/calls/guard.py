"""The seam's inside: every request for an answer that a guarded client makes becomes a call with a plan.

It decides only whether attune takes part (the mode, a function around it) and then lets a driver run the plan.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from attune.calls.context import under_way
from attune.calls.current import Running
from attune.calls.drive import adrive, drive
from attune.calls.plan import Plan, plan, takeover
from attune.calls.runtime import Runtime
from attune.calls.site import Site
from attune.calls.start import limits_of, start
from attune.calls.underway import Call
from attune.clients.dialect import Request
from attune.errors import ConfigError
from attune.models.call import AUTO

log = logging.getLogger("attune")


def guard(client: Any, site: Site, find: Callable[[], Runtime]) -> Any:
    """A guarded copy of a client. `find` gives the runtime, asked at each call."""
    return site.dialect.guard(client, Interceptor(site, find))


class Interceptor:
    """What becomes of a request that was caught at `site`. `find` gives the runtime, asked at each call."""

    __slots__ = ("_find", "_site")

    def __init__(self, site: Site, find: Callable[[], Runtime]) -> None:
        self._site = site
        self._find = find

    def __call__(self, request: Request) -> Any:
        """Let a driver run the request's plan; without one it goes on as it was written, with `auto` replaced."""
        runtime, site = self._find(), self._site
        routed = request.answers and runtime.settings.mode != "off"
        steps = _steps(runtime, site, request) if routed else None
        if steps is None:
            return request.untouched(site.default_model(runtime) if request.model == AUTO else request.model)
        return (adrive if request.asynchronous else drive)(steps, runtime.clock)

    def fault(self, error: Exception) -> None:
        """The seam itself failed: counted, and the request goes on without us."""
        self._find().fault("seam", error)


def _steps(runtime: Runtime, site: Site, request: Request) -> Plan | None:
    limits = limits_of(runtime, request)
    around = under_way()
    if isinstance(around, Running) and around.offers(request.model):
        return takeover(around.call, request, site.dialect, limits)
    # a model that a routed function was handed is decided already: no rule speaks of it
    handed = isinstance(around, Running) and around.handed(request.model)
    call = _start(runtime, site, request, rules=not handed)
    return None if call is None else plan(call, limits)


def _start(runtime: Runtime, site: Site, request: Request, *, rules: bool) -> Call | None:
    try:
        return start(runtime, site, request, rules=rules)
    except ConfigError as mistake:
        if not site.shared or request.model == AUTO:
            raise
        # nobody wrote attune into this call: it goes on as it was written, and the mistake is told once
        if not runtime.faults["config"]:
            log.warning("%s", mistake)
        runtime.fault("config", mistake)
        return None
