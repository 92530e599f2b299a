"""Just enough of TraceQL to try the dashboards' queries on spans that were really made, where no Tempo runs.

`{ a && (b || c) } | select(...)`, or `| quantile_over_time(field, q) by (field)`: conditions compare one field with one
value. Anything else is an error, so that a query of another shape is looked at before it is shipped.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|&&|\|\||=~|!=|>=|<=|[{}()|,=<>]|[\w.:$-]+)')
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=~": lambda value, pattern: re.fullmatch(pattern, str(value)) is not None,
}
SHAPES = {"select": r"select\((.+)\)", "quantile_over_time": r"quantile_over_time\(([^,]+), \.\d+\)( by \((.+)\))?"}
Condition = Callable[[Any], bool]


@dataclass(slots=True)
class Query:
    """A parsed query: which spans it finds, which fields it shows, and the equalities in it."""

    finds: Condition
    shows: list[str]
    equal: dict[str, Any] = field(default_factory=dict)


def parse(text: str) -> Query:
    """The query, or a ValueError that says what is not understood."""
    inner, _, stage = text.partition("}")
    tokens = list(_tokens(inner.strip().removeprefix("{")))
    equal: dict[str, Any] = {}
    finds = _either(tokens, equal)
    if tokens:
        raise ValueError(f"not understood: {tokens}")
    word = stage.strip().removeprefix("|").strip()
    shape = re.fullmatch(SHAPES.get(word.partition("(")[0], "(?!)"), " ".join(word.split()))
    if shape is None:
        raise ValueError(f"not understood: {stage}")
    shows = [part.strip() for group in shape.groups() if group and " by " not in group for part in group.split(",")]
    return Query(finds, shows, equal)


def values(span: Any, name: str) -> list[Any]:
    """What a span has under a field's name; nothing where it has it not."""
    scope, _, rest = name.partition(".")
    if scope == "span":
        return [span.attributes[rest]] if rest in span.attributes else []
    if scope == "resource":
        return [span.resource.attributes[rest]] if rest in span.resource.attributes else []
    if scope == "event":
        return [event.attributes[rest] for event in span.events if rest in event.attributes]
    return {
        "name": [span.name],
        "duration": [span.end_time - span.start_time],
        "event:name": [event.name for event in span.events],
    }[name]


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text.rstrip()):
        found = TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"not understood: {text[at:]}")
        yield found[1]
        at = found.end()


def _either(tokens: list[str], equal: dict[str, Any]) -> Condition:
    parts = [_both(tokens, equal)]
    while tokens and tokens[0] == "||":
        tokens.pop(0)
        parts.append(_both(tokens, {}))
    return lambda span: any(part(span) for part in parts)


def _both(tokens: list[str], equal: dict[str, Any]) -> Condition:
    parts = [_one(tokens, equal)]
    while tokens and tokens[0] == "&&":
        tokens.pop(0)
        parts.append(_one(tokens, equal))
    return lambda span: all(part(span) for part in parts)


def _one(tokens: list[str], equal: dict[str, Any]) -> Condition:
    if tokens[0] == "(":
        tokens.pop(0)
        inner = _either(tokens, {})
        if tokens.pop(0) != ")":
            raise ValueError("a bracket is open")
        return inner
    name, sign, told = tokens.pop(0), tokens.pop(0), tokens.pop(0)
    value = _value(told)
    if sign == "=":
        equal[name] = value
    compare = COMPARE[sign]
    return lambda span: any(compare(found, value) for found in values(span, name))


def _value(told: str) -> Any:
    if told.startswith('"'):
        return told[1:-1]
    return {"true": True, "false": False}[told] if told in {"true", "false"} else float(told)


def found(query: Query, spans: Iterable[Any]) -> list[Any]:
    """The spans that the query finds."""
    return [span for span in spans if query.finds(span)]
