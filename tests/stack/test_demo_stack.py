"""`attune demo --stack` for real: the run arrives in every store, and nothing is left running, whatever ends it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stack import programs
from stack.collectors import soon

from attune.cli.demo.programs import NAMES, variable

pytestmark = pytest.mark.needs(*NAMES)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def demo(tmp_path, outside):
    """The command in a process of its own."""
    started = []

    def start(*words):
        known = {variable(name): str(programs.find(name, outside)) for name in NAMES}
        process = subprocess.Popen(
            [sys.executable, "-m", "attune.cli.main", "demo", "--stack", "--calls", "100", *words],
            cwd=ROOT,
            env={**os.environ, **known, "TMPDIR": str(tmp_path), "HTTP_PROXY": "http://127.0.0.1:9"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def running(folder: Path) -> list[str]:
    """Programs whose home is below a folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            about = (place / "environ").read_bytes()
            if f"HOME={folder}".encode() in about:
                found.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def test_the_run_is_in_every_store_and_nothing_is_left(demo, tmp_path):
    """What the demo measured is what the stores hold; a process that asks Prometheus names the same models."""
    process = demo("--json")
    out, said = process.communicate(timeout=90)
    assert process.returncode == 0, said
    told = json.loads(out)
    there = told["stack"]
    assert there["complete"] is True
    assert there["second_process"] == {"best_models": told["best_models"], "agrees": True}
    assert [it["name"] for it in there["programs"]] == ["jaeger", "alertmanager", "prometheus", "gateway", "agent"]
    found = {it["words"]: it["found"] for it in there["looks"]}
    opened = sum(it["to"] == "open" for it in told["circuits"])
    (of_circuits,) = (lines for words, lines in found.items() if "circuit opened" in words)
    assert sum(int(line.split()[-1]) for line in of_circuits) == opened > 0
    (of_cost,) = (lines for words, lines in found.items() if "cost" in words)
    assert sum(float(line.split()[-1]) for line in of_cost) == pytest.approx(told["with_attune"]["cost_usd"], rel=1e-4)
    assert all(lines for words, lines in found.items() if "alerts" not in words)
    assert running(tmp_path) == []
    assert not list(tmp_path.glob("attune-stack-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_stops_every_program(demo, tmp_path, number):
    process = demo()
    assert soon(lambda: len(running(tmp_path)) == 5, 40)
    time.sleep(0.5)
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    # Python dies by the signal itself where that met the making of a class, caught or not; a shell says 130 of both
    assert process.returncode in (130, -signal.SIGINT), said
    assert said.endswith("stopped.\n")
    assert running(tmp_path) == []


def test_kept_until_it_is_ended(demo, tmp_path):
    """With --keep the stores answer after the run, until Ctrl-C, which is an end like any other."""
    process = demo("--json", "--keep")
    told = json.loads(process.stdout.readline())
    assert len(running(tmp_path)) == 5
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == (0 if told["stack"]["second_process"]["agrees"] else 1)
    assert running(tmp_path) == []
