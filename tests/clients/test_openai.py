"""What the OpenAI SDK's answers, events and errors mean, in both of its APIs; what is routed, and where Azure's requests go."""

from __future__ import annotations

import contextvars
import gc
import inspect
import json
import operator
from types import SimpleNamespace
from typing import Any, get_args

import openai
import pytest
from calls.sdks import CHAT, HELLO, MESSAGES, RESPONSES
from calls.ways import Bench, Way
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import ResponseError
from pydantic import BaseModel

import attune
from attune.clients.dialect import NOTHING, Dialect, EventReader, Facts
from attune.clients.openai import AzureOpenAIDialect, OpenAIDialect, OpenAIEvents
from attune.clients.openai_chat import read_usage
from attune.models.failures import FailureKind, classify, failure_of_word
from attune.models.response import Usage
from attune.testing import Sandbox, empty, ok, refusal, stream_error, tool_use, truncate

DIALECT = OpenAIDialect()
LUNA, TERRA, SOL = CHAT.small, CHAT.large, CHAT.premium
STEPS = {"text": ok("hello"), "tool": tool_use("look", {"x": 1}), "refusal": refusal("no"), "empty": empty()}
HTTP = getattr(openai._base_client, "httpx2", None) or openai._base_client.httpx


@pytest.fixture(params=[CHAT, RESPONSES], ids=repr)
def sdk(request):
    return request.param


def fed(events: list[Any]) -> OpenAIEvents:
    reader = OpenAIEvents()
    for event in events:
        reader.feed(event)
    return reader


def shaped(**fields: Any) -> Any:
    """An answer as plain names, as a raw response is read."""
    return json.loads(json.dumps(fields), object_hook=lambda it: SimpleNamespace(**it))


class Wire:
    """A client on an in-memory transport that keeps every request and gives what it is told."""

    def __init__(self, answer: Any = None, make: Any = openai.OpenAI, **options: Any) -> None:
        self.sent: list[Any] = []
        self.answer = answer or {
            "id": "c1", "object": "chat.completion", "created": 1, "model": LUNA, "usage": None,
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
        }  # fmt: skip
        client = HTTP.Client(transport=HTTP.MockTransport(self._handle), verify=False)
        self.bare = make(api_key="k", max_retries=0, http_client=client, **options)

    def _handle(self, request: Any) -> Any:
        self.sent.append(request)
        return HTTP.Response(200, json=self.answer) if isinstance(self.answer, dict) else self.answer()

    @property
    def paths(self) -> list[str]:
        return [it.url.path for it in self.sent]

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(it.content) for it in self.sent]


def azure(**options: Any) -> Wire:
    """A client of Azure's."""
    return Wire(make=openai.AzureOpenAI, azure_endpoint="https://here.example", api_version="2025-01-01", **options)


# -- what is said


def test_it_speaks_its_own_clients_only(attune_sandbox: Sandbox):
    """By class, subclasses included; Azure's are Azure's, and still fit for a request of OpenAI's."""

    class Mine(openai.OpenAI):
        """A subclass."""

    class OpenAI:
        """A namesake."""

    own = AzureOpenAIDialect()
    for kind in (openai.OpenAI, openai.AsyncOpenAI, Mine):
        assert DIALECT.speaks(kind.__new__(kind))
        assert not own.speaks(kind.__new__(kind))
        assert attune_sandbox.runtime.dialect_of(kind.__new__(kind)).provider == "openai"
    for kind in (openai.AzureOpenAI, openai.AsyncAzureOpenAI):
        assert own.speaks(kind.__new__(kind))
        assert DIALECT.speaks(kind.__new__(kind))
        assert attune_sandbox.runtime.dialect_of(kind.__new__(kind)).provider == "azure"
    for thing in (OpenAI(), object(), None, "openai"):
        assert not DIALECT.speaks(thing)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("how", ["plain", "stream"])
