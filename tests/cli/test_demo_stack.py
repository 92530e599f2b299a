"""`attune demo --stack` without the stack: what it refuses, where it looks, what it starts and stops, what it shows."""

from __future__ import annotations

import io
import os
import pty
import stat
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from attune.cli.demo import beside, launch, looks, programs, stack
from attune.cli.main import app
from attune.errors import ConfigError, StateError

ROOT = Path(__file__).parents[2]
SERVES = "import http.server as s; s.test(s.SimpleHTTPRequestHandler, port={port}, bind='127.0.0.1')"


@pytest.fixture
def environ(tmp_path):
    """A machine with nothing on it."""
    return {"HOME": str(tmp_path), "PATH": str(tmp_path / "bin")}


def program(path: Path) -> Path:
    """Something that can be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--stack", "--live"], "leave out --live"),
        (["--keep"], "--keep goes with --stack"),
        (["--collector", "."], "--collector goes with --stack"),
    ],
)
def test_words_that_do_not_go_together_are_refused(words, said):
    told = CliRunner().invoke(app, ["demo", *words], catch_exceptions=False)
    assert (told.exit_code, told.stdout) == (2, "")
    assert said in told.stderr


def test_a_machine_without_the_programs_is_told_what_to_do(environ, monkeypatch):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    told = CliRunner().invoke(app, ["demo", "--stack"], catch_exceptions=False)
    assert told.exit_code == 2
    for word in (*programs.NAMES, "`make stack`", "OTELCOL_BIN", str(Path(environ["HOME"]) / ".cache/attune-stack")):
        assert word in told.stderr


def test_a_folder_without_configurations_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "find_all", lambda _: {})
    told = CliRunner().invoke(app, ["demo", "--stack", "--collector", str(tmp_path)], catch_exceptions=False)
    assert told.exit_code == 2
    assert "there is no agent.yaml" in told.stderr


def test_a_program_is_where_a_variable_says_then_in_the_stack_then_on_the_path(environ, tmp_path):
    assert programs.find("prometheus", environ) is None
    on_path = program(tmp_path / "bin" / "prometheus")
    assert programs.find("prometheus", environ) == on_path
    made = program(tmp_path / ".cache" / "attune-stack" / "prometheus-3-abc" / "bin" / "prometheus")
    program(tmp_path / ".cache" / "attune-stack" / "prometheus-oldest-2-abc" / "bin" / "prometheus-oldest")
    assert programs.find("prometheus", environ) == made
    said = program(tmp_path / "mine" / "prom")
    assert programs.find("prometheus", {**environ, "PROMETHEUS_BIN": str(said)}) == said
    assert programs.find("prometheus", {**environ, "PROMETHEUS_BIN": "/nowhere"}) is None


def test_the_newest_of_several_builds_is_taken(environ, tmp_path):
    home = tmp_path / "there"
    old, new = (program(home / f"jaeger-{key}" / "bin" / "jaeger") for key in ("b", "a"))
    os.utime(old, (1, 1))
    assert programs.find("jaeger", {**environ, "ATTUNE_STACK_HOME": str(home)}) == new


def test_configurations_are_the_checkouts(tmp_path, monkeypatch):
    assert programs.configurations(None) == ROOT / "collector"
    monkeypatch.setattr(programs, "__file__", str(tmp_path / "a/b/c/d/e.py"))
    monkeypatch.chdir(ROOT / "docs")
    assert programs.configurations(None) == ROOT / "collector"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="--collector DIR"):
        programs.configurations(None)


def test_ports_are_different_ones():
    ports = launch.free_ports("abcdefgh")
    assert len(set(ports.values())) == 8


def test_a_program_runs_until_the_block_ends(tmp_path):
    port = launch.free_ports(["http"])["http"]
    url = f"http://127.0.0.1:{port}"
    with launch.Programs(tmp_path) as started:
        command = [sys.executable, "-c", SERVES.format(port=port)]
        running = started.start("server", command, url=url, ready=f"{url}/", environ={})
        assert urllib.request.urlopen(url, timeout=5).status == 200
        assert running.process.poll() is None
        assert running.ready_s > 0
        assert started.started == [running]
    assert running.process.poll() is not None


@pytest.mark.parametrize(
    ("words", "kind"), [("an Error of yours", StateError), ("listen: address already in use", launch.PortTaken)]
)
def test_a_program_that_does_not_start_has_the_last_word(tmp_path, words, kind):
    with launch.Programs(tmp_path) as started, pytest.raises(kind, match=words) as raised:
        command = [sys.executable, "-c", f"print('well', {words!r}, 'bye', sep='\\n')"]
        started.start("server", command, url="", ready="http://127.0.0.1:9/", environ={})
    assert type(raised.value) is kind


def test_a_taken_port_is_tried_again_with_others(monkeypatch):
    tries = []

    def start(*_):
        tries.append(1)
        if len(tries) < 3:
            raise launch.PortTaken("taken")
        return "the stack"

    monkeypatch.setattr(stack, "_start", start)
    with stack.running({}, Path(), {}) as there:
        assert there == "the stack"
    tries[:] = []
    monkeypatch.setattr(stack, "_TRIES", 2)
    with pytest.raises(launch.PortTaken), stack.running({}, Path(), {}):
        pass
    assert len(tries) == 2


def test_prometheus_is_told_the_addresses_of_this_run(tmp_path):
    """Every address of the shipped file is replaced; a file in which one is not found is refused, not half replaced."""
    at = {name: f"127.0.0.1:{number}" for number, name in enumerate(stack._PORTS, 20001)}
    text = stack._prometheus(ROOT / "collector", at)
    assert {at["alertmanager"], at["agent.metrics"], at["gateway.metrics"], at["prometheus"]} <= set(
        text.replace("[", " ").replace("]", " ").split()
    )
    assert f"{ROOT / 'collector' / 'rules'}/*.yaml" in text
    (tmp_path / "prometheus.yml").write_text(text)
    with pytest.raises(StateError, match=r"prometheus\.yml has no"):
        stack._prometheus(tmp_path, at)


def test_what_people_see():
    out = io.StringIO()
    told = {
        "programs": [{"name": "agent", "url": "http://127.0.0.1:1", "ready_s": 0.25}],
        "complete": False,
        "looks": [{"words": "alerts", "query": "ALERTS", "url": "http://q", "found": []}],
        "second_process": {"best_models": {}, "agrees": False},
    }
    beside.write(Console(file=out, width=60), told)
    for piece in (
        "http://127.0.0.1:1",
        "OTHER best models",
        "Not every call",
        "- alerts:  ALERTS",
        "http://q",
        "nothing",
    ):
        assert piece in out.getvalue()


def test_a_sample_is_one_line():
    sample = {"metric": {"__name__": "ALERTS", "b": "2", "a": "1"}, "value": [0, "0.10000000001"]}
    assert looks._line(sample) == "a=1 b=2  0.1"
    assert looks._line({"metric": {}, "value": [0, "12"]}) == "12"


def test_a_store_that_is_gone_is_told():
    port = launch.free_ports(["http"])["http"]
    with pytest.raises(StateError, match="does not answer"):
        looks._fetch(f"http://127.0.0.1:{port}/api")


def test_it_is_kept_until_enter(monkeypatch):
    above, below = pty.openpty()
    with os.fdopen(below) as keys:
        monkeypatch.setattr(sys, "stdin", keys)
        waiting = threading.Thread(target=beside.keep, args=(Console(file=io.StringIO()),), daemon=True)
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
        os.write(above, b"\n")
        waiting.join(5)
        assert not waiting.is_alive()
    os.close(above)
