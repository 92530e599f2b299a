"""A stream's reader that cannot disturb the stream: what it fails to understand is a counted fault, and no failure.

A reader that failed once is asked no more: from then on it is blind, holds nothing back, and takes the stream's end as
it comes. It knows no SDK and no call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attune.clients.dialect import NOTHING, EventReader, Facts


class CarefulReader:
    """An EventReader around a dialect's own. `on_fault(where, error)` counts."""

    __slots__ = ("_blind", "_on_fault", "_reader")

    def __init__(self, reader: EventReader, on_fault: Callable[[str, BaseException], None]) -> None:
        self._reader = reader
        self._on_fault = on_fault
        self._blind = False

    @property
    def content(self) -> bool:
        """Whether content has passed; a blind reader holds nothing back."""
        if self._blind:
            return True
        try:
            return self._reader.content
        except Exception as fault:  # noqa: BLE001 - law 5: what we cannot tell is still the caller's
            return self._blinded(fault)

    @property
    def done(self) -> bool:
        """Whether the terminal event has passed; a blind reader cannot say that it has not."""
        if self._blind:
            return True
        try:
            return self._reader.done
        except Exception as fault:  # noqa: BLE001 - as above
            return self._blinded(fault)

    @property
    def text(self) -> str:
        """The text that has been understood."""
        try:
            return self._reader.text
        except Exception as fault:  # noqa: BLE001 - as above
            self._blinded(fault)
            return ""

    def feed(self, event: Any) -> None:
        """Take one event in."""
        if self._blind:
            return
        try:
            self._reader.feed(event)
        except Exception as fault:  # noqa: BLE001 - law 5: an event we cannot read is still the caller's
            self._blinded(fault)

    def facts(self) -> Facts:
        """What has been understood; nothing, once an event was not."""
        if self._blind:
            return NOTHING
        try:
            return self._reader.facts()
        except Exception as fault:  # noqa: BLE001 - as above
            self._on_fault("dialect", fault)
            return NOTHING

    def _blinded(self, fault: Exception) -> bool:
        self._blind = True
        self._on_fault("dialect", fault)
        return True
