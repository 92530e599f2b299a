"""`attune routes`: figures, reasons and models, from this machine's evidence or from a reader that is named."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import attune
from attune.cli.main import app
from attune.models.response import Usage
from attune.telemetry import setup

CHEAP, DEAR = "claude-haiku-4-5", "claude-opus-4-5"


@pytest.fixture
def run():
    """A command as from a pipe."""

    def invoke(*words):
        return CliRunner().invoke(app, ["routes", *words], catch_exceptions=False)

    return invoke


@pytest.fixture
def evidence(tmp_path):
    """Twelve judged calls of each of two models at review/first, in memory and in OTLP files; the path of these."""
    told = setup(home=tmp_path, set_as_global=False)
    attune.configure(
        state="memory", readers=(), tracer_provider=told.tracer_provider, meter_provider=told.meter_provider
    )

    @attune.routed(workflow="review", stage="first", candidates=[CHEAP, DEAR], judge=lambda answer: answer == DEAR)
    def answer(*, model=attune.AUTO):
        attune.report(usage=Usage(input_tokens=1000, output_tokens=100))
        return model

    for _ in range(12):
        answer(model=CHEAP)
        answer(model=DEAR)
    told.shutdown()
    yield tmp_path / "telemetry"
    attune.shutdown()


@pytest.fixture(params=["own", "file"])
def source(request, evidence):
    """The words that name where evidence is read: none, or a reader."""
    return [] if request.param == "own" else ["--from", f"file:{evidence}"]


def test_stats_of_a_workflow_as_json(run, source):
    told = run("stats", "review", "first", "--json", *source)
    assert told.exit_code == 0
    it = json.loads(told.stdout)
    assert (it["workflow"], it["stage"], it["total_calls"]) == ("review", "first", 24)
    assert it["performance_by_model"][DEAR]["success_rate"] == 1.0
    assert it["performance_by_model"][CHEAP]["success_rate"] == 0.0


def test_stats_of_everything_lists_each_cell(run, source):
    told = run("stats", "--json", *source)
    assert [(it["workflow"], it["stage"]) for it in json.loads(told.stdout)] == [("review", "first")]


def test_stats_for_people(run, source):
    told = run("stats", *source)
    assert "review/first: 24 calls" in told.stdout
    assert "100.0%" in told.stdout


def test_explain_names_the_model_and_what_rules_out_the_others(run, source):
    told = run("explain", "review", "first", "--json", *source)
    it = json.loads(told.stdout)
    assert (it["model"], it["reason"], it["constraint_satisfied"]) == (DEAR, "proven", True)
    assert {row["model"]: row["eliminated_by"] for row in it["candidates"]}[CHEAP] == "min_success_rate"


@pytest.mark.parametrize(
    ("limit", "model", "reason"),
    [(["--min-success-rate", "0"], CHEAP, None), (["--max-cost", "0.002"], DEAR, "max_cost")],
)
def test_explain_takes_the_limits_of_the_question(run, evidence, limit, model, reason):
    """A floor of 0 lets the cheap one win; a limit on cost rules the dear one out."""
    it = json.loads(run("explain", "review", "first", "--json", *limit).stdout)
    assert {row["model"]: row["eliminated_by"] for row in it["candidates"]}[model] == reason


def test_explain_for_people_is_a_table(run, evidence):
    told = run("explain", "review", "first")
    assert "eliminated by" in told.stdout
    assert told.stdout.startswith(f"anthropic/{DEAR}: proven")


def test_models_have_prices_and_totals(run, source):
    rows = {row["model"]: row for row in json.loads(run("models", "--json", *source).stdout)}
    assert (rows[CHEAP]["samples"], rows[CHEAP]["success_rate"]) == (12, 0.0)
    assert rows[CHEAP]["output_usd_per_million"] > rows[CHEAP]["input_usd_per_million"] > 0
    assert rows[CHEAP]["context_window"] > 0
    assert CHEAP in run("models", *source).stdout


def test_without_evidence_it_says_so(run):
    told = run("stats")
    assert told.exit_code == 0
    assert "No evidence yet" in told.stdout
    attune.shutdown()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stats", "--from", "nonsense"], "nonsense"),
        (["explain", "a", "b", "--min-success-rate", "7"], "min_success_rate=7"),
        (["explain", "a", " "], "stage"),
        (["explain", "a", "b", "--max-cost", "-1"], "max_cost"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(run, words, said):
    told = run(*words)
    assert told.exit_code == 2
    assert said in told.stderr
    assert told.stdout == ""
    attune.shutdown()
