"""`attune.instrument()`: every client of the process is guarded as a wrapped one is, and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import subprocess
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import anthropic
import openai
import pytest
from anthropic._base_client import AsyncAPIClient, SyncAPIClient
from anthropic.types import Message
from calls.ways import BODY, HAIKU, HELLO, OPUS, SONNET, Bench, Ledger, Way
from openai._base_client import AsyncAPIClient as AsyncOpenAIBase
from openai._base_client import SyncAPIClient as OpenAIBase
from wrapt import FunctionWrapper

import attune
from attune.clients.stainless import StainlessRequest
from attune.testing import Sandbox, ScriptedProvider, fail

BASES = [SyncAPIClient, AsyncAPIClient, OpenAIBase, AsyncOpenAIBase]
ORIGINALS = {cls: vars(cls)["request"] for cls in BASES}


@pytest.fixture
def instrumented(sandbox: Sandbox) -> Iterator[None]:
    attune.instrument()
    yield
    if attune.AttuneInstrumentor().is_instrumented_by_opentelemetry:
        attune.uninstrument()
    assert {cls: vars(cls)["request"] for cls in BASES} == ORIGINALS


def test_every_way_is_guarded(bench: Bench, sandbox: Sandbox, way: Way, ledger: Ledger, instrumented):
    """A client made before: plain, async, streams; one record, one permit, one observation, one span each."""
    seen = bench.ask(way, bench.bare(way))
    assert seen.error is None
    assert seen.tried == [(HAIKU, "initial", "success", None)]
    assert type(seen.value).__module__.startswith("anthropic")
    ledger.check(seen.records)


def test_a_client_made_after_is_guarded(bench: Bench, sandbox: Sandbox, instrumented):
    with anthropic.Anthropic(api_key="k", base_url=bench.url) as client, attune.capture() as calls:
        client.messages.create(model=SONNET, **BODY)
        client.with_options(timeout=3).messages.create(model=SONNET, **BODY)
        client.messages.with_raw_response.create(model=SONNET, **BODY).parse()
        client.beta.messages.create(model=SONNET, **BODY)
    assert [(it.model, it.outcome, it.decision.reason) for it in calls] == [(SONNET, "success", "pinned")] * 4
    assert sandbox.faults == {}


def test_openai_is_guarded(bench: Bench, sandbox: Sandbox, instrumented):
    """Both APIs of the other SDK; each client's candidates are its provider's."""
    with openai.OpenAI(api_key="k", base_url=f"{bench.url}/v1") as client, attune.capture() as calls:
        answer = client.chat.completions.create(model="auto", messages=HELLO)
        client.responses.create(model=answer.model, input="hello")
    assert [it.attempts[0].provider for it in calls] == ["openai", "openai"]
    assert [it.decision.reason for it in calls] == ["best", "pinned"]
    assert sandbox.faults == {}


def test_async_openai_is_guarded(bench: Bench, sandbox: Sandbox, instrumented):
    async def ask() -> None:
        async with openai.AsyncOpenAI(api_key="k", base_url=f"{bench.url}/v1") as client:
            await client.chat.completions.create(model="gpt-5-mini", messages=HELLO)

    with attune.capture() as calls:
        asyncio.run(ask())
    assert [(it.model, it.outcome) for it in calls] == [("gpt-5-mini", "success")]


def test_a_client_without_tier_defaults_is_guarded_too(bench: Bench, sandbox: Sandbox, instrumented):
    """Azure's models are deployments: a pinned call is guarded, and only `auto` has nowhere to go."""
    client = openai.AzureOpenAI(api_key="k", api_version="2024-10-21", azure_endpoint=bench.url, max_retries=0)
    with client, attune.capture() as calls:
        client.chat.completions.create(model="our-deployment", messages=HELLO)
        with pytest.raises(attune.ConfigError, match="No candidates"):
            client.chat.completions.create(model="auto", messages=HELLO)
    assert [(it.attempts[0].provider, it.attempts[0].model) for it in calls] == [("azure", "our-deployment")]
    assert sandbox.faults == {}


