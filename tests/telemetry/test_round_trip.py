"""decode(emit(x)) == x, through the real SDK and the real encoders; and what comes in from strangers is bounded."""

from __future__ import annotations

import contextlib
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from telemetry.kit import NOW, OBSERVATIONS, SERIES, seen, studio, tell

from attune.models.performance import Observation, Verdict
from attune.telemetry import names as n
from attune.telemetry.decode import Heard, OutOfBounds, Span, read, read_foreign
from attune.telemetry.otlp_json import encode
from attune.telemetry.otlp_wire import OtlpDecoder

DECODER = OtlpDecoder()


def both_ways(spans):
    """The same request by way of JSON and of protobuf."""
    request = encode_spans(spans)
    by_json, by_proto = (
        list(DECODER.from_json(encode(request))),
        list(DECODER.from_protobuf(request.SerializeToString())),
    )
    assert by_json == by_proto
    return by_json


@settings(max_examples=120)
@given(OBSERVATIONS, st.none() | st.integers(0, 1_000_000), st.booleans())
def test_decode_is_the_inverse_of_emit(observation, quality, native):
    """One attempt at a time, its verdict from the route span; whatever the words and numbers are."""
    room = studio()
    tell(room.emitter, observation, quality=None if quality is None else quality / 1e6, native=native)
    facts = [fact for span in both_ways(room.finished()) if (fact := read(span)) is not None]
    expected = [observation]
    if quality is not None:
        expected.append(Verdict(series=observation.series, at_us=observation.at_us, quality_micro=quality))
    assert facts == expected


def test_json_follows_the_mapping_of_the_protocol():
    """Hex ids, 64-bit integers as strings, lowerCamelCase, enums as numbers: read by a plain parser."""
    room = studio()
    tell(room.emitter, seen())
    request = json.loads(encode(encode_spans(room.finished())))
    group = request["resourceSpans"][0]
    assert group["resource"]["attributes"] == [{"key": "service.instance.id", "value": {"stringValue": "me"}}]
    attempt, route = group["scopeSpans"][0]["spans"]
    assert group["scopeSpans"][0]["scope"]["name"] == "attune"
    assert attempt["traceId"] == route["traceId"] == f"{room.finished()[0].context.trace_id:032x}"
    assert attempt["parentSpanId"] == route["spanId"] and len(route["spanId"]) == 16
    assert attempt["startTimeUnixNano"] == str(int(NOW * 1e6) * 1000)
    assert attempt["kind"] == 3
    values = {pair["key"]: pair["value"] for pair in attempt["attributes"]}
    assert values["gen_ai.usage.input_tokens"] == {"intValue": "1000"}
    assert values["attune.attempt.cost"] == {"doubleValue": 0.0015}
    assert values["attune.route.explored"] == {"boolValue": False}


def test_a_request_in_other_spellings_is_read_too():
    """Numbers where strings are usual, unknown fields, missing ones: all allowed by the protocol."""
    line = {"resourceSpans": [{"news": 1, "scopeSpans": [{"scope": {"name": "attune"}, "spans": [{
        "name": "attune.attempt", "startTimeUnixNano": 1_000_000_000, "endTimeUnixNano": "3000000000", "kind": 1,
        "attributes": [
            {"key": n.WORKFLOW, "value": {"stringValue": "w"}}, {"key": n.STAGE, "value": {"stringValue": ""}},
            {"key": n.GEN_AI_PROVIDER, "value": {"stringValue": "gcp.gemini"}},
            {"key": n.GEN_AI_MODEL, "value": {"stringValue": "m"}}, {"key": n.OUTCOME, "value": {"stringValue": "success"}},
            {"key": n.ATTEMPT_KIND, "value": {"stringValue": "initial"}}, {"key": "list", "value": {"arrayValue": {}}},
            {"key": n.GEN_AI_INPUT_TOKENS, "value": {"intValue": 7}},
        ],
    }]}]}]}  # fmt: skip
    (span,) = DECODER.from_json(msgspec.json.encode(line))
    fact = read(span)
    assert (fact.series, fact.latency_us, fact.tokens_in) == (("w", "", "google", "m"), 2_000_000, 7)


