"""Prices are exact, names mean one model, and what could be no model is refused."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attune.errors import ConfigError
from attune.models.registry import NANO, Catalogue, ModelInfo, ModelTier, Price
from attune.models.response import Usage

COUNTS = st.integers(min_value=0, max_value=10**7)
RATES = st.integers(min_value=0, max_value=200 * NANO)
MAYBE = st.none() | RATES


def usd(rate: float) -> int:
    return round(rate * NANO)


HAIKU_45 = Price(
    input=usd(1), output=usd(5), cache_read=usd(0.1), cache_write=usd(1.25), cache_write_1h=usd(2)
)  # platform.claude.com/docs/en/about-claude/pricing, November 2026


@pytest.mark.parametrize(
    ("usage", "nano"),
    [
        (Usage(), 0),
        (Usage(input_tokens=1), 1_000),
        (Usage(input_tokens=1_000_000, output_tokens=1_000_000), 6 * NANO),
        (Usage(input_tokens=21, output_tokens=393, cache_write_tokens=188_086), 21_000 + 1_965_000 + 235_107_500),
        (Usage(input_tokens=21, output_tokens=393, cache_read_tokens=188_086), 21_000 + 1_965_000 + 18_808_600),
        (Usage(input_tokens=2048, output_tokens=503, cache_read_tokens=1800, cache_write_tokens=248), 5_053_000),
        (
            Usage(input_tokens=10, output_tokens=1, cache_write_tokens=556, cache_write_1h_tokens=100),
            10_000 + 5_000 + 456 * 1_250 + 100 * 2_000,
        ),
    ],
)
def test_what_anthropic_reports_is_billed_token_by_token(usage, nano):
    """Cache reads, five-minute writes and one-hour writes each at their own rate, none of them twice."""
    assert HAIKU_45.cost_nano(usage) == nano


def test_a_cache_rate_that_is_unknown_is_billed_as_input():
    plain = Price(input=usd(2), output=usd(8))
    assert plain.cost_nano(Usage(cache_read_tokens=5, cache_write_tokens=7, cache_write_1h_tokens=3)) == 12 * 2_000


def test_an_hours_write_without_a_rate_is_billed_as_any_write():
    price = Price(input=usd(2), output=usd(8), cache_write=usd(2.5))
    assert price.cost_nano(Usage(cache_write_tokens=4, cache_write_1h_tokens=4)) == 10_000


def test_half_a_nano_dollar_is_rounded_up_once_at_the_end():
    half = Price(input=500_000, output=500_000)
    assert half.cost_nano(Usage(input_tokens=1)) == 1
    assert half.cost_nano(Usage(input_tokens=1, output_tokens=1)) == 1, "0.5 + 0.5 is 1, not 1 + 1"
    assert Price(input=499_999, output=0).cost_nano(Usage(input_tokens=1)) == 0


def test_over_a_step_every_token_is_billed_by_the_step():
    """Cached tokens count towards the step; exactly on it, the base is still in force."""
    long = Price(input=usd(0.5), output=usd(2.5))
    price = Price(input=usd(0.1), output=usd(0.5), steps=((100_000, long), (500_000, HAIKU_45)))
    assert price.cost_nano(Usage(input_tokens=100_000)) == 100_000 * 100
    assert price.cost_nano(Usage(input_tokens=1, cache_read_tokens=100_000, output_tokens=2)) == 100_001 * 500 + 5_000
    assert price.cost_nano(Usage(input_tokens=500_001)) == 500_001 * 1_000


@given(RATES, RATES, MAYBE, MAYBE, MAYBE, COUNTS, COUNTS, COUNTS, COUNTS, st.floats(0, 1))
def test_integers_agree_with_exact_fractions(given_, out, read, write, write_1h, i, o, r, w, share):
    """Against the same sum in fractions: less than half a nano-dollar apart, and never below zero."""
    hour = int(w * share)
    price = Price(input=given_, output=out, cache_read=read, cache_write=write, cache_write_1h=write_1h)
    usage = Usage(
        input_tokens=i, output_tokens=o, cache_read_tokens=r, cache_write_tokens=w, cache_write_1h_tokens=hour
    )
    five = given_ if write is None else write
    exact = Fraction(
        i * given_ + o * out + r * (given_ if read is None else read) + (w - hour) * five
        + hour * (five if write_1h is None else write_1h),
        10**6,
    )  # fmt: skip
    cost = price.cost_nano(usage)
    assert cost >= 0
    assert -Fraction(1, 2) <= exact - cost < Fraction(1, 2)


def test_a_model_turns_dollars_into_integers():
    model = ModelInfo("m", "p", "CHEAP", 0.1, 0.3, 8192, True, False, 200_000)
    assert model.price == Price(input=100_000_000, output=300_000_000)
    assert model.tier is ModelTier.CHEAP
    assert (model.max_tokens, model.supports_vision, model.supports_tools, model.context_window) == (
        8192,
        True,
        False,
        200_000,
    )


def test_an_unknown_price_is_none_and_a_free_one_is_zero():
    assert ModelInfo("m", "p", ModelTier.CHEAP, None, None).price is None
    assert ModelInfo("m", "p").price is None
    assert ModelInfo("m", "p", None, 0, 0).price == Price(input=0, output=0)


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: ModelInfo("", "p"), "id=''"),
        (lambda: ModelInfo("m", "  "), "provider"),
        (lambda: ModelInfo("m", "p", "gold"), "'gold'"),
        (lambda: ModelInfo("m", "p", None, -1, 2), "input_cost_per_million=-1"),
        (lambda: ModelInfo("m", "p", None, float("nan"), 2), "nan"),
        (lambda: ModelInfo("m", "p", None, float("inf"), 2), "inf"),
        (lambda: ModelInfo("m", "p", None, "1", 2), "'1'"),
        (lambda: ModelInfo("m", "p", None, 1), "two sides"),
        (lambda: ModelInfo("m", "p", None, None, 2), "or leave both None"),
        (lambda: ModelInfo("m", "p", max_tokens=0), "max_tokens=0"),
        (lambda: ModelInfo("m", "p", context_window=True), "context_window=True"),
    ],
)
def test_what_can_be_no_model_is_refused_by_name_and_value(build, told):
    with pytest.raises(ConfigError, match="(?s)" + told.replace("(", r"\(")):
        build()


def test_tiers_are_strings_in_any_case():
    assert ModelTier("Premium") is ModelTier.PREMIUM
    assert ModelTier.CHEAP == "cheap" == str(ModelTier.CHEAP) == f"{ModelTier.CHEAP}"
    assert {ModelTier.CHEAP: 1}["cheap"] == 1
    assert json.dumps(ModelTier.CAPABLE) == '"capable"'


class Book:
    """A price book that counts its questions."""

    def __init__(self, *models: ModelInfo) -> None:
        self.models = models
        self.asked: list[tuple[str, str | None]] = []

    def find(self, model_id, provider):
        self.asked.append((model_id, provider))
        return next((m for m in self.models if m.id == model_id and provider in (None, m.provider)), None)

    def knows(self, provider):
        return any(m.provider == provider for m in self.models)


ALPHA = ModelInfo("alpha-1", "acme", ModelTier.CHEAP, 1, 2)
BETA = ModelInfo("beta/large", "host", ModelTier.PREMIUM, 3, 4)
DEFAULTS = {"acme": {ModelTier.CHEAP: "alpha-1"}}


def catalogue(*own: ModelInfo) -> Catalogue:
    return Catalogue(own, book=Book(ALPHA, BETA), defaults=DEFAULTS)


def test_the_users_models_come_first():
    mine = ModelInfo("alpha-1", "acme", ModelTier.CHEAP, 9, 9)
    assert catalogue(mine).find("alpha-1") is mine
    assert catalogue().override([mine]).find("alpha-1") is mine
    assert catalogue().find("alpha-1") is ALPHA


def test_overriding_leaves_the_catalogue_as_it_was():
    first = catalogue()
    later = ModelInfo("alpha-1", "acme", ModelTier.CHEAP, 7, 7)
    second = first.override([ModelInfo("alpha-1", "acme", ModelTier.CHEAP, 9, 9)]).override([later])
    assert first.find("alpha-1") is ALPHA
    assert second.find("alpha-1") is later, "the last word wins"


@pytest.mark.parametrize("dated", ["mine-20260101", "mine-2026-01-01", "mine@20260101", "mine-latest", "mine"])
def test_dated_ids_of_the_users_models_resolve(dated):
    mine = ModelInfo("mine", "acme")
    assert catalogue(mine).find(dated) is mine
    assert catalogue(mine).owner(dated) == "acme"


def test_a_number_that_is_no_date_is_part_of_the_name():
    assert catalogue(ModelInfo("mine", "acme")).find("mine-2") is None


def test_a_look_up_asks_the_book_once():
    book = Book(ALPHA)
    found = Catalogue(book=book)
    for _ in range(5):
        assert found.find("alpha-1") is ALPHA
        assert found.find("unknown") is None
    assert book.asked == [("alpha-1", None), ("unknown", None)]
    found.resolve("alpha-1")
    asked = len(book.asked)
    found.resolve("alpha-1")
    assert len(book.asked) == asked


def test_what_is_remembered_is_bounded():
    found = catalogue()
    for number in range(10_000):
        found.find(f"model-{number}")
        found.resolve(f"model-{number}")
    assert max(len(found._found), len(found._read)) <= 4096
    assert found.find("alpha-1") is ALPHA


def test_at_an_unknown_provider_the_makers_model_is_meant():
    assert catalogue().find("alpha-1", "my-proxy") is ALPHA
    assert catalogue().find("alpha-1", "host") is None, "a known provider that does not serve it"


@pytest.mark.parametrize(
    ("candidate", "provider", "meant"),
    [
        ("alpha-1", None, ("acme", "alpha-1")),
        ("alpha-1", "my-proxy", ("acme", "alpha-1")),
        ("beta/large", None, ("host", "beta/large")),
        ("host/other", None, ("host", "other")),
        ("HOST/other/more", "acme", ("host", "other/more")),
        ("acme/alpha-9", None, ("acme", "alpha-9")),
        ("nobody/other", "my-proxy", ("my-proxy", "nobody/other")),
        ("nobody/other", None, ("other", "nobody/other")),
        ("plain", None, ("other", "plain")),
        ("host/", None, ("other", "host/")),
        ("/x", None, ("other", "/x")),
    ],
)
def test_a_candidate_is_read_by_the_rule(candidate, provider, meant):
    """An id of the catalogue; else a known provider before the slash; else the provider given; else "other"."""
    assert catalogue().resolve(candidate, provider) == meant


def test_the_users_id_beats_the_slash():
    mine = ModelInfo("host/other", "acme")
    assert catalogue(mine).resolve("host/other") == ("acme", "host/other")


def test_the_given_provider_beats_another_of_the_same_id():
    mine = ModelInfo("beta/large", "acme")
    assert catalogue(mine).resolve("beta/large", "host") == ("host", "beta/large")
    assert catalogue(mine).resolve("beta/large", "acme") == ("acme", "beta/large")


def test_a_users_provider_is_known_by_name():
    assert catalogue(ModelInfo("x", "Local")).resolve("local/y") == ("local", "y")


def test_defaults_of_a_tier_are_the_tables_and_the_users_fill_its_gaps():
    cheap, capable = ModelInfo("zeta", "acme", "cheap", 1, 1), ModelInfo("eta", "acme", "capable", 1, 1)
    own = catalogue(cheap, capable, ModelInfo("only", "local", "premium"))
    assert dict(own.tier_defaults("ACME")) == {ModelTier.CHEAP: ALPHA, ModelTier.CAPABLE: capable}
    assert own.default("local", "PREMIUM").id == "only"
    assert own.default("acme", ModelTier.PREMIUM) is None
    assert own.default("nobody", ModelTier.CHEAP) is None
    assert own.providers() == ("acme", "local")


def test_a_model_of_the_same_id_replaces_a_default():
    mine = ModelInfo("alpha-1", "acme", ModelTier.CHEAP, 9, 9)
    assert catalogue(mine).default("acme", "cheap") is mine


def test_a_default_that_nobody_knows_is_left_out():
    empty = Catalogue(defaults={"acme": {ModelTier.CHEAP: "gone"}})
    assert empty.tier_defaults("acme") == {}


def test_tier_defaults_cannot_be_changed():
    with pytest.raises(TypeError):
        catalogue().tier_defaults("acme")[ModelTier.CHEAP] = BETA


def test_a_word_that_is_no_tier_is_refused():
    with pytest.raises(ConfigError, match="cheap, capable, premium"):
        catalogue().default("acme", "gold")
