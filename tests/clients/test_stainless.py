"""The seam: what a guarded client sends, what it gives back, and what it leaves alone."""

from __future__ import annotations

import asyncio
import contextvars
import warnings
from typing import Any

import anthropic
import pytest
from calls.ways import BODY, HAIKU, HELLO, SONNET, Bench, Clients, Way

import attune
from attune.clients import stainless
from attune.testing import Sandbox, fail

MAY_DIFFER = {
    "traceparent", "tracestate", "baggage", "x-stainless-retry-count", "x-stainless-timeout",
    "x-stainless-read-timeout", "idempotency-key",
}  # fmt: skip


class Wire:
    """Both clients on one in-memory transport that keeps every header and body."""

    def __init__(self, way: Way, answer: Any = None) -> None:
        http = getattr(anthropic._base_client, "httpx2", None) or anthropic._base_client.httpx
        self.sent: list[Any] = []
        message = {
            "id": "msg_1", "type": "message", "role": "assistant", "model": HAIKU, "stop_reason": "end_turn",
            "content": [{"type": "text", "text": "hi"}], "stop_sequence": None,
            "usage": {"input_tokens": 3, "output_tokens": 1},
        }  # fmt: skip
        transport = http.MockTransport(lambda request: self.sent.append(request) or http.Response(200, json=message))
        make = (anthropic.AsyncAnthropic, http.AsyncClient) if way.asynchronous else (anthropic.Anthropic, http.Client)
        self.bare = make[0](api_key="k", max_retries=0, http_client=make[1](transport=transport, verify=False))

    def said(self) -> list[Any]:
        """What was sent: method, address, headers that must not differ, body."""
        import json

        return [
            (
                it.method,
                str(it.url),
                {name: value for name, value in it.headers.items() if name not in MAY_DIFFER},
                json.loads(it.content),
            )
            for it in self.sent
        ]


@pytest.mark.parametrize("name", ["plain", "async"])
@pytest.mark.parametrize("mode", ["enforce", "observe", "off"])
def test_requests_are_the_same_on_the_wire(clients: Clients, attune_sandbox: Sandbox, name, mode):
    """A pinned request differs in nothing but the documented headers, in every mode, with options or without."""
    attune_sandbox.configure(mode=mode)
    way = Way(name)
    wire = Wire(way)

    async def ask(client: Any) -> None:
        for more in ({}, {"stop_sequences": ["x"], "extra_headers": {"x-mine": "1"}, "extra_body": {"mine": 1}}):
            answer = client.messages.create(model=HAIKU, **BODY, **more)
            if way.asynchronous:
                await answer
        beta = client.beta.messages.create(model=HAIKU, betas=["files-api-2025-04-14"], **BODY)
        if way.asynchronous:
            await beta

    clients.runner.run(ask(wire.bare))
    bare, wire.sent = wire.said(), []
    clients.runner.run(ask(attune.wrap(wire.bare)))
    assert wire.said() == bare
    assert len(bare) == 3


def test_observe_sends_auto_as_the_default_and_keeps_the_sdk_s_retries(bench: Bench, sandbox: Sandbox):
    """The decision is told; the request goes where it would have gone; the SDK tries again itself."""
    sandbox.configure(mode="observe")
    bench.provider.script(SONNET, fail("overloaded", should_retry=True))
    way = Way("plain")
    client = attune.wrap(bench.bare(way, max_retries=1), candidates=[HAIKU, SONNET], default=SONNET)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.sleep", lambda seconds: None)
        seen = bench.ask(way, client)
    assert seen.value.model == SONNET
    assert [it.model for it in bench.provider.requests] == [SONNET, SONNET]
    assert seen.tried == [(SONNET, "initial", "success", None)]
    assert seen.record.decision.reason == "observe"


def test_observe_never_refuses(bench: Bench, sandbox: Sandbox):
    """The breaker only measures: a dead model is asked all the same."""
    sandbox.configure(mode="observe")
    way = Way("plain")
    client = attune.wrap(bench.bare(way, max_retries=0))
    bench.provider.outage()
    for _ in range(8):
        assert isinstance(bench.ask(way, client, HAIKU).error, anthropic.APIStatusError)
    assert len(bench.provider.requests) == 8


def test_off_does_nothing_but_replace_auto(bench: Bench, sandbox: Sandbox, way: Way):
    """No record, no span, no circuit."""
    sandbox.configure(mode="off")
    client = bench.wrapped(way)
    for model in ("auto", HAIKU):
        seen = bench.ask(way, client, model)
        assert seen.error is None
        assert seen.records == []
    assert {it.model for it in bench.provider.requests} == {HAIKU}
    assert (sandbox.spans, sandbox.circuits, sandbox.faults) == ((), {}, {})


