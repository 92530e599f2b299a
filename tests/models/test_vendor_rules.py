"""What those who bring code written for other libraries rely on: signatures, keys, texts and thresholds, to the letter.

Asked through the public names on a real runtime with the real catalogue. How the answers come about is tested beside the
parts; here stands what must not change under anybody's code.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import math
from types import SimpleNamespace
from unittest.mock import MagicMock

import anthropic
import anyio
import pytest

import attune
from attune import models
from attune.errors import ConfigError
from attune.models import (
    AdaptiveModelRouter,
    AuthMode,
    AuthStrategy,
    CircuitBreaker,
    LLMExecutor,
    LLMResponse,
    ModelInfo,
    ModelPerformance,
    ModelTier,
    SubscriptionTier,
    get_all_models,
    get_auth_strategy,
    get_model,
    get_pricing_for_model,
)
from attune.testing import ScriptedProvider, fail, ok

NOW = 1_800_000_000.0
REQUIRED = inspect.Parameter.empty


@pytest.fixture(autouse=True)
def sandbox(attune_sandbox):
    return attune_sandbox


def entry(model="claude-sonnet-5-5", success=True, **facts):
    return {"workflow": "w", "stage": "s", "model": model, "tier": "capable", "success": success, **facts}


def entries(good, bad=0, **facts):
    """Newest first, as such stores give them: the failures are the oldest."""
    return [entry(success=n < good, ts=NOW - n, cost=0.002, duration_ms=900, **facts) for n in range(good + bad)]


def telemetry(*some):
    it = MagicMock()
    it.get_recent_entries.return_value = list(some)
    return it


# -- signatures

SIGNATURES = {
    "CircuitBreaker.reset": (CircuitBreaker.reset, {"provider": None, "tier": None}),
    "CircuitBreaker.is_available": (CircuitBreaker.is_available, {"provider": REQUIRED, "tier": None}),
    "CircuitBreaker.record_success": (CircuitBreaker.record_success, {"provider": REQUIRED, "tier": None}),
    "CircuitBreaker.record_failure": (CircuitBreaker.record_failure, {"provider": REQUIRED, "tier": None}),
    "AdaptiveModelRouter": (AdaptiveModelRouter.__init__, {"telemetry": None}),
    "get_best_model": (
        AdaptiveModelRouter.get_best_model,
        {
            "workflow": REQUIRED, "stage": REQUIRED, "max_cost": None, "max_latency_ms": None, "min_success_rate": 0.8,
            "on_infeasible": "default",
        },
    ),
    "get_routing_stats": (
        AdaptiveModelRouter.get_routing_stats, {"workflow": REQUIRED, "stage": None, "days": 7},
    ),
    "recommend_tier_upgrade": (
        AdaptiveModelRouter.recommend_tier_upgrade, {"workflow": REQUIRED, "stage": REQUIRED},
    ),
    "AuthStrategy": (
        AuthStrategy.__init__,
        {
            "subscription_tier": SubscriptionTier.PRO, "default_mode": AuthMode.AUTO, "small_module_threshold": 500,
            "medium_module_threshold": 2000, "loc_to_tokens_multiplier": 4.0, "setup_completed": True,
            "prefer_subscription": True, "cost_optimization": True,
        },
    ),
    "get_recommended_mode": (AuthStrategy.get_recommended_mode, {"module_lines": REQUIRED}),
    "estimate_tokens": (AuthStrategy.estimate_tokens, {"module_lines": REQUIRED}),
    "estimate_cost": (AuthStrategy.estimate_cost, {"module_lines": REQUIRED, "mode": None}),
    "get_pros_cons": (AuthStrategy.get_pros_cons, {"module_lines": REQUIRED}),
    "save": (AuthStrategy.save, {"path": None}),
    "load": (AuthStrategy.load, {"path": None}),
    "get_auth_strategy": (get_auth_strategy, {}),
    "LLMResponse": (
        LLMResponse.__init__,
        {
            "content": REQUIRED, "model_id": REQUIRED, "provider": REQUIRED, "tier": REQUIRED, "tokens_input": 0,
            "tokens_output": 0, "cost_estimate": 0.0, "latency_ms": 0,
        },
    ),
    "ModelPerformance": (
        ModelPerformance.__init__,
        {
            "model_id": REQUIRED, "tier": REQUIRED, "success_rate": REQUIRED, "avg_latency_ms": REQUIRED,
            "avg_cost": REQUIRED, "sample_size": REQUIRED, "recent_failures": 0,
        },
    ),
    "ModelInfo": (
        ModelInfo.__init__,
        {
            "id": REQUIRED, "provider": REQUIRED, "tier": None, "input_cost_per_million": None,
            "output_cost_per_million": None, "max_tokens": 4096, "supports_vision": False, "supports_tools": True,
            "context_window": None,
        },
    ),
    "get_model": (get_model, {"provider": REQUIRED, "tier": REQUIRED}),
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNATURES)
def test_arguments_stand_in_their_order_with_their_defaults(name):
    """More may follow, never by position in between."""
    function, promised = SIGNATURES[name]
    parameters = [it for it in inspect.signature(function).parameters.values() if it.name != "self"]
    assert {it.name: it.default for it in parameters[: len(promised)]} == promised
    assert [it.name for it in parameters[: len(promised)]] == list(promised)


def test_the_breaker_takes_its_settings_by_position_and_name():
    """Without any it is a handle; the first two are the documented ones."""
    names = list(inspect.signature(CircuitBreaker.__init__).parameters)[1:]
    assert names[:4] == ["failure_threshold", "recovery_timeout_seconds", "half_open_calls", "probe_lease_seconds"]
    breaker = CircuitBreaker(2, 0.5)
    breaker.record_failure("anthropic")
    assert breaker.is_available("anthropic")
    breaker.record_failure("anthropic")
    breaker.record_failure("anthropic")
    assert not breaker.is_available("anthropic")
    assert CircuitBreaker().is_available("anthropic")


# -- words


@pytest.mark.parametrize("kind", [SubscriptionTier, AuthMode, ModelTier], ids=lambda it: it.__name__)
def test_words_are_strings_and_read_in_upper_case(kind):
    for member in kind:
        assert member == member.value == str(member) == f"{member}"
        assert kind(member.value.upper()) is kind[member.name] is member
        assert json.loads(json.dumps(member)) == member.value
    with pytest.raises(ValueError, match="gold"):
        kind("gold")


def test_the_words_are_the_documented_ones():
    assert [*SubscriptionTier] == ["free", "pro", "max", "enterprise", "api_only"]
    assert [*AuthMode] == ["subscription", "api", "auto"]
    assert [*ModelTier] == ["cheap", "capable", "premium"]


# -- auth


@pytest.mark.parametrize(
    ("tier", "modes"),
    [
        ("free", "subscription subscription api"),
        ("pro", "api api api"),
        ("max", "subscription subscription api"),
        ("enterprise", "subscription subscription api"),
        ("api_only", "api api api"),
    ],
)
def test_each_plan_recommends_by_the_modules_size(tier, modes):
    """At 499, 1999 and 2000 lines."""
    strategy = AuthStrategy(tier)
    assert " ".join(strategy.get_recommended_mode(lines) for lines in (499, 1999, 2000)) == modes


def test_an_estimate_has_its_keys_and_the_models_real_window():
    """On today's catalogue: something is to pay by token, nothing by subscription, and the supposed model is named."""
    keys = {"mode", "monetary_cost", "quota_cost", "tokens_used", "fits_in_context", "tier", "assumptions"}
    by_token = AuthStrategy("max").estimate_cost(1, AuthMode.API)
    by_plan = AuthStrategy("max").estimate_cost(1, "subscription")
    assert set(by_token) == set(by_plan) == keys
    assert by_token["monetary_cost"] > by_plan["monetary_cost"] == 0.0
    assert (by_token["quota_cost"], type(by_plan["quota_cost"])) == (None, str)
    supposed = get_model("anthropic", "capable")
    assert by_token["assumptions"]["model"] == supposed.id
    assert by_token["assumptions"]["context_window"] == supposed.context_window
    too_long = supposed.context_window // 4 + 1
    assert AuthStrategy().estimate_cost(too_long)["fits_in_context"] is False
    assert AuthStrategy().estimate_cost(100)["fits_in_context"] is True


