"""The same models at a cloud: its clients guarded themselves, and as alternates of Anthropic's and of each other."""

from __future__ import annotations

import copy
import importlib.util
import inspect
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from calls.clouds import AWS, BEDROCK, FOUNDRY, MANTLE, PLACES, VERTEX, Cloud, Place, Step
from calls.sdks import CHAT
from calls.ways import BODY, HAIKU, HELLO, SONNET, WAYS, Bench, Ledger, Way

import attune
from attune.models import CircuitBreaker
from attune.models.failures import FailureKind, classify
from attune.testing import Sandbox, fail, ok

PLAIN = WAYS[0]
STREAMS = [way for way in WAYS if way.stream]
signed = pytest.mark.skipif(
    importlib.util.find_spec("botocore") is None, reason="needs boto3, which reads Bedrock's streams"
)
reads_frames_as_events = pytest.mark.skipif(
    anthropic.__version__.startswith("0."), reason="before 1.0 the SDK raises ValueError for the service's word"
)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    cloud = Cloud()
    yield cloud
    cloud.close()


@pytest.fixture(params=PLACES, ids=repr)
def place(request: pytest.FixtureRequest) -> Place:
    return request.param


def at(place: Place, bench: Bench, cloud: Cloud, way: Way = PLAIN) -> Any:
    """The cloud's own client, on a pool that is there already."""
    if place.frames and way.stream:
        pytest.importorskip("botocore", reason="boto3 reads Bedrock's streams")
    return place.client(way, cloud, (bench.asynchronous if way.asynchronous else bench.sync)._client)


def target(place: Place, client: Any, model: str = HAIKU) -> attune.Target:
    """The cheap model there."""
    return attune.Target(model, provider=place.provider, client=client, alias=place.model)


def usd(*, input_mtok: float, output_mtok: float) -> float:
    return (1000 * input_mtok + 200 * output_mtok) / 1e6


def where(seen: Any) -> list[tuple[str, str, str | None]]:
    return [(it.provider, it.outcome, it.error_type) for it in seen.record.attempts]


def test_a_cloud_s_client_is_guarded(
    bench: Bench, cloud: Cloud, sandbox: Sandbox, ledger: Ledger, place: Place, way: Way
):
    """Routed, pinned, and measured: the model stands in the address or in the body, as that cloud has it."""
    client = attune.wrap(at(place, bench, cloud, way), candidates=[place.model])
    for model in ("auto", place.model):
        seen = bench.ask(way, client, model)
        assert seen.error is None
        assert where(seen) == [(place.provider, "success", None)]
        assert seen.record.usage.input_tokens == 1000
        assert seen.record.cost > 0
        assert seen.record.cost_complete
        ledger.check(seen.records) if model == "auto" else None
    assert cloud.models == [place.model] * 2
    assert all("KEY" in str(asked.headers) for asked in cloud.asked)


def test_its_answers_are_the_bare_client_s(bench: Bench, cloud: Cloud, sandbox: Sandbox, place: Place, way: Way):
    bare = at(place, bench, cloud, way)
    ours = bench.ask(way, attune.wrap(bare), place.model)
    theirs = bench.ask(way, bare, place.model)
    assert [type(it) for it in (ours.value, *ours.events)] == [type(it) for it in (theirs.value, *theirs.events)]
    assert [event.to_dict() for event in ours.events] == [event.to_dict() for event in theirs.events]
    first, second = cloud.asked
    assert (first.path, first.raw) == (second.path, second.raw)
    differing = {"x-stainless-read-timeout", "x-stainless-timeout", "traceparent"}
    assert {k: v for k, v in first.headers.items() if k not in differing} == {
        k: v for k, v in second.headers.items() if k not in differing
    }
    assert theirs.records == []


COPIES = {
    "copy": copy.copy,
    "with_options": lambda it: it.with_options(max_retries=1),
    "its own copy": lambda it: it.copy(timeout=3),
    "with_middleware": lambda it: it.with_middleware() if hasattr(it, "with_middleware") else it,
}


@pytest.mark.parametrize("made", COPIES.values(), ids=COPIES)
def test_copies_stay_guarded(bench: Bench, cloud: Cloud, sandbox: Sandbox, place: Place, made: Any):
    """These clients make their resources when they are constructed, and keep what else they were given."""
    bare = at(place, bench, cloud)
    try:
        made(bare)
    except TypeError:
        pytest.skip("this SDK's own copy of it fails (Foundry's, before 1.0)")
    client = made(attune.wrap(bare, candidates=[place.model]))
    assert isinstance(client, type(bare))
    with attune.capture() as calls:
        client.messages.create(model="auto", **BODY)
        client.messages.with_raw_response.create(model="auto", **BODY)
        client.beta.messages.create(model="auto", **BODY)
    assert len(calls) == 3
    with attune.capture() as calls:
        bare.messages.create(model=place.model, **BODY)
    assert calls == []


