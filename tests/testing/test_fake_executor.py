"""Prepared answers out, calls on record."""

from __future__ import annotations

import asyncio

import pytest

from attune.errors import CircuitOpenError, ConfigError
from attune.models.response import LLMResponse
from attune.testing import FakeExecutor

CELL = {"workflow": "code-review", "stage": "analysis"}


def test_texts_become_answers_in_order_and_the_last_repeats():
    executor = FakeExecutor(["one", "two"])
    answers = [executor.run("hello", **CELL) for _ in range(3)]
    assert [answer.content for answer in answers] == ["one", "two", "two"]
    first = answers[0]
    assert (first.model_id, first.provider, first.tier, first.success) == ("fake-model", "fake", "cheap", True)
    assert (first.tokens_input, first.tokens_output, first.cost_estimate) == (2, 1, 0.0)


def test_a_single_text_is_one_answer():
    assert FakeExecutor("abc").run("hello", **CELL).content == "abc"
    assert FakeExecutor().run("hello", **CELL).content == "ok"


def test_an_answer_is_returned_as_it_is_and_an_exception_raised():
    failed = LLMResponse("", "m", "p", "cheap", metadata={"error_type": "timeout"})
    executor = FakeExecutor([failed, CircuitOpenError("closed for now")])
    assert executor.run("hello", **CELL) is failed
    with pytest.raises(CircuitOpenError):
        executor.run("hello", **CELL)
    assert len(executor.calls) == 2


def test_a_callable_sees_the_call():
    executor = FakeExecutor(lambda call: f"{call.workflow}: {call.prompt.upper()}", tier="premium")
    answer = executor.run("hello", **CELL)
    assert (answer.content, answer.tier) == ("code-review: HELLO", "premium")


def test_calls_are_kept_with_everything_that_was_given():
    executor = FakeExecutor()
    executor.run("hello", **CELL, system="brief", max_tokens=9, max_cost=0.01)
    (call,) = executor.calls
    assert (call.prompt, call.workflow, call.stage) == ("hello", "code-review", "analysis")
    assert (call.system, call.max_tokens, call.constraints) == ("brief", 9, {"max_cost": 0.01})
    assert "hello" not in repr(call)


def test_the_async_verb_is_the_same():
    executor = FakeExecutor("later")
    assert asyncio.run(executor.arun("hello", **CELL, max_tokens=3)).content == "later"
    assert executor.calls[0].max_tokens == 3


def test_an_executor_without_an_answer_is_refused():
    with pytest.raises(ConfigError, match="at least one"):
        FakeExecutor([])
