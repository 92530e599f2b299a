"""Requests that are bound to an account stay with its client; those that name fallbacks of their own stay with their model."""

from __future__ import annotations

import time
from collections.abc import Iterator

import anthropic
import pytest
from calls.ways import HAIKU, HELLO, SONNET, Bench, Ledger, Way

import attune
from attune.clients.anthropic import AnthropicDialect
from attune.clients.anthropic_asked import binding
from attune.clients.asked import ACCOUNT, FREE, Binding, shape_of
from attune.testing import Sandbox, ScriptedProvider, fail

PLAIN = Way("plain")
THOUGHT = {"role": "assistant", "content": [
    {"type": "thinking", "thinking": "hm", "signature": "sig"}, {"type": "text", "text": "yes"},
]}  # fmt: skip
AGAIN = [*HELLO, THOUGHT, {"role": "user", "content": "go on"}]


def said(*blocks) -> dict:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


BOUND = {
    "thinking": {"messages": AGAIN},
    "redacted thinking": said({"type": "redacted_thinking", "data": "x"}),
    "file": said({"type": "document", "source": {"type": "file", "file_id": "file_1"}}),
    "image file": said({"type": "image", "source": {"type": "file", "file_id": "file_1"}}),
    "file in a tool's result": said(
        {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": {"type": "file"}}]}
    ),
    "container": {"messages": HELLO, "container": "container_1"},
    "upload": said({"type": "container_upload", "file_id": "file_1"}),
    "web search": said({"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"encrypted_content": "x"}]}),
    "code execution": said({"type": "bash_code_execution_tool_result", "tool_use_id": "s", "content": {}}),
    "mcp": {"messages": HELLO, "mcp_servers": [{"type": "url", "url": "https://mcp.invalid", "name": "m"}]},
    "credit": {"messages": HELLO, "fallback_credit_token": "tok"},
    "a thread's start": {"messages": HELLO, "thread": {"type": "create"}},
    "a thread's next turn": {"messages": HELLO, "thread": {"type": "continue", "previous_message_id": "msg_1"}},
}
UNBOUND = {
    "text": {"messages": HELLO},
    "left out": {"messages": HELLO, "container": anthropic.NOT_GIVEN, "mcp_servers": None, "thread": None},
    "diagnosis of a cache": {"messages": HELLO, "diagnostics": {"previous_message_id": "msg_1"}},
    "blocks": said({"type": "text", "text": "x"}, {"type": "image", "source": {"type": "base64", "data": "x"}}),
    "tools": said({"type": "tool_use", "id": "t", "name": "n", "input": {}}, {"type": "tool_result", "content": "x"}),
    "found by the caller": said({"type": "search_result", "source": "s", "title": "t", "content": []}),
    "odd": {"messages": [None, {"content": [None, "x", {"type": 3}]}]},
    "none": {},
}


@pytest.mark.parametrize("body", BOUND.values(), ids=BOUND)
def test_what_binds_to_an_account(body):
    assert binding(body) == ACCOUNT


@pytest.mark.parametrize("body", UNBOUND.values(), ids=UNBOUND)
def test_what_binds_to_nothing(body):
    assert binding(body) == FREE


def test_what_the_sdk_sends_beside_the_body_binds_too():
    """Parameters that are headers on the wire, in any case; one that was left out is there all the same."""
    assert binding({}, {"anthropic-workspace-id": "w"}) == ACCOUNT
    assert binding({}, {"Anthropic-User-Profile-Id": "u"}) == ACCOUNT
    assert binding({}, {"anthropic-workspace-id": anthropic.NOT_GIVEN, "anthropic-beta": "b"}) == FREE


@pytest.mark.skipif(not hasattr(anthropic.Anthropic, "_supports_message_threads"), reason="this SDK has no threads")
def test_a_thread_stays_where_its_first_answer_came_from(bench: Bench, other: ScriptedProvider, sandbox: Sandbox):
    """Every turn of the SDK's own threads, the first one too: what it starts elsewhere could not be continued here."""
    client = client_of(bench, PLAIN, other, candidates=[HAIKU])
    thread = client.beta.messages.thread(model=HAIKU, max_tokens=9, messages=[])
    for turn in range(2):
        with attune.capture() as calls:
            thread.send({"role": "user", "content": f"turn {turn}"})
        assert [it.eliminated_by for it in calls[0].decision.candidates].count("capability") == 1
    assert [request.body["thread"]["type"] for request in bench.provider.requests] == ["create", "continue"]
    assert other.requests == ()


def test_fallbacks_of_the_provider_s_own_bind_to_the_model():
    assert binding({"messages": HELLO, "fallbacks": "default"}) == Binding(model=True)
    assert binding({"messages": AGAIN, "fallbacks": [{"model": "m"}]}) == Binding(model=True, account=True)


@pytest.fixture
def other() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as provider:
        yield provider


def client_of(bench: Bench, way: Way, other: ScriptedProvider, **words):
    alternate = bench.bare(way).with_options(base_url=other.url, api_key="second")
    return bench.wrapped(way, alternates=[alternate], **words)


@pytest.mark.parametrize("model", ["auto", HAIKU])
def test_a_bound_request_never_goes_to_another_client(
    bench: Bench, other: ScriptedProvider, ledger: Ledger, way: Way, model
):
    """Not to fall back, not in trouble with the account: what is there would not be understood elsewhere."""
    client = client_of(bench, way, other, candidates=[HAIKU])
    bench.provider.script(HAIKU, *[fail("overloaded", should_retry=False)] * 3)
    bound = bench.ask(way, client, model, messages=AGAIN)
    assert isinstance(bound.error, anthropic.APIStatusError)
    assert [it[:2] for it in bound.tried] == [(HAIKU, "initial")]
    assert other.requests == ()
    rows = [(it.model, it.eliminated_by) for it in bound.record.decision.candidates]
    assert (HAIKU, "capability") in rows
    free = bench.ask(way, client, model)
    assert free.error is None
    assert len(other.requests) == 1
    ledger.check([*bound.records, *free.records])


def test_a_bound_request_may_fall_back_to_another_model_of_its_client(bench: Bench, other: ScriptedProvider, way: Way):
    client = client_of(bench, way, other, candidates=[HAIKU, SONNET])
    bench.provider.script(HAIKU, fail("overloaded"))
    seen = bench.ask(way, client, messages=AGAIN)
    assert [it[0] for it in seen.tried] == [HAIKU, SONNET]
    assert other.requests == ()


def test_where_every_candidate_is_elsewhere_the_caller_s_word_stands(bench: Bench, other: ScriptedProvider):
    """Who names other clients only, sends it there."""
    there = bench.bare(PLAIN).with_options(base_url=other.url, api_key="second")
    client = bench.wrapped(PLAIN, candidates=[attune.Target(HAIKU, client=there)])
    assert bench.ask(PLAIN, client, messages=AGAIN).error is None
    assert len(other.requests) == 1


def test_a_bound_request_inside_a_routed_function_stays(bench: Bench, other: ScriptedProvider, sandbox: Sandbox):
    """The function's candidates at another client are left out when its guarded call takes over."""
    client = bench.wrapped(PLAIN)
    there = bench.bare(PLAIN).with_options(base_url=other.url, api_key="second")

    @attune.routed(workflow="w", candidates=[HAIKU, attune.Target(SONNET, client=there)])
    def review(*, model: str = attune.AUTO):
        return client.messages.create(model=model, max_tokens=9, messages=AGAIN)

    bench.provider.script(HAIKU, fail("overloaded", should_retry=False))
    with attune.capture() as calls, pytest.raises(anthropic.APIStatusError):
        review()
    assert [it.model for it in calls[0].attempts] == [HAIKU]
    assert [it.eliminated_by for it in calls[0].decision.candidates if it.model == SONNET] == ["capability"]
    assert other.requests == ()


def test_a_request_with_fallbacks_of_its_own_stays_with_its_model(
    bench: Bench, other: ScriptedProvider, sandbox: Sandbox, way: Way
):
    """The provider chooses the next model; the same one at another client is legal, another one is not."""
    body = {"extra_body": {"fallbacks": "default"}}
    two = bench.wrapped(way, candidates=[HAIKU, SONNET])
    bench.provider.script(HAIKU, fail("overloaded", should_retry=False))
    seen = bench.ask(way, two, **body)
    assert isinstance(seen.error, anthropic.APIStatusError)
    assert [it[0] for it in seen.tried] == [HAIKU]
    sandbox.configure()  # what was learnt of it would send the next call to the other model
    bench.provider.script(HAIKU, fail("overloaded"))
    seen = bench.ask(way, client_of(bench, way, other, candidates=[HAIKU, SONNET]), **body)
    assert seen.error is None
    assert [it[0] for it in seen.tried] == [HAIKU, HAIKU]
    assert [it.model for it in other.requests] == [HAIKU]


class Older:
    """A dialect of a user's own, from before a dialect could say what binds a request."""

    def __init__(self) -> None:
        self._inner = AnthropicDialect()

    def __getattr__(self, name: str):
        if name in ("binding", "shape"):
            raise AttributeError(name)
        return getattr(self._inner, name)


def test_a_dialect_that_says_nothing_of_its_requests_works(bench: Bench, other: ScriptedProvider, sandbox: Sandbox):
    """Nothing binds its requests; refusals but absence are not remembered."""
    sandbox.configure(dialects=[Older()])
    client = client_of(bench, PLAIN, other, candidates=[HAIKU])
    bench.provider.script(HAIKU, fail("overloaded"))
    assert bench.ask(PLAIN, client, messages=AGAIN).error is None
    assert len(other.requests) == 1
    client = bench.wrapped(PLAIN, candidates=[SONNET, HAIKU], default=SONNET)
    bench.provider.script(HAIKU, fail("invalid_request"))
    for _ in range(2):
        assert bench.ask(PLAIN, client).error is None
    assert sandbox.faults == {}


def test_looking_costs_little():
    """As much as there are blocks: four times as many cost about four times as much, and no text is walked through."""
    for look in (binding, shape_of):
        small, large, wordy = (least_s(look, long(*it)) for it in ((100, 100), (400, 100), (100, 100_000)))
        assert large < 8 * small, look
        assert wordy < 2 * small, look


def long(messages: int, length: int) -> dict:
    text = {"type": "text", "text": "x" * length}
    call = {"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [text]}
    return {"max_tokens": 9, "messages": [{"role": "user", "content": [text, call, result]} for _ in range(messages)]}


def least_s(look, body: dict) -> float:
    times = []
    for _ in range(30):
        before = time.thread_time()
        look(body)
        times.append(time.thread_time() - before)
    return min(times)
