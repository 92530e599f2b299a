"""Refusals that existing code already catches: ours and the SDK's at once, whole, and picklable."""

from __future__ import annotations

import copy
import pickle

import anthropic
import openai
import pytest

import attune
from attune.clients.anthropic import AnthropicDialect
from attune.clients.refusals import dual
from attune.models.decision import Decision

DECISION = Decision(model="m", provider="anthropic", reason="best")
CASES = [
    (attune.CircuitOpenError("open", provider="anthropic", retry_after_s=4.5, status={"anthropic": {}}), "APIConnectionError"),
    (attune.NoModelAvailable("none", decision=DECISION), "APIError"),
    (attune.DeadlineExceeded("late", deadline_s=2.0, attempts=(1,)), "APITimeoutError"),
    (attune.StreamInterrupted("cut"), "APIConnectionError"),
]  # fmt: skip


def facts(error: BaseException) -> dict:
    return {name: value for name, value in vars(error).items() if name not in ("request", "_attune_dual")}


@pytest.mark.parametrize("sdk", [anthropic, openai], ids=["anthropic", "openai"])
@pytest.mark.parametrize(("error", "nearest"), CASES, ids=[type(case[0]).__name__ for case in CASES])
def test_a_refusal_is_also_the_sdk_s_nearest_class(sdk, error, nearest):
    """Caught by either name, with the attributes of both; ours comes first."""
    refusal = dual(error, sdk.__name__, nearest, url="https://api.example")
    assert isinstance(refusal, type(error))
    assert isinstance(refusal, getattr(sdk, nearest))
    assert isinstance(refusal, sdk.APIError)
    assert isinstance(refusal, attune.CallError)
    assert type(refusal) is type(dual(error, sdk.__name__, nearest))
    assert type(refusal).__name__ == type(error).__name__
    assert str(refusal) == str(error)
    assert refusal.message == str(error)
    assert refusal.body is None
    assert str(refusal.request.url) == "https://api.example"
    assert {name: facts(refusal)[name] for name in facts(error)} == facts(error)
    assert refusal.__traceback__ is None


@pytest.mark.parametrize("sdk", [anthropic, openai], ids=["anthropic", "openai"])
@pytest.mark.parametrize(("error", "nearest"), CASES, ids=[type(case[0]).__name__ for case in CASES])
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_refusal_survives_a_pickle(sdk, error, nearest, protocol):
    """Same class, text and facts; its request is made again."""
    refusal = dual(error, sdk.__name__, nearest, url="https://api.example")
    refusal.add_note("tried")
    for back in (pickle.loads(pickle.dumps(refusal, protocol)), copy.copy(refusal)):
        assert type(back) is type(refusal)
        assert (str(back), back.args, back.__notes__) == (str(refusal), refusal.args, ["tried"])
        assert facts(back) == facts(refusal)
        assert str(back.request.url) == "https://api.example"


def test_an_sdk_that_lacks_the_class_leaves_the_refusal_as_it_is():
    """Also one that is not installed."""
    error = attune.NoModelAvailable("none", decision=DECISION)
    for sdk, nearest in (("anthropic", "NoSuchError"), ("no_such_sdk", "APIError")):
        refusal = dual(error, sdk, nearest)
        assert type(refusal) is attune.NoModelAvailable
        assert refusal.decision is DECISION
        assert str(pickle.loads(pickle.dumps(refusal))) == "none"


def test_the_dialect_names_the_nearest_class():
    """Connection error for an open circuit, time-out for a deadline, APIError for the rest."""
    client = anthropic.Anthropic(api_key="k", base_url="https://me:key@api.example/x")
    for error, nearest in CASES:
        refusal = AnthropicDialect().refusal(error, client)
        assert isinstance(refusal, getattr(anthropic, nearest))
        assert "key" not in str(refusal.request.url)
    client.close()
