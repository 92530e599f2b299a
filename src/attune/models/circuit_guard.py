"""Code under a permit: a block, a function, a coroutine or a stream, each settled exactly once, when it is over.

It owns when that is: a stream's end and not its head, a task's end and not its creation; an early close or a cancellation
is nobody's fault. What an exception means is the door's word; permits come from there.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import AsyncGeneratorType, CoroutineType, GeneratorType, TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar

from attune.models.circuit_door import Door, TimedPermit
from attune.models.failures import Classify
from attune.models.permit import Permit

P = ParamSpec("P")
R = TypeVar("R")
_NOT_OVER: Final = frozenset((CoroutineType, GeneratorType, AsyncGeneratorType))


class Guard(TimedPermit):
    """`with` or `async with`: takes a permit at entry, is that permit inside, and settles it at exit. One block at a time."""

    __slots__ = ("_classify", "_door", "_provider", "_scope")

    def __init__(self, door: Door, provider: str, scope: str | None, classify: Classify | None) -> None:
        self._door = door
        self._provider = provider
        self._scope = scope
        self._classify = classify

    def __enter__(self) -> Self:
        self.permit = self._door.take(self._provider, self._scope)
        self._clock = self._door.clock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._end(self.permit, error)
        elif not self.permit.settle_unseen("success"):
            self.settle("success")

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def protect(self, function: Callable[P, R]) -> Callable[P, R]:
        """The same function, each run of it under a permit."""
        if inspect.isasyncgenfunction(function):
            wrapper: Any = self._async_stream(function, self._take)
        elif inspect.iscoroutinefunction(function):
            wrapper = self._task(function, self._take)
        elif inspect.isgeneratorfunction(function):
            wrapper = self._stream(function, self._take)
        else:
            wrapper = self._call(function)
        return functools.wraps(function)(wrapper)

    def _take(self) -> Permit:
        return self._door.take(self._provider, self._scope)

    def _end(self, permit: Permit, error: BaseException | None) -> None:
        if error is None:
            self._door.passed(permit)
        elif isinstance(error, Exception):
            self._door.failed(permit, error, self._classify)
        else:  # cancelled, closed early, interrupted: no lock, for a finalizer may be running here
            permit.settle_unseen("neutral")

    def _call(self, function: Callable[..., Any]) -> Callable[..., Any]:
        take, passed, provider, scope = self._door.take, self._door.passed, self._provider, self._scope

        def call(*args: Any, **kwargs: Any) -> Any:
            permit = take(provider, scope)
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                self._end(permit, error)
                raise
            if result.__class__ in _NOT_OVER:
                return self._later(permit, result)
            passed(permit)
            return result

        return call

    def _later(self, permit: Permit, result: Any) -> Any:
        """A function without `async` or `yield` may hand out what another one made: that is over when it ends."""
        if isinstance(result, CoroutineType):
            return self._task(lambda: result, lambda: permit)()
        if isinstance(result, GeneratorType):
            return self._stream(lambda: result, lambda: permit)()
        return self._async_stream(lambda: result, lambda: permit)()

    def _task(self, function: Callable[..., Any], take: Callable[[], Permit]) -> Callable[..., Any]:
        async def task(*args: Any, **kwargs: Any) -> Any:
            permit = take()
            try:
                result = await function(*args, **kwargs)
            except BaseException as error:
                self._end(permit, error)
                raise
            self._end(permit, None)
            return result

        return task

    def _stream(self, function: Callable[..., Any], take: Callable[[], Permit]) -> Callable[..., Any]:
        def stream(*args: Any, **kwargs: Any) -> Any:
            permit = take()
            try:
                result = yield from function(*args, **kwargs)
            except BaseException as error:
                self._end(permit, error)
                raise
            self._end(permit, None)
            return result

        return stream

    def _async_stream(self, function: Callable[..., Any], take: Callable[[], Permit]) -> Callable[..., Any]:
        async def stream(*args: Any, **kwargs: Any) -> Any:
            permit = take()
            try:
                items = function(*args, **kwargs)
                step = items.__anext__()
                while True:
                    try:
                        item = await step
                    except StopAsyncIteration:
                        break
                    try:
                        sent = yield item
                    except GeneratorExit:
                        await items.aclose()
                        raise
                    except BaseException as thrown:  # noqa: BLE001 - handed on to where it was meant for
                        step = items.athrow(thrown)
                    else:
                        step = items.asend(sent)
            except BaseException as error:
                self._end(permit, error)
                raise
            self._end(permit, None)

        return stream
