"""A stream of Amazon Bedrock as bytes: frames with headers and checksums, each with one event of the answer inside.

Read only where the caller reads the body himself; else the SDK does. What an event says is an EventReader's business, and
what is no event (an exception of the service, a frame that cannot be read) is left to who reads the body.
Layout: docs.aws.amazon.com, "Event stream encoding" (2026-11).
"""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace
from typing import Final

from attune.clients.dialect import EventReader, Facts

TYPE: Final = "application/vnd.amazon.eventstream"
_HEAD: Final = 12  # total length, length of the headers, checksum of both
_TAIL: Final = 4  # checksum of all
_MOST: Final = 16_777_216 + _HEAD + _TAIL  # the longest frame there is; a longer one is none


class EventFrames:
    """Frames as bytes, handed to an SDK's event reader as plain names."""

    __slots__ = ("_events", "_rest")

    def __init__(self, events: EventReader) -> None:
        self._events = events
        self._rest = b""

    @property
    def content(self) -> bool:
        """As the events' reader says."""
        return self._events.content

    @property
    def done(self) -> bool:
        """As the events' reader says."""
        return self._events.done

    @property
    def text(self) -> str:
        """The text that has arrived."""
        return self._events.text

    def feed(self, event: bytes) -> None:
        """Take a chunk of bytes in."""
        rest = self._rest + event
        start = 0
        while len(rest) - start >= _HEAD:
            total = int.from_bytes(rest[start : start + 4])
            if not _HEAD + _TAIL <= total <= _MOST:
                start = len(rest)
            elif len(rest) - start < total:
                break
            else:
                headers = int.from_bytes(rest[start + 4 : start + 8])
                self._take(rest[start + _HEAD + headers : start + total - _TAIL])
                start += total
        self._rest = rest[start:]

    def _take(self, payload: bytes) -> None:
        try:
            inner = base64.b64decode(json.loads(payload)["bytes"])
            said = json.loads(inner, object_hook=lambda fields: SimpleNamespace(**fields))
        except (ValueError, KeyError, TypeError):
            return
        self._events.feed(said)

    def facts(self) -> Facts:
        """As the events' reader says."""
        return self._events.facts()
