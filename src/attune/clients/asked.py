"""What a request asks of whoever answers it: what binds it to one place, and its shape without its words.

Both are what a dialect may say of a request before it is sent; a dialect that says neither loses nothing else. A shape
holds names of parameters, kinds of blocks and orders of magnitude, never a text: it tells requests apart that one model
takes and another refuses. It lives in memory for a while, and goes nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What holds a request where it is.

    `account`: it refers to what only this client's account has (files, containers, earlier answers), so no other client
    may get it. `model`: it names the models itself, so attune does not fall back to another one.
    """

    account: bool = False
    model: bool = False


FREE: Final = Binding()
ACCOUNT: Final = Binding(account=True)


@dataclass(frozen=True, slots=True)
class Shape:
    """How a request looks: `names` of what is in it, and `size`, the characters of all its texts together."""

    names: frozenset[str]
    size: int


@runtime_checkable
class RequestReader(Protocol):
    """A dialect that can read its requests. Both methods look, and neither copies nor changes anything."""

    def binding(self, request: Any) -> Binding:
        """What binds it. At most one look at each block of its messages."""
        ...

    def shape(self, request: Any) -> Shape | None:
        """Its shape, None where it has no body that can be read."""
        ...


# Parameters that say nothing of what a model can do.
_ASIDE: Final = frozenset({
    "model", "metadata", "user", "safety_identifier", "prompt_cache_key", "cache_control", "store", "seed", "user_profile_id",
})  # fmt: skip
_TEXTS: Final = frozenset({"messages", "input", "system", "instructions", "prompt", "prediction"})
# Whose values are words of the API, and no words of the caller's.
_WORDS: Final = frozenset({
    "type", "effort", "mode", "service_tier", "reasoning_effort", "speed", "verbosity", "truncation", "display", "summary",
})  # fmt: skip
# How the SDKs write, before a body is sent, that a parameter was left out. They are false, as None is.
_NOTHING: Final = frozenset({"NoneType", "Omit", "NotGiven"})
_MOST: Final = 1_000_000  # values looked at for a size


def shape_of(body: Mapping[str, Any]) -> Shape:
    """The shape of a JSON body of any of the chat APIs."""
    names: set[str] = set()
    for key, value in body.items():
        if key in _ASIDE or type(value).__name__ in _NOTHING:
            continue
        if key in _TEXTS:
            names.add(key)
        elif key == "tools" and isinstance(value, (list, tuple)):
            for tool in value:
                names.update(_named("tools", tool))
        else:
            names.update(_named(key, value))
    kinds: set[Any] = set()
    for block in blocks_of(body):
        kinds.add(block.get("type"))
        if isinstance(source := block.get("source"), dict):
            names.add(f"source {source.get('type')}")
    names.update(f"block {kind}" for kind in kinds if kind not in (None, "text", "message"))
    if _prefilled(body):
        names.add("prefill")
    size = _size(body)
    names.add(f"size {size.bit_length()}")
    return Shape(frozenset(names), size)


def blocks_of(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every block of every message, the latest message first, and what is inside a tool's result."""
    for message in _turns(body):
        if type(content := message.get("content")) is not list:
            yield message  # an item that is its own block, as the Responses API has them
            continue
        for block in content:
            if isinstance(block, dict):
                yield block
                if type(inner := block.get("content")) is list:
                    yield from (it for it in inner if isinstance(it, dict))


def _turns(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    turns = body.get("messages", body.get("input"))
    if isinstance(turns, (list, tuple)):
        yield from (turn for turn in reversed(turns) if isinstance(turn, dict))


def _prefilled(body: Mapping[str, Any]) -> bool:
    last = next(_turns(body), None)
    return last is not None and last.get("role") == "assistant"


def _named(key: str, value: Any) -> Iterator[str]:
    """A parameter's name, with what of its value a model may refuse: words of the API, and magnitudes."""
    if isinstance(value, Mapping):
        yield key
        for inner, it in value.items():
            yield from _simple(f"{key}.{inner}", inner, it)
    else:
        yield from _simple(key, key, value)


def _simple(name: str, key: str, value: Any) -> Iterator[str]:
    if type(value).__name__ in _NOTHING:
        return
    if isinstance(value, bool):
        yield f"{name} {value}"
    elif isinstance(value, (int, float)):
        yield f"{name} ~{math.frexp(value)[1]}" if value else f"{name} 0"
    elif isinstance(value, str) and key in _WORDS:
        yield f"{name} {value[:40]}"
    else:
        yield name


def _size(body: Any) -> int:
    """Characters of all texts in a body; of one that never ends, those that were looked at."""
    size, left, stack = 0, _MOST, [body]
    while stack and left:
        left -= 1
        value = stack.pop()
        kind = type(value)
        if kind is str:
            size += len(value)
        elif kind is dict:
            stack.extend(value.values())
        elif kind is list or kind is tuple:
            stack.extend(value)
    return size
