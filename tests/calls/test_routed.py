"""`@attune.routed`: every kind of function, its `model`, its attempts, its facts, and the call it hands over."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import math
from typing import Any

import anthropic
import pytest
from calls.ways import BODY, HAIKU, OPUS, SONNET, Bench, Ledger, Way

import attune
from attune.testing import Sandbox, fail, ok, stream_error

TWO = [HAIKU, SONNET]


class Busy(Exception):
    """What a provider might raise."""

    status_code = 529


def tried(record: Any) -> list[tuple[str, str, str, str | None]]:
    return [(it.model, it.kind, it.outcome, it.error_type) for it in record.attempts]


# -- the parameter `model`


def test_a_function_is_handed_the_chosen_model(sandbox: Sandbox):
    """AUTO by default, by keyword and by position: a model id arrives, and the record says which."""

    @attune.routed(workflow="review", stage="analysis", candidates=TWO)
    def review(diff: str, model: str = attune.AUTO) -> tuple[str, str]:
        return diff, model

    with attune.capture() as calls:
        assert review("d") == review("d", attune.AUTO) == review("d", model="auto") == review(diff="d") == ("d", HAIKU)
    assert [(it.workflow, it.stage, it.model, it.decision.reason) for it in calls] == [
        ("review", "analysis", HAIKU, "best")
    ] * 4
    assert review.__name__ == "review"


@pytest.mark.parametrize("ask", [lambda f: f("d", SONNET), lambda f: f("d", model=SONNET)], ids=["place", "keyword"])
def test_any_other_word_pins(sandbox: Sandbox, ask):
    """A model that the caller names is guarded and measured, never re-routed."""
    asked = []

    @attune.routed(workflow="review", candidates=[HAIKU], max_attempts=1)
    def review(diff: str, model: str = attune.AUTO) -> str:
        asked.append(model)
        raise Busy

    with pytest.raises(Busy), attune.capture() as calls:
        ask(review)
    assert asked == [SONNET]
    assert calls[0].decision.reason == "pinned"
    assert tried(calls[0]) == [(SONNET, "initial", "failure", "overloaded")]


def test_a_default_that_is_a_model_pins(sandbox: Sandbox):
    """Left out, the parameter's own default counts."""

    @attune.routed(workflow="review")
    def review(model: str = OPUS) -> str:
        return model

    assert review("auto") == HAIKU
    assert review() == OPUS
    assert attune.last_call().decision.reason == "pinned"


def test_arguments_arrive_as_they_were_given(sandbox: Sandbox):
    """Around `model` by position: more arguments, a star, keyword-only ones."""

    @attune.routed(workflow="w", candidates=TWO)
    def star(first: int, model: str, *rest: int, last: int = 0) -> Any:
        return first, model, rest, last

    @attune.routed(workflow="w", candidates=TWO)
    def after(model: str, second: int, third: int = 3) -> Any:
        return model, second, third

    @attune.routed(workflow="w", candidates=TWO)
    def only(*args: int, model: str = attune.AUTO, **more: int) -> Any:
        return args, model, more

    assert star(1, "auto", 2, 3, last=4) == (1, HAIKU, (2, 3), 4)
    assert after("auto", 2) == after("auto", second=2) == after(model="auto", second=2) == (HAIKU, 2, 3)
    assert only(1, 2, more=3) == ((1, 2), HAIKU, {"more": 3})
    with pytest.raises(TypeError):
        after("auto")


def test_methods_of_every_kind(sandbox: Sandbox):
    """Instance, class and static methods, whatever the first parameter is called, in both orders of decoration."""
    route = attune.routed(workflow="w", candidates=TWO)

    class Reviewer:
        @route
        def plain(this, model: str = attune.AUTO, more: int = 0) -> Any:
            return type(this), model, more

        @classmethod
        @route
        def inner(cls, model: str = attune.AUTO) -> Any:
            return cls, model

        @route
        @classmethod
        def outer(cls, model: str = attune.AUTO) -> Any:
            return cls, model

        @staticmethod
        @route
        def static(model: str = attune.AUTO) -> Any:
            return model

        @route
        async def later(self, model: str = attune.AUTO) -> Any:
            return model

    it = Reviewer()
    assert it.plain() == it.plain("auto") == Reviewer.plain(it, "auto") == (Reviewer, HAIKU, 0)
    assert it.plain("auto", 7) == (Reviewer, HAIKU, 7)
    assert it.plain(SONNET) == (Reviewer, SONNET, 0)
    assert it.inner() == Reviewer.inner("auto") == it.outer() == Reviewer.outer("auto") == (Reviewer, HAIKU)
    assert it.static() == Reviewer.static("auto") == HAIKU
    assert asyncio.run(it.later()) == HAIKU