def test_failures_and_circuits_are_those_of_wrap(bench: Bench, sandbox: Sandbox, instrumented):
    """A sick model falls back where the model was left open, and opens its circuit where it was named."""
    bench.provider.outage(HAIKU, status=529)
    client = bench.bare(Way("plain"), max_retries=0)
    with attune.capture() as calls:
        assert client.messages.create(model="auto", **BODY).model != HAIKU
        for _ in range(4):
            with pytest.raises(anthropic.APIStatusError):
                client.messages.create(model=HAIKU, **BODY)
        with pytest.raises(attune.CircuitOpenError):
            client.messages.create(model=HAIKU, **BODY)
    assert [it.error_type for it in calls[0].attempts] == ["overloaded", None]
    assert [it.outcome for it in calls] == ["success", *["failure"] * 4, "rejected"]
    assert sandbox.faults == {}


def test_a_refusal_is_the_sdks_error(bench: Bench, sandbox: Sandbox, instrumented):
    bench.provider.outage(status=fail("rate_limit", retry_after_s=600))
    client = bench.bare(Way("plain"), max_retries=0)
    with pytest.raises(anthropic.RateLimitError):
        client.messages.create(model=HAIKU, **BODY)
    with pytest.raises(anthropic.APIConnectionError) as refused:
        client.messages.create(model=HAIKU, **BODY)
    assert isinstance(refused.value, attune.CircuitOpenError)


def test_a_wrapped_client_is_guarded_once(bench: Bench, way: Way, ledger: Ledger, instrumented):
    """Its own words hold, and an alternate that nobody wrapped is not guarded a second time either."""
    with ScriptedProvider() as second:
        other = bench.bare(way, base_url=second.url)
        client = bench.wrapped(way, workflow="own", candidates=[HAIKU], alternates=[other])
        bench.provider.outage(HAIKU, status=529)
        seen = bench.ask(way, client)
    assert seen.error is None
    assert seen.record.workflow == "own"
    assert [it[1:] for it in seen.tried] == [("initial", "failure", "overloaded"), ("fallback", "success", None)]
    ledger.check(seen.records)


def test_a_routed_function_takes_over(bench: Bench, ledger: Ledger, instrumented):
    """The guarded call inside makes the attempts; the decision is the function's."""

    @attune.routed(workflow="review", candidates=[HAIKU, SONNET])
    def ask(*, model: str = attune.AUTO) -> Any:
        return bench.sync.messages.create(model=model, **BODY)

    with attune.capture() as calls:
        ask()
    assert [(it.workflow, it.model, len(it.attempts)) for it in calls] == [("review", HAIKU, 1)]


def test_its_words_are_defaults_for_every_client(bench: Bench, sandbox: Sandbox):
    """Candidates and the default of another provider are left to that provider's clients; scopes say more."""
    attune.instrument(workflow="app", stage="all", candidates=[SONNET, "openai/gpt-5-mini"], default=SONNET)
    try:
        with attune.capture() as calls, openai.OpenAI(api_key="k", base_url=f"{bench.url}/v1") as other:
            bench.sync.messages.create(model="auto", **BODY)
            other.chat.completions.create(model="auto", messages=HELLO)
            with attune.scope(stage="inner"):
                bench.sync.messages.create(model="auto", **BODY)
    finally:
        attune.uninstrument()
    assert [(it.workflow, it.stage, it.model) for it in calls] == [
        ("app", "all", SONNET),
        ("app", "all", "gpt-5-mini"),
        ("app", "inner", SONNET),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"workflows": "x"}, "Did you mean 'workflow'"),
        ({"max_cost": 0}, "instrument(max_cost=0)"),
        ({"candidates": []}, "candidates=[]"),
        ({"candidates": ["auto"]}, "neither a model id nor a Target"),
    ],
)
def test_wrong_words_are_refused_and_change_nothing(sandbox: Sandbox, words, said):
    with pytest.raises(attune.ConfigError) as wrong:
        attune.instrument(**words)
    assert said in str(wrong.value)
    assert {cls: vars(cls)["request"] for cls in BASES} == ORIGINALS


def test_providers_of_its_own_are_refused(sandbox: Sandbox):
    """The conventional words of instrumentors name where to say it."""
    with pytest.raises(attune.ConfigError, match="configure"):
        attune.AttuneInstrumentor().instrument(tracer_provider=object())
    attune.AttuneInstrumentor().instrument(tracer_provider=None, skip_dep_check=True)
    attune.uninstrument()


