"""A guarded client is its own class's client in all but `request`: it is copied, pickled and looked at as that class does.

The SDKs ask for the exact class here and there (which credentials a copy inherits, say), and a copy made by constructor
loses what the constructor does not take. So what copies a client runs on a plain twin, and its result is guarded again.
This file knows no request, no answer and no SDK by name.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any

_COPYING = ("copy", "with_options")


def unguarded(kind: type) -> Any:
    """The class under a guarded one; any other class as it is."""
    return getattr(kind, "__attune_inner__", kind)


def alike(client: Any, request: Any) -> Any:
    """A client like this one, of a subclass of its class that has this `request`; everything else is shared."""
    base = unguarded(type(client))
    guarded = _twin(client, base)
    guarded.__class__ = _subclass(base, request)
    return guarded


def _twin(client: Any, base: Any) -> Any:
    """The same client, of its own class, with resources of its own: those that were looked up hold the other client."""
    state = object.__getstate__(client)
    fields, slots = state if isinstance(state, tuple) else (state, {})
    twin = object.__new__(base)
    for name, value in slots.items():
        setattr(twin, name, value)
    vars(twin).update({name: value for name, value in (fields or {}).items() if not _looked_up(base, name)})
    if vars(twin).get("_middleware_chain") is not None:  # a closure over the client that it was made for
        twin._middleware_chain = twin._build_middleware_chain()
    return twin


def _looked_up(base: type, name: str) -> bool:
    return isinstance(inspect.getattr_static(base, name, None), functools.cached_property)


def _same(client: Any) -> Any:
    return client


def _subclass(base: Any, request: Any) -> Any:
    def again(made: Any) -> Any:
        if type(made) is base:
            made.__class__ = guarded
        return made

    def copying(method: Callable[..., Any]) -> Any:
        @functools.wraps(method)
        def copied(self: Any, *args: Any, **kwargs: Any) -> Any:
            return again(method(_twin(self, base), *args, **kwargs))

        return copied

    members = {
        **{name: copying(getattr(base, name)) for name in _COPYING if hasattr(base, name)},
        "request": functools.wraps(base.request)(request),
        "__copy__": lambda self: again(copy.copy(_twin(self, base))),
        "__deepcopy__": lambda self, memo: again(copy.deepcopy(_twin(self, base), memo)),
        "__reduce_ex__": lambda self, _: (_same, (_twin(self, base),)),  # as the twin is pickled, or refused
        "__attune_inner__": base,
        "__module__": base.__module__,
        "__qualname__": base.__qualname__,
        "__doc__": base.__doc__,
    }
    guarded = type(base.__name__, (base,), members)
    return guarded
