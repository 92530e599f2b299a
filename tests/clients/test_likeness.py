"""A guarded client is copied, pickled and looked at as its own class is; each of these was once different."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import anthropic
import openai
import pytest
from calls.ways import BODY, HAIKU, Bench, Way

import attune
from attune.testing import Sandbox, fail

PLAIN = Way("plain")


def told(client: Any) -> int:
    """How many calls attune saw when this client was asked."""
    with attune.capture() as calls:
        client.messages.create(model=HAIKU, **BODY)
    return len(calls)


class Mine(anthropic.Anthropic):
    """A user's client: its constructor takes what no other does, and it carries something of its own."""

    __slots__ = ("badge",)

    def __init__(self, team: str, base: Any) -> None:
        super().__init__(api_key="k", base_url=base.base_url, http_client=base._client)
        self.team = team
        self.badge = 7

    def __reduce__(self) -> Any:
        return (str, (self.team,))


def test_a_client_whose_constructor_is_its_own_can_be_guarded(bench: Bench):
    """It is not constructed anew: what its user put on it stays."""
    guarded = attune.wrap(Mine("blue", bench.sync))
    assert (guarded.team, guarded.badge, type(guarded).__name__) == ("blue", 7, "Mine")
    assert isinstance(guarded, Mine)
    assert told(guarded) == 1


def test_strictness_survives(bench: Bench):
    """The SDKs' own copies forget it; guarding is no copy of that kind."""
    strict = anthropic.Anthropic(api_key="k", http_client=bench.sync._client, _strict_response_validation=True)
    assert attune.wrap(strict)._strict_response_validation


def test_a_resource_that_was_looked_up_before_is_not_taken_along(bench: Bench):
    """It holds the bare client, and would go round the guard."""
    bare = bench.bare(PLAIN)
    assert bare.messages is bare.messages
    guarded = attune.wrap(bare)
    assert guarded.messages is guarded.messages is not bare.messages
    assert told(guarded) == 1
    assert told(bare) == 0


@pytest.mark.skipif(
    "credentials" not in inspect.signature(anthropic.Anthropic).parameters, reason="this SDK has no credentials"
)
def test_copies_inherit_credentials(attune_sandbox: Sandbox):
    """The SDK asks for the exact class before it hands them on."""
    from anthropic.lib.credentials import AccessToken

    def provide(**_: Any) -> Any:
        return AccessToken(token="t", expires_at=None)

    guarded = attune.wrap(anthropic.Anthropic(credentials=provide))
    copied = guarded.with_options(max_retries=1).copy(timeout=2)
    assert copied.credentials is guarded.credentials is provide
    assert copied._token_cache is guarded._token_cache


COPIES = {"copy.copy": copy.copy, "copy": lambda it: it.copy(), "with_options": lambda it: it.with_options(timeout=3)}


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
def test_every_copy_is_guarded_once(bench: Bench, make):
    """Copies of copies too, and the one that was guarded stays as it is."""
    guarded = bench.wrapped(PLAIN)
    assert [told(make(guarded)), told(make(make(guarded))), told(guarded)] == [1, 1, 1]
    assert told(attune.wrap(make(guarded))) == 1
    assert isinstance(make(guarded), anthropic.Anthropic)


def test_what_the_class_refuses_to_copy_or_pickle_is_refused_alike(attune_sandbox: Sandbox):
    """By the same class of error, with the same words."""
    with anthropic.DefaultHttpxClient(verify=False) as pool:
        bare = anthropic.Anthropic(api_key="k", http_client=pool)
    for ask in (pickle.dumps, copy.deepcopy):
        with pytest.raises((TypeError, pickle.PicklingError)) as expected:
            ask(bare)
        with pytest.raises(expected.type) as raised:
            ask(attune.wrap(bare))
        assert str(raised.value) == str(expected.value)


def test_a_class_that_pickles_is_pickled_its_own_way(bench: Bench):
    """A guard is of this process: it does not travel."""
    assert pickle.loads(pickle.dumps(attune.wrap(Mine("blue", bench.sync)))) == "blue"


@pytest.mark.parametrize("kind", [anthropic.Anthropic, anthropic.AsyncAnthropic, openai.OpenAI, openai.AsyncOpenAI])
def test_what_is_overridden_looks_as_it_did(attune_sandbox: Sandbox, kind):
    """Signature, documentation, name, and whether it is awaited."""
    bare = kind(api_key="k")
    guarded = attune.wrap(bare)
    for name in ("request", "copy", "with_options"):
        ours, theirs = getattr(guarded, name), getattr(bare, name)
        assert inspect.signature(ours) == inspect.signature(theirs)
        assert (inspect.getdoc(ours), ours.__qualname__) == (inspect.getdoc(theirs), theirs.__qualname__)
        assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs)


@pytest.mark.skipif(not hasattr(anthropic.Anthropic, "with_middleware"), reason="this SDK has no middleware")
def test_middleware_sends_by_the_guarded_client(bench: Bench):
    """What is changed on it afterwards holds there, and not on the client that was handed in."""
    guarded = attune.wrap(bench.bare(PLAIN).with_middleware(lambda request, call_next: call_next(request)))
    guarded.base_url = bench.url + "/nowhere"
    with pytest.raises(anthropic.NotFoundError):
        told(guarded)


def test_a_raw_response_tells_how_often_the_request_was_made_again(bench: Bench):
    """Whoever made it: the SDK, or attune in its place."""
    bench.provider.script(HAIKU, fail(500), fail(529))
    response = bench.wrapped(PLAIN).messages.with_raw_response.create(model=HAIKU, **BODY)
    assert response.retries_taken == 2