@pytest.mark.parametrize(
    "function",
    [lambda diff: diff, lambda **kwargs: kwargs, lambda model, /: model, lambda *model: model],
    ids=["none", "kwargs", "positional only", "star"],
)
def test_a_function_without_a_model_is_refused_at_decoration(function):
    """What could not be handed over by keyword is a ConfigError that says what to write."""
    with pytest.raises(attune.ConfigError, match=r"model: str = attune\.AUTO"):
        attune.routed(workflow="w")(function)


@pytest.mark.parametrize(
    "words",
    [
        {"workflow": ""}, {"workflow": 7}, {"max_cost": -1}, {"max_cost": "cheap"}, {"max_latency_ms": 0},
        {"min_success_rate": 90}, {"timeout_s": math.nan}, {"on_infeasible": "explode"}, {"max_attempts": 0},
        {"max_attempts": True}, {"judge": 1}, {"classify": 1}, {"candidates": HAIKU}, {"candidates": []},
    ],
    ids=repr,
)  # fmt: skip
def test_wrong_words_are_refused_at_decoration(words):
    """Before anything is called, with the word in the message."""
    with pytest.raises(attune.ConfigError, match=next(iter(words))):
        attune.routed(**{"workflow": "w", **words})(lambda model: model)


def test_an_async_judge_needs_an_async_function():
    async def judge(answer: Any) -> float:
        return 1.0

    with pytest.raises(attune.ConfigError, match="async judge"):
        attune.routed(workflow="w", judge=judge)(lambda model: model)


# -- attempts


def test_another_target_answers_without_a_wait(sandbox: Sandbox, ledger: Ledger):
    """The whole body runs again, with the next model."""

    @attune.routed(workflow="w", candidates=TWO)
    def ask(model: str = attune.AUTO) -> str:
        if model == HAIKU:
            raise Busy
        return model

    with attune.capture() as calls:
        assert ask() == SONNET
    assert tried(calls[0]) == [(HAIKU, "initial", "failure", "overloaded"), (SONNET, "fallback", "success", None)]
    assert sandbox.clock.sleeps == ()
    ledger.check(calls)


@pytest.mark.parametrize(("words", "attempts"), [({}, 3), ({"max_attempts": 2}, 2), ({"fallback": False}, 1)])
def test_how_often_one_target_is_asked(sandbox: Sandbox, ledger: Ledger, words, attempts):
    """Three times where nothing else is said; `fallback=False` runs the body once."""

    @attune.routed(workflow="w", candidates=[HAIKU], **words)
    def ask(model: str = attune.AUTO) -> str:
        raise Busy

    with attune.capture() as calls, pytest.raises(Busy):
        ask()
    assert len(calls[0].attempts) == attempts
    ledger.check(calls)


def test_without_fallback_the_body_runs_once(sandbox: Sandbox):
    """For bodies with side effects: no other target, no second try."""
    ran = []

    @attune.routed(workflow="w", candidates=TWO, fallback=False)
    def ask(model: str = attune.AUTO) -> str:
        ran.append(model)
        raise Busy

    with pytest.raises(Busy):
        ask()
    assert ran == [HAIKU]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("mine"),
        KeyError("mine"),
        RuntimeError("mine"),
        ZeroDivisionError(),
        json.JSONDecodeError("an answer that the body could not read", "no JSON", 0),
    ],
    ids=repr,
)
def test_a_mistake_of_the_body_is_nobody_else_s(sandbox: Sandbox, ledger: Ledger, error):
    """Raised at once, as the same object; no circuit counts it."""

    @attune.routed(workflow="w", candidates=TWO)
    def ask(model: str = attune.AUTO) -> str:
        raise error

    with attune.capture() as calls, pytest.raises(type(error)) as seen:
        ask()
    assert seen.value is error
    assert [it.outcome for it in calls[0].attempts] == ["neutral"]
    assert all(it["failure_count"] == 0 for it in sandbox.circuits.values())
    ledger.check(calls)


