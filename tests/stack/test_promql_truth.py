"""The fleet's reader in front of real stores with a known truth: history off the grid, restarts, resets, outages."""

from __future__ import annotations

import itertools
import logging
import random
import socket
import threading
import time
from collections import Counter

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from stack.remote_write import push, push_in_order
from telemetry.kit import SERIES, TARGET, seen, tell

import attune
from attune.errors import TelemetryError
from attune.models.call import Target
from attune.models.performance import merge
from attune.models.windows import Windows
from attune.telemetry import PromQLReader, read_promql
from attune.telemetry.emit import Emitter
from attune.telemetry.promql_spans import cut
from attune.telemetry.refresh import Refresher
from attune.telemetry.verify import verify

STORES = [
    pytest.param("prometheus", marks=pytest.mark.needs("prometheus")),
    pytest.param("prometheus-oldest", marks=pytest.mark.needs("prometheus-oldest")),
    pytest.param("victoria-metrics", marks=pytest.mark.needs("victoria-metrics")),
]
EVERY_S, HOURS = 30, 52
PROMOTED = "otlp:\n  promote_resource_attributes: [service.name, service.instance.id]\n"


def store_of(yard, kind):
    if kind == "victoria-metrics":
        return yard.victoria_metrics("-retentionPeriod=1")
    return yard.prometheus(oldest=kind != "prometheus")


def labels(model, instance, metric="attune_attempts_total", **more):
    about = {"attune_outcome": "success", "attune_attempt_kind": "initial"} if metric == "attune_attempts_total" else {}
    return {
        "__name__": metric, "job": "shop", "instance": instance, "service_instance_id": instance,
        "attune_workflow": "review", "attune_stage": "analysis", "gen_ai_provider_name": "anthropic",
        "gen_ai_request_model": model, **about, **more,
    }  # fmt: skip


class Life:
    """A process's counter: when it was scraped and what it did, with its truth. It begins at `first` when it is born."""

    def __init__(self, model, instance, began, ended, *, dice, per_hour, first=0, resets=(), phase=7, **more):
        self.labels = (labels(model, instance, **more), labels(model, instance, "attune_attempt_cost_total"))
        self.points, self.costs = [], []
        self.events = [began + phase] * first  # every call, by the scrape that first told of it
        total, at = first, began + phase  # the first scrape sees it as it was announced
        for scrape in range(began + phase, ended, EVERY_S):
            while at < scrape:
                burst = 25 if at % 3600 == 0 else 0  # what everybody's cron does at the full hour
                calls = burst + (dice.random() < per_hour / 3600)
                total += calls
                self.events += [scrape] * calls
                at += 1
            if any(scrape - EVERY_S <= reset < scrape for reset in resets):
                self.events = [it for it in self.events if it < scrape]  # nobody heard of the last
                total = 0
            self.points.append((scrape * 1000, total))
            self.costs.append((scrape * 1000, total * 0.002))

    def series(self):
        return list(zip(self.labels, (self.points, self.costs), strict=True))

    def within(self, since, until):
        return sum(since < it <= until for it in self.events)


def fleet(now):
    """Fifty-two hours of three processes; the last scrape of each is the last that is heard of it."""
    dice, began = random.Random(20261123), now - HOURS * 3600
    middle = began + 31 * 3600 + 1234
    resets = [began + 5000 + hours * 3600 for hours in range(3, HOURS - 1, 7)]
    return {
        "steady": [Life("steady", "one", began, now, dice=dice, per_hour=40)],
        "reborn": [
            Life("reborn", "two-a", began, middle, dice=dice, per_hour=30),
            Life("reborn", "two-b", middle + 60, now, dice=dice, per_hour=30, phase=11),
        ],
        "reset": [Life("reset", "three", began, now, dice=dice, per_hour=60, resets=resets, phase=19)],
        "both": [
            Life("both", "one", began, now, dice=dice, per_hour=5),
            Life("both", "three", began, now, dice=dice, per_hour=5, phase=19, resets=resets),
        ],
        "late": [Life("late", "one", now - 3 * 3600, now, dice=dice, per_hour=5, first=9)],
        "stranger": [Life("stranger", "four", now - 7500, now, dice=dice, per_hour=5, first=500)],
    }


