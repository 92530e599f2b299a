"""What the anthropic SDK makes of each scripted behaviour."""

from __future__ import annotations

import asyncio
import json

import anthropic
import pytest

from attune.testing import (
    Behaviour,
    ScriptedProvider,
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

HELLO = [{"role": "user", "content": "hello"}]
WHOLE = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_delta",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
]


def test_an_answer_parses_and_its_usage_follows_the_rule(call):
    """Four characters a token, rounded up; cache fields are there."""
    answer = call("a prompt of 24 characters")
    assert answer.content[0].text == "GOOD This is a scripted answer."
    assert is_good(answer) is True
    assert (answer.model, answer.stop_reason, answer.role) == ("small", "end_turn", "assistant")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7, 8)
    assert (answer.usage.cache_read_input_tokens, answer.usage.cache_creation_input_tokens) == (0, 0)
    assert answer._request_id == "req_small_000001"


def test_a_stream_has_every_event_and_the_same_usage(call):
    events = list(call(stream=True))
    assert [event.type for event in events] == WHOLE
    assert events[0].message.usage.input_tokens == 2
    assert events[-2].usage.output_tokens == 8
    assert "".join(e.delta.text for e in events if e.type == "content_block_delta").startswith("GOOD ")


def test_the_stream_helper_gathers_the_same_message_as_a_plain_request(client, call, provider):
    provider.script("small", ok("one two"), ok("one two"))
    with client.messages.stream(model="small", max_tokens=100, messages=HELLO) as stream:
        gathered = stream.get_final_message()
    plain = call()
    assert gathered.content[0].text == plain.content[0].text == "one two"
    assert gathered.usage.output_tokens == plain.usage.output_tokens
    assert gathered.stop_reason == plain.stop_reason


def test_async_clients_are_served_alike(provider):
    async def ask():
        async with anthropic.AsyncAnthropic(base_url=provider.url, api_key="any", max_retries=0) as client:
            plain = await client.messages.create(model="small", max_tokens=100, messages=HELLO)
            stream = await client.messages.create(model="small", max_tokens=100, messages=HELLO, stream=True)
            kinds = [event.type async for event in stream]
            async with client.messages.stream(model="small", max_tokens=100, messages=HELLO) as helper:
                gathered = await helper.get_final_text()
            many = await asyncio.gather(
                *(client.messages.create(model="many", max_tokens=9, messages=HELLO) for _ in range(50))
            )
            return plain.content[0].text, kinds, gathered, {message.id for message in many}

    text, kinds, gathered, names = asyncio.run(ask())
    assert (text, kinds) == (gathered, WHOLE)
    assert len(names) == 50


