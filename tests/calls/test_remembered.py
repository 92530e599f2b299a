"""A refusal that routing caused is remembered for that model and shape of request: the next such call goes elsewhere."""

from __future__ import annotations

import anthropic
import pytest
from calls.ways import HAIKU, HELLO, OPUS, SONNET, Bench, Ledger, Way

import attune
from attune.calls.lessons import KEPT_S, Lessons
from attune.clients.asked import Shape, shape_of
from attune.models.call import Target
from attune.models.failures import FailureKind
from attune.models.performance import Observation, Series
from attune.testing import Sandbox, fail

PLAIN = Way("plain")
THREE = [HAIKU, SONNET, OPUS]
THINKING = {"thinking": {"type": "enabled", "budget_tokens": 2048}, "max_tokens": 4096}


def models(seen) -> list[str]:
    return [it[0] for it in seen.tried]


def test_a_content_filter_s_refusal_is_not_remembered(bench: Bench, ledger: Ledger):
    """It speaks of one text: the next request of the same shape is asked of the same model."""
    client = bench.wrapped(PLAIN, candidates=THREE, default=OPUS)
    bench.provider.script(HAIKU, fail("invalid_request", error_code="content_filter"))
    seen = [bench.ask(PLAIN, client) for _ in range(2)]
    assert [models(it) for it in seen] == [[HAIKU, OPUS], [HAIKU]]
    ledger.check([record for it in seen for record in it.records])


@pytest.fixture(autouse=True)
def _proven(sandbox: Sandbox) -> None:
    """All three answer well, so that the cheapest would be chosen each time, but for what it refused."""
    prove(sandbox, "default")


def prove(sandbox: Sandbox, workflow: str) -> None:
    for model, cost in ((HAIKU, 1), (SONNET, 3), (OPUS, 5)):
        for _ in range(60):
            sandbox.runtime.windows.record(
                Observation(
                    series=Series(workflow, "default", "anthropic", model),
                    at_us=int(sandbox.clock.time() * 1e6),
                    outcome="success",
                    latency_us=1000,
                    cost_nano=cost * 1000,
                    tokens_in=10,
                    tokens_out=10,
                )
            )


@pytest.mark.parametrize("what", ["not_found", "invalid_request", "unprocessable"])
def test_the_next_call_of_that_shape_does_not_choose_it(bench: Bench, ledger: Ledger, sandbox: Sandbox, way: Way, what):
    """One refusal, one answer by the default; then no request there, and the decision says why."""
    client = bench.wrapped(way, candidates=THREE, default=OPUS)
    bench.provider.script(HAIKU, fail(what))
    first = bench.ask(way, client, **THINKING)
    assert models(first) == [HAIKU, OPUS]
    second = bench.ask(way, client, **THINKING)
    assert second.error is None
    assert len(second.tried) == 1
    assert models(second) != [HAIKU]
    rows = {it.model: it for it in second.record.decision.candidates}
    assert rows[HAIKU].eliminated_by == "capability"
    assert rows[HAIKU].sample_size == 60
    assert set(rows) == set(THREE)
    assert all(it["failure_count"] == 0 for it in sandbox.circuits.values())
    ledger.check([*first.records, *second.records])


def test_other_shapes_and_pinned_calls_go_there_still(bench: Bench, sandbox: Sandbox, way: Way):
    """What was refused is that request, not the model; and who names it gets it."""
    client = bench.wrapped(way, candidates=THREE, default=OPUS)
    bench.provider.script(HAIKU, fail("invalid_request"))
    assert models(bench.ask(way, client, **THINKING)) == [HAIKU, OPUS]
    assert models(bench.ask(way, client)) == [HAIKU]
    assert models(bench.ask(way, client, HAIKU, **THINKING)) == [HAIKU]


