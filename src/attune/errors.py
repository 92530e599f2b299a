"""Every exception of attune, and nothing else: this file knows no other room.

    AttuneError
    ├─ ConfigError(ValueError)     something that a person typed or configured
    ├─ CallError                   what attune refuses on purpose, instead of an answer
    │  ├─ CircuitOpenError         every target's circuit is open or cooling
    │  ├─ NoModelAvailable         no model meets the constraints, and the caller asked to be told
    │  ├─ DeadlineExceeded         the call's own time-out passed
    │  └─ StreamInterrupted        a stream ended without its terminal event (strict_streams only)
    ├─ TelemetryError              readers and the command line; never out of a call
    └─ StateError                  files and stores that attune keeps

A provider's exception is never wrapped: it reaches the caller as the same object. Where a refusal comes out of a guarded
SDK client, it is also an instance of that SDK's nearest class (`clients` builds those dual classes), so that existing
`except` clauses still catch it. Messages never carry text of prompts or answers. Every class here pickles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class AttuneError(Exception):
    """The root of everything that attune raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by attributes: constructors take keyword-only facts, which the inherited protocol would lose."""
        return rebuild, (type(self), self.args, dict(self.__dict__))


def rebuild(cls: type[BaseException], args: tuple[Any, ...], facts: dict[str, Any]) -> BaseException:
    """Make an exception again from what `__reduce__` kept, without running its constructor."""
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(facts)
    return error


class ConfigError(AttuneError, ValueError):
    """Something that a person typed or configured is wrong; the message says what, which value, and what to do."""


class CallError(AttuneError):
    """A call that attune refused on purpose. Nothing was sent, or nothing more will be."""


class CircuitOpenError(CallError):
    """No attempt may start now: the circuit of every target is open or cooling.

    `provider` is the one due soonest, `retry_after_s` the seconds until it may be tried (0.0 if unknown), `status` what
    `CircuitBreaker.get_status()` says of the circuits concerned.
    """

    def __init__(
        self, message: str, *, provider: str = "", retry_after_s: float = 0.0, status: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.retry_after_s = retry_after_s
        self.status: dict[str, Any] = dict(status or {})


class NoModelAvailable(CallError):  # noqa: N818 - the name is public contract, and reads as the fact it states
    """No candidate meets the constraints. `decision` says, for each, the one constraint that eliminated it."""

    def __init__(self, message: str, *, decision: Any = None) -> None:
        super().__init__(message)
        self.decision = decision


class DeadlineExceeded(CallError):  # noqa: N818 - as above
    """The call's `timeout_s` passed before an answer. `attempts` holds what was tried, in order."""

    def __init__(self, message: str, *, deadline_s: float = 0.0, attempts: tuple[Any, ...] = ()) -> None:
        super().__init__(message)
        self.deadline_s = deadline_s
        self.attempts = attempts


class StreamInterrupted(CallError):  # noqa: N818 - as above
    """A stream ended without its terminal event. Raised only with `strict_streams=True`."""


class TelemetryError(AttuneError):
    """Telemetry could not be read or set up. Raised by readers and the command line, never out of a call."""


class StateError(AttuneError):
    """A file or store of attune could not be used as asked."""
