"""Durations lead to their spans: from a dot on a curve to the trace behind it."""

from __future__ import annotations

import itertools

from calls.ways import BODY, HAIKU

import attune
from attune.telemetry import names as n
from attune.testing import ScriptedProvider


def exemplars(sandbox, metric: str) -> set[int]:
    """The spans that this histogram's exemplars lead to."""
    data = sandbox.reader.get_metrics_data()
    scopes = itertools.chain.from_iterable(it.scope_metrics for it in data.resource_metrics)
    metrics = itertools.chain.from_iterable(it.metrics for it in scopes)
    points = itertools.chain.from_iterable(it.data.data_points for it in metrics if it.name == metric)
    return {one.span_id for point in points for one in point.exemplars}


def test_a_duration_leads_to_the_span_it_measures(attune_sandbox):
    """The call's to its route span; the attempt's, ours and the conventions', to the attempt's span."""
    import anthropic

    with ScriptedProvider() as provider, anthropic.Anthropic(base_url=provider.url, api_key="scripted") as client:
        attune.wrap(client).messages.create(model=HAIKU, **BODY)
    attempt, route = attune_sandbox.spans
    assert route.name.startswith(n.SPAN_ROUTE)
    assert exemplars(attune_sandbox, n.CALL_DURATION) == {route.context.span_id}
    assert exemplars(attune_sandbox, n.ATTEMPT_DURATION) == {attempt.context.span_id}
    assert exemplars(attune_sandbox, n.GENAI_OLDER.duration) == {attempt.context.span_id}