def test_pros_and_cons_have_their_keys():
    weighed = AuthStrategy("max").get_pros_cons(300)
    assert set(weighed) == {"subscription", "api", "auto"}
    for it in weighed.values():
        assert set(it) == {"name", "cost", "pros", "cons", "estimate"}
        assert all(isinstance(word, str) for word in [it["name"], it["cost"], *it["pros"], *it["cons"]])
    assert weighed["auto"]["estimate"]["current_recommendation"] == "subscription"


# -- routing


@pytest.mark.parametrize("source", [None, MagicMock(), telemetry(), telemetry(*entries(3, 1)), telemetry(entry())])
@pytest.mark.parametrize("stage", ["s", None])
def test_statistics_have_every_key_and_no_hole(source, stage):
    """0.0 where nothing is known; never None, never NaN."""
    stats = AdaptiveModelRouter(source).get_routing_stats("w", stage, 30)
    assert set(stats) == {
        "workflow", "stage", "days_analyzed", "models_used", "performance_by_model", "total_calls", "sample_size",
        "avg_cost", "avg_success_rate",
    }  # fmt: skip
    assert (stats["workflow"], stats["stage"]) == ("w", stage or "all")
    assert stats["performance_by_model"]
    for it in stats["performance_by_model"].values():
        assert set(it) >= {"calls", "success_rate", "avg_cost", "avg_latency_ms", "p95_latency_ms", "sample_size"}
        assert all(isinstance(value, int | float) and math.isfinite(value) for value in it.values())
    for name in ("total_calls", "sample_size"):
        assert type(stats[name]) is int
    for name in ("avg_cost", "avg_success_rate"):
        assert type(stats[name]) is float
    assert isinstance(stats["models_used"], list)


