"""What is public is listed, documented, in its place, and survives a pickle."""

from __future__ import annotations

import enum
import importlib
import inspect
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from house.source import refuse

WINDOWS = ["attune", "attune.models", "attune.telemetry", "attune.clients", "attune.testing", "attune.errors"]
LISTED = [name for name in WINDOWS if name != "attune.errors"]  # everything in errors.py is public but `rebuild`


def public(window: Any) -> dict[str, Any]:
    """The names a window lists, or its classes where it lists none."""
    names = getattr(window, "__all__", None) or [name for name, value in vars(window).items() if inspect.isclass(value)]
    return {name: getattr(window, name) for name in names}


def undocumented(name: str, thing: Any) -> Iterator[str]:
    """The thing and its public members that say nothing of themselves. Constants are documented where they stand."""
    if inspect.isroutine(thing) and not (thing.__doc__ or "").strip():
        yield name
    if inspect.isclass(thing):
        text = thing.__dict__.get("__doc__") or ""
        if not text.strip() or text.startswith(f"{thing.__name__}("):  # what @dataclass writes is no documentation
            yield name
        for member, value in vars(thing).items():
            value = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
            value = value.fget if isinstance(value, property) else value
            if not member.startswith("_") and inspect.isfunction(value) and not (inspect.getdoc(value) or "").strip():
                yield f"{name}.{member}"


def errors() -> list[type[BaseException]]:
    """Every exception class of attune."""
    module = importlib.import_module("attune.errors")
    return [
        value for value in vars(module).values() if inspect.isclass(value) and issubclass(value, module.AttuneError)
    ]


@pytest.mark.parametrize("window", LISTED)
def test_a_window_lists_its_names_sorted_and_once(window):
    """`__all__` is the promise; `dir()` shows it too."""
    module = importlib.import_module(window)
    names = list(module.__all__)
    assert len(names) == len(set(names))
    assert set(names) <= set(dir(module))
    missing = [name for name in names if not hasattr(module, name)]
    assert missing == []


@pytest.mark.parametrize("window", WINDOWS)
def test_what_is_public_is_documented(window):
    """Every listed class, method and function has a docstring of its own."""
    module = importlib.import_module(window)
    assert (module.__doc__ or "").strip()
    refuse(found for name, thing in public(module).items() for found in undocumented(f"{window}.{name}", thing))


def test_every_exception_can_be_had_from_the_front_door():
    """`except attune.CircuitOpenError` needs no second import."""
    attune = importlib.import_module("attune")
    assert [cls.__name__ for cls in errors() if getattr(attune, cls.__name__, None) is not cls] == []


@pytest.mark.parametrize("cls", errors(), ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_exceptions_survive_a_pickle(cls, protocol):
    """Type, message, facts and notes arrive; nothing is built anew."""
    error = cls("what, which value, what to do")
    facts = {name: value for name, value in vars(error).items() if not isinstance(value, BaseException)}
    for name, value in facts.items():
        if isinstance(value, (int, float)):
            setattr(error, name, 12.5)
        elif isinstance(value, str):
            setattr(error, name, "anthropic")
    error.add_note("tried claude-haiku-5-5")
    back = pickle.loads(pickle.dumps(error, protocol))
    assert type(back) is cls
    assert back.args == error.args
    assert vars(back) == vars(error)
    assert str(back) == str(error)


def test_the_rule_sees_what_says_nothing():
    def silent(): ...

    class Half:
        """Says something."""

        def act(self): ...

        @property
        def fact(self): ...

    class Word(enum.Enum):
        A = 1

    assert list(undocumented("silent", silent)) == ["silent"]
    assert list(undocumented("Half", Half)) == ["Half.act", "Half.fact"]
    assert list(undocumented("Word", Word)) == ["Word"]
