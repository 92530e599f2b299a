"""The sandbox: a world of its own, and the process as it was before."""

from __future__ import annotations

import os
import threading

import attune
import attune.testing
from attune.calls import default
from attune.testing import Sandbox


@attune.routed(workflow="review", candidates=["small", "large"], provider="other")
def review(diff: str, *, model: str = attune.AUTO) -> str:
    if model == "small":
        raise ConnectionError("nobody there")
    return f"reviewed by {model}"


def test_what_is_routed_is_seen_in_it(attune_sandbox: Sandbox):
    """Spans, metrics, circuits and faults of this test's calls; no thread, no file."""
    threads = set(threading.enumerate())
    assert review("+1 -1") == "reviewed by large"
    assert [attempt.error_type for attempt in attune.last_call().attempts] == ["connection", None]
    assert attune_sandbox.spans[-1].name == "attune.route review"
    assert sum(attune_sandbox.metrics()["attune.attempts"].values()) == 2
    assert "other:large" in attune_sandbox.circuits
    assert "attune.route review" in attune_sandbox.text()
    assert attune_sandbox.faults == {}
    assert set(threading.enumerate()) == threads
    assert not attune_sandbox.home.exists()
    assert os.environ["ATTUNE_HOME"] == str(attune_sandbox.home)


def test_configure_starts_anew_on_the_same_clock_and_telemetry(attune_sandbox: Sandbox):
    """Words of the test win over the sandbox's; evidence and circuits are gone, spans stay."""
    review("+1 -1")
    before = attune_sandbox.runtime
    runtime = attune_sandbox.configure(mode="off")
    assert runtime is attune_sandbox.runtime is default.current()
    assert runtime is not before
    assert runtime.clock is attune_sandbox.clock
    assert attune_sandbox.circuits == {}
    assert attune_sandbox.spans


def test_the_process_has_no_runtime_afterwards(tmp_path):
    """The next one is built when it is asked for."""
    sandbox = Sandbox(tmp_path)
    assert default.current() is sandbox.runtime
    sandbox.close()
    sandbox.close()
    assert default._default == []


def test_both_names_are_public():
    assert attune.testing.attune_sandbox is not None
    assert {"Sandbox", "attune_sandbox"} <= set(dir(attune.testing))


def test_nobody_has_called_yet_in_a_new_one(attune_sandbox: Sandbox, tmp_path):
    """What an earlier test called last is not seen."""
    review("+1 -1")
    assert attune.last_call() is not None
    attune_sandbox.close()
    again = Sandbox(tmp_path / "again")
    assert attune.last_call() is None
    again.close()