def test_an_answer_says_the_same_whole_and_in_events(bench: Bench, sdk, name, how):
    """Usage, model, id, finish reason, and whether there was anything in it."""
    way, step = Way(how, sdk), STEPS[name]
    bench.provider.script(LUNA, step)
    seen = bench.ask(way, bench.bare(way), LUNA)
    reader = fed(seen.events)
    facts = reader.facts() if way.stream else DIALECT.read(seen.value)
    assert reader.done == way.stream
    assert reader.content == (way.stream and name != "empty")
    assert reader.text == ("hello" if way.stream and name == "text" else "")
    assert facts.model == LUNA
    assert facts.response_id.startswith(("chatcmpl-", "resp_"))
    ended = {"tool": "tool_calls"}.get(name, "stop") if sdk is CHAT else "completed"
    assert facts.finish_reasons == (ended,)
    assert facts.empty == (name == "empty")
    assert facts.failed is None
    assert facts.usage.input_tokens == 2 if sdk is RESPONSES else facts.usage.input_tokens > 0
    assert (facts.usage.output_tokens > 0) == (name != "empty")


def test_an_answer_that_was_cut_at_its_limit_is_an_answer(bench: Bench, sdk):
    """With the reason in the provider's own word."""
    way = Way("plain", sdk)
    limit = {"max_completion_tokens" if sdk is CHAT else "max_output_tokens": 1}
    seen = bench.ask(way, bench.wrapped(way), LUNA, **limit)
    assert seen.tried == [(LUNA, "initial", "success", None)]
    assert DIALECT.read(seen.value).finish_reasons == ("length" if sdk is CHAT else "max_output_tokens",)


@pytest.mark.parametrize("usage", [
    {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120,
     "prompt_tokens_details": {"cached_tokens": 70, "cache_write_tokens": 10},
     "completion_tokens_details": {"reasoning_tokens": 15}},
    {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120,
     "input_tokens_details": {"cached_tokens": 70, "cache_write_tokens": 10},
     "output_tokens_details": {"reasoning_tokens": 15}},
], ids=["chat", "responses"])  # fmt: skip
def test_cached_tokens_are_counted_once_and_reasoning_is_output(usage):
    """Their input counts what was cached, ours does not; their output counts the reasoning, and so does ours."""
    told = read_usage(shaped(**usage))
    assert told == Usage(input_tokens=20, output_tokens=20, cache_read_tokens=70, cache_write_tokens=10)
    assert told.total_input_tokens == 100


def test_old_and_short_usage_is_read_as_far_as_it_goes():
    """Details are newer than counts; nonsense is no count; nothing is unknown, and not 0."""
    assert read_usage(shaped(prompt_tokens=5, completion_tokens=2)) == Usage(input_tokens=5, output_tokens=2)
    assert read_usage(shaped(prompt_tokens=5, prompt_tokens_details={"cached_tokens": 9})).input_tokens == 0
    assert read_usage(shaped(prompt_tokens="many")) is None
    assert read_usage(None) is None


def test_a_stream_without_counts_costs_an_unknown_sum(bench: Bench, sandbox: Sandbox):
    """Usage comes only where the request asks for it, and the request is the caller's: never 0, never changed."""
    client = bench.wrapped(Way("stream", CHAT))
    with attune.capture() as calls:
        for _ in client.chat.completions.create(model=LUNA, messages=HELLO, stream=True):
            pass
    assert (calls[0].outcome, calls[0].usage, calls[0].cost_complete) == ("success", None, False)
    assert calls[0].attempts[0].cost is None
    assert "stream_options" not in bench.provider.requests[-1].body


@pytest.mark.parametrize("thing", [None, "text", 7, {}, [], ..., SimpleNamespace(usage=None)], ids=str)
def test_what_is_no_answer_says_nothing(thing):
    assert DIALECT.read(thing) == NOTHING
    assert DIALECT.events(thing) is None


@pytest.mark.parametrize(
    ("error", "word"),
    [
        ({"message": "Provider returned error", "code": 502}, "502"),
        ({"type": "server_error"}, "server_error"),
        ({"message": "no"}, ""),
    ],
)
def test_an_error_in_place_of_an_answer(error, word):
    """Gateways send one with status 200."""
    assert DIALECT.read(openai.types.chat.ChatCompletion.construct(error=error)).failed == word


