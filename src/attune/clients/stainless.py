"""The one seam of the SDKs that Stainless generates (anthropic, openai): `request()`.

A guarded client is a shallow copy whose class is a dynamic subclass with `request` overridden; every public path of the
SDK passes there. For all clients of a process the same is wrapped around `request` of the SDK's own classes. The
streams that it gives are `tapped.py`'s. This file imports no SDK and knows no answer's shape.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from types import MethodType, SimpleNamespace
from typing import Any

from attune.clients.again import asend, repeatable, send, sending
from attune.clients.dialect import Intercept, Seam
from attune.clients.likeness import alike, unguarded
from attune.clients.unread import is_raw
from attune.models.call import AUTO, Target
from attune.models.failures import FailureKind

# Class names of the SDKs and of the HTTP library under them (httpx, or httpx2): only names, so neither is imported.
FAILURES: Mapping[str, FailureKind] = {
    "APITimeoutError": FailureKind.TIMEOUT,
    "APIConnectionError": FailureKind.CONNECTION,
    "APIResponseValidationError": FailureKind.SERVER,
    "RetryableError": FailureKind.SERVER,  # what middleware raises to have a request made again
    "JSONDecodeError": FailureKind.SERVER,  # status 200 and a body that does not parse
    "ConnectError": FailureKind.CONNECTION,
    "ConnectTimeout": FailureKind.CONNECTION,
    "PoolTimeout": FailureKind.TIMEOUT,
    "ReadTimeout": FailureKind.TIMEOUT,
    "WriteTimeout": FailureKind.TIMEOUT,
    "ReadError": FailureKind.STREAM_BROKEN,
    "RemoteProtocolError": FailureKind.STREAM_BROKEN,
    "WriteError": FailureKind.CONNECTION,
}

# What the APIs call a parameter that telemetry may tell, and the word for it there.
_TOLD: Mapping[str, str] = {
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "seed": "seed",
}

# Where a request to a model must go if its path does not say so: (client, path, model) -> an absolute URL, or None.
Address = Callable[[Any, str, str], str | None]


def speaks(client: Any, package: str, names: frozenset[str]) -> bool:
    """Whether some class of the client is one of `names`, defined in `package`. A plain loop: each dialect is asked so."""
    for cls in type(client).__mro__:  # noqa: SIM110 - any() takes three times as long
        if cls.__name__ in names and cls.__module__.partition(".")[0] == package:
            return True
    return False


def guard(client: Any, intercept: Intercept, answers: frozenset[str], address: Address | None = None) -> Any:
    """A copy of `client` that hands POSTs to the paths in `answers` to `intercept`; it shares the connection pool."""
    base = unguarded(type(client))  # guarding twice guards once
    asynchronous = inspect.iscoroutinefunction(base.request)

    def request(self: Any, cast_to: Any, options: Any, **kwargs: Any) -> Any:
        through = MethodType(base.request, self)
        try:
            caught = _caught(answers, address, self, through, cast_to, options, kwargs, asynchronous=asynchronous)
        except Exception as fault:  # noqa: BLE001 - law 5: a request that cannot be read is the SDK's alone
            caught = None
            if (tell := getattr(intercept, "fault", None)) is not None:
                tell(fault)
        return through(cast_to, options, **kwargs) if caught is None else intercept(caught)

    async def arequest(self: Any, cast_to: Any, options: Any, **kwargs: Any) -> Any:
        return await request(self, cast_to, options, **kwargs)

    return alike(client, arequest if asynchronous else request)


def seams(package: str, clients: Sequence[str]) -> tuple[Seam, ...]:
    """Where `request` is defined, and where others may have put one of their own over it."""
    bases = ("SyncAPIClient", "AsyncAPIClient")
    return (
        *((f"{package}._base_client", name) for name in bases),
        *((f"{package}._client", name) for name in clients),
    )


def catch(
    answers: frozenset[str], address: Address | None, client: Any, through: Any, args: Any, kwargs: Any, *,
    asynchronous: bool,
) -> StainlessRequest | None:  # fmt: skip
    """See `Instrumentable.catch`."""
    if hasattr(type(client), "__attune_inner__"):
        return None
    return _parted(answers, address, client, through, asynchronous, *args, **kwargs)


def _parted(
    answers: frozenset[str], address: Address | None, client: Any, through: Any, asynchronous: bool, /,
    cast_to: Any = None, options: Any = None, **kwargs: Any,
) -> StainlessRequest | None:  # fmt: skip
    """The arguments of `request`, by place or by name."""
    if any(body is getattr(options, "json_data", None) for body in sending.get()):
        return None
    return _caught(answers, address, client, through, cast_to, options, kwargs, asynchronous=asynchronous)


def _caught(
    answers: frozenset[str], address: Address | None, client: Any, through: Any, cast_to: Any, options: Any, kwargs: Any,
    *, asynchronous: bool,
) -> StainlessRequest | None:  # fmt: skip
    """The request, if attune has to do with it: a model will answer, or it says `auto`."""
    answered = (body := _body(options, answers)) is not None
    if body is None and (body := _auto(options)) is None:
        return None
    options = repeatable(options)
    return StainlessRequest(
        client,
        through,
        options.json_data,
        cast_to,
        options,
        kwargs,
        answers=answered,
        address=address,
        asynchronous=asynchronous,
    )


def _body(options: Any, answers: frozenset[str]) -> Mapping[str, Any] | None:
    if str(getattr(options, "method", "")).lower() != "post":
        return None
    path = str(getattr(options, "url", "")).partition("?")[0].rstrip("/")
    body = getattr(options, "json_data", None)
    if not any(path.endswith(answer) for answer in answers) or not isinstance(body, dict):
        return None
    return body if isinstance(body.get("model"), str) else None


def _auto(options: Any) -> Mapping[str, Any] | None:
    """The body of a request that no model answers and that says `auto` all the same: a token count, a batch."""
    body = getattr(options, "json_data", None)
    if not isinstance(body, dict) or str(getattr(options, "method", "")).lower() != "post":
        return None
    return body if _renamed(body, "") != body else None


def _renamed(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The body with `model` in place of `auto`, in a batch's requests too."""
    named = {**body, "model": model} if body.get("model") == AUTO else dict(body)
    if isinstance(parts := named.get("requests"), (list, tuple)):
        named["requests"] = [
            {**part, "params": _renamed(part["params"], model)}
            if isinstance(part, dict) and isinstance(part.get("params"), dict)
            else part
            for part in parts
        ]
    return named


