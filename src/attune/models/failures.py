"""Any error becomes a FailureKind, and a FailureKind a Rule: one table says what every failure means.

The kind says what happened; the rule says which circuit it touches, whether the same target or another one may be tried,
and whether the attempt can have cost anything. Errors are read by attributes and class names alone: no SDK is imported
here, and a dialect contributes rows for its own names (`FAILURES`). This file reads no message of an error, ever:
messages hold prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from attune.errors import CallError, CircuitOpenError, DeadlineExceeded, StreamInterrupted
from attune.models.hints import retry_after_s_of, should_retry_of


class FailureKind(StrEnum):
    """What happened to an attempt, in words that are also the values of `error.type`."""

    CONNECTION = "connection"
    TIMEOUT = "timeout"
    OVERLOADED = "overloaded"
    SERVER = "server"
    RATE_LIMIT = "rate_limit"
    SPEND_LIMIT = "spend_limit"
    AUTH = "auth"
    PAYMENT = "payment"
    NOT_FOUND = "not_found"
    INVALID_REQUEST = "invalid_request"
    TOO_LARGE = "too_large"
    STREAM_BROKEN = "stream_broken"
    CALLER = "caller"
    CANCELLED = "cancelled"
    CIRCUIT_OPEN = "circuit_open"
    OTHER = "other"


Touches = Literal["provider", "model"]
FallBack = Literal["any", "other_account", "default", "no"]
Billed = Literal["no", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a failure of one kind means for the attempt, the circuit and the rest of the call."""

    outcome: Literal["failure", "neutral", "rejected"]  # of the attempt, as it is told
    settles: Literal["failure", "neutral"]  # the permit: a 429 fails the attempt and leaves the circuit alone
    touches: Touches = "model"
    retry: bool = False  # the same target may be asked again
    fall_back: FallBack = "no"
    cool_s: float = 0.0  # the circuit is skipped this long without counting as sick, where the provider names no time
    billed: Billed = "no"  # an error status, or no byte at all, costs nothing; what was cut is unknown


RULES: Mapping[FailureKind, Rule] = {
    FailureKind.CONNECTION: Rule(outcome="failure", settles="failure", touches="provider", retry=True, fall_back="any"),
    FailureKind.TIMEOUT: Rule(outcome="failure", settles="failure", retry=True, fall_back="any", billed="unknown"),
    FailureKind.OVERLOADED: Rule(outcome="failure", settles="failure", retry=True, fall_back="any"),
    FailureKind.SERVER: Rule(outcome="failure", settles="failure", retry=True, fall_back="any"),
    FailureKind.RATE_LIMIT: Rule(
        outcome="failure", settles="neutral", retry=True, fall_back="any", cool_s=1.0
    ),  # refills
    FailureKind.SPEND_LIMIT: Rule(
        outcome="failure",
        settles="neutral",
        touches="provider",
        fall_back="other_account",
        cool_s=300.0,  # a cap does not refill by itself
    ),
    FailureKind.AUTH: Rule(outcome="failure", settles="failure", touches="provider", fall_back="other_account"),
    FailureKind.PAYMENT: Rule(outcome="failure", settles="failure", touches="provider", fall_back="other_account"),
    FailureKind.NOT_FOUND: Rule(outcome="neutral", settles="neutral", fall_back="default"),
    FailureKind.INVALID_REQUEST: Rule(outcome="neutral", settles="neutral", fall_back="default"),
    FailureKind.TOO_LARGE: Rule(outcome="neutral", settles="neutral", fall_back="default"),
    FailureKind.STREAM_BROKEN: Rule(
        outcome="failure", settles="failure", retry=True, fall_back="any", billed="unknown"
    ),
    FailureKind.CALLER: Rule(outcome="neutral", settles="neutral", billed="unknown"),
    FailureKind.CANCELLED: Rule(outcome="neutral", settles="neutral", billed="unknown"),
    FailureKind.CIRCUIT_OPEN: Rule(outcome="rejected", settles="neutral", fall_back="any"),
    FailureKind.OTHER: Rule(outcome="neutral", settles="neutral", billed="unknown"),
}

