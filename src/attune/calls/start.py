"""How a call starts, the same for a guarded client and a decorated function: its scope, its question, its limits.

A person's mistake raises ConfigError, since nothing was sent; a fault of attune's own gives None, and the caller sends the
request as it was written.
"""

from __future__ import annotations

import functools
from dataclasses import replace

from attune.calls.admission import Limits
from attune.calls.context import Scope, current_scope
from attune.calls.reroute import Rule, find
from attune.calls.runtime import Runtime
from attune.calls.site import Site
from attune.calls.underway import Call
from attune.clients.dialect import Request
from attune.errors import ConfigError
from attune.models.call import AUTO
from attune.models.failures import Classify
from attune.models.retry import RetryPolicy


def start(
    runtime: Runtime, site: Site, request: Request, *, hook: Classify | None = None, rules: bool = True
) -> Call | None:
    """Open a call for a request that was caught at `site`. `rules`: whether reroute rules may speak of its model."""
    try:
        runtime.enter()
        scope, rule = _said(runtime, site, request.model if rules else AUTO)
        if request.client is None:  # a function bears its own name, whatever calls it
            scope = replace(scope, workflow=site.scope.workflow, stage=site.scope.stage)
        if (session := scope.session) is not None:  # names nothing that a question or its evidence depends on
            scope = replace(scope, session=None)
        here = site if request.client is None else site.at(request.client)
        asked = here.ask(runtime, scope, request.model, rule)
        question = asked.question
        call = Call(
            runtime,
            request,
            site.dialect,
            question,
            mode=runtime.settings.mode,
            pinned=asked.pinned,
            timeout_s=scope.timeout_s or runtime.settings.timeout_s,
            session=session,
            hook=hook,
        )
    except ConfigError:
        raise
    except Exception as fault:  # noqa: BLE001 - law 5: the request goes on as it was written
        runtime.fault("call", fault)
        return None
    return call


def _said(runtime: Runtime, site: Site, model: str) -> tuple[Scope, Rule | None]:
    """What is said of the call: by the scope around it, then by a rule for the model it names, then by its site."""
    around = current_scope()
    scope = around.over(site.scope)
    if model == AUTO or scope.model is not None or (rule := find(runtime.settings.reroute, model)) is None:
        return scope, None
    return around.over(rule.scope.over(site.scope)), rule


def limits_of(runtime: Runtime, request: Request, *, max_attempts: int | None = None, fallback: bool = True) -> Limits:
    """How far a call may go: the site's word, else the settings', else the client's own retries."""
    attempts = max_attempts or runtime.settings.max_attempts or request.max_retries + 1
    return _limits(attempts if fallback else 1, runtime.settings.max_wait_s, fallback)


@functools.cache
def _limits(max_attempts: int, max_wait_s: float, fallback: bool) -> Limits:
    return Limits(policy=RetryPolicy(max_attempts=max_attempts, max_wait_s=max_wait_s), fallback=fallback)
