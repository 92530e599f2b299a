"""What `@attune.routed` puts in a function's place: a proxy that copies and pickles as a function does, by its name.

So it can be handed to another process. It knows nothing of routing; wrapt loads with it, at the first decoration.
"""

from __future__ import annotations

import copy
import importlib
import operator
from typing import Any

import wrapt


class BoundProxy(wrapt.BoundFunctionWrapper):  # type: ignore[type-arg]  # generic in wrapt's stubs alone
    """A decorated method, seen through its instance or class."""

    def __reduce__(self) -> tuple[Any, ...]:
        """As a method: its owner, and its name there."""
        owner = _owner(self)
        return (_found, (self.__module__, self.__qualname__)) if owner is None else (getattr, (owner, self.__name__))

    def __reduce_ex__(self, protocol: Any) -> Any:
        """The same in every protocol."""
        del protocol
        return self.__reduce__()

    def __copy__(self) -> Any:
        """Functions are not copied."""
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        """As Python does it for methods: the instance is copied."""
        owner = _owner(self)
        return self if owner is None else getattr(copy.deepcopy(owner, memo), self.__name__)


class Proxy(wrapt.FunctionWrapper):  # type: ignore[type-arg]  # as above
    """A decorated function."""

    __bound_function_wrapper__ = BoundProxy

    def __reduce__(self) -> str:
        """By name: the other process finds its own."""
        return str(self.__qualname__)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """The same in every protocol."""
        del protocol
        return self.__reduce__()

    def __copy__(self) -> Any:
        """Functions are not copied."""
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        """Not deeply either."""
        del memo
        return self


def _owner(method: Any) -> Any:
    """The instance, or the class of a class method; None for a function that is only kept in a class."""
    instance = method._self_instance  # noqa: SLF001 - the name that wrapt documents for it
    return getattr(method.__wrapped__, "__self__", None) if instance is None else instance


def _found(module: str, name: str) -> Any:
    return operator.attrgetter(name)(importlib.import_module(module))
