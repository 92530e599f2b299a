"""The names of attune.models: each is there, none is there by accident, and a missing one says what to use instead."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import attune
from attune import models

NAMES = {
    "AUTH_STRATEGY_FILE", "AdaptiveModelRouter", "Attempt", "AuthMode", "AuthStrategy", "CallRecord", "Candidate",
    "CircuitBreaker", "Decision", "FailureKind", "LLMExecutor", "LLMResponse", "MODEL_REGISTRY", "ModelInfo",
    "ModelPerformance", "ModelTier", "RetryPolicy", "Snapshot", "SubscriptionTier", "Target", "TelemetryReader",
    "Transition", "Usage", "count_lines_of_code", "get_all_models", "get_auth_strategy", "get_model",
    "get_module_size_category", "get_pricing_for_model",
}  # fmt: skip
ELSEWHERE = sorted(models._REPLACED)


@pytest.fixture(autouse=True)
def _process(attune_sandbox):
    return attune_sandbox


def test_the_names_are_these_and_no_others():
    """Adding one is a decision; so is taking one away."""
    assert set(models.__all__) == NAMES
    assert set(dir(models)) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_name_can_be_imported(name):
    found: dict[str, object] = {}
    exec(f"from attune.models import {name}", found)
    assert found[name] is not None


def test_a_star_brings_exactly_the_list():
    """Neither more nor less, and nothing of the package's own."""
    found: dict[str, object] = {}
    exec("from attune.models import *", found)
    assert set(found) - {"__builtins__"} == NAMES


def test_a_name_is_the_same_object_wherever_it_is_taken_from():
    for name in {*dir(attune)} & NAMES:
        assert getattr(attune, name) is getattr(models, name)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_name_of_other_libraries_says_what_to_use(name):
    """An ImportError, so that both ways of asking for it tell."""
    for way in (f"from attune.models import {name}", f"import attune.models; attune.models.{name}"):
        with pytest.raises(ImportError, match=rf"attune\.models has no {name}\. Use ."):
            exec(way, {})


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_named_instead_is_there(name):
    """A replacement that is itself missing would be worse than none."""
    told = models._REPLACED[name]
    path = re.match(r"attune(?:\.\w+)+", told)
    if path is None:
        assert told.startswith("a provider's name")
        return
    head, *rest = path.group().split(".")
    subject = sys.modules[head]
    for part in rest:
        if not hasattr(subject, part):
            __import__(f"{subject.__name__}.{part}")
        subject = getattr(subject, part)
    assert callable(subject)


def test_an_unknown_name_is_told_the_known_ones():
    with pytest.raises(AttributeError, match=r"no attribute 'Circuitbreaker'; it has: .*CircuitBreaker"):
        models.Circuitbreaker  # noqa: B018 - the access is the test
    with pytest.raises(ImportError):
        exec("from attune.models import Circuitbreaker", {})
    assert not hasattr(models, "circuitbreaker")


def test_importing_the_package_loads_none_of_its_names():
    """Each is loaded from its own file at first use."""
    code = (
        "import sys, attune.models as m; before = set(sys.modules)\n"
        "assert not {'attune.models.adaptive', 'attune.models.auth_strategy', 'attune.models.router'} & before\n"
        "assert m.AuthStrategy and 'attune.models.auth_strategy' in sys.modules and 'attune.models.adaptive' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
