"""What a ChatCompletion, its chunks, and those of the old Completions API say: usage, reason, text, and whether it is all.

A stream is complete when every choice that has begun has said why it ended. Usage follows in a chunk of its own, and only
where the request asked for it (`stream_options={"include_usage": True}`): else tokens stay unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attune.clients.dialect import NOTHING, Facts
from attune.models.response import Usage

_PARTS = ("content", "refusal", "tool_calls", "function_call", "audio")


def read(answer: Any) -> Facts:
    """A whole completion. What is no such thing says nothing."""
    choices = getattr(answer, "choices", None)
    if not isinstance(choices, (list, tuple)):
        error = getattr(answer, "error", None)
        return Facts(failed=_word(error)) if error else NOTHING
    reasons = [getattr(choice, "finish_reason", None) for choice in choices]
    return Facts(
        usage=read_usage(getattr(answer, "usage", None)),
        model=text_of(getattr(answer, "model", None)),
        response_id=text_of(getattr(answer, "id", None)),
        finish_reasons=tuple(reason for reason in reasons if isinstance(reason, str)),
        empty=not any(map(_says, choices)),
    )


def _word(error: Any) -> str:
    """What a gateway calls its error that it sent with status 200 in place of an answer; statuses are words too."""
    told = error if isinstance(error, Mapping) else {name: getattr(error, name, None) for name in ("code", "type")}
    return next((str(it) for it in (told.get("code"), told.get("type")) if it), "")


def _says(choice: Any) -> bool:
    message = getattr(choice, "message", None)
    if message is None:
        return bool(getattr(choice, "text", None))
    return any(getattr(message, part, None) for part in _PARTS)


class ChatEvents:
    """What the chunks of one stream have said. Content begins with the first delta that carries any."""

    __slots__ = ("_choices", "_id", "_model", "_reasons", "_text", "_usage", "content")

    def __init__(self) -> None:
        self.content = False
        self._text: list[str] = []
        self._choices: set[int] = set()
        self._reasons: dict[int, str] = {}  # of each choice that has ended
        self._usage: Usage | None = None
        self._model: str | None = None
        self._id: str | None = None

    @property
    def done(self) -> bool:
        """Whether every choice that began has ended."""
        return bool(self._reasons) and len(self._reasons) == len(self._choices)

    @property
    def text(self) -> str:
        """The text of the first choice so far."""
        return "".join(self._text)

    def feed(self, chunk: Any) -> None:
        """Take one chunk in; unknown ones pass."""
        for choice in getattr(chunk, "choices", None) or ():
            self._feed(choice)
        if self._id is None:
            self._id, self._model = text_of(getattr(chunk, "id", None)), text_of(getattr(chunk, "model", None))
        if (usage := getattr(chunk, "usage", None)) is not None:  # some send running totals: the last one counts
            self._usage = read_usage(usage)

    def _feed(self, choice: Any) -> None:
        index = choice.index
        self._choices.add(index)
        delta = getattr(choice, "delta", None)
        text = getattr(choice if delta is None else delta, "text" if delta is None else "content", None)
        if text and isinstance(text, str):
            self.content = True
            if index == 0:
                self._text.append(text)
        elif not self.content and delta is not None:
            self.content = any(getattr(delta, part, None) for part in _PARTS) or _extra(delta)
        if isinstance(reason := getattr(choice, "finish_reason", None), str):
            self._reasons[index] = reason

    def facts(self) -> Facts:
        """Usage as the last chunk gave it, if any did."""
        return Facts(
            usage=self._usage,
            model=self._model,
            response_id=self._id,
            finish_reasons=tuple(self._reasons[index] for index in sorted(self._reasons)),
            empty=self.done and not self.content,
        )


def _extra(delta: Any) -> bool:
    """Whether a delta carries what the SDK has no name for, such as the reasoning of other vendors' models."""
    return any((getattr(delta, "model_extra", None) or {}).values())


def read_usage(usage: Any) -> Usage | None:
    """Either API's usage object. Its input counts cached tokens too, its output those of the reasoning."""
    given, out = _first(usage, "prompt_tokens", "input_tokens"), _first(usage, "completion_tokens", "output_tokens")
    if given is None and out is None:
        return None
    details = getattr(usage, "prompt_tokens_details", None) or getattr(usage, "input_tokens_details", None)
    read = _first(details, "cached_tokens") or 0
    written = _first(details, "cache_write_tokens") or 0
    return Usage(
        input_tokens=max(0, (given or 0) - read - written),
        output_tokens=out or 0,
        cache_read_tokens=read,
        cache_write_tokens=written,
    )


def _first(holder: Any, *names: str) -> int | None:
    for name in names:
        value = getattr(holder, name, None)
        if isinstance(value, int) and value >= 0:
            return value
    return None


def text_of(value: Any) -> str | None:
    """The value if it is a text."""
    return value if isinstance(value, str) else None
