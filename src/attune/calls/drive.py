"""Two small loops that run a plan: one for threads, one for tasks. They perform effects and know no order.

Whatever an effect raises goes back into the plan as a Reply, cancellation included; the plan decides what is raised.
"""

from __future__ import annotations

import inspect
from typing import Any

from attune.calls import answering
from attune.calls.context import scoped
from attune.calls.current import Sending, cell
from attune.calls.plan import Ask, Effect, Plan, Reply, Send, Sleep
from attune.clients.function import opens
from attune.models.process import Clock


def drive(plan: Plan, clock: Clock) -> Any:
    """Run a plan on this thread. What a function's answer waits for (an await, a `with` block), the rest of the plan does."""
    try:
        effect = plan.send(None)  # type: ignore[arg-type]  # how a generator is started
        while True:
            reply = _perform(effect, clock)
            if isinstance(effect, Send) and effect.call.request.client is None:
                if hasattr(reply.value, "__await__"):
                    return _awaited(plan, clock, effect, reply.value)
                if opens(reply.value):
                    return _entering(plan, clock, effect, reply.value)
            effect = plan.send(reply)
    except StopIteration as end:
        return end.value


async def _awaited(plan: Plan, clock: Clock, effect: Send, value: Any) -> Any:
    with scoped(cell(effect.call)):
        reply = await _arrived(effect, value)
        if opens(reply.value):
            return _entering(plan, clock, effect, reply.value)
        return await adrive(plan, clock, reply)


async def adrive(plan: Plan, clock: Clock, reply: Reply | None = None) -> Any:
    """Run a plan in this task; from its start, or on from a reply."""
    try:
        effect = plan.send(reply)  # type: ignore[arg-type]  # None starts a generator
        while True:
            reply = await _aperform(effect, clock)
            if isinstance(effect, Send) and effect.call.request.client is None and opens(reply.value):
                return _entering(plan, clock, effect, reply.value)
            effect = plan.send(reply)
    except StopIteration as end:
        return end.value


def _entering(plan: Plan, clock: Clock, effect: Send, manager: Any) -> Any:
    from attune.calls.entering import Entering

    return Entering(manager, plan, effect, lambda it: _perform(it, clock), lambda it: _aperform(it, clock))


def _perform(effect: Effect, clock: Clock) -> Reply:
    try:
        match effect:
            case Send(call, attempt, hold):
                with Sending(call, attempt):
                    value = call.send(attempt)
                    if (
                        hold
                        and not hasattr(value, "__anext__")
                        and (events := answering.hold(call, attempt, value)) is not None
                    ):
                        answering.held(call, attempt, events)
                return Reply(value)
            case Ask(judge, value):
                return Reply(judge(value))
            case Sleep(seconds):
                clock.sleep(seconds)
                return Reply()
    except BaseException as error:  # noqa: BLE001 - the plan settles what was open, and raises it again
        return Reply(error=error)


async def _aperform(effect: Effect, clock: Clock) -> Reply:
    try:
        match effect:
            case Send(call, attempt):
                return await _arrived(effect, call.send(attempt))
            case Ask(judge, value):
                word = judge(value)
                return Reply(await word if inspect.isawaitable(word) else word)
            case Sleep(seconds):
                await clock.asleep(seconds)
                return Reply()
    except GeneratorExit:  # nobody drives any more, and this may be a finalizer: the plan takes a note
        raise
    except BaseException as error:  # noqa: BLE001 - as above
        return Reply(error=error)


async def _arrived(effect: Send, value: Any) -> Reply:
    """What was sent, awaited, and of a stream what is held."""
    call, attempt = effect.call, effect.attempt
    try:
        with Sending(call, attempt):
            if hasattr(value, "__await__"):
                value = await value
            if effect.hold and (events := answering.hold(call, attempt, value)) is not None:
                answering.held(call, attempt, await events if hasattr(events, "__await__") else events)
        return Reply(value)
    except GeneratorExit:  # as above
        raise
    except BaseException as error:  # noqa: BLE001 - as above
        return Reply(error=error)