def test_the_second_cloud_answers_where_the_first_fails(
    bench: Bench, cloud: Cloud, sandbox: Sandbox, ledger: Ledger, place: Place, way: Way
):
    """The request of one client is made by another's class: its address, its key, its id of the model, its price."""
    there = at(place, bench, cloud, way)
    client = bench.wrapped(way, candidates=[HAIKU], alternates=[target(place, there)])
    for model in ("auto", HAIKU):
        bench.provider.script(HAIKU, fail("overloaded", should_retry=False))
        seen = bench.ask(way, client, model, extra_headers={"anthropic-beta": "one,two"})
        assert seen.error is None
        assert where(seen) == [("anthropic", "failure", "overloaded"), (place.provider, "success", None)]
        assert [it.model for it in seen.record.attempts] == [HAIKU, HAIKU]
        dearer = 1.1 if place is MANTLE else 1  # an id without "global." is regional
        assert seen.record.cost == pytest.approx(dearer * usd(input_mtok=0.1, output_mtok=0.5))
    assert cloud.models == [place.model] * 2
    beta = cloud.asked[0].body.get("anthropic_beta") if place is BEDROCK else None
    assert beta == (["one", "two"] if place is BEDROCK else None)
    assert cloud.asked[0].headers["anthropic-beta"] == "one,two"


def test_and_the_other_way_round(bench: Bench, cloud: Cloud, sandbox: Sandbox, ledger: Ledger, place: Place, way: Way):
    """A cloud's request is made at Anthropic: none of the cloud's words go along."""
    here = at(place, bench, cloud, way)
    home = attune.Target(place.model, client=bench.bare(way), alias=HAIKU, price=(1, 5))
    client = attune.wrap(here, candidates=[place.model], alternates=[home])
    cloud.script = [Step(503), Step(503)]
    for model in ("auto", place.model):
        seen = bench.ask(way, client, model)
        assert seen.error is None
        assert where(seen) == [(place.provider, "failure", "server"), ("anthropic", "success", None)]
    body = bench.provider.requests[0].body
    assert (body["model"], "anthropic_version" in body) == (HAIKU, False)


def test_a_model_named_by_a_cloud_s_word_falls_back_to_the_same_model(bench: Bench, cloud: Cloud, sandbox: Sandbox):
    """Which bears another word elsewhere; another word at the same client is another deployment, and nobody asked for it."""
    here = at(BEDROCK, bench, cloud)
    regional = attune.Target(HAIKU, provider="bedrock", alias=f"us.anthropic.{HAIKU}")
    home = attune.Target(HAIKU, client=bench.sync)
    client = attune.wrap(here, candidates=[regional, target(BEDROCK, None)], alternates=[home])
    cloud.script = [Step(503, {}), Step(503, {})]
    seen = bench.ask(PLAIN, client, BEDROCK.model)
    assert where(seen) == [("bedrock", "failure", "server"), ("anthropic", "success", None)]
    assert cloud.models == [BEDROCK.model]


def test_one_cloud_stands_in_for_another(bench: Bench, cloud: Cloud, sandbox: Sandbox, way: Way):
    here, there = at(BEDROCK, bench, cloud, way), at(VERTEX, bench, cloud, way)
    client = attune.wrap(here, candidates=[target(BEDROCK, None)], alternates=[target(VERTEX, there)])
    cloud.script = [Step(429)]
    seen = bench.ask(way, client)
    assert where(seen) == [("bedrock", "failure", "rate_limit"), ("vertex", "success", None)]
    assert cloud.models == [BEDROCK.model, VERTEX.model]


