"""Collectors die, freeze and fill up while calls are made: no call notices, what is lost is counted, and it heals alone.

What a kill -9 of the gateway costs is told here as README tells it: nothing of what its disk queue had accepted, all of
what tail sampling still held.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from stack import collectors
from stack.launch import Running, Yard, free_port
from stack.loop import fetch

from attune.telemetry import names as n
from attune.testing import Behaviour, ScriptedProvider

CALLER = Path(__file__).with_name("caller.py")
REJECTED = {n.OUTCOME: "rejected"}  # always kept
# More calls than the SDK's queue of 2,048 spans holds.
MANY = 1500
GROWTH_KB = 40_000
SLOWEST_S = 3.0  # on two slow, shared cores; a call that waited for an exporter would take ten


class Caller:
    """The application under way, and the last line it told."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.lines: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.lines.extend(json.loads(line) for line in iter(self._process.stdout.readline, ""))

    @property
    def last(self) -> dict[str, Any]:
        return self.lines[-1] if self.lines else {"calls": 0, "failed": 0}

    def makes(self, calls: int) -> None:
        """Wait until it has made so many more."""
        wanted = self.last["calls"] + calls
        assert collectors.soon(lambda: self.last["calls"] >= wanted, 60), (self.last, self._process.poll())

    def end(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._thread.join(5)
        return self.last


@contextmanager
def caller(otlp: str, home: Path, outside: dict[str, str]) -> Iterator[Caller]:
    """An application that tells a collector of itself."""
    environ = {
        "PATH": outside.get("PATH", ""),
        "ATTUNE_HOME": str(home),
        "OTEL_EXPORTER_OTLP_ENDPOINT": otlp,
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED": "true",
    }
    quick = {"claude-haiku-4-5": Behaviour(latency_ms=0.0)}
    with ScriptedProvider.spawn(seed=1, models=quick, default=None) as provider:
        process = subprocess.Popen(
            [sys.executable, CALLER, provider.url],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environ,
        )  # fmt: skip
        try:
            yield Caller(process)
        finally:
            process.kill()
            process.wait(10)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None and not pipe.closed:
                    pipe.close()


def dies(yard: Yard, agent: Running, again: Callable[[], Running]) -> Callable[[], Running]:
    agent.kill()
    return again


def freezes(yard: Yard, agent: Running, again: Callable[[], Running]) -> Callable[[], Running]:
    agent.freeze()
    return lambda: (agent.thaw(), agent)[1]


def points(store: collectors.Sink, name: str) -> list[tuple[dict[str, Any], int]]:
    metric = store.metrics().get(name)
    return (
        [(collectors.read(point.attributes), point.as_int or int(point.as_double)) for point in metric.sum.data_points]
        if metric
        else []
    )


@pytest.mark.needs("otelcol")
@pytest.mark.parametrize("trouble", [dies, freezes])
def test_no_call_notices_a_collector_that_goes_away(trouble, yard, outside, tmp_path):
    """0 calls failed or held up, memory bounded, spans lost are counted, counters are whole in the end, by itself."""
    at = {name: free_port() for name in collectors.PORTS}
    with collectors.Sink() as store:
        again = lambda: collectors.gateway(yard, store.url, at)  # noqa: E731
        collector = again()
        with caller(collector.url(), tmp_path, outside) as application:
            application.makes(300)
            assert collectors.soon(lambda: points(store, n.ATTEMPTS))
            before = application.last["rss_kb"]
            come_back = trouble(yard, collector, again)
            application.makes(MANY)
            grown = application.last["rss_kb"] - before
            come_back()
            arrived = len(store.traces())
            application.makes(100)
            assert collectors.soon(lambda: len(store.traces()) > arrived, 40), "no span after it came back"
            over = application.end()
        assert over["failed"] == 0
        assert grown < GROWTH_KB
        assert max(line.get("slowest_s", 0.0) for line in application.lines) < SLOWEST_S
        counted = lambda: sum(value for known, value in points(store, n.ATTEMPTS) if known[n.OUTCOME] == "success")  # noqa: E731
        assert collectors.soon(lambda: counted() == over["calls"], 20), (counted(), over)
        lost = [value for known, value in points(store, "otel.sdk.processor.span.processed") if n.ERROR_TYPE in known]
        assert sum(lost) > 0


@pytest.mark.needs("otelcol")
def test_an_agent_keeps_what_it_has_while_the_gateway_is_away(yard):
    """Every span arrives, once, after the gateway came back."""
    at = {name: free_port() for name in collectors.PORTS}
    with collectors.Sink() as store:
        gateway = collectors.gateway(yard, store.url, at)
        agent = collectors.agent(yard, gateway.url())
        gateway.kill()
        for first in range(1, 501, 100):
            spans = [collectors.span(number, known=REJECTED) for number in range(first, first + 100)]
            assert collectors.send(agent, collectors.request(spans)) == 200
        assert collectors.soon(lambda: collectors.own_metrics(agent).get("otelcol_exporter_in_flight_requests", 0) > 0)
        collectors.gateway(yard, store.url, at)
        assert collectors.soon(lambda: len(store.trace_ids()) == 500, 40)
        assert len(store.traces()) == 500
        assert not collectors.own_metrics(agent).get("otelcol_exporter_send_failed_spans")


@pytest.mark.needs("otelcol", "prometheus")
def test_an_agent_that_is_full_refuses_counts_and_is_alerted(yard):
    """Its queue has an end: what is beyond it is refused at once, in bounded memory, and the shipped alert fires."""
    agent = collectors.agent(yard, "http://127.0.0.1:1")
    scrape = {
        r"(scrape|evaluation)_interval: 15s": r"\1_interval: 1s",
        "agent:8888": f"127.0.0.1:{agent.ports['metrics']}",
    }
    prometheus = yard.prometheus(shipped(yard.folder, scrape))
    answers, number = [], 0
    for _ in range(24):
        spans = [collectors.span(number := number + 1, known=REJECTED) for _ in range(2500)]
        answers.append(collectors.send(agent, collectors.request(spans)))
    assert answers[0] == 200
    assert answers[-1] == 503
    own = collectors.own_metrics(agent)
    assert own["otelcol_exporter_enqueue_failed_spans"] > 0
    assert own["otelcol_process_memory_rss"] < 400 * 1024 * 1024

    def firing() -> bool:
        if collectors.send(agent, collectors.request([collectors.span(1)] * 2500)) == 200:
            return False
        alerts = fetch(prometheus.url("/api/v1/alerts"))["data"]["alerts"]
        return any(
            it["labels"]["alertname"] == "AttuneCollectorDropping" and it["labels"].get("cause") == "queue_full"
            and it["state"] == "firing" for it in alerts
        )  # fmt: skip

    assert collectors.soon(firing, 30)


def shipped(folder: Path, places: dict[str, str]) -> str:
    """prometheus.yml and the rules, with a second where people have minutes."""
    (folder / "rules").mkdir(parents=True)
    for path in (collectors.COLLECTOR / "rules").glob("*.yaml"):
        (folder / "rules" / path.name).write_text(re.sub(r"for: 2m\n", "for: 1s\n", path.read_text()))
    text = (collectors.COLLECTOR / "prometheus.yml").read_text()
    for pattern, new in {**places, r"rules/\*\.yaml": str(folder / "rules" / "*.yaml")}.items():
        text, times = re.subn(pattern, new, text)
        assert times, pattern
    return text


@pytest.mark.needs("otelcol")
def test_what_the_disk_queue_accepted_survives_kill_9_and_what_sampling_held_does_not(yard):
    """Metrics and judged traces are on disk, redacted; traces that still wait for their judgement are in memory."""
    at = {name: free_port() for name in collectors.PORTS}
    queue = {"COLLECTOR_QUEUE": str(yard.folder / "queue")}
    metric = collectors.counter("attune.attempts", 7)
    with collectors.Sink() as store:
        store.status = 503
        gateway = collectors.gateway(yard, store.url, at, **queue, COLLECTOR_DECISION_WAIT="1s")
        judged = [collectors.span(number, known=REJECTED) for number in range(1, 201)]
        assert collectors.send(gateway, collectors.request(judged)) == 200
        assert collectors.send(gateway, metric) == 200
        sampled = "otelcol_processor_tail_sampling_global_count_traces_sampled"
        assert collectors.soon(lambda: collectors.own_metrics(gateway).get(sampled) == 200)
        assert collectors.soon(lambda: collectors.own_metrics(gateway)["otelcol_exporter_queue_size"] >= 201)
        gateway.kill()

        gateway = collectors.gateway(yard, store.url, at, **queue, COLLECTOR_DECISION_WAIT="60s")
        held = [collectors.span(number, known=REJECTED) for number in range(1001, 1101)]
        assert collectors.send(gateway, collectors.request(held)) == 200
        gateway.kill()

        store.status = 200
        collectors.gateway(yard, store.url, at, **queue, COLLECTOR_DECISION_WAIT="1s")
        assert collectors.soon(lambda: len(store.trace_ids()) == 200, 40)
        assert collectors.soon(lambda: points(store, n.ATTEMPTS), 20) == [({n.OUTCOME: "success"}, 7)]
        assert {span.trace_id for span in judged} == store.trace_ids()


@pytest.mark.needs("otelcol")
def test_a_gateway_keeps_what_its_stores_refuse_for_a_while(yard):
    """A store that answers 503 gets everything when it is well, in order of its queue, without a restart."""
    with collectors.Sink() as store:
        store.status = 503
        gateway = collectors.gateway(yard, store.url)
        assert (
            collectors.send(gateway, collectors.request([collectors.span(it, known=REJECTED) for it in range(1, 51)]))
            == 200
        )
        assert collectors.soon(
            lambda: collectors.own_metrics(gateway).get("otelcol_exporter_in_flight_requests", 0) > 0
        )
        store.status = 200
        assert collectors.soon(lambda: len(store.trace_ids()) == 50, 30)
