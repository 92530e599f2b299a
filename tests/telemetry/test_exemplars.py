"""Durations lead to their spans: from a dot on a curve to the trace behind it."""

from __future__ import annotations

import itertools

from calls.ways import BODY, HAIKU

import attune
from attune.telemetry import names as n
from attune.testing import ScriptedProvider


def exemplars(sandbox) -> dict[str, set[int]]:
    """The spans that each metric's exemplars lead to; asking takes them out."""
    data = sandbox.reader.get_metrics_data()
    scopes = itertools.chain.from_iterable(it.scope_metrics for it in data.resource_metrics)
    metrics = itertools.chain.from_iterable(it.metrics for it in scopes)
    return {it.name: {one.span_id for point in it.data.data_points for one in point.exemplars} for it in metrics}


def test_a_duration_leads_to_the_span_it_measures(attune_sandbox):
    """The call's to its route span; the attempt's, ours and the conventions', to the attempt's span."""
    import anthropic

    with ScriptedProvider() as provider, anthropic.Anthropic(base_url=provider.url, api_key="scripted") as client:
        attune.wrap(client).messages.create(model=HAIKU, **BODY)
    attempt, route = attune_sandbox.spans
    assert route.name.startswith(n.SPAN_ROUTE)
    found = exemplars(attune_sandbox)
    assert found[n.CALL_DURATION] == {route.context.span_id}
    assert found[n.ATTEMPT_DURATION] == {attempt.context.span_id}
    assert found[n.GENAI_OLDER.duration] == {attempt.context.span_id}
