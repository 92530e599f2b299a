"""The auth strategy's rules, line by line: which mode, what it costs, what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attune.errors import ConfigError
from attune.models import auth_strategy, process
from attune.models.auth_strategy import AuthMode, AuthStrategy, SubscriptionTier
from attune.models.registry import NANO, Catalogue, ModelInfo, Price

MODEL = ModelInfo("sonnet", "anthropic", "capable", 2, 10, context_window=1_000_000)
LINES = st.integers(min_value=0, max_value=10**6)
PLANS = [tier for tier in SubscriptionTier if tier not in ("pro", "api_only")]


@pytest.fixture
def provided(monkeypatch):
    """A process whose catalogue has one model."""
    catalogue = Catalogue([MODEL])
    monkeypatch.setattr(process, "_slot", [lambda: SimpleNamespace(catalogue=catalogue)])


@pytest.mark.parametrize("tier", ["pro", "api_only"])
@pytest.mark.parametrize("lines", [0, 100, 499, 500, 1999, 2000, 50_000])
def test_pro_and_api_only_pay_by_the_token(tier, lines):
    assert AuthStrategy(tier).get_recommended_mode(lines) is AuthMode.API


@pytest.mark.parametrize("tier", PLANS)
@pytest.mark.parametrize(
    ("lines", "prefer", "mode"),
    [
        (0, True, "subscription"),
        (499, False, "subscription"),
        (500, True, "subscription"),
        (500, False, "api"),
        (1999, True, "subscription"),
        (1999, False, "api"),
        (2000, True, "api"),
        (2000, False, "api"),
        (90_000, True, "api"),
    ],
)
def test_other_plans_go_by_the_size_of_the_module(tier, lines, prefer, mode):
    """Small: the plan. Medium: the plan if it is preferred. From medium on: by the token."""
    assert AuthStrategy(tier, prefer_subscription=prefer).get_recommended_mode(lines) == mode


@pytest.mark.parametrize("tier", list(SubscriptionTier))
@pytest.mark.parametrize("mode", ["subscription", "api"])
@given(lines=LINES)
def test_a_default_mode_other_than_auto_wins(tier, mode, lines):
    assert AuthStrategy(tier, mode).get_recommended_mode(lines) == mode


@given(LINES, st.sampled_from(list(SubscriptionTier)), st.booleans(), LINES, LINES)
def test_a_recommendation_is_never_auto(lines, tier, prefer, one, other):
    strategy = AuthStrategy(
        tier,
        small_module_threshold=min(one, other),
        medium_module_threshold=max(one, other),
        prefer_subscription=prefer,
    )
    assert strategy.get_recommended_mode(lines) in (AuthMode.API, AuthMode.SUBSCRIPTION)


def test_the_thresholds_are_the_users():
    strategy = AuthStrategy("max", small_module_threshold=10, medium_module_threshold=20, prefer_subscription=False)
    assert [strategy.get_recommended_mode(lines) for lines in (9, 10, 20)] == ["subscription", "api", "api"]


def test_the_defaults():
    fresh = AuthStrategy()
    assert (fresh.subscription_tier, fresh.default_mode) == (SubscriptionTier.PRO, AuthMode.AUTO)
    assert (fresh.small_module_threshold, fresh.medium_module_threshold) == (500, 2000)
    assert (fresh.loc_to_tokens_multiplier, fresh.setup_completed) == (4.0, True)
    assert (fresh.prefer_subscription, fresh.cost_optimization, fresh.metadata) == (True, True, {})


@pytest.mark.parametrize(("lines", "rate", "tokens"), [(0, 4.0, 0), (1, 4.0, 4), (3, 3.5, 10), (1000, 4.0, 4000)])
def test_tokens_are_lines_times_the_multiplier_rounded_down(lines, rate, tokens):
    assert AuthStrategy(loc_to_tokens_multiplier=rate).estimate_tokens(lines) == tokens


def test_an_estimate_by_the_token_is_the_catalogues_price(provided):
    """1000 lines: 4000 tokens in at 2 USD, 800 out at 10 USD per million."""
    estimate = AuthStrategy("api_only").estimate_cost(1000)
    assert estimate["mode"] == "api"
    assert estimate["monetary_cost"] == pytest.approx(0.008 + 0.008)
    assert estimate["quota_cost"] is None
    assert estimate["tokens_used"] == 4000
    assert estimate["fits_in_context"] is True
    assert estimate["tier"] == "api_only"
    told = estimate["assumptions"]
    assert (told["model"], told["input_cost_per_million"], told["output_cost_per_million"]) == ("sonnet", 2, 10)
    assert (told["tokens_input"], told["tokens_output"], told["context_window"]) == (4000, 800, 1_000_000)


def test_an_estimate_by_the_plan_costs_no_money_and_some_allowance(provided):
    estimate = AuthStrategy("max").estimate_cost(100)
    assert (estimate["mode"], estimate["monetary_cost"]) == ("subscription", 0.0)
    assert "480" in estimate["quota_cost"]
    assert "max" in estimate["quota_cost"]


@pytest.mark.parametrize("mode", [None, "auto", AuthMode.AUTO, "AUTO"], ids=repr)
def test_the_mode_left_open_is_the_recommended_one(provided, mode):
    assert AuthStrategy("max").estimate_cost(100, mode)["mode"] == "subscription"
    assert AuthStrategy("pro").estimate_cost(100, mode)["mode"] == "api"


@pytest.mark.parametrize("mode", ["api", "API", AuthMode.API], ids=repr)
def test_a_mode_that_is_named_is_kept(provided, mode):
    assert AuthStrategy("max").estimate_cost(100, mode)["mode"] == "api"


@given(st.integers(min_value=1, max_value=10**6), st.floats(min_value=0.001, max_value=1000))
def test_a_cost_is_never_rounded_away(lines, rate):
    """At the smallest price and the smallest module there is still something to pay."""
    tiny = ModelInfo("tiny", "p", None, 0.01, 0.01)
    assert AuthStrategy(loc_to_tokens_multiplier=rate).estimate_cost(lines, "api", model=tiny)["monetary_cost"] > 0


def test_an_unknown_price_is_unknown_and_not_nothing():
    blank = ModelInfo("blank", "p")
    estimate = AuthStrategy().estimate_cost(100, "api", model=blank)
    assert estimate["monetary_cost"] is None
    assert estimate["fits_in_context"] is None
    assert "unknown" in AuthStrategy().get_pros_cons(100, model=blank)["api"]["cost"]


def test_no_model_at_all_is_unknown_too(monkeypatch):
    monkeypatch.setattr(process, "_slot", [lambda: SimpleNamespace(catalogue=Catalogue())])
    assert AuthStrategy().estimate_cost(100, "api")["monetary_cost"] is None
    assert AuthStrategy().estimate_cost(100, "subscription")["monetary_cost"] == 0.0


def test_over_a_step_of_the_price_the_estimate_is_the_steps():
    steep = Price(input=5 * NANO, output=5 * NANO)
    model = ModelInfo("m", "p", None, 1, 1, price_steps=((100_000, steep),))
    low, high = (AuthStrategy().estimate_cost(lines, "api", model=model)["monetary_cost"] for lines in (25_000, 25_001))
    assert low == pytest.approx(0.12)
    assert high == pytest.approx(0.6, rel=1e-3)


@pytest.mark.parametrize(("lines", "fits"), [(208_333, True), (208_334, False)])
def test_the_window_holds_the_module_and_the_answer(provided, lines, fits):
    strategy = AuthStrategy("max")
    assert strategy.estimate_cost(lines)["fits_in_context"] is fits
    warned = any("fit" in con for con in strategy.get_pros_cons(lines)["api"]["cons"])
    assert warned is not fits


def test_pros_and_cons_of_the_three_modes(provided):
    weighed = AuthStrategy("max").get_pros_cons(100)
    assert set(weighed) == {"subscription", "api", "auto"}
    for mode in weighed.values():
        assert set(mode) == {"name", "cost", "pros", "cons", "estimate"}
        assert mode["pros"]
        assert mode["cons"]
    assert weighed["subscription"]["estimate"]["monetary_cost"] == 0.0
    assert weighed["api"]["estimate"]["monetary_cost"] > 0
    assert weighed["auto"]["estimate"]["current_recommendation"] == "subscription"
    assert AuthStrategy("pro").get_pros_cons(100)["auto"]["estimate"]["current_recommendation"] == "api"
    json.dumps(weighed)


@pytest.mark.parametrize(
    ("tier", "wanted", "cheaper"), [("max", True, "subscription"), ("api_only", True, "api"), ("max", False, None)]
)
def test_the_cheaper_mode_is_pointed_out_if_that_is_wanted(provided, tier, wanted, cheaper):
    weighed = AuthStrategy(tier, cost_optimization=wanted).get_pros_cons(100)
    assert weighed["auto"]["estimate"]["cheaper"] == cheaper


def test_without_a_plan_there_is_no_allowance(provided):
    assert "no plan" in AuthStrategy("api_only").estimate_cost(10, "subscription")["quota_cost"]


WRONG = [
    ("subscription_tier", "gold"),
    ("subscription_tier", None),
    ("default_mode", "cash"),
    ("small_module_threshold", -1),
    ("small_module_threshold", 1.5),
    ("small_module_threshold", True),
    ("medium_module_threshold", "2000"),
    ("loc_to_tokens_multiplier", 0),
    ("loc_to_tokens_multiplier", float("nan")),
    ("loc_to_tokens_multiplier", float("inf")),
    ("loc_to_tokens_multiplier", "4"),
    ("setup_completed", "yes"),
    ("prefer_subscription", 1),
    ("cost_optimization", None),
    ("metadata", []),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=[f"{name}-{value!r}" for name, value in WRONG])
def test_a_wrong_value_is_refused_where_it_is_given(name, value):
    """In the constructor, in an assignment and in a dictionary alike; an assignment refused changes nothing."""
    with pytest.raises(ConfigError, match=name):
        AuthStrategy(**{name: value})
    with pytest.raises(ConfigError, match=name):
        AuthStrategy.from_dict({name: value})
    strategy = AuthStrategy()
    with pytest.raises(ConfigError, match=name):
        setattr(strategy, name, value)
    assert strategy == AuthStrategy()


def test_thresholds_that_contradict_each_other_are_refused_at_use():
    """One after the other they may cross; used, they may not."""
    strategy = AuthStrategy()
    strategy.small_module_threshold = 5000
    with pytest.raises(ConfigError, match="small_module_threshold=5000"):
        strategy.get_recommended_mode(10)
    strategy.medium_module_threshold = 6000
    assert strategy.get_recommended_mode(10) is AuthMode.API
    with pytest.raises(ConfigError, match="Lower the one"):
        AuthStrategy(small_module_threshold=3000)


@pytest.mark.parametrize("lines", [-1, 1.5, "10", None, True])
def test_a_number_of_lines_is_a_number_of_lines(lines):
    for ask in (AuthStrategy().get_recommended_mode, AuthStrategy().estimate_tokens, AuthStrategy().estimate_cost):
        with pytest.raises(ConfigError, match="module_lines"):
            ask(lines)


def test_an_unknown_mode_is_refused(provided):
    with pytest.raises(ConfigError, match="subscription, api, auto"):
        AuthStrategy().estimate_cost(10, "cash")


def test_a_misspelt_field_is_refused():
    with pytest.raises(AttributeError):
        AuthStrategy().default_mod = "api"


def test_words_are_read_in_any_case_and_are_strings():
    strategy = AuthStrategy("API_ONLY", "Subscription")
    assert strategy.subscription_tier is SubscriptionTier.API_ONLY
    assert strategy.default_mode is AuthMode.SUBSCRIPTION
    strategy.default_mode = "API"
    assert strategy.default_mode is AuthMode.API == "api"
    assert [str(tier) for tier in SubscriptionTier] == ["free", "pro", "max", "enterprise", "api_only"]
    assert [str(mode) for mode in AuthMode] == ["subscription", "api", "auto"]


def test_a_long_value_is_not_repeated_in_full():
    with pytest.raises(ConfigError) as caught:
        AuthStrategy("x" * 10_000)
    assert len(str(caught.value)) < 300


STRATEGIES = st.builds(
    AuthStrategy,
    st.sampled_from(list(SubscriptionTier)),
    st.sampled_from(list(AuthMode)),
    st.integers(0, 500),
    st.integers(500, 10_000),
    st.floats(0.5, 100),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.booleans())),
)


@given(STRATEGIES)
def test_a_dictionary_brings_back_what_it_was_made_from(strategy):
    assert AuthStrategy.from_dict(json.loads(json.dumps(strategy.to_dict()))) == strategy


def test_a_key_that_is_missing_takes_its_default_and_a_foreign_one_is_kept():
    strategy = AuthStrategy.from_dict({"subscription_tier": "max", "colour": "blue"})
    assert strategy == AuthStrategy("max")
    assert strategy.to_dict()["colour"] == "blue"
    assert "blue" not in repr(strategy)


@pytest.mark.parametrize("schema", [0, -1, "1", 1.0, True, None])
def test_a_schema_is_a_whole_number_from_one_on(schema):
    with pytest.raises(ConfigError, match="schema"):
        AuthStrategy.from_dict({"schema": schema})


@pytest.mark.parametrize("given_", [[], "x", 1, None])
def test_only_an_object_is_a_strategy(given_):
    with pytest.raises(ConfigError, match="JSON object"):
        AuthStrategy.from_dict(given_)


def test_the_file_is_where_the_home_is_at_each_access(monkeypatch, tmp_path):
    monkeypatch.setenv("ATTUNE_HOME", str(tmp_path / "one"))
    assert tmp_path / "one" / "auth_strategy.json" == auth_strategy.AUTH_STRATEGY_FILE
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ATTUNE_HOME", "~/two")
    assert tmp_path / "two" / "auth_strategy.json" == auth_strategy.AUTH_STRATEGY_FILE
    for unset in ("", None):
        monkeypatch.setenv("ATTUNE_HOME", unset) if unset is not None else monkeypatch.delenv("ATTUNE_HOME")
        assert tmp_path / ".attune" / "auth_strategy.json" == auth_strategy.AUTH_STRATEGY_FILE


def test_another_name_is_no_attribute():
    with pytest.raises(AttributeError, match="AUTH_STRATEGY_FOLDER"):
        auth_strategy.AUTH_STRATEGY_FOLDER  # noqa: B018 - the access is the test


def test_importing_the_strategy_loads_no_price_data():
    code = "import sys, attune.models.auth_strategy; assert not {'genai_prices', 'anthropic', 'tempfile'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
