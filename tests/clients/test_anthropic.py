"""What the Anthropic SDK's answers, events and errors mean."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import anthropic
import pytest
from calls.ways import HAIKU, Bench, Way
from hypothesis import given
from hypothesis import strategies as st

from attune.clients.anthropic import AnthropicDialect, MessageEvents, read_usage
from attune.clients.dialect import NOTHING, Dialect, EventReader, Facts
from attune.models.failures import FailureKind, classify
from attune.models.response import Usage
from attune.testing import empty, ok, refusal, tool_use

DIALECT = AnthropicDialect()


def test_it_speaks_its_own_clients_only():
    """By class, subclasses included; a namesake of another package is not its."""

    class Mine(anthropic.Anthropic):
        """A subclass."""

    class Anthropic:
        """A namesake."""

    for kind in (anthropic.Anthropic, anthropic.AsyncAnthropic, Mine):
        assert DIALECT.speaks(kind.__new__(kind))
    for thing in (Anthropic(), object(), None, "anthropic"):
        assert not DIALECT.speaks(thing)


@pytest.mark.parametrize(
    "step", [ok("hello"), tool_use("look", {"x": 1}), refusal("no"), empty()], ids=["text", "tool", "refusal", "empty"]
)
@pytest.mark.parametrize("name", ["plain", "stream"])
def test_an_answer_says_the_same_whole_and_in_events(bench: Bench, step, name):
    """Usage, model, id, finish reason, and whether there was anything in it."""
    bench.provider.script(HAIKU, step)
    seen = bench.ask(Way(name), bench.bare(Way(name)), HAIKU)
    if name == "plain":
        facts = DIALECT.read(seen.value)
        usage = seen.value.usage
    else:
        reader = MessageEvents()
        for event in seen.events:
            reader.feed(event)
        assert reader.done
        facts, usage = reader.facts(), SimpleNamespace(input_tokens=facts_in(seen), output_tokens=facts_out(seen))
    assert facts.model == HAIKU
    assert facts.response_id.startswith("msg_")
    assert facts.finish_reasons == (step.stop_reason,)
    assert facts.empty == (step.text == "" and step.tool is None)
    assert (facts.usage.input_tokens, facts.usage.output_tokens) == (usage.input_tokens, usage.output_tokens)


def facts_in(seen: Any) -> int:
    return next(it.message.usage.input_tokens for it in seen.events if it.type == "message_start")


def facts_out(seen: Any) -> int:
    return next(it.usage.output_tokens for it in seen.events if it.type == "message_delta")


def test_caches_are_counted_apart(bench: Bench):
    """Reads, writes, and the hour's writes among them."""
    usage = {"input_tokens": 5, "cache_read_input_tokens": 70, "cache_creation_input_tokens": 30, "output_tokens": 2}
    bench.provider.script(HAIKU, ok("x", usage=usage))
    facts = DIALECT.read(bench.ask(Way("plain"), bench.bare(Way("plain")), HAIKU).value)
    assert facts.usage == Usage(input_tokens=5, output_tokens=2, cache_read_tokens=70, cache_write_tokens=30)
    hourly = SimpleNamespace(**usage, cache_creation=SimpleNamespace(ephemeral_1h_input_tokens=10))
    assert read_usage(hourly).cache_write_1h_tokens == 10


@pytest.mark.parametrize("thing", [None, "text", 7, {}, [], ..., SimpleNamespace(usage=None)], ids=str)
def test_what_is_no_answer_says_nothing(thing):
    assert DIALECT.read(thing) == NOTHING
    assert DIALECT.events(thing) is None


@given(st.none() | st.integers() | st.text() | st.booleans())
def test_unknown_events_pass(thing):
    """An event of tomorrow's API stops nobody."""
    reader = MessageEvents()
    reader.feed(thing)
    reader.feed(SimpleNamespace(type="something_new", payload=thing))
    assert (reader.content, reader.done, reader.text, reader.facts()) == (False, False, "", Facts())


def test_content_begins_with_the_first_delta(bench: Bench):
    """Opening events and pings are held; a tool's first piece of input is content too."""
    for step in (ok("one two three"), tool_use("look", {"x": 1})):
        bench.provider.script(HAIKU, step)
        events = bench.ask(Way("stream"), bench.bare(Way("stream")), HAIKU).events
        reader = MessageEvents()
        seen = []
        for event in events:
            reader.feed(event)
            seen.append((event.type, reader.content))
        assert seen[0] == ("message_start", False)
        assert next(kind for kind, content in seen if content) == "content_block_delta"
    assert isinstance(reader, EventReader)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("APITimeoutError", "timeout"), ("APIConnectionError", "connection"), ("APIResponseValidationError", "server"),
    ],
)  # fmt: skip
def test_each_class_in_the_table_is_the_sdk_s(name, kind):
    """A row that names no class of the SDK's would never be met."""
    error = getattr(anthropic, name).__new__(getattr(anthropic, name))
    assert classify(error, DIALECT.failures).kind is FailureKind(kind)


def test_the_protocol_is_kept():
    """Every member of Dialect is there."""
    for name in (name for name in vars(Dialect) if not name.startswith("_")):
        assert hasattr(DIALECT, name)


def test_a_native_span_needs_a_provider_that_records(monkeypatch):
    """The SDK's tracer alone makes none."""
    from opentelemetry import trace

    client = SimpleNamespace(_tracer=object(), _open_telemetry=None)
    monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
    assert not DIALECT.native_span(client)
    assert not DIALECT.native_span(SimpleNamespace())
    assert DIALECT.native_span(SimpleNamespace(_tracer=object(), _open_telemetry={"tracer_provider": object()}))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: object())
    assert DIALECT.native_span(client)
