"""The host store: rows that survive, rows of others, cursors with their rows, and every way in which a file can be bad."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time

import pytest

from attune.errors import StateError
from attune.models.performance import Row, Series, Tally
from attune.state.host import VERSION, HostStore

NOW = 1_790_000_000.0
BUCKET = int(NOW) // 300 * 300


def row(*, writer="a", seq=1, answers=1, model="m", bucket_s=BUCKET, **counts):
    tally = Tally(answers=answers, latency_us=5, timed=1, buckets=((-3, 1), (7, 2)), **counts)
    return Row(series=Series("w", "s", "anthropic", model), bucket_s=bucket_s, writer=writer, seq=seq, tally=tally)


@pytest.fixture
def faults():
    return []


@pytest.fixture
def opened(tmp_path, faults):
    """Open stores on one file, as several processes would; closed afterwards."""
    stores = []

    def store(**settings):
        settings = {"now": lambda: NOW, "on_fault": lambda where, error: faults.append(where), **settings}
        stores.append(HostStore(tmp_path / "home", **settings))
        return stores[-1]

    yield store
    for one in stores:
        one.close()


def test_rows_come_back_as_they_were(opened):
    """To another process, bit for bit; not to the one that saved them."""
    mine, theirs = opened(), opened()
    mine.save([row(), row(model="n", quality_micro=-3)])
    assert sorted(theirs.poll().rows, key=lambda r: r.series) == [row(), row(model="n", quality_micro=-3)]
    assert mine.poll().rows == []


def test_only_what_changed_comes_again(opened):
    mine, theirs = opened(), opened()
    mine.save([row(), row(model="n")])
    first = theirs.poll()
    assert theirs.poll(first.cursor).rows == []
    mine.save([row(seq=2, answers=2)])
    second = theirs.poll(first.cursor)
    assert second.rows == [row(seq=2, answers=2)] and second.watermark_ns == BUCKET * 10**9


def test_replay_and_older_rows_change_nothing(opened):
    mine, theirs = opened(), opened()
    mine.save([row(seq=5, answers=5)])
    cursor = theirs.poll().cursor
    mine.save([row(seq=5, answers=5), row(seq=4, answers=9)])
    assert theirs.poll(cursor).rows == [] and theirs.poll().rows == [row(seq=5, answers=5)]


def test_a_cursor_of_another_file_begins_anew(opened):
    mine, theirs = opened(), opened()
    mine.save([row()])
    for cursor in (b"other:999", b"", b"\xff", b"nonsense"):
        assert len(theirs.poll(cursor).rows) == 1


def test_a_fold_keeps_cursor_and_rows_together(opened):
    first = opened()
    assert first.cursor("file:x") is None and list(first.load("file:x")) == []
    first.commit("file:x", b"1", [row(writer="them")])
    second = opened()
    assert (second.cursor("file:x"), second.load("file:x")) == (b"1", [row(writer="them")])
    assert second.poll().rows == [row(writer="them")]  # for those whose own reader of it stands aside


def test_a_cursor_that_another_process_moved_is_refused(opened):
    """Neither the cursor nor the rows of the one that came late are kept."""
    first, second = opened(), opened()
    for store in (first, second):
        store.cursor("r")
    first.commit("r", b"1", [row(writer="them")])
    with pytest.raises(StateError, match="moved"):
        second.commit("r", b"2", [row(writer="them", seq=9, answers=9)])
    assert (second.cursor("r"), second.load("r")) == (b"1", [row(writer="them")])
    second.commit("r", b"2", [])


def test_old_rows_go(opened):
    now = [NOW]
    store, other = opened(now=lambda: now[0]), opened()
    store.save([row(bucket_s=BUCKET - 9 * 86_400), row()])
    assert other.poll().rows == [row()]
    now[0] += 9 * 86_400
    store.save([row(bucket_s=BUCKET + 9 * 86_400, seq=2)])
    assert [r.bucket_s for r in other.poll().rows] == [BUCKET + 9 * 86_400]


def test_the_file_is_private(opened):
    store = opened()
    store.save([row()])
    names = {path.name: stat.S_IMODE(path.stat().st_mode) for path in store.path.parent.iterdir()}
    assert set(names.values()) == {0o600} and stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("content", [b"this is no database, and it is long enough to have a header of a hundred bytes" * 3,
                                     b"SQLite format 3\0" + b"\xff" * 4080])  # fmt: skip
def test_a_broken_file_is_put_aside(opened, faults, tmp_path, content):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "state.db").write_bytes(content)
    store = opened()
    store.save([row()])
    assert store.durable and faults == ["state.broken"] and opened().poll().rows == [row()]
    (aside,) = (tmp_path / "home").glob("state.db.broken-*")
    assert aside.read_bytes() == content


def test_a_file_that_breaks_under_way_is_put_aside(opened, faults):
    store = opened()
    store.save([row(model=f"m{number}") for number in range(500)])
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = store.path.stat().st_size
    with store.path.open("r+b") as file:
        file.write(os.urandom(size))
    store._db.execute("PRAGMA shrink_memory")
    with pytest.raises(StateError, match="put aside"):
        for number in range(50):
            store.save([row(seq=2, model=f"m{number}")])
            opened_again = HostStore(store.path.parent, now=lambda: NOW)
            opened_again.close()
            store.poll()
    store.save([row(seq=3)])
    assert store.durable and store.poll().cursor is not None


def test_a_newer_file_is_left_alone(opened, faults, caplog):
    """One line, and memory alone; the newer attune finds its file as it was."""
    first = opened()
    first.save([row()])
    first._db.execute(f"PRAGMA user_version = {VERSION + 1}")
    with caplog.at_level(logging.WARNING):
        store = opened()
        store.save([row(seq=2)])
        store.commit("r", b"1", [])
    assert not store.durable and len(caplog.records) == 1 and "newer" in caplog.text
    assert store.poll().rows == () and store.cursor("r") is None and list(store.load("r")) == []
    assert first._db.execute("SELECT count(*), max(seq) FROM windows").fetchone() == (1, 1)


def test_a_home_that_cannot_be_written_means_memory(tmp_path, caplog):
    (tmp_path / "home").write_text("a file in the way")
    store = HostStore(tmp_path / "home")
    store.save([row()])
    assert not store.durable and store.poll().rows == () and len(caplog.records) == 1


def test_a_file_that_is_deleted_under_way_is_begun_anew(opened):
    store = opened()
    store.save([row()])
    for path in store.path.parent.iterdir():
        path.unlink()
    store.save([row(seq=2)])
    assert opened().poll().rows == [row(seq=2)]


def test_a_file_that_is_held_by_another_raises_and_recovers(opened, monkeypatch):
    """Nothing is taken as saved that was not."""
    monkeypatch.setattr("attune.state.host._BUSY_S", 0.01)
    store = opened()
    holder = sqlite3.connect(store.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        store.save([row()])
    holder.execute("ROLLBACK")
    holder.close()
    store.save([row()])
    assert store.durable and opened().poll().rows == [row()]


def test_a_row_that_no_attune_wrote_is_left_out(opened):
    mine, theirs = opened(), opened()
    mine.save([row(), row(model="n")])
    mine._db.execute("UPDATE windows SET tally = 'x' WHERE series = 1")
    assert len(theirs.poll().rows) == 1


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_opens_a_connection_of_its_own(opened):
    store = opened()
    store.save([row()])
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            inherited = store._db
            store.save([row(writer="child")])
            code = 0 if store._db is not inherited else 2
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert [r.writer for r in store.poll().rows] == ["child"]


WRITER = """
import sys
from attune.models.performance import Row, Series, Tally
from attune.state.host import HostStore
store = HostStore(sys.argv[1])
k = int(sys.argv[2])
while True:
    k += 1
    store.save([Row(series=Series("w", "s", "p", m), bucket_s=1_790_000_100, writer="w", seq=k, tally=Tally(answers=k)) for m in "ab"])
    sys.stdout.write(f"{k}\\n")
    sys.stdout.flush()
"""


def test_nothing_acknowledged_is_lost_to_kill_9(tmp_path):
    """Both rows of a save are there or neither; the file stays whole."""
    acknowledged = 0
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(acknowledged)], stdout=subprocess.PIPE, text=True
        )
        for _, said in zip(range(40), writer.stdout, strict=False):
            acknowledged = int(said)
        writer.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *(int(said) for said in writer.stdout if said.endswith("\n"))])
        writer.stdout.close()
        writer.wait()
        store = HostStore(tmp_path)
        rows = store.poll().rows
        assert len({r.tally.answers for r in rows}) == 1 and len(rows) == 2
        assert rows[0].tally.answers >= acknowledged
        assert store._db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        store.close()
        time.sleep(0)
