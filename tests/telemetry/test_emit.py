"""What a call tells: its spans, its metrics, and that telling never gets in the way."""

from __future__ import annotations

import asyncio
import contextvars
import logging

import pytest
from opentelemetry import context, trace
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import SpanKind, StatusCode
from telemetry.kit import NOW, SERIES, TARGET, seen, studio, tell

from attune.models.call import CallRecord, Target, Transition
from attune.models.response import Usage
from attune.telemetry import names as n
from attune.telemetry.emit import CircuitLight, Emitter


@pytest.fixture
def room():
    return studio()


def test_a_call_is_one_route_span_with_an_attempt_under_it(room):
    """Names, kinds, times to the nanosecond, and attributes as the contract lists them."""
    request = {"gen_ai.request.max_tokens": 1024, "gen_ai.request.stop_sequences": ["secret"], "prompt": "secret"}
    tell(room.emitter, seen(), quality=0.75, request=request)
    route, attempt = room.spans()["attune.route review"], room.spans()["chat claude-haiku-4-5"]
    assert (route.kind, attempt.kind) == (SpanKind.INTERNAL, SpanKind.CLIENT)
    assert attempt.parent.span_id == route.context.span_id
    start = int(NOW * 1e6) * 1000
    assert (attempt.start_time, attempt.end_time) == (start, start + 1_234_567_000)
    assert dict(route.attributes) == {
        "attune.workflow": "review", "attune.stage": "analysis", "attune.mode": "enforce", "attune.request.model": "auto",
        "attune.route.provider": "anthropic", "attune.route.model": "claude-haiku-4-5", "attune.route.reason": "proven",
        "attune.route.explored": False, "attune.route.probability": 1.0, "attune.route.constraint_satisfied": True,
        "attune.route.candidates": 3, "attune.route.eliminated": 2, "attune.route.data_age_s": 1.5,
        "attune.attempt.count": 1, "attune.fallback.count": 0, "attune.call.id": "id-1", "attune.call.cost": 0.0015,
        "attune.quality.score": 0.75, "attune.outcome": "success",
    }  # fmt: skip
    assert dict(attempt.attributes) == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "claude-haiku-4-5",
        "gen_ai.request.max_tokens": 1024, "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 50,
        "gen_ai.response.id": "msg_1", "attune.workflow": "review", "attune.stage": "analysis",
        "attune.route.explored": False, "attune.attempt.index": 0, "attune.attempt.cost": 0.0015,
        "attune.attempt.kind": "initial", "attune.circuit.name": "anthropic:claude-haiku-4-5",
        "attune.circuit.state": "closed", "attune.outcome": "success",
    }  # fmt: skip
    assert {route.status.status_code, attempt.status.status_code} == {StatusCode.UNSET}


def test_where_the_sdk_makes_the_client_span_ours_is_internal(room):
    tell(room.emitter, seen(), native=True)
    assert room.spans()["attune.attempt"].kind is SpanKind.INTERNAL


@pytest.mark.parametrize(
    ("outcome", "error", "status"),
    [("failure", "overloaded", StatusCode.ERROR), ("rejected", "circuit_open", StatusCode.ERROR),
     ("neutral", "invalid_request", StatusCode.ERROR), ("neutral", "cancelled", StatusCode.UNSET)],
)  # fmt: skip
def test_failures_have_a_status_without_a_word(room, outcome, error, status):
    """No description, no exception event: exception messages hold prompts."""
    tell(room.emitter, seen(outcome=outcome, error_type=error))
    for span in room.finished():
        assert (span.status.status_code, span.status.description, span.events) == (status, None, ())
        assert span.attributes["error.type"] == error


def test_cache_tokens_are_told_beside_the_total(room):
    route = room.emitter.route(workflow="w", stage="s", mode="enforce", requested_model="auto")
    attempt = route.attempt(target=TARGET, index=0, kind="initial", circuit_name="anthropic")
    attempt.end(seen(), usage=Usage(input_tokens=1, cache_read_tokens=7, cache_write_tokens=9))
    facts = room.spans()["chat claude-haiku-4-5"].attributes
    assert facts["gen_ai.usage.cache_read.input_tokens"] == 7 and facts["gen_ai.usage.cache_creation.input_tokens"] == 9


