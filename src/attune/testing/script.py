"""The steps that a scripted provider can take with one request, as plain data with a verb for each.

A Step says what happens; how it looks on the wire is `playback.py`'s business. Steps go to JSON and back unchanged.

`after` counts pieces of content of a stream: 0 is after the opening events (message_start, content_block_start, ping)
and before any content, None is before the first event. On a request that does not stream, `cut(after=n)` cuts the body
in half, `truncate` sends half a body as if it were whole, and `stream_error` is the HTTP error of that name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from attune.errors import ConfigError

GOOD = "GOOD"  # a good answer's text starts with this word
BAD = "BAD"  # a bad answer's text starts with this one

Act = Literal["answer", "fail", "hang", "refuse", "cut", "truncate", "stream_error", "malformed"]
_ACTS = ("answer", "fail", "hang", "refuse", "cut", "truncate", "stream_error", "malformed")

# name -> (HTTP status, the error's type). The types are those of https://docs.claude.com/en/api/errors (2026-11).
FAILURES: Mapping[str, tuple[int, str]] = {
    "invalid_request": (400, "invalid_request_error"),
    "auth": (401, "authentication_error"),
    "payment": (402, "billing_error"),
    "permission": (403, "permission_error"),
    "not_found": (404, "not_found_error"),
    "request_timeout": (408, "timeout_error"),
    "conflict": (409, "conflict_error"),
    "too_large": (413, "request_too_large"),
    "unprocessable": (422, "invalid_request_error"),
    "rate_limit": (429, "rate_limit_error"),
    "server": (500, "api_error"),
    "unavailable": (503, "api_error"),
    "timeout": (504, "timeout_error"),
    "overloaded": (529, "overloaded_error"),
}
_BY_STATUS: Mapping[int, tuple[int, str]] = {status: (status, kind) for status, kind in FAILURES.values()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What happens to one request. Make one with the verbs of this module: `ok`, `fail`, `hang` and the others.

    `delay_ms` is the wait before it shows; None: an answer takes its behaviour's latency, all else happens at once.
    """

    act: Act = "answer"
    text: str | None = None
    good: bool | None = None
    stop_reason: str = "end_turn"
    usage: Mapping[str, int] | None = field(default=None, hash=False)
    tool: str | None = None
    tool_input: Mapping[str, Any] | None = field(default=None, hash=False)
    status: int = 200
    error_type: str = ""
    message: str = ""
    error_code: str | None = None
    retry_after_s: float | None = None
    should_retry: bool | None = None
    after: int | None = None
    seconds: float = 30.0
    delay_ms: float | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be played."""
        if self.act not in _ACTS:
            raise ConfigError(f"Step(act={self.act!r}): use one of: {', '.join(_ACTS)}.")
        for name in ("seconds", "delay_ms", "retry_after_s", "after"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"Step({name}={value!r}): use a finite number, 0 or more.")

    def to_dict(self) -> dict[str, Any]:
        """What differs from a plain step, ready for JSON."""
        return {
            known.name: getattr(self, known.name)
            for known in fields(self)
            if getattr(self, known.name) != known.default
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Step:
        """The inverse of `to_dict`. Raises ConfigError on unknown names."""
        unknown = sorted(set(data) - {known.name for known in fields(cls)})
        if unknown:
            raise ConfigError(f"A step has no {', '.join(map(repr, unknown))}. Make it with Step.to_dict().")
        return cls(**data)


def ok(
    text: str | None = None,
    *,
    good: bool | None = None,
    stop_reason: str = "end_turn",
    usage: Mapping[str, int] | None = None,
    delay_ms: float | None = None,
) -> Step:
    """An answer: `text` to the letter, or the behaviour's own text, marked as `good` says (None: the dice).

    `usage` overrides token counts by the API's names, e.g. `{"cache_read_input_tokens": 7}`.
    """
    return Step(text=text, good=good, stop_reason=stop_reason, usage=usage, delay_ms=delay_ms)


def empty() -> Step:
    """A well-formed answer with nothing in it."""
    return Step(text="")


def refusal(text: str = "") -> Step:
    """An answer that stops with `stop_reason: "refusal"`."""
    return Step(text=text, stop_reason="refusal")


def tool_use(name: str, tool_input: Mapping[str, Any] | None = None, *, text: str = "") -> Step:
    """An answer that asks for one tool, after `text` if there is any."""
    return Step(text=text, tool=name, tool_input=dict(tool_input or {}), stop_reason="tool_use")


def fail(
    what: str | int = "overloaded",
    *,
    retry_after_s: float | None = None,
    should_retry: bool | None = None,
    error_code: str | None = None,
    message: str | None = None,
    delay_ms: float | None = None,
) -> Step:
    """An HTTP error, by name (a key of `FAILURES`, or "spend_limit") or by status (400..599).

    `retry_after_s` and `should_retry` become the headers `retry-after` and `x-should-retry`; `error_code` is told
    inside the error's `details`, as the API does for spend caps.
    """
    if what == "spend_limit":
        what, error_code = "rate_limit", error_code or "enforced_spend_limit_reached"
    status, kind = _status(what)
    return Step(
        act="fail",
        status=status,
        error_type=kind,
        message=f"scripted {kind}" if message is None else message,
        retry_after_s=retry_after_s,
        should_retry=should_retry,
        error_code=error_code,
        delay_ms=delay_ms,
    )


def hang(seconds: float = 30.0, *, after: int | None = None) -> Step:
    """Nothing more comes until the client closes; after `seconds` the server closes."""
    return Step(act="hang", seconds=seconds, after=after)


def refuse() -> Step:
    """The connection is reset before any byte of an answer."""
    return Step(act="refuse")


def cut(after: int | None = None) -> Step:
    """The connection ends before the headers (None), or in the middle of the answer."""
    return Step(act="cut", after=after)


def truncate(after: int | None = 1) -> Step:
    """A stream that ends as if it were whole, without message_stop."""
    return Step(act="truncate", after=after)


def stream_error(what: str | int = "overloaded", *, after: int | None = 0, message: str | None = None) -> Step:
    """An `error` event inside a stream whose HTTP status was 200."""
    status, kind = _status(what)
    return Step(
        act="stream_error",
        status=status,
        error_type=kind,
        message=f"scripted {kind}" if message is None else message,
        after=after,
    )


def malformed(after: int | None = 0) -> Step:
    """Status 200 and JSON that does not parse: the body, or the data of one event."""
    return Step(act="malformed", after=after)


def is_good(answer: Any) -> bool | None:
    """A judge for scripted answers: True for GOOD, False for BAD, None where the text starts with neither.

    Takes a text, or an answer of any API: a Message, an LLMResponse, a ChatCompletion or its message, a Response.
    """
    if choices := getattr(answer, "choices", None):
        answer = choices[0].message
    content = getattr(answer, "output_text", getattr(answer, "content", answer))
    if not isinstance(content, str):
        content = "".join(getattr(block, "text", "") for block in content or ())
    return True if content.startswith(GOOD) else False if content.startswith(BAD) else None


def _status(what: str | int) -> tuple[int, str]:
    known = FAILURES.get(what) if isinstance(what, str) else _BY_STATUS.get(what)
    if known is not None:
        return known
    if isinstance(what, int) and 400 <= what <= 599:
        return what, "api_error" if what >= 500 else "invalid_request_error"
    raise ConfigError(f"fail({what!r}): use a status from 400 to 599 or one of: {', '.join(FAILURES)}, spend_limit.")
