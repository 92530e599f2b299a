"""`attune auth`: exit statuses, JSON for programs, and no waiting where nobody can answer."""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from attune.cli import auth
from attune.models import auth_file, process
from attune.models.auth_strategy import AuthStrategy
from attune.models.registry import Catalogue, ModelInfo

MODEL = ModelInfo("sonnet", "anthropic", "capable", 2, 10, context_window=1_000_000)


@pytest.fixture(autouse=True)
def _provided(monkeypatch):
    monkeypatch.setattr(process, "_slot", [lambda: SimpleNamespace(catalogue=Catalogue([MODEL]))])


@pytest.fixture
def run():
    """Run a command as from a pipe: no terminal at either end."""
    runner = CliRunner()

    def invoke(*args: str):
        return runner.invoke(auth.app, args, catch_exceptions=False)

    return invoke


@pytest.fixture
def answering(monkeypatch):
    """Somebody at a terminal who types these lines."""

    def answer(*lines: str) -> None:
        monkeypatch.setattr(auth, "_attended", lambda: True)
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))

    return answer


def read(text: str) -> dict:
    return json.loads(text)


def test_status_without_a_file_is_not_in_order(run):
    result = run("status", "--json")
    told = read(result.stdout)
    assert result.exit_code == 1
    assert (told["configured"], told["file_exists"], told["setup_completed"]) == (False, False, False)
    assert told["config_file"] == str(auth_file.locate())
    assert "attune auth setup" in told["problem"]


def test_status_of_a_saved_strategy_is_its_fields(run):
    strategy = AuthStrategy("max", "api")
    strategy.save()
    result = run("status", "--json")
    assert result.exit_code == 0
    assert read(result.stdout) == {
        **strategy.to_dict(),
        "configured": True,
        "config_file": str(auth_file.locate()),
        "file_exists": True,
        "problem": None,
    }


def test_status_of_a_broken_file_says_so_and_leaves_it(run):
    AuthStrategy().save()
    auth_file.locate().write_text("{")
    result = run("status", "--json")
    assert result.exit_code == 1
    assert (read(result.stdout)["configured"], read(result.stdout)["file_exists"]) == (False, True)
    assert auth_file.locate().read_text() == "{"


def test_status_of_an_incomplete_setup_is_not_in_order(run):
    AuthStrategy(setup_completed=False).save()
    result = run("status")
    assert result.exit_code == 1
    assert "attune auth setup" in result.stdout


def test_status_for_people_names_every_field(run):
    AuthStrategy("enterprise", metadata={"note": "[bold]x[/bold]"}).save()
    result = run("status")
    assert result.exit_code == 0
    for word in ("subscription_tier", "enterprise", "default_mode", "setup_completed", "[bold]x"):
        assert word in result.stdout


@pytest.mark.parametrize("args", [None, [], argparse.Namespace()], ids=repr)
def test_status_is_also_a_function(args, capsys):
    assert auth.cmd_auth_status(args) == 1
    AuthStrategy().save()
    assert auth.cmd_auth_status(args) == 0
    assert "default_mode" in capsys.readouterr().out


@pytest.mark.parametrize("args", [["--json"], argparse.Namespace(json=True)], ids=repr)
def test_the_function_takes_the_flag(args, capsys):
    AuthStrategy().save()
    assert auth.cmd_auth_status(args) == 0
    assert read(capsys.readouterr().out)["configured"] is True


def test_setup_from_flags(run):
    flags = ["--tier", "MAX", "--mode", "auto", "--small", "10", "--medium", "20", "--tokens-per-line", "3.5"]
    assert run("setup", *flags, "--no-prefer-subscription").exit_code == 0
    assert AuthStrategy.load() == AuthStrategy("max", "auto", 10, 20, 3.5, prefer_subscription=False)


def test_setup_that_would_have_to_ask_is_a_usage_error(run):
    """Nothing is written, whether there is no file or a complete one and no flag."""
    result = run("setup")
    assert result.exit_code == 2
    assert "--tier" in result.stderr
    assert not auth_file.locate().exists()
    assert run("setup", "--mode", "api").exit_code == 2
    AuthStrategy("max").save()
    assert run("setup").exit_code == 2
    assert AuthStrategy.load() == AuthStrategy("max")


@pytest.mark.parametrize("flag", ["--yes", "--confirm", "-y"])
def test_setup_can_be_told_to_take_the_defaults(run, flag):
    assert run("setup", flag).exit_code == 0
    assert AuthStrategy.load() == AuthStrategy()


def test_setup_changes_one_choice_and_keeps_the_others(run):
    AuthStrategy("max", "api", metadata={"a": 1}).save()
    assert run("setup", "--mode", "auto").exit_code == 0
    assert AuthStrategy.load() == AuthStrategy("max", "auto", metadata={"a": 1})


@pytest.mark.parametrize(
    "flags",
    [
        ("--tier", "gold"),
        ("--tier", "max", "--mode", "cash"),
        ("--tier", "max", "--small", "-1"),
        ("--tier", "max", "--small", "30", "--medium", "20"),
        ("--tier", "max", "--small", "many"),
        ("--gold",),
    ],
    ids=" ".join,
)
def test_a_wrong_flag_is_a_usage_error_and_writes_nothing(run, flags):
    result = run("setup", *flags)
    assert result.exit_code == 2
    assert result.stderr
    assert not auth_file.locate().exists()