def test_metrics_of_a_call(room):
    """Counts, costs in USD, verdicts, the decision, and durations: there at the very next collection."""
    tell(room.emitter, seen(), quality=0.75)
    tell(room.emitter, seen(outcome="failure", error_type="timeout", cost_nano=None), kind="retry")
    series = {"attune.workflow": "review", "attune.stage": "analysis", "gen_ai.provider.name": "anthropic",
              "gen_ai.request.model": "claude-haiku-4-5"}  # fmt: skip
    cell = {"attune.workflow": "review", "attune.stage": "analysis"}
    metrics = room.metrics()
    told = {
        name: [
            (dict(p.attributes), getattr(p, "value", None) or (p.count, p.sum)) for p in metrics[name].data.data_points
        ]
        for name in metrics
    }
    assert told["attune.attempts"] == [
        (series | {"attune.outcome": "success", "attune.attempt.kind": "initial"}, 1),
        (series | {"attune.outcome": "failure", "attune.attempt.kind": "retry", "error.type": "timeout"}, 1),
    ]
    assert told["attune.attempt.cost"] == [(series, 0.0015)]
    assert told["attune.baseline.cost"] == [(cell, 0.004)]
    assert (told["attune.quality.score"], told["attune.quality.count"]) == ([(series, 0.75)], [(series, 1)])
    assert told["attune.attempt.duration"][0] == (series | {"attune.outcome": "success"}, (1, 1.234567))
    assert told["attune.call.duration"][0] == (cell | {"attune.outcome": "success"}, (1, 1.234567))
    reason = {"attune.route.reason": "proven", "attune.route.explored": False, "attune.mode": "enforce",
              "attune.route.constraint_satisfied": True}  # fmt: skip
    assert told["attune.route.decisions"] == [(series | reason, 2)]
    inference = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic",
                 "gen_ai.request.model": "claude-haiku-4-5"}  # fmt: skip
    assert told["gen_ai.client.token.usage"][0] == (inference | {"gen_ai.token.type": "input"}, (1, 1000))
    assert told["gen_ai.client.operation.duration"][1][0] == inference | {"error.type": "timeout"}
    units = {name: metrics[name].unit for name in metrics}
    assert set(units.values()) <= {"s", "{attempt}", "{USD}", "{score}", "{verdict}", "{decision}", "{token}"}


def test_collecting_twice_changes_nothing(room):
    tell(room.emitter, seen())
    assert room.points(n.COST) == room.points(n.COST)
    assert not [name for name in room.metrics() if "collection" in name]


def test_the_names_of_2026_by_setting():
    room = studio(names=n.GENAI_2026)
    tell(room.emitter, seen())
    assert room.points("gen_ai.client.inference.usage.input_tokens")[0][1] == 1000
    assert "gen_ai.client.operation.duration" not in room.metrics()
    assert "gen_ai.client.inference.duration" in room.metrics()


def test_gen_ai_metrics_can_be_left_out_or_left_to_others():
    """By setting for all calls, or where another instrumentation of that client emits them."""
    silent, shared = studio(gen_ai_metrics=False), studio()
    tell(silent.emitter, seen())
    tell(shared.emitter, seen(), native_metrics=True)
    for room in (silent, shared):
        assert not [name for name in room.metrics() if name.startswith("gen_ai.")]
        assert room.points(n.ATTEMPTS)


def test_everything_ends_once(room):
    route, attempt = tell(room.emitter, seen())
    attempt.end(seen(), usage=None, response={})
    route.end(CallRecord(id="x", workflow="w", stage="s", decision=None), end_s=NOW)
    assert len(room.finished()) == 2 and room.points(n.ATTEMPTS)[0][1] == 1


def test_counters_are_announced_with_a_zero_once(room):
    for _ in range(3):
        room.emitter.announce("review", "analysis", [TARGET, Target("claude-opus-4-5")])
    points = room.points(n.COST)
    assert [value for _, value in points] == [0, 0]
    assert {p["gen_ai.request.model"] for p, _ in points} == {"claude-haiku-4-5", "claude-opus-4-5"}
    assert all(value == 0 for name in (n.ATTEMPTS, n.QUALITY_COUNT, n.BASELINE_COST) for _, value in room.points(name))


def test_values_past_the_bound_become_other():
    room = studio(max_series=2)
    for workflow in "abcd":
        tell(room.emitter, seen(series=SERIES._replace(workflow=workflow)))
    told = {attributes["attune.workflow"]: value for attributes, value in room.points(n.COST)}
    assert told == {"a": 0.0015, "b": 0.0015, "_other": 0.003}
    assert len(room.finished()) == 8  # spans keep what was said


