"""OpenAI's two APIs go the same way: broken before content, remembered refusals, bound requests, sessions, raw bodies."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from calls.sdks import CHAT, RESPONSES
from calls.ways import NAMES, Bench, Ledger, Way

import attune
from attune.models.performance import Observation, Series
from attune.testing import Sandbox, ScriptedProvider, fail, truncate

OTHERS = [Way(name, sdk) for sdk in (CHAT, RESPONSES) for name in NAMES]


@pytest.fixture(params=OTHERS, ids=repr)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param


@pytest.fixture
def other() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as provider:
        yield provider


def models(seen) -> list[str]:
    return [it[0] for it in seen.tried]


def prove(sandbox: Sandbox, way: Way, *, cost: tuple[int, int]) -> None:
    """Both models answer well, at these costs."""
    for model, each in zip((way.sdk.small, way.sdk.large), cost, strict=True):
        for _ in range(60):
            sandbox.runtime.windows.record(
                Observation(
                    series=Series("default", "default", "openai", model),
                    at_us=int(sandbox.clock.time() * 1e6),
                    outcome="success",
                    latency_us=1000,
                    cost_nano=each * 1000,
                    tokens_in=10,
                    tokens_out=10,
                )
            )


def two(bench: Bench, way: Way, **words):
    small, large = way.sdk.small, way.sdk.large
    return small, large, bench.wrapped(way, candidates=[small, large], **words)


def test_a_stream_that_ends_before_content_falls_back(bench: Bench, ledger: Ledger, way: Way):
    """The next target's events alone are seen; of a plain answer, half a body is a broken one."""
    small, large, client = two(bench, way)
    bench.provider.script(small, truncate(after=0))
    seen = bench.ask(way, client)
    assert seen.error is None
    assert models(seen) == [small, large]
    if way.stream:
        assert seen.tried[0][2:] == ("failure", "stream_broken")
    ledger.check(seen.records)


def test_a_refusal_is_remembered(bench: Bench, sandbox: Sandbox, way: Way):
    small, large, client = two(bench, way, default=way.sdk.large)
    prove(sandbox, way, cost=(1, 9))
    bench.provider.script(small, fail("invalid_request"))
    assert [models(bench.ask(way, client)) for _ in range(2)] == [[small, large], [large]]
    assert sandbox.faults == {}


def test_a_session_stays(bench: Bench, sandbox: Sandbox, way: Way):
    small, _, client = two(bench, way, session="s")
    prove(sandbox, way, cost=(1, 9))
    assert models(bench.ask(way, client)) == [small]
    prove(sandbox, way, cost=(99, 9))
    assert models(bench.ask(way, client)) == [small]


def test_a_bound_request_stays(bench: Bench, other: ScriptedProvider, sandbox: Sandbox, way: Way):
    """An earlier response, a stored file: only this account has them."""
    small = way.sdk.small
    there = bench.bare(way).with_options(base_url=way.sdk.url(other.url), api_key="second")
    client = bench.wrapped(way, candidates=[small], alternates=[there])
    block = {"type": "file", "file": {"file_id": "file-1"}}
    bound = (
        {"previous_response_id": "resp_1"}
        if way.sdk is RESPONSES
        else {"messages": [{"role": "user", "content": [block]}]}
    )
    bench.provider.script(small, *[fail("overloaded", should_retry=False)] * 2)
    assert isinstance(bench.ask(way, client, **bound).error, openai.APIStatusError)
    assert other.requests == ()
    assert bench.ask(way, client).error is None
    assert len(other.requests) == 1


@pytest.mark.parametrize("sdk", [CHAT, RESPONSES], ids=repr)
def test_a_raw_stream_is_judged_at_its_end(bench: Bench, ledger: Ledger, sdk):
    """The bytes are the caller's; usage and outcome are on the record."""
    client = bench.wrapped(Way("stream", sdk))
    home = client.chat.completions if sdk is CHAT else client.responses
    body = {**sdk.body(stream=True), "model": "auto", "stream": True}
    with attune.capture() as calls:
        with home.with_streaming_response.create(**body) as response:
            assert calls == []
            assert list(response.iter_lines())
        with home.with_streaming_response.create(**body) as response:
            next(response.iter_lines())
    assert [it.outcome for it in calls] == ["success", "neutral"]
    assert calls[0].usage.output_tokens > 0
    assert calls[0].cost_complete
    ledger.check(calls)
