"""What a routed function says of itself beyond its value: reports, SDK streams of an unguarded client, the user's hook."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import anthropic
import pytest
from calls.ways import BODY, HAIKU, SONNET

import attune
from attune.testing import Sandbox, ScriptedProvider, cut, fail


class Busy(Exception):
    """What a provider might raise."""

    status_code = 529


def test_a_report_names_the_model_that_answered(sandbox: Sandbox):
    """Statistics, record and cost are those of the model that the function says it used."""

    @attune.routed(workflow="w", stage="s", candidates=[HAIKU])
    def ask(*, model: str = attune.AUTO) -> str:
        attune.report(usage={"input_tokens": 1_000_000, "output_tokens": 0}, model=SONNET)
        return model

    with attune.capture() as calls:
        assert ask() == HAIKU
    price = attune.models.get_pricing_for_model(SONNET)["input"]
    assert (calls[0].model, calls[0].cost) == (SONNET, pytest.approx(price, rel=1e-6))
    cell = sandbox.runtime.snapshot().cell("w", "s")
    assert (cell.stat("anthropic", SONNET).n, cell.stat("anthropic", HAIKU).n) == (1, 0)


def test_a_failed_attempt_stays_with_the_model_that_was_handed_over(sandbox: Sandbox):
    """Circuits learn of what was decided, whatever the function reported before it failed."""

    @attune.routed(workflow="w", candidates=[HAIKU], max_attempts=1)
    def ask(*, model: str = attune.AUTO) -> str:
        attune.report(model=SONNET)
        raise Busy

    with pytest.raises(Busy), attune.capture() as calls:
        ask()
    assert calls[0].model == HAIKU


@pytest.mark.parametrize("break_it", [False, True], ids=["whole", "cut"])
def test_an_unguarded_sdk_stream_settles_at_its_end(sandbox: Sandbox, break_it: bool):
    """A function may return the stream of a client that nobody guards: its end is the call's end, its usage the call's."""
    with ScriptedProvider() as cloud:
        if break_it:
            cloud.script(HAIKU, cut(2))
        bare = anthropic.Anthropic(base_url=cloud.url, api_key="k", max_retries=0)

        @attune.routed(workflow="w", candidates=[HAIKU, SONNET])
        def ask(*, model: str = attune.AUTO) -> anthropic.Stream[Any]:
            return bare.messages.create(model=model, stream=True, **BODY)

        with attune.capture() as calls:
            stream = ask()
            assert isinstance(stream, anthropic.Stream)
            assert calls == []
            try:
                kinds = [event.type for event in stream]
            except Exception as error:
                kinds = [type(error).__name__]
        bare.close()
    assert len(calls) == 1
    if break_it:
        assert (calls[0].outcome, calls[0].attempts[0].error_type) == ("failure", "stream_broken")
    else:
        assert kinds[-1] == "message_stop"
        assert (calls[0].outcome, calls[0].usage.output_tokens > 0, calls[0].cost > 0) == ("success", True, True)


def test_the_users_hook_is_asked_once_for_each_error(sandbox: Sandbox):
    """A `classify` that counts, or that speaks to somebody, hears of each error once."""
    heard = []

    @attune.routed(workflow="w", candidates=[HAIKU], max_attempts=2, classify=heard.append)
    def ask(*, model: str = attune.AUTO) -> str:
        raise Busy

    with pytest.raises(Busy):
        ask()
    assert len(heard) == 2


def test_a_takeover_falls_back_in_the_order_of_merit(sandbox: Sandbox):
    """The guarded call inside goes on with what the router thought second best, not with what was written second."""
    opus = "claude-opus-5-5"
    with ScriptedProvider() as cloud:
        bare = anthropic.Anthropic(base_url=cloud.url, api_key="k", max_retries=0)
        client = attune.wrap(bare)

        @attune.routed(workflow="w", candidates=[opus, SONNET, HAIKU], default=HAIKU)
        def ask(*, model: str = attune.AUTO) -> str:
            return client.messages.create(model=model, **BODY).model

        cloud.script(HAIKU, fail("overloaded"))
        with attune.capture() as calls:
            answered = ask()
        bare.close()
        client.close()
    order = [(it.provider, it.model) for it in calls[0].attempts]
    assert answered == order[-1][1] == SONNET  # nothing is known of either: the cheaper one first


def test_classes_that_are_made_for_each_call_go_with_it(sandbox: Sandbox):
    """Answers of a class of their own, as `pydantic.create_model` makes them: few stay in memory."""
    ask = attune.routed(workflow="w", candidates=["m"], provider="mine")(
        lambda *, model="auto": type("Answer", (), {})()
    )
    made = [weakref.ref(type(ask())) for _ in range(400)]
    gc.collect()
    assert sum(kind() is not None for kind in made) <= 256
