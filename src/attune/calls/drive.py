"""Two small loops that run a plan: one for threads, one for tasks. They perform effects and know no order.

Whatever an effect raises goes back into the plan as a Reply, cancellation included; the plan decides what is raised.
"""

from __future__ import annotations

import inspect
from typing import Any

from attune.calls.current import Sending
from attune.calls.plan import Ask, Effect, Plan, Reply, Send, Sleep
from attune.models.process import Clock


def drive(plan: Plan, clock: Clock) -> Any:
    """Run a plan on this thread."""
    try:
        effect = plan.send(None)  # type: ignore[arg-type]  # how a generator is started
        while True:
            effect = plan.send(_perform(effect, clock))
    except StopIteration as end:
        return end.value


async def adrive(plan: Plan, clock: Clock) -> Any:
    """Run a plan in this task."""
    try:
        effect = plan.send(None)  # type: ignore[arg-type]  # as above
        while True:
            effect = plan.send(await _aperform(effect, clock))
    except StopIteration as end:
        return end.value


def _perform(effect: Effect, clock: Clock) -> Reply:
    try:
        match effect:
            case Send(call, attempt, hold):
                with Sending(call, attempt):
                    value = call.send(attempt)
                    if hold and (reading := call.hold(attempt, value)) is not None:
                        call.held(attempt, reading)
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
            case Send(call, attempt, hold):
                with Sending(call, attempt):
                    value = await call.send(attempt)
                    if hold and (reading := call.hold(attempt, value)) is not None:
                        call.held(attempt, await reading)
                return Reply(value)
            case Ask(judge, value):
                word = judge(value)
                return Reply(await word if inspect.isawaitable(word) else word)
            case Sleep(seconds):
                await clock.asleep(seconds)
                return Reply()
    except BaseException as error:  # noqa: BLE001 - as above
        return Reply(error=error)
