"""An answer is read by either name, and its text stays out of sight."""

from __future__ import annotations

import pytest

from attune.models.response import LLMResponse, Usage


def test_the_positional_order_and_the_aliases():
    answer = LLMResponse("hello", "m-1", "acme", "cheap", 10, 5, 0.25, 120, {"retry_count": 0})
    assert answer.success is True
    assert (answer.tokens_input, answer.input_tokens) == (10, 10)
    assert (answer.tokens_output, answer.output_tokens) == (5, 5)
    assert answer.total_tokens == 15
    assert (answer.cost_estimate, answer.cost) == (0.25, 0.25)
    assert (answer.model_id, answer.model_used) == ("m-1", "m-1")
    assert (answer.latency_ms, answer.metadata) == (120, {"retry_count": 0})


def test_an_empty_answer_is_no_success():
    failed = LLMResponse("", "m-1", "acme", "cheap")
    assert failed.success is False
    assert (failed.total_tokens, failed.cost, failed.latency_ms, failed.metadata) == (0, 0.0, 0, {})


def test_the_content_stays_out_of_the_repr():
    assert "canary" not in repr(LLMResponse("canary", "m-1", "acme", "cheap"))


def test_each_answer_has_metadata_of_its_own():
    assert LLMResponse("", "m", "p", "t").metadata is not LLMResponse("", "m", "p", "t").metadata


def test_an_answer_does_not_change():
    with pytest.raises(AttributeError):
        LLMResponse("x", "m", "p", "t").content = "y"
    assert hash(LLMResponse("x", "m", "p", "t", metadata={"a": []})) == hash(LLMResponse("x", "m", "p", "t"))


def test_all_that_went_in_counts_as_input():
    """An hour's cache writes are part of the writes, and are not counted twice."""
    usage = Usage(input_tokens=1, cache_read_tokens=20, cache_write_tokens=300, cache_write_1h_tokens=100)
    assert usage.total_input_tokens == 321
