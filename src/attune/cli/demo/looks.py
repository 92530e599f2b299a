"""What the real stack holds after the demo: questions for each store, with the answer it gives, for people to repeat.

Queries are written with the names of `telemetry/names.py`, as Prometheus writes them. Nothing is worked out here.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from attune.cli.demo.stack import Stack
from attune.errors import StateError
from attune.telemetry import names as n
from attune.telemetry.promql_names import USUAL

SERVICE: Final = "attune-demo"
_PATIENCE_S: Final = 20.0
_MOST: Final = 12  # lines of an answer that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One question: in words, in the store's language, as an address; and what was found, a line each."""

    words: str
    query: str
    url: str
    found: tuple[str, ...]


def arrived(stack: Stack, calls: int) -> bool:
    """Wait until Prometheus holds a decision of every call and a trace is in the trace store; False if not in time."""
    decisions = f"sum({USUAL.metric(n.DECISIONS)})"
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        held = [float(it["value"][1]) for it in _query(stack, decisions)]
        if held and held[0] >= calls and _traces(stack, {n.OUTCOME: "success"}):
            return True
        time.sleep(0.2)
    return False


def look(stack: Stack) -> list[Look]:
    """Ask everything."""
    model, outcome, name = (USUAL.label(it) for it in (n.GEN_AI_MODEL, n.OUTCOME, n.CIRCUIT_NAME))
    opened = f'{USUAL.metric(n.TRANSITIONS)}{{{USUAL.label(n.CIRCUIT_TO)}="open"}}'
    failed = f'{USUAL.metric(n.ATTEMPT_DURATION, "_bucket")}{{{outcome}="failure"}}'
    metrics = [
        ("attempts by model and outcome", f"sum by ({model}, {outcome}) ({USUAL.metric(n.ATTEMPTS)}) > 0"),
        ("how often each circuit opened", f"sum by ({name}) ({opened}) > 0"),
        ("what each model cost, USD", f"sum by ({model}) ({USUAL.metric(n.COST)})"),
        ("alerts, pending and firing", "ALERTS"),
    ]
    traces: list[tuple[str, Mapping[str, str]]] = [
        ("calls that fell back to another target", {n.FALLBACK_COUNT: "1"}),
        ("probes of a circuit that had been open", {n.CIRCUIT_STATE: "half_open"}),
    ]
    return [
        *(_asked(stack, words, query) for words, query in metrics),
        _exemplars(stack, failed),
        *(_searched(stack, words, tags) for words, tags in traces),
    ]


def _asked(stack: Stack, words: str, query: str) -> Look:
    found = [_line(it) for it in _query(stack, query)]
    return Look(words=words, query=query, url=_address(stack, query), found=tuple(found[:_MOST]))


def _exemplars(stack: Stack, series: str) -> Look:
    now = time.time()
    url = f"{stack.prometheus}/api/v1/query_exemplars?" + urlencode(
        {"query": series, "start": int(now) - 3600, "end": int(now) + 3600}, quote_via=quote
    )
    ids = {it["labels"]["trace_id"] for one in _fetch(url)["data"] for it in one["exemplars"]}
    found = tuple(f"{stack.jaeger}/api/traces/{trace}" for trace in sorted(ids)[:3])
    return Look(
        words="from the latency of failures to the trace of one (exemplars)", query=series, url=url, found=found
    )


def _searched(stack: Stack, words: str, tags: Mapping[str, str]) -> Look:
    traces = _traces(stack, tags)
    said = " ".join(f"{name}={value}" for name, value in tags.items())
    return Look(words=words, query=said, url=_search(stack, tags), found=(f"{len(traces)} traces",))


def _query(stack: Stack, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = _fetch(_address(stack, query))["data"]["result"]
    return sorted(found, key=lambda it: sorted(it["metric"].items()))


def _traces(stack: Stack, tags: Mapping[str, str]) -> list[Any]:
    found: list[Any] = _fetch(_search(stack, tags))["data"]
    return found


def _address(stack: Stack, query: str) -> str:
    return f"{stack.prometheus}/api/v1/query?{urlencode({'query': query}, quote_via=quote)}"


def _search(stack: Stack, tags: Mapping[str, str]) -> str:
    asked = {"service": SERVICE, "limit": "500", "lookback": "1h", "tags": json.dumps(tags, separators=(",", ":"))}
    return f"{stack.jaeger}/api/traces?{urlencode(asked, quote_via=quote)}"


def _line(it: Mapping[str, Any]) -> str:
    labels = " ".join(f"{name}={value}" for name, value in sorted(it["metric"].items()) if name != "__name__")
    value = f"{float(it['value'][1]):.6g}"
    return f"{labels}  {value}" if labels else value


def _fetch(url: str) -> Any:
    """A GET's JSON, past every proxy. StateError where there is none."""
    place, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(place, timeout=10)
    try:
        connection.request("GET", f"/{path}")
        return json.loads(connection.getresponse().read())
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise StateError(f"{place} does not answer ({type(error).__name__}).") from error
    finally:
        connection.close()