def test_each_cloud_has_circuits_of_its_own(bench: Bench, cloud: Cloud, sandbox: Sandbox):
    """What is closed by hand for one provider is left at once; the other's name stays free."""
    there = at(BEDROCK, bench, cloud)
    client = bench.wrapped(PLAIN, candidates=[HAIKU], alternates=[target(BEDROCK, there)])
    breaker = CircuitBreaker()
    breaker.force_open("anthropic")
    assert where(bench.ask(PLAIN, client)) == [("bedrock", "success", None)]
    breaker.auto("anthropic")
    breaker.force_open("bedrock")
    assert where(bench.ask(PLAIN, client)) == [("anthropic", "success", None)]
    alone = attune.wrap(there, candidates=[BEDROCK.model])
    with pytest.raises(anthropic.APIConnectionError) as refused:
        alone.messages.create(model="auto", **BODY)
    assert isinstance(refused.value, attune.CircuitOpenError)


def test_a_cloud_that_cannot_be_reached_is_left_alone(bench: Bench, cloud: Cloud, sandbox: Sandbox):
    """Its own circuit opens after five calls, which the other cloud answered all the same."""
    down = at(BEDROCK, bench, cloud).with_options(base_url="http://127.0.0.1:9", max_retries=0)
    home = attune.Target(BEDROCK.model, client=bench.sync, alias=HAIKU, price=(1, 5))
    client = attune.wrap(down, candidates=[BEDROCK.model], alternates=[home])
    tried = [where(bench.ask(PLAIN, client, BEDROCK.model)) for _ in range(6)]
    assert tried[0] == [("bedrock", "failure", "connection"), ("anthropic", "success", None)]
    assert tried[5] == [("anthropic", "success", None)]
    status = CircuitBreaker().get_status()
    assert (status["bedrock"]["state"], status["anthropic"]["state"]) == ("open", "closed")


def test_two_clients_of_one_provider_can_be_told_apart(bench: Bench, cloud: Cloud, sandbox: Sandbox):
    """Anthropic's platform on AWS is provider `anthropic`, unless its Target says otherwise."""
    there = attune.Target(HAIKU, provider="anthropic-aws", client=at(AWS, bench, cloud))
    client = bench.wrapped(PLAIN, candidates=[HAIKU], alternates=[there])
    bench.provider.script(HAIKU, fail("overloaded", should_retry=False))
    seen = bench.ask(PLAIN, client)
    assert where(seen) == [("anthropic", "failure", "overloaded"), ("anthropic-aws", "success", None)]
    assert seen.record.cost == pytest.approx(usd(input_mtok=0.1, output_mtok=0.5))


def test_a_client_of_the_same_ids_is_an_alternate_as_it_is(bench: Bench, cloud: Cloud, sandbox: Sandbox):
    """Foundry's deployments bear the models' names, and Anthropic's platform on AWS has the ids themselves."""
    for place in (FOUNDRY, AWS):
        client = bench.wrapped(PLAIN, candidates=[HAIKU], alternates=[at(place, bench, cloud)])
        bench.provider.script(HAIKU, fail("overloaded", should_retry=False))
        seen = bench.ask(PLAIN, client)
        assert [it.provider for it in seen.record.attempts] == ["anthropic", place.provider]
        assert len({it.circuit for it in seen.record.attempts}) == 1  # closed: the one's trouble is not the other's


def test_a_client_whose_ids_are_its_own_is_refused_as_it_is(bench: Bench, cloud: Cloud, sandbox: Sandbox):
    """Found when it is wrapped, and not in the outage that it was meant for."""
    bedrock, vertex = at(BEDROCK, bench, cloud), at(VERTEX, bench, cloud)
    for home, alternate in ((bench.sync, bedrock), (bedrock, bench.sync), (vertex, bedrock)):
        with pytest.raises(attune.ConfigError, match=r"different ids. Say which: attune.Target\("):
            attune.wrap(home, candidates=[HAIKU], alternates=[alternate])
    attune.wrap(bedrock, candidates=[BEDROCK.model], alternates=[at(BEDROCK, bench, cloud)])
    attune.wrap(bench.sync, alternates=[vertex])
    with pytest.raises(attune.ConfigError, match="a client of the same SDK"):
        attune.wrap(bedrock, alternates=[bench.bare(Way("plain", CHAT))])


def test_auto_needs_candidates_where_ids_are_the_account_s(bench: Bench, cloud: Cloud, sandbox: Sandbox):
    for place in (BEDROCK, VERTEX, FOUNDRY):
        client = attune.wrap(at(place, bench, cloud))
        with pytest.raises(
            attune.ConfigError, match=rf"'{place.provider}' has no tier defaults. Name models: candidates="
        ):
            client.messages.create(model="auto", **BODY)
    assert attune.wrap(at(AWS, bench, cloud)).messages.create(model="auto", **BODY).model == HAIKU
    assert cloud.models == [HAIKU]


