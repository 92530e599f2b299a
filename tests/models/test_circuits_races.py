"""Many callers at once: pre-emption at every bytecode, herds at the instant of expiry, and finalizers in the wrong moment.

Threads alone do not find two-bytecode races; stepping the bytecodes does, and costs milliseconds.
"""

from __future__ import annotations

import gc
import itertools
import sys
import threading

import pytest

from attune.models import circuit, circuit_group, circuits, permit
from attune.models.circuits import Circuits, CircuitSettings, Permit

P, M = "anthropic", "haiku"
OURS = {module.__file__ for module in (circuit, circuit_group, circuits, permit)}


def traced(act, at_opcode):
    """Run `act`, and call `at_opcode(number)` before each of its bytecodes in the circuits' files."""
    numbers = itertools.count()

    def tracer(frame, event, _):
        if frame.f_code.co_filename not in OURS:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            at_opcode(next(numbers))
        return tracer

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        act()
    finally:
        sys.settrace(before)


def unlocked_points(make):
    """The bytecodes before which no lock is held, so that another caller may come in. `make` gives circuits and an act."""
    subject, act = make()
    points = []
    traced(act, lambda number: subject._lock._is_owned() or points.append(number))
    assert points
    return points


def preempt(act, intrude, at):
    """Run `act`, and all of `intrude`, on another thread, before its bytecode number `at`."""

    def at_opcode(number):
        if number == at:
            other = threading.Thread(target=intrude)
            other.start()
            other.join(10)
            assert not other.is_alive()

    traced(act, at_opcode)


def failures(subject, times, now):
    for _ in range(times):
        it = subject.acquire(P, M, now=now)
        if isinstance(it, Permit):
            it.settle("failure", now=now)


@pytest.mark.parametrize("known", [True, False])
def test_a_trip_at_any_bytecode_of_acquire_makes_the_permit_late_or_refuses_it(known):
    """What was let in while another caller tripped the circuit must neither stretch the open time nor close it."""

    def make():
        subject, got = Circuits(CircuitSettings(failure_threshold=3)), []
        if known:
            subject.acquire(P, M, now=0)
        return subject, got, lambda: got.append(subject.acquire(P, M, now=0))

    points = unlocked_points(lambda: make()[::2])
    assert len(points) > 10
    for at in points:
        subject, got, act = make()
        preempt(act, lambda s=subject: failures(s, 3, 1.0), at)
        if isinstance(got[0], Permit):
            for outcome in ("failure", "success"):
                got[0].done = False
                got[0].settle(outcome, now=50.0)
        assert subject.retry_after_s(P, M, now=50.0) == 11.0, at
        assert subject.status(now=50.0)[f"{P}:{M}"]["failure_count"] == 3


def counts_of_two_settles():
    """For each bytecode of a settle at which another one of the same permit comes in: what was counted."""

    def make():
        subject = Circuits()
        it = subject.acquire(P, M, now=0)
        return subject, it, lambda: it.settle("failure", now=0)

    for at in unlocked_points(lambda: make()[::2]):
        subject, it, act = make()
        preempt(act, lambda it=it: it.settle("failure", now=0), at)
        yield subject.status(now=0)[f"{P}:{M}"]["failure_count"]


def test_two_settles_of_one_permit_count_once_at_any_bytecode():
    assert set(counts_of_two_settles()) == {1}


def test_the_stepping_finds_a_settle_that_checks_outside_the_lock(monkeypatch):
    """A twin whose check and count are apart: no hammering found it in seconds, stepping does at once."""
    count = Circuits.settle

    def racy(self, permit, *rest):
        permit.done = False
        count(self, permit, *rest)

    monkeypatch.setattr(Circuits, "settle", racy)
    assert set(counts_of_two_settles()) == {1, 2}


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [("success", "failure"), ("failure", "success"), ("neutral", "failure"), ("success", "neutral")],
)
def test_two_settles_of_one_probe_decide_once_at_any_bytecode(mine, theirs):
    """The circuit ends where one of the two alone would have put it, and no slot is lost."""
    alone = {"success": "closed", "failure": "open", "neutral": "half_open"}

    def make():
        subject = Circuits(CircuitSettings(failure_threshold=1))
        failures(subject, 1, 0.0)
        probe = subject.acquire(P, M, now=60)
        return subject, probe, lambda: probe.settle(mine, now=60)

    for at in unlocked_points(lambda: make()[::2]):
        subject, probe, act = make()
        told = []
        subject.add_listener(told.append)
        preempt(act, lambda p=probe: p.settle(theirs, now=60), at)
        assert subject.state(P, M, now=60) in (alone[mine], alone[theirs]), at
        assert len(told) <= 1
        if subject.state(P, M, now=60) == "half_open":
            assert isinstance(subject.acquire(P, M, now=60), Permit)