@given(st.none() | st.integers() | st.text() | st.booleans())
def test_unknown_events_pass(thing):
    """An event of tomorrow's API stops nobody."""
    for event in (thing, SimpleNamespace(type="something_new", payload=thing), SimpleNamespace(choices=[])):
        reader = OpenAIEvents()
        reader.feed(event)
        reader.feed(event)
        assert (reader.content, reader.done, reader.text, reader.facts()) == (False, False, "", Facts())


def chunk(index: int = 0, finish: str | None = None, **delta: Any) -> Any:
    return shaped(id="c", model=LUNA, choices=[{"index": index, "delta": delta, "finish_reason": finish}])


def test_a_chat_is_over_when_each_of_its_choices_is():
    """With `n=2`, one that stops is not the end; the text kept is the first one's."""
    reader = fed([chunk(0, content="a"), chunk(1, content="b"), chunk(0, "stop")])
    assert not reader.done
    reader.feed(chunk(1, "length"))
    assert reader.done
    assert reader.text == "a"
    assert reader.facts().finish_reasons == ("stop", "length")


def test_content_begins_with_the_first_delta_that_carries_any(bench: Bench, sdk):
    """Roles, opened items and empty pieces are held; a tool's name is content, and so is another vendor's reasoning."""
    way = Way("stream", sdk)
    for step in (ok("one two three"), tool_use("look", {"x": 1})):
        bench.provider.script(LUNA, step)
        events = bench.ask(way, bench.bare(way), LUNA).events
        began = [fed(events[:n]).content for n in range(1, len(events) + 1)]
        assert began.index(True) == (1 if sdk is CHAT else 4 if step.tool is None else 3)
        assert began == sorted(began)
    assert isinstance(OpenAIEvents(), EventReader)
    assert not fed([chunk(role="assistant", content="", refusal=None)]).content
    opened = {"delta": SimpleNamespace(content=None, model_extra={"reasoning_content": "hm"}), "index": 0}
    assert fed([SimpleNamespace(choices=[SimpleNamespace(**opened)])]).content


def test_a_tool_that_runs_at_the_provider_is_content():
    """Nobody may start it a second time."""
    assert not fed([SimpleNamespace(type="response.queued", response=None)]).content
    assert fed([SimpleNamespace(type="response.mcp_call.in_progress")]).content


def test_a_background_response_is_not_empty():
    """What it says will come later."""
    facts = DIALECT.read(
        shaped(object="response", status="queued", id="r", model=LUNA, output=[], usage=None, error=None)
    )
    assert (facts.empty, facts.usage, facts.finish_reasons, facts.failed) == (False, None, (), None)