# Bedrock's streams


@signed
@reads_frames_as_events
@pytest.mark.parametrize("way", STREAMS, ids=repr)
def test_an_exception_before_the_first_content_falls_back(
    bench: Bench, cloud: Cloud, sandbox: Sandbox, ledger: Ledger, way: Way
):
    """It comes in a stream of status 200, after the message's start."""
    here = at(BEDROCK, bench, cloud, way)
    home = attune.Target(BEDROCK.model, client=bench.bare(way), alias=HAIKU)
    client = attune.wrap(here, candidates=[BEDROCK.model], alternates=[home])
    cloud.script = [Step(events=2, word="throttlingException")]
    seen = bench.ask(way, client)
    assert seen.error is None
    assert where(seen) == [("bedrock", "failure", "rate_limit"), ("anthropic", "success", None)]
    ledger.check(seen.records)


@signed
@reads_frames_as_events
@pytest.mark.parametrize("way", STREAMS, ids=repr)
def test_an_exception_after_it_reaches_the_caller(
    bench: Bench, cloud: Cloud, sandbox: Sandbox, ledger: Ledger, way: Way
):
    client = attune.wrap(at(BEDROCK, bench, cloud, way))
    cloud.script = [Step(events=5, word="modelStreamErrorException")]
    seen = bench.ask(way, client, BEDROCK.model)
    assert isinstance(seen.error, anthropic.APIStatusError)
    assert where(seen) == [("bedrock", "failure", "server")]
    assert seen.record.partial_text
    ledger.check(seen.records)


@pytest.mark.parametrize("place", [BEDROCK, VERTEX], ids=repr)
@pytest.mark.parametrize("way", STREAMS, ids=repr)
def test_a_stream_that_is_cut_is_broken(
    bench: Bench, cloud: Cloud, sandbox: Sandbox, ledger: Ledger, place: Place, way: Way
):
    client = attune.wrap(at(place, bench, cloud, way))
    cloud.script = [Step(events=6)]
    seen = bench.ask(way, client, place.model)
    assert seen.error is not None
    assert where(seen) == [(place.provider, "failure", "stream_broken")]
    ledger.check(seen.records)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("place", [BEDROCK, VERTEX], ids=repr)
def test_a_body_that_the_caller_reads_is_judged_at_its_end(
    bench: Bench, cloud: Cloud, sandbox: Sandbox, ledger: Ledger, place: Place, stream: bool
):
    """Frames too, in whatever pieces they come."""
    client = attune.wrap(at(place, bench, cloud, STREAMS[0]), candidates=[place.model])
    with (
        attune.capture() as calls,
        client.messages.with_streaming_response.create(model="auto", stream=stream, **BODY) as raw,
    ):
        pieces = list(raw.iter_bytes(7))
    assert b"".join(pieces)
    assert calls[0].outcome == "success"
    assert calls[0].usage.output_tokens == 200
    ledger.check(list(calls))