def test_types_are_those_of_the_sdk(bench: Bench):
    """The client's class, its answer, its stream, its manager."""
    for way, client_type in ((Way("plain"), anthropic.Anthropic), (Way("async"), anthropic.AsyncAnthropic)):
        bare = bench.bare(way)
        wrapped = attune.wrap(bare)
        assert isinstance(wrapped, client_type)
        assert type(bare) is client_type
        assert (type(wrapped).__name__, type(wrapped).__module__) == (client_type.__name__, client_type.__module__)
        assert wrapped is not bare
        assert wrapped._client is bare._client
        assert (wrapped.api_key, wrapped.base_url, wrapped.max_retries) == (
            bare.api_key,
            bare.base_url,
            bare.max_retries,
        )
    wrapped = bench.wrapped(Way("plain"))
    assert type(wrapped.messages.create(model="auto", **BODY)) is anthropic.types.Message
    with wrapped.messages.create(model="auto", stream=True, **BODY) as stream:
        assert isinstance(stream, anthropic.Stream)
        assert stream.response.status_code == 200
    with wrapped.messages.stream(model="auto", **BODY) as helper:
        assert type(helper) is anthropic.MessageStream
        assert helper.get_final_text()


def test_the_client_handed_in_is_unchanged(bench: Bench):
    """Its calls are not counted, not routed, and its class is its own."""
    bare = bench.bare(Way("plain"), max_retries=0)
    before = dict(vars(bare))
    attune.wrap(bare)
    assert type(bare) is anthropic.Anthropic
    assert {name: vars(bare)[name] for name in before} == before
    with attune.capture() as calls:
        bare.messages.create(model="auto", **BODY)
    assert calls == []
    assert bench.provider.requests[-1].model == "auto"


def test_copies_stay_guarded_and_guarding_twice_guards_once(bench: Bench):
    """`with_options` and `copy` of a guarded client; a guarded client wrapped again bears the new words."""
    wrapped = bench.wrapped(Way("plain"), workflow="first")
    twice = attune.wrap(wrapped, workflow="second")
    for client, workflow in (
        (wrapped.with_options(timeout=4), "first"),
        (wrapped.copy(max_retries=0), "first"),
        (wrapped.with_options(timeout=3).with_options(max_retries=1), "first"),
        (twice, "second"),
        (twice.with_options(timeout=4), "second"),
    ):
        with attune.capture() as calls:
            assert client.messages.create(model="auto", **BODY).model == HAIKU
        assert [(it.workflow, len(it.attempts)) for it in calls] == [(workflow, 1)]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_raw_responses(bench: Bench, sandbox: Sandbox, asynchronous):
    """`with_raw_response` parses to the same message, and its usage is on the record; nothing is left un-awaited."""
    way = Way("async" if asynchronous else "plain")
    client = bench.wrapped(way)

    async def ask() -> Any:
        raw = client.messages.with_raw_response.create(model="auto", **BODY)
        raw = await raw if asynchronous else raw
        message = raw.parse()
        message = await message if asyncio.iscoroutine(message) else message
        assert raw.headers["content-type"].startswith("application/json")
        return message

    with warnings.catch_warnings(), attune.capture() as calls:
        warnings.simplefilter("error")
        message = bench.loop.run(ask(), context=contextvars.copy_context())
    assert type(message) is anthropic.types.Message
    assert calls[0].usage.output_tokens == message.usage.output_tokens
    assert calls[0].cost > 0
    assert sandbox.faults == {}


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_streaming_responses_are_left_unread(bench: Bench, sandbox: Sandbox, asynchronous):
    """`with_streaming_response`: the body is the caller's to read."""
    way = Way("async" if asynchronous else "plain")
    client = bench.wrapped(way)

    async def ask() -> bool:
        manager = client.messages.with_streaming_response.create(model="auto", **BODY)
        if asynchronous:
            async with manager as response:
                unread = response.is_closed
                assert b'"message"' in b"".join([chunk async for chunk in response.iter_bytes()])
                return unread
        with manager as response:
            unread = response.is_closed
            assert b'"message"' in b"".join(response.iter_bytes())
            return unread

    with attune.capture() as calls:
        assert bench.loop.run(ask(), context=contextvars.copy_context()) is False
    assert [it.outcome for it in calls] == ["success"]
    assert sandbox.faults == {}


