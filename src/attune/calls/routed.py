"""`@attune.routed`: a function whose `model` argument attune chooses, call by call.

It judges what kind of function it is handed, checks what a person wrote, and lets a driver run the plan. The body is the
user's: each attempt runs it once, unless a guarded client inside takes the call over.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Never, TypeVar

from attune.calls import default as process
from attune.calls.admission import Limits
from attune.calls.context import checked, refuse_other, scoped
from attune.calls.current import cell
from attune.calls.drive import adrive, drive
from attune.calls.plan import Judge, plan
from attune.calls.runtime import Runtime
from attune.calls.site import Site
from attune.calls.start import limits_of, start
from attune.calls.underway import Call
from attune.clients.function import FunctionDialect, FunctionRequest
from attune.errors import ConfigError
from attune.models.call import AUTO, Target
from attune.models.failures import Classify

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def routed(
    *,
    workflow: str,
    stage: str = "default",
    max_cost: float | None = None,
    max_latency_ms: float | None = None,
    min_success_rate: float | None = None,
    candidates: Sequence[str | Target] | None = None,
    default: str | None = None,
    provider: str | None = None,
    judge: Judge | None = None,
    classify: Classify | None = None,
    max_attempts: int | None = None,
    fallback: bool = True,
    timeout_s: float | None = None,
    on_infeasible: Any = None,
    runtime: Runtime | None = None,
    **other: Never,
) -> Callable[[FunctionT], FunctionT]:
    """Choose the `model` argument of a function, and guard its calls.

    The function has a parameter `model` that can be passed by keyword. Where it is `attune.AUTO` (or left out, with AUTO
    its default), the model is chosen; any other value pins it. Each attempt runs the whole body: `fallback=False` where it
    has side effects. `judge` looks at the finished result and gives 0..1, a bool, or None for no verdict; async only on
    async functions. `classify` says what an exception means before the table does. Units: USD, ms, seconds, rates 0..1.
    ConfigError for wrong values, here and not at the call.
    """
    refuse_other("routed", routed, other)
    scope = checked(
        "routed",
        workflow=workflow,
        stage=stage,
        max_cost=max_cost,
        max_latency_ms=max_latency_ms,
        min_success_rate=min_success_rate,
        timeout_s=timeout_s,
        on_infeasible=on_infeasible,
    )
    bound: Any = max_attempts
    if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int) or bound < 1):
        raise ConfigError(f"routed(max_attempts={max_attempts!r}): max_attempts must be a whole number, 1 or more.")
    for name, hook in (("judge", judge), ("classify", classify)):
        if hook is not None and not callable(hook):
            raise ConfigError(f"routed({name}={hook!r}): {name} must be callable.")
    site = Site(dialect=FunctionDialect(), candidates=candidates, default=default, provider=provider, scope=scope)

    def decorate(function: FunctionT) -> FunctionT:
        import wrapt

        from attune.calls.proxy import Proxy

        guarded = Routed(
            function,
            site=site,
            judge=judge,
            hook=classify,
            max_attempts=max_attempts,
            fallback=fallback,
            find=process.current if runtime is None else lambda: runtime,
        )
        decorated: Any = wrapt.decorator(proxy=Proxy)(guarded.wrapper())(function)
        return decorated  # type: ignore[no-any-return]  # the proxy keeps the function's type

    return decorate


class Routed:
    """One decorated function. Immutable after construction; shared by threads and tasks."""

    __slots__ = ("_fallback", "_find", "_hook", "_inner", "_judge", "_max_attempts", "_names", "_signature", "_site")

    def __init__(
        self,
        function: Any,
        *,
        site: Site,
        judge: Judge | None,
        hook: Classify | None,
        max_attempts: int | None,
        fallback: bool,
        find: Callable[[], Runtime],
    ) -> None:
        self._inner = function.__func__ if isinstance(function, (classmethod, staticmethod)) else function
        self._signature = _signature(self._inner)
        self._names = [n for n, p in self._signature.parameters.items() if p.kind is not p.KEYWORD_ONLY]
        self._site = site
        self._judge = judge
        self._hook = hook
        self._max_attempts = max_attempts
        self._fallback = fallback
        self._find = find
        if judge is not None and inspect.iscoroutinefunction(judge) and not self._asynchronous:
            raise ConfigError(
                f"routed(judge={judge!r}): an async judge needs an async function; {self._inner!r} is none."
            )

    @property
    def _asynchronous(self) -> bool:
        return inspect.iscoroutinefunction(self._inner) or inspect.isasyncgenfunction(self._inner)

    def wrapper(self) -> Callable[..., Any]:
        """The wrapper of the right kind: what is async stays async, a generator function stays one."""
        if inspect.isasyncgenfunction(self._inner):
            return self._agenerate
        if inspect.isgeneratorfunction(self._inner):
            return self._generate
        return self._arun if inspect.iscoroutinefunction(self._inner) else self._run

    def _run(self, wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        runtime = self._find()
        request = self._request(wrapped, instance, args, kwargs)
        if (call := self._start(runtime, request)) is None:
            return request.untouched(self._as_written(runtime, request))
        with scoped(cell(call)):
            return drive(plan(call, self._limits(runtime, request), self._judge), runtime.clock)

    async def _arun(self, wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        runtime = self._find()
        request = self._request(wrapped, instance, args, kwargs)
        if (call := self._start(runtime, request)) is None:
            value = request.untouched(self._as_written(runtime, request))
            return await value if inspect.isawaitable(value) else value
        with scoped(cell(call)):
            return await adrive(plan(call, self._limits(runtime, request), self._judge), runtime.clock)

    def _generate(self, wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return (yield from self._run(wrapped, instance, args, kwargs))

    async def _agenerate(self, wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        items = await self._arun(wrapped, instance, args, kwargs)
        turn, word = items.asend, None
        while True:
            try:
                item = await turn(word)
            except StopAsyncIteration:
                return
            try:
                turn, word = items.asend, (yield item)
            except GeneratorExit:
                await items.aclose()
                raise
            except BaseException as thrown:  # noqa: BLE001 - the body decides what becomes of it
                turn, word = items.athrow, thrown

    def _start(self, runtime: Runtime, request: FunctionRequest) -> Call | None:
        if runtime.settings.mode == "off":
            return None
        return start(runtime, self._site, request, hook=self._hook)

    def _limits(self, runtime: Runtime, request: FunctionRequest) -> Limits:
        return limits_of(runtime, request, max_attempts=self._max_attempts, fallback=self._fallback)

    def _as_written(self, runtime: Runtime, request: FunctionRequest) -> str:
        return self._site.default_model(runtime) if request.model == AUTO else request.model

    def _request(self, wrapped: Any, instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> FunctionRequest:
        """The call without its `model`, which each attempt sets where the caller had it, else by keyword."""
        names = self._names[1:] if instance is not None else self._names  # wrapt has bound the first one
        rest = {name: value for name, value in kwargs.items() if name != "model"}
        default = self._signature.parameters["model"].default
        model = kwargs.get("model", AUTO if default is inspect.Parameter.empty else default)
        place = names.index("model") if "model" in names else len(args)
        by_position = len(args) > place
        if by_position:
            model = args[place]
            args = (*args[:place], *args[place + 1 :])
        return FunctionRequest(
            function=wrapped,
            args=args,
            kwargs=rest,
            model=model if isinstance(model, str) else AUTO,
            place=place if by_position else None,
            asynchronous=self._asynchronous,
        )


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    signature = inspect.signature(function)
    parameter = signature.parameters.get("model")
    if parameter is None or parameter.kind not in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
        name = getattr(function, "__qualname__", repr(function))
        raise ConfigError(
            f"routed({name}): the function needs a parameter `model` that can be passed by keyword, such as "
            f"`*, model: str = attune.AUTO`; it has {signature}."
        )
    return signature