@signed
def test_what_is_signed_is_what_is_sent(bench: Bench, cloud: Cloud, sandbox: Sandbox):
    """The signature is made of the address and the body, after attune has put its model in."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    bare = anthropic.AnthropicBedrock(
        aws_access_key="AK",
        aws_secret_key="SK",
        aws_region="us-east-1",
        base_url=cloud.url,
        http_client=bench.sync._client,
    )
    client = bench.wrapped(PLAIN, candidates=[HAIKU], alternates=[target(BEDROCK, bare)])
    bench.provider.script(HAIKU, fail("overloaded", should_retry=False))
    assert bench.ask(PLAIN, client).error is None
    asked = cloud.asked[0]
    told = dict(part.split("=", 1) for part in asked.headers["authorization"].partition(" ")[2].split(", "))
    headers = {name: asked.headers[name] for name in told["SignedHeaders"].split(";")}
    request = AWSRequest(method="POST", url=cloud.url + asked.path, headers=headers, data=asked.raw)
    request.context["timestamp"] = asked.headers["x-amz-date"]
    auth = SigV4Auth(Credentials("AK", "SK"), "bedrock", "us-east-1")
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    assert (told["Signature"], asked.model) == (signature, BEDROCK.model)


# What is no answer, and what is bound


def test_a_token_count_stays_with_its_client(bench: Bench, cloud: Cloud, sandbox: Sandbox):
    """`auto` becomes the default model by the name that it has there, wherever answers come from."""
    there = at(BEDROCK, bench, cloud)
    for words in (
        {"candidates": [target(BEDROCK, there)]},
        {"candidates": [target(BEDROCK, there), HAIKU], "default": BEDROCK.model},
    ):
        client = attune.wrap(at(AWS, bench, cloud), **words)
        client.messages.count_tokens(model="auto", messages=HELLO)
        assert cloud.asked[-1].body["model"] == HAIKU
        assert bench.ask(PLAIN, client).record.provider == "bedrock"
    vertex = attune.wrap(at(VERTEX, bench, cloud), candidates=[VERTEX.model])
    assert vertex.messages.count_tokens(model="auto", messages=HELLO).input_tokens == 3
    assert cloud.asked[-1].body["model"] == VERTEX.model
    with pytest.raises(anthropic.AnthropicError, match="not supported in Bedrock"):
        attune.wrap(there, candidates=[BEDROCK.model]).messages.count_tokens(model="auto", messages=HELLO)


def test_a_bound_request_does_not_leave_for_a_cloud(bench: Bench, cloud: Cloud, sandbox: Sandbox, way: Way):
    client = bench.wrapped(way, candidates=[HAIKU], alternates=[target(BEDROCK, at(BEDROCK, bench, cloud, way))])
    bound = {
        "thread": {"extra_body": {"thread": {"type": "continue", "previous_message_id": "msg_1"}}},
        "workspace": {"extra_headers": {"anthropic-workspace-id": "w"}},
    }
    for words in bound.values():
        bench.provider.script(HAIKU, fail("overloaded", should_retry=False))
        assert isinstance(bench.ask(way, client, **words).error, anthropic.APIStatusError)
    assert cloud.asked == []


# What clouds' errors mean


class RefreshError(Exception):
    """As google-auth calls it."""


class Stale:
    """Google's credentials, which nobody renews any more."""

    expired = True
    token = None

    def refresh(self, request: object) -> None:
        raise RefreshError


def test_a_cloud_without_a_credential_is_left(
    bench: Bench, cloud: Cloud, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
):
    """No request is sent: what the cloud's own library raises counts as a refused key."""
    here = at(VERTEX, bench, cloud)
    here.access_token = None
    monkeypatch.setattr(type(here), "_ensure_access_token", lambda self: Stale().refresh(None))
    home = attune.Target(VERTEX.model, client=bench.sync, alias=HAIKU)
    seen = bench.ask(PLAIN, attune.wrap(here, candidates=[VERTEX.model], alternates=[home]))
    assert where(seen) == [("vertex", "failure", "auth"), ("anthropic", "success", None)]


def test_a_model_that_failed_to_answer_is_the_provider_s_fault(bench: Bench, cloud: Cloud, sandbox: Sandbox):
    """Bedrock says so with status 424."""
    client = bench.wrapped(PLAIN, candidates=[HAIKU], alternates=[target(BEDROCK, at(BEDROCK, bench, cloud))])
    CircuitBreaker().force_open("anthropic")
    cloud.script = [Step(424)] * 3
    seen = bench.ask(PLAIN, client)
    assert seen.record.attempts[0].error_type == "server"


def test_words_of_bedrock_s_streams():
    from attune.clients.anthropic import FAILURES

    class Said(Exception):
        status_code = 200

        def __init__(self, word: str) -> None:
            self.body = {"type": "error", "error": {"type": word, "message": "m"}}

    kinds = {word: classify(Said(word), FAILURES).kind for word in FAILURES if word.endswith("Exception")}
    assert kinds == {
        "internalServerException": FailureKind.SERVER,
        "modelStreamErrorException": FailureKind.SERVER,
        "modelTimeoutException": FailureKind.TIMEOUT,
        "serviceUnavailableException": FailureKind.OVERLOADED,
        "throttlingException": FailureKind.RATE_LIMIT,
        "validationException": FailureKind.INVALID_REQUEST,
    }


# All clients of a process, and what is told


def test_instrument_guards_them_too(bench: Bench, cloud: Cloud, sandbox: Sandbox, place: Place, way: Way):
    """Each takes those of the candidates that are its provider's; whoever sends for attune is not caught again."""
    client = at(place, bench, cloud, way)
    attune.instrument(candidates=[HAIKU, BEDROCK.model, attune.Target(HAIKU, provider="foundry"), VERTEX.model])
    try:
        seen = bench.ask(way, client)
    finally:
        attune.uninstrument()
    assert seen.error is None
    assert where(seen) == [(place.provider, "success", None)]