def test_the_user_s_classify_comes_first(sandbox: Sandbox):
    """It may make a failure of anything; what it raises is a counted fault, and the table decides."""

    @attune.routed(workflow="w", candidates=TWO, classify=lambda error: attune.FailureKind.OVERLOADED)
    def ask(model: str = attune.AUTO) -> str:
        if model == HAIKU:
            raise ValueError("no json")
        return model

    assert ask() == SONNET
    assert tried(attune.last_call())[0][3] == "overloaded"

    def broken(error: BaseException) -> Any:
        raise RuntimeError("classify is broken")

    @attune.routed(workflow="w", candidates=TWO, classify=broken)
    def again(model: str = attune.AUTO) -> str:
        raise ValueError("no json")

    with pytest.raises(ValueError, match="no json"):
        again()
    assert sandbox.faults["classify"] >= 1


def test_no_classify_turns_a_cancellation_into_a_failure(sandbox: Sandbox):
    """A task that is cancelled ends cancelled, whatever a hook says of exceptions."""

    @attune.routed(workflow="w", candidates=TWO, classify=lambda error: "overloaded")
    async def ask(model: str = attune.AUTO) -> str:
        await asyncio.Event().wait()
        return model

    async def cancel() -> bool:
        task = asyncio.ensure_future(ask())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(cancel())


def test_async_functions(sandbox: Sandbox, ledger: Ledger):
    """The same, awaited; and a plain function that gives an awaitable."""

    @attune.routed(workflow="w", candidates=TWO)
    async def ask(model: str = attune.AUTO) -> str:
        await asyncio.sleep(0)
        if model == HAIKU:
            raise Busy
        return model

    @attune.routed(workflow="w", candidates=TWO)
    def give(model: str = attune.AUTO) -> Any:
        return ask.__wrapped__(model)

    assert asyncio.iscoroutinefunction(ask)
    with attune.capture() as calls:
        assert asyncio.run(ask()) == SONNET
    assert [it[2] for it in tried(calls[0])] == ["failure", "success"]
    ledger.check(calls)
    sandbox.configure()

    async def both() -> Any:
        return await give()

    with attune.capture() as calls:
        assert asyncio.run(both()) == SONNET
    assert [it[2] for it in tried(calls[0])] == ["failure", "success"]


def test_generators_run_again_only_before_their_first_item(sandbox: Sandbox, ledger: Ledger):
    """After it the exception passes; the generator stays one, and nothing runs before it is read."""
    ran = []

    @attune.routed(workflow="w", candidates=TWO)
    def items(fail_at: int, model: str = attune.AUTO) -> Any:
        ran.append(model)
        for number in range(3):
            if number == fail_at and model == HAIKU:
                raise Busy
            yield model, number

    with attune.capture() as calls:
        made = items(0)
        assert ran == []
        assert list(made) == [(SONNET, 0), (SONNET, 1), (SONNET, 2)]
        assert ran == [HAIKU, SONNET]
    assert [it[2] for it in tried(calls[0])] == ["failure", "success"]
    ledger.check(calls)

    sandbox.configure()
    got = []
    with attune.capture() as calls, pytest.raises(Busy):
        for item in items(2):
            got.append(item)
    assert got == [(HAIKU, 0), (HAIKU, 1)]
    assert [it[2] for it in tried(calls[0])] == ["failure"]


def test_a_generator_of_one_target_runs_again_too(sandbox: Sandbox):
    """Before the first item, as any function."""
    ran = []

    @attune.routed(workflow="w")
    def items(model: str = attune.AUTO) -> Any:
        ran.append(model)
        if len(ran) < 3:
            raise Busy
        yield model

    assert list(items(HAIKU)) == [HAIKU]
    assert len(ran) == 3


def test_a_generator_that_is_closed_or_dropped(sandbox: Sandbox, ledger: Ledger):
    """The body's `finally` runs, and the call ends, once."""
    closed = []

    @attune.routed(workflow="w", candidates=TWO)
    def items(model: str = attune.AUTO) -> Any:
        try:
            yield 1
            yield 2
        finally:
            closed.append(model)

    with attune.capture() as calls:
        made = items()
        next(made)
        made.close()
        assert closed == [HAIKU]
        for _ in items():
            break
        gc.collect(0)
        sandbox.runtime.settle_abandoned()
    assert closed == [HAIKU, HAIKU]
    assert len(calls) == 2
    ledger.check(calls)


