"""What a Response and the events of its stream say: usage, reason, text, whether it is all, and whether it failed.

A stream is complete with `response.completed`, `response.incomplete` or `response.failed`, or with an `error` event, which
the SDK hands on like any other. A Response that failed is an answer to the SDK, and to us a failure by its own code.
"""

from __future__ import annotations

from typing import Any

from attune.clients.dialect import NOTHING, Facts
from attune.clients.openai_chat import read_usage, text_of

_OPENING = frozenset(
    {
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.reasoning_summary_part.added",
    }
)
_CLOSING = frozenset(
    {"response.completed", "response.incomplete", "response.failed", "response.cancelled", "response.done"}
)
_PENDING = frozenset({"queued", "in_progress"})  # a background response: what it says will come later


def read(answer: Any) -> Facts:
    """A whole Response."""
    status = text_of(getattr(answer, "status", None))
    reason = text_of(getattr(getattr(answer, "incomplete_details", None), "reason", None)) or status
    error = getattr(answer, "error", None)
    return Facts(
        usage=read_usage(getattr(answer, "usage", None)),
        model=text_of(getattr(answer, "model", None)),
        response_id=text_of(getattr(answer, "id", None)),
        finish_reasons=(reason,) if reason is not None and status not in _PENDING else (),
        empty=status not in _PENDING and not any(map(_says, getattr(answer, "output", None) or ())),
        failed=_word(error) if status == "failed" else None,
    )


def _says(item: Any) -> bool:
    """Whether an item of the output is something to a caller: texts and refusals with words, any call of a tool."""
    kind = getattr(item, "type", None)
    if kind == "message":
        return any(
            getattr(part, "text", None) or getattr(part, "refusal", None)
            for part in getattr(item, "content", None) or ()
        )
    return kind != "reasoning"


def _word(error: Any) -> str:
    return text_of(getattr(error, "code", None)) or text_of(getattr(error, "type", None)) or ""


class ResponseEvents:
    """What the events of one response have said. Content begins with the first event that is no opening one."""

    __slots__ = ("_failed", "_id", "_last", "_model", "_text", "content", "done")

    def __init__(self) -> None:
        self.content = False
        self.done = False
        self._text: list[str] = []
        self._last: Facts | None = None  # of the closing event
        self._failed: str | None = None
        self._model: str | None = None
        self._id: str | None = None

    @property
    def text(self) -> str:
        """The text deltas so far."""
        return "".join(self._text)

    def feed(self, event: Any) -> None:
        """Take one event in; unknown ones pass."""
        kind = getattr(event, "type", None)
        if kind == "response.output_text.delta":
            self.content = True
            if isinstance(event.delta, str):
                self._text.append(event.delta)
        elif kind in _CLOSING:
            self._last, self.done = read(event.response), True
        elif kind == "error":
            self._failed, self.done = text_of(getattr(event, "code", None)) or "", True
        elif kind in _OPENING:
            if (response := getattr(event, "response", None)) is not None:
                self._model, self._id = text_of(response.model), text_of(response.id)
        elif isinstance(kind, str) and kind.startswith("response."):
            self.content = True  # a tool that runs has begun, too: nobody may start it a second time

    def facts(self) -> Facts:
        """The closing event's word; before it, who answers."""
        if self._last is not None:
            return self._last
        if self._failed is not None or self._model is not None:
            return Facts(model=self._model, response_id=self._id, failed=self._failed)
        return NOTHING
