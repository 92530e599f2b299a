"""Telemetry health: whether the loop from call to store to router is closed: readers, collector, store, attune's own faults.

Whoever opens this page asks "can I believe the other three?". Metrics of the collector and of Prometheus are foreign:
`grafana/build.py` lists them.
"""

from __future__ import annotations

from typing import Any

from boards import words as w
from boards.panels import BAD, BYTES, COUNT, GOOD, PER_SECOND, PERCENT, SECONDS, WARN, figure, ranking, series, steps

COLLECTOR = 'job=~"otelcol-.+"'
WHOLE = '__name__=~"attune_.+"'
SIGNALS = {"spans": "spans", "metric_points": "metric points"}


def panels() -> dict[str, list[Any]]:
    """The rows of the dashboard and what stands in them."""
    return {
        "Now": _now(),
        "Readers and faults": _readers(),
        "Collector": _collector(),
        "Series": _series(),
        "Store": _store(),
    }


def _now() -> list[Any]:
    age = f"time() - max(timestamp({w.ATTEMPTS}{{{w.IN_SERVICE}}}))"
    return [
        figure("Newest word", "How old the newest point of any process is. Above a few export intervals, something is in between.",
               SECONDS, age, colours=steps(GOOD, (60, WARN), (300, BAD))),
        figure("Oldest reader", "How old the newest word of the reader that lags most is. Routing rests on it.", SECONDS,
               f"max({w.READER_AGE}{{{w.IN_SERVICE}}})", colours=steps(GOOD, (60, WARN), (300, BAD)), empty="no reader"),
        figure("Reader errors", "Polls that failed in this time range. The last good snapshot stays in use.", COUNT,
               w.added(w.happened(w.READER_ERRORS, w.IN_SERVICE)), colours=steps(GOOD, (1, WARN)), empty="0"),
        figure("Faults of attune", "attune's own failures in this time range. No call is changed by one; each is worth a report.",
               COUNT, w.added(w.happened(w.FAULTS, w.IN_SERVICE)), colours=steps(GOOD, (1, BAD)), empty="0"),
        figure("Processes that tell", "Instances with a point of attune in the last five minutes.", COUNT,
               f"count(count by ({w.INSTANCE}) ({w.ATTEMPTS}{{{w.IN_SERVICE}}}))"),
        figure("Series of attune", "Label sets of all its metrics in the store, over all processes.", COUNT,
               f"count({{{WHOLE}, {w.IN_SERVICE}}})"),
    ]  # fmt: skip


def _readers() -> list[Any]:
    ages = f"max by ({w.READER}) ({w.READER_AGE}{{{w.IN_SERVICE}}})"
    return [
        series("Age of what readers know", "By reader, the worst process. It saws between polls; what climbs has lost its source.",
               SECONDS, (ages, f"{{{{{w.READER}}}}}"), limit=300),
        series("Reader errors by reader", "How many polls failed.", COUNT,
               (w.added(w.happened(w.READER_ERRORS, w.IN_SERVICE, over=w.EACH), w.READER), f"{{{{{w.READER}}}}}"), bars=True, stacked=True),
        series("Faults by place", "attune's own failures, by where they were caught.", COUNT,
               (w.added(w.happened(w.FAULTS, w.IN_SERVICE, over=w.EACH), w.WHERE), f"{{{{{w.WHERE}}}}}"), bars=True, stacked=True),
    ]  # fmt: skip


def _told(name: str) -> str:
    """A metric of the collector's own: with or without a suffix, which depends on its version."""
    return f'{{__name__=~"otelcol_{name}(_total|_bytes)?", {COLLECTOR}}}'


def _each(name: str, by: str) -> list[tuple[str, str]]:
    """One target for each signal of a collector's counter."""
    return [
        (w.added(f"rate({_told(f'{name}_{signal}')}[{w.STEP}])", by), f"{word} {{{{{by}}}}}")
        for signal, word in SIGNALS.items()
    ]