def test_a_model_that_is_not_there_is_not_there_for_any_shape(bench: Bench, sandbox: Sandbox):
    client = bench.wrapped(PLAIN, candidates=THREE, default=OPUS)
    bench.provider.script(HAIKU, fail("not_found"))
    bench.ask(PLAIN, client, **THINKING)
    assert models(bench.ask(PLAIN, client)) != [HAIKU]


def test_it_is_forgotten_after_an_hour(bench: Bench, sandbox: Sandbox):
    client = bench.wrapped(PLAIN, candidates=[HAIKU, OPUS], default=OPUS)
    bench.provider.script(HAIKU, fail("invalid_request"))
    bench.ask(PLAIN, client, **THINKING)
    sandbox.clock.advance(KEPT_S - 60)
    assert models(bench.ask(PLAIN, client, **THINKING)) == [OPUS]
    sandbox.clock.advance(61)
    assert models(bench.ask(PLAIN, client, **THINKING)) == [HAIKU]


def test_nothing_is_remembered_where_the_default_refuses_too(bench: Bench, sandbox: Sandbox, way: Way):
    """Then the request itself is wrong."""
    client = bench.wrapped(way, candidates=[HAIKU, OPUS], default=OPUS)
    for model in (HAIKU, OPUS):
        bench.provider.script(model, fail("invalid_request"))
    assert isinstance(bench.ask(way, client).error, anthropic.BadRequestError)
    assert models(bench.ask(way, client)) == [HAIKU]


def test_the_default_is_never_set_aside(bench: Bench, sandbox: Sandbox):
    """It is where refusals lead; another site's default may be what this one's refused."""
    one = bench.wrapped(PLAIN, candidates=[HAIKU, OPUS], default=OPUS)
    other = bench.wrapped(PLAIN, candidates=[HAIKU, OPUS], default=HAIKU)
    bench.provider.script(HAIKU, fail("invalid_request"))
    bench.ask(PLAIN, one)
    assert models(bench.ask(PLAIN, one)) == [OPUS]
    assert models(bench.ask(PLAIN, other)) == [HAIKU]


def test_an_overlong_request_is_remembered_by_its_size(bench: Bench, sandbox: Sandbox, way: Way):
    """As long or longer ones go elsewhere, shorter ones still go there."""
    client = bench.wrapped(way, candidates=[HAIKU, OPUS], default=OPUS)

    def ask(length: int):
        return bench.ask(way, client, messages=[{"role": "user", "content": "x" * length}])

    bench.provider.script(HAIKU, fail("too_large"))
    assert models(ask(3000)) == [HAIKU, OPUS]
    longer = ask(3500)
    assert models(longer) == [OPUS]
    assert [it.eliminated_by for it in longer.record.decision.candidates if it.model == HAIKU] == ["context_window"]
    assert models(ask(2000)) == [HAIKU]


def test_inside_a_routed_function_it_is_remembered_too(bench: Bench, sandbox: Sandbox):
    """The model was chosen before the request was seen: the guarded call inside goes to the next one at once."""
    client = bench.wrapped(PLAIN)

    @attune.routed(workflow="w", candidates=[HAIKU, OPUS], default=OPUS)
    def review(*, model: str = attune.AUTO):
        return client.messages.create(model=model, messages=HELLO, **THINKING)

    prove(sandbox, "w")
    bench.provider.script(HAIKU, fail("invalid_request"))
    with attune.capture() as calls:
        review()
        assert review().model == OPUS
    assert [[it.model for it in record.attempts] for record in calls] == [[HAIKU, OPUS], [OPUS]]
    decision = calls[1].decision
    assert decision.model == OPUS
    assert [it.eliminated_by for it in decision.candidates if it.model == HAIKU][-1] == "capability"


def test_observing_remembers_and_changes_nothing(bench: Bench, sandbox: Sandbox):
    sandbox.configure(mode="observe")
    client = bench.wrapped(PLAIN, candidates=[HAIKU, OPUS], default=HAIKU)
    bench.provider.script(HAIKU, fail("invalid_request"))
    bench.ask(PLAIN, client)
    assert models(bench.ask(PLAIN, client)) == [HAIKU]
    assert not sandbox.runtime.memory.lessons.learnt