def test_reasoning_alone_is_no_answer():
    """A limit that the reasoning ate leaves nothing for the caller."""
    base = {"object": "response", "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    assert DIALECT.read(shaped(**base, output=[{"type": "reasoning"}])).empty
    assert not DIALECT.read(shaped(**base, output=[{"type": "reasoning"}, {"type": "function_call"}])).empty


# -- failures


def failed(code: str) -> dict[str, Any]:
    """A Response that failed, as JSON."""
    return {
        "id": "r1", "object": "response", "created_at": 1, "model": LUNA, "status": "failed", "output": [], "usage": None,
        "error": {"code": code, "message": "no"}, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("code", "kind", "outcome", "tries"),
    [
        ("server_error", "server", "failure", 2), ("rate_limit_exceeded", "rate_limit", "failure", 2),
        ("server_is_overloaded", "overloaded", "failure", 2), ("invalid_prompt", "invalid_request", "neutral", 1),
        ("never_seen", "server", "failure", 2), ("invalid_image_url", "invalid_request", "neutral", 1),
    ],
)  # fmt: skip
def test_a_response_that_failed_is_a_failure_and_still_the_answer(attune_sandbox: Sandbox, code, kind, outcome, tries):
    """By its own code; another target is asked where the table allows it; at last the caller gets what the SDK gives."""
    wire = Wire(failed(code))
    with attune.capture() as calls:
        answer = attune.wrap(wire.bare, candidates=[LUNA, TERRA]).responses.create(model="auto", input="hi")
    assert answer.status == "failed"
    assert [(it.outcome, it.error_type, it.cost) for it in calls[0].attempts] == [(outcome, kind, 0.0)] * tries
    assert calls[0].outcome == outcome
    assert attune_sandbox.faults == {}
    assert [span.attributes.get("error.type") for span in attune_sandbox.spans] == [kind] * (tries + 1)


def test_every_word_for_a_response_that_failed_is_known():
    """One that is not counts as the server's fault, is asked again and opens circuits: a caller's bad image must not."""
    (codes,) = (it.annotation for name, it in ResponseError.model_fields.items() if name == "code")
    kinds = {code: failure_of_word(code, DIALECT.failures).kind for code in get_args(codes)}
    server = {code for code, kind in kinds.items() if kind == "server"}
    assert server == {"server_error", "vector_store_timeout"}
    assert {kinds[code] for code in kinds if "image" in code} == {"invalid_request"}


def sse(*events: dict[str, Any]) -> Any:
    body = "".join(f"event: {it['type']}\ndata: {json.dumps(it)}\n\n" for it in events).encode()
    return lambda: HTTP.Response(200, headers={"content-type": "text/event-stream"}, content=body)


@pytest.mark.parametrize("nested", [False, True], ids=["as documented", "as sent"])
def test_an_error_event_is_a_failure_in_both_of_its_shapes(attune_sandbox: Sandbox, nested):
    """The SDK raises one of them and hands the other on; either way the attempt failed, by its code."""
    told = {"code": "rate_limit_exceeded", "message": "slowly", "param": None}
    wire = Wire(sse({"type": "error", "sequence_number": 0, **({"error": told} if nested else told)}))
    client = attune.wrap(wire.bare)
    with attune.capture() as calls:
        if nested:
            with pytest.raises(openai.APIError):
                list(client.responses.create(model=LUNA, input="hi", stream=True))
        else:
            (event,) = client.responses.create(model=LUNA, input="hi", stream=True)
            assert event.type == "error"
    assert [(it.outcome, it.error_type) for it in calls[0].attempts] == [("failure", "rate_limit")]
    assert attune_sandbox.circuits[f"openai:{LUNA}"]["cooling_until"]
    assert attune_sandbox.faults == {}


def test_a_failed_stream_that_is_closed_is_a_failure(bench: Bench, sandbox: Sandbox):
    """Leaving after the word of failure does not make it nobody's."""
    bench.provider.script(LUNA, stream_error("server", after=1))
    with attune.capture() as calls:
        client = bench.wrapped(Way("stream", RESPONSES))
        with client.responses.create(model=LUNA, input="hi", stream=True) as stream:
            assert next(it for it in stream if it.type == "response.failed")
    assert [(it.outcome, it.error_type) for it in calls[0].attempts] == [("failure", "server")]


def status_error(status: int, code: str | None, kind: str = "invalid_request_error") -> Any:
    response = HTTP.Response(status, request=HTTP.Request("POST", "https://x"))
    wire = Wire()
    return wire.bare._make_status_error("m", body={"message": "m", "type": kind, "code": code}, response=response)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "insufficient_quota", "spend_limit"), (429, "rate_limit_exceeded", "rate_limit"),
        (429, "billing_hard_limit_reached", "spend_limit"), (400, "context_length_exceeded", "too_large"),
        (429, "slow_down", "rate_limit"), (503, "server_is_overloaded", "overloaded"), (503, None, "server"),
        (400, "content_filter", "invalid_request"), (404, "model_not_found", "not_found"),
        (404, "DeploymentNotFound", "not_found"), (403, "model_not_found", "not_found"), (403, None, "auth"),
        (401, "invalid_api_key", "auth"), (402, None, "payment"), (400, "unsupported_value", "invalid_request"),
    ],
)  # fmt: skip
def test_codes_say_more_than_a_status(status, code, kind):
    """A quota is no rate limit, a full context no mere mistake, and a model closed to the account no sick provider."""
    error = status_error(status, code)
    assert isinstance(error, openai.APIStatusError)
    assert classify(error, DIALECT.failures).kind is FailureKind(kind)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("APITimeoutError", "timeout"), ("APIConnectionError", "connection"), ("APIResponseValidationError", "server"),
        ("APIError", "server"), ("LengthFinishReasonError", "caller"), ("ContentFilterFinishReasonError", "caller"),
    ],
)  # fmt: skip
def test_each_class_in_the_table_is_the_sdk_s(name, kind):
    """A row that names no class of the SDK's would never be met."""
    error = getattr(openai, name).__new__(getattr(openai, name))
    assert classify(error, DIALECT.failures).kind is FailureKind(kind)


