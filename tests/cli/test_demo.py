"""`attune demo`: what it refuses, what it leaves alone, how figures follow from what was measured."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from attune.cli.demo import command, course, environment, figures, live, second, show, summary, traffic, world
from attune.cli.demo.arms import Done
from attune.cli.main import app
from attune.errors import StateError
from attune.models.call import Transition
from attune.testing import Behaviour, ScriptedProvider, provider

BUSY, PREMIUM = "busy", "premium"


@pytest.fixture
def run():
    """The command as from a pipe."""

    def invoke(*words):
        return CliRunner().invoke(app, ["demo", *words], catch_exceptions=False)

    return invoke


@pytest.fixture
def measured():
    """A course of 20 calls, one a second: an outage of calls 10 to 14, of which the second is lost; good but for the 4th."""
    it = course.Course(seed=3, pinned=BUSY, premium=PREMIUM, start_s=100.0, seconds=20.0)
    for task in traffic.scripted_tasks(20, 3):
        at, sick = 100.0 + task.index, 10 <= task.index < 15
        words = {"task": task, "phase": "outage" if sick else "quiet", "latency_ms": float(task.index), "at_s": at}
        answered = task.index != 11
        model = "other" if sick else BUSY
        it.attune.append(
            Done(
                **words, provider="anthropic", model=model, returned=answered, good=answered and task.index != 3,
                cost=0.25, reason="proven" if task.index else "best",
            )
        )  # fmt: skip
        it.without.append(Done(**words, provider="anthropic", model=BUSY, returned=not sick, good=not sick, cost=0.5))
        it.always_premium.append(Done(**words, provider="anthropic", model=PREMIUM, returned=True, good=True, cost=1.0))
    it.outage = course.Outage(model=BUSY, from_s=109.5, to_s=114.5)
    it.transitions.append(
        Transition(name=f"anthropic:{BUSY}", from_state="closed", to_state="open", reason="failures", at=112.5)
    )
    it.best_models = {one.cell: BUSY for one in traffic.WORKFLOWS}
    it.second_best = dict(it.best_models)
    it.files = [Path("/there/traces.jsonl")]
    return it


def test_the_traffic_is_fixed_by_the_seed():
    assert traffic.scripted_tasks(300, 1) == traffic.scripted_tasks(300, 1) != traffic.scripted_tasks(300, 2)


def test_every_hundred_calls_hold_each_workflow_in_its_share_and_every_kind_of_call():
    tasks = traffic.scripted_tasks(200, 0)
    for some in (tasks[:100], tasks[100:]):
        assert {it.name: it.share for it in traffic.WORKFLOWS} == {
            it.name: sum(task.workflow == it for task in some) for it in traffic.WORKFLOWS
        }
        assert {task.kind for task in some} == set(traffic.KINDS)


@pytest.mark.parametrize("calls", [100, 101, 1000, 1237])
def test_the_phases_hold_each_call_once(calls):
    assert [place for _, places in world.phases(calls) for place in places] == list(range(calls))
    assert all(len(places) for _, places in world.phases(calls))


def test_real_questions_have_answers_that_can_be_checked():
    class Message:
        content = ()

    class Block:
        text = ""

    for task in traffic.real_tasks(30, 0):
        block, message = Block(), Message()
        message.content = [block]
        assert not task.judge(message)
        block.text = f"It is {task.expected}."
        assert task.judge(message)


def test_figures_of_the_runs(measured):
    told = figures.compose(measured)
    assert told["with_attune"] == {"calls": 20, "success_rate": 0.9, "cost_usd": 5.0, "p95_ms": 18.0}
    assert told["without"] == {"calls": 20, "success_rate": 0.75, "cost_usd": 10.0, "p95_ms": 18.0, "model": BUSY}
    assert told["always_premium"]["cost_usd"] == 20.0
    assert told["decisions"] == {"proven": 19, "best": 1}


def test_figures_of_the_outage(measured):
    """Detected by the call during which the circuit opened; back with the first call after the end."""
    assert figures.compose(measured)["outage"] == {
        "model": BUSY, "from_s": 9.5, "to_s": 14.5, "with_attune": {"success_rate": 0.8}, "without": {"success_rate": 0.0},
        "lost": 1, "detected_after": 3, "returned_after": 1,
    }  # fmt: skip


def test_what_never_happened_is_null(measured):
    measured.transitions.clear()
    measured.attune = measured.attune[:15]
    told = figures.compose(measured)["outage"]
    assert (told["detected_after"], told["returned_after"]) == (None, None)
    measured.outage = None
    assert set(figures.compose(measured)["outage"].values()) == {None}


def test_an_object_without_calls_has_figures_all_the_same():
    told = figures.compose(course.Course(seed=0, pinned=BUSY, premium=PREMIUM))
    assert told["with_attune"] == {"calls": 0, "success_rate": 0.0, "cost_usd": 0.0, "p95_ms": 0.0}
    json.dumps(told, allow_nan=False)


def test_the_summary_tells_the_figures(measured):
    out = io.StringIO()
    summary.write(Console(file=out, width=120), figures.compose(measured))
    for piece in (
        "90.0%",
        "75.0%",
        "$20.0000",
        "1 requests lost",
        "left after 3 requests",
        "again 1 requests",
        "12.50 s",
    ):
        assert piece in out.getvalue()
    assert "names the same best models" in out.getvalue()
    assert "/there/traces.jsonl" in out.getvalue()


@pytest.mark.parametrize("agrees", [True, False])
def test_exit_status_1_if_the_second_process_does_not_agree(run, monkeypatch, measured, agrees, tmp_path):
    if not agrees:
        measured.second_best["support/triage"] = "another"
    monkeypatch.setattr(course, "run_scripted", lambda *_: measured)
    told = run("--json", "--out", str(tmp_path))
    assert told.exit_code == (0 if agrees else 1)
    assert json.loads(told.stdout)["second_process"]["agrees"] is agrees


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--calls", "3"], "--calls 3"),
        (["--calls", "1000000"], "100,000"),
        (["--live"], "ANTHROPIC_API_KEY"),
    ],
)
def test_what_it_refuses(run, words, said):
    told = run(*words)
    assert told.exit_code == 2
    assert said in told.stderr
    assert told.stdout == ""


def test_a_cap_that_is_none_is_refused(run, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary")
    told = run("--live", "--max-usd", "0")
    assert told.exit_code == 2
    assert "--max-usd 0" in told.stderr
    assert "canary" not in told.output


@pytest.fixture
def api(monkeypatch):
    """An API that stands in for the real one, and a key for it."""
    with ScriptedProvider(default=Behaviour(output_tokens=10)) as provider:
        monkeypatch.setenv("ANTHROPIC_API_KEY", "canary")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", provider.url)
        yield provider


class Nobody:
    """Looks on and sees nothing."""

    def phase(self, name, model):
        """A phase."""

    def done(self, call):
        """A call."""


def test_live_uses_the_key_and_the_endpoint_and_stops_at_the_cap(api, monkeypatch, tmp_path):
    """A round is made only where its dearest end would still be within the cap."""
    monkeypatch.setattr(second, "ask", lambda *_: {})
    tasks = traffic.real_tasks(5, 0)
    dearest = max(live._most(task, world.tier_defaults()) for task in tasks)
    it = live.run_live(tasks, 0, tmp_path, Nobody(), max_usd=dearest)
    assert len(it.attune) == len(it.without) == len(it.always_premium)
    assert 1 <= len(it.attune) < 5
    assert sum(one["requests"] for one in api.served.values()) == 3 * len(it.attune)
    assert sum(done.cost for done in (*it.attune, *it.without, *it.always_premium)) <= dearest
    assert it.outage is None
    assert all("canary" not in path.read_text(encoding="utf-8") for path in it.files)


def test_live_gives_up_where_nothing_answers(api, tmp_path):
    api.outage(status=401)
    with pytest.raises(StateError, match="none of the first 3 calls"):
        live.run_live(traffic.real_tasks(9, 0), 0, tmp_path, Nobody(), max_usd=1.0)


def test_a_directory_that_holds_a_run_is_not_mixed_with_another(tmp_path):
    (tmp_path / "telemetry").mkdir()
    (tmp_path / "run-2" / "telemetry").mkdir(parents=True)
    assert command._directory(tmp_path) == tmp_path / "run-3"
    assert command._directory(tmp_path / "new") == tmp_path / "new"
    assert command._directory(None) != command._directory(None)


def test_what_a_person_has_set_is_set_aside_and_put_back(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector")
    with environment.plain():
        assert "OTEL_EXPORTER_OTLP_ENDPOINT" not in os.environ
        assert "ATTUNE_HOME" not in os.environ
    assert os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector"
    assert "ATTUNE_HOME" in os.environ
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" not in environment.without_own()


def test_a_second_process_without_evidence_names_the_default(tmp_path):
    (tmp_path / "telemetry").mkdir()
    told = second.ask(tmp_path / "telemetry", [("support", "triage", 0.8)])
    assert told == {"support/triage": world.tier_defaults()[0].id}


def test_a_second_process_that_fails_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(second, "__name__", "attune.cli.demo.nothing_here")
    with pytest.raises(StateError, match="ended with status 1"):
        second.ask(tmp_path, [])


@pytest.mark.parametrize("terminal", [True, False])
def test_the_display_shows_models_and_progress(measured, terminal):
    """A table on a terminal; elsewhere a line a phase."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100)
    with show.Display(console, 20, lambda: {f"anthropic:{BUSY}": {"state": "open"}}) as display:
        display.phase("learning", BUSY)
        for call in measured.attune[:8]:
            display.done(call)
        display.phase("outage", BUSY)
    assert f"outage: {BUSY} answers 529" in out.getvalue()
    assert (f"anthropic/{BUSY}" in out.getvalue()) is terminal
    assert ("open" in out.getvalue()) is terminal


def test_an_interrupted_provider_ends_quietly(monkeypatch, capsys):
    """Ctrl-C at a terminal reaches the provider's process too; its traceback would bury the demo's last line."""

    class Interrupted:
        def read(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(provider.sys, "stdin", Interrupted())
    assert provider.main([]) == 0
    assert capsys.readouterr().err == ""
