"""The ContextVars: the scope around a call, who captures it, the last call, and the call under way.

Each holds an immutable value or something born for one `with` block, so threads and tasks cannot disturb each other.
Nothing here decides; a scope is only words until `site.py` turns them into a question.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Protocol

from attune.calls.frames import Entered, Frame
from attune.calls.words import unknown
from attune.errors import ConfigError
from attune.models.call import AUTO, CallRecord, OnInfeasible
from attune.models.response import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What the caller says of the calls inside. None: nothing is said. Units as in `attune.scope`."""

    workflow: str | None = None
    stage: str | None = None
    max_cost: float | None = None
    max_latency_ms: float | None = None
    min_success_rate: float | None = None
    timeout_s: float | None = None
    on_infeasible: OnInfeasible | None = None
    model: str | None = None
    session: str | None = field(default=None, repr=False)  # the caller's own word, which may name a person

    def over(self, outer: Scope) -> Scope:
        """This scope, with what it leaves open taken from `outer`."""
        if outer is NO_SCOPE or self is outer:
            return self
        if self is NO_SCOPE:
            return outer
        said = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}
        return replace(outer, **said)


NO_SCOPE: Final = Scope()
_WORDS: Final = tuple(f.name for f in fields(Scope))


def checked(where: str, **words: Any) -> Scope:
    """A Scope from what a person wrote; ConfigError says which word is wrong, and what would be right."""
    for name in words:
        if name not in _WORDS:
            raise ConfigError(unknown(where, name, _WORDS))
    for name in ("workflow", "stage", "model", "session"):
        value = words.get(name)
        if value is not None and (not isinstance(value, str) or not value.strip()):
            raise ConfigError(f"{where}({name}={value!r}): {name} must be a non-empty string.")
    for name, unit in (("max_cost", "USD"), ("max_latency_ms", "ms"), ("timeout_s", "seconds")):
        _number(where, name, words.get(name), f"a finite number of {unit} over 0", low=0.0, high=math.inf)
    _number(where, "min_success_rate", words.get("min_success_rate"), "a rate from 0 to 1", low=None, high=1.0)
    policy = words.get("on_infeasible")
    if policy not in (None, "best", "default", "raise"):
        raise ConfigError(f'{where}(on_infeasible={policy!r}): use "best", "default" or "raise".')
    return Scope(**words)


def refuse_other(where: str, function: Callable[..., Any], other: Mapping[str, Any]) -> None:
    """ConfigError for the first argument that `function` does not know; type checkers refuse it before."""
    for name in other:
        known = [n for n, p in inspect.signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY]
        raise ConfigError(unknown(where, name, known))


def _number(where: str, name: str, value: Any, wanted: str, *, low: float | None, high: float) -> None:
    if value is None:
        return
    fits = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not fits or (value <= low if low is not None else value < 0) or value > high:
        raise ConfigError(f"{where}({name}={value!r}): {name} must be {wanted}.")


_scope: ContextVar[Frame | None] = ContextVar("attune_scope", default=None)
_captures: ContextVar[Frame | None] = ContextVar("attune_captures", default=None)
_under_way: ContextVar[Frame | None] = ContextVar("attune_under_way", default=None)
_last: ContextVar[CallRecord | None] = ContextVar("attune_last_call", default=None)


class _Scoped(Entered):
    __slots__ = ()

    def __init__(self, words: Scope) -> None:
        super().__init__(_scope, words)

    def over(self, said: Any, outer: Frame | None) -> Any:
        return said if outer is None else said.over(outer.value)


def scope(**words: Any) -> Entered:
    """Say something of the calls inside the `with` block: see `attune.scope`."""
    return _Scoped(checked("scope", **words))


def scoped(words: Scope) -> Entered:
    """The same, for a scope that is checked already."""
    return _Scoped(words)


def current_scope() -> Scope:
    """The scope in force here."""
    frame = _scope.get()
    return NO_SCOPE if frame is None else frame.value


class Calls(list[CallRecord]):
    """The calls that finished inside a `with attune.capture()` block, child tasks' included."""

    @property
    def cost(self) -> float:
        """USD, summed over what is known; see each record's `cost_complete`."""
        return math.fsum(record.cost for record in self)


class Capture(Entered):
    """`with attune.capture() as calls`: each entry has a list of its own."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(_captures, None)

    def __enter__(self) -> Calls:
        calls = Calls()
        self._var.set(Frame(self, calls, self._var.get()))
        return calls

    def over(self, said: Any, outer: Frame | None) -> Any:
        """The lists of all blocks around this line."""
        return (said,) if outer is None else (*outer.value, said)


def capture() -> Capture:
    """`with attune.capture() as calls`: the CallRecords of the calls that start inside, child tasks' included."""
    return Capture()


def captures() -> tuple[Calls, ...]:
    """Who captures the calls that start here."""
    frame = _captures.get()
    return () if frame is None else frame.value


def tell(record: CallRecord, listeners: tuple[Calls, ...]) -> None:
    """Hand a finished record to those who captured its start, and remember it as this context's last."""
    for calls in listeners:
        calls.append(record)
    _last.set(record)


def last_call() -> CallRecord | None:
    """The last call that finished in this context; there after a raising call too."""
    return _last.get()


def forget() -> None:
    """As if no call had finished in this context yet."""
    _last.set(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What a routed function said of itself by `attune.report`."""

    usage: Usage | None = None
    cost_usd: float | None = None
    model: str | None = None
    provider: str | None = None
    latency_s: float | None = None

    def over(self, before: Reported | None) -> Reported:
        """These facts, with what they leave open taken from an earlier report."""
        said = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}
        return self if before is None else replace(before, **said)


class UnderWay(Protocol):
    """A routed function's attempt that is running: a guarded call inside may take the whole call over."""

    def report(self, facts: Reported) -> None:
        """Keep what the function says of itself."""
        ...

    def remaining_s(self) -> float | None:
        """Seconds until the call's deadline, None without one."""
        ...

    def offers(self, model: str) -> bool:
        """Whether a guarded call with this model may take over: the first one, asking for what was decided."""
        ...


def under_way() -> UnderWay | None:
    """The routed function's attempt that surrounds this line."""
    frame = _under_way.get()
    return None if frame is None else frame.value


def running(attempt: UnderWay | None) -> Entered:
    """A `with` block in which `attempt` is under way."""
    return Entered(_under_way, attempt)


def report(
    usage: Any = None,
    cost_usd: float | None = None,
    model: str | None = None,
    provider: str | None = None,
    latency_s: float | None = None,
) -> None:
    """From inside a routed function: facts that its return value does not carry. Outside: nothing happens.

    `usage` is a Usage, or an object or mapping with the token counts of the Anthropic or OpenAI API; `cost_usd` wins over
    what usage and price would give; `latency_s` over the measured duration.
    """
    if (attempt := under_way()) is None:
        return
    for name, value in (("cost_usd", cost_usd), ("latency_s", latency_s)):
        _number("report", name, value, "a finite number, 0 or more", low=None, high=math.inf)
    if model == AUTO:
        raise ConfigError('report(model="auto"): name the model that answered.')
    from attune.clients.function import usage_of

    attempt.report(
        Reported(
            usage=None if usage is None else usage_of(usage),
            cost_usd=cost_usd,
            model=model,
            provider=provider,
            latency_s=latency_s,
        )
    )


def remaining_s() -> float | None:
    """Seconds until the deadline of the routed call that surrounds this line; None without one."""
    attempt = under_way()
    return None if attempt is None else attempt.remaining_s()