def test_setup_over_a_broken_file_keeps_it(run):
    AuthStrategy().save()
    auth_file.locate().write_text("{")
    result = run("setup", "--tier", "max")
    assert result.exit_code == 0
    assert ".bak" in result.stdout.replace("\n", "")
    assert auth_file.backup_of(auth_file.locate()).read_text() == "{"
    assert AuthStrategy.load() == AuthStrategy("max")


def test_setup_says_what_subscription_mode_cannot_do_yet(run):
    assert "cannot use a subscription" in run("setup", "--tier", "max", "--mode", "subscription").stdout.replace(
        "\n", " "
    )


def test_setup_that_cannot_be_written_is_not_in_order(run):
    auth_file.locate().parent.write_text("a file where the directory should be")
    result = run("setup", "--tier", "max")
    assert result.exit_code == 1
    assert "ATTUNE_HOME" in result.stderr


def test_at_a_terminal_setup_asks_what_no_flag_said(answering):
    answering("max", "api")
    assert auth.cmd_auth_setup() == 0
    assert AuthStrategy.load() == AuthStrategy("max", "api")
    answering("auto")
    assert auth.cmd_auth_setup(argparse.Namespace(tier="free")) == 0
    assert AuthStrategy.load() == AuthStrategy("free", "auto")


def test_at_a_terminal_enter_keeps_what_was(answering):
    AuthStrategy("enterprise", "api").save()
    answering("", "")
    assert auth.cmd_auth_setup() == 0
    assert AuthStrategy.load() == AuthStrategy("enterprise", "api")


def test_a_conversation_broken_off_changes_nothing(answering, capsys):
    AuthStrategy("max").save()
    answering("free")
    assert auth.cmd_auth_setup() == 1
    assert AuthStrategy.load() == AuthStrategy("max")
    assert "nothing was changed" in capsys.readouterr().err


def test_reset_keeps_the_file_aside_and_asks_nobody(run):
    AuthStrategy("max").save()
    assert run("reset").exit_code == 0
    assert not auth_file.locate().exists()
    assert AuthStrategy.load(auth_file.backup_of(auth_file.locate())) == AuthStrategy("max")
    assert run("status").exit_code == 1


@pytest.mark.parametrize("flag", ["--yes", "--confirm"])
def test_reset_takes_either_word_and_has_nothing_to_do_twice(run, flag):
    AuthStrategy().save()
    assert run("reset", flag).exit_code == 0
    again = run("reset", flag)
    assert again.exit_code == 0
    assert "Nothing to reset" in again.stdout


@pytest.mark.parametrize(("answer", "status", "there"), [("n", 1, True), ("y", 0, False)])
def test_at_a_terminal_reset_asks(answering, answer, status, there):
    AuthStrategy().save()
    answering(answer)
    assert auth.cmd_auth_reset() == status
    assert auth_file.locate().exists() is there


def test_reset_broken_off_changes_nothing(answering):
    AuthStrategy().save()
    answering()
    assert auth.cmd_auth_reset() == 1
    assert auth_file.locate().exists()


def test_reset_told_to_does_not_ask_at_a_terminal(answering):
    AuthStrategy().save()
    answering()
    assert auth.cmd_auth_reset(argparse.Namespace(confirm=True)) == 0


def test_recommend_says_mode_size_and_cost(run, tmp_path):
    AuthStrategy("max").save()
    module = tmp_path / "module.py"
    module.write_text("x = 1\n" * 600)
    told = read(run("recommend", str(module), "--json").stdout)
    assert (told["lines_of_code"], told["size"], told["recommended_mode"]) == (600, "medium", "subscription")
    assert told["estimate"]["tokens_used"] == 2400
    assert told["problem"] is None
    spoken = run("recommend", str(module))
    assert spoken.exit_code == 0
    for word in ("600", "medium", "subscription", "sonnet"):
        assert word in spoken.stdout


def test_recommend_without_a_strategy_uses_defaults_and_says_so(run, tmp_path):
    (tmp_path / "m.py").write_text("x = 1\n")
    result = run("recommend", str(tmp_path / "m.py"))
    assert result.exit_code == 0
    assert "attune auth setup" in result.stdout


@pytest.mark.parametrize(
    "args", [("recommend",), ("recommend", "missing.py"), ("recommend", "missing.py", "--json")], ids=" ".join
)
def test_recommend_needs_a_file(run, args):
    result = run(*args)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_recommend_is_also_a_function(tmp_path, capsys):
    (tmp_path / "m.py").write_text("x = 1\n")
    assert auth.cmd_auth_recommend(str(tmp_path / "m.py")) == 0
    assert auth.cmd_auth_recommend(SimpleNamespace(file=tmp_path / "m.py", json=True)) == 0
    assert auth.cmd_auth_recommend() == 2
    assert "m.py" in capsys.readouterr().out


def test_no_key_in_the_environment_is_ever_shown(run, monkeypatch, tmp_path):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-canary")
    (tmp_path / "m.py").write_text("x = 1\n")
    for args in (("setup", "--tier", "max"), ("status",), ("status", "--json"), ("recommend", str(tmp_path / "m.py"))):
        result = run(*args)
        assert "canary" not in result.output
    assert "canary" not in auth_file.locate().read_text()


def test_a_real_process_without_a_terminal_never_waits():
    """Standard input is an open pipe that never says anything."""
    code = "from attune.cli.auth import app; app()"
    reading, writing = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, "setup"],
            stdin=reading,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(reading)
        os.close(writing)
    assert done.returncode == 2
    assert "no terminal" in done.stderr