def _collector() -> list[Any]:
    queue = [f"max by (exporter) (otelcol_exporter_queue_{what}{{{COLLECTOR}}})" for what in ("size", "capacity")]
    kept = f"rate({_told('processor_tail_sampling_count_traces_sampled')}[{w.STEP}])"
    lost = f"sum by (cause) ({w.recorded('collector_lost:rate5m')}{{{COLLECTOR}}})"
    return [
        series("Received", "What processes sent and the collector took.", PER_SECOND, *_each("receiver_accepted", "receiver")),
        series("Sent on", "What left for the stores.", PER_SECOND, *_each("exporter_sent", "exporter")),
        series("Lost", "Queue full: nothing took it in time. Send failed: given up. Refused: turned away at the door, tried again, "
               "then dropped by the process. What AttuneCollectorDropping watches.", PER_SECOND, (lost, "{{cause}}"), stacked=True),
        series("Queue", "How full each exporter's queue is. At 100 % it drops.", PERCENT,
               (f"{queue[0]} / ({queue[1]} > 0)", "{{exporter}}"), most=1, limit=0.8),
        series("Traces kept by policy", "What tail sampling decided. Rates from sampled traces are biased: metrics are not.",
               PER_SECOND, (w.added(kept, "policy", "decision"), "{{policy}} {{decision}}"), stacked=True),
        series("Memory of the collector", "Resident memory; the limiter refuses before it is full.", BYTES,
               (f"max by (instance) ({_told('process_memory_rss')})", "{{instance}}")),
    ]  # fmt: skip


def _series() -> list[Any]:
    past = w.added(w.rate(w.ATTEMPTS, w.IN_SERVICE, f'{w.WORKFLOW}="_other"'))
    return [
        ranking("Series by metric", "The fifteen largest. Growth without new workflows is a label that should be bounded.", COUNT,
                f"topk(15, count by (__name__) ({{{WHOLE}, {w.IN_SERVICE}}}))", "{{__name__}}"),
        series("Series over time", "All series of attune, by service.", COUNT,
               (f"count by ({w.SERVICE}) ({{{WHOLE}, {w.IN_SERVICE}}})", f"{{{{{w.SERVICE}}}}}")),
        series("Attempts past the bound", "The share of attempts told as _other, because more workflows, stages and targets were "
               "named than max_series allows. Readers leave them out.", PERCENT,
               (w.share(past, w.added(w.rate(w.ATTEMPTS, w.IN_SERVICE))), "_other"), limit=0.01),
    ]  # fmt: skip


def _store() -> list[Any]:
    def grown(name: str) -> str:
        return f"sum(rate({name}[{w.STEP}]))"

    return [
        series("Attempts seen by two ways", "Attempts counted by the collector from spans, of those that attune counted. 1: both "
               "ways saw the same. Below it, spans are lost or processes are not traced; above it, metrics are.", PERCENT,
               (w.recorded("crosscheck:ratio_rate10m") + f"{{{w.IN_SERVICE}}}", f"{{{{{w.SERVICE}}}}}")),
        series("Decisions from a fault", "The share of decisions that fell to the default because attune itself failed: what "
               "AttuneRouterBlind watches.", PERCENT,
               (w.recorded("decisions_fault:ratio_rate15m") + f"{{{w.IN_SERVICE}}}", f"{{{{{w.SERVICE}}}}}"), limit=0.05),
        series("Processes that make calls", "Processes with an attempt in the last ten minutes, and all that tell.", COUNT,
               *((f"sum({w.recorded(rule)}{{{w.IN_SERVICE}}})", word)
                 for rule, word in (("instances_busy:count", "busy"), ("instances:count", "all")))),
        series("Series in Prometheus", "In memory, of every source. What attune adds is shown above.", COUNT,
               ("max(prometheus_tsdb_head_series)", "series")),
        series("Rules that failed", "Evaluations of recording and alerting rules that ended in an error.", PER_SECOND,
               (grown("prometheus_rule_evaluation_failures_total"), "failures")),
        series("Targets that answer", "1: Prometheus could scrape it at its last try.", COUNT,
               ("min by (job) (up)", "{{job}}"), most=1),
    ]  # fmt: skip