def read_all(reader):
    """Poll until history is read."""
    windows, rows = Windows(writer="me"), []
    batch = reader.poll(None)
    for _ in range(40):
        rows += batch.rows
        windows.absorb(batch.rows, scope="fleet")
        if not reader._past.unread(cut(reader._seq // 1000, reader._window_s)[1]):
            return batch, merge(rows), windows
        batch = reader.poll(batch.cursor)
    raise AssertionError("history has no end")


@pytest.mark.parametrize("kind", STORES)
def test_counts_are_those_that_happened(yard, kind):
    """Two days of three processes, off the grid of scrapes and hours, with bursts at the full hour: exact where nothing
    was reset, within 5 % where something was; what may lack its beginning is told, and nothing is ever more than was.
    """
    store = store_of(yard, kind)
    now = int(time.time())
    lives = fleet(now)
    push_in_order(store.url("/api/v1/write"), [it for some in lives.values() for life in some for it in life.series()])
    if kind == "victoria-metrics":
        push_flush(store)
    reader = PromQLReader(store.url(), every_s=0, window_s=2 * 86_400)
    try:
        batch, tallies, windows = read_all(reader)
        at = reader._seq // 1000
        since = min([one.start for one in cut(at, 2 * 86_400)[1]])
        truth = {model: sum(life.within(since, now) for life in some) for model, some in lives.items()}
        found, cost = Counter(), Counter()
        for (series, _), tally in tallies.items():
            found[series.model] += tally.answers
            cost[series.model] += tally.cost_nano
            assert tally.answers >= 0 and tally.costed == tally.answers
        for model in ("steady", "late"):
            assert found[model] == truth[model], model
        for model in ("reborn", "reset", "both"):
            assert found[model] == pytest.approx(truth[model], rel=0.05), model
        for model in truth:
            assert cost[model] == pytest.approx(found[model] * 2_000_000, rel=0.02), model
        assert found["stranger"] <= truth["stranger"]
        sparse = {series.model for series in reader.sparse}
        assert "stranger" in sparse and not sparse & {"steady", "reborn", "reset", "both"} and not batch.complete
        age = time.time() - batch.watermark_ns / 1e9
        newest = max(life.points[-1][0] for some in lives.values() for life in some) / 1000
        assert time.time() - newest <= age + 0.05 <= time.time() - newest + 3
        stat = windows.snapshot(time.time()).cell("review", "analysis").stat("anthropic", "steady")
        assert stat.n == pytest.approx(100, rel=0.01)
    finally:
        reader.close()


def push_flush(store):
    """Samples of VictoriaMetrics are searchable once they are flushed."""
    from stack.test_stack import fetch

    fetch(store.url("/internal/force_flush"))


@pytest.mark.parametrize("kind", STORES)
def test_selectors_and_instances_left_out_are_not_counted(yard, kind):
    store = store_of(yard, kind)
    now = int(time.time())
    dice = random.Random(1)
    lives = [
        Life("m", f"i{n}", now - 3000, now, dice=dice, per_hour=300, attune_attempt_kind="initial") for n in range(3)
    ]
    push(store.url("/api/v1/write"), [it for life in lives for it in life.series()])
    if kind == "victoria-metrics":
        push_flush(store)

    def answers(**words):
        reader = PromQLReader(store.url(), every_s=0, window_s=3600, **words)
        try:
            return sum(row.tally.answers for row in reader.poll().rows)
        finally:
            reader.close()

    each = [life.points[-1][1] for life in lives]
    assert answers() == sum(each)
    assert answers(leave_out=["i1"]) == each[0] + each[2]
    assert answers(selector='service_instance_id=~"i0|i1"') == each[0] + each[1]
    assert answers(leave_out=["i0", "i1", "i2"]) == 0 == answers(selector='job="bakery"')


@pytest.mark.parametrize("kind", STORES[:2])
def test_values_that_are_no_numbers_never_come_out(yard, kind):
    """NaN and infinities in a store are told and left out; the rest of the series counts."""
    store = store_of(yard, kind)
    now = int(time.time())
    times = [(now - 600 + 15 * i) * 1000 for i in range(40)]
    push(store.url("/api/v1/write"), [
        (labels("well", "i"), [(at, float(i)) for i, at in enumerate(times)]),
        (labels("nan", "i"), [(at, float("nan") if i > 20 else float(i)) for i, at in enumerate(times)]),
        (labels("inf", "i"), [(at, float("inf") if i > 20 else float(i)) for i, at in enumerate(times)]),
    ])  # fmt: skip
    reader = PromQLReader(store.url(), every_s=0, window_s=3600)
    try:
        batch = reader.poll()
        assert {row.series.model: row.tally.answers for row in batch.rows} == {"well": 39}
        assert not batch.complete and "no numbers" in batch.warnings[0]
    finally:
        reader.close()


@pytest.mark.needs("prometheus")
def test_what_attune_sends_is_what_it_reads(yard):
    """Over OTLP into Prometheus 3: counts, cost and verdicts exact, latency within a bucket, and `verify` is content."""
    store = yard.prometheus(PROMOTED)
    exporter = OTLPMetricExporter(store.url("/api/v1/otlp/v1/metrics"))
    metrics = PeriodicExportingMetricReader(exporter, 3_600_000)
    about = Resource({"service.name": "shop", "service.instance.id": "neighbour"})
    provider = MeterProvider([metrics], resource=about, shutdown_on_exit=False)
    reader = PromQLReader(store.url(), every_s=0, window_s=3600, leave_out=["me"])
    try:
        assert [it.ok for it in verify(reader)][-1] is False  # nothing is there yet, and it says what to do
        emitter = Emitter(meter_provider=provider, time=time.time)
        emitter.announce(SERIES.workflow, SERIES.stage, [TARGET, Target("claude-opus-4-8")])
        for _ in range(4):  # the first export says zero; every later one comes in a second of its own
            provider.force_flush()
            for i in range(30):
                bad = i % 10 == 9
                error = (
                    {"outcome": "failure", "error_type": "overloaded", "cost_nano": 0, "latency_us": 9000}
                    if bad
                    else {}
                )
                tell(emitter, seen(**{"latency_us": 1_000_000 + 10_000 * i, **error}), quality=None if bad else 0.75)
            time.sleep(1.1)
        provider.force_flush()
        tally = soon_read(reader, 108)
        assert (tally.answers, tally.failures, tally.failures_open) == (108, 12, 0)
        assert (tally.costed, tally.cost_nano) == (120, 108 * 1_500_000)
        assert (tally.judged, tally.quality_micro) == (108, 108 * 750_000)
        assert tally.timed == pytest.approx(108, rel=0.5) and tally.latency_us / tally.timed == pytest.approx(
            1_135_000, rel=0.02
        )
        findings = verify(reader)
        assert [it for it in findings if not it.ok] == []
    finally:
        reader.close()
        provider.shutdown()


def soon_read(reader, answers):
    """The one row, once the store has everything."""
    until = time.monotonic() + 20
    while True:
        rows = reader.poll(None).rows
        if len(rows) == 1 and rows[0].tally.answers >= answers:
            return rows[0].tally
        assert time.monotonic() < until, rows
        time.sleep(0.2)


@pytest.mark.needs("prometheus")
def test_a_store_that_stops_freezes_or_comes_back_empty_costs_no_call_anything(yard, monkeypatch, caplog):
    """Asked on the background thread alone; the last good figures stay and grow old; one line says so, one that it is well."""
    monkeypatch.setattr(read_promql, "TOTAL_S", 0.5)
    store = yard.prometheus()
    now = int(time.time())
    life = Life("m", "i", now - 3000, now, dice=random.Random(2), per_hour=400)
    push(store.url("/api/v1/write"), life.series())
    asking = set()
    for name in ("connect", "send", "sendall", "recv"):
        real = getattr(socket.socket, name)

        def noted(self, *args, real=real):
            asking.add(threading.current_thread().name)
            return real(self, *args)

        monkeypatch.setattr(socket.socket, name, noted)
    windows, ages = Windows(writer="me"), []
    reader = PromQLReader(store.url(), every_s=0, window_s=3600)
    refresher = Refresher(windows, [reader], clock=time, refresh_s=0.05, on_age=lambda name, age: ages.append(age))
    try:
        with caplog.at_level(logging.INFO, logger="attune.telemetry"):
            assert refresher.ready(10.0)

            def known():
                return windows.snapshot(time.time()).cell("review", "analysis").stat("anthropic", "m").samples

            good = life.points[-1][1]
            assert known() == good and ages[0] + 0.05 >= now - life.points[-1][0] / 1000
            store.freeze()
            wait_for(lambda: caplog.records)
            began = time.perf_counter()
            assert known() == good and time.perf_counter() - began < 0.05
            store.thaw()
            wait_for(lambda: "well again" in caplog.records[-1].getMessage())
            store.kill()
            wait_for(lambda: "reached" in caplog.records[-1].getMessage())
            assert known() == good
            assert asking == {"attune-refresh"}
            yard.prometheus(at=store.ports)
            wait_for(lambda: "verify" in caplog.records[-1].getMessage())
            assert known() == good
        texts = [record.getMessage() for record in caplog.records]
        assert all(text != after for text, after in itertools.pairwise(texts)) and len(texts) <= 6
    finally:
        refresher.close(3.0)


def wait_for(holds, seconds=15.0):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.needs("prometheus")
def test_a_process_reads_its_neighbours_and_not_itself(yard):
    """A runtime that reads the store where its own numbers stand too: own ones count once, from memory."""
    store = yard.prometheus()
    now = int(time.time())
    dice = random.Random(3)
    mine, theirs = (Life("claude-haiku-4-5", name, now - 900, now, dice=dice, per_hour=600) for name in ("me", "them"))
    push(store.url("/api/v1/write"), [*mine.series(), *theirs.series()])
    windows = Windows(writer="me")
    refresher = Refresher(windows, [PromQLReader(store.url(), every_s=0, window_s=3600)], clock=time)
    assert refresher.poll_once()
    totals = windows.detail("review", "analysis", 0.0).totals
    assert [tally.answers for tally in totals.values()] == [theirs.points[-1][1]]
    refresher.close(1.0)


@pytest.mark.needs("prometheus")
def test_the_error_of_a_store_that_says_no_helps(yard):
    """A query that loads too much is refused by a real Prometheus, and told as such."""
    store = yard.prometheus("{}", "--query.max-samples=10")
    now = int(time.time())
    push(store.url("/api/v1/write"), Life("m", "i", now - 3000, now, dice=random.Random(4), per_hour=60).series())
    reader = PromQLReader(store.url(), every_s=0, window_s=3600)
    with pytest.raises(TelemetryError, match=r"HTTP 422 \(execution\)"):
        reader.poll()
    reader.close()
    assert attune.TelemetryError is TelemetryError