BROKEN = [
    b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"resourceSpans": 3}',
    b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":"soon"}]}]}]}',
    b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}',
]  # fmt: skip


@pytest.mark.parametrize("line", BROKEN)
def test_what_is_no_request_is_a_value_error(line):
    """Nothing else comes out of the decoder, so that readers can count it."""
    with pytest.raises(ValueError):
        list(DECODER.from_json(line))


@given(st.binary(max_size=200))
def test_no_bytes_break_the_protobuf_side(message):
    with contextlib.suppress(ValueError):
        list(DECODER.from_protobuf(message))


GOOD = {
    n.WORKFLOW: "w", n.STAGE: "s", n.GEN_AI_PROVIDER: "anthropic", n.GEN_AI_MODEL: "m", n.OUTCOME: "success",
    n.ATTEMPT_KIND: "initial", n.CIRCUIT_STATE: "closed",
}  # fmt: skip


def span(start=10**18, end=10**18 + 10**9, scope="attune", instance="a", **facts):
    return Span(instance=instance, scope=scope, name="x", start_ns=start, end_ns=end, attributes={**GOOD, **facts})


@pytest.mark.parametrize(
    "bad",
    [
        {n.OUTCOME: "fine"}, {n.CIRCUIT_STATE: "ajar"}, {n.WORKFLOW: "x" * 257}, {n.WORKFLOW: 3}, {n.GEN_AI_MODEL: "_other"},
        {n.ATTEMPT_COST: -0.1}, {n.ATTEMPT_COST: float("nan")}, {n.ATTEMPT_COST: float("inf")}, {n.ATTEMPT_COST: 1e7},
        {n.ATTEMPT_COST: "0.1"}, {n.ATTEMPT_COST: True}, {n.GEN_AI_INPUT_TOKENS: 10**10}, {n.ATTEMPT_FIRST: 3601.0},
        {"end": 10**18 - 1000}, {"end": 10**18 + 3601 * 10**9}, {"start": -5},
    ],
)  # fmt: skip
def test_values_out_of_bounds_are_refused(bad):
    with pytest.raises(OutOfBounds):
        read(span(**bad))


def test_a_good_span_of_the_same_shape_is_taken():
    assert read(span()) == Observation(
        series=("w", "s", "anthropic", "m"), at_us=10**15, outcome="success", latency_us=10**6
    )


def test_foreign_spans_count_only_from_instances_that_never_spoke_with_our_scope():
    """Anthropic's own span beside ours is the same attempt; in an instance without attune it is the only one."""
    theirs = {n.GEN_AI_PROVIDER: "anthropic", n.GEN_AI_MODEL: "claude-haiku-4-5", n.GEN_AI_INPUT_TOKENS: 5}
    spans = [
        Span(instance=instance, scope=scope, name="x", start_ns=10**18, end_ns=10**18 + 10**9, attributes=theirs)
        for instance, scope in (("a", "anthropic"), ("a", "attune"), ("b", "anthropic"), ("b", "attune.demo"))
    ]
    heard = Heard()
    assert [s.instance for s in heard.own(spans)] == ["a"]
    (only,) = heard.foreign(spans)
    assert (only.instance, only.scope) == ("b", "anthropic")
    fact = read_foreign(only)
    assert fact.series == ("", "", "anthropic", "claude-haiku-4-5") and fact.tokens_in == 5
    assert read_foreign(Span(instance="b", scope="http", name="GET", start_ns=0, end_ns=1, attributes={})) is None


def test_provider_words_go_out_as_the_conventions_say_and_come_back_as_ours():
    room = studio()
    tell(room.emitter, seen(series=SERIES._replace(provider="bedrock")))
    attempt = room.finished()[0]
    assert attempt.attributes[n.GEN_AI_PROVIDER] == "aws.bedrock"
    assert read(both_ways([attempt])[0]).series.provider == "bedrock"
