"""Rules for named models: who is matched, what a rule says, and what stays as it was."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from calls.ways import BODY, HAIKU, OPUS, SONNET, Bench, Ledger, Way
from hypothesis import given
from hypothesis import strategies as st

import attune
from attune.calls.reroute import find, rules_from
from attune.testing import Sandbox, fail

RULE = {"claude-opus-*": {"workflow": "big", "stage": "cut", "candidates": [HAIKU]}}


def test_a_named_model_is_routed(bench: Bench, sandbox: Sandbox, way: Way):
    """In the rule's cell, among its candidates and the model that was named; and told as it was written."""
    sandbox.configure(reroute=RULE)
    seen = bench.ask(way, bench.wrapped(way, workflow="own"), model=OPUS)
    record = seen.record
    assert (record.workflow, record.stage, record.model) == ("big", "cut", HAIKU)
    assert record.decision.reason != "pinned"
    assert {it.model for it in record.decision.candidates} == {HAIKU, OPUS}
    route = next(span for span in sandbox.spans if span.name == "attune.route big")
    assert route.attributes["attune.request.model"] == OPUS
    assert route.attributes["attune.route.model"] == HAIKU
    assert sandbox.faults == {}


def test_other_models_stay_pinned(bench: Bench, sandbox: Sandbox):
    sandbox.configure(reroute=RULE)
    seen = bench.ask(Way("plain"), bench.wrapped(Way("plain")), model=SONNET)
    assert seen.record.decision.reason == "pinned"
    assert (seen.record.workflow, seen.record.model) == ("default", SONNET)


def test_the_named_model_is_the_default(bench: Bench, sandbox: Sandbox, monkeypatch):
    """Where nothing can be decided, and where a candidate refuses the request, what was written is sent."""
    sandbox.configure(reroute=RULE)
    client = bench.wrapped(Way("plain"))
    bench.provider.script(HAIKU, fail(404))
    seen = bench.ask(Way("plain"), client, model=OPUS)
    assert [it[0] for it in seen.tried] == [HAIKU, OPUS]
    assert seen.value.model == OPUS

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(sandbox.runtime.router, "decide", broken)
    seen = bench.ask(Way("plain"), client, model=OPUS)
    assert (seen.record.decision.reason, seen.record.model) == ("fault", OPUS)


def test_a_rule_without_candidates_has_those_of_auto(bench: Bench, sandbox: Sandbox):
    """The site's own, and the named one where it is none of them."""
    sandbox.configure(reroute={"claude-*": {"stage": "any"}})
    client = bench.wrapped(Way("plain"), candidates=[HAIKU, SONNET])
    assert {it.model for it in bench.ask(Way("plain"), client, model=OPUS).record.decision.candidates} == {
        HAIKU,
        SONNET,
        OPUS,
    }
    asked = bench.ask(Way("plain"), client, model=SONNET).record.decision.candidates
    assert {it.model for it in asked} == {HAIKU, SONNET}


def test_candidates_of_other_providers_are_left_to_their_clients(bench: Bench, sandbox: Sandbox):
    sandbox.configure(reroute={"claude-*": {"candidates": ["openai/gpt-5-mini", HAIKU]}})
    seen = bench.ask(Way("plain"), bench.wrapped(Way("plain")), model=OPUS)
    assert {it.model for it in seen.record.decision.candidates} == {HAIKU, OPUS}


def test_words_in_the_code_win_over_the_rules(bench: Bench, sandbox: Sandbox):
    """The scope around the call, then the rule, then the client's defaults."""
    sandbox.configure(reroute={OPUS: {"workflow": "rule", "timeout_s": 50, "candidates": [HAIKU]}})
    client = bench.wrapped(Way("plain"), workflow="client", stage="client")
    with attune.scope(stage="scope"):
        record = bench.ask(Way("plain"), client, model=OPUS).record
    assert (record.workflow, record.stage) == ("rule", "scope")


def test_a_rules_limits_hold(bench: Bench, sandbox: Sandbox):
    """`max_cost` puts the dear model out; `timeout_s` is the call's."""
    sandbox.configure(reroute={OPUS: {"candidates": [HAIKU], "max_cost": 0.001, "timeout_s": 3}})
    with attune.capture() as calls:
        bench.wrapped(Way("plain")).messages.create(**{**BODY, "max_tokens": 4000}, model=OPUS)
    candidates = {it.model: it.eliminated_by for it in calls[0].decision.candidates}
    assert candidates[OPUS] == "max_cost"
    assert bench.provider.requests[-1].headers["x-stainless-read-timeout"] in ("3", "3.0")


def test_what_a_person_forces_stays_forced(bench: Bench, sandbox: Sandbox):
    """`scope(model=)` and a client's `model=` are stronger than a rule."""
    sandbox.configure(reroute=RULE)
    with attune.scope(model=OPUS):
        record = bench.ask(Way("plain"), bench.wrapped(Way("plain")), model=HAIKU).record
    assert (record.decision.reason, record.model) == ("pinned", OPUS)
    record = bench.ask(Way("plain"), bench.wrapped(Way("plain"), model=OPUS), model="auto").record
    assert (record.decision.reason, record.model) == ("pinned", OPUS)


