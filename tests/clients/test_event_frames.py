"""Bedrock's streams as bytes: whatever pieces the frames come in, and whatever stands between them."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace

from calls.clouds import USAGE, chunk, exception, frame
from hypothesis import given, settings
from hypothesis import strategies as st

from attune.clients.anthropic import AnthropicDialect, MessageEvents
from attune.clients.event_frames import EventFrames
from attune.testing import anthropic_wire

WHOLE = anthropic_wire.message("1", "m", [{"type": "text", "text": "hello there, you"}], "end_turn", USAGE)
EVENTS = [event.data for event in anthropic_wire.events(WHOLE, 5)]
STREAM = b"".join(map(chunk, EVENTS))


def read(*pieces: bytes) -> EventFrames:
    reader = EventFrames(MessageEvents())
    for piece in pieces:
        reader.feed(piece)
    return reader


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_frames_come_in_any_pieces(cuts: list[int]):
    places = [0, *sorted(cuts), len(STREAM)]
    reader = read(*(STREAM[start:end] for start, end in itertools.pairwise(places)))
    assert (reader.done, reader.content, reader.text) == (True, True, "hello there, you")
    assert reader.facts() == read(STREAM).facts()
    assert reader.facts().usage.input_tokens == 1000


def test_a_stream_is_done_with_its_last_event_alone():
    reader = read(STREAM[:-1])
    assert (reader.content, reader.done) == (True, False)
    reader.feed(STREAM[-1:])
    assert reader.done


def test_what_is_no_event_is_passed_over():
    """An exception of the service, a frame without a payload, and payloads that nobody can read."""
    odd = [exception("throttlingException"), frame(b""), frame(b"{}"), frame(b'{"bytes": 3}'), frame(b'{"bytes": "!"}')]
    odd += [frame(b"[1]"), chunk(b"no json"), chunk(json.dumps(["a", "list"]).encode())]
    reader = read(*(b"".join(odd) + chunk(event) for event in EVENTS))
    assert reader.done
    assert reader.text == "hello there, you"


@given(st.binary(max_size=200))
def test_no_bytes_raise_or_pile_up(noise: bytes):
    """What cannot be a frame is dropped; of a length that could be one, the rest is waited for."""
    reader = read(noise, noise)
    assert not reader.done
    assert len(reader._rest) <= 2 * len(noise)
    assert read(b"\xff" * 4000)._rest == b""


def test_it_is_chosen_by_the_body_s_kind():
    class APIResponse:
        def __init__(self, kind: str) -> None:
            self.http_response = SimpleNamespace(is_closed=False, headers={"content-type": kind})

    dialect = AnthropicDialect()
    assert isinstance(dialect.unread(APIResponse("application/vnd.amazon.eventstream")), EventFrames)
    assert not isinstance(dialect.unread(APIResponse("text/event-stream")), EventFrames)