@pytest.mark.parametrize(
    ("good", "bad", "upgrade", "text"),
    [
        (0, 0, False, "Insufficient data"),
        (0, 9, False, "Insufficient data"),
        (14, 6, True, "High failure rate: 30.0%"),
        (9, 1, False, "Performance acceptable: 10.0%"),
        (16, 4, False, "Performance acceptable: 20.0%"),
        (15, 5, True, "High failure rate: 25.0%"),
        (20, 60, False, "Performance acceptable: 0.0%"),
    ],
)
def test_advice_begins_with_its_text(good, bad, upgrade, text):
    """Over 20 % of the last 20, and nothing under 10."""
    answer = AdaptiveModelRouter(telemetry(*entries(good, bad))).recommend_tier_upgrade("w", "s")
    assert type(answer) is tuple
    assert (answer[0], answer[1].startswith(text)) == (upgrade, True)


def test_thresholds_are_readable_on_the_class():
    router = AdaptiveModelRouter
    assert (router.MIN_SAMPLE_SIZE, router.FAILURE_RATE_THRESHOLD, router.RECENT_WINDOW_SIZE) == (10, 0.2, 20)


def test_a_telemetry_store_of_ones_own_is_enough(sandbox):
    """It is kept as `telemetry`, read at the first question, and again only after 5 seconds."""
    source = telemetry(*entries(12))
    router = AdaptiveModelRouter(source)
    assert router.telemetry is source
    source.get_recent_entries.assert_not_called()
    for _ in range(3):
        assert router.get_best_model("w", "s") == "claude-sonnet-5-5"
        router.get_routing_stats("w", "s")
        router.recommend_tier_upgrade("w", "s")
    sandbox.clock.advance(4.9)
    router.get_best_model("w", "s")
    source.get_recent_entries.assert_called_once()
    sandbox.clock.advance(0.1)
    router.get_best_model("w", "s")
    assert source.get_recent_entries.call_count == 2


