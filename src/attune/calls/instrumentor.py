"""`attune.instrument()`: every client of the process guarded as `attune.wrap` guards one, made before or after.

It wraps the one method through which an SDK's clients send, where it is defined and where others have put their own over
it, once the program has imported the SDK; and puts the very same objects back. What happens to a call is `guard.py`'s.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple, Never

import wrapt
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]  # untyped

from attune.calls import default as process
from attune.calls.context import Scope, checked, refuse_other
from attune.calls.guard import Interceptor
from attune.calls.runtime import Runtime
from attune.calls.site import Site
from attune.clients.dialect import Instrumentable
from attune.errors import ConfigError
from attune.models.call import Target

log = logging.getLogger("attune")
_REQUEST = "request"


def instrument(
    *,
    candidates: Sequence[str | Target] | None = None,
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
) -> None:
    """Guard every anthropic and openai client of this process, whenever it was made. `uninstrument()` undoes it.

    The words are those of `attune.wrap`, for all clients: each takes those of the `candidates`, and the `default`, that
    are its provider's. Imports no SDK: one that the program imports later is guarded then. A client that `wrap` guards is
    guarded once. A second time without `uninstrument()` logs a warning and changes nothing. ConfigError for a wrong word.
    Thread-safe with calls under way; not meant to be called by two threads at once.
    """
    refuse_other("instrument", instrument, other)
    words = {
        "workflow": workflow, "stage": stage, "max_cost": max_cost, "max_latency_ms": max_latency_ms,
        "min_success_rate": min_success_rate, "timeout_s": timeout_s, "on_infeasible": on_infeasible, "model": model,
        "session": session,
    }  # fmt: skip
    if (one := AttuneInstrumentor()).is_instrumented_by_opentelemetry:
        log.warning(
            "attune.instrument() changes nothing: the process is instrumented, by an earlier call or by "
            "opentelemetry-instrument. For other words call attune.uninstrument() first."
        )
        return
    one.instrument(candidates=candidates, default=default, runtime=runtime, **words)


def uninstrument() -> None:
    """Undo `instrument()`: the SDKs' classes hold the same objects as before. Calls under way end as they began."""
    AttuneInstrumentor().uninstrument()


class AttuneInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # the package says nothing of its types
    """`instrument()` as OpenTelemetry's tools know it: `opentelemetry-instrument` finds it by its entry point `attune`.

    One for a process. Spans and metrics go where the runtime's go: see `attune.configure(tracer_provider=...)`.
    """

    def __init__(self) -> None:
        if not hasattr(self, "_patches"):  # made anew each time, and the same object each time
            self._patches: dict[type, _Patch] = {}
            self._guards: tuple[_Guard, ...] = ()
            self._find: Callable[[], Runtime] = process.current
            self._awaited: set[str] = set()

    def instrumentation_dependencies(self) -> Collection[str]:
        """None: an SDK that is not there is not guarded."""
        return ()

    def _instrument(self, **words: Any) -> None:
        for name in ("tracer_provider", "meter_provider"):
            if words.pop(name, None) is not None:
                raise ConfigError(
                    f"instrument({name}=...): spans and metrics are the runtime's: configure({name}=...)."
                )
        runtime: Runtime | None = words.pop("runtime", None)
        candidates, default = words.pop("candidates", None), words.pop("default", None)
        scope = checked("instrument", **words)
        ground = runtime or process.current()
        sites = [
            _site(ground, dialect, candidates, default, scope)
            for dialect in ground.dialects
            if isinstance(dialect, Instrumentable)
        ]
        self._find = process.current if runtime is None else lambda: runtime
        self._guards = tuple(_Guard(site.dialect, site, Interceptor(site, self._find)) for site in sites)
        self._patch()
        for module in {module for guard in self._guards for module, _ in guard.dialect.seams} - self._awaited:
            self._awaited.add(module)  # such a hook stays for good: one is enough
            wrapt.register_post_import_hook(self._imported, module)

    def _uninstrument(self, **_: Any) -> None:
        self._guards = ()
        for owner, patch in self._patches.items():
            patch.remove(owner)

    def _imported(self, module: Any) -> None:
        """The program has imported a part of an SDK. Without guards there is nothing to do."""
        del module
        self._patch()

    def _patch(self) -> None:
        """Wrap what is there of the SDKs."""
        for guard in self._guards:
            for module, name in guard.dialect.seams:
                owner = getattr(sys.modules.get(module), name, None)
                if isinstance(owner, type) and _REQUEST in vars(owner):
                    try:
                        self._wrap(owner)
                    except Exception as fault:  # noqa: BLE001 - law 5: the program and its imports go on
                        log.warning("attune: %s.%s cannot be guarded (%s)", module, name, type(fault).__name__)
                    self._prepare(guard.site)

    def _prepare(self, site: Site) -> None:
        """Read prices now rather than in the middle of a call. What is wrong is told there."""
        with contextlib.suppress(Exception):
            site.check(self._find())

    def _wrap(self, owner: type) -> None:
        patch = self._patches.get(owner)
        if patch is None or not patch.fits(owner):
            patch = self._patches[owner] = _Patch(owner, self.catch)
        patch.put(owner)

    def catch(self, wrapped: Any, client: Any, args: Any, kwargs: Any, *, asynchronous: bool) -> Any:
        """One call of a client's `request`: by the dialect that speaks this client, else as if nobody were here."""
        for guard in self._guards:
            try:
                if not guard.dialect.speaks(client):
                    continue
                request = guard.dialect.catch(client, wrapped, args, kwargs, asynchronous=asynchronous)
            except Exception as fault:  # noqa: BLE001 - law 5: an SDK that came to look different is not guarded
                guard.intercept.fault(fault)
                break
            return wrapped(*args, **kwargs) if request is None else guard.intercept(request)
        return wrapped(*args, **kwargs)


class _Guard(NamedTuple):
    """One dialect, the site that all its clients share, and what becomes of their requests."""

    dialect: Any
    site: Site
    intercept: Interceptor


class _Patch:
    """The method of one class as it was, and wrapped. Kept, since others may hold the wrapped one too."""

    def __init__(self, owner: type, catch: Callable[..., Any]) -> None:
        def request(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            return catch(wrapped, instance, args, kwargs, asynchronous=False)

        async def arequest(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            return await catch(wrapped, instance, args, kwargs, asynchronous=True)

        self._original: Any = vars(owner)[_REQUEST]
        asynchronous = inspect.iscoroutinefunction(self._original)
        self._wrapper = wrapt.FunctionWrapper(self._original, arequest if asynchronous else request)

    def fits(self, owner: type) -> bool:
        """Whether the class holds what this was made for."""
        return any(vars(owner)[_REQUEST] is mine for mine in (self._original, self._wrapper))

    def put(self, owner: type) -> None:
        """Wrap the method."""
        setattr(owner, _REQUEST, self._wrapper)

    def remove(self, owner: type) -> None:
        """Put the original back, unless somebody has put their own over ours: then ours lets everything pass."""
        if vars(owner).get(_REQUEST) is self._wrapper:
            setattr(owner, _REQUEST, self._original)


def _site(ground: Runtime, dialect: Any, candidates: Any, default: Any, scope: Scope) -> Site:
    site = Site(dialect=dialect, candidates=candidates, default=default, scope=scope, shared=True)
    if candidates is not None or default is not None:
        site.check(ground)  # a person's mistake is found here; without words there is none, and prices can wait
    return site