def test_counting_and_batches_pass(clients: Clients, attune_sandbox: Sandbox):
    """They are no calls: a pinned model passes untouched, `auto` becomes the default model, also in mode off."""
    for mode in ("enforce", "off"):
        attune_sandbox.configure(mode=mode)
        wire = Wire(Way("plain"))
        client = attune.wrap(wire.bare)
        with attune.capture() as calls:
            client.messages.count_tokens(model=SONNET, messages=HELLO)
            client.messages.count_tokens(model="auto", messages=HELLO)
            client.messages.batches.create(
                requests=[
                    {"custom_id": "1", "params": {"model": "auto", **BODY}},
                    {"custom_id": "2", "params": {"model": SONNET, **BODY}},
                ]
            )
        assert calls == []
        bodies = [body for _, _, _, body in wire.said()]
        assert [it.get("model") for it in bodies] == [SONNET, HAIKU, None]
        assert [it["params"]["model"] for it in bodies[2]["requests"]] == [HAIKU, SONNET]


def test_endpoints_hold_no_credentials():
    """User info, query and slashes are no part of where a client sends."""

    class Client:
        base_url = "https://me:secret@host.example/v1/?key=secret"

    assert stainless.endpoint(Client()) == "https://host.example/v1"


def test_a_time_out_of_the_call_reaches_the_request(clients: Clients, attune_sandbox: Sandbox):
    """The smaller of the client's and what remains; without a deadline the client's own stays as it was."""
    wire = Wire(Way("plain"))
    client = attune.wrap(wire.bare.with_options(timeout=20))
    with attune.scope(timeout_s=7):
        client.messages.create(model=HAIKU, **BODY)
    with attune.scope(timeout_s=70):
        client.messages.create(model=HAIKU, **BODY)
    client.messages.create(model=HAIKU, timeout=3, **BODY)
    assert [it.extensions["timeout"]["read"] for it in wire.sent] == [7, 20, 3]


@pytest.mark.parametrize("thing", [..., "client", None, anthropic, 7], ids=str)
def test_what_is_no_client_is_refused(attune_sandbox: Sandbox, thing):
    """With what to do instead."""
    with pytest.raises(attune.ConfigError, match=r"@attune\.routed"):
        attune.wrap(thing)


@pytest.mark.parametrize(
    "words",
    [
        {"candidates": "claude-haiku-5-5"}, {"candidates": []}, {"candidates": [7]}, {"candidates": ["auto"]},
        {"candidates": ["openai/gpt-6-luna"]}, {"alternates": [...]}, {"max_cost": 0}, {"model": ""},
        {"on_infeasible": "no"}, {"timeout_s": -1},
    ],
    ids=repr,
)  # fmt: skip
def test_wrong_words_are_refused_by_wrap(bench: Bench, words):
    """Where they are written, not at the call."""
    with pytest.raises(attune.ConfigError, match=next(iter(words))):
        bench.wrapped(Way("plain"), **words)


def test_configured_candidates_of_other_providers_are_left_to_functions(bench: Bench, sandbox: Sandbox):
    """`configure(candidates=...)` speaks for all sites: a client takes its provider's, or the tier defaults."""
    for configured, model in ((["openai/gpt-6-luna", SONNET], SONNET), (["openai/gpt-6-luna"], HAIKU)):
        sandbox.configure(candidates=configured)
        assert bench.ask(Way("plain"), bench.wrapped(Way("plain"))).value.model == model


def test_a_client_of_another_sdk_cannot_serve_the_request(bench: Bench):
    """Said where it is written, with the way that would work."""
    elsewhere = attune.Target("gpt-6-luna", provider="openai", client=object())
    for words in ({"candidates": [HAIKU, elsewhere]}, {"alternates": [elsewhere]}):
        with pytest.raises(attune.ConfigError, match=r"@attune\.routed"):
            bench.wrapped(Way("plain"), **words)


def test_a_fault_at_the_seam_is_counted_and_the_request_goes_on(bench: Bench, sandbox: Sandbox, monkeypatch):
    """A request that cannot be read is the SDK's alone."""

    def broken(*_: Any) -> Any:
        raise RuntimeError("attune's own")

    client = bench.wrapped(Way("plain"))
    monkeypatch.setattr(stainless, "_body", broken)
    assert client.messages.create(model=HAIKU, **BODY).model == HAIKU
    assert sandbox.faults == {"seam": 1}


@pytest.mark.parametrize("colours", ["plain", "async"])
def test_a_client_of_the_other_colour_is_no_way_out(bench: Bench, colours):
    """Found when it is given, not in the outage that it was meant for."""
    here = bench.bare(Way(colours))
    there = bench.bare(Way("plain" if colours == "async" else "async"))
    target = attune.Target(SONNET, client=there, account="second")
    for words in ({"alternates": [there]}, {"alternates": [target]}, {"candidates": [HAIKU, target]}):
        with pytest.raises(attune.ConfigError, match="async"):
            attune.wrap(here, **words)
    attune.wrap(here, alternates=[bench.bare(Way(colours))])
