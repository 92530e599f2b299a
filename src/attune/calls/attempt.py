"""One attempt under way: where it goes, since when, by which permit; and that it closes once.

Facts only; `underway.py` says what they mean.
"""

from __future__ import annotations

from typing import Any

from attune.clients.dialect import Facts
from attune.errors import CallError
from attune.models.call import AttemptKind, CircuitState, Target
from attune.models.failures import Failure


class Try:
    """Born when a permit is given, closed by whatever ends the attempt first: an answer, an error, a stream's end."""

    __slots__ = (
        "_open", "at_us", "explored", "facts", "first_us", "held", "index", "kind", "permit", "reader", "reported", "span",
        "started_s", "state", "target",
    )  # fmt: skip

    def __init__(
        self,
        *,
        index: int,
        target: Target,
        kind: AttemptKind,
        permit: Any,
        state: CircuitState,
        explored: bool,
        started_s: float,
        at_us: int,
    ) -> None:
        self.index = index
        self.target = target
        self.kind = kind
        self.permit = permit
        self.state = state
        self.explored = explored
        self.started_s = started_s  # the clock's monotonic seconds
        self.at_us = at_us  # epoch microseconds
        self.span: Any = None
        self.reader: Any = None
        self.facts: Facts | None = None  # what a whole answer says, once it was read
        self.held: list[Any] = []
        self.first_us: int | None = None
        self.reported: Any = None
        self._open = [True]

    def close(self) -> bool:
        """Whether this is the first close. Popping a list is atomic, so two threads cannot both be first."""
        try:
            return self._open.pop()
        except IndexError:
            return False

    @property
    def open(self) -> bool:
        """Whether nothing has ended it yet."""
        return bool(self._open)


class SaidSo(CallError):  # noqa: N818 - never raised to a caller, so it is no error of anybody's
    """Stands for an answer that says of itself that it failed, where an error is expected. The caller gets the answer."""

    def __init__(self, failure: Failure) -> None:
        super().__init__("The answer says that it failed.")
        self.failure = failure


class Attached:
    """A `with` block in which a span is current. Telemetry's own faults stay in telemetry."""

    __slots__ = ("_span", "_token")

    def __init__(self, span: Any) -> None:
        self._span = span
        self._token: Any = None

    def __enter__(self) -> None:
        if self._span is not None:
            try:
                self._token = self._span.attach()
            except Exception:  # noqa: BLE001 - law 5: the call goes on without a current span
                self._span = None

    def __exit__(self, *exit_: object) -> None:
        if self._span is not None:
            self._span.detach(self._token)
