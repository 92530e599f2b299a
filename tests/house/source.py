"""The source as the house's tests see it: every module parsed once, and who imports whom.

An import counts wherever it stands: at module level, in a function, under TYPE_CHECKING, or as text that names a module
of attune (a table for lazy loading, an argument of import_module). The name of a logger is no import, nor is a program's
(`python -m`).
"""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "attune"


@dataclass(frozen=True, slots=True)
class Module:
    """One file of the package."""

    name: str
    text: str
    tree: ast.Module
    is_package: bool = False

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Import:
    """One import: the module, the name taken from it ("" for the module as a whole), and its line."""

    module: str
    name: str
    line: int

    @property
    def dotted(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module


def written(text: str, name: str = "attune.calls.sample") -> Module:
    """Make a module out of a snippet, to try a rule on."""
    return Module(name=name, text=text, tree=ast.parse(text))


@functools.cache
def modules() -> tuple[Module, ...]:
    """Every file of the package."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = ["attune", *path.relative_to(PACKAGE).with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        text = path.read_text(encoding="utf-8")
        name = ".".join(parts[:-1] if is_package else parts)
        found.append(Module(name=name, text=text, tree=ast.parse(text, filename=str(path)), is_package=is_package))
    return tuple(found)


@functools.cache
def tracked() -> tuple[Path, ...]:
    """Every file that git keeps or would keep, relative to the root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return tuple(sorted(Path(name) for name in set(listed.split("\0")) if name and (ROOT / name).is_file()))


def imports(module: Module) -> Iterator[Import]:
    """Every import statement of a module."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, "", node.lineno)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield Import(_base(module, node), alias.name, node.lineno)


def refuse(found: Iterable[object]) -> None:
    """Fail with one line for each breach."""
    breaches = [str(breach) for breach in found]
    assert not breaches, "\n".join(["", *breaches])


def _base(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = module.name.split(".") if module.is_package else module.name.split(".")[:-1]
    kept = package[: len(package) - (node.level - 1)]
    return ".".join([*kept, *([node.module] if node.module else [])])


def neighbours(module: Module, known: Collection[str]) -> Iterator[tuple[str, int]]:
    """The modules of attune that a module imports, with the line of each import."""
    for found in imports(module):
        if found.dotted in known:
            yield found.dotted, found.line
        elif found.module in known:
            yield found.module, found.line
    for text, line in texts(module):
        if text in known and "." in text:
            yield text, line


def texts(module: Module) -> Iterator[tuple[str, int]]:
    """Every string literal that is neither a docstring, nor the name of a logger or a program."""
    silent = {id(node) for node in _docstrings(module.tree)}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and dotted(node.func).endswith("getLogger"):
            silent.update(id(argument) for argument in node.args)
        if isinstance(node, (ast.List, ast.Tuple)):
            pairs = zip(node.elts, node.elts[1:], strict=False)
            silent.update(id(after) for word, after in pairs if isinstance(word, ast.Constant) and word.value == "-m")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            yield node.value, node.lineno


def _docstrings(tree: ast.AST) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            for statement in node.body:  # attribute docstrings too: a bare string is never a value
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    yield statement.value


def dotted(node: ast.AST) -> str:
    """`a.b.c` for an attribute chain, the identifier for a name, else nothing."""
    if isinstance(node, ast.Attribute):
        head = dotted(node.value)
        return f"{head}.{node.attr}" if head else node.attr
    return node.id if isinstance(node, ast.Name) else ""
