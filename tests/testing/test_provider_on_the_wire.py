"""The bytes themselves, where an SDK hides them."""

from __future__ import annotations

import json
import socket
import struct

import pytest

from attune.testing import Behaviour, ScriptedProvider, cut, fail, hang, ok, refuse, truncate

HELLO = {"model": "small", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}


def request(body=HELLO, path="/v1/messages", method="POST", **headers):
    """One request as bytes."""
    raw = json.dumps(body).encode() if body is not None else b""
    lines = [f"{method} {path} HTTP/1.1", "host: x", f"content-length: {len(raw)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + raw


@pytest.fixture
def line(provider):
    with socket.create_connection(("127.0.0.1", int(provider.url.rpartition(":")[2])), timeout=5) as line:
        yield line


def read(line, until):
    """What arrives up to this ending, or up to the end."""
    data = b""
    while not data.endswith(until) and (more := line.recv(65536)):
        data += more
    return data


def ask(line, raw, until=b"}"):
    """Send, and read one response as (status line, headers, body)."""
    line.sendall(raw)
    head, _, body = read(line, until).partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    return first, dict(header.split(": ", 1) for header in rest), body


def test_a_plain_answer(line):
    first, headers, body = ask(line, request())
    assert first == "HTTP/1.1 200 OK"
    assert headers == {
        "content-type": "application/json",
        "request-id": "req_small_000001",
        "content-length": str(len(body)),
    }
    assert json.loads(body)["usage"]["output_tokens"] == 8


def test_a_stream_is_the_apis_events_in_the_apis_order(line, provider):
    provider.script("small", ok("abc"))
    _, headers, body = ask(line, request({**HELLO, "stream": True}), b"0\r\n\r\n")
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    told, left = b"", body
    while left != b"0\r\n\r\n":
        size, _, left = left.partition(b"\r\n")
        told += left[: int(size, 16)]
        left = left[int(size, 16) + 2 :]
    events = [block.split("\n") for block in told.decode().removesuffix("\n\n").split("\n\n")]
    assert all(len(event) == 2 for event in events)
    names = [name.removeprefix("event: ") for name, _ in events]
    data = [json.loads(data.removeprefix("data: ")) for _, data in events]
    assert names == [one["type"] for one in data]
    assert names == [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert data[0]["message"]["content"] == []
    assert data[0]["message"]["usage"]["output_tokens"] == 1
    assert data[1]["content_block"] == {"type": "text", "text": ""}
    assert [one["delta"]["text"] for one in data[3:6]] == ["a", "b", "c"]
    assert data[7]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}


def test_an_error_body(line, provider):
    provider.script("small", fail("overloaded", message="as scripted", retry_after_s=1.5))
    first, headers, body = ask(line, request())
    assert first == "HTTP/1.1 529 Overloaded"
    assert headers["retry-after"] == "1.5"
    assert json.loads(body) == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "as scripted"},
        "request_id": "req_small_000001",
    }


def test_a_connection_is_kept_for_the_next_request_even_one_sent_early(line, provider):
    first, second = request({**HELLO, "model": "one"}), request({**HELLO, "model": "two"})
    line.sendall(first + second[:40])
    assert b'"model":"one"' in read(line, b"}")
    line.sendall(second[40:])
    assert b'"model":"two"' in read(line, b"}")
    assert provider.connections == 1


def test_requests_sent_early_wait_for_the_answer_before_them(line, provider):
    provider.set("slow", Behaviour(latency_ms=5))
    line.sendall(request({**HELLO, "model": "slow"}) + request({**HELLO, "model": "fast"}))
    data = b""
    while data.count(b"HTTP/1.1 200") < 2 or not data.endswith(b"}"):
        data += line.recv(65536)
    assert data.index(b'"model":"slow"') < data.index(b'"model":"fast"')


def test_refused_is_a_reset(line, provider):
    provider.script("small", refuse())
    line.sendall(request())
    with pytest.raises(ConnectionResetError):
        line.recv(1)


def test_cut_before_the_headers_is_a_quiet_end(line, provider):
    provider.script("small", cut())
    line.sendall(request())
    assert line.recv(1) == b""


def test_a_cut_body_is_half_of_what_was_announced(line, provider):
    provider.script("small", cut(after=1))
    _, headers, body = ask(line, request(), b"never")
    assert len(body) == int(headers["content-length"]) - int(headers["content-length"]) // 2


def test_a_truncated_stream_is_framed_to_its_end_and_the_connection_lives(line, provider):
    provider.script("small", truncate(after=1))
    _, _, body = ask(line, request({**HELLO, "stream": True}), b"0\r\n\r\n")
    assert b"message_stop" not in body
    assert ask(line, request())[0] == "HTTP/1.1 200 OK"


def test_a_hang_is_bounded(line, provider):
    provider.script("small", hang(0.01, after=0))
    _, headers, body = ask(line, request({**HELLO, "stream": True}), b"never")
    assert headers["transfer-encoding"] == "chunked"
    assert b"content_block_delta" not in body


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /v1/messages HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\ncontent-length: many\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
)
def test_nonsense_is_answered_and_ended(line, raw):
    line.sendall(raw)
    assert read(line, b"never").startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request(path="/v1/messages/batches"), "404"),
        (request(method="GET"), "404"),
        (request([]), "400"),
        (request({**HELLO, "model": 3}), "400"),
        (request({"model": "small"}), "400"),
        (b"POST /v1/messages HTTP/1.1\r\ncontent-length: 1\r\n\r\n{", "400"),
        (request(path="/v1/messages?beta=true"), "200"),
    ],
)
def test_statuses_of_odd_requests(line, raw, status):
    assert ask(line, raw)[0].split()[1] == status


def test_no_key_is_kept(line, provider):
    """Neither of the two headers that carry one."""
    ask(line, request(x_api_key="secret-1", authorization="Bearer secret-2", x_stainless_retry_count="1", cookie="c"))
    (received,) = provider.requests
    assert received.headers == {"x-stainless-retry-count": "1"}
    assert "secret" not in repr(received)


def test_a_client_that_goes_leaves_nothing_behind(provider):
    """In the middle of a slow answer, with a reset."""
    provider.set("small", Behaviour(latency_ms=60_000))
    with socket.create_connection(("127.0.0.1", int(provider.url.rpartition(":")[2])), timeout=5) as line:
        line.sendall(request())
        while not provider.requests:
            pass
        assert provider.connections == 1
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    while provider.connections:
        pass


def test_a_port_in_use_is_said(provider):
    from attune.errors import StateError

    with pytest.raises(StateError, match="cannot be used"):
        ScriptedProvider(port=int(provider.url.rpartition(":")[2]))
