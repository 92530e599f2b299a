"""Nothing is mutable at module level: per-call state is born in the call, the rest lives in a Runtime."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from house.source import Module, dotted, modules, refuse, written

# module:name -> why it may be mutable, or why it is not.
MARKED = {
    "attune.models.process:_slot": "the slot that the default Runtime is registered in",
    "attune.calls.default:_default": "the default Runtime",
    "attune.calls.default:_lock": "makes sure that there is one default Runtime",
    "attune.calls.settings:_adapter": "one compiled validator for each setting: a pure function of the setting's name",
    "attune.calls.start:_limits": "one frozen Limits for each combination of settings: a pure function of them",
    "attune.calls.identity:_cell": "the text of a cell: a pure function of its series, at most 4096 of them",
    "attune.clients.tapped:_is_stream_type": "one answer for each class: a pure function of it, at most 256 of them",
    "attune.clients.unread:_is_raw_type": "the same",
    "attune.clients.refusals:_dual_class": "one class for each pair of bases, since `except` and pickle compare identity",
}

# Annotations through which nothing can be changed; the type checker holds the promise.
READ_ONLY = {
    "Mapping", "Sequence", "Collection", "AbstractSet", "Set", "Iterable", "Callable", "tuple", "frozenset", "str", "int",
    "float", "bool", "bytes", "type", "TypeAlias", "Literal",
}  # fmt: skip
WRAPPERS = {"Final", "ClassVar", "Annotated"}

# Calls that make something immutable, or something whose one job is to be shared.
IMMUTABLE = {
    "frozenset", "tuple", "str", "int", "float", "bytes", "bool", "range", "MappingProxyType", "TypeVar", "ParamSpec",
    "TypeVarTuple", "NewType", "namedtuple", "compile", "getLogger", "ContextVar", "Decimal", "Fraction", "Struct",
    "object", "itemgetter", "attrgetter", "methodcaller", "Literal", "Union", "Optional", "version", "min", "max", "sum",
    "date", "round", "len", "cast", "hash", "pack", "timedelta",
}  # fmt: skip
REGISTRIES = {"Typer"}  # filled by decorators while the module is read, and by nothing after
MUTATORS = {
    "append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "clear", "remove", "discard",
    "appendleft", "popleft", "extendleft",
}  # fmt: skip
CACHES = {"cache", "lru_cache", "cached"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def frozen_classes(every: tuple[Module, ...]) -> set[str]:
    """The classes of attune whose instances never change: frozen dataclasses, enums, named tuples."""
    frozen = set()
    for module in every:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                bases = {dotted(base).split(".")[-1] for base in node.bases}
                marks = [mark for mark in node.decorator_list if isinstance(mark, ast.Call)]
                is_frozen = any(word.arg == "frozen" and _true(word.value) for mark in marks for word in mark.keywords)
                if is_frozen or bases & {"Enum", "StrEnum", "IntEnum", "NamedTuple"}:
                    frozen.add(node.name)
    return frozen


def _true(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def mutable(module: Module, frozen: set[str]) -> Iterator[str]:
    """Each module-level name bound to something that can change, and each cache that outlives its callers."""
    for statement in _top(module.tree.body):
        names, value, annotation = _binding(statement)
        named = [name for name in names if name != "__all__" and f"{module.name}:{name}" not in MARKED]
        if named and value is not None and not _kept(annotation) and (why := _why(value, frozen)):
            yield f"{module.name}:{statement.lineno} {named[0]} is {why}"
    for node in ast.walk(module.tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and f"{module.name}:{node.name}" not in MARKED:
            for mark in node.decorator_list:
                word = dotted(mark.func if isinstance(mark, ast.Call) else mark)
                if word.split(".")[-1] in CACHES:
                    yield f"{module.name}:{node.lineno} {node.name} keeps a cache"


def _top(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        if isinstance(statement, (ast.If, ast.Try, ast.With)):
            yield from _top([*statement.body, *getattr(statement, "orelse", [])])
            for handler in getattr(statement, "handlers", []):
                yield from _top(handler.body)
        else:
            yield statement


def _binding(statement: ast.stmt) -> tuple[list[str], ast.expr | None, ast.expr | None]:
    if isinstance(statement, ast.Assign):
        return [n.id for t in statement.targets for n in ast.walk(t) if isinstance(n, ast.Name)], statement.value, None
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
        return [statement.target.id], statement.value, statement.annotation
    return [], None, None


def _kept(annotation: ast.expr | None) -> bool:
    """Whether the annotation forbids change."""
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        annotation = ast.parse(annotation.value, mode="eval").body
    if isinstance(annotation, ast.BinOp):  # a union keeps if each side does
        return all(_kept(side) or _none(side) for side in (annotation.left, annotation.right))
    if isinstance(annotation, ast.Subscript):
        head = dotted(annotation.value).split(".")[-1]
        return _kept(annotation.slice) if head in WRAPPERS else head in READ_ONLY
    return annotation is not None and dotted(annotation).split(".")[-1] in READ_ONLY


def _none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _why(value: ast.expr, frozen: set[str]) -> str | None:
    if isinstance(value, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp)):
        return f"a mutable {type(value).__name__.lower()}"
    if isinstance(value, (ast.Tuple, ast.BoolOp, ast.IfExp, ast.BinOp)):
        inner = [child for child in ast.iter_child_nodes(value) if isinstance(child, ast.expr)]
        return next((why for child in inner if (why := _why(child, frozen))), None)
    if isinstance(value, ast.Call):
        word = dotted(value.func).split(".")[-1]
        return None if word in IMMUTABLE | REGISTRIES | frozen else f"made by {word or 'a call'}()"
    return None


def writes(module: Module) -> Iterator[str]:
    """Each place in a function where a module-level name is changed: global, item, attribute, or mutating method."""
    shared = {name for statement in _top(module.tree.body) for name in _binding(statement)[0]}
    shared -= {name.split(":")[1] for name in MARKED if name.startswith(f"{module.name}:")}
    for function in ast.walk(module.tree):
        if not isinstance(function, FUNCTIONS):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.Global):
                yield f"{module.name}:{node.lineno} global {', '.join(node.names)}"
            target = _changed(node)
            if isinstance(target, ast.Name) and target.id in shared - _local(function):
                yield f"{module.name}:{node.lineno} changes {target.id}"


def _changed(node: ast.AST) -> ast.expr | None:
    if isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, (ast.Store, ast.Del)):
        return node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
        return node.func.value
    return None


def _local(function: ast.AST) -> set[str]:
    arguments = {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)}
    stored = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    declared = {name for n in ast.walk(function) if isinstance(n, ast.Global) for name in n.names}
    return (arguments | stored) - declared


def test_nothing_mutable_lives_at_module_level():
    """But the slot, and what the table marks with its reason."""
    frozen = frozen_classes(modules())
    refuse(found for module in modules() for found in mutable(module, frozen))


def test_no_function_writes_to_its_module():
    """No `global`, and no change of a module's names from inside a function."""
    refuse(found for module in modules() for found in writes(module))


