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

    def __init__(self, call: Call, attempt: Try) -> None:
        self.call = call
        self._attempt = attempt
        self._free = [True]

    def report(self, facts: context.Reported) -> None:
        """Facts that win over what is read from the return value; of several reports the later word wins."""
        self._attempt.reported = facts.over(self._attempt.reported)

    def remaining_s(self) -> float | None:
        """Seconds until the call's deadline."""
        return self.call.remaining_s()

    def offers(self, model: str) -> bool:
        """The first guarded call inside that asks for what was decided; of two threads, one is the first."""
        target = self._attempt.target
        if not self._attempt.open or self.call.taken or model not in (AUTO, target.handed, target.model, target.wire):
            return False
        try:
            return self._free.pop()
        except IndexError:
            return False


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
