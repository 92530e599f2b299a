"""What a function's value says, and how it is asked."""

from __future__ import annotations

import contextlib
import math
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from attune.clients.dialect import NOTHING
from attune.clients.function import FunctionDialect, FunctionRequest, opens, usage_of
from attune.models.call import Target
from attune.models.response import LLMResponse, Usage

DIALECT = FunctionDialect()


@pytest.mark.parametrize(
    "usage",
    [
        {"input_tokens": 3, "output_tokens": 2},
        {"prompt_tokens": 3, "completion_tokens": 2},
        SimpleNamespace(input_tokens=3, output_tokens=2, cache_read_input_tokens=None),
        SimpleNamespace(prompt_tokens=3, completion_tokens=2),
        Usage(input_tokens=3, output_tokens=2),
    ],
    ids=["anthropic", "openai", "object", "openai object", "ours"],
)
def test_usage_is_read_by_either_api_s_names(usage):
    """From a value that is a mapping or an object."""
    for value in ({"usage": usage, "model": "m"}, SimpleNamespace(usage=usage, model="m")):
        facts = DIALECT.read(value)
        assert (facts.usage.input_tokens, facts.usage.output_tokens, facts.model) == (3, 2, "m")


@pytest.mark.parametrize("name", ["prompt_tokens", "input_tokens"])
def test_cached_tokens_of_openai_are_a_part_of_its_input(name):
    """Billed once, at the price of a cache read; also from what was dumped to a mapping."""
    details = {"cached_tokens": 70, "cache_write_tokens": 10}
    out = {"prompt_tokens": "completion_tokens", "input_tokens": "output_tokens"}[name]
    for told in (details, SimpleNamespace(**details)):
        usage = {name: 100, out: 2, f"{name}_details": told}
        for holder in (usage, SimpleNamespace(**usage)):
            expected = Usage(input_tokens=20, output_tokens=2, cache_read_tokens=70, cache_write_tokens=10)
            assert usage_of(holder) == expected


def test_an_sdk_s_own_answer_is_read_by_its_dialect():
    """More than its usage: whether it is empty, why it ended, whether it failed."""
    choice = {"index": 0, "finish_reason": "length", "message": {"role": "assistant", "content": ""}}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    chat = ChatCompletion.model_validate(
        {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}
    )
    facts = DIALECT.read(chat)
    assert (facts.empty, facts.finish_reasons, facts.usage) == (
        True,
        ("length",),
        Usage(input_tokens=3, output_tokens=2),
    )
    error = {"code": "server_error", "message": "no"}
    failed = Response.construct(id="r", object="response", status="failed", error=error, output=[], usage=None)
    assert DIALECT.read(failed).failed is not None


def test_an_llm_response_tells_its_cost_and_whether_it_is_empty():
    answer = LLMResponse("text", "m", "anthropic", "cheap", tokens_input=3, tokens_output=2, cost_estimate=0.25)
    facts = DIALECT.read(answer)
    assert (facts.cost_nano, facts.usage.output_tokens, facts.empty, facts.model) == (250_000_000, 2, False, "m")
    assert DIALECT.read(LLMResponse("", "m", "anthropic", "cheap")).empty
    assert DIALECT.read(LLMResponse("x", "m", "anthropic", "cheap")).cost_nano is None


@given(
    st.one_of(
        st.none(), st.text(), st.integers(), st.floats(), st.lists(st.integers()),
        st.dictionaries(st.sampled_from(["usage", "model"]), st.one_of(st.text(), st.integers(), st.none())),
    )
)  # fmt: skip
def test_any_other_value_says_nothing(value):
    """Whatever a function returns, reading it is no error."""
    facts = DIALECT.read(value)
    assert facts.usage is None
    assert facts.cost_nano is None


@given(st.dictionaries(st.sampled_from(["input_tokens", "output_tokens"]), st.one_of(st.none(), st.booleans(), st.floats(), st.text(), st.integers())))  # fmt: skip
def test_counts_that_are_none_are_left_out(usage):
    """Booleans, NaN, infinities and words are no counts; a count is never negative."""
    read = usage_of(usage)
    known = [v for v in usage.values() if not isinstance(v, (bool, str, type(None))) and math.isfinite(v)]
    assert (read is None) == (not known)
    assert read is None or min(read.input_tokens, read.output_tokens) >= 0


def test_only_generators_are_streams():
    """Lists, iterators and files are values."""

    async def later():
        yield 1

    assert DIALECT.events(item for item in ()) is not None
    assert DIALECT.events(later()) is not None
    for value in ([1], iter([1]), "text", {"a": 1}, range(3), None):
        assert DIALECT.events(value) is None


def test_a_target_is_asked_by_its_own_word():
    """The alias, else the candidate as it was written; in the caller's place for it, else by keyword."""

    def asked(*args, **kwargs):
        return args, kwargs

    target = Target("gpt-6-luna", provider="openai", written="openai/gpt-6-luna")
    alias = Target("gpt-6-luna", provider="openai", alias="mine", written="openai/gpt-6-luna")
    by_keyword = FunctionRequest(function=asked, args=(1,), kwargs={"more": 2}, model="auto")
    by_place = FunctionRequest(function=asked, args=(1, 3), kwargs={}, model="auto", place=1)
    assert by_keyword.send(target, timeout_s=None) == ((1,), {"more": 2, "model": "openai/gpt-6-luna"})
    assert by_place.send(alias, timeout_s=3) == ((1, "mine", 3), {})
    assert by_place.untouched("word") == ((1, "word", 3), {})
    assert DIALECT.read(None) is NOTHING


def test_only_stream_and_context_managers_are_entered():
    """A pool is a manager, too, and an answer by itself."""

    class PoolManager(contextlib.AbstractContextManager):
        def __exit__(self, *_):
            return None

    class MessageStreamManager(PoolManager):
        pass

    assert not opens(PoolManager())
    assert opens(MessageStreamManager())
    assert opens(contextlib.contextmanager(lambda: iter([1]))())
