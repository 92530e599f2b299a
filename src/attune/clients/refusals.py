"""Refusals that existing code already catches: one class per pair of ours and an SDK's, made when first needed.

A dual instance is ours first and carries the attributes that the SDK's class promises. It pickles through a module-level
rebuilder, because both parents' own `__reduce__` would lose half of it.
"""

from __future__ import annotations

import functools
import importlib
from typing import Any

from attune.errors import CallError


def dual(error: CallError, sdk: str, nearest: str, *, url: str = "") -> CallError:
    """`error` again, as an instance of its own class and of `sdk.nearest`; as it was if the SDK lacks that class."""
    ours: Any = type(error)
    return rebuild(ours, sdk, nearest, error.args, dict(error.__dict__), url)


def rebuild(ours: Any, sdk: str, nearest: str, args: tuple[Any, ...], facts: dict[str, Any], url: str) -> CallError:
    """Make a dual instance from plain parts; also what its pickle calls."""
    cls: Any = _dual_class(ours, sdk, nearest)
    made = cls.__new__(cls, *args)
    made.args = args
    made.__dict__.update(facts)
    made.__dict__.setdefault("message", str(args[0]) if args else "")
    made.__dict__.setdefault("body", None)
    made.__dict__["_attune_dual"] = (sdk, nearest, url)
    if (request := _request(sdk, url)) is not None:
        made.__dict__["request"] = request
    refusal: CallError = made
    return refusal


@functools.cache
def _dual_class(ours: Any, sdk: str, nearest: str) -> Any:
    try:
        theirs = getattr(importlib.import_module(sdk), nearest)
    except (ImportError, AttributeError):
        return ours

    def __reduce__(self: CallError) -> tuple[Any, ...]:  # noqa: N807 - it becomes the class's own
        facts = {k: v for k, v in self.__dict__.items() if k not in ("request", "_attune_dual")}
        return rebuild, (ours, sdk, nearest, self.args, facts, self.__dict__["_attune_dual"][2])

    members = {"__reduce__": __reduce__, "__module__": ours.__module__, "__doc__": ours.__doc__}
    return type(ours.__name__, (ours, theirs), members)


def _request(sdk: str, url: str) -> Any:
    """A request object of the SDK's HTTP library, since its error classes promise one."""
    for library in ("httpx2", "httpx"):
        try:
            module = importlib.import_module(f"{sdk}._base_client")
            http = getattr(module, library, None)
            if http is not None:
                return http.Request("POST", url or "http://unsent.invalid")
        except Exception:  # noqa: BLE001 - a refusal without its request is still the refusal
            return None
    return None
