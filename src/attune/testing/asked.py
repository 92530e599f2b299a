"""What a request asks of a model beyond a text: to use the tools it offers, to answer in a format.

Each tool is called once, in the order of the offer, before there is an answer; the conversation in the request says which
were. Nothing is remembered here, and the rule holds for every API: offers, calls and formats are found by their names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from attune.testing.script import Step

_CALLS = ("tool_use", "function_call")  # the type of a block or an item that calls a tool
_SAMPLES: Mapping[str, Any] = {"string": "sample", "integer": 1, "number": 1.0, "boolean": True, "null": None}
_DEPTH = 8  # schemas may refer to themselves
# where each API has the format that it wants
_FORMATS = (("output_config", "format"), ("output_format",), ("response_format", "json_schema"), ("text", "format"))


def as_asked(step: Step, body: Mapping[str, Any], *, uses_tools: bool) -> Step:
    """This step; where it is an answer of the model's own making, a call of the next tool, or JSON that fits the format."""
    if step.act != "answer" or step.text is not None or step.tool is not None:
        return step
    if uses_tools and (call := next_call(body)) is not None:
        return replace(step, text="", tool=call[0], tool_input=call[1], stop_reason="tool_use")
    schema = wanted_schema(body)
    return step if schema is None else replace(step, text=json.dumps(sample(schema)))


def wanted_schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The JSON schema that the answer is to fit; None where any text will do."""
    for path in _FORMATS:
        found: Any = body
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        if isinstance(found, Mapping) and isinstance(schema := found.get("schema"), Mapping):
            return schema
    return None


def next_call(body: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """The first tool offered in this request that the conversation has not called, with an input that fits its schema.

    None where every one was called, or none is offered.
    """
    called = set(_called(body))
    for offer in body.get("tools") or ():
        told = offer.get("function", offer)
        schema = told.get("input_schema") or told.get("parameters")
        if isinstance(name := told.get("name"), str) and name not in called and isinstance(schema, Mapping):
            return name, sample(schema) or {}
    return None


def sample(schema: Mapping[str, Any]) -> Any:
    """A value that fits a JSON schema: what is required and nothing else, the first of what is allowed."""
    return _sample(schema, schema, _DEPTH)


def _sample(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    if depth == 0:
        return None
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    if choices := schema.get("enum") or schema.get("examples"):
        return choices[0]
    if isinstance(ref := schema.get("$ref"), str):
        return _sample(_resolved(root, ref), root, depth - 1)
    for name in ("anyOf", "oneOf", "allOf"):
        if options := schema.get(name):
            return _sample(options[0], root, depth - 1)
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties") or {}
        return {name: _sample(properties.get(name, {}), root, depth - 1) for name in schema.get("required") or ()}
    if kind == "array":
        return [_sample(schema.get("items") or {}, root, depth - 1)] * int(schema.get("minItems") or 0)
    return _SAMPLES.get(kind[0] if isinstance(kind, list) else kind or "string")


def _resolved(root: Mapping[str, Any], ref: str) -> Mapping[str, Any]:
    found: Any = root
    for step in ref.removeprefix("#/").split("/"):
        found = found.get(step) or {}
    return found if isinstance(found, Mapping) else {}


def _called(body: Mapping[str, Any]) -> Iterator[str]:
    """The names of the tools that the conversation has called, wherever the API puts them."""
    turns = body.get("messages") or body.get("input") or ()
    for turn in turns if isinstance(turns, list) else ():
        if not isinstance(turn, Mapping):
            continue
        if turn.get("type") in _CALLS:
            yield str(turn.get("name"))
        for call in turn.get("tool_calls") or ():
            yield str((call.get("function") or {}).get("name"))
        content = turn.get("content")
        for block in content if isinstance(content, list) else ():
            if isinstance(block, Mapping) and block.get("type") in _CALLS:
                yield str(block.get("name"))