def test_a_function_that_is_handed_a_model(bench: Bench, ledger: Ledger, sandbox: Sandbox):
    """Called with a named model it is routed too, in its own cell; what attune handed it is not routed again."""
    sandbox.configure(reroute={**RULE, HAIKU: {"candidates": [SONNET]}})
    client = bench.wrapped(Way("plain"))
    asked = []

    @attune.routed(workflow="mine", stage="own", candidates=[SONNET])
    def ask(*, model: str = attune.AUTO) -> Any:
        asked.append(model)
        client.messages.create(model=model, **BODY)
        return client.messages.create(model=model, **BODY)

    with attune.capture() as calls:
        ask(model=OPUS)
    assert asked == [HAIKU]
    assert [(it.workflow, it.stage, it.model) for it in calls] == [("mine", "own", HAIKU)] * 2
    assert [it.decision.reason for it in calls if it.decision.reason == "pinned"] == ["pinned"]


def test_observe_and_off_send_what_was_written(bench: Bench, sandbox: Sandbox):
    for mode, told in (("observe", ["observe"]), ("off", [])):
        sandbox.configure(mode=mode, reroute=RULE)
        with attune.capture() as calls:
            assert bench.wrapped(Way("plain")).messages.create(model=OPUS, **BODY).model == OPUS
        assert [it.decision.reason for it in calls] == told


def test_the_baseline_is_what_was_written(bench: Bench, sandbox: Sandbox):
    """What the same tokens would have cost at the model that the caller named."""
    sandbox.configure(reroute=RULE)
    bench.ask(Way("plain"), bench.wrapped(Way("plain")), model=OPUS)
    metrics = sandbox.metrics()
    baseline = sum(metrics["attune.baseline.cost"].values())
    assert baseline > 2 * sum(metrics["attune.attempt.cost"].values())


# -- which rule


def rules(*names: str) -> Any:
    return rules_from("configure", {name: {} for name in names})


def test_the_longest_name_wins_and_a_plain_one_over_all():
    """In whatever order they were written."""
    for names in (("claude-*", "claude-opus-*", "claude-opus-5-5"), ("claude-opus-5-5", "claude-opus-*", "claude-*")):
        made = rules(*names)
        assert find(made, "claude-opus-5-5").name == "claude-opus-5-5"
        assert find(made, "claude-opus-4-1").name == "claude-opus-*"
        assert find(made, "claude-haiku-4-5").name == "claude-*"
        assert find(made, "gpt-5") is None
        assert find(made, "Claude-opus-4-1") is None
    assert find(rules("claude-opus-5-5", "claude-opus-[0-9]-[0-9]*"), "claude-opus-5-5").exact


@given(st.permutations(["*", "claude-*", "*-5", "claude-opus-?", "claude-opus-5"]), st.text(max_size=20))
def test_the_order_of_rules_means_nothing(names, model):
    sorted_, given_ = rules(*sorted(names)), rules(*names)
    for asked in (model, "claude-opus-5", "claude-x", "a-5"):
        assert find(sorted_, asked).name == find(given_, asked).name


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (["claude-*"], "maps names of models to rules"),
        ({"": {}}, "names no model"),
        ({"auto": {}}, "names no model"),
        ({"claude-*": "haiku"}, "a rule is a table of words"),
        ({"claude-*": {"candidate": [HAIKU]}}, "Did you mean 'candidates'"),
        ({"claude-*": {"model": HAIKU}}, "unknown argument 'model'"),
        ({"claude-*": {"default": HAIKU}}, "unknown argument 'default'"),
        ({"claude-*": {"candidates": HAIKU}}, "must be a list of model ids"),
        ({"claude-*": {"candidates": []}}, "must be a list of model ids"),
        ({"claude-*": {"candidates": ["claude-haiku-*"]}}, "is no model id"),
        ({"claude-*": {"candidates": ["auto"]}}, "is no model id"),
        ({"claude-*": {"max_cost": -1}}, "a finite number of USD over 0"),
        ({"claude-*": {"on_infeasible": "never"}}, 'use "best"'),
    ],
)
def test_wrong_rules_are_refused_by_name(sandbox: Sandbox, table, said):
    with pytest.raises(attune.ConfigError) as wrong:
        attune.configure(reroute=table)
    assert said in str(wrong.value)
    assert "reroute" in str(wrong.value)


def test_rules_from_a_file_and_from_the_environment(
    bench: Bench, sandbox: Sandbox, tmp_path: Path, monkeypatch, caplog
):
    """The environment's rules take the place of the file's; a wrong one is a warning, and the service goes on."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "attune.toml").write_text(
        f'[reroute]\n"claude-opus-*" = {{stage = "file", candidates = ["{HAIKU}"]}}\n'
    )
    client = bench.wrapped(Way("plain"))
    sandbox.configure()
    assert bench.ask(Way("plain"), client, model=OPUS).record.stage == "file"
    monkeypatch.setenv("ATTUNE_REROUTE", json.dumps({OPUS: {"stage": "environment", "candidates": [HAIKU]}}))
    sandbox.configure()
    assert bench.ask(Way("plain"), client, model=OPUS).record.stage == "environment"
    sandbox.configure(reroute={})
    assert bench.ask(Way("plain"), client, model=OPUS).record.decision.reason == "pinned"
    monkeypatch.setenv("ATTUNE_REROUTE", json.dumps({OPUS: {"stagge": "x"}}))
    with caplog.at_level(logging.WARNING):
        sandbox.configure()
    assert "Did you mean 'stage'" in caplog.text
    (tmp_path / "pyproject.toml").write_text('[tool.attune.reroute]\n"claude-opus-*" = {stage = "project"}\n')
    (tmp_path / "attune.toml").unlink()
    monkeypatch.delenv("ATTUNE_REROUTE")
    sandbox.configure()
    assert bench.ask(Way("plain"), client, model=OPUS).record.stage == "project"
