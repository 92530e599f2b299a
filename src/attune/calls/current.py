"""What is current while an attempt is sent: its span, and for a function's body the attempt that may be taken over.

Set for the length of one send, never while the caller holds a stream.
"""

from __future__ import annotations

from attune.calls import context
from attune.calls.attempt import Attached, Try
from attune.calls.underway import Call
from attune.models.call import AUTO


class Running:
    """A routed function's attempt, as what runs inside may see it; see `context.UnderWay`."""

    __slots__ = ("_attempt", "_free", "call")

    def __init__(self, call: Call, attempt: Try, *, offering: bool = True) -> None:
        self.call = call
        self._attempt = attempt
        self._free = [True] if offering else []

    def report(self, facts: context.Reported) -> None:
        """Facts that win over what is read from the return value; of several reports the later word wins."""
        self._attempt.reported = facts.over(self._attempt.reported)

    def remaining_s(self) -> float | None:
        """Seconds until the call's deadline."""
        return self.call.remaining_s()

    def offers(self, model: str) -> bool:
        """The first guarded call inside that asks for what was decided; of two threads, one is the first."""
        if not self._attempt.open or self.call.taken or not (model == AUTO or self.handed(model)):
            return False
        try:
            return self._free.pop()
        except IndexError:
            return False

    def handed(self, model: str) -> bool:
        """Whether this is the model that the function was handed."""
        target = self._attempt.target
        return model in (target.handed, target.model, target.wire)


class Within:
    """The `with` block around what a function's body does after its first answer: its cell, its attempt, its span.

    One object serves all steps of one generator, one at a time.
    """

    __slots__ = ("_attached", "_cell", "_running")

    def __init__(self, call: Call, attempt: Try) -> None:
        self._attached = Attached(call.telling.span)
        self._cell = context.scoped(cell(call))
        self._running = context.running(Running(call, attempt, offering=False))

    def __enter__(self) -> None:
        self._cell.__enter__()
        self._running.__enter__()
        self._attached.__enter__()

    def __exit__(self, *exit_: object) -> None:
        self._attached.__exit__()
        self._running.__exit__(None, None, None)
        self._cell.__exit__(None, None, None)


def cell(call: Call) -> context.Scope:
    """What guarded calls inside the body inherit."""
    return context.Scope(workflow=call.question.workflow, stage=call.question.stage)


class Sending:
    """The `with` block around one send."""

    __slots__ = ("_attached", "_entered")

    def __init__(self, call: Call, attempt: Try) -> None:
        self._attached = Attached(attempt.span if attempt.span is not None else call.telling.span)
        running = Running(call, attempt) if call.request.client is None else None
        self._entered = context.running(running) if running is not None else None

    def __enter__(self) -> None:
        if self._entered is not None:
            self._entered.__enter__()
        self._attached.__enter__()

    def __exit__(self, *exit_: object) -> None:
        self._attached.__exit__()
        if self._entered is not None:
            self._entered.__exit__(None, None, None)