def test_async_generators(sandbox: Sandbox, ledger: Ledger):
    """The same, with `async for`."""
    ran = []

    @attune.routed(workflow="w", candidates=TWO)
    async def items(fail_at: int, model: str = attune.AUTO) -> Any:
        ran.append(model)
        for number in range(3):
            await asyncio.sleep(0)
            if number == fail_at and model == HAIKU:
                raise Busy
            yield model, number

    async def read(fail_at: int) -> list[Any]:
        return [item async for item in items(fail_at)]

    async def leave() -> None:
        made = items(9)
        await anext(made)
        await made.aclose()

    with attune.capture() as calls:
        assert asyncio.run(read(0)) == [(SONNET, 0), (SONNET, 1), (SONNET, 2)]
    assert ran == [HAIKU, SONNET]
    assert [it[2] for it in tried(calls[0])] == ["failure", "success"]
    ledger.check(calls)
    sandbox.configure()
    with attune.capture() as calls:
        asyncio.run(leave())
        gc.collect(0)
        sandbox.runtime.settle_abandoned()
    assert len(calls) == 1
    with attune.capture() as calls, pytest.raises(Busy):
        asyncio.run(read(2))
    assert len(calls) == 1


# -- facts and verdicts


def test_facts_are_read_from_what_is_returned(sandbox: Sandbox):
    """Messages, mappings, objects with usage; else cost and tokens are unknown, not 0."""

    class Answer:
        usage = {"prompt_tokens": 1000, "completion_tokens": 10}  # noqa: RUF012

    @attune.routed(workflow="w", candidates=[HAIKU])
    def ask(value: Any, model: str = attune.AUTO) -> Any:
        return value

    for value, tokens in (
        (Answer(), (1000, 10)),
        ({"usage": {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 3}}, (5, 2)),
    ):
        assert ask(value) is value
        record = attune.last_call()
        assert (record.usage.input_tokens, record.usage.output_tokens) == tokens
        assert record.cost > 0
        assert record.cost_complete
    assert ask("text") == "text"
    assert (attune.last_call().usage, attune.last_call().cost, attune.last_call().cost_complete) == (None, 0.0, False)


def test_reported_facts_win(sandbox: Sandbox):
    """Also over several reports; outside a routed function nothing happens."""

    @attune.routed(workflow="w", candidates=[HAIKU])
    def ask(model: str = attune.AUTO) -> Any:
        attune.report(usage={"input_tokens": 7, "output_tokens": 1}, latency_s=2.5)
        attune.report(cost_usd=0.25)
        return {"usage": {"input_tokens": 1000, "output_tokens": 1000}}

    ask()
    record = attune.last_call()
    assert (record.cost, record.usage.input_tokens, record.attempts[0].latency_ms) == (0.25, 7, 2500.0)
    attune.report(cost_usd=1.0)
    assert attune.last_call() is record


def test_the_deadline_is_told_to_the_body(sandbox: Sandbox):
    """`remaining_s`: what is left of `timeout_s`, on the runtime's clock; None without one, and outside."""
    left = []

    @attune.routed(workflow="w", candidates=TWO, timeout_s=10)
    def ask(model: str = attune.AUTO) -> str:
        left.append(attune.remaining_s())
        sandbox.clock.advance(4)
        raise Busy

    with pytest.raises(Busy):
        ask()
    assert left[:2] == [10.0, 6.0]
    assert all(it > 0 for it in left)
    assert attune.remaining_s() is None

    @attune.routed(workflow="w", candidates=TWO)
    def free(model: str = attune.AUTO) -> Any:
        return attune.remaining_s()

    assert free() is None


