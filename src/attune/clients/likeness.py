"""A guarded client is its own class's client in all but `request`: it is copied, pickled and looked at as that class does.

The SDKs ask for the exact class here and there (which credentials a copy inherits, say), and a copy made by constructor
loses what the constructor does not take. So what copies a client runs on a plain twin, and its result is guarded again.
This file knows no request, no answer and no SDK by name.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from types import NoneType
from typing import Any

_COPYING = ("copy", "with_options")
_PLAIN = (str, int, float, NoneType)  # a region, say, that the constructor put in a looked-up name's place


def unguarded(kind: type) -> Any:
    """The class under a guarded one; any other class as it is."""
    return getattr(kind, "__attune_inner__", kind)


def alike(client: Any, request: Any) -> Any:
    """A client like this one, of a subclass of its class that has this `request`; everything else is shared."""
    base = unguarded(type(client))
    looked_up = _looked_up(base)
    guarded = _twin(client, base, looked_up)
    guarded.__class__ = _subclass(base, request, looked_up)
    return guarded


def _looked_up(base: type) -> frozenset[str]:
    """What the class may keep in its instances once it was asked for: mostly resources, which hold their client."""
    known = {name: value for kind in reversed(base.__mro__) for name, value in vars(kind).items()}
    return frozenset(name for name, value in known.items() if isinstance(value, functools.cached_property))


def _twin(client: Any, base: Any, looked_up: frozenset[str]) -> Any:
    """The same client, of its own class, with resources of its own."""
    state = object.__getstate__(client)
    fields, slots = state if isinstance(state, tuple) else (state, {})
    twin = object.__new__(base)
    for name, value in slots.items():
        setattr(twin, name, value)
    kept = {name: value for name, value in (fields or {}).items() if name not in looked_up or isinstance(value, _PLAIN)}
    vars(twin).update({name: _moved(value, client, twin) for name, value in kept.items()})
    if vars(twin).get("_middleware_chain") is not None:  # a closure over the client that it was made for
        twin._middleware_chain = twin._build_middleware_chain()
    return twin


def _moved(value: Any, client: Any, twin: Any) -> Any:
    """A resource that the constructor made, and that sends through its client: the same for the twin. All else as it is."""
    if getattr(value, "_client", None) is not client:
        return value
    kind: Any = type(value)
    return kind(twin) if any(cls.__name__.endswith("APIResource") for cls in kind.__mro__) else value


def _same(client: Any) -> Any:
    return client


def _subclass(base: Any, request: Any, looked_up: frozenset[str]) -> Any:
    def plain(client: Any) -> Any:
        return _twin(client, base, looked_up)

    def again(made: Any) -> Any:
        if type(made) is base:
            made.__class__ = guarded
        return made

    def copied_alone(client: Any) -> Any:
        it = plain(client)
        made = copy.copy(it)
        vars(made).update({name: _moved(value, it, made) for name, value in vars(made).items()})
        return made

    def copying(method: Callable[..., Any]) -> Any:
        @functools.wraps(method)
        def copied(self: Any, *args: Any, **kwargs: Any) -> Any:
            return again(method(plain(self), *args, **kwargs))

        return copied

    members = {
        **{name: copying(getattr(base, name)) for name in _COPYING if hasattr(base, name)},
        "request": functools.wraps(base.request)(request),
        "__copy__": lambda self: again(copied_alone(self)),
        "__deepcopy__": lambda self, memo: again(copy.deepcopy(plain(self), memo)),
        "__reduce_ex__": lambda self, _: (_same, (plain(self),)),  # as the twin is pickled, or refused
        "__attune_inner__": base,
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
    }
    guarded = type(base.__name__, (base,), members)
    return guarded
