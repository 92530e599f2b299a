"""Models by name: any case, no guesses, and a refusal that says what is there."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from attune.errors import ConfigError
from attune.models import lookup, process
from attune.models.registry import Catalogue, ModelInfo

CHEAP = ModelInfo("alpha", "acme", "cheap", 1, 2)
BLANK = ModelInfo("beta", "acme", "capable")


@pytest.fixture(autouse=True)
def _provided(monkeypatch):
    monkeypatch.setattr(process, "_slot", [lambda: SimpleNamespace(catalogue=Catalogue([CHEAP, BLANK]))])


@pytest.mark.parametrize(("provider", "tier"), [("acme", "cheap"), ("ACME", "CHEAP"), ("Acme", CHEAP.tier)])
def test_provider_and_tier_in_any_case(provider, tier):
    assert lookup.get_model(provider, tier) is CHEAP


def test_a_tier_without_a_model_is_none():
    assert lookup.get_model("acme", "premium") is None


def test_an_unknown_provider_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match=r"Provider 'nobody' is not supported.*acme"):
        lookup.get_model("nobody", "cheap")


def test_an_unknown_tier_is_refused():
    with pytest.raises(ConfigError, match="gold"):
        lookup.get_model("acme", "gold")


def test_all_models_by_provider_and_tier():
    everything = lookup.get_all_models()
    assert everything == {"acme": {"cheap": CHEAP, "capable": BLANK}} == lookup.MODEL_REGISTRY
    everything.clear()
    assert lookup.get_all_models()


def test_a_price_is_dollars_per_million_and_an_unknown_one_none():
    assert lookup.get_pricing_for_model("alpha-20260101") == {"input": 1, "output": 2}
    assert lookup.get_pricing_for_model("beta") is None
    assert lookup.get_pricing_for_model("gamma") is None


def test_a_catalogue_can_be_handed_in():
    other = Catalogue([ModelInfo("delta", "zeta", "cheap", 3, 4)])
    assert lookup.get_model("zeta", "cheap", catalogue=other).id == "delta"
    assert list(lookup.get_all_models(catalogue=other)) == ["zeta"]
    assert lookup.get_pricing_for_model("delta", catalogue=other) == {"input": 3, "output": 4}


def test_another_name_is_no_attribute():
    with pytest.raises(AttributeError, match="MODELS"):
        lookup.MODELS  # noqa: B018 - the access is the test