def test_every_marked_name_is_there_and_has_a_reason():
    """An allowance that nothing uses is taken back."""
    there = set()
    for module in modules():
        there |= {f"{module.name}:{name}" for statement in _top(module.tree.body) for name in _binding(statement)[0]}
        there |= {f"{module.name}:{node.name}" for node in ast.walk(module.tree) if isinstance(node, ast.FunctionDef)}
    assert set(MARKED) <= there
    assert all(MARKED.values())


@pytest.mark.parametrize(
    "text",
    [
        "CACHE = {}",
        "CACHE: dict[str, int] = {}",
        "CACHE: Final = {'a': 1}",
        "CACHE: Final[dict[str, int]] = {}",
        "SEEN = set()",
        "LOCK = threading.Lock()",
        "PAIR = (1, [])",
        "if True:\n    LATE = []",
        "RUNTIME = Runtime()",
        "@functools.lru_cache\ndef f(): ...",
        "class A:\n    @cache\n    def f(self): ...",
    ],
)
def test_the_rule_sees_what_can_change(text):
    assert len(list(mutable(written(text), {"Frozen"}))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "TABLE: Mapping[str, int] = {'a': 1}",
        "TABLE: Final[Mapping[str, int]] = {'a': 1}",
        "NAMES = frozenset({'a'})",
        "__all__ = ['a']",
        "RULE = Frozen(1)",
        "RULE = re.compile('x')",
        "LIMIT: Final = 3",
        "CURRENT: ContextVar[str | None] = ContextVar('x', default=None)",
        "class A:\n    __slots__ = ('a',)",
    ],
)
def test_the_rule_leaves_what_cannot_change(text):
    assert list(mutable(written(text), {"Frozen"})) == []


@pytest.mark.parametrize(
    "text",
    [
        "x = 1\ndef f():\n    global x\n    x = 2",
        "TABLE: Mapping[str, int] = {}\ndef f():\n    TABLE['a'] = 1",
        "ITEMS: Sequence[int] = []\ndef f():\n    ITEMS.append(1)",
        "RULE = Rule()\ndef f():\n    RULE.x = 1",
    ],
)
def test_the_rule_sees_a_write(text):
    assert len(list(writes(written(text)))) == 1


def test_the_rule_leaves_local_names():
    assert list(writes(written("items = ()\ndef f():\n    items = []\n    items.append(1)"))) == []
