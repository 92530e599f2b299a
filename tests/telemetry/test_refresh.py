"""The background thread: what it brings in, what it saves, and that other people's trouble stays theirs."""

from __future__ import annotations

import logging
import os
import threading
import time

import pytest
from telemetry.kit import NOW, SERIES, seen

from attune.models.performance import Batch, Row, Tally
from attune.models.windows import Windows
from attune.state.host import HostStore
from attune.telemetry.refresh import Refresher


class Clock:
    def time(self):
        return NOW


class Source:
    """A reader that says what it is told to, or fails."""

    scope = "host"

    def __init__(self, *batches, name="source"):
        self.name, self.batches, self.asked, self.closed, self.error = name, list(batches), [], 0, None

    def poll(self, since, deadline_s):
        self.asked.append(since)
        if self.error is not None:
            raise self.error
        return self.batches.pop(0) if self.batches else Batch(cursor=since)

    def close(self):
        self.closed += 1


def row(writer="them", seq=1, answers=3):
    return Row(series=SERIES, bucket_s=int(NOW) // 300 * 300, writer=writer, seq=seq, tally=Tally(answers=answers))


@pytest.fixture
def begin():
    made = []

    def refresher(windows, readers=(), store=None, **settings):
        made.append(Refresher(windows, readers, store, clock=Clock(), **settings))
        return made[-1]

    yield refresher
    for one in made:
        one.close(2.0)


def known(windows):
    found = windows.detail("review", "analysis", 0.0)
    return sum(tally.answers for tally in found.totals.values())


def test_rows_are_absorbed_and_the_cursor_moves_on(begin):
    windows, source = Windows(writer="me"), Source(Batch(rows=[row()], cursor=b"1", watermark_ns=int((NOW - 2) * 1e9)))
    ages = []
    refresher = begin(windows, [source], on_age=lambda name, age: ages.append((name, round(age))))
    assert refresher.poll_once() and refresher.poll_once()
    assert known(windows) == 3 and source.asked == [None, b"1"] and ages == [("source", 2)]


def test_two_processes_meet_in_the_host_store(begin, tmp_path):
    """What one recorded the other knows after one round each; nobody hears himself."""
    mine, theirs = Windows(writer="me"), Windows(writer="them")
    first, second = (begin(windows, store=lambda: HostStore(tmp_path, now=lambda: NOW)) for windows in (mine, theirs))
    mine.record(seen())
    assert first.poll_once() and second.poll_once() and known(theirs) == 1
    mine.record(seen())
    theirs.record(seen())
    for refresher in (first, second, first):
        refresher.poll_once()
    assert known(mine) == known(theirs) == 3


def test_own_rows_are_saved_again_where_saving_failed(begin):
    saved, fail = [], [True]

    class Store(Source):
        def save(self, rows):
            if fail:
                raise OSError("full")
            saved.extend(rows)

    windows, faults = Windows(writer="me"), []
    refresher = begin(windows, store=lambda: Store(name="host"), on_fault=lambda where, error: faults.append(where))
    windows.record(seen())
    assert not refresher.poll_once() and faults == ["refresh.save"]
    fail.clear()
    assert refresher.poll_once() and len(saved) == 1
    refresher.poll_once()
    assert len(saved) == 1


def test_a_failing_reader_is_left_alone_for_a_while(begin, caplog):
    """It is told once; the other readers go on; `flush` asks it all the same; it is told when it is well again."""
    windows, broken, well, faults = Windows(writer="me"), Source(name="broken"), Source(), []
    broken.error = ConnectionError("a secret address")
    refresher = begin(windows, [broken, well], on_fault=lambda where, error: faults.append(where), refresh_s=60)
    with caplog.at_level(logging.INFO, logger="attune.telemetry"):
        for _ in range(3):
            refresher.poll_once()
        assert len(broken.asked) == 1 and len(well.asked) == 3 and faults == ["reader:broken"]
        assert not refresher.flush(1.0) and len(broken.asked) == 2
        broken.error = None
        assert refresher.flush(1.0)
    assert [record.getMessage() for record in caplog.records] == [
        "reader broken: ConnectionError",
        "reader broken is well again",
    ]


def test_a_store_that_cannot_be_opened_leaves_memory(begin):
    def fail():
        raise OSError("no")

    faults, source = [], Source()
    refresher = begin(Windows(writer="me"), [source], fail, on_fault=lambda where, error: faults.append(where))
    refresher.poll_once()
    refresher.poll_once()
    assert faults == ["refresh.store"] and len(source.asked) == 2


def test_there_is_no_thread_without_work(begin):
    before = threading.active_count()
    refresher = begin(Windows(writer="me"))
    refresher.start()
    assert refresher.ready(0.0) and refresher.flush(0.0) and threading.active_count() == before


def test_the_thread_polls_saves_and_stops(begin):
    """Started lazily, ready after its first round, gone after close; readers and store are closed once."""
    saved, rounds = [], []

    class Store(Source):
        def save(self, rows):
            saved.extend(rows)

    store, source, windows = Store(name="host"), Source(Batch(rows=[row()], cursor=b"1")), Windows(writer="me")
    refresher = begin(windows, [source], lambda: store, refresh_s=0.01, on_round=lambda: rounds.append(1))
    assert source.asked == []
    assert refresher.ready(5.0) and known(windows) == 3
    windows.record(seen())
    refresher.close(5.0)
    assert len(saved) == 1 and rounds and (store.closed, source.closed) == (1, 1)
    assert not [thread for thread in threading.enumerate() if thread.name == "attune-refresh"]
    refresher.close(5.0)
    assert store.closed == 1


def test_close_does_not_wait_for_a_reader_that_hangs(begin):
    hold, source = threading.Event(), Source()
    source.poll = lambda since, deadline_s: hold.wait(10)
    refresher = begin(Windows(writer="me"), [source])
    refresher.start()
    began = time.monotonic()
    assert not refresher.ready(0.01)
    refresher.close(0.05)
    assert time.monotonic() - began < 2
    hold.set()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_starts_a_thread_of_its_own(begin):
    source = Source()
    refresher = begin(Windows(writer="me"), [source])
    assert refresher.ready(5.0)
    pid = os.fork()
    if pid == 0:
        refresher.start()
        alive = refresher._ready.wait(5.0) and refresher._thread.is_alive()
        os._exit(0 if alive else 1)
    assert os.waitpid(pid, 0)[1] == 0
