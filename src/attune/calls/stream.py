"""Streams that settle exactly once: at their terminal event, an error, an early close, or when nobody holds them.

The verdict of a stream comes at its end, not at its head. A finalizer may run inside any line that allocates, so a
dropped stream only takes a note; the note is settled by the next call or by the background thread.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from attune.calls.answering import failure_in, interrupted
from attune.calls.attempt import Try
from attune.calls.current import Within
from attune.calls.underway import Call
from attune.clients.dialect import NOTHING, EventReader
from attune.models.failures import Failure, FailureKind


class Settlement:
    """The Watch of one stream: the first of its ends counts."""

    __slots__ = ("_attempt", "_call", "_open", "_pid", "_reader", "_within")

    def __init__(self, call: Call, attempt: Try, reader: EventReader) -> None:
        self._call = call
        self._attempt = attempt
        self._reader = reader
        self._open = [True]
        self._within: Within | None = None
        self._pid = os.getpid()

    @property
    def open(self) -> bool:
        """Whether the stream is still going."""
        return bool(self._open)

    def event(self, event: Any) -> None:
        """Read an event as it passes; the first content stops the clock of `max_latency_ms`."""
        reader = self._reader
        reader.feed(event)
        if self._attempt.first_us is None and reader.content:
            self._attempt.first_us = round((self._call.now_s() - self._attempt.started_s) * 1e6)

    def finished(self) -> BaseException | None:
        """The events ended: an answer, or, without the terminal event, a truncated one."""
        if self._reader.done:
            self._succeed()
            return None
        if not self._first():
            return None
        self._fail(Failure(kind=FailureKind.STREAM_BROKEN))
        if not self._call.runtime.settings.strict_streams:
            return None
        return interrupted(self._call)

    def broken(self, error: BaseException) -> None:
        """Reading failed, or the task that read was cancelled."""
        if not self._first():
            return
        failure = self._call.classify(error)
        if failure.kind is FailureKind.CONNECTION:  # it had connected: this stream broke, not the provider's door
            failure = replace(failure, kind=FailureKind.STREAM_BROKEN)
        self._fail(failure)

    def closed(self) -> None:
        """The caller left: an answer if it was complete, else nobody's fault."""
        if self._reader.done:
            self._succeed()
        elif self._first():
            self._call.end(self._attempt, "neutral", facts=self._facts())
            self._finish("neutral")

    def step(self) -> Within:
        """A function's generator: its body runs on in its own cell, and may report."""
        if self._within is None:
            self._within = Within(self._call, self._attempt)
        return self._within

    def dropped(self) -> None:
        """Nobody holds it any more: take a note, and nothing else."""
        if self._open:
            self._call.runtime.abandoned.append(self)

    def _first(self) -> bool:
        if self._pid != os.getpid():
            return False  # a forked child has a copy; the stream is the parent's to settle
        try:
            return self._open.pop()
        except IndexError:
            return False

    def _succeed(self) -> None:
        if not self._first():
            return
        facts = self._facts()
        if (failure := failure_in(self._call, facts)) is not None:
            self._fail(failure)
            return
        self._call.end(self._attempt, "success", facts=facts)
        self._finish("success")

    def _fail(self, failure: Failure) -> None:
        self._call.end(self._attempt, failure.rule.outcome, failure=failure, facts=self._facts())
        self._finish(failure.rule.outcome, failure=failure)

    def _facts(self) -> Any:
        return self._call.safely("dialect", self._reader.facts) or NOTHING

    def _finish(self, outcome: Any, failure: Failure | None = None) -> None:
        if self._call.taken and not self._call.left_to_stream:
            return  # the routed function around it is still running, and will finish the call
        self._call.finish(
            outcome,
            error_type=str(failure.kind) if failure is not None else None,
            partial_text=self._reader.text or None if outcome != "success" else None,
        )


class Unwatched:
    """A Watch that takes no interest: another stream is watched in place of this one."""

    __slots__ = ("_within",)

    def __init__(self, call: Call, attempt: Try) -> None:
        self._within = Within(call, attempt)

    def step(self) -> Within:
        """As for a watched one."""
        return self._within

    def event(self, event: Any) -> None:
        """Nothing."""

    def finished(self) -> BaseException | None:
        """No error."""
        return None

    def broken(self, error: BaseException) -> None:
        """Nothing."""

    def closed(self) -> None:
        """Nothing."""

    def dropped(self) -> None:
        """Nothing."""