class Verdict(BaseModel):
    fine: bool


def test_parse_gives_what_was_asked_for(bench: Bench, sandbox: Sandbox):
    """Both APIs' `.parse` pass the seam."""
    text = ok('{"fine": true}')
    client = bench.wrapped(Way("plain", CHAT))
    with attune.capture() as calls:
        bench.provider.script(LUNA, text)
        chat = client.chat.completions.parse(model="auto", messages=HELLO, response_format=Verdict)
        bench.provider.script(LUNA, text)
        response = client.responses.parse(model="auto", input="hi", text_format=Verdict)
    assert chat.choices[0].message.parsed == response.output_parsed == Verdict(fine=True)
    assert [it.outcome for it in calls] == ["success"] * 2
    assert all(it.cost > 0 for it in calls)


def test_what_parse_refuses_is_the_caller_s(bench: Bench, sandbox: Sandbox):
    """An answer cut by the caller's own limit: no failure of the model, and no second attempt."""
    client = bench.wrapped(Way("plain", CHAT), candidates=[LUNA, TERRA])
    with attune.capture() as calls, pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model="auto", messages=HELLO, response_format=Verdict, max_completion_tokens=1)
    assert [(it.outcome, it.error_type) for it in calls[0].attempts] == [("neutral", "caller")]
    assert not calls[0].cost_complete
    assert sandbox.circuits[f"openai:{LUNA}"]["failure_count"] == 0


def test_the_dialect_names_the_nearest_class():
    """Connection error for an open circuit, time-out for a deadline, APIError for the rest."""
    client = openai.OpenAI(api_key="k", base_url="https://me:key@api.example/x")
    for error, nearest in (
        (attune.CircuitOpenError("open"), openai.APIConnectionError),
        (attune.StreamInterrupted("cut"), openai.APIConnectionError),
        (attune.DeadlineExceeded("late"), openai.APITimeoutError),
        (attune.NoModelAvailable("none"), openai.APIError),
    ):
        told = DIALECT.refusal(error, client)
        assert isinstance(told, (type(error), nearest))
        assert isinstance(told, nearest)
        assert "key" not in str(told.request.url)
    client.close()


def test_the_protocol_is_kept():
    """Every member of Dialect is there."""
    for name in (name for name in vars(Dialect) if not name.startswith("_")):
        assert hasattr(DIALECT, name)


# -- what is routed, and where to


def test_only_posts_for_answers_are_routed(attune_sandbox: Sandbox):
    """The rest passes untouched, but for the word `auto`."""
    wire = Wire()
    client = attune.wrap(wire.bare)
    with attune.capture() as calls:
        client.embeddings.create(model="text-embedding-3-small", input="x", encoding_format="float")
        client.moderations.create(model="auto", input="x")
        client.responses.cancel("resp_1")
        client.responses.retrieve("resp_1")
        client.chat.completions.update("c1", metadata={})
        client.models.list()
        client.batches.create(completion_window="24h", endpoint="/v1/chat/completions", input_file_id="f")
        client.conversations.create()
    assert calls == []
    assert [json.loads(it.content).get("model") for it in wire.sent[:2]] == ["text-embedding-3-small", LUNA]
    with attune.capture() as calls:
        client.chat.completions.create(model="auto", messages=HELLO)
        client.completions.create(model=LUNA, prompt="hi")
        client.responses.create(model="auto", input="hi")
    assert [it.outcome for it in calls] == ["success"] * 3


