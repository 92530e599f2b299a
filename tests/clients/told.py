"""What a caller can see of a value, as plain data that compares: the classes by name, then everything inside.

It knows the shapes of pydantic models, of httpx's and the SDKs' responses and of exceptions, and leaves out what two runs
never share: addresses, times that passed, the headers that attune may change (see `DOCUMENTED`), and its note of what it tried.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

DOCUMENTED = frozenset({"traceparent", "tracestate", "baggage", "x-stainless-retry-count", "idempotency-key"})
TIMEOUTS = frozenset({"x-stainless-timeout", "x-stainless-read-timeout"})  # may differ where there is a deadline

_BOUNDARY = re.compile(r"boundary=[\w-]+")
_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
_PLAIN = (str, bytes, int, float, bool, type(None), type(...))
_DEEPEST = 30
_PARTS = (
    "status_code", "headers", "http_request", "url", "method", "http_version", "retries_taken", "request_id", "is_closed",
)  # fmt: skip


def kind(value: Any) -> tuple[str, ...]:
    """The classes of a value, nearest first. A class made from another in its name counts once."""
    names = [f"{cls.__module__}.{cls.__qualname__}" for cls in type(value).__mro__]
    return tuple(name for name, before in zip(names, [None, *names], strict=False) if name != before)


def headers_of(pairs: Any, *, without: frozenset[str] = DOCUMENTED) -> list[tuple[str, str]]:
    """Headers in order, but for those that may differ, and for what is drawn anew each time."""
    kept = ((name.lower(), value) for name, value in pairs if name.lower() not in without)
    return [(name, _BOUNDARY.sub("boundary=drawn", value)) for name, value in kept]


def told(value: Any, depth: int = 0) -> Any:
    """The value as plain data."""
    if isinstance(value, _PLAIN) and type(value) in _PLAIN:
        return value
    if depth > _DEEPEST:
        return "…"
    for known, tell in _TELLERS:
        if known(value):
            return tell(value, depth + 1)
    return (kind(value), _ADDRESS.sub("0x", repr(value)))


def _error(error: BaseException, depth: int) -> Any:
    seen = {name: told(held, depth) for name, held in vars(error).items() if name != "__notes__"}
    return {
        "raised": kind(error),
        "args": told(error.args, depth),
        "text": _ADDRESS.sub("0x", str(error)),
        "attributes": seen,
        "notes": [note for note in getattr(error, "__notes__", ()) if not note.startswith("attune tried ")],
        "cause": error.__cause__ and (kind(error.__cause__), str(error.__cause__)),
        "context": error.__context__ and kind(error.__context__),
        "suppressed": error.__suppress_context__,
    }


def _model(model: Any, depth: int) -> Any:
    return {
        "model": kind(model),
        "fields": {name: told(held, depth) for name, held in vars(model).items()},
        "extra": told(model.__pydantic_extra__, depth),
        "set": sorted(model.model_fields_set),
        "request_id": getattr(model, "_request_id", None),
    }


def _request(request: Any, depth: int) -> Any:
    return (kind(request), request.method, str(request.url), headers_of(request.headers.multi_items()))


def _response(response: Any, depth: int) -> Any:
    read = hasattr(response, "_content")
    return {
        "response": kind(response),
        "status": response.status_code,
        "headers": response.headers.multi_items(),
        "content": response.content if read else None,
        "closed": response.is_closed,
        "request": told(response.request, depth),
        "history": told(response.history, depth),
    }


def _api_response(response: Any, depth: int) -> Any:
    parts = {name: told(getattr(response, name, "missing"), depth) for name in _PARTS}
    return {"api": kind(response), "text": _ADDRESS.sub("0x", repr(response)), **parts}


def _signature(function: Any, depth: int) -> Any:
    try:
        signature = str(inspect.signature(function))
    except (TypeError, ValueError):
        signature = "?"
    return (getattr(function, "__qualname__", kind(function)), _ADDRESS.sub("0x", signature))


def _names(value: Any, *names: str) -> bool:
    return any(cls.__name__ in names for cls in type(value).__mro__)


def _of(value: Any, name: str) -> bool:
    return any(cls.__name__ == name and cls.__module__.startswith("httpx") for cls in type(value).__mro__)


_TELLERS: tuple[tuple[Any, Any], ...] = (
    (lambda it: isinstance(it, BaseException), _error),
    (lambda it: isinstance(it, type), lambda it, _: f"class {it.__module__}.{it.__qualname__}"),
    (lambda it: hasattr(it, "__pydantic_extra__"), _model),
    (lambda it: _of(it, "Request"), _request),
    (lambda it: _of(it, "Response"), _response),
    (lambda it: _of(it, "Headers"), lambda it, _: headers_of(it.multi_items())),
    (lambda it: _of(it, "URL"), lambda it, _: ("url", str(it))),
    (lambda it: _names(it, "BaseAPIResponse", "LegacyAPIResponse"), _api_response),
    (lambda it: _names(it, "Stream", "AsyncStream"), lambda it, d: {"stream": kind(it), "of": told(it.response, d)}),
    (lambda it: inspect.isroutine(it), _signature),
    (lambda it: isinstance(it, Mapping), lambda it, d: (kind(it), {str(k): told(v, d) for k, v in it.items()})),
    (lambda it: isinstance(it, (list, tuple)), lambda it, d: (kind(it), [told(one, d) for one in it])),
    (lambda it: isinstance(it, (set, frozenset)), lambda it, d: (kind(it), sorted(repr(told(one, d)) for one in it))),
)
