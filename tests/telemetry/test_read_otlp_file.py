"""Following files: torn tails, rotation, restarts, foreign writers, bad lines; each span counted once."""

from __future__ import annotations

import json
import random
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from telemetry.kit import NOW, SERIES, seen, studio, tell

from attune.errors import ConfigError
from attune.models.performance import merge
from attune.state.host import HostStore
from attune.telemetry import OtlpFileReader, from_text
from attune.telemetry.otlp_json import encode


def request(*observations, instance="them", quality=None):
    room = studio(instance=instance)
    for observation in observations:
        tell(room.emitter, observation, quality=quality)
    return encode_spans(room.finished())


def line(*observations, **about):
    return encode(request(*observations, **about)) + b"\n"


def reader(path, **settings):
    return OtlpFileReader(path, now=lambda: NOW + 60, **settings)


def answers(batches):
    """What all rows together say, newest of each key."""
    return sum(tally.answers for tally in merge(row for batch in batches for row in batch.rows).values())


class MemoryFold:
    """A fold whose commits can be refused, as a kill before a commit would."""

    def __init__(self):
        self.cursors, self.rows, self.refuse = {}, {}, None

    def cursor(self, reader):
        return self.cursors.get(reader)

    def load(self, reader):
        return list(self.rows.get(reader, {}).values())

    def commit(self, reader, cursor, rows):
        if self.refuse is not None:
            raise self.refuse
        self.cursors[reader] = cursor
        self.rows.setdefault(reader, {}).update({(r.series, r.bucket_s, r.writer): r for r in rows})


def test_rows_are_absolute_totals_that_grow(tmp_path):
    path = tmp_path / "traces.jsonl"
    path.write_bytes(line(seen(), seen(outcome="failure", error_type="server", cost_nano=0)))
    source = reader(path)
    (first,) = source.poll().rows
    assert (first.series, first.writer, first.tally.answers, first.tally.failures) == (SERIES, "them", 1, 1)
    assert first.bucket_s == int(NOW) // 300 * 300 and first.tally.latency_us == 1_234_567
    assert source.poll().rows == []
    with path.open("ab") as file:
        file.write(line(seen()))
    (second,) = source.poll().rows
    assert second.tally.answers == 2 and second.seq > first.seq


def test_a_torn_tail_waits(tmp_path):
    """A line is counted when its newline is there, whole and once."""
    path = tmp_path / "traces.jsonl"
    whole = line(seen())
    path.write_bytes(whole[:100])
    source = reader(path)
    assert (source.poll().rows, source.poll().warnings) == ([], ())
    with path.open("ab") as file:
        file.write(whole[100:])
    assert source.poll().rows[0].tally.answers == 1


def test_a_renamed_file_is_finished_under_its_new_name(tmp_path):
    """Collector and our exporter rotate by rename; what was appended just before is not lost."""
    path = tmp_path / "traces.jsonl"
    path.write_bytes(line(seen()))
    source = reader(path)
    batches = [source.poll()]
    with path.open("ab") as file:
        file.write(line(seen()))
    path.rename(tmp_path / "traces-2026-11-23T10-00-00.000.jsonl")
    path.write_bytes(line(seen()))
    batches.append(source.poll())
    assert answers(batches) == 3


def test_a_file_moved_away_is_finished_through_its_descriptor(tmp_path):
    path = tmp_path / "in" / "traces.jsonl"
    path.parent.mkdir()
    path.write_bytes(line(seen()))
    source = reader(path)
    batches = [source.poll()]
    with path.open("ab") as file:
        file.write(line(seen()))
    path.rename(tmp_path / "gone")
    batches += [source.poll(), source.poll()]
    assert answers(batches) == 2


def test_a_directory_and_a_glob(tmp_path):
    for number in range(3):
        (tmp_path / f"traces-{number}.jsonl").write_bytes(line(seen(), instance=f"i{number}"))
    (tmp_path / "metrics-0.jsonl").write_bytes(b'{"resourceMetrics":[]}\n')
    (tmp_path / "notes.txt").write_bytes(b"not ours")
    for path in (tmp_path, tmp_path / "traces-*.jsonl"):
        batch = reader(path).poll()
        assert {row.writer for row in batch.rows} == {"i0", "i1", "i2"} and batch.warnings == ()


def test_framed_protobuf_is_recognised(tmp_path):
    """The Collector's `format: proto`: length, message; a frame that is not all there waits."""
    path = tmp_path / "traces.pb"
    body = request(seen()).SerializeToString()
    frame = struct.pack(">I", len(body)) + body
    path.write_bytes(frame + frame[:50])
    source = reader(path)
    assert source.poll().rows[0].tally.answers == 1
    other = request(seen()).SerializeToString()
    path.write_bytes(frame + struct.pack(">I", len(other)) + other)
    assert source.poll().rows[0].tally.answers == 2


