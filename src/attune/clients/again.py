"""A request that is made again must be the same, and as well received: what the SDKs see to in their own loop of retries.

They read a body's iterators before the first attempt, and have a token that was refused replaced by a fresh one. attune
makes each attempt with that loop off, so it sees to both here. This file counts, waits for and decides nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final

# The body that an attempt is being sent with: no seam of ours catches that request again. It is taken out of its cell
# afterwards, since a task that was born meanwhile keeps the cell.
sending: ContextVar[Sequence[Any]] = ContextVar("attune_sending", default=())
_MOST: Final = 1_000_000  # values looked at in a body: one that contains itself never ends, and is the SDK's to refuse
_PLAIN = frozenset({str, int, float, bool, bytes, type(None)})


def repeatable(options: Any) -> Any:
    """The options, with every iterator in the body read into a list; the same object where there is none."""
    if not _read_once(options.json_data):
        return options
    return options.model_copy(update={"json_data": _kept(options.json_data)})


def _iterates(value: Any) -> bool:
    """Whether it is an iterator; a file is one too, of lines, and no SDK reads it so."""
    return hasattr(value, "__next__") and not hasattr(value, "read")


def _read_once(body: Any) -> bool:
    """Whether there is an iterator in it. One loop, without copies: bodies are long, and nearly none has one."""
    parts = [body]
    for _ in range(_MOST):
        if not parts:
            return False
        part = parts.pop()
        kind: Any = type(part)
        if kind in _PLAIN:
            continue
        if kind is dict:
            parts.extend(part.values())
        elif kind is list or kind is tuple:
            parts.extend(part)
        elif _iterates(part):
            return True
    return False


def _kept(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _kept(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)) or _iterates(value):
        return [_kept(part) for part in value]
    return value


def _renewed(client: Any, error: Exception) -> bool:
    """Whether the client's token was refused and will be asked for anew; the client itself forgets the old one."""
    response = getattr(error, "response", None)
    if getattr(response, "status_code", None) != 401 or getattr(client, "_token_cache", None) is None:
        return False
    return bool(client._should_retry(response))  # noqa: SLF001 - where the SDK itself sees to it


def send(through: Any, cast_to: Any, options: Any, kwargs: Mapping[str, Any], retries: int, renew: bool) -> Any:
    """Make a request that no seam of ours catches again, whichever of the client's classes it passes.

    `retries`: how often it was made before. `renew`: once, a token that is refused may be replaced.
    """
    cell, fresh = [options.json_data], renew
    token = sending.set(cell)
    try:
        while True:
            try:
                return _counted(through(cast_to, options, **kwargs), retries)
            except Exception as error:
                if not renew or not _renewed(getattr(through, "__self__", None), error) or not fresh:
                    raise
            fresh = False
    finally:
        cell.clear()
        sending.reset(token)


async def asend(through: Any, cast_to: Any, options: Any, kwargs: Mapping[str, Any], retries: int, renew: bool) -> Any:
    """The same, awaited."""
    cell, fresh = [options.json_data], renew
    token = sending.set(cell)
    try:
        while True:
            try:
                return _counted(await through(cast_to, options, **kwargs), retries)
            except Exception as error:
                if not renew or not _renewed(getattr(through, "__self__", None), error) or not fresh:
                    raise
            fresh = False
    finally:
        cell.clear()
        with contextlib.suppress(ValueError):  # dropped unfinished, and closed in another context
            sending.reset(token)


def _counted(answer: Any, retries: int) -> Any:
    """A raw response tells how often the request was made again, whoever made it."""
    if retries and hasattr(answer, "retries_taken"):
        answer.retries_taken += retries
    return answer