@pytest.mark.parametrize(
    ("what", "error", "kind"),
    [
        (400, "BadRequestError", "invalid_request_error"),
        ("auth", "AuthenticationError", "authentication_error"),
        (402, "APIStatusError", "billing_error"),
        (403, "PermissionDeniedError", "permission_error"),
        ("not_found", "NotFoundError", "not_found_error"),
        (408, "APIStatusError", "timeout_error"),
        (409, "ConflictError", "conflict_error"),
        (413, "APIStatusError", "request_too_large"),
        (422, "UnprocessableEntityError", "invalid_request_error"),
        ("rate_limit", "RateLimitError", "rate_limit_error"),
        (500, "InternalServerError", "api_error"),
        (503, "APIStatusError", "api_error"),
        (504, "APIStatusError", "timeout_error"),
        ("overloaded", "APIStatusError", "overloaded_error"),
        (418, "APIStatusError", "invalid_request_error"),
        (599, "InternalServerError", "api_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_each_failure_is_the_sdks_own_error(call, provider, what, error, kind, stream):
    step = fail(what, message="as scripted")
    provider.script("small", step)
    with pytest.raises(getattr(anthropic, error)) as caught:
        call(stream=stream)
    assert caught.value.status_code == step.status
    assert caught.value.body["error"] == {"type": kind, "message": "as scripted"}
    assert caught.value.body["request_id"] == caught.value.request_id == "req_small_000001"
    assert provider.requests[0].status == step.status


def test_a_rate_limit_says_how_long_to_wait(call, provider):
    provider.script("small", fail("rate_limit", retry_after_s=2, should_retry=False))
    with pytest.raises(anthropic.RateLimitError) as caught:
        call()
    headers = caught.value.response.headers
    assert (headers["retry-after"], headers["x-should-retry"]) == ("2", "false")


def test_a_spend_cap_is_a_429_with_its_code(call, provider):
    provider.script("small", fail("spend_limit"))
    with pytest.raises(anthropic.RateLimitError) as caught:
        call()
    assert caught.value.body["error"]["details"] == {"error_code": "enforced_spend_limit_reached"}


@pytest.mark.parametrize("step", [refuse(), cut(), hang(0.01)], ids=lambda step: step.act)
@pytest.mark.parametrize("stream", [False, True])
def test_no_answer_at_all_is_a_connection_error(call, provider, step, stream):
    provider.script("small", step)
    with pytest.raises(anthropic.APIConnectionError):
        call(stream=stream)
    assert provider.requests[0].status is None


def test_a_body_that_breaks_off_is_a_connection_error(call, provider):
    provider.script("small", cut(after=1))
    with pytest.raises(anthropic.APIConnectionError):
        call()


@pytest.mark.parametrize("after", [None, 1])
def test_a_hanging_request_meets_the_clients_time_out(client, provider, after):
    provider.script("small", hang(after=after))
    with pytest.raises(anthropic.APITimeoutError):
        client.with_options(timeout=0.05).messages.create(model="small", max_tokens=9, messages=HELLO)


def test_a_stopped_server_refuses_and_a_listening_one_serves_again_on_its_port(call, provider):
    call()
    provider.stop_listening()
    provider.stop_listening()
    with pytest.raises(anthropic.APIConnectionError) as caught:
        call()
    assert "refused" in str(caught.value.__cause__)
    provider.listen()
    provider.listen()
    assert is_good(call())
    assert len(provider.requests) == 2


def seen(stream):
    """The kinds of events that arrive, and what ended them."""
    kinds = []
    try:
        kinds.extend(event.type for event in stream)
    except Exception as error:
        return kinds, error
    return kinds, None


@pytest.mark.parametrize(("after", "arrive"), [(0, 2), (1, 3), (2, 4), (9, 5)])
def test_a_stream_is_cut_where_the_script_says(call, provider, after, arrive):
    """The transport's own error comes through the SDK, after exactly the events before the cut."""
    provider.script("small", cut(after=after))
    kinds, error = seen(call(stream=True))
    assert kinds == WHOLE[:arrive]
    assert type(error).__name__ == "RemoteProtocolError"


@pytest.mark.parametrize(("after", "arrive"), [(None, 0), (0, 2), (1, 3), (9, 5)])
def test_a_truncated_stream_ends_as_if_it_were_whole(call, provider, after, arrive):
    provider.script("small", truncate(after=after))
    assert seen(call(stream=True)) == (WHOLE[:arrive], None)


@pytest.mark.parametrize(("after", "arrive"), [(None, 0), (0, 2), (2, 4)])
def test_an_error_event_comes_inside_a_stream_of_status_200(call, provider, after, arrive):
    provider.script("small", stream_error("overloaded", after=after))
    kinds, error = seen(call(stream=True))
    assert kinds == WHOLE[:arrive]
    assert isinstance(error, anthropic.APIStatusError)
    assert (error.status_code, error.body["error"]["type"]) == (200, "overloaded_error")


def test_a_stream_error_on_a_plain_request_is_the_http_error_of_that_name(call, provider):
    provider.script("small", stream_error("rate_limit"))
    with pytest.raises(anthropic.RateLimitError):
        call()


@pytest.mark.parametrize("step", [malformed(), truncate()], ids=lambda step: step.act)
def test_json_that_does_not_parse(call, provider, step):
    provider.script("small", step)
    with pytest.raises(json.JSONDecodeError):
        call()


def test_an_event_that_does_not_parse(call, provider):
    provider.script("small", malformed(after=1))
    kinds, error = seen(call(stream=True))
    assert (kinds, type(error)) == (WHOLE[:3], json.JSONDecodeError)


def test_a_stream_may_hang_after_its_first_content(client, provider):
    provider.script("small", hang(after=1))
    short = client.with_options(timeout=0.05)
    kinds, error = seen(short.messages.create(model="small", max_tokens=9, messages=HELLO, stream=True))
    assert kinds == WHOLE[:3]
    assert type(error).__name__ == "ReadTimeout"


@pytest.mark.parametrize(("step", "reason"), [(empty(), "end_turn"), (refusal(), "refusal")])
def test_an_answer_may_hold_nothing(call, provider, step, reason):
    provider.script("small", step, step)
    answer = call()
    assert (answer.content, answer.stop_reason, answer.usage.output_tokens) == ([], reason, 0)
    assert seen(call(stream=True)) == (["message_start", "message_delta", "message_stop"], None)


def test_an_answer_may_ask_for_a_tool(client, call, provider):
    provider.script("small", *[tool_use("search", {"query": "é", "n": 3}, text="Let me look.")] * 2)
    answer = call()
    with client.messages.stream(model="small", max_tokens=100, messages=HELLO) as stream:
        gathered = stream.get_final_message()
    for message in (answer, gathered):
        assert [block.type for block in message.content] == ["text", "tool_use"]
        assert (message.content[1].name, message.content[1].input) == ("search", {"query": "é", "n": 3})
        assert message.stop_reason == "tool_use"


def test_max_tokens_cuts_an_answer_but_never_its_marker(call):
    answer = call(max_tokens=1)
    assert (answer.content[0].text, answer.stop_reason, answer.usage.output_tokens) == ("GOOD", "max_tokens", 1)


def test_usage_can_be_scripted(call, provider):
    provider.script("small", *[ok("x", usage={"cache_read_input_tokens": 7, "input_tokens": 3})] * 2)
    usage = call().usage
    assert (usage.input_tokens, usage.cache_read_input_tokens) == (3, 7)
    first, *_ = call(stream=True)
    assert first.message.usage.cache_read_input_tokens == 7
    assert provider.served["small"]["input_tokens"] == 6


def test_output_tokens_are_what_the_behaviour_says(call, provider):
    provider.set("small", Behaviour(output_tokens=90))
    answer = call()
    assert (answer.usage.output_tokens, len(answer.content[0].text)) == (90, 360)
    provider.set("small", Behaviour(output_tokens=2))
    assert call().content[0].text == "GOOD Thi"


def test_tokens_are_counted_without_an_answer(client):
    counted = client.messages.count_tokens(model="small", messages=HELLO, system="12345678")
    assert counted.input_tokens == 4


def test_the_models_are_listed():
    with (
        ScriptedProvider(models={"small": Behaviour(), "large": Behaviour()}, default=None) as provider,
        anthropic.Anthropic(base_url=provider.url, api_key="any", max_retries=0) as client,
    ):
        assert [model.id for model in client.models.list()] == ["small", "large"]
        assert client.models.retrieve("large").id == "large"
        with pytest.raises(anthropic.NotFoundError):
            client.models.retrieve("other")
        with pytest.raises(anthropic.NotFoundError):
            client.messages.create(model="other", max_tokens=9, messages=HELLO)


@pytest.mark.parametrize("wrong", [{"messages": []}, {"max_tokens": 0}])
def test_a_wrong_request_is_the_callers_fault(call, wrong):
    with pytest.raises(anthropic.BadRequestError):
        call(**wrong)


def test_the_sdk_retries_as_it_does_with_the_real_service(client, provider):
    """The header tells which try it was."""
    provider.script("small", fail("overloaded", retry_after_s=0.01), fail(500, retry_after_s=0.01))
    answer = client.with_options(max_retries=2).messages.create(model="small", max_tokens=100, messages=HELLO)
    assert is_good(answer)
    assert [request.headers["x-stainless-retry-count"] for request in provider.requests] == ["0", "1", "2"]
    assert [(request.act, request.status) for request in provider.requests] == [
        ("fail", 529),
        ("fail", 500),
        ("answer", 200),
    ]
