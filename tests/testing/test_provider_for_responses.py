"""The same scripts, told in the Responses API, and what the openai SDK makes of them; and the paths of Azure."""

from __future__ import annotations

import json

import pytest

from attune.testing import (
    Behaviour,
    cut,
    empty,
    fail,
    hang,
    is_good,
    malformed,
    ok,
    refusal,
    refuse,
    stream_error,
    tool_use,
    truncate,
)

openai = pytest.importorskip("openai", reason="the openai extra is not installed")
HELLO = [{"role": "user", "content": "hello [topic:review]"}]


@pytest.fixture(scope="module")
def _openai():
    """Making a client's pool takes longer than most of these tests."""
    with openai.OpenAI(base_url="http://127.0.0.1:9", api_key="any", max_retries=0, timeout=5) as client:
        yield client


@pytest.fixture
def responses(provider, _openai):
    return _openai.with_options(base_url=f"{provider.url}/v1").responses


@pytest.fixture
def call(responses):
    return lambda **given: responses.create(**{"model": "small", "input": HELLO, **given})


def seen(stream):
    """The text that arrives, the last event's type, and what was raised."""
    text, last = "", None
    try:
        for event in stream:
            last = event.type
            text += event.delta if last == "response.output_text.delta" else ""
    except Exception as error:
        return text, last, error
    return text, last, None


def test_an_answer_and_its_usage(call, provider):
    provider.script("small", ok(good=True), ok("x", usage={"cache_read_input_tokens": 7, "input_tokens": 3}))
    answer = call(instructions="be kind")
    assert answer.output_text.startswith("GOOD ")
    assert (answer.status, answer.model, answer.error, answer.incomplete_details) == ("completed", "small", None, None)
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (7, 8, 15)
    cached = call(input="hello").usage
    assert (cached.input_tokens, cached.input_tokens_details.cached_tokens) == (10, 7)
    assert provider.requests[0].path == "/v1/responses"
    assert provider.requests[0].topic == "review"


def test_texts_of_all_items_count_and_topics_are_found(call, provider):
    """Strings, parts, and what tools gave back."""
    call(input=[{"role": "user", "content": [{"type": "input_text", "text": "a [topic:x]"}]}])
    call(input=[{"type": "function_call_output", "call_id": "c", "output": "b [topic:y]"}])
    call(input="c [topic:z]")
    assert [request.topic for request in provider.requests] == ["x", "y", "z"]


def test_a_stream_tells_the_same_text_and_ends_with_the_whole(call, responses, provider):
    provider.script("small", *[ok("one two three")] * 3)
    whole = call().output_text
    events = list(call(stream=True))
    assert "".join(it.delta for it in events if it.type == "response.output_text.delta") == whole
    assert [it.sequence_number for it in events] == list(range(len(events)))
    assert events[-1].response.output_text == whole
    assert events[-1].response.usage.output_tokens == 4
    with responses.stream(model="small", input="hello") as helper:
        assert helper.get_final_response().output_text == whole


@pytest.mark.parametrize(
    ("what", "error", "code"),
    [
        (400, "BadRequestError", None), ("auth", "AuthenticationError", "invalid_api_key"),
        (402, "APIStatusError", "invalid_request_error"), (404, "NotFoundError", "model_not_found"),
        ("rate_limit", "RateLimitError", "rate_limit_exceeded"), ("spend_limit", "RateLimitError", "insufficient_quota"),
        (529, "InternalServerError", None),
    ],
)  # fmt: skip
def test_each_failure_is_the_sdks_own_error(call, provider, what, error, code):
    step = fail(what)
    provider.script("small", step)
    with pytest.raises(getattr(openai, error)) as caught:
        call()
    assert (caught.value.status_code, caught.value.code) == (step.status, code)


@pytest.mark.parametrize("step", [refuse(), cut(), cut(after=1), hang(0.01)], ids=["refuse", "cut", "half", "hang"])
def test_no_whole_answer_is_a_connection_error(call, provider, step):
    provider.script("small", step)
    with pytest.raises(openai.APIConnectionError):
        call()