def test_modes_hold(bench: Bench, sandbox: Sandbox, instrumented):
    """off: as written, nothing told; observe: as written, told; `auto` is the default model in both."""
    client = bench.bare(Way("plain"), max_retries=0)
    sandbox.configure(mode="off")
    with attune.capture() as nothing:
        assert client.messages.create(model=OPUS, **BODY).model == OPUS
        assert client.messages.create(model="auto", **BODY).model == HAIKU
    assert nothing == []
    sandbox.configure(mode="observe", reroute={OPUS: {"candidates": [HAIKU]}})
    with attune.capture() as calls:
        assert client.messages.create(model=OPUS, **BODY).model == OPUS
        assert client.messages.create(model="auto", **BODY).model == HAIKU
    assert [it.decision.reason for it in calls] == ["observe", "observe"]
    assert client.messages.count_tokens(model="auto", messages=HELLO).input_tokens > 0
    assert sandbox.faults == {}


def test_the_same_objects_come_back(bench: Bench, sandbox: Sandbox, instrumented):
    """By identity, and what stood wrapped looked as before."""
    for cls in BASES:
        wrapped = vars(cls)["request"]
        assert isinstance(wrapped, FunctionWrapper)
        assert inspect.signature(wrapped) == inspect.signature(ORIGINALS[cls])
        assert inspect.iscoroutinefunction(cls.request) == inspect.iscoroutinefunction(ORIGINALS[cls])
    attune.uninstrument()
    for cls in BASES:
        assert vars(cls)["request"] is ORIGINALS[cls]
    with attune.capture() as nothing:
        bench.sync.messages.create(model=HAIKU, **BODY)
    assert nothing == []


def test_twice_is_once(bench: Bench, sandbox: Sandbox, instrumented, caplog):
    """A second time warns, as every instrumentor does; and again after an end."""
    with caplog.at_level(logging.WARNING):
        attune.instrument(workflow="second")
        attune.AttuneInstrumentor().instrument()
    assert "attune.instrument() changes nothing" in caplog.text
    assert "already instrumented" in caplog.text
    with attune.capture() as calls:
        bench.sync.messages.create(model=HAIKU, **BODY)
    attune.uninstrument()
    attune.instrument(workflow="third")
    with attune.capture() as more:
        bench.sync.messages.create(model=HAIKU, **BODY)
    assert [it.workflow for it in (*calls, *more)] == ["default", "third"]


