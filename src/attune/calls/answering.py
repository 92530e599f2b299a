"""What came back from an attempt, and what it amounts to: a stream to be read, a whole answer, or one that says it failed.

It asks the dialect and keeps what it says on the attempt; a dialect that fails is a counted fault. What follows from it is
the plan's.
"""

from __future__ import annotations

from typing import Any

from attune.calls.attempt import SaidSo, Try
from attune.calls.reading import CarefulReader
from attune.calls.underway import Call
from attune.clients.dialect import NOTHING, Facts
from attune.errors import CallError, StreamInterrupted
from attune.models.failures import Failure, failure_of_word


def hold(call: Call, attempt: Try, value: Any) -> Any:
    """Begin to read a stream up to its first content; None where there is nothing to hold. May give an awaitable."""
    reader = events_of(call, value)
    if reader is None or not attempt.open:
        return None
    attempt.reader = reader
    return call.reads.hold(value, reader)


def events_of(call: Call, value: Any) -> Any:
    """A reader for the answer's events, None where it is no stream; only a function may give one unasked."""
    if call.request.client is not None and not call.request.stream:
        return None
    speakers = (call.dialect,) if call.request.client is not None else (call.dialect, *call.runtime.dialects)
    for dialect in speakers:
        if (reader := call.safely("dialect", dialect.events, value)) is not None:
            call.reads = dialect
            return CarefulReader(reader, call.runtime.fault)
    return None


def unread(call: Call, value: Any) -> Any:
    """A reader for the body of a raw response that the caller will read himself; None for any other answer."""
    look = getattr(call.dialect, "unread", None) if call.request.client is not None else None
    reader = call.safely("dialect", look, value) if look is not None else None
    return None if reader is None else CarefulReader(reader, call.runtime.fault)


def held(call: Call, attempt: Try, events: list[Any]) -> None:
    """Keep what was read; the first content has arrived, or the end."""
    attempt.held = events
    attempt.first_us = round((call.now_s() - attempt.started_s) * 1e6)


def cut_short(call: Call, attempt: Try, value: Any) -> CallError | None:
    """What an answer amounts to that says it failed, or a held stream that ended without content; None: it goes on."""
    reader = attempt.reader
    if call.request.client is None or (reader is not None and reader.content):
        return None
    if reader is not None and not reader.done:
        return interrupted(call)
    if reader is None and call.request.stream:
        return None  # nothing of it has been read yet
    failure = failure_in(call, read(call, attempt, value) if reader is None else reader.facts())
    return None if failure is None else SaidSo(failure)


def read(call: Call, attempt: Try, value: Any) -> Facts:
    """What a whole answer says; read once."""
    facts: Facts = attempt.facts or call.safely("dialect", call.dialect.read, value) or NOTHING
    attempt.facts = facts
    return facts


def failure_in(call: Call, facts: Facts) -> Failure | None:
    """What an answer means that says of itself that it failed; None for any other."""
    return None if facts.failed is None else failure_of_word(facts.failed, call.dialect.failures)


def interrupted(call: Call) -> CallError:
    """A stream that ended without its terminal event, as an error that the SDK's `except` clauses catch."""
    error = StreamInterrupted("The stream ended without its terminal event: the answer is cut short.")
    return call.dialect.refusal(error, call.request.client)
