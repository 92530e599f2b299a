"""The table of uses: each is one function that does what a user does with a client, and gives what the user sees.

A use is written once, as `async def`, and played twice: with the SDK's sync client, where nothing is ever awaited, and with
its async one. `settle`, `each` and `within` hide the difference. What an SDK does not have is left out where it is declared
(`when=`), so the table has no row that is skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from clients.stage import Stage

Play = Callable[["Hand"], Coroutine[Any, Any, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One row. `deadline_s`: the guarded client has one, so the time-outs on the wire may differ."""

    sdk: str
    name: str
    play: Play
    asynchronous: bool
    deadline_s: float | None = None
    unordered: bool = False

    def __str__(self) -> str:
        return f"{self.sdk}-{'async' if self.asynchronous else 'sync'}-{self.name}"


@dataclass(slots=True)
class Hand:
    """What a use works with: a client, and the means to make others that are guarded (or bare) alike."""

    sdk: Any
    client: Any
    stage: Stage
    guard: Callable[..., Any]
    make: Callable[..., Any]
    asynchronous: bool
    closing: list[Any] = field(default_factory=list)

    def script(self, model: str, *steps: Any) -> None:
        """What the model's next requests meet."""
        self.stage.provider.script(model, *steps)

    async def arrived(self, requests: int) -> None:
        """Wait until this many requests have reached the provider."""
        while len(self.stage.arrived) < requests:
            await asyncio.sleep(0.001) if self.asynchronous else _pause()

    def own(self, **options: Any) -> Any:
        """A client with a pool of its own, guarded like the other; `hooks`: see `Theatre.make`."""
        made = self.make(**options)
        self.closing.append(made)
        return self.guard(made)

    def kind(self, name: str) -> Any:
        """A class of the SDK, the async one for an async client."""
        return getattr(self.sdk, f"Async{name}" if self.asynchronous else name)


def _pause() -> None:
    time.sleep(0.001)


def one_of(number: int) -> str:
    """A kind of client for one of many alike: the sync and the async one take turns."""
    return "async" if number % 2 else "sync"


def http_of(sdk: Any) -> Any:
    """The HTTP library under an SDK: httpx, or httpx2."""
    base = sys.modules[f"{sdk.__name__}._base_client"]
    return getattr(base, "httpx2", None) or base.httpx


class Table:
    """The rows of one SDK, in the order in which they are written."""

    def __init__(self, sdk: str) -> None:
        self.sdk = sdk
        self.uses: list[Use] = []

    def use(
        self, *, when: bool = True, only: str = "", deadline_s: float | None = None, unordered: bool = False
    ) -> Callable[[Play], Play]:
        """Declare a use. `when`: whether this SDK has it. `only`: "sync" or "async", where the other does not exist."""

        def declare(play: Play) -> Play:
            kinds = [False, True] if not only else [only == "async"]
            self.uses += [
                Use(
                    sdk=self.sdk, name=play.__name__, play=play, asynchronous=kind, deadline_s=deadline_s,
                    unordered=unordered,
                )
                for kind in kinds
                if when
            ]  # fmt: skip
            return play

        return declare


async def settle(value: Any) -> Any:
    """The value, awaited where it has to be."""
    return await value if hasattr(value, "__await__") else value


class _Each:
    def __init__(self, values: Any) -> None:
        self._values = values.__aiter__() if hasattr(values, "__aiter__") else iter(values)

    def __aiter__(self) -> _Each:
        return self

    async def __anext__(self) -> Any:
        if hasattr(self._values, "__anext__"):
            return await self._values.__anext__()
        try:
            return next(self._values)
        except StopIteration:
            raise StopAsyncIteration from None


def each(values: Any) -> _Each:
    """The values one by one, of either kind of iterable."""
    return _Each(values)


async def following(values: Any) -> Any:
    """The next value, as `next()` or `anext()` gives it."""
    return await values.__anext__() if hasattr(values, "__anext__") else next(values)


async def all_of(values: Any) -> list[Any]:
    """All values."""
    return [value async for value in each(values)]


@contextlib.asynccontextmanager
async def within(manager: Any) -> AsyncIterator[Any]:
    """Either kind of context manager."""
    if hasattr(manager, "__aenter__"):
        async with manager as entered:
            yield entered
    else:
        with manager as entered:
            yield entered


async def raised(value: Any, *, but: tuple[type[Exception], ...] = (AttributeError, NameError)) -> Exception | None:
    """What awaiting the value, or calling it, raises; `but`: what would be a mistake in the use itself."""
    try:
        await settle(value() if callable(value) else value)
    except but:
        raise
    except Exception as error:
        return error
    return None


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine that never waits: a use with a sync client."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise AssertionError("a sync use waited")