def test_the_old_completions_are_read_like_chats(attune_sandbox: Sandbox):
    """Guarded and measured, for those who still have a model there."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    choice = {"index": 0, "text": "hi", "finish_reason": "stop", "logprobs": None}
    wire = Wire(
        {"id": "c", "object": "text_completion", "created": 1, "model": LUNA, "choices": [choice], "usage": usage}
    )
    with attune.capture() as calls:
        attune.wrap(wire.bare).completions.create(model=LUNA, prompt="hi")
    assert (calls[0].usage, calls[0].outcome) == (Usage(input_tokens=3, output_tokens=2), "success")
    streamed = [shaped(choices=[{"index": 0, "text": it, "finish_reason": None}]) for it in ("a", "b")]
    reader = fed([*streamed, shaped(choices=[{"index": 0, "text": "", "finish_reason": "stop"}])])
    assert (reader.text, reader.done, reader.content) == ("ab", True, True)


def test_a_pinned_request_is_the_same_on_the_wire(attune_sandbox: Sandbox):
    """In both APIs, with options or without."""
    may_differ = {"traceparent", "tracestate", "x-stainless-retry-count", "x-stainless-read-timeout", "idempotency-key"}

    def said(client: Any, wire: Wire) -> list[Any]:
        wire.sent.clear()
        for more in ({}, {"extra_headers": {"x-mine": "1"}, "extra_body": {"mine": 1}, "extra_query": {"q": "1"}}):
            client.chat.completions.create(model=LUNA, messages=HELLO, n=1, **more)
            client.with_options(timeout=9).responses.create(model=LUNA, input="hi", store=False, **more)
        return [
            (str(it.url), {k: v for k, v in it.headers.items() if k not in may_differ}, json.loads(it.content))
            for it in wire.sent
        ]

    wire = Wire()
    bare = said(wire.bare, wire)
    assert said(attune.wrap(wire.bare), wire) == bare
    assert len(bare) == 4


def test_an_azure_deployment_is_the_model_that_was_chosen(attune_sandbox: Sandbox):
    """The SDK puts the body's model into the URL: routing changes both."""
    wire = azure()
    client = attune.wrap(wire.bare, candidates=["two"])
    with attune.capture() as calls:
        client.chat.completions.create(model="auto", messages=HELLO)
        client.chat.completions.create(model="three", messages=HELLO)
        client.responses.create(model="auto", input="hi")
    assert wire.paths == [
        "/openai/deployments/two/chat/completions", "/openai/deployments/three/chat/completions", "/openai/responses",
    ]  # fmt: skip
    assert [it["model"] for it in wire.bodies] == ["two", "three", "two"]
    assert [(it.provider, it.model) for it in calls] == [("azure", "two"), ("azure", "three"), ("azure", "two")]
    assert {it.attributes.get("gen_ai.provider.name") for it in attune_sandbox.spans} == {"azure.ai.openai", None}


def test_an_azure_client_of_one_deployment_reaches_the_chosen_one(attune_sandbox: Sandbox):
    """Its base URL names a deployment whatever the body says: a routed call goes to the target's, a pinned one stays."""
    wire = azure(azure_deployment="mine")
    for mode in ("enforce", "observe", "off"):
        attune_sandbox.configure(mode=mode)
        wire.sent.clear()
        client = attune.wrap(wire.bare, candidates=["away", "mine"], default="away")
        client.chat.completions.create(model="auto", messages=HELLO)
        client.chat.completions.create(model="any", messages=HELLO)
        assert wire.paths == ["/openai/deployments/away/chat/completions", "/openai/deployments/mine/chat/completions"]
        assert [it.url.params["api-version"] for it in wire.sent] == ["2025-01-01"] * 2


def test_azure_without_candidates_pins_and_says_what_auto_needs(attune_sandbox: Sandbox):
    """A deployment's name is its owner's: there are no defaults to guess."""
    wire = azure()
    client = attune.wrap(wire.bare)
    client.chat.completions.create(model="mine", messages=HELLO)
    with pytest.raises(attune.ConfigError, match=r"azure.*candidates"):
        client.chat.completions.create(model="auto", messages=HELLO)
    assert len(wire.sent) == 1


