"""Whether a reader finds what attune sends: one finding for each metric, label and fact, and what to do where it is not so.

For people and their scripts, not for the call's path. Checks names, labels, clocks and ages; judges no model.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from attune.errors import AttuneError
from attune.models.performance import TelemetryReader
from attune.telemetry import names as n
from attune.telemetry.promql_look import Look
from attune.telemetry.promql_names import ANY_METRIC, USUAL
from attune.telemetry.promql_past import ENOUGH
from attune.telemetry.promql_queries import SERIES
from attune.telemetry.promql_rows import FIGURES

STALE_S: Final = 300.0  # what PromQL itself calls stale
SKEW_S: Final = 30.0
_BUDGET_S: Final = 30.0
_SEND: Final = (
    "In each process that calls models: attune.telemetry.setup(), with OTEL_EXPORTER_OTLP_ENDPOINT (or "
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT) at the Collector, or at a Prometheus that was started with --web.enable-otlp-receiver."
)
_OLD: Final = "Nothing sent it since: is every process of this release, and does no Collector processor drop it?"
_DROPPED: Final = (
    "An attribute was dropped on the way: look for a Collector processor, a view or a relabelling that removes it."
)
_HISTOGRAM: Final = "Latency is read from classic buckets: leave convert_histograms_to_nhcb off, and let no view make the histogram exponential."
_PROMOTE: Final = (
    "Without it this process is counted twice, once from memory and once from here. Prometheus: "
    "otlp.promote_resource_attributes: [service.instance.id]. Collector's prometheus exporter: resource_to_telemetry_conversion."
)
_SCRAPED: Final = re.compile(r":\d+$")  # host:port, the address that was scraped
_LABELS: Final[Mapping[str, tuple[str, ...]]] = {
    n.ATTEMPTS: (*SERIES, n.OUTCOME, n.ATTEMPT_KIND),
    n.ATTEMPT_DURATION: (*SERIES, n.OUTCOME),
    n.COST: SERIES,
    n.QUALITY_SCORE: SERIES,
    n.QUALITY_COUNT: SERIES,
    n.DECISIONS: (*SERIES, n.ROUTE_EXPLORED, n.MODE),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked for: whether it is as it should be, what was seen, and what to do if it is not."""

    what: str
    ok: bool
    seen: str
    remedy: str = ""


def verify(reader: TelemetryReader, *, now: Callable[[], float] = time.time) -> list[Finding]:
    """Everything about a reader that can be checked from here, in order; it stops where the rest cannot be known."""
    look = getattr(reader, "look", None)
    found: list[Finding] = []
    try:
        found.extend(_store(look) if isinstance(look, Look) else _source(reader, now))
    except (AttuneError, OSError) as error:
        text = str(error) if isinstance(error, AttuneError) else type(error).__name__
        found.append(
            Finding(what=reader.name, ok=False, seen=text, remedy="Mend this first; the rest follows from it.")
        )
    return found


def _source(reader: TelemetryReader, now: Callable[[], float]) -> Iterator[Finding]:
    """A reader of files, or somebody's own: what one poll brings."""
    batch = reader.poll(None, _BUDGET_S)
    series = {row.series for row in batch.rows}
    remedy = f"Call attune.telemetry.setup() in the processes that call models. {'; '.join(batch.warnings)}".strip()
    yield Finding(
        what="attempts",
        ok=bool(series),
        seen=f"{len(batch.rows)} rows of {len(series)} series",
        remedy="" if series else remedy,
    )
    if batch.watermark_ns:
        yield Finding(what="newest", ok=True, seen=f"{max(0.0, now() - batch.watermark_ns / 1e9):.0f} s old")
    for warning in batch.warnings:
        yield Finding(what="warning", ok=False, seen=warning, remedy="Look at the file that it is about.")


