"""`models` decides, and only decides: time, dice and the world are arguments."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from house.source import Module, dotted, imports, modules, refuse, written

# What a pure module may import: words for shapes and arithmetic. Anything else is a door to the world, and needs a row
# in MARKED.
PURE = {
    "__future__", "abc", "bisect", "collections", "collections.abc", "contextlib", "copy", "dataclasses", "datetime",
    "decimal", "email.utils", "enum", "fractions", "functools", "hashlib", "heapq", "inspect", "itertools", "json",
    "math", "operator", "re", "string", "types", "typing", "unicodedata", "warnings", "weakref",
}  # fmt: skip

# Of these modules, only these names: a lock held for O(1), who is running, a line for the log.
PARTLY = {
    "threading": {"Lock", "RLock", "get_ident", "local"},
    "logging": {"getLogger", "Logger", "LoggerAdapter", "DEBUG", "INFO", "WARNING"},
}

# (module, import) -> why. The marked exceptions of law 1, and no more.
MARKED = {
    ("attune.models", "importlib"): "loads the file of a public name at its first use, so that importing stays cheap",
    ("attune.models.auth_file", "os"): "the auth strategy's own file, and ATTUNE_HOME",
    ("attune.models.auth_file", "stat"): "as above: only a regular file is read",
    ("attune.models.auth_file", "pathlib"): "as above",
    ("attune.models.auth_file", "tempfile"): "as above: replaced whole or not at all",
    ("attune.models.auth_strategy", "pathlib"): "save() and load() take a path and hand it to auth_file",
    ("attune.models.running", "sys"): "which task is running, asked only of an event loop that is loaded already",
    ("attune.models.code_size", "pathlib"): "the file that is handed to count_lines_of_code",
}

FORBIDDEN_CALLS = {"open", "print", "input", "exec", "eval", "__import__", "breakpoint"}
CLOCKS = {"now", "utcnow", "today"}


def doors(module: Module) -> Iterator[str]:
    """Each import or call through which a module of `models` would reach the world."""
    for found in imports(module):
        if found.module.split(".")[0] == "attune" or found.module in PURE or (module.name, found.module) in MARKED:
            continue
        if found.name not in PARTLY.get(found.module, ()) and not (found.module in PARTLY and not found.name):
            yield f"{module.name}:{found.line} imports {found.dotted}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute):
            head = dotted(node.value)
            if head in PARTLY and node.attr not in PARTLY[head]:
                yield f"{module.name}:{node.lineno} uses {head}.{node.attr}"
            if node.attr in CLOCKS and head.split(".")[-1] in ("datetime", "date"):
                yield f"{module.name}:{node.lineno} reads a clock: {head}.{node.attr}"
        word = dotted(node.func) if isinstance(node, ast.Call) else ""
        if word in FORBIDDEN_CALLS and (module.name, word) not in MARKED:
            yield f"{module.name}:{node.lineno} calls {word}"


def models() -> list[Module]:
    """The modules that must be pure."""
    return [module for module in modules() if module.name.split(".")[1:2] in (["models"], ["errors"])]


def test_models_are_pure():
    """No clock, dice, environment, handler, thread, OpenTelemetry, SDK or file."""
    refuse(door for module in models() for door in doors(module))


def test_every_marked_exception_is_used():
    """A row that marks nothing is a door left open."""
    used = {(module.name, found.module) for module in models() for found in imports(module)}
    used |= {
        (module.name, dotted(node.func))
        for module in models()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
    }
    assert set(MARKED) <= used
    assert all(MARKED.values())


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "from random import random",
        "def f():\n    import os",
        "from pathlib import Path",
        "if TYPE_CHECKING:\n    import anthropic",
        "import opentelemetry.trace",
        "from threading import Thread",
        "import threading\nthreading.Timer(1, f)",
        "from logging import StreamHandler",
        "import logging\nlogging.basicConfig()",
        "import datetime\nat = datetime.datetime.now()",
        "from datetime import date\nat = date.today()",
        "text = open('x').read()",
        "__import__('time')",
    ],
)
def test_the_rule_sees_a_door(text):
    assert len(list(doors(written(text, "attune.models.sample")))) == 1


def test_the_rule_leaves_arithmetic_alone():
    text = "import math\nimport logging\nfrom threading import Lock\nlog = logging.getLogger('x')\nlog.debug('%s', 1)"
    assert list(doors(written(text, "attune.models.sample"))) == []