def test_azure_stands_in_for_openai_and_the_other_way_round(attune_sandbox: Sandbox):
    """The same id at the other's client, under the other's name."""
    down = Wire(lambda: HTTP.Response(529, json={"error": {"message": "busy"}}))
    there = azure()
    with attune.capture() as calls:
        attune.wrap(down.bare, alternates=[there.bare]).chat.completions.create(model=LUNA, messages=HELLO)
    assert [(it.provider, it.model, it.outcome) for it in calls[0].attempts] == [
        ("openai", LUNA, "failure"), ("azure", LUNA, "success"),
    ]  # fmt: skip
    assert there.paths == [f"/openai/deployments/{LUNA}/chat/completions"]
    there.answer, here = down.answer, Wire()
    with attune.capture() as calls:
        attune.wrap(there.bare, alternates=[here.bare]).chat.completions.create(model=LUNA, messages=HELLO)
    assert [(it.provider, it.outcome) for it in calls[0].attempts] == [("azure", "failure"), ("openai", "success")]
    assert here.paths == ["/v1/chat/completions"]


def test_a_compatible_server_is_openai_s_unless_a_target_says_otherwise(attune_sandbox: Sandbox):
    """Provider, price and circuit are the target's."""
    wire = Wire(base_url="https://models.example/v1")
    target = attune.Target("llama", provider="groq", price=(1.0, 2.0))
    with attune.capture() as calls:
        attune.wrap(wire.bare, candidates=[target]).chat.completions.create(model="auto", messages=HELLO)
        attune.wrap(wire.bare).chat.completions.create(model="llama", messages=HELLO)
    assert [(it.provider, it.model) for it in calls] == [("groq", "llama"), ("openai", "llama")]
    assert {str(it.url.host) for it in wire.sent} == {"models.example"}


@pytest.mark.parametrize("make", [{"previous_response_id": "r"}, {"conversation": "c"}, {"prompt": {"id": "p"}},
    {"tools": [{"type": "file_search", "vector_store_ids": ["v"]}]},
    {"tools": [{"type": "code_interpreter", "container": "cntr_1"}]},
    {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["f"]}}]},
    {"tools": [{"type": "mcp", "server_label": "l"}]},
    {"input": [{"type": "reasoning", "encrypted_content": "sealed"}]}, {"input": [{"type": "item_reference", "id": "i"}]},
    {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
    {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
], ids=str)  # fmt: skip
def test_what_an_account_keeps_binds_a_request_to_it(make):
    """Earlier answers, conversations, stored prompts, stores, containers, files, sealed reasoning."""
    assert DIALECT.binding(SimpleNamespace(body={"model": "auto", **make})).account


@pytest.mark.parametrize("make", [{}, {"prompt_cache_key": "k"}, {"prompt": "a text"}, {"input": "hi"},
    {"tools": [{"type": "web_search"}, {"type": "function", "name": "f", "parameters": {}}]},
    {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}, {"messages": HELLO},
    {"input": [{"type": "function_call_output", "call_id": "c", "output": "o"}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}]},
], ids=str)  # fmt: skip
def test_what_everybody_can_read_binds_nothing(make):
    """A cache key makes an answer cheaper, and no other one impossible."""
    bound = DIALECT.binding(SimpleNamespace(body={"model": "auto", **make}))
    assert (bound.account, bound.model) == (False, False)


# -- the SDK's other ways


def test_raw_and_streaming_responses(bench: Bench, sandbox: Sandbox, sdk):
    """A raw response is read for its usage; a streaming one as the caller reads it."""
    client = bench.wrapped(Way("plain", sdk))
    body = {**sdk.body(stream=False), "model": "auto"}
    home = client.chat.completions if sdk is CHAT else client.responses
    with attune.capture() as calls:
        raw = home.with_raw_response.create(**body)
        assert raw.parse().model == LUNA
        with home.with_streaming_response.create(**body) as response:
            assert not response.is_closed
            assert LUNA.encode() in b"".join(response.iter_bytes())
    assert [it.outcome for it in calls] == ["success"] * 2
    assert calls[0].cost > 0
    assert (calls[1].usage, calls[1].cost) == (calls[0].usage, calls[0].cost)
    assert sandbox.faults == {}


