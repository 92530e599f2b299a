"""Scripts, outages and totals; and that a closed provider leaves nothing behind."""

from __future__ import annotations

import gc
import socket
import threading
import time
from pathlib import Path

import anthropic
import pytest

from attune.errors import ConfigError, StateError
from attune.testing import Behaviour, ScriptedProvider, Step, fail, hang, is_good, ok, refuse, stream_error


def status(call, **given):
    """The HTTP status that a call meets."""
    try:
        call(**given)
    except anthropic.APIStatusError as error:
        return error.status_code
    return 200


def test_a_script_is_followed_in_order_and_then_the_behaviour(call, provider):
    provider.script("small", fail(500), ok("hi"))
    provider.script("small", fail(529))
    assert [status(call) for _ in range(4)] == [500, 200, 529, 200]
    assert [request.act for request in provider.requests] == ["fail", "answer", "fail", "answer"]


def test_a_script_for_any_model_comes_after_the_models_own(call, provider):
    provider.script(None, fail(500), fail(503))
    provider.script("small", fail(529))
    assert [status(call), status(call, model="large"), status(call)] == [529, 500, 503]


def test_an_answers_quality_can_be_scripted(call, provider):
    provider.script("small", ok(good=False), ok(good=True), ok("neither"))
    assert [is_good(call()) for _ in range(3)] == [False, True, None]
    assert provider.served["small"] == {
        "requests": 3,
        "answers": 3,
        "good": 1,
        "bad": 1,
        "input_tokens": 6,
        "output_tokens": 18,
    }


def test_an_outage_lasts_until_recovery(call, provider):
    provider.outage("small")
    assert [status(call), status(call, model="large")] == [529, 200]
    provider.outage("small", status="server")
    assert status(call) == 500
    provider.recover("small")
    assert status(call) == 200


def test_an_outage_of_every_model_yields_to_a_models_own(call, provider):
    provider.outage(status=refuse())
    provider.outage("small", status=503)
    assert status(call) == 503
    with pytest.raises(anthropic.APIConnectionError):
        call(model="large")
    provider.recover()
    assert [status(call), status(call, model="large")] == [200, 200]


def test_some_answers_come_through_a_partial_outage(call, provider):
    provider.outage("small", success=0.5)
    assert {status(call) for _ in range(20)} == {200, 529}


def test_scripts_go_before_outages(call, provider):
    provider.outage("small")
    provider.script("small", ok())
    assert [status(call), status(call)] == [200, 529]


def test_a_behaviour_may_fail_in_its_own_way(call, provider):
    provider.set("small", Behaviour(success=0.0, failure=fail("rate_limit", retry_after_s=3)))
    assert status(call) == 429


def test_a_request_is_kept_as_it_arrived(call, provider):
    call("about [topic:review]", system="be brief", stream=True).close()
    (received,) = provider.requests
    assert (received.model, received.ordinal, received.stream, received.path) == ("small", 1, True, "/v1/messages")
    assert (received.topic, received.status, received.act, received.good) == ("review", 200, "answer", True)
    assert received.body["system"] == "be brief"
    assert received.headers["anthropic-version"]
    assert "be brief" not in repr(received)


WRONG = {
    "a name": lambda provider: fail("no such failure"),
    "no error": lambda provider: fail(200),
    "an event": lambda provider: stream_error("no such failure"),
    "not a number": lambda provider: hang(float("nan")),
    "an act": lambda provider: Step(act="dance"),
    "a chance": lambda provider: provider.outage("small", success=2),
    "a status": lambda provider: provider.outage("small", status=99),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_cannot_be_played_is_refused(provider, what):
    with pytest.raises(ConfigError):
        WRONG[what](provider)


DESCRIPTORS = Path("/proc/self/fd")


def descriptors():
    gc.collect()
    return len(list(DESCRIPTORS.iterdir()))


@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="open descriptors are counted in /proc")
def test_a_closed_provider_leaves_no_thread_and_no_socket():
    """Not even with a client in the middle of a hanging answer."""
    threads, before = threading.active_count(), descriptors()
    for _ in range(3):
        provider = ScriptedProvider()
        provider.script("small", hang())
        with anthropic.Anthropic(base_url=provider.url, api_key="any", max_retries=0) as client:
            caught = []

            def ask(client=client, caught=caught):
                try:
                    client.messages.create(model="small", max_tokens=9, messages=[{"role": "user", "content": "x"}])
                except anthropic.APIConnectionError as error:
                    caught.append(error)

            asking = threading.Thread(target=ask)
            asking.start()
            while not provider.requests:
                pass
            provider.close()
            asking.join()
        assert len(caught) == 1
        provider.close()
    assert (threading.active_count(), descriptors()) == (threads, before)


def test_a_connection_that_arrives_as_the_server_stops_is_not_left_behind(provider):
    """Twenty of them, each connected at the very moment; a socket left open would warn, and warnings are errors."""
    address = ("127.0.0.1", int(provider.url.rpartition(":")[2]))
    for _ in range(20):
        with socket.create_connection(address, timeout=5) as line:
            provider.stop_listening()
            assert provider.connections == 0
            with pytest.raises(ConnectionResetError):
                line.recv(1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=5)
        provider.listen()


def test_a_closed_provider_says_so(provider):
    provider.close()
    for verb in (provider.listen, provider.stop_listening):
        with pytest.raises(StateError, match="closed"):
            verb()


def test_a_plain_request_costs_the_process_less_than_a_1500th_of_a_second(provider):
    """CPU time of client and server together, so that other work on the machine does not matter."""
    body = b'{"model":"small","max_tokens":9,"messages":[{"role":"user","content":"%b"}]}' % (b"x" * 400)
    raw = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    with socket.create_connection(("127.0.0.1", int(provider.url.rpartition(":")[2])), timeout=5) as line:
        began = time.process_time()
        for _ in range(400):
            line.sendall(raw)
            line.recv(65536)
        spent = time.process_time() - began
    assert provider.served["small"]["requests"] == 400
    assert spent / 400 < 1 / 1500
