"""A request that is made again is the same, and as well received, as when the SDK makes it again itself."""

from __future__ import annotations

import contextvars
import inspect
from types import SimpleNamespace
from typing import Any

import anthropic
import pytest
from calls.ways import BODY, HAIKU, Bench, Way

import attune
from attune.clients.again import repeatable, send, sending
from attune.testing import fail

PLAIN = Way("plain")


class Options(SimpleNamespace):
    """As much of the SDKs' request options as matters here."""

    def model_copy(self, *, update: dict[str, Any]) -> Options:
        return Options(**{**vars(self), **update})


def test_a_body_without_iterators_is_not_copied():
    options = Options(json_data={"messages": [{"content": "x"}], "tools": ({"a": None},)})
    assert repeatable(options) is options


def test_iterators_are_read_once_and_wherever_they_are():
    body = {"messages": iter([{"content": (word for word in "ab")}]), "tools": (iter([1]),)}
    kept = repeatable(Options(json_data=body)).json_data
    assert kept == {"messages": [{"content": ["a", "b"]}], "tools": [[1]]}


def test_a_context_that_was_born_in_a_send_forgets_its_body():
    """A task keeps the context it was born in; a later body at the same address is another request."""
    options, born = Options(json_data={"model": "m"}), []

    def through(cast_to: Any, options: Any) -> str:
        assert list(sending.get()) == [options.json_data]
        born.append(contextvars.copy_context())
        return "answer"

    assert send(through, None, options, {}, 0, renew=False) == "answer"
    assert list(born[0].run(sending.get)) == []
    assert list(sending.get()) == []


def test_a_file_is_not_read_by_lines(tmp_path):
    """It is an iterator, but not for the SDKs."""
    path = tmp_path / "picture"
    path.write_bytes(b"one\ntwo\n")
    with path.open("rb") as file:
        options = Options(json_data={"data": file})
        assert repeatable(options) is options
        assert file.read() == b"one\ntwo\n"


def test_a_body_that_contains_itself_is_the_sdk_s_to_refuse(bench: Bench):
    """Looked at to a limit, and refused in the SDK's own words."""
    messages: list[Any] = []
    messages.append({"role": "user", "content": messages})
    for client in (bench.bare(PLAIN), attune.wrap(bench.bare(PLAIN))):
        with pytest.raises(ValueError, match="Circular reference"):
            client.messages.create(model=HAIKU, max_tokens=9, messages=messages)
    assert not bench.provider.requests


@pytest.mark.parametrize("model", [HAIKU, "auto"])
def test_each_attempt_sends_what_an_iterator_gave(bench: Bench, model):
    """The first too, whoever had to look into the body before."""
    bench.provider.script(None, fail(500))
    messages = iter([{"role": "user", "content": "hello"}])
    client = attune.wrap(bench.bare(PLAIN), candidates=[HAIKU])
    client.messages.create(model=model, max_tokens=9, messages=messages)
    assert [it.body["messages"] for it in bench.provider.requests] == [[{"role": "user", "content": "hello"}]] * 2


@pytest.mark.skipif(
    "credentials" not in inspect.signature(anthropic.Anthropic).parameters, reason="this SDK has no credentials"
)
@pytest.mark.parametrize(("retries", "asked"), [(2, 2), (0, 1)])
def test_a_refused_token_is_replaced_within_the_attempt(bench: Bench, retries, asked):
    """Once, and only where the client may retry at all; the attempt and its circuit know nothing of it."""
    from anthropic.lib.credentials import AccessToken

    minted: list[int] = []

    def provide(**_: Any) -> Any:
        minted.append(1)
        return AccessToken(token=f"t{len(minted)}", expires_at=None)

    client = anthropic.Anthropic(
        credentials=provide, base_url=bench.url, http_client=bench.sync._client, max_retries=retries
    )
    bench.provider.script(HAIKU, fail(401))
    with attune.capture() as calls:
        try:
            attune.wrap(client).messages.create(model=HAIKU, **BODY)
        except anthropic.AuthenticationError:
            assert retries == 0
    assert len(minted) == len(bench.provider.requests) == asked
    assert [it.outcome for it in calls[0].attempts] == ["success" if retries else "failure"]
