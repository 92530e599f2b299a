"""Imports go down only, siblings never meet, and nothing goes in circles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from house.source import Module, modules, neighbours, refuse, written

# A room may import rooms of lower floors, and itself. Rooms of the same floor are siblings.
FLOORS = {
    "errors": 0,
    "models": 1,
    "telemetry": 2,
    "clients": 2,
    "state": 2,
    "calls": 3,
    "attune": 4,
    "testing": 5,
    "cli": 6,
    "__main__": 7,
}


def room(name: str) -> str:
    """The room of a module: the word after `attune`, or `attune` for the front door."""
    return name.split(".")[1] if "." in name else "attune"


def climbs(every: Iterable[Module]) -> Iterator[str]:
    """Each import that does not go down."""
    every = list(every)
    known = {module.name for module in every}
    for module in every:
        for target, line in neighbours(module, known):
            here, there = room(module.name), room(target)
            if here != there and FLOORS[there] >= FLOORS[here]:
                yield f"{module.name}:{line} imports {target}"


def circles(every: Iterable[Module]) -> list[list[str]]:
    """Every group of modules that reach each other, by Tarjan's algorithm."""
    every = list(every)
    known = {module.name for module in every}
    graph = {module.name: sorted({target for target, _ in neighbours(module, known)}) for module in every}
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for target in graph[name]:
            if target not in order:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], order[target])
        if low[name] == order[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1 or name in graph[name]:
                found.append(sorted(group))

    for name in graph:
        if name not in order:
            visit(name)
    return found


def test_every_room_has_a_floor():
    """A new room is a decision: it gets its floor here."""
    assert {room(module.name) for module in modules()} <= set(FLOORS)


def test_imports_go_down_only():
    """Floors: cli > testing > attune > calls > telemetry, clients, state > models > errors."""
    refuse(climbs(modules()))


def test_nothing_imports_in_circles():
    """Neither at module level, nor inside functions, nor under TYPE_CHECKING."""
    refuse(circles(modules()))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("attune.models.x", "from attune.calls import plan"),
        ("attune.models.x", "def f():\n    from attune.telemetry.y import g"),
        ("attune.telemetry.x", "from attune.clients import dialect"),
        ("attune.state.x", "if TYPE_CHECKING:\n    import attune.telemetry.y"),
        ("attune.telemetry.x", "from ..clients.dialect import Dialect"),
        ("attune.calls.x", "import attune"),
        ("attune.calls.x", "from attune import routed"),
        ("attune", "import attune.testing"),
        ("attune.clients.x", "LAZY = {'plan': 'attune.calls.plan'}"),
    ],
)
def test_the_rule_sees_an_import_that_climbs(name, text):
    rooms = ["attune", "attune.testing", "attune.calls", "attune.calls.plan", "attune.telemetry", "attune.telemetry.y"]
    others = [written("", other) for other in [*rooms, "attune.clients", "attune.clients.dialect"] if other != name]
    assert len(list(climbs([*others, written(text, name)]))) == 1


def test_the_rule_lets_an_import_go_down():
    below = [written("", name) for name in ("attune", "attune.errors", "attune.models", "attune.models.call")]
    above = written("import attune\nfrom attune.models.call import Target\nfrom attune import errors", "attune.cli.x")
    assert list(climbs([*below, above])) == []


def test_the_rule_sees_a_circle():
    """Through a function, as well as at the top."""
    one = written("import attune.models.b", "attune.models.a")
    two = written("def f():\n    from attune.models import c", "attune.models.b")
    three = written("if TYPE_CHECKING:\n    from attune.models.a import A", "attune.models.c")
    assert circles([one, two, three]) == [["attune.models.a", "attune.models.b", "attune.models.c"]]
    assert circles([one, two, written("logging.getLogger('attune.models.a')", "attune.models.c")]) == []
