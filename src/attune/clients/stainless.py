"""The one seam of the SDKs that Stainless generates (anthropic, openai): `request()` and the streams it gives.

A guarded client is a shallow copy whose class is a dynamic subclass with `request` overridden; every public path of the
SDK passes there. Streams are tapped in place, by the same trick. This file imports no SDK and knows no answer's shape.
"""

from __future__ import annotations

import functools
import inspect
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from attune.clients.dialect import EventReader, Intercept, Watch
from attune.clients.watched import awatched, watched
from attune.models.call import AUTO, Target

RAW_HEADER = "X-Stainless-Raw-Response"
_TOLD = ("max_tokens", "temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed")


def speaks(client: Any, package: str, names: frozenset[str]) -> bool:
    """Whether some class of the client is one of `names`, defined in `package`."""
    return any(cls.__name__ in names and cls.__module__.partition(".")[0] == package for cls in type(client).__mro__)


def guard(client: Any, intercept: Intercept, answers: frozenset[str]) -> Any:
    """A copy of `client` that hands POSTs to the paths in `answers` to `intercept`; it shares the connection pool."""
    base = type(client)
    if (inner := getattr(base, "__attune_inner__", None)) is not None:  # guarding twice guards once
        base = inner
    guarded = client.with_options()
    guarded.__class__ = _subclass(base, intercept, answers, asynchronous=inspect.iscoroutinefunction(base.request))
    return guarded


def _subclass(base: type, intercept: Intercept, answers: frozenset[str], *, asynchronous: bool) -> type:
    def request(self: Any, cast_to: Any, options: Any, **kwargs: Any) -> Any:
        if (body := _body(options, answers)) is not None:
            return intercept(StainlessRequest(self, base, body, cast_to, options, kwargs))
        if (body := _auto(options)) is not None:
            return intercept(StainlessRequest(self, base, body, cast_to, options, kwargs, answers=False))
        return base.request(self, cast_to, options, **kwargs)  # type: ignore[attr-defined]  # any Stainless client

    async def arequest(self: Any, cast_to: Any, options: Any, **kwargs: Any) -> Any:
        return await request(self, cast_to, options, **kwargs)

    members = {
        "request": arequest if asynchronous else request,
        "__attune_inner__": base,
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
    }
    return type(base.__name__, (base,), members)


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


def _timeout_s(client: Any, options: Any) -> float | None:
    timeout = getattr(options, "timeout", None)
    if not isinstance(timeout, (int, float)):
        timeout = getattr(client, "timeout", None)
    read = timeout if isinstance(timeout, (int, float)) else getattr(timeout, "read", None)
    return float(read) if isinstance(read, (int, float)) else None


class StainlessRequest:
    """One call of `request()`, ready to be made again at any client of the same SDK. Never changed once made."""

    # Plain slots, not a frozen dataclass: one is made for every call, and its fields are read some twenty times.
    __slots__ = (
        "_base", "_cast_to", "_kwargs", "_options", "answers", "asynchronous", "client", "max_retries", "model", "params",
        "stream", "timeout_s",
    )  # fmt: skip

    def __init__(
        self, client: Any, base: Any, body: Mapping[str, Any], cast_to: Any, options: Any, kwargs: Mapping[str, Any],
        *, answers: bool = True,
    ) -> None:  # fmt: skip
        self._base = base
        self._cast_to = cast_to
        self._options = options
        self._kwargs = kwargs
        self.client = client
        self.answers = answers
        self.model: str = body["model"] if answers else AUTO
        self.stream = bool(kwargs.get("stream"))
        self.asynchronous = inspect.iscoroutinefunction(base.request)
        self.max_retries: int = options.get_max_retries(client.max_retries)
        self.params: Mapping[str, Any] = {
            name: body[name] for name in _TOLD if name in body and isinstance(body[name], (int, float))
        }
        self.timeout_s = _timeout_s(client, options)

    def send(self, target: Target, *, timeout_s: float | None) -> Any:
        """One attempt, at the target's own client where it has one."""
        changed: dict[str, Any] = {"max_retries": 0}
        if target.wire != self.model:
            changed["json_data"] = {**self._options.json_data, "model": target.wire}
        if timeout_s is not None:
            changed["timeout"] = timeout_s
        return self._request(target.client, self._options.model_copy(update=changed))

    def untouched(self, model: str) -> Any:
        """As it was written, but for the word `auto`."""
        options = self._options
        if model != self.model:
            options = options.model_copy(update={"json_data": _renamed(options.json_data, model)})
        return self._request(None, options)

    def _request(self, client: Any, options: Any) -> Any:
        at = self.client if client is None else client
        base: Any = self._base if at is self.client else type(at)
        base = getattr(base, "__attune_inner__", base)
        return base.request(at, self._cast_to, options, **self._kwargs)


def is_stream(value: Any) -> bool:
    """Whether it is a Stream or AsyncStream of such an SDK."""
    kind: Any = type(value)  # a plain type is hashable, though its stub says otherwise of type[Any]
    return bool(_is_stream_type(kind))


@functools.cache
def _is_stream_type(kind: Any) -> bool:
    return any(cls.__name__ in ("Stream", "AsyncStream") for cls in kind.__mro__)


def is_async(stream: Any) -> bool:
    """Whether its events are awaited."""
    return hasattr(type(stream), "__aiter__")


def hold(stream: Any, reader: EventReader) -> Any:
    """Take events until there is content; see `Dialect.hold`."""
    return _ahold(stream, reader) if is_async(stream) else _hold(stream, reader)


def _hold(stream: Any, reader: EventReader) -> list[Any]:
    held = []
    for event in stream._iterator:  # noqa: SLF001 - the one attribute through which both generations read
        reader.feed(event)
        held.append(event)
        if reader.content:
            break
    return held


async def _ahold(stream: Any, reader: EventReader) -> list[Any]:
    held = []
    async for event in stream._iterator:  # noqa: SLF001 - as above
        reader.feed(event)
        held.append(event)
        if reader.content:
            break
    return held


def tap(stream: Any, watch: Watch, held: Sequence[Any] = ()) -> Any:
    """Put `watch` between the stream and its reader, in place; see `Dialect.tap`.

    The instance is changed and never its class: before 1.0 the SDKs' `isinstance` knows the exact class only.
    """
    asynchronous = is_async(stream)
    stream._iterator = (awatched if asynchronous else watched)(stream._iterator, watch, held)  # noqa: SLF001 - as above
    stream.close = (_aclosing if asynchronous else _closing)(weakref.ref(stream), watch)
    weakref.finalize(stream, watch.dropped).atexit = False
    return stream


def _closing(ref: Any, watch: Watch) -> Any:
    """`close` for one instance, by a weak reference: a dropped stream must not wait for the garbage collector."""

    def close() -> None:
        watch.closed()
        if (stream := ref()) is not None:
            type(stream).close(stream)

    return close


def _aclosing(ref: Any, watch: Watch) -> Any:
    async def close() -> None:
        watch.closed()
        if (stream := ref()) is not None:
            await type(stream).close(stream)

    return close


def endpoint(client: Any) -> str:
    """The client's base URL without user info, query or a trailing slash."""
    url = str(getattr(client, "base_url", "")).partition("?")[0].rstrip("/")
    scheme, sep, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{sep}{host.rpartition('@')[2]}{slash}{path}" if sep else url