def test_a_store_that_takes_no_arguments_is_asked_without():
    source = SimpleNamespace(get_recent_entries=lambda: entries(12))
    assert AdaptiveModelRouter(source).get_best_model("w", "s") == "claude-sonnet-5-5"


@pytest.mark.parametrize("missing", ["stage", "model", "tier", "success", "cost", "duration_ms", "ts", "workflow"])
def test_an_entry_may_lack_any_key(missing):
    """It says less, and breaks nothing."""
    some = [{name: value for name, value in it.items() if name != missing} for it in entries(12)]
    router = AdaptiveModelRouter(telemetry(*some))
    assert isinstance(router.get_best_model("w", "s"), str)
    stats = router.get_routing_stats("w")
    assert stats["total_calls"] == (0 if missing in ("model", "workflow") else 12)
    assert stats["sample_size"] == (0 if missing in ("model", "workflow", "success") else 12)


def test_an_id_no_catalogue_knows_is_given_back_verbatim():
    source = telemetry(*entries(12, model="Team/Odd-Model:7b"))
    assert AdaptiveModelRouter(source).get_best_model("w", "s") == "Team/Odd-Model:7b"


def test_the_quality_score_is_the_known_formula():
    assert ModelPerformance("m", "cheap", 0.95, 800, 0.5, 10).quality_score == 90.0


# -- models and prices


@pytest.mark.parametrize("tier", ["cheap", "CHEAP", "Capable", ModelTier.PREMIUM])
@pytest.mark.parametrize("provider", ["anthropic", "Anthropic", "OPENAI"])
def test_a_model_is_found_in_any_case(provider, tier):
    found = get_model(provider, tier)
    assert (found.provider, found.tier) == (provider.lower(), tier.lower())
    assert found.input_cost_per_million > 0
    assert found.output_cost_per_million > 0


def test_an_unknown_provider_is_refused_in_these_words():
    with pytest.raises(ConfigError, match=r"^Provider 'ollama' is not supported") as caught:
        get_model("ollama", "cheap")
    assert isinstance(caught.value, ValueError)
    for known in get_all_models():
        assert known in str(caught.value)


def test_the_registry_is_a_mapping_of_providers_and_tiers():
    """Tiers are found as words and as members."""
    assert get_all_models() == models.MODEL_REGISTRY
    for tiers in models.MODEL_REGISTRY.values():
        for tier, info in tiers.items():
            assert tiers[str(tier)] is tiers[ModelTier(tier)] is info
            assert info.id


def test_prices_are_dollars_per_million_and_dated_ids_resolve():
    """None for what nobody knows."""
    known = get_model("anthropic", "cheap")
    price = get_pricing_for_model(known.id)
    assert price == {"input": known.input_cost_per_million, "output": known.output_cost_per_million}
    assert get_pricing_for_model(f"{known.id}-20260901") == price
    assert get_pricing_for_model("no-such-model") is None


# -- answers


def test_an_answer_has_both_sets_of_names():
    it = LLMResponse("text", "m", "anthropic", "cheap", 3, 4, 0.5, 60)
    assert (it.input_tokens, it.output_tokens, it.total_tokens, it.cost, it.model_used) == (3, 4, 7, 0.5, "m")
    assert (it.tokens_input, it.tokens_output, it.cost_estimate, it.model_id, it.success) == (3, 4, 0.5, "m", True)


FACTS = {
    "error_type", "fallback_used", "fallback_chain", "original_provider", "original_tier", "retry_count",
    "circuit_breaker_state",
}  # fmt: skip


@pytest.fixture
def provider():
    with ScriptedProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def _pool():
    with anthropic.Anthropic(api_key="scripted", base_url="http://127.0.0.1:9", timeout=5, max_retries=0) as client:
        yield client


@pytest.fixture
def executor(sandbox, provider, _pool):
    client = _pool.with_options(base_url=provider.url, default_headers={"x-team": "blue"})
    sandbox.configure(clients={"anthropic": client})
    return LLMExecutor()