# HTTP statuses with one meaning for every provider. 429 and what is missing here is decided below.
_STATUSES: Mapping[int, FailureKind] = {
    400: FailureKind.INVALID_REQUEST,
    401: FailureKind.AUTH,
    402: FailureKind.PAYMENT,
    403: FailureKind.AUTH,
    404: FailureKind.NOT_FOUND,
    408: FailureKind.TIMEOUT,
    409: FailureKind.OTHER,
    412: FailureKind.INVALID_REQUEST,
    413: FailureKind.TOO_LARGE,
    422: FailureKind.INVALID_REQUEST,
    424: FailureKind.SERVER,  # a gateway (Bedrock, TGI) whose model failed at the request
    429: FailureKind.RATE_LIMIT,
    499: FailureKind.CANCELLED,
    529: FailureKind.OVERLOADED,
}

# Words that providers put into an error's `type`, `code` or `error_code`, whatever the status says.
_CODES: Mapping[str, FailureKind] = {
    "api_error": FailureKind.SERVER,
    "authentication_error": FailureKind.AUTH,
    "billing_error": FailureKind.PAYMENT,
    "insufficient_quota": FailureKind.SPEND_LIMIT,
    "internal_server_error": FailureKind.SERVER,
    "invalid_request_error": FailureKind.INVALID_REQUEST,
    "not_found_error": FailureKind.NOT_FOUND,
    "overloaded_error": FailureKind.OVERLOADED,
    "permission_error": FailureKind.AUTH,
    "rate_limit_error": FailureKind.RATE_LIMIT,
    "rate_limit_exceeded": FailureKind.RATE_LIMIT,
    "request_too_large": FailureKind.TOO_LARGE,
    "server_error": FailureKind.SERVER,
    "timeout_error": FailureKind.TIMEOUT,
}

# Such words for what this one request says or shows, and another of the same shape need not.
_PARTICULAR = frozenset({
    "bio_policy", "content_filter", "content_policy_violation", "failed_to_download_image", "image_content_policy_violation",
    "image_file_not_found", "invalid_image_url", "invalid_prompt", "misalignment_policy_violation",
})  # fmt: skip

# An answer that came whole and cannot be read was paid for, and no SDK asks the same target again.
_UNREADABLE = frozenset({"JSONDecodeError", "APIResponseValidationError"})