def test_a_transition_is_one_count_and_one_event(room):
    """On the span of ours that is under way, given or current; a stranger's span is left alone."""
    change = Transition(name="anthropic:m", from_state="closed", to_state="open", reason="5 failures", at=NOW + 1)
    route = room.emitter.route(workflow="w", stage="s", mode="enforce", requested_model="auto")
    room.emitter.transition(change, span=route)
    token = route.attach()
    room.emitter.transition(change)
    route.detach(token)
    with room.tracers.get_tracer("theirs").start_as_current_span("theirs"):
        room.emitter.transition(change)
    route.end(CallRecord(id="x", workflow="w", stage="s", decision=None), end_s=NOW + 2)
    event, again = room.spans()["attune.route w"].events
    assert event.name == again.name == "attune.circuit.transition" and event.timestamp == int((NOW + 1) * 1e6) * 1000
    assert dict(event.attributes) == {"attune.circuit.name": "anthropic:m", "attune.circuit.from": "closed",
                                      "attune.circuit.to": "open", "attune.circuit.reason": "5 failures"}  # fmt: skip
    assert room.spans()["theirs"].events == ()
    assert [value for _, value in room.points(n.TRANSITIONS)] == [3]
    told = {"attune.circuit.name": "anthropic:m", "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "m"}
    assert room.points(n.CIRCUIT_OPEN) == [(told, 1)]


def test_gauges_are_read_when_they_are_collected(room):
    """So that time alone, which opens half, shows without a transition."""
    lights = [CircuitLight("openai", "open", cooling=True)]
    room.emitter.watch(lambda: lights)
    assert [room.points(name)[0][1] for name in (n.CIRCUIT_OPEN, n.CIRCUIT_HALF_OPEN, n.CIRCUIT_COOLING)] == [1, 0, 1]
    lights[:] = [CircuitLight("openai", "half_open")]
    assert [room.points(name)[0][1] for name in (n.CIRCUIT_OPEN, n.CIRCUIT_HALF_OPEN, n.CIRCUIT_COOLING)] == [0, 1, 0]


def test_rejections_faults_readers_and_late_verdicts(room):
    room.emitter.rejected("anthropic", "anthropic")
    room.emitter.fault("plan.judge")
    room.emitter.reader_age("host", 1.5)
    room.emitter.reader_error("promql")
    room.emitter.quality(SERIES, 0.5)
    assert room.points(n.REJECTIONS)[0][1] == 1
    assert room.points(n.FAULTS) == [({"attune.where": "plan.judge"}, 1)]
    assert room.points(n.READER_AGE) == [({"attune.reader": "host"}, 1.5)]
    assert room.points(n.READER_ERRORS) == [({"attune.reader": "promql"}, 1)]
    assert room.points(n.QUALITY_SCORE)[0][1] == 0.5


def test_a_fault_in_telling_is_counted_and_stays_inside(room):
    """Whatever is handed in, nothing comes out but a count."""
    route = room.emitter.route(workflow="w", stage="s", mode="enforce", requested_model="auto")
    route.decided(None, candidates=1, eliminated=0)
    attempt = route.attempt(target=None, index=0, kind="initial", circuit_name="x")
    attempt.end(None)
    route.end(None, end_s=NOW)
    room.emitter.transition(None)
    room.emitter.announce("w", "s", None)
    assert sum(value for _, value in room.points(n.FAULTS)) == 6


def test_a_suppressed_call_is_not_told(room):
    with suppress_instrumentation():
        tell(room.emitter, seen(), quality=1.0)
    assert room.finished() == () and room.points(n.ATTEMPTS) == []


def test_an_attached_span_is_current_and_leaves_no_trace(room):
    route = room.emitter.route(workflow="w", stage="s", mode="enforce", requested_model="auto")
    before = context.get_current()
    token = route.attach()
    assert trace.get_current_span() is route.span
    route.detach(token)
    assert context.get_current() is before


def test_detaching_elsewhere_neither_raises_nor_logs(room, caplog):
    """As when a generator is closed by another task than the one that began it."""
    route = room.emitter.route(workflow="w", stage="s", mode="enforce", requested_model="auto")
    token = contextvars.Context().run(route.attach)
    with caplog.at_level(logging.DEBUG):
        route.detach(token)
        own = route.attach()
        route.detach(own)
        route.detach(own)

        async def elsewhere():
            await asyncio.create_task(asyncio.to_thread(route.detach, route.attach()))

        asyncio.run(elsewhere())
    assert not [record for record in caplog.records if record.name.startswith(("opentelemetry", "attune"))]


def test_without_a_provider_nothing_is_attached_and_nothing_breaks():
    emitter = Emitter(time=lambda: NOW)
    route, attempt = tell(emitter, seen(), quality=0.5)
    assert route.attach() is None and not attempt.span.is_recording()


def test_two_emitters_on_one_provider_add_up(room):
    """`configure()` starts anew on the providers that are there."""
    second = Emitter(tracer_provider=room.tracers, meter_provider=room.meters, time=lambda: NOW)
    tell(room.emitter, seen())
    tell(second, seen())
    assert room.points(n.COST)[0][1] == 0.003


def test_notes_are_bounded_where_nobody_collects():
    emitter = Emitter(time=lambda: NOW)
    for _ in range(10_000):
        emitter.fault("x")
    assert len(emitter.channel.meters._queue) <= 4097