# -- the memory itself


def test_the_memory_is_bounded():
    """Of many targets and many shapes the latest stay."""
    lessons = Lessons()
    targets = [Target(f"m{i}") for i in range(300)]
    for target in targets:
        lessons.learn(target, FailureKind.NOT_FOUND, None, 0.0)
    assert not lessons.concern(targets[0], 1.0)
    assert lessons.concern(targets[-1], 1.0)
    assert not lessons.concern(targets[-1], KEPT_S + 1)
    assert lessons.against(targets[-1], None, 1.0) == "capability"
    assert lessons.against(targets[-1], None, KEPT_S + 1) is None
    lessons = Lessons()
    shapes = [Shape(frozenset({str(i)}), i) for i in range(100)]
    for shape in shapes:
        lessons.learn(targets[-2], FailureKind.INVALID_REQUEST, shape, 0.0)
    assert lessons.against(targets[-2], shapes[0], 1.0) is None
    assert lessons.against(targets[-2], shapes[-1], 1.0) == "capability"


def test_the_smallest_refused_size_counts_while_it_is_remembered():
    lessons, target = Lessons(), Target("m")
    for size, at in ((900, 0.0), (500, 10.0), (700, 20.0)):
        lessons.learn(target, FailureKind.TOO_LARGE, Shape(frozenset(), size), at)
    assert lessons.against(target, Shape(frozenset(), 500), 30.0) == "context_window"
    assert lessons.against(target, Shape(frozenset(), 499), 30.0) is None
    assert lessons.against(target, Shape(frozenset(), 600), 10.0 + KEPT_S) is None


# -- shapes


def test_a_shape_holds_no_text():
    """Names, kinds, magnitudes: nothing of what the caller wrote."""
    secret = "canary"
    body = {
        "model": secret, "max_tokens": 4096, "system": secret, "metadata": {"user_id": secret},
        "stop_sequences": [secret], "tools": [{"name": secret, "description": secret, "input_schema": {secret: secret}}],
        "tool_choice": {"type": "tool", "name": secret}, "messages": [
            {"role": "user", "content": [{"type": "text", "text": secret}, {"type": "image", "source": {"type": "url", "url": secret}}]},
            {"role": "assistant", "content": secret},
        ],
    }  # fmt: skip
    shape = shape_of(body)
    assert secret not in repr(shape)
    assert {"tool_choice.type tool", "block image", "source url", "prefill", "tools.name", "system"} <= shape.names


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"max_tokens": 500}, {"max_tokens": 64000}),
        ({"thinking": {"type": "adaptive"}}, {"thinking": {"type": "disabled"}}),
        ({"output_config": {"effort": "low"}}, {"output_config": {"effort": "max"}}),
        ({}, {"temperature": 1.0}),
        ({}, {"tools": [{"type": "web_search_20260209", "name": "web_search"}]}),
        ({"messages": HELLO}, {"messages": [*HELLO, {"role": "assistant", "content": "{"}]}),
        ({"messages": HELLO}, {"messages": [{"role": "user", "content": "x" * 9999}]}),
    ],
)
def test_shapes_differ_where_a_model_may_refuse_one_and_take_the_other(one, other):
    assert shape_of(one).names != shape_of(other).names


def test_shapes_do_not_differ_by_what_was_left_out_or_said():
    """The SDK writes what was left out; and texts of about one length are alike."""
    absent = anthropic.NOT_GIVEN
    one = {"messages": [{"role": "user", "content": "hello you"}], "thinking": absent, "temperature": None}
    other = {"messages": [{"role": "user", "content": "good night"}]}
    assert shape_of(one).names == shape_of(other).names