@pytest.mark.parametrize("first", ["attune", "other"])
def test_another_wrapper_on_the_client_class(bench: Bench, sandbox: Sandbox, monkeypatch, first):
    """Some put their own `request` on the client's class: whoever came first, each sees every call once."""
    seen = []

    def put() -> None:
        def around(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            seen.append(instance)
            return wrapped(*args, **kwargs)

        monkeypatch.setattr(openai.OpenAI, "request", FunctionWrapper(openai.OpenAI.request, around), raising=False)

    steps = [attune.instrument, put]
    for step in steps if first == "attune" else reversed(steps):
        step()
    try:
        with attune.capture() as calls, openai.OpenAI(api_key="k", base_url=f"{bench.url}/v1") as client:
            client.chat.completions.create(model="gpt-5-mini", messages=HELLO)
        assert len(calls) == 1
        assert len(seen) == 1
    finally:
        attune.uninstrument()
    with attune.capture() as nothing, openai.OpenAI(api_key="k", base_url=f"{bench.url}/v1") as client:
        client.chat.completions.create(model="gpt-5-mini", messages=HELLO)
    assert nothing == []
    assert len(seen) == 2
    monkeypatch.undo()
    assert vars(OpenAIBase)["request"] is ORIGINALS[OpenAIBase]


def test_a_subclass_with_a_request_of_its_own(bench: Bench, sandbox: Sandbox, instrumented):
    """Guarded where it calls the SDK's; and once, whether it is wrapped or not."""

    class Own(anthropic.Anthropic):
        def request(self, *args: Any, **kwargs: Any) -> Any:
            return super().request(*args, **kwargs)

    with Own(api_key="k", base_url=bench.url) as client, attune.capture() as calls:
        client.messages.create(model=HAIKU, **BODY)
        attune.wrap(client).messages.create(model=HAIKU, **BODY)
        attune.wrap(bench.sync, alternates=[client]).messages.create(model=HAIKU, **BODY)
    assert [len(it.attempts) for it in calls] == [1, 1, 1]


def test_what_runs_inside_a_send_is_guarded_too(bench: Bench, sandbox: Sandbox, instrumented):
    """A hook of the client that asks a model itself, by the same client: two calls, each guarded once."""

    class Moderated(anthropic.Anthropic):
        asked = False

        def _prepare_options(self, options: Any) -> Any:
            if not self.asked:
                self.asked = True
                self.messages.create(model=SONNET, **BODY)
            return super()._prepare_options(options)

    with Moderated(api_key="k", base_url=bench.url) as client, attune.capture() as calls:
        client.messages.create(model=HAIKU, **BODY)
    assert [(it.model, len(it.attempts)) for it in calls] == [(SONNET, 1), (HAIKU, 1)]


def test_short_lived_clients_leave_nothing(bench: Bench, sandbox: Sandbox, instrumented):
    """Neither the clients nor a site for each of them stay, though they go to one endpoint or to many."""
    made = []
    for i in range(8):
        client = bench.sync.with_options(base_url=f"{bench.url}/{i % 2}")
        with pytest.raises(anthropic.APIStatusError):
            client.messages.create(model=HAIKU, **BODY)
        made.append(weakref.ref(client))
    del client
    gc.collect()
    assert [ref() for ref in made] == [None] * 8


def test_a_fault_of_ours_does_not_break_the_call(bench: Bench, sandbox: Sandbox, instrumented, monkeypatch):
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(sandbox.runtime, "enter", broken)
    assert bench.sync.messages.create(model=OPUS, **BODY).model == OPUS
    assert sandbox.faults == {"call": 1}


def test_an_sdk_that_looks_different_is_not_guarded(
    bench: Bench, sandbox: Sandbox, way: Way, instrumented, monkeypatch
):
    """What we read off a request is gone: the call goes on, and the fault is counted."""
    monkeypatch.setattr(StainlessRequest, "__init__", lambda self, *_, **__: self.no_such_thing)
    seen = bench.ask(way, bench.bare(way), model=OPUS)
    assert seen.error is None
    assert bench.provider.requests[-1].body["model"] == OPUS
    assert seen.records == []
    assert sandbox.faults == {"seam": 1}


def test_a_mistake_in_the_settings_does_not_break_a_pinned_call(bench: Bench, sandbox: Sandbox, instrumented, caplog):
    """Nobody wrote attune into the program: the call goes on, and the mistake is told once."""
    sandbox.configure(candidates=[attune.Target(HAIKU, client=object())])
    for _ in range(2):
        assert bench.sync.messages.create(model=OPUS, **BODY).model == OPUS
    assert sandbox.faults == {"config": 2}
    assert sum("cannot be made there" in it.getMessage() for it in caplog.records) == 1
    with pytest.raises(attune.ConfigError):
        bench.sync.messages.create(model="auto", **BODY)


def test_nothing_is_imported_that_the_program_does_not_import():
    """An SDK that comes later is guarded then; one that never comes is not missed."""
    code = """
import sys, attune
attune.instrument()
assert not {"anthropic", "openai"} & set(sys.modules), sorted(sys.modules)
import anthropic
from wrapt import FunctionWrapper
from anthropic._base_client import SyncAPIClient, AsyncAPIClient
for cls in (SyncAPIClient, AsyncAPIClient):
    assert isinstance(vars(cls)["request"], FunctionWrapper)
assert "request" not in vars(anthropic.Anthropic)
attune.uninstrument()
import openai
from openai._base_client import SyncAPIClient
assert not isinstance(vars(SyncAPIClient)["request"], FunctionWrapper)
attune.instrument()
assert isinstance(vars(SyncAPIClient)["request"], FunctionWrapper)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_working_directory_that_is_gone_is_no_fault(tmp_path, monkeypatch):
    """It would end the work of whoever loads all instrumentations one after the other."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    attune.shutdown()
    attune.instrument()
    attune.uninstrument()
    attune.shutdown()


def test_a_client_that_no_dialect_speaks_passes_untouched(bench: Bench, sandbox: Sandbox, instrumented):
    """Others are built on the same classes: what `wrap` would refuse is sent as it was written, and not counted."""
    other = SyncAPIClient(
        version="1", base_url=bench.url, timeout=5, max_retries=0, _strict_response_validation=False, custom_headers={}
    )
    with other, attune.capture() as nothing:
        assert other.post("/v1/messages", cast_to=Message, body={**BODY, "model": OPUS}).model == OPUS
    assert nothing == []