# What caller's code raises about its own mistakes; a provider is not to blame.
_CALLER_ERRORS = (TypeError, ValueError, LookupError, AssertionError, AttributeError, NameError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One classified error: its kind, and what the response around it said.

    `status` is the HTTP status or None; `retry_after_s` the wait the provider asked for (0..3600 s) or None;
    `should_retry` what `x-should-retry` said, None where it said nothing; `particular` whether it is about what this one
    request says, by the provider's word for it, so that it tells nothing of others that look alike.
    """

    kind: FailureKind
    status: int | None = None
    retry_after_s: float | None = None
    should_retry: bool | None = None
    particular: bool = False

    @property
    def rule(self) -> Rule:
        """The row of the table for this kind."""
        return RULES[self.kind]

    @property
    def cools_s(self) -> float | None:
        """How long the circuit cools: what the provider asked for, else the table's word; None where it does not."""
        if not self.rule.cool_s:
            return None
        return self.rule.cool_s if self.retry_after_s is None else self.retry_after_s


Classify = Callable[[BaseException], "FailureKind | str | None"]


def classify(
    error: BaseException,
    rows: Mapping[str, FailureKind] | None = None,
    hook: Classify | None = None,
    *,
    at_s: float = 0.0,
) -> Failure:
    """Say what an error means. `rows` (class name or code -> kind) are a dialect's, `hook` the user's and asked first.

    `at_s` (epoch seconds) is only needed to read a `Retry-After` that is a date. What the hook raises is the caller's
    to handle; an unknown word from it counts as "other".
    """
    status = _status(error)
    headers = getattr(getattr(error, "response", None), "headers", None)
    asked = _asked(error, hook)
    kind = asked or _kind(error, status, rows or {})
    should_retry = should_retry_of(headers)
    if should_retry is None and (status == 409 or (asked is None and type(error).__name__ in _UNREADABLE)):
        should_retry = status == 409
    refused = kind is FailureKind.INVALID_REQUEST
    return Failure(
        kind=kind,
        status=status,
        retry_after_s=retry_after_s_of(headers, at_s),
        should_retry=should_retry,
        particular=refused and any(isinstance(word, str) and word in _PARTICULAR for word in _words(error)),
    )


def failure_of_word(word: str, rows: Mapping[str, FailureKind]) -> Failure:
    """What an answer means that says it failed, by its own word for the reason; an unknown word is the server's fault.

    No SDK asks the same target again for it: its status was 200, and it may have been paid for.
    """
    kind = rows.get(word) or _CODES.get(word) or FailureKind.SERVER
    return Failure(kind=kind, particular=word in _PARTICULAR, should_retry=False)


def _asked(error: BaseException, hook: Classify | None) -> FailureKind | None:
    word = hook(error) if hook is not None else None
    if word is None:
        return None
    try:
        return FailureKind(word)
    except ValueError:
        return FailureKind.OTHER


def _kind(error: BaseException, status: int | None, rows: Mapping[str, FailureKind]) -> FailureKind:
    if not isinstance(error, Exception):  # CancelledError, GeneratorExit, KeyboardInterrupt, trio.Cancelled
        return FailureKind.CANCELLED
    if isinstance(error, CallError):
        if isinstance(error, DeadlineExceeded):
            return FailureKind.TIMEOUT
        if isinstance(error, StreamInterrupted):
            return FailureKind.STREAM_BROKEN
        return FailureKind.CIRCUIT_OPEN if isinstance(error, CircuitOpenError) else FailureKind.OTHER
    code = _code(error, rows)
    if status is not None and status >= 400:
        if code in (FailureKind.SPEND_LIMIT, FailureKind.OVERLOADED, FailureKind.TOO_LARGE):
            return code
        if status == 403 and code is FailureKind.NOT_FOUND:  # one model is closed to this account, not the provider
            return code
        default = FailureKind.SERVER if status >= 500 else FailureKind.INVALID_REQUEST
        return _STATUSES.get(status, default)
    if code is not None:  # an error inside a stream has status 200: only its code says what it is
        return code
    return _by_class(error, rows)


def _by_class(error: BaseException, rows: Mapping[str, FailureKind]) -> FailureKind:
    for cause in _causes(error):
        for cls in type(cause).__mro__:
            if (kind := rows.get(cls.__name__)) is not None:
                return kind
        if isinstance(cause, TimeoutError):
            return FailureKind.TIMEOUT
        if isinstance(cause, ConnectionError):
            return FailureKind.CONNECTION
    if type(error).__name__ == "CancelledError":  # concurrent.futures' is an Exception
        return FailureKind.CANCELLED
    return FailureKind.CALLER if isinstance(error, _CALLER_ERRORS) else FailureKind.OTHER


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__


def _status(error: BaseException) -> int | None:
    for holder in (error, getattr(error, "response", None)):
        status = getattr(holder, "status_code", None)
        if isinstance(status, int) and not isinstance(status, bool):
            return status
    return None


def _code(error: BaseException, rows: Mapping[str, FailureKind]) -> FailureKind | None:
    for word in _words(error):
        if isinstance(word, str) and (kind := rows.get(word) or _CODES.get(word)) is not None:
            return kind
    return None


def _words(error: BaseException) -> Iterator[Any]:
    """What an error calls itself, the most particular word first: attributes of new SDKs, the body of old ones."""
    body = getattr(error, "body", None)
    inner = body.get("error", body) if isinstance(body, dict) else None
    inner = inner if isinstance(inner, dict) else {}
    details = inner.get("details")
    yield getattr(error, "error_code", None)
    yield details.get("error_code") if isinstance(details, dict) else None
    for name in ("code", "type"):
        yield getattr(error, name, None)
        yield inner.get(name)