def test_streams_break_as_scripted(call, provider):
    provider.script("small", truncate(after=1), stream_error("server", after=1), malformed(after=1), cut(after=1))
    provider.script("small", truncate(after=None), stream_error("server", after=None), hang(0.01, after=0))
    delta = "response.output_text.delta"
    ends = [seen(call(stream=True)) for _ in range(7)]
    assert [last for _, last, _ in ends] == [
        delta, "response.failed", delta, delta, None, "response.failed", "response.content_part.added",
    ]  # fmt: skip
    raised = [type(error).__name__ for _, _, error in ends]
    assert [raised[0], raised[1], raised[2], raised[4], raised[5]] == [
        "NoneType", "NoneType", "JSONDecodeError", "NoneType", "NoneType",
    ]  # fmt: skip
    assert ends[3][2] is not None
    assert ends[6][2] is not None


def test_a_failed_response_says_why(call, provider):
    provider.script("small", stream_error("rate_limit"))
    *_, last = call(stream=True)
    assert (last.response.status, last.response.error.code) == ("failed", "rate_limit_exceeded")
    assert (last.response.usage, last.response.output) == (None, [])


def test_answers_without_text(call, provider):
    provider.script("small", empty(), refusal("no"), refusal(), tool_use("f", {"a": 1}), ok())
    assert (call().output, provider.served["small"]["output_tokens"]) == ([], 0)
    assert call().output[0].content[0].refusal == "no"
    assert call().output[0].content[0].type == "refusal"
    (asked,) = call().output
    assert (asked.type, asked.name, json.loads(asked.arguments)) == ("function_call", "f", {"a": 1})
    cut_short = call(max_output_tokens=1)
    assert (cut_short.output_text, cut_short.status) == ("GOOD", "incomplete")
    assert cut_short.incomplete_details.reason == "max_output_tokens"


def test_tool_calls_and_refusals_are_streamed_in_pieces(responses, provider):
    """The SDK's own helper puts them together again."""
    provider.script("small", tool_use("f", {"a": 1}, text="first"), refusal("never ever"))
    with responses.stream(model="small", input="hello") as helper:
        text, asked = helper.get_final_response().output
    assert (text.content[0].text, json.loads(asked.arguments)) == ("first", {"a": 1})
    pieces = [
        event.delta for event in responses.create(model="small", input="hello", stream=True) if "delta" in event.type
    ]
    assert "".join(pieces) == "never ever"
    assert len(pieces) > 1


@pytest.mark.parametrize("wrong", [{"input": []}, {"input": 7}, {"max_output_tokens": 0}])
def test_a_wrong_request_is_told_in_the_dialect(call, wrong):
    with pytest.raises(openai.BadRequestError) as caught:
        call(**wrong)
    assert next(iter(wrong)) in caught.value.body["message"]


def test_all_apis_follow_one_scenario(call, client, provider):
    provider.set("small", Behaviour(quality=0.0))
    assert is_good(call()) is False
    asked = {"model": "small", "messages": [{"role": "user", "content": "hello"}]}
    assert is_good(client.messages.create(max_tokens=9, **asked)) is False
    with openai.OpenAI(base_url=f"{provider.url}/v1", api_key="any") as other:
        assert is_good(other.chat.completions.create(**asked)) is False
        provider.script("small", tool_use("f"))
        assert is_good(other.chat.completions.create(**asked)) is None
    assert provider.served["small"]["requests"] == 4


def test_azure_s_paths_name_the_deployment(provider):
    """The path is who is asked; the Responses API has no deployment in it."""
    with openai.AzureOpenAI(
        azure_endpoint=provider.url, api_version="2025-01-01", api_key="any", max_retries=0
    ) as client:
        assert client.chat.completions.create(model="mine", messages=HELLO).model == "mine"
        assert client.responses.create(model="ours", input="hello").model == "ours"
        bound = client.with_options(base_url=f"{provider.url}/openai/deployments/theirs")
        assert bound.chat.completions.create(model="ignored", messages=HELLO).model == "theirs"
    assert [request.model for request in provider.requests] == ["mine", "ours", "theirs"]
    assert [request.path for request in provider.requests] == [
        "/openai/deployments/mine/chat/completions", "/openai/responses", "/openai/deployments/theirs/chat/completions",
    ]  # fmt: skip