def test_types_and_copies_are_those_of_the_sdk(bench: Bench):
    """The client's class, its streams and helpers, and copies, which stay guarded."""
    bare = bench.bare(Way("plain", CHAT))
    client = attune.wrap(bare, workflow="w")
    assert isinstance(client, openai.OpenAI)
    assert type(bare) is openai.OpenAI
    assert isinstance(client.chat.completions.create(model=LUNA, messages=HELLO, stream=True), openai.Stream)
    for copy in (client.with_options(timeout=4), client.copy(max_retries=0), attune.wrap(client, workflow="w")):
        with attune.capture() as calls:
            assert copy.chat.completions.create(model="auto", messages=HELLO).model == LUNA
        assert [(it.workflow, len(it.attempts)) for it in calls] == [("w", 1)]


def test_spans_say_what_the_conventions_ask_for(bench: Bench, sandbox: Sandbox, sdk):
    """Operation, provider, models, id, reason, limits and counts, on a CLIENT span."""
    usage = {"input_tokens": 5, "cache_read_input_tokens": 70, "output_tokens": 2}
    bench.provider.script(LUNA, ok("x", usage=usage))
    way = Way("stream", sdk)
    limit = {"max_completion_tokens" if sdk is CHAT else "max_output_tokens": 40}
    seen = bench.ask(way, bench.wrapped(way), LUNA, temperature=0.5, **limit)
    span = next(it for it in sandbox.spans if it.name == f"chat {LUNA}")
    told = span.attributes
    assert span.kind.name == "CLIENT"
    assert {name: told[name] for name in told if name.startswith("gen_ai.") and "time_to" not in name} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": LUNA,
        "gen_ai.request.max_tokens": 40,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.stream": True,
        "gen_ai.response.model": LUNA,
        "gen_ai.response.id": seen.events[0].id if sdk is CHAT else seen.events[0].response.id,
        "gen_ai.response.finish_reasons": ("stop" if sdk is CHAT else "completed",),
        "gen_ai.usage.input_tokens": 75,
        "gen_ai.usage.output_tokens": 2,
        "gen_ai.usage.cache_read.input_tokens": 70,
    }
    price = sandbox.runtime.catalogue.find(LUNA, "openai").price
    assert seen.record.cost == price.cost_nano(Usage(input_tokens=5, cache_read_tokens=70, output_tokens=2)) / 1e9


RAW_WAYS = [Way(name, sdk) for sdk in (MESSAGES, CHAT, RESPONSES) for name in ("stream", "async stream")]


@pytest.mark.parametrize("candidates", [1, 2])
@pytest.mark.parametrize("way", RAW_WAYS, ids=repr)
def test_a_raw_response_of_a_stream_is_watched_once_it_is_parsed(bench: Bench, sandbox: Sandbox, way, candidates):
    """Its usage is on the record, its truncation a failure; let go unparsed, it is nobody's."""
    sdk = way.sdk
    client = bench.wrapped(way, candidates=[sdk.small, sdk.large][:candidates])
    home = {MESSAGES: "messages", CHAT: "chat.completions", RESPONSES: "responses"}[sdk]
    raw = operator.attrgetter(home)(client).with_raw_response

    async def ask(read: bool) -> str:
        response = raw.create(model="auto", stream=True, **sdk.body(stream=True))
        response = await response if inspect.isawaitable(response) else response
        if not read:
            return ""
        stream = response.parse()
        stream = await stream if inspect.isawaitable(stream) else stream
        del response
        return "".join([sdk.text(it) async for it in stream] if way.asynchronous else map(sdk.text, stream))

    bench.provider.script(sdk.small, ok("one two"), truncate(after=1), ok("unread"))
    with attune.capture() as calls:
        texts = [bench.loop.run(ask(read), context=contextvars.copy_context()) for read in (True, True, False)]
        gc.collect()
        sandbox.runtime.settle_abandoned()
    assert texts[0] == "one two"
    assert [(it.outcome, it.attempts[0].error_type) for it in calls] == [
        ("success", None), ("failure", "stream_broken"), ("neutral", None),
    ]  # fmt: skip
    assert calls[0].usage.output_tokens == 2
    assert calls[0].cost > 0
    assert sandbox.faults == {}