def test_a_reset_at_any_bytecode_of_a_settle_leaves_a_circuit_that_works():
    """The reset was first, or last; either way nothing of before is left."""

    def make():
        subject = Circuits(CircuitSettings(failure_threshold=1))
        it = subject.acquire(P, M, now=0)
        return subject, lambda: it.settle("failure", now=0)

    for at in unlocked_points(make):
        subject, act = make()
        preempt(act, lambda s=subject: s.reset(now=0), at)
        assert subject.state(P, M, now=0) == "closed", at
        assert subject.quiet
        assert isinstance(subject.acquire(P, M, now=0), Permit)


def test_k_probes_at_any_bytecode_of_the_first_ones_acquire():
    def make():
        subject, got = Circuits(CircuitSettings(failure_threshold=1, half_open_calls=2)), []
        failures(subject, 1, 0.0)
        return subject, got, lambda: got.append(subject.acquire(P, M, now=60))

    for at in unlocked_points(lambda: make()[::2]):
        subject, got, act = make()
        preempt(act, lambda s=subject, g=got: g.extend(s.acquire(P, M, now=60) for _ in range(5)), at)
        assert sum(isinstance(it, Permit) for it in got) == 2, at


def herd(count, act):
    """All at once: results of `count` threads that start together."""
    gate, got = threading.Barrier(count), []

    def run():
        gate.wait()
        got.append(act())

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


@pytest.mark.parametrize("k", [1, 3])
def test_a_herd_of_threads_at_the_instant_of_expiry_sends_exactly_k(k):
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(10):
            subject = Circuits(CircuitSettings(half_open_calls=k))
            failures(subject, 5, 0.0)
            got = herd(16, lambda s=subject: [s.acquire(P, M, now=60) for _ in range(63)])
            assert sum(isinstance(it, Permit) for row in got for it in row) == k
    finally:
        sys.setswitchinterval(interval)


def test_threads_that_hammer_lose_no_permit_and_tell_only_legal_transitions():
    subject = Circuits(CircuitSettings(failure_threshold=3, half_open_calls=2, recovery_timeout_s=0.5))
    told, ticks = [], iter(range(10**9))
    legal = {("closed", "open"), ("open", "half_open"), ("half_open", "open"), ("half_open", "closed")}
    live, peak, lock = [0], [0], threading.Lock()

    def body():
        for turn in range(1500):
            now = next(ticks) / 50
            it = subject.acquire(P, M, now=now)
            if not isinstance(it, Permit):
                continue
            with lock:
                live[0] += it.probe
                peak[0] = max(peak[0], live[0])
                live[0] -= it.probe
            it.settle(("success", "failure", "failure", "neutral", "failure")[turn % 5], now=now)

    subject.add_listener(lambda it: told.append((it.from_state, it.to_state)))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        herd(6, body)
    finally:
        sys.setswitchinterval(interval)
    assert set(told) <= legal
    assert len(told) > 20
    assert peak[0] <= 2
    inner = subject._groups[P].circuits[M, ""]
    assert not [probe for probe in inner.probes if probe.live]


def test_a_permit_handed_back_by_a_finalizer_inside_the_lock_does_no_harm():
    """A dropped stream may be closed by the collector at any allocation, and so in the middle of what holds the lock."""
    subject = Circuits()
    failures(subject, 5, 0.0)

    class Dropped:
        def __init__(self, it):
            self.it, self.me = it, self

        def __del__(self):
            self.it.settle(self.outcome, now=60)

    for outcome in ("neutral", "failure"):
        Dropped.outcome = outcome
        Dropped(subject.acquire(P, M, now=60))
        with subject._lock:
            gc.collect()
    assert subject.state(P, M, now=60) == "open"