def test_an_answers_metadata_has_its_keys(executor, provider):
    """After a fallback, the chain names who was asked, in order."""
    good = executor.run("hello", workflow="w", stage="s")
    assert set(good.metadata) >= FACTS
    assert (good.metadata["error_type"], good.metadata["fallback_used"]) == (None, False)
    provider.script(good.model_id, fail(529))
    other = executor.run("hello", workflow="w", stage="s")
    assert other.success
    assert other.metadata["fallback_used"] is True
    assert other.metadata["fallback_chain"] == [good.model_id, other.model_id]
    assert other.metadata["original_tier"] == good.tier != other.tier
    assert json.loads(json.dumps(other.metadata["circuit_breaker_state"]))[f"anthropic:{good.model_id}"]


def test_a_failures_metadata_has_the_same_keys(executor, provider):
    provider.outage(status=500)
    failed = executor.run("hello", workflow="w", stage="s")
    assert (failed.success, failed.metadata["error_type"]) == (False, "server")
    assert set(failed.metadata) >= FACTS
    assert len(failed.metadata["fallback_chain"]) == 3


@pytest.mark.parametrize(
    ("arrange", "request_", "kind", "remedy"),
    [
        (lambda: CircuitBreaker().force_open("anthropic"), {}, "circuit_open", "anthropic"),
        (lambda: None, {"max_cost": 1e-12}, "NoModelAvailable", "max_cost"),
    ],
    ids=["open", "dear"],
)
def test_a_refusal_is_an_answer_that_says_why(executor, provider, arrange, request_, kind, remedy):
    """Nothing was sent; the same keys are there."""
    arrange()
    refused = executor.run("hello", workflow="w", stage="s", **request_)
    assert (refused.success, refused.metadata["error_type"], provider.requests) == (False, kind, ())
    assert remedy in refused.metadata["error"]
    assert set(refused.metadata) >= FACTS


def test_without_a_key_the_answer_says_what_to_do(sandbox):
    """The SDK refuses before it sends; no circuit counts that."""
    attune.configure(state="memory", readers=(), home=sandbox.home)
    refused = LLMExecutor().run("hello")
    assert (refused.success, refused.metadata["error_type"]) == (False, "caller")
    assert "ANTHROPIC_API_KEY" in refused.metadata["error"]
    assert not any(it["failure_count"] for it in CircuitBreaker().get_status().values())


def test_the_awaited_way_uses_the_client_that_was_given(executor, provider, monkeypatch):
    """Its address, account, headers and patience, though it is a sync one."""
    made = []
    make = anthropic.AsyncAnthropic.__init__
    monkeypatch.setattr(
        anthropic.AsyncAnthropic, "__init__", lambda self, **words: (make(self, **words), made.append(self))[0]
    )
    provider.script(None, ok("fine"))
    answer = asyncio.run(executor.arun("hello", workflow="w", stage="s", system="be brief"))
    assert (answer.content, answer.success, len(provider.requests)) == ("fine", True, 1)
    client = made[0]
    assert (client.api_key, client.timeout, client.max_retries) == ("scripted", 5, 0)
    assert client.default_headers["x-team"] == "blue"


@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_the_awaited_way_works_on_one_event_loop_after_another(executor, provider, library):
    """A connection of a loop that has ended is never taken up again, and none is left open."""

    async def twice():
        return [await executor.arun("hello", workflow="w", stage="s") for _ in range(2)]

    for _ in range(3):
        for answer in anyio.run(twice, backend=library):
            assert (answer.success, answer.metadata["fallback_used"]) == (True, False)
    assert len(provider.requests) == 6
    gc.collect()  # an open transport would warn here, and a warning is an error


def test_a_client_of_another_kind_is_asked_in_its_own_way_only(sandbox):
    """A cloud's credentials are not ours to copy into another client."""
    cloud = anthropic.AsyncAnthropicBedrock(aws_region="us-east-1", aws_access_key="k", aws_secret_key="s")
    sandbox.configure(clients={"anthropic": cloud})
    with pytest.raises(ConfigError, match="AsyncAnthropicBedrock"):
        LLMExecutor().run("hello")
