"""The walls of tests/conftest.py stand: a wall that lets everything through would never be noticed."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from pathlib import Path

import pytest
from house.source import ROOT
from hypothesis import given
from hypothesis import strategies as st

pytest_plugins = ["pytester"]


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("10.0.0.1", 80), ("2001:db8::1", 80)])
def test_no_socket_leaves_this_machine(address):
    """Neither by connecting nor by sending a datagram; the failure is no Exception, so that no retry swallows it."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    for kind, send in (
        (socket.SOCK_STREAM, "connect"),
        (socket.SOCK_STREAM, "connect_ex"),
        (socket.SOCK_DGRAM, "sendto"),
    ):
        with socket.socket(family, kind) as sock, pytest.raises(pytest.fail.Exception) as caught:
            getattr(sock, send)(*([b""] if send == "sendto" else []), address)
        assert not isinstance(caught.value, Exception)


def test_no_name_is_asked_for():
    """A name that is not this machine's is refused before any resolver hears of it; `.invalid` never resolves."""
    with pytest.raises(pytest.fail.Exception):
        socket.create_connection(("api.example.com", 443))
    with pytest.raises(socket.gaierror):
        socket.create_connection(("collector.invalid", 4318))


def test_loopback_is_open():
    """Servers of ours are reached as ever, from sync and async code."""

    async def both() -> bytes:
        async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello")
            writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            text = await reader.read()
            writer.close()
            return text

    assert asyncio.run(both()) == b"hello"


@given(st.integers())
def test_every_test_has_a_home_of_its_own(_number):
    """Properties too: nothing is written where a person lives, and no key is there to be used."""
    assert Path.home() == Path(os.environ["HOME"])
    assert os.environ["ATTUNE_HOME"] == str(Path.home() / ".attune")
    assert ROOT not in Path.home().parents
    foreign = [name for name in os.environ if name.startswith(("OTEL_", "ANTHROPIC_", "OPENAI_"))]
    assert foreign == []


@pytest.mark.parametrize("turn", [1, 2])
def test_the_dice_fall_as_they_did_last_time(turn, _dice=[]):  # noqa: B006 - shared between the two turns on purpose
    _dice.append(random.random())
    assert len(set(_dice)) == 1


def test_a_missing_program_is_skipped_or_fails(pytester, monkeypatch):
    """Skipped where nobody promised it, failed where ATTUNE_REQUIRE did."""
    pytester.makeconftest((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8"))
    pytester.makepyfile("import pytest\n@pytest.mark.needs('no-such-program')\ndef test_it(): ...")
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(skipped=1)
    monkeypatch.setenv("ATTUNE_REQUIRE", "redis-server, no-such-program")
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(errors=1)


def test_the_walls_fit_on_three_screens():
    assert len((ROOT / "tests" / "conftest.py").read_text(encoding="utf-8").splitlines()) <= 150
