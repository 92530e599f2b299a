"""Of 1,000 traces the gateway keeps every one that its policies name, and some of the rest; figures are made before that."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from stack import collectors

from attune.telemetry import names as n

TRACES, EACH, SHARE = 1000, 20, 0.10
ORDINARY = {n.OUTCOME: "success", n.CIRCUIT_STATE: "closed", n.ROUTE_EXPLORED: False, n.ATTEMPT_COST: 0.001}
ROUTE = {
    n.OUTCOME: "success",
    n.ROUTE_REASON: "proven",
    n.ROUTE_EXPLORED: False,
    n.FALLBACK_COUNT: 0,
    n.CALL_COST: 0.001,
}
TRANSITION = (n.EVENT_TRANSITION, {n.CIRCUIT_NAME: "anthropic", n.CIRCUIT_TO: "open"})
# What the policy names: how the route span, and how the attempt's span, differ from an ordinary call's.
WORTH: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "errors of a call": ({"error": ""}, {}),
    "errors of an attempt": ({}, {"error": ""}),
    "open circuit": ({}, {"known": {n.CIRCUIT_STATE: "open"}}),
    "half-open circuit": ({}, {"known": {n.CIRCUIT_STATE: "half_open"}}),
    "a transition": ({"events": [TRANSITION]}, {}),
    "refused by attune": ({"known": {n.OUTCOME: "rejected"}}, {}),
    "fallback of a call": ({"known": {n.FALLBACK_COUNT: 1}}, {}),
    "fallback of an attempt": ({}, {"known": {n.ATTEMPT_KIND: "fallback"}}),
    "exploration": ({"known": {n.ROUTE_EXPLORED: True}}, {}),
    "the router's fault": ({"known": {n.ROUTE_REASON: "fault"}}, {}),
    "a probe": ({"known": {n.ROUTE_REASON: "probe"}}, {}),
    "slow": ({"duration_s": 15.1}, {}),
    "costly call": ({"known": {n.CALL_COST: 0.25}}, {}),
    "costly attempt": ({}, {"known": {n.ATTEMPT_COST: 0.25}}),
}
# Just under what is slow and costly.
NOT_WORTH = ({"duration_s": 14.0, "known": {n.CALL_COST: 0.249}}, {"known": {n.ATTEMPT_COST: 0.249}})


def trace(number: int, route: dict[str, Any], attempt: dict[str, Any]) -> list:
    """Two spans: a call and its one attempt."""
    facts = ((ROUTE, route, n.SPAN_ROUTE), (ORDINARY, attempt, n.SPAN_ATTEMPT))
    return [
        collectors.span(number, name, span_id=place, **{**more, "known": {**usual, **more.get("known", {})}})
        for place, (usual, more, name) in enumerate(facts, start=1)
    ]


@pytest.fixture(scope="module")
def sampled(lasting_yard) -> tuple[dict[str, set[bytes]], collectors.Sink]:
    """Classes of trace ids as they were sent, in batches that tear traces apart, and the store behind the gateway."""
    kinds = [kind for kind in WORTH for _ in range(EACH)]
    kinds += ["rest"] * (TRACES - len(kinds))
    sent: dict[str, set[bytes]] = {}
    routes, attempts = [], []
    for number, kind in enumerate(kinds, start=1):
        route, attempt = trace(number * 7919, *WORTH.get(kind, NOT_WORTH))
        sent.setdefault(kind, set()).add(route.trace_id)
        routes.append(route)
        attempts.append(attempt)
    with collectors.Sink() as store:
        gateway = collectors.gateway(lasting_yard, store.url, COLLECTOR_DECISION_WAIT="3s")
        for spans in (attempts[:600], attempts[600:], routes[:300], routes[300:]):
            assert collectors.send(gateway, collectors.request(spans)) == 200
        kept = lambda: {it for kind in WORTH for it in sent[kind]} <= store.trace_ids()  # noqa: E731
        collectors.soon(kept, 20)
        collectors.soon(lambda: counted(store) == 2 * TRACES)
        yield sent, store


def counted(store: collectors.Sink) -> int:
    metric = store.metrics().get("traces.span.metrics.calls")
    return sum(point.as_int for point in metric.sum.data_points) if metric else 0


@pytest.mark.needs("otelcol")
@pytest.mark.parametrize("kind", WORTH)
def test_what_the_policy_names_is_kept_whole(kind, sampled):
    sent, store = sampled
    assert len(sent[kind]) == EACH
    for trace_id in sent[kind]:
        assert sum(span.trace_id == trace_id for _, span in store.traces()) == 2


@pytest.mark.needs("otelcol")
def test_of_the_rest_about_a_tenth_is_kept(sampled):
    """Within four standard deviations of a share of 10 %; and what is kept is whole."""
    sent, store = sampled
    rest = sent["rest"]
    kept = rest & store.trace_ids()
    spread = (len(rest) * SHARE * (1 - SHARE)) ** 0.5
    assert abs(len(kept) - len(rest) * SHARE) < 4 * spread
    assert all(sum(span.trace_id == it for _, span in store.traces()) == 2 for it in list(kept)[:10])


@pytest.mark.needs("otelcol")
def test_span_metrics_count_every_span_and_not_what_is_left(sampled):
    """They are made before sampling: 2,000 spans, while the store has far fewer."""
    _, store = sampled
    assert counted(store) == 2 * TRACES
    assert len(store.traces()) < TRACES


def test_no_rate_comes_from_traces():
    """Rules count on attune's own counters; span metrics, unsampled as they are, serve the cross-check alone."""
    for path in (collectors.COLLECTOR / "rules").glob("*.yaml"):
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                if "traces_" in rule["expr"]:
                    assert rule["record"] == "attune:crosscheck:ratio_rate10m"


def test_no_dashboard_makes_a_rate_from_traces():
    """A panel that counts spans of the trace store would count what sampling left. (Quantiles there say that they are of kept ones.)"""
    found = sorted((collectors.COLLECTOR.parent / "grafana" / "dashboards").glob("*.json"))
    assert found
    for path in found:
        for query in walk(json.loads(path.read_text()), lambda it: it.get("expr") or it.get("query")):
            assert "traces_span_metrics" not in str(query), path.name
            assert not re.search(r"\|\s*(rate|count_over_time)\(", str(query)), path.name


def walk(node: Any, pick: Callable[[dict], Any]) -> list[Any]:
    """What `pick` finds in every object of a JSON document."""
    if isinstance(node, dict):
        return [*([pick(node)] if pick(node) else []), *(it for child in node.values() for it in walk(child, pick))]
    return [it for child in node for it in walk(child, pick)] if isinstance(node, list) else []


def test_the_decision_waits_longer_than_the_slowest_call_that_is_ordinary():
    """A trace that is judged before its end is judged by what had come."""
    config = yaml.safe_load((collectors.COLLECTOR / "gateway.yaml").read_text())["processors"]["tail_sampling"]
    wait = float(re.search(r":-(\d+)s", config["decision_wait"])[1])
    slow = next(policy["latency"]["threshold_ms"] for policy in config["policies"] if policy["type"] == "latency")
    assert wait > 4 * slow / 1000
    assert config["num_traces"] >= wait * config["expected_new_traces_per_sec"]
    assert config["decision_cache"]["sampled_cache_size"] > config["num_traces"]