@pytest.mark.parametrize(
    ("word", "quality"),
    [(1, 1.0), (0.5, 0.5), (True, 1.0), (False, 0.0), (7, 1.0), (-3, 0.0), (None, None), (math.nan, None)],
)
def test_a_verdict(sandbox: Sandbox, word, quality):
    """Clipped to 0..1; None and NaN are none."""

    @attune.routed(workflow="w", candidates=[HAIKU], judge=lambda answer: word)
    def ask(model: str = attune.AUTO) -> str:
        return "answer"

    ask()
    assert attune.last_call().quality == quality
    assert sandbox.runtime.snapshot().cells["w", "default"].judged == (quality is not None)


@pytest.mark.parametrize(
    "judge", [lambda answer: 1 / 0, lambda answer: "good", lambda answer: object()], ids=["raises", "word", "object"]
)
def test_a_judge_that_fails_is_a_counted_fault(sandbox: Sandbox, judge):
    """The answer arrives, without a verdict."""

    @attune.routed(workflow="w", candidates=[HAIKU], judge=judge)
    def ask(model: str = attune.AUTO) -> str:
        return "answer"

    assert ask() == "answer"
    assert attune.last_call().quality is None
    assert attune.last_call().outcome == "success"
    assert sandbox.faults["judge"] == 1


def test_an_async_judge(sandbox: Sandbox):
    """It looks at the finished result; a sync one serves async functions too."""
    judged = []

    async def judge(answer: str) -> float:
        await asyncio.sleep(0)
        judged.append(answer)
        return 0.25

    @attune.routed(workflow="w", candidates=[HAIKU], judge=judge)
    async def ask(model: str = attune.AUTO) -> str:
        return "answer"

    async def record() -> Any:
        await ask()
        return attune.last_call()

    assert asyncio.run(record()).quality == 0.25
    assert judged == ["answer"]


def test_what_failed_is_not_judged(sandbox: Sandbox):
    judged = []

    @attune.routed(workflow="w", candidates=[HAIKU], judge=judged.append, fallback=False)
    def ask(model: str = attune.AUTO) -> str:
        raise Busy

    with pytest.raises(Busy):
        ask()
    assert judged == []


# -- a guarded client inside


def make(bench: Bench, **words: Any) -> Any:
    client = bench.wrapped(Way("plain"), workflow="client")

    @attune.routed(workflow="review", stage="analysis", **{"candidates": TWO, **words})
    def review(model: str = attune.AUTO) -> Any:
        return client.messages.create(model=model, **BODY)

    return review


def test_the_first_guarded_call_takes_the_call_over(bench: Bench, sandbox: Sandbox, ledger: Ledger):
    """One call, whose attempts are the client's; the body runs once, decision and cell are the function's."""
    ran = []
    client = bench.wrapped(Way("plain"), workflow="client")

    @attune.routed(workflow="review", stage="analysis", candidates=TWO)
    def review(model: str = attune.AUTO) -> Any:
        ran.append(model)
        return client.messages.create(model=model, **BODY)

    bench.provider.script(HAIKU, fail("overloaded"))
    with attune.capture() as calls:
        answer = review()
    assert isinstance(answer, anthropic.types.Message)
    assert ran == [HAIKU]
    assert tried(calls[0]) == [(HAIKU, "initial", "failure", "overloaded"), (SONNET, "fallback", "success", None)]
    assert (calls[0].workflow, calls[0].stage, calls[0].decision.model) == ("review", "analysis", HAIKU)
    assert calls[0].usage.output_tokens > 0
    ledger.check(calls, permits=3)  # the function's own was given back unused
    route, *_ = [span for span in sandbox.spans if span.name.startswith("attune.route")]
    assert all(span.parent.span_id == route.context.span_id for span in sandbox.spans if span is not route)


@pytest.mark.parametrize("asked", ["auto", "handed"])
def test_auto_inside_is_the_same_call(bench: Bench, asked):
    """The word `auto` inside means what was decided outside."""
    client = bench.wrapped(Way("plain"))

    @attune.routed(workflow="review", candidates=[SONNET])
    def review(model: str = attune.AUTO) -> Any:
        return client.messages.create(model="auto" if asked == "auto" else model, **BODY)

    with attune.capture() as calls:
        assert review().model == SONNET
    assert len(calls) == 1