def test_what_cannot_be_read_is_a_warning(tmp_path):
    """Broken lines, other signals, values out of bounds, too old, dated ahead: the good lines beside them count."""
    path = tmp_path / "traces.jsonl"
    old, ahead = int((NOW - 9 * 86_400) * 1e6), int((NOW + 2 * 86_400) * 1e6)
    path.write_bytes(
        b"{\xffnonsense\n[1]\n\n" + line(seen()) + b'{"resourceLogs":[]}\n' + line(seen(at_us=old), seen(at_us=ahead))
    )
    batch = reader(path).poll()
    assert [row.tally.answers for row in batch.rows] == [1]
    assert batch.warnings == (
        "2 lines or spans could not be read",
        "2 spans are too old, dated ahead, or of too many series",
    )


def test_a_span_delivered_twice_counts_once(tmp_path):
    path = tmp_path / "traces.jsonl"
    path.write_bytes(line(seen()) * 1)
    path.write_bytes(path.read_bytes() * 3)
    assert reader(path).poll().rows[0].tally.answers == 1


def test_series_are_bounded(tmp_path):
    path = tmp_path / "traces.jsonl"
    path.write_bytes(b"".join(line(seen(series=SERIES._replace(workflow=f"w{number}"))) for number in range(5)))
    batch = reader(path, max_series=2).poll()
    assert len(batch.rows) == 2 and "3 spans" in batch.warnings[0]


def test_a_deadline_leaves_the_rest_for_the_next_time(tmp_path):
    path = tmp_path / "traces.jsonl"
    path.write_bytes(line(seen()) + line(seen()))
    source = reader(path)
    first = source.poll(deadline_s=0.0)
    second = source.poll(first.cursor)
    assert not first.complete and second.complete and answers([first, second]) == 2


def test_a_cursor_without_its_totals_begins_anew(tmp_path):
    """A reader in a new process, without a fold, reads all again: its rows are absolute."""
    path = tmp_path / "traces.jsonl"
    path.write_bytes(line(seen()))
    cursor = reader(path).poll().cursor
    assert json.loads(cursor)[0][2] == path.stat().st_size
    assert reader(path).poll(cursor).rows[0].tally.answers == 1


def test_a_fold_goes_on_where_it_was(tmp_path):
    """A new process gets the kept rows, then reads only what is new."""
    path = tmp_path / "traces.jsonl"
    path.write_bytes(line(seen()))
    fold = MemoryFold()
    reader(path, name="f", fold=fold).poll()
    with path.open("ab") as file:
        file.write(line(seen()))
    batch = reader(path, name="f", fold=fold).poll(fold.cursor("f"))
    assert answers([batch]) == 2 and fold.load("f")[0].tally.answers == 2


def test_two_processes_share_the_reading_of_one_directory(tmp_path):
    """The one whose cursor was overtaken stands aside, hears of the rows through the store, and goes on from there later."""
    path, clock = tmp_path / "traces.jsonl", time.monotonic
    path.write_bytes(line(seen()))
    stores = [HostStore(tmp_path / "home", now=lambda: NOW) for _ in "ab"]
    mine, theirs = (reader(path, name="f", fold=store) for store in stores)
    assert answers([mine.poll(), theirs.poll()]) == 1
    with path.open("ab") as file:
        file.write(line(seen()))
    assert answers([theirs.poll()]) == 2
    aside = mine.poll()
    assert not aside.complete and aside.rows == () and mine.poll().rows == ()
    assert answers([stores[0].poll()]) == 2
    with path.open("ab") as file:
        file.write(line(seen()))
    mine._paused_until = clock()
    assert answers([mine.poll()]) == 3 and answers([stores[1].poll()]) == 3
    for store in stores:
        store.close()


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_whatever_dies_and_rotates_each_span_counts_once(tmp_path_factory, seed):
    """Appends in pieces, rotation, commits that fail, readers that restart: the kept rows equal one straight pass."""
    dice = random.Random(seed)
    path = tmp_path_factory.mktemp("tail") / "traces.jsonl"
    fold, source, written = MemoryFold(), None, 0
    stream = b""
    for step in range(25):
        act = dice.random()
        if act < 0.5:
            if not stream:
                stream = line(seen(at_us=int((NOW - 100 * step) * 1e6)), instance=f"i{step % 2}")
                written += 1
            cut = dice.randrange(1, len(stream) + 1)
            with path.open("ab") as file:
                file.write(stream[:cut])
            stream = stream[cut:]
        elif act < 0.6 and path.exists() and not stream:
            path.rename(path.with_name(f"traces-{step}.jsonl"))
        elif act < 0.7:
            source = None
        else:
            source = source or reader(path, name="f", fold=fold)
            fold.refuse = OSError("killed") if dice.random() < 0.3 else None
            try:
                source.poll(deadline_s=dice.choice([0.0, 5.0]))
            except OSError:
                source = None
    with path.open("ab") as file:
        file.write(stream)
    fold.refuse = None
    last = reader(path, name="f", fold=fold)
    while not last.poll().complete:
        pass
    last.close()
    assert sum(row.tally.answers for row in fold.load("f")) == written


def test_readers_from_text(tmp_path):
    assert from_text(f"file:{tmp_path}").name == f"file:{tmp_path}"
    for text in ("file:", "fil:/tmp", "promql+ftp://x", "", "file:/no/such/place/traces.jsonl", "file:a\0b"):
        with pytest.raises(ConfigError):
            from_text(text)
    with pytest.raises(ConfigError):
        OtlpFileReader(7)