def _store(look: Look) -> Iterator[Finding]:
    until = time.monotonic() + _BUDGET_S
    at = look.clock(until)
    yield Finding(what="store", ok=True, seen=f"{look.api.host} answers")
    skew = look.ahead_s - 0.5
    yield Finding(
        what="clock", ok=abs(skew) <= SKEW_S, seen=f"the store's is {skew:+.0f} s off this machine's",
        remedy="" if abs(skew) <= SKEW_S else "Ages and dates are corrected by it; set both clocks by NTP all the same.",
    )  # fmt: skip
    naming = look.naming
    if naming is None:
        names = f"{len(look.found)} metrics match {ANY_METRIC}" if look.found else f"no metric matches {ANY_METRIC}"
        yield Finding(what=USUAL.metric(n.ATTEMPTS), ok=False, seen=names, remedy=_SEND)
        return
    yield Finding(what="naming", ok=True, seen=naming.strategy)
    for figure in FIGURES:
        if figure.word != "lost":
            yield _metric(look, naming.metric(figure.metric, figure.part))
    for metric, wanted in _LABELS.items():
        part = "_bucket" if metric == n.ATTEMPT_DURATION else ""
        if naming.metric(metric, part) in look.found:
            yield from _labels(look, metric, part, wanted, until)
    yield from _freshness(look, at, until)


def _metric(look: Look, name: str) -> Finding:
    there = name in look.found
    remedy = "" if there else _HISTOGRAM if name.endswith(("_bucket", "_sum")) else _OLD
    return Finding(what=name, ok=there, seen="there" if there else "missing", remedy=remedy)


def _labels(look: Look, metric: str, part: str, wanted: Collection[str], until: float) -> Iterator[Finding]:
    queries, naming = look.queries, look.queries.naming
    series = queries.series(metric, part, everybody=True)
    there = set(look.api.ask("labels", {"match[]": series}, until, method="GET").words())
    name = naming.metric(metric, part)
    if not there:
        remedy = "Nothing matches: compare selector= with the labels that are there. " + _OLD
        yield Finding(what=f"labels of {name}", ok=False, seen="no series", remedy=remedy)
        return
    gone = [naming.label(label) for label in wanted if naming.label(label) not in there]
    seen = f"{', '.join(gone)} missing" if gone else "all there"
    yield Finding(what=f"labels of {name}", ok=not gone, seen=seen, remedy=_DROPPED if gone else "")
    if metric == n.ATTEMPTS:
        yield _instance(look, series, there, until)


def _instance(look: Look, series: str, there: Collection[str], until: float) -> Finding:
    """Whether a label tells processes apart by service.instance.id: over OTLP, `instance` does so by itself."""
    label = look.queries.naming.label(n.INSTANCE_ID)
    if label in there:
        return Finding(what=label, ok=True, seen="there")
    ids = look.api.ask("label/instance/values", {"match[]": series}, until, method="GET").words()
    if ids and not any(_SCRAPED.search(one) for one in ids):
        return Finding(what=label, ok=True, seen="missing, and instance bears it")
    return Finding(what=label, ok=False, seen="missing", remedy=_PROMOTE)


def _freshness(look: Look, at: int, until: float) -> Iterator[Finding]:
    newest = look.newest(at, until)
    if newest is None:
        yield Finding(what="newest sample", ok=False, seen="none within a day", remedy=_SEND)
        return
    fresh = at - newest <= STALE_S
    stale = "Nothing has come for minutes: are the processes up, and the Collector and its queue well?"
    yield Finding(what="newest sample", ok=fresh, seen=f"{at - newest:.0f} s old", remedy="" if fresh else stale)
    most = max(look.sightings(at, until).values(), default=0.0)
    slow = f"Under {ENOUGH} an hour a count is rough. Lower OTEL_METRIC_EXPORT_INTERVAL (10000 is well), or scrape more often."
    young = "" if most >= ENOUGH else f"{slow} Just started? Then wait."
    yield Finding(what="samples in the last hour", ok=True, seen=f"{most:.0f} of the best series", remedy=young)