def _timeout(client: Any, options: Any) -> Any:
    """What the caller wrote, None included, else the client's: seconds, or httpx's time-out in parts."""
    if hasattr(options, "timeout") and type(options.timeout).__name__ != "NotGiven":
        return options.timeout
    return getattr(client, "timeout", None)


def _read_s(timeout: Any) -> float | None:
    read = timeout if isinstance(timeout, (int, float)) else getattr(timeout, "read", None)
    return float(read) if isinstance(read, (int, float)) else None


def _within(timeout: Any, limit_s: float) -> Any:
    """A time-out in parts keeps its parts, none of them over the limit; else the limit itself."""
    if not hasattr(timeout, "connect"):
        return limit_s
    parts = {part: getattr(timeout, part) for part in ("connect", "read", "write", "pool")}
    return type(timeout)(**{part: limit_s if own is None else min(own, limit_s) for part, own in parts.items()})


class StainlessRequest:
    """One call of `request()`, ready to be made again at any client of the same SDK. Only its sends are counted."""

    # Plain slots, not a frozen dataclass: one is made for every call, and its fields are read some twenty times.
    __slots__ = (
        "_address", "_cast_to", "_kwargs", "_options", "_sent", "_through", "_timeout", "answers", "asynchronous", "client",
        "max_retries", "model", "params", "stream", "timeout_s",
    )  # fmt: skip

    def __init__(
        self, client: Any, through: Any, body: Mapping[str, Any], cast_to: Any, options: Any, kwargs: Mapping[str, Any],
        *, answers: bool, asynchronous: bool, address: Address | None = None,
    ) -> None:  # fmt: skip
        self._address = address
        self._through = through  # the client's own `request`, bound and unguarded
        self._cast_to = cast_to
        self._options = options
        self._kwargs = kwargs
        self._sent = 0
        self.client = client
        self.answers = answers
        self.model: str = body["model"] if answers else AUTO
        self.stream = bool(kwargs.get("stream"))
        self.asynchronous = asynchronous
        self.max_retries: int = options.get_max_retries(client.max_retries)
        self.params: Mapping[str, Any] = {
            word: body[name] for name, word in _TOLD.items() if name in body and isinstance(body[name], (int, float))
        }
        self._timeout = _timeout(client, options)
        self.timeout_s = _read_s(self._timeout)

    @property
    def body(self) -> Mapping[str, Any]:
        """What would be sent, as the caller wrote it; not to be changed."""
        extra = self._options.extra_json
        return {**self._options.json_data, **extra} if extra else self._options.json_data

    @property
    def headers(self) -> Mapping[str, Any]:
        """Those of this request alone, as the SDK has them before it sends; not to be changed."""
        return self._options.headers or {}

    def send(self, target: Target, *, timeout_s: float | None) -> Any:
        """One attempt, at the target's own client where it has one."""
        changed: dict[str, Any] = {"max_retries": 0}
        if target.wire != self.model:
            changed.update(self._addressed(target.client, target.wire))
            changed["json_data"] = {**self._options.json_data, "model": target.wire}
        if timeout_s is not None:
            changed["timeout"] = _within(self._timeout, timeout_s)
        self._sent += 1
        options, renew = self._options.model_copy(update=changed), self.max_retries > 0
        return self._request(target.client, options, retries=self._sent - 1, renew=renew)

    def _addressed(self, client: Any, model: str) -> dict[str, str]:
        """The URL, where the client alone would send this model's request to another's address."""
        if self._address is None:
            return {}
        url = self._address(self.client if client is None else client, str(self._options.url), model)
        return {} if url is None else {"url": url}

    def untouched(self, model: str) -> Any:
        """As it was written, but for the word `auto`."""
        options = self._options
        if model != self.model:
            options = options.model_copy(
                update={"json_data": _renamed(options.json_data, model), **self._addressed(None, model)}
            )
        return self._request(None, options)

    def _request(self, client: Any, options: Any, *, retries: int = 0, renew: bool = False) -> Any:
        if client is None or client is self.client:
            through = self._through
        else:
            kind: Any = type(client)
            through = MethodType(unguarded(kind).request, client)
        sender = asend if self.asynchronous else send
        return sender(through, self._cast_to, options, self._kwargs, retries, renew)


def unwrapped(answer: Any) -> Any:
    """The answer that a raw response holds, as plain names; anything else as it is.

    The raw response's own `parse` is the caller's: it may be async, and is not run twice for nothing.
    """
    if not is_raw(answer):
        return answer
    response = answer.http_response
    if not response.is_closed:
        return None  # a body that nobody has read yet
    try:
        return json.loads(response.content, object_hook=lambda fields: SimpleNamespace(**fields))
    except ValueError:
        return None  # the caller will parse it too, and be told


def endpoint(client: Any) -> str:
    """The client's base URL without user info, query or a trailing slash."""
    url = str(getattr(client, "base_url", "")).partition("?")[0].rstrip("/")
    scheme, sep, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{sep}{host.rpartition('@')[2]}{slash}{path}" if sep else url
