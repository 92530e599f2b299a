"""The catalogue says what the installed price data says, to the nano-dollar, and its defaults are still for sale."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices.data import providers as listed
from genai_prices.types import ConditionalPrice, ModelPrice, StartDateConstraint, TimeOfDateConstraint

from attune.clients import defaults
from attune.clients.catalogue import load_catalogue, prices_on, read_price, tier_of
from attune.models.registry import NANO, ModelInfo, ModelTier
from attune.models.response import Usage

TODAY = date(2026, 11, 23)
SHAPES = [(1000, 500, 0, 0, 0), (90_000, 10, 15_000, 0, 0), (7, 3, 300_000, 120_001, 20_001)]
PROVIDERS = {provider.id: provider for provider in listed}


@pytest.fixture(scope="module")
def catalogue():
    return load_catalogue(TODAY)


@pytest.mark.parametrize("day", [TODAY, TODAY + timedelta(days=8), TODAY + timedelta(days=39)])
@pytest.mark.parametrize("provider", sorted(defaults.TIER_DEFAULTS))
def test_defaults_are_priced_current_and_in_order(provider, day):
    """Each default is in the price data under its own id, not retired, and no dearer than the tier above."""
    tiers = load_catalogue(day).tier_defaults(provider)
    assert {tier: model.id for tier, model in tiers.items()} == defaults.TIER_DEFAULTS[provider]
    for tier, model in tiers.items():
        assert model.tier is tier, "the family word and the table agree"
        assert model.provider == provider
        assert model.price is not None
        assert model.context_window
        assert model.id not in defaults.RETIRED
    costs = [
        tiers[tier].price.cost_nano(Usage(input_tokens=3000, output_tokens=1000)) for tier in ModelTier if tier in tiers
    ]
    assert costs == sorted(costs)
    assert len(set(costs)) == len(costs)


def test_what_the_price_data_calls_deprecated_is_no_default():
    for provider, tiers in defaults.TIER_DEFAULTS.items():
        for model in PROVIDERS[provider].models:
            assert not (model.deprecated and model.id in tiers.values()), model.id


def test_the_table_of_the_retired_is_the_sdks():
    """The installed SDK warns of the same ids, with the same dates; a new one shows up here."""
    import anthropic
    from anthropic.resources.messages.messages import DEPRECATED_MODELS

    def read(text: str) -> date:
        month, day, year = text.split()
        return datetime.strptime(f"{month} {day.rstrip('stndrh,')} {year}", "%B %d %Y").replace(tzinfo=UTC).date()

    theirs = {model: read(text) for model, text in DEPRECATED_MODELS.items()}
    assert set(theirs) <= set(defaults.RETIRED)
    if anthropic.__version__.startswith("2."):  # older ones give some of the dates as they were planned then
        assert {model: day for model, day in theirs.items() if defaults.RETIRED[model] != day} == {}


def test_a_golden_price(catalogue):
    """Haiku 4.5: 1, 5, 0.10, 1.25 and 2 USD per million (platform.claude.com, November 2026)."""
    price = catalogue.find("claude-haiku-4-5").price
    assert (price.input, price.output) == (1 * NANO, 5 * NANO)
    assert (price.cache_read, price.cache_write, price.cache_write_1h) == (NANO // 10, NANO * 5 // 4, 2 * NANO)


@pytest.mark.parametrize(
    ("name", "provider", "model"),
    [
        ("claude-haiku-4-5-20251001", "anthropic", "claude-haiku-4-5"),
        ("claude-haiku-5-5-20260901", "anthropic", "claude-haiku-5-5"),
        ("Claude-Sonnet-5-5", "anthropic", "claude-sonnet-5-5"),
        ("anthropic/claude-opus-5-5", "anthropic", "claude-opus-5-5"),
        ("gpt-6-luna-2026-09-22", "openai", "gpt-6-luna"),
        ("openai/gpt-oss-120b", "openai", "gpt-oss-120b"),
        ("gemini/gemini-3.8-flash", "gemini", "gemini-3.8-flash"),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "aws", "regional.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("llama-3.3-70b-versatile", "groq", "llama-3.3-70b-versatile"),
    ],
)
def test_a_name_means_one_model(catalogue, name, provider, model):
    found = catalogue.find(name)
    assert (found.provider, found.id) == (provider, model)


@pytest.mark.parametrize("name", ["my-claude", "claude", "gpt", "", "/", "gpt-99-nova", "zai-org/GLM-5.3"])
def test_a_name_that_nobody_or_several_hosts_list_is_unknown(catalogue, name):
    """The last is served by several hosts at several prices: the id alone names none of them."""
    assert catalogue.find(name) is None


def test_who_serves_it_sets_the_price(catalogue):
    assert catalogue.find("openai/gpt-oss-120b", "groq").provider == "groq"
    assert catalogue.find("gpt-5.4", "azure").provider == "azure", "Azure lists it, or falls back on OpenAI's entry"
    assert catalogue.find("gpt-5.4", "anthropic") is None
    assert catalogue.find("gpt-5.4", "my-gateway").provider == "openai"


@pytest.mark.parametrize(
    ("candidate", "provider", "meant"),
    [
        ("claude-haiku-4-5-20251001", None, ("anthropic", "claude-haiku-4-5-20251001")),
        ("openai/gpt-6-luna", None, ("openai", "gpt-6-luna")),
        ("openai/gpt-oss-120b", "groq", ("groq", "openai/gpt-oss-120b")),
        ("bedrock/anthropic.claude-haiku-5-5", None, ("bedrock", "anthropic.claude-haiku-5-5")),
        ("meta-llama/Llama-3.3-70B-Instruct-Turbo", None, ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo")),
        ("nobody/knows", None, ("other", "nobody/knows")),
        ("large-model", "my-gateway", ("my-gateway", "large-model")),
    ],
)
def test_candidates_are_read_by_the_rule(catalogue, candidate, provider, meant):
    assert catalogue.resolve(candidate, provider) == meant


def test_words_for_providers_lead_to_providers_of_the_data(catalogue):
    assert set(defaults.PROVIDER_WORDS.values()) <= set(PROVIDERS)
    assert set(defaults.MAKERS) <= set(PROVIDERS)
    assert all(catalogue.knows(word) for word in (*defaults.PROVIDER_WORDS, *PROVIDERS))
    assert not catalogue.knows("my-openai-proxy")


def test_every_text_model_costs_what_the_data_says():
    """A differential test over every entry: our integers against the data's own decimals, steps and caches included."""
    at = datetime(2026, 11, 23, 12, tzinfo=UTC)
    compared = hours = 0
    for provider in listed:
        for model in provider.models:
            theirs = model.get_prices(at)
            ours = read_price(theirs)
            if ours is None:
                continue
            for given, out, read, write, hour in SHAPES:
                hour = hour if theirs.cache_write_1h_mtok is not None else 0
                usage = Usage(
                    input_tokens=given,
                    output_tokens=out,
                    cache_read_tokens=read,
                    cache_write_tokens=write,
                    cache_write_1h_tokens=hour,
                )
                asked = {
                    "input_tokens": given + read + write,
                    "output_tokens": out,
                    "cache_read_tokens": read,
                    "cache_write_tokens": write,
                    "cache_write_1h_tokens": hour,
                }
                their_cost = theirs.calc_price(TheirUsage(**{key: value for key, value in asked.items() if value}))
                assert abs(ours.cost_nano(usage) - their_cost["total_price"] * NANO) <= Decimal("0.5"), model.id
                compared += 1
                hours += bool(hour)
    assert compared > 6000
    assert hours > 50


