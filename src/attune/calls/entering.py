"""Functions whose answer comes only when a `with` block is entered: the attempt is made there, and so are those after it.

What they return stays what it was to its user; entering it drives the rest of the plan. The order of steps is the plan's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import wrapt

from attune.calls import answering
from attune.calls.context import scoped
from attune.calls.current import Sending, Within, cell
from attune.calls.plan import Effect, Plan, Reply, Send
from attune.clients.function import opens

Perform = Callable[[Effect], Reply]
APerform = Callable[[Effect], Awaitable[Reply]]


class Entering(wrapt.ObjectProxy):  # type: ignore[type-arg]  # generic in wrapt's stubs alone
    """The manager that an attempt gave. Entered once; whatever enters it again has the manager itself."""

    def __init__(self, manager: Any, plan: Plan, effect: Send, perform: Perform, aperform: APerform) -> None:
        super().__init__(manager)
        self._self_plan: Plan | None = plan
        self._self_effect = effect
        self._self_perform = perform
        self._self_aperform = aperform

    def __enter__(self) -> Any:
        """Make the attempt, and those that the plan makes after it."""
        plan, self._self_plan = self._self_plan, None
        if plan is None:
            return self.__wrapped__.__enter__()
        effect: Effect = self._self_effect
        reply = self._self_enter(effect, self.__wrapped__)
        try:
            while True:
                effect = plan.send(reply)
                reply = self._self_perform(effect)
                if isinstance(effect, Send) and reply.error is None:
                    reply = self._self_enter(effect, reply.value)
        except StopIteration as end:
            return end.value

    def __exit__(self, *exit_: object) -> Any:
        """The rest of the body is the function's too."""
        with Within(self._self_effect.call, self._self_effect.attempt):
            return self.__wrapped__.__exit__(*exit_)

    async def __aenter__(self) -> Any:
        """As `__enter__`."""
        plan, self._self_plan = self._self_plan, None
        if plan is None:
            return await self.__wrapped__.__aenter__()
        effect: Effect = self._self_effect
        reply = await self._self_aenter(effect, self.__wrapped__)
        try:
            while True:
                effect = plan.send(reply)
                reply = await self._self_aperform(effect)
                if isinstance(effect, Send) and reply.error is None:
                    reply = await self._self_aenter(effect, reply.value)
        except StopIteration as end:
            return end.value

    async def __aexit__(self, *exit_: object) -> Any:
        """As `__exit__`."""
        with Within(self._self_effect.call, self._self_effect.attempt):
            return await self.__wrapped__.__aexit__(*exit_)

    def _self_enter(self, effect: Any, manager: Any) -> Reply:
        self._self_hold(effect, manager)
        call = effect.call
        with contextlib.ExitStack() as entered:
            try:
                with scoped(cell(call)), Sending(call, effect.attempt):
                    value = entered.enter_context(self.__wrapped__)
                    if effect.hold and (events := answering.hold(call, effect.attempt, value)) is not None:
                        answering.held(call, effect.attempt, events)
                entered.pop_all()  # from here on it is the caller's to leave
                return Reply(value)
            except BaseException as error:  # noqa: BLE001 - the plan settles what was open, and raises it again
                return Reply(error=error)

    async def _self_aenter(self, effect: Any, manager: Any) -> Reply:
        self._self_hold(effect, manager)
        call = effect.call
        async with contextlib.AsyncExitStack() as entered:
            try:
                with scoped(cell(call)), Sending(call, effect.attempt):
                    value = await entered.enter_async_context(self.__wrapped__)
                    if effect.hold and (events := answering.hold(call, effect.attempt, value)) is not None:
                        events = await events if hasattr(events, "__await__") else events
                        answering.held(call, effect.attempt, events)
                entered.pop_all()  # as above
                return Reply(value)
            except GeneratorExit:  # dropped: the plan takes a note
                raise
            except BaseException as error:  # noqa: BLE001 - as above
                return Reply(error=error)

    def _self_hold(self, effect: Send, manager: Any) -> None:
        self._self_effect = effect
        self.__wrapped__ = manager if opens(manager) else contextlib.nullcontext(manager)