def test_spans_bear_the_conventions_words(bench: Bench, cloud: Cloud, sandbox: Sandbox):
    for place, word in ((BEDROCK, "aws.bedrock"), (VERTEX, "gcp.vertex_ai")):
        sandbox.clear() if hasattr(sandbox, "clear") else None
        assert bench.ask(PLAIN, attune.wrap(at(place, bench, cloud)), place.model).error is None
        route = [span for span in sandbox.spans if span.name.startswith("attune.route")][-1]
        assert route.attributes["attune.route.provider"] == word


def test_prices_are_those_of_the_id_that_is_sent(bench: Bench, cloud: Cloud, sandbox: Sandbox):
    """Bedrock's regional endpoints cost a tenth more than the global one, which only the id tells."""
    there = at(BEDROCK, bench, cloud)
    costs = []
    for alias in (f"global.anthropic.{HAIKU}", f"us.anthropic.{HAIKU}"):
        only = [attune.Target(HAIKU, provider="bedrock", client=there, alias=alias)]
        costs.append(bench.ask(PLAIN, bench.wrapped(PLAIN, candidates=only)).record.cost)
    assert costs[1] == pytest.approx(1.1 * costs[0])


def test_a_deployment_s_name_sets_no_price(bench: Bench, cloud: Cloud, sandbox: Sandbox):
    """It is what its owner called it, and may well be another model's name."""
    named = attune.Target(HAIKU, provider="foundry", client=at(FOUNDRY, bench, cloud), alias=SONNET)
    cost = bench.ask(PLAIN, bench.wrapped(PLAIN, candidates=[named])).record.cost
    assert cost == pytest.approx(usd(input_mtok=0.1, output_mtok=0.5))
    assert cloud.models == [SONNET]


@pytest.mark.parametrize("way", WAYS[:2], ids=repr)
def test_helpers_and_raw_responses_fall_back_too(bench: Bench, cloud: Cloud, sandbox: Sandbox, way: Way):
    """What the SDK's own classes make of an answer, they make of the other cloud's."""
    client = bench.wrapped(way, candidates=[HAIKU], alternates=[target(VERTEX, at(VERTEX, bench, cloud, way))])

    def trouble() -> None:
        bench.provider.script(HAIKU, fail("overloaded", should_retry=False))

    async def awaited() -> list[Any]:
        trouble()
        raw = await client.messages.with_raw_response.create(model="auto", **BODY)
        trouble()
        parsed = raw.parse()  # to be awaited since 1.0
        async with client.messages.stream(model="auto", **BODY) as stream:
            return [await parsed if inspect.isawaitable(parsed) else parsed, await stream.get_final_message()]

    def asked() -> list[Any]:
        trouble()
        raw = client.messages.with_raw_response.create(model="auto", **BODY)
        trouble()
        with client.messages.stream(model="auto", **BODY) as stream:
            return [raw.parse(), stream.get_final_message()]

    answers = bench.loop.run(awaited()) if way.asynchronous else asked()
    assert [answer.content[0].text for answer in answers] == ["hello there"] * 2
    assert cloud.models == [VERTEX.model] * 2


def test_whose_spans_an_attempt_meets(bench: Bench, cloud: Cloud, monkeypatch: pytest.MonkeyPatch):
    """The SDK traces these clients as its others; inside a function, nobody knows with whose SDK a cloud is called."""
    from attune.clients import anthropic as home
    from attune.clients.anthropic import AnthropicDialect
    from attune.clients.anthropic_clouds import BedrockDialect

    monkeypatch.setattr(home, "_recorded", lambda: True)
    client = at(BEDROCK, bench, cloud)
    assert BedrockDialect().native_span(client) is (getattr(client, "_tracer", None) is not None)
    assert not BedrockDialect().native_span(None)
    assert not BedrockDialect().native_metrics(None)
    assert AnthropicDialect().native_span(None) is hasattr(client, "_tracer")


def test_routing_chooses_among_clouds(bench: Bench, cloud: Cloud, sandbox: Sandbox):
    """A dearer model at Anthropic and a cheap one at a cloud are candidates of one call."""
    there = at(BEDROCK, bench, cloud)
    client = bench.wrapped(PLAIN, candidates=[SONNET, target(BEDROCK, there)], default=SONNET)
    bench.provider.script(SONNET, ok("x"))
    with attune.scope(max_cost=0.0004):
        seen = bench.ask(PLAIN, client)
    assert where(seen) == [("bedrock", "success", None)]
