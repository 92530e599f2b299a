"""What a request asks for beyond a text: which tool comes next, with what input, and JSON by a schema, in each API's shape."""

from __future__ import annotations

import json
import urllib.request

import pytest

from attune.testing import Behaviour, ScriptedProvider, Step, fail, ok, tool_use
from attune.testing.asked import as_asked, next_call, sample

CITY = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}
OFFERS = {
    "messages": [{"name": "weather", "input_schema": CITY}, {"name": "clock", "input_schema": {"type": "object"}}],
    "chat": [
        {"type": "function", "function": {"name": "weather", "parameters": CITY}},
        {"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}},
    ],
    "responses": [
        {"type": "function", "name": "weather", "parameters": CITY},
        {"type": "function", "name": "clock", "parameters": {"type": "object"}},
    ],
}


def conversation(api: str, *called: str) -> dict:
    """A request after these tools were called."""
    if api == "messages":
        said = [{"role": "assistant", "content": [{"type": "tool_use", "name": name, "input": {}}]} for name in called]
    elif api == "chat":
        said = [{"role": "assistant", "tool_calls": [{"function": {"name": name}}]} for name in called]
    else:
        said = [{"type": "function_call", "name": name} for name in called]
    turns = [{"role": "user", "content": "hello"}, *said]
    return {"tools": OFFERS[api], ("input" if api == "responses" else "messages"): turns}


@pytest.mark.parametrize("api", OFFERS)
def test_each_tool_is_called_once_in_the_order_of_the_offer(api):
    assert next_call(conversation(api)) == ("weather", {"city": "sample"})
    assert next_call(conversation(api, "weather")) == ("clock", {})
    assert next_call(conversation(api, "clock")) == ("weather", {"city": "sample"})
    assert next_call(conversation(api, "weather", "clock")) is None


@pytest.mark.parametrize("body", [{}, {"tools": []}, {"tools": [{"type": "web_search"}], "input": "hello"}])
def test_what_is_not_offered_is_not_called(body):
    """A provider's own tools have no schema: they are the provider's to call."""
    assert next_call(body) is None


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "sample"),
        ({"type": ["integer", "null"]}, 1),
        ({"enum": ["mild", "cold"]}, "mild"),
        ({"const": 3}, 3),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, True),
        ({"type": "array", "items": {"type": "number"}, "minItems": 2}, [1.0, 1.0]),
        ({"type": "array", "items": {"type": "number"}}, []),
        ({"$ref": "#/$defs/Day", "$defs": {"Day": {"enum": ["Monday"]}}}, "Monday"),
        ({"properties": {"a": {"$ref": "#/$defs/No"}}, "required": ["a"]}, {"a": "sample"}),
    ],
)
def test_an_input_fits_its_schema(schema, value):
    assert sample(schema) == value


def test_a_schema_that_holds_itself_ends():
    tree = {"$ref": "#/$defs/Tree", "$defs": {"Tree": {"type": "object", "properties": {"left": {"$ref": "#/$defs/Tree"}}, "required": ["left"]}}}  # fmt: skip
    assert "left" in sample(tree)


@pytest.mark.parametrize("step", [ok("done"), fail(), tool_use("other")])
def test_what_is_scripted_is_done_to_the_letter(step):
    assert as_asked(step, conversation("chat"), uses_tools=True) is step
    assert as_asked(Step(), conversation("chat"), uses_tools=False) == Step()
    assert as_asked(Step(), conversation("chat"), uses_tools=True).tool == "weather"


@pytest.mark.parametrize(
    "wanted",
    [
        {"output_config": {"format": {"type": "json_schema", "schema": CITY}}},
        {"output_format": {"type": "json_schema", "schema": CITY}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "City", "schema": CITY}}},
        {"text": {"format": {"type": "json_schema", "name": "City", "schema": CITY}}},
    ],
)
def test_an_answer_is_in_the_format_that_is_wanted(wanted):
    """After the tools, if there are any."""
    assert json.loads(as_asked(Step(), wanted, uses_tools=False).text) == {"city": "sample"}
    assert as_asked(Step(), {**conversation("chat"), **wanted}, uses_tools=True).tool == "weather"
    assert as_asked(Step(), {"text": "hello", "response_format": {"type": "text"}}, uses_tools=True) == Step()


def test_a_provider_whose_models_use_tools():
    """Asked over HTTP: a call, then, with the call in the conversation, the next; at last a text."""
    with ScriptedProvider(default=Behaviour(uses_tools=True)) as provider:
        said = []
        for called in ((), ("weather",), ("weather", "clock")):
            body = {"model": "m", "max_tokens": 50, **conversation("messages", *called)}
            request = urllib.request.Request(f"{provider.url}/v1/messages", json.dumps(body).encode(), method="POST")
            with urllib.request.urlopen(request, timeout=5) as answer:
                block = json.loads(answer.read())["content"][0]
            said.append(block.get("name") or block["type"])
    assert said == ["weather", "clock", "text"]
