"""Names of telemetry are spelled once, in telemetry/names.py; a second spelling is a silent break of the loop."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest
from house.source import Module, modules, refuse, texts, written

NAMES = "attune.telemetry.names"
SPELLED = re.compile(r"gen_ai\.[a-z0-9_.]*|attune\.[a-z0-9_.]+")
CONVENTIONS = (
    "error.",
    "service.",
    "server.",
    "http.",
    "otel.",
    "telemetry.",
)  # beside gen_ai.: whose attributes we use
FILES = {"attune.toml"}


def spelled_again(module: Module, known: set[str], owned: frozenset[str] = frozenset()) -> Iterator[str]:
    """Each literal that is a dotted name of telemetry: ours or GenAI's, or another that names.py owns."""
    pieces = {(node.value, node.lineno) for node in _beginnings(module.tree)}
    for text, line in pieces | set(texts(module)):
        bare = text.rstrip(" ")
        if (SPELLED.fullmatch(bare) and bare not in FILES and not _in(bare, known)) or text in owned:
            yield f"{module.name}:{line} spells {text!r}"


def _beginnings(tree: ast.AST) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant):
            yield node.values[0]


def _in(text: str, known: set[str]) -> bool:
    """Whether it is the address of a module, or of something in one."""
    return any(text == name or text.startswith(f"{name}.") for name in known if "." in name)


def test_names_are_spelled_once():
    """Outside names.py, no literal is the name of a span, a metric or an attribute."""
    known = {module.name for module in modules()}
    home = [module for module in modules() if module.name == NAMES]
    owned = frozenset(text for module in home for text, _ in texts(module) if text.startswith(CONVENTIONS))
    others = [module for module in modules() if module.name != NAMES]
    assert owned, "names.py spells nothing: this rule would hold nothing"
    refuse(found for module in others for found in spelled_again(module, known, owned))


@pytest.mark.parametrize(
    "text",
    [
        "NAME = 'attune.call.duration'",
        "span.set_attribute('gen_ai.request.model', model)",
        "name = f'attune.route {workflow}'",
        "name = f'gen_ai.{rest}'",
        "ERROR = 'error.type'",
    ],
)
def test_the_rule_sees_a_second_spelling(text):
    assert len(list(spelled_again(written(text), {"attune", "attune.models"}, frozenset({"error.type"})))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "log = logging.getLogger('attune.router')",
        "HOME = 'attune.models.call'",
        "HINT = 'attune.wrap(client) takes a client'",
        "FILE = 'attune.toml'",
        '"""attune.call.duration is told elsewhere."""',
    ],
)
def test_the_rule_leaves_other_words(text):
    assert list(spelled_again(written(text), {"attune", "attune.models"})) == []
