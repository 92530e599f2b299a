"""A provider in a process of its own, directed over its control endpoint; and what travels as JSON."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from http.client import HTTPConnection

import anthropic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attune.errors import ConfigError, StateError
from attune.testing import (
    Behaviour,
    RemoteProvider,
    ScriptedProvider,
    Step,
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
from attune.testing.provider import from_plan, to_plan

STEPS = [
    ok(),
    ok("x", usage={"cache_read_input_tokens": 7}),
    ok(good=False, delay_ms=3),
    empty(),
    refusal(),
    tool_use("f", {"a": [1, None]}),
    fail(),
    fail("spend_limit", retry_after_s=2, should_retry=True),
    hang(3, after=1),
    refuse(),
    cut(),
    cut(0),
    truncate(None),
    stream_error("server", after=2),
    malformed(),
]


@pytest.mark.parametrize("at", range(len(STEPS)))
def test_a_step_goes_to_json_and_back(at):
    step = STEPS[at]
    assert Step.from_dict(json.loads(json.dumps(step.to_dict()))) == step
    hash(step)


chance = st.floats(0, 1)
some_ms = st.floats(0, 1e6)


@settings(max_examples=40)
@given(
    st.builds(
        Behaviour,
        success=chance,
        failure=st.sampled_from(STEPS),
        quality=chance | st.dictionaries(st.none() | st.text(min_size=1), chance),
        latency_ms=some_ms,
        spread=st.floats(0, 2),
        first_ms=st.none() | some_ms,
        chunk_ms=some_ms,
        chunks=st.integers(1, 99),
        text=st.text(),
        output_tokens=st.none() | st.integers(1, 9999),
    )
)
def test_a_behaviour_goes_to_json_and_back(behaviour):
    assert Behaviour.from_dict(json.loads(json.dumps(behaviour.to_dict()))) == behaviour


def test_a_plan_goes_to_json_and_back():
    plan = {"seed": 3, "models": {"a": Behaviour(success=0.5)}, "default": None}
    assert from_plan(json.loads(json.dumps(to_plan(**plan)))) == plan
    assert from_plan({}) == {"seed": 0, "models": {}, "default": Behaviour()}


@pytest.mark.parametrize("read", [Step.from_dict, Behaviour.from_dict, from_plan], ids=["step", "behaviour", "plan"])
def test_an_unknown_name_is_refused(read):
    with pytest.raises(ConfigError, match="sucess"):
        read({"sucess": 1})


def test_every_field_is_told():
    """Nothing that can be set is left out of the JSON."""
    for cls in (Step, Behaviour):
        names = {field.name for field in dataclasses.fields(cls)}
        assert names == set(cls.from_dict({}).__slots__)


def test_a_process_of_its_own_is_directed_and_ends():
    with ScriptedProvider.spawn(seed=5, models={"small": Behaviour(quality=0.0)}) as remote:
        process = remote._process
        with anthropic.Anthropic(base_url=remote.url, api_key="any", max_retries=0) as client:

            def ask(model="small"):
                hello = [{"role": "user", "content": "hello"}]
                try:
                    return is_good(client.messages.create(model=model, max_tokens=9, messages=hello))
                except anthropic.APIStatusError as error:
                    return error.status_code

            seen = [ask()]
            remote.script("small", fail(503))
            seen.append(ask())
            remote.outage("small", status="server")
            seen.append(ask())
            remote.recover("small")
            remote.set("small", Behaviour())
            seen.append(ask())
            remote.outage()
            seen.append(ask("other"))
            remote.recover()
            seen.append(ask("other"))
        assert seen == [False, 503, 500, True, 529, True]
        assert remote.served["small"] == {
            "requests": 4,
            "answers": 2,
            "good": 1,
            "bad": 1,
            "input_tokens": 4,
            "output_tokens": 16,
        }
    assert process.returncode == 0
    remote.close()


def test_the_module_serves_a_file_until_its_stdin_closes(tmp_path):
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps(to_plan(1, {"small": Behaviour()}, None)), encoding="utf-8")
    command = [sys.executable, "-m", "attune.testing.provider", "--script", str(plan)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        told = json.loads(process.stdout.readline())
        assert told["url"] == f"http://127.0.0.1:{told['port']}"
        assert RemoteProvider(told["url"]).served == {}
        process.stdin.close()
        assert process.wait(10) == 0


def test_a_provider_that_does_not_start_says_so(capfd):
    with pytest.raises(StateError, match="stderr"):
        RemoteProvider.spawn({"models": {"small": {"success": 7}}})
    assert "a chance is from 0 to 1" in capfd.readouterr().err


@pytest.mark.parametrize(
    "order",
    [
        b"{",
        b"[]",
        b'{"do":"dance"}',
        b'{"do":"set","model":"m"}',
        b'{"do":"set","model":"m","behaviour":{"x":1}}',
        b'{"do":"script","model":"m","steps":[{"act":"dance"}]}',
        b'{"do":"outage","model":"m","success":7,"failure":{}}',
    ],
)
def test_a_wrong_order_is_refused_and_changes_nothing(provider, order):
    line = HTTPConnection(provider.url.removeprefix("http://"))
    try:
        line.request("POST", "/_script", order)
        answer = line.getresponse()
        assert (answer.status, list(json.loads(answer.read()))) == (400, ["error"])
    finally:
        line.close()
    assert provider.served == {}


def test_a_handle_passes_a_refusal_on(provider):
    remote = RemoteProvider(provider.url)
    with pytest.raises(ConfigError, match="from 0 to 1"):
        remote.outage("small", success=7)
    remote.close()