def test_the_second_guarded_call_is_its_own(bench: Bench, ledger: Ledger):
    """It bears the function's cell, and a decision of its own."""
    client = bench.wrapped(Way("plain"), workflow="client")

    @attune.routed(workflow="review", stage="analysis", candidates=TWO)
    def review(model: str = attune.AUTO) -> Any:
        client.messages.create(model=model, **BODY)
        return client.messages.create(model="auto", **BODY)

    with attune.capture() as calls:
        review()
    assert [(it.workflow, it.stage) for it in calls] == [("review", "analysis")] * 2
    assert len({it.id for it in calls}) == 2


def test_another_model_inside_is_another_call(bench: Bench):
    """A pinned model that was not decided does not take over."""
    client = bench.wrapped(Way("plain"))

    @attune.routed(workflow="review", candidates=TWO)
    def review(model: str = attune.AUTO) -> Any:
        return client.messages.create(model=OPUS, **BODY)

    with attune.capture() as calls:
        review()
    assert [(it.decision.reason, it.model) for it in calls] == [("pinned", OPUS), ("best", HAIKU)]


def test_what_the_body_raises_after_a_takeover_is_not_tried_again(bench: Bench, ledger: Ledger):
    """The answer was had and paid for: the body's own failure does not send a second request."""
    ran = []
    client = bench.wrapped(Way("plain"))

    @attune.routed(workflow="review", candidates=TWO)
    def review(model: str = attune.AUTO) -> Any:
        ran.append(model)
        client.messages.create(model=model, **BODY)
        raise Busy

    with attune.capture() as calls, pytest.raises(Busy):
        review()
    assert ran == [HAIKU]
    assert len(bench.provider.requests) == 1
    assert [it[2] for it in tried(calls[0])] == ["success"]
    ledger.check(calls, permits=2)


def test_when_every_target_inside_fails(bench: Bench, ledger: Ledger):
    """The SDK's exception passes through the body as the same object; the body may catch it."""
    review = make(bench)
    bench.provider.script(HAIKU, *[fail("auth")] * 2)
    with attune.capture() as calls, pytest.raises(anthropic.AuthenticationError):
        review()
    assert [it[3] for it in tried(calls[0])] == ["auth"]
    assert calls[0].outcome == "failure"
    ledger.check(calls, permits=2)

    client = bench.wrapped(Way("plain"))

    @attune.routed(workflow="review", candidates=TWO)
    def forgiving(model: str = attune.AUTO) -> str:
        try:
            client.messages.create(model=model, **BODY)
        except anthropic.AuthenticationError:
            return "sorry"
        return "fine"

    bench.provider.script(None, fail("auth"))
    with attune.capture() as calls:
        assert forgiving() == "sorry"
    assert len(calls) == 1


def test_a_pinned_function_takes_over_too(bench: Bench, ledger: Ledger):
    review = make(bench)
    bench.provider.script(SONNET, fail("overloaded"))
    with attune.capture() as calls:
        assert review(model=SONNET).model == SONNET
    assert calls[0].decision.reason == "pinned"
    assert tried(calls[0]) == [(SONNET, "initial", "failure", "overloaded"), (SONNET, "retry", "success", None)]
    ledger.check(calls, permits=3)


@pytest.mark.parametrize("pinned", [False, True], ids=["auto", "pinned"])
def test_a_generator_over_a_guarded_stream(bench: Bench, sandbox: Sandbox, ledger: Ledger, pinned):
    """No event is lost, one call is counted, and the stream's end is the call's."""
    client = bench.wrapped(Way("plain"))

    @attune.routed(workflow="review", candidates=TWO)
    def texts(model: str = attune.AUTO) -> Any:
        with client.messages.stream(model=model, **BODY) as stream:
            yield from stream.text_stream

    bench.provider.script(HAIKU, stream_error("overloaded"), ok("one two three four"))
    with attune.capture() as calls:
        if pinned:
            with pytest.raises(anthropic.APIStatusError):
                list(texts(model=HAIKU))
        else:
            bench.provider.script(SONNET, ok("one two three four"))
            assert "".join(texts()) == "one two three four"
    assert [it.outcome for it in calls] == ["failure" if pinned else "success"]
    ledger.check(calls, permits=2 if pinned else 3)


def test_a_generator_that_asks_and_then_yields(bench: Bench, ledger: Ledger):
    """The first item is there after a takeover by a plain call."""
    client = bench.wrapped(Way("plain"))

    @attune.routed(workflow="review", candidates=TWO)
    def items(model: str = attune.AUTO) -> Any:
        yield client.messages.create(model=model, **BODY).model
        yield 2

    with attune.capture() as calls:
        assert list(items()) == [HAIKU, 2]
        assert list(items(model=HAIKU)) == [HAIKU, 2]
    ledger.check(calls, permits=4)


