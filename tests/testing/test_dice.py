"""The same seed, the same luck: whatever the threads do, and whatever else is asked for."""

from __future__ import annotations

import contextlib
import statistics
import threading

import anthropic
import pytest

from attune.errors import ConfigError
from attune.testing import Behaviour, ScriptedProvider, Step, anthropic_wire, fail
from attune.testing.fate import draw
from attune.testing.playback import Ask, perform
from attune.testing.scenario import topic_of

UNEVEN = Behaviour(success=0.7, quality={"review": 0.9, None: 0.4})


def luck(provider, prompts, threads=1):
    """Send the prompts, from several threads, and say by ordinal what became of each request."""

    def send(mine):
        with anthropic.Anthropic(base_url=provider.url, api_key="any", max_retries=0) as client:
            for prompt in mine:
                with contextlib.suppress(anthropic.APIStatusError):
                    client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": prompt}])

    workers = [threading.Thread(target=send, args=(prompts[n::threads],)) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return {request.ordinal: (request.status, request.good) for request in provider.requests}


def test_runs_repeat_however_many_threads_send():
    runs = []
    for threads in (1, 4):
        with ScriptedProvider(seed=7, models={"m": UNEVEN}) as provider:
            runs.append(luck(provider, ["x"] * 40, threads))
    assert runs[0] == runs[1]
    assert {status for status, _ in runs[0].values()} == {200, 529}
    with ScriptedProvider(seed=8, models={"m": UNEVEN}) as provider:
        assert luck(provider, ["x"] * 40) != runs[0]


def test_models_do_not_share_luck_and_draws_do_not_depend_on_their_use():
    assert draw(1, "a", 1) == draw(1, "a", 1)
    assert len({draw(seed, model, n) for seed in (1, 2) for model in "ab" for n in (1, 2)}) == 8


def ask(topic=None, stream=False):
    return Ask(wire=anthropic_wire, name="n", model="m", stream=stream, max_tokens=99, input_tokens=1, topic=topic)


def play(behaviour, n, **asked):
    return perform(Step(), behaviour, draw(0, "m", n), ask(**asked))


@pytest.mark.parametrize(("topic", "chance"), [("review", 0.9), ("other", 0.4), (None, 0.4)])
def test_quality_is_by_topic(topic, chance):
    """Within five standard errors of 2 000 draws (0.056 at most)."""
    share = statistics.fmean(bool(play(UNEVEN, n, topic=topic).good) for n in range(2000))
    assert share == pytest.approx(chance, abs=5 * (chance * (1 - chance) / 2000) ** 0.5)


def test_a_quality_without_none_is_good_for_other_topics():
    assert Behaviour(quality={"review": 0.0}).chance_of_good("other") == 1.0


def test_latency_is_log_normal_around_its_median():
    """p90 / median = exp(1.2816 * spread): 1.898 at 0.5."""
    waits = sorted(play(Behaviour(latency_ms=200, spread=0.5), n).frames[0][0] for n in range(2000))
    assert waits[1000] == pytest.approx(0.2, rel=0.08)
    assert waits[1800] / waits[1000] == pytest.approx(1.898, rel=0.1)
    assert {play(Behaviour(latency_ms=200), n).frames[0][0] for n in range(20)} == {0.2}


def test_a_stream_waits_for_its_first_event_and_for_each_piece():
    slow = Behaviour(latency_ms=900, first_ms=100, chunk_ms=20, chunks=4)
    frames = play(slow, 1, stream=True).frames
    assert [wait for wait, _ in frames] == pytest.approx([0.1, 0.02, 0.02, 0.02, 0.02])
    assert b"content_block_start" in frames[0][1]
    assert all(data.count(b"event: content_block_delta") == 1 for _, data in frames[1:])
    assert [wait for wait, _ in play(Behaviour(latency_ms=900), 1, stream=True).frames] == [0.9]


def test_a_failure_comes_at_once_or_when_the_script_says():
    slow = Behaviour(latency_ms=900)
    for delay, wait in ((None, 0.0), (50, 0.05)):
        playback = perform(fail(delay_ms=delay), slow, draw(0, "m", 1), ask())
        assert playback.frames[0][0] == wait


def test_a_topic_is_what_the_prompt_says_first():
    assert topic_of("a [topic:code review] b [topic:other]") == "code review"
    assert topic_of("a topic:review") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"success": 1.5},
        {"quality": -0.1},
        {"quality": {"a": 2}},
        {"latency_ms": float("nan")},
        {"spread": -1},
        {"chunk_ms": float("inf")},
        {"chunks": 0},
        {"output_tokens": 0},
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Behaviour(**wrong)
