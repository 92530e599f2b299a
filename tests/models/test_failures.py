"""The failure table: any error to a kind and a rule, by attributes and names alone."""

from __future__ import annotations

import concurrent.futures
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from attune.clients.anthropic import FAILURES
from attune.errors import CircuitOpenError, DeadlineExceeded, NoModelAvailable
from attune.models.failures import RULES, FailureKind, classify


def error(name: str = "APIStatusError", *, status=None, headers=None, base=Exception, **words) -> BaseException:
    """An error as an SDK would raise it, without the SDK."""
    made = type(name, (base,), {})("a prompt could stand here")
    response = SimpleNamespace(status_code=status, headers=headers or {})
    for key, value in {"status_code": status, "response": response, **words}.items():
        if value is not None:
            setattr(made, key, value)
    return made


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request"), (401, "auth"), (402, "payment"), (403, "auth"), (404, "not_found"), (408, "timeout"),
        (409, "other"), (412, "invalid_request"), (413, "too_large"), (418, "invalid_request"), (422, "invalid_request"),
        (429, "rate_limit"), (499, "cancelled"), (500, "server"), (502, "server"), (503, "server"), (504, "server"),
        (529, "overloaded"),
    ],
)  # fmt: skip
def test_a_status_says_the_kind_whatever_the_class(status, kind):
    assert classify(error("SomethingElse", status=status)).kind == kind
    only_on_response = error(status=status)
    del only_on_response.status_code
    assert classify(only_on_response).kind == kind


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ({"type": "overloaded_error"}, "overloaded"),
        ({"type": "api_error"}, "server"),
        ({"code": "server_error"}, "server"),
        ({"type": "rate_limit_error"}, "rate_limit"),
        ({"type": "authentication_error"}, "auth"),
        ({"type": "timeout_error"}, "timeout"),
        ({"type": "unheard_of"}, "other"),
    ],
)
def test_inside_a_stream_the_status_is_200_and_the_code_decides(words, kind):
    assert classify(error(status=200, **words)).kind == kind


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ({"code": "insufficient_quota"}, "spend_limit"),
        ({"error_code": "enforced_spend_limit_reached"}, "spend_limit"),
        ({"type": "rate_limit_error"}, "rate_limit"),
    ],
)
def test_a_429_is_a_rate_or_a_spending_cap(words, kind):
    assert classify(error(status=429, **words), FAILURES).kind == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [("APITimeoutError", "timeout"), ("APIConnectionError", "connection"), ("ReadTimeout", "timeout"),
     ("ConnectError", "connection"), ("RemoteProtocolError", "stream_broken"), ("JSONDecodeError", "server")],
)  # fmt: skip
def test_a_dialect_contributes_rows_by_class_name(name, kind):
    assert classify(error(name), FAILURES).kind == kind
    assert classify(error(name)).kind == "other"


@pytest.mark.parametrize("name", ["JSONDecodeError", "APIResponseValidationError"])
def test_an_answer_that_cannot_be_read_is_not_asked_for_again_unless_the_hook_says_so(name):
    """No SDK does; another target may still be asked."""
    failure = classify(error(name), FAILURES)
    assert (failure.kind, failure.should_retry, failure.rule.fall_back) == ("server", False, "any")
    assert classify(error(name), FAILURES, lambda _: "server").should_retry is None


def test_the_cause_is_read_where_the_error_itself_says_nothing():
    outer = error("Wrapped")
    outer.__cause__ = ConnectionResetError()
    assert classify(outer).kind == "connection"
    looped = error("Loop")
    looped.__cause__ = looped
    assert classify(looped).kind == "other"


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (ConnectionRefusedError(), "connection"), (TimeoutError(), "timeout"), (KeyError("k"), "caller"),
        (TypeError(), "caller"), (ValueError(), "caller"), (AssertionError(), "caller"), (RuntimeError(), "other"),
        (KeyboardInterrupt(), "cancelled"), (GeneratorExit(), "cancelled"), (SystemExit(), "cancelled"),
        (concurrent.futures.CancelledError(), "cancelled"), (CircuitOpenError("open"), "circuit_open"),
        (DeadlineExceeded("late"), "timeout"), (NoModelAvailable("none"), "other"),
    ],
)  # fmt: skip
def test_plain_exceptions(raised, kind):
    assert classify(raised).kind == kind


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "3"}, 3.0), ({"retry-after-ms": "250", "retry-after": "3"}, 0.25), ({}, None),
        ({"retry-after": "1e9"}, 3600.0), ({"retry-after": "-1"}, None), ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None), ({"retry-after": formatdate(1_800_000_060, usegmt=True)}, 60.0),
    ],
)  # fmt: skip
def test_retry_after_in_seconds_milliseconds_or_as_a_date(headers, wait_s):
    assert classify(error(status=429, headers=headers), at_s=1_800_000_000.0).retry_after_s == wait_s


@pytest.mark.parametrize(
    ("status", "header", "said"), [(500, "true", True), (500, "False", False), (500, "", None), (409, "", True)]
)
def test_should_retry(status, header, said):
    assert classify(error(status=status, headers={"x-should-retry": header})).should_retry is said


def test_headers_that_cannot_be_read_say_nothing():
    assert classify(error(status=500, headers=object())).retry_after_s is None


def test_the_users_hook_comes_first_and_none_leaves_it_to_the_table():
    raised = error(status=500)
    assert classify(raised, hook=lambda _: "auth").kind == "auth"
    assert classify(raised, hook=lambda _: FailureKind.TIMEOUT).kind == "timeout"
    assert classify(raised, hook=lambda _: None).kind == "server"
    assert classify(raised, hook=lambda _: "no such word").kind == "other"


def test_every_kind_has_a_rule_and_only_limits_cool():
    assert set(RULES) == set(FailureKind)
    assert {kind for kind, rule in RULES.items() if rule.cool_s} == {"rate_limit", "spend_limit"}
    assert {kind for kind, rule in RULES.items() if rule.settles == "failure" and rule.touches == "provider"} == {
        "connection", "auth", "payment"
    }  # fmt: skip
    assert all(rule.fall_back == "no" for kind, rule in RULES.items() if kind in ("caller", "cancelled", "other"))


@pytest.mark.parametrize(
    ("status", "headers", "cools_s"),
    [(429, {}, 1.0), (429, {"retry-after": "7"}, 7.0), (500, {"retry-after": "7"}, None)],
)
def test_a_cooldown_is_the_providers_word_else_the_tables(status, headers, cools_s):
    assert classify(error(status=status, headers=headers)).cools_s == cools_s
