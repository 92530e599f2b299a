"""Where the provider itself went on to another model, or was helped by one: what that costs, and whose evidence it is."""

from __future__ import annotations

import pytest
from calls.ways import HAIKU, OPUS, SONNET, Bench, Ledger, Way

import attune
from attune.models import get_pricing_for_model
from attune.testing import Sandbox, ok

TOKENS = {"input_tokens": 1000, "output_tokens": 200}


def entry(kind: str, **more) -> dict:
    return {"type": kind, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, **TOKENS, **more}


def usd(model: str) -> float:
    price = get_pricing_for_model(model)
    return (TOKENS["input_tokens"] * price["input"] + TOKENS["output_tokens"] * price["output"]) / 1e6


def test_the_model_that_answered_is_paid(bench: Bench, ledger: Ledger, sandbox: Sandbox, way: Way):
    """The provider's own fallback: its price, and still one attempt at the model that was asked."""
    told = [entry("message", model=OPUS), entry("fallback_message", model=HAIKU)]
    bench.provider.script(OPUS, ok(usage={**TOKENS, "iterations": told}))
    seen = bench.ask(way, bench.wrapped(way, workflow="w"), OPUS, extra_body={"fallbacks": [{"model": HAIKU}]})
    assert seen.error is None
    assert seen.tried == [(OPUS, "initial", "success", None)]
    assert seen.record.cost == pytest.approx(usd(HAIKU))
    assert seen.record.cost_complete
    cell = sandbox.runtime.snapshot().cells["w", "default"]
    assert set(cell.stats) == {("anthropic", OPUS)}
    assert cell.stats["anthropic", OPUS].cost_nano == pytest.approx(usd(HAIKU) * 1e9)
    ledger.check(seen.records)


def test_a_model_of_unknown_price_answered(bench: Bench, sandbox: Sandbox, way: Way):
    """Then the cost is unknown, and not that of the model asked."""
    bench.provider.script(OPUS, ok(usage={**TOKENS, "iterations": [entry("fallback_message", model="nobody-knows-1")]}))
    seen = bench.ask(way, bench.wrapped(way), OPUS)
    assert (seen.record.cost, seen.record.cost_complete) == (0.0, False)


def test_an_unanswered_hop_changes_nothing(bench: Bench, sandbox: Sandbox, way: Way):
    """Turns of the model asked are in the totals already."""
    bench.provider.script(OPUS, ok(usage={**TOKENS, "iterations": [entry("message"), entry("message", model=OPUS)]}))
    assert bench.ask(way, bench.wrapped(way), OPUS).record.cost == pytest.approx(usd(OPUS))


def test_helpers_are_paid_besides(bench: Bench, sandbox: Sandbox, way: Way):
    """A compaction at the price of the model that answered, an advisor at its own: neither is in the totals."""
    told = [entry("message"), entry("compaction"), entry("advisor_message", model=SONNET)]
    bench.provider.script(HAIKU, ok(usage={**TOKENS, "iterations": told}))
    seen = bench.ask(way, bench.wrapped(way), HAIKU)
    assert seen.record.cost == pytest.approx(2 * usd(HAIKU) + usd(SONNET))
    assert seen.record.usage.input_tokens == TOKENS["input_tokens"]


def test_the_beta_classes_are_read_too(bench: Bench, sandbox: Sandbox):
    """`client.beta.messages` gives objects where the plain client gives dictionaries."""
    bench.provider.script(OPUS, ok(usage={**TOKENS, "iterations": [entry("fallback_message", model=HAIKU)]}))
    client = bench.wrapped(Way("plain"))
    with attune.capture() as calls:
        client.beta.messages.create(model=OPUS, max_tokens=9, messages=[{"role": "user", "content": "x"}])
    assert calls[0].cost == pytest.approx(usd(HAIKU))


def test_what_is_no_list_is_no_iteration(bench: Bench, sandbox: Sandbox, way: Way):
    bench.provider.script(OPUS, ok(usage={**TOKENS, "iterations": [None, "x", {"type": "fallback_message"}]}))
    seen = bench.ask(way, bench.wrapped(way), OPUS)
    assert seen.record.cost == pytest.approx(usd(OPUS))
    assert sandbox.faults == {}
