"""The same scripts, told in Chat Completions, and what the openai SDK makes of them."""

from __future__ import annotations

import asyncio
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
def call(provider, _openai):
    client = _openai.with_options(base_url=f"{provider.url}/v1")
    return lambda **given: client.chat.completions.create(**{"model": "small", "messages": HELLO, **given})


def seen(stream):
    """The text that arrives, how many chunks, and what ended them."""
    text, chunks = "", 0
    try:
        for chunk in stream:
            chunks += 1
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
    except Exception as error:
        return text, chunks, error
    return text, chunks, None


def test_an_answer_and_its_usage(call, provider):
    provider.script("small", ok(), ok("x", usage={"cache_read_input_tokens": 7, "input_tokens": 3}))
    answer = call()
    assert is_good(answer.choices[0].message) is True
    assert (answer.choices[0].finish_reason, answer.model) == ("stop", "small")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (5, 8, 13)
    cached = call().usage
    assert (cached.prompt_tokens, cached.prompt_tokens_details.cached_tokens) == (10, 7)
    assert provider.requests[0].path == "/v1/chat/completions"
    assert provider.requests[0].topic == "review"


def test_a_stream_tells_the_same_text_and_its_usage_if_asked(call, provider):
    provider.script("small", ok("one two three"), ok("one two three"))
    assert seen(call(stream=True)) == ("one two three", 5, None)
    *_, last = call(stream=True, stream_options={"include_usage": True})
    assert (last.choices, last.usage.completion_tokens) == ([], 4)


def test_async_clients_are_served_alike(provider):
    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{provider.url}/v1", api_key="any", max_retries=0) as client:
            answer = await client.chat.completions.create(model="small", messages=HELLO)
            stream = await client.chat.completions.create(model="small", messages=HELLO, stream=True)
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
            return answer.choices[0].message.content, text

    whole, streamed = asyncio.run(ask())
    assert whole == streamed


@pytest.mark.parametrize(
    ("what", "error", "code"),
    [
        (400, "BadRequestError", None),
        ("auth", "AuthenticationError", "invalid_api_key"),
        (403, "PermissionDeniedError", None),
        (404, "NotFoundError", "model_not_found"),
        (422, "UnprocessableEntityError", None),
        ("rate_limit", "RateLimitError", "rate_limit_exceeded"),
        ("spend_limit", "RateLimitError", "insufficient_quota"),
        (500, "InternalServerError", None),
        (529, "InternalServerError", None),
    ],
)
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
    provider.script("small", truncate(after=None))
    ends = [seen(call(stream=True)) for _ in range(5)]
    assert [chunks for _, chunks, _ in ends] == [2, 2, 2, 2, 0]
    assert [type(error).__name__ for _, _, error in ends[:3]] == ["NoneType", "APIError", "JSONDecodeError"]
    assert ends[3][2] is not None
    assert ends[1][2].type == "server_error"


def test_answers_without_text(call, provider):
    provider.script("small", empty(), refusal("no"), tool_use("f", {"a": 1}), ok())
    assert call().choices[0].message.content == ""
    assert call().choices[0].message.refusal == "no"
    asked = call().choices[0]
    assert asked.finish_reason == "tool_calls"
    assert json.loads(asked.message.tool_calls[0].function.arguments) == {"a": 1}
    cut_short = call(max_completion_tokens=1).choices[0]
    assert (cut_short.message.content, cut_short.finish_reason) == ("GOOD", "length")


def test_a_tool_call_is_streamed_in_pieces(call, provider):
    provider.script("small", tool_use("f", {"a": 1}))
    calls = [chunk.choices[0].delta.tool_calls for chunk in call(stream=True)]
    told = [one[0].function for one in calls if one]
    assert told[0].name == "f"
    assert json.loads("".join(one.arguments for one in told)) == {"a": 1}


def test_both_dialects_follow_one_scenario(call, client, provider):
    provider.set("small", Behaviour(quality=0.0))
    assert is_good(call().choices[0].message) is False
    asked = {"model": "small", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
    assert is_good(client.messages.create(**asked)) is False
    assert provider.served["small"]["requests"] == 2


def test_a_wrong_request_is_told_in_the_dialect(call):
    with pytest.raises(openai.BadRequestError) as caught:
        call(max_tokens=0)
    assert "max_tokens" in caught.value.body["message"]