def test_an_async_generator_over_a_guarded_stream(bench: Bench, ledger: Ledger):
    client = bench.wrapped(Way("async"))

    @attune.routed(workflow="review", candidates=TWO)
    async def texts(model: str = attune.AUTO) -> Any:
        async with client.messages.stream(model=model, **BODY) as stream:
            async for text in stream.text_stream:
                yield text

    async def read() -> str:
        return "".join([text async for text in texts()])

    bench.provider.script(HAIKU, ok("one two three four"))
    with attune.capture() as calls:
        assert bench.loop.run(read(), context=contextvars.copy_context()) == "one two three four"
    assert [it.outcome for it in calls] == ["success"]
    ledger.check(calls, permits=2)


def test_a_function_that_returns_a_guarded_stream(bench: Bench, ledger: Ledger):
    """The call ends with the stream, not with the function."""
    client = bench.wrapped(Way("plain"))

    @attune.routed(workflow="review", candidates=TWO)
    def open_stream(model: str = attune.AUTO) -> Any:
        return client.messages.create(model=model, stream=True, **BODY)

    with attune.capture() as calls:
        stream = open_stream()
        assert calls == []
        assert isinstance(stream, anthropic.Stream)
        assert [it.type for it in stream][-1] == "message_stop"
    assert [it.outcome for it in calls] == ["success"]
    assert calls[0].usage.output_tokens > 0
    ledger.check(calls, permits=2)


def test_guarded_calls_of_an_async_function_that_gathers(bench: Bench):
    """The first takes over, the other is its own; both answer."""
    client = bench.wrapped(Way("async"))

    @attune.routed(workflow="review", candidates=TWO)
    async def review(model: str = attune.AUTO) -> Any:
        return await asyncio.gather(*(client.messages.create(model=model, **BODY) for _ in range(3)))

    with attune.capture() as calls:
        answers = bench.loop.run(review(), context=contextvars.copy_context())
    assert [it.model for it in answers] == [HAIKU] * 3
    assert [it.workflow for it in calls] == ["review"] * 3


def test_a_function_inside_a_function_bears_its_own_name(sandbox: Sandbox):
    """The innermost decorator names the cell."""

    @attune.routed(workflow="inner", stage="b", candidates=TWO)
    def inner(model: str = attune.AUTO) -> str:
        return model

    @attune.routed(workflow="outer", stage="a", candidates=TWO)
    def outer(model: str = attune.AUTO) -> str:
        return inner()

    with attune.capture() as calls:
        outer()
    assert [(it.workflow, it.stage) for it in calls] == [("inner", "b"), ("outer", "a")]


def test_modes_for_functions(sandbox: Sandbox):
    """Off: the default model and nothing else. Observe: the default, once, and measured."""

    @attune.routed(workflow="w", candidates=["openai/gpt-6-luna", HAIKU], default=HAIKU)
    def ask(model: str = attune.AUTO) -> str:
        if model != HAIKU:
            raise Busy
        return model

    sandbox.configure(mode="off")
    with attune.capture() as calls:
        assert ask() == HAIKU
    assert calls == []
    sandbox.configure(mode="observe")
    with attune.capture() as calls:
        assert ask() == HAIKU
    assert calls[0].decision.reason == "observe"

    @attune.routed(workflow="w", candidates=["openai/gpt-6-luna"])
    def word(model: str = attune.AUTO) -> str:
        return model

    for mode in ("enforce", "observe", "off"):
        sandbox.configure(mode=mode)
        assert word() == "openai/gpt-6-luna"


def test_a_judge_of_an_answer_that_a_client_gave(bench: Bench):
    """The verdict is that of the target that answered."""
    judged = []

    def judge(answer: Any) -> float:
        judged.append(answer.model)
        return 0.5

    review = make(bench, judge=judge)
    bench.provider.script(HAIKU, fail("overloaded"))
    with attune.capture() as calls:
        review()
    assert judged == [SONNET]
    assert (calls[0].quality, calls[0].model) == (0.5, SONNET)