def test_every_entry_compiles(catalogue):
    """No entry of the data is refused, and none is priced at zero for want of a price."""
    for provider in listed:
        for model in provider.models:
            compiled = catalogue.find(model.id, provider.id)
            if compiled is not None and compiled.price is not None and compiled.price.input == 0:
                rates = vars(prices_on(next(m for m in provider.models if m.id == compiled.id).prices, TODAY))
                assert rates["input_mtok"] is not None


def entry(price: str, constraint=None) -> ConditionalPrice:
    return ConditionalPrice(constraint, prices=ModelPrice(input_mtok=Decimal(price), output_mtok=Decimal(price)))


@pytest.mark.parametrize(
    ("day", "price"),
    [(date(2026, 1, 1), "1"), (date(2026, 6, 1), "2"), (date(2026, 12, 1), "3"), (date(2030, 1, 1), "3")],
)
def test_the_price_in_force_is_the_days(day, price):
    steps = [
        entry("1"),
        entry("2", StartDateConstraint(date(2026, 6, 1))),
        entry("3", StartDateConstraint(date(2026, 12, 1))),
    ]
    assert prices_on(steps, day).input_mtok == Decimal(price)


def test_of_prices_by_the_hour_the_dearest_is_in_force():
    """A cost limit holds at any hour."""
    at = datetime(2026, 1, 1, tzinfo=UTC).timetz()
    night = TimeOfDateConstraint(at, at.replace(hour=6))
    assert prices_on([entry("2"), entry("1", night)], TODAY).input_mtok == Decimal(2)
    assert prices_on([entry("2"), entry("4", night)], TODAY).input_mtok == Decimal(4)
    later = [entry("2"), entry("9", night), entry("3", StartDateConstraint(date(2026, 6, 1)))]
    assert prices_on(later, TODAY).input_mtok == Decimal(3), "a later entry comes before an earlier one"


def test_a_price_by_the_second_is_no_price_by_the_token():
    assert read_price(ModelPrice(audio_hours=Decimal(3))) is None
    fee = ModelPrice(input_mtok=Decimal(1), output_mtok=Decimal(1), requests_kcount=Decimal(12))
    assert read_price(fee) is None, "a fee for each request is not in the tokens"
    assert read_price(SimpleNamespace(input_mtok=Decimal(1))) is None


def test_the_users_models_stand_before_the_data():
    mine = ModelInfo("claude-haiku-5-5", "anthropic", "cheap", 0.05, 0.25)
    assert load_catalogue(TODAY, [mine]).default("anthropic", "cheap") is mine


@pytest.mark.parametrize(
    ("model", "tier"),
    [
        ("claude-3-haiku", "cheap"),
        ("regional.anthropic.claude-opus-5-5", "premium"),
        ("gpt-5.4-nano", "cheap"),
        ("openai/gpt-6.1-terra", "capable"),
        ("gemini-3.5-flash-lite", "cheap"),
        ("gpt-4", None),
        ("solar", None),
    ],
)
def test_the_family_word_says_the_tier(model, tier):
    assert tier_of(model) == tier


def test_the_price_data_is_loaded_by_the_first_question_and_not_before():
    code = (
        "import sys, datetime; from attune.clients.catalogue import load_catalogue; "
        "c = load_catalogue(datetime.date(2026, 11, 23)); assert 'genai_prices' not in sys.modules; "
        "c.find('claude-haiku-5-5'); assert 'genai_prices.data' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
