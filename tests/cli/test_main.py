"""`attune`: one program, light to start, and one clear line for a person's mistake."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import version

import pytest
from house.source import ROOT
from typer.testing import CliRunner

from attune.cli import main as program
from attune.errors import ConfigError, TelemetryError


def attune(*words: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "attune.cli.main", *words], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_entry_point_is_this_program():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert told["project"]["scripts"] == {"attune": "attune.cli.main:main"}
    assert callable(program.main)


def test_version():
    told = CliRunner().invoke(program.app, ["--version"])
    assert (told.exit_code, told.stdout) == (0, f"attune {version('attune-models')}\n")


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_help_names_every_command(words):
    told = CliRunner().invoke(program.app, words)
    assert all(name in told.output for name in ("demo", "auth", "routes"))


def test_starting_loads_nothing_heavy():
    """No SDK, no OpenTelemetry, no event loop: `attune --version` is asked in prompts and scripts."""
    heavy = ["anthropic", "opentelemetry", "pydantic", "asyncio", "sqlite3", "genai_prices", "wrapt"]
    code = f"import sys, attune.cli.main; print([name for name in {heavy!r} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout == "[]\n"


@pytest.mark.parametrize("words", [["nonsense"], ["demo", "--calls", "many"], ["routes", "explain", "only-one"]])
def test_a_mistake_of_usage_ends_with_2_and_no_traceback(words):
    told = CliRunner().invoke(program.app, words)
    assert told.exit_code == 2
    assert "Traceback" not in told.output


@pytest.mark.parametrize(("error", "status"), [(ConfigError("Wrong: mode='x'."), 2), (TelemetryError("Unread."), 1)])
def test_an_error_that_no_command_caught_is_one_line(monkeypatch, capsys, error, status):
    def fail(**_words):
        raise error

    monkeypatch.setattr(program, "app", fail)
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == status
    assert capsys.readouterr().err == f"attune: {error}\n"


def test_a_reader_that_is_none_is_refused_by_the_program():
    told = attune("routes", "stats", "--from", "ftp:there")
    assert told.returncode == 2
    assert told.stderr.startswith("attune routes: ")
    assert "file:PATH" in told.stderr
    assert len(told.stderr.splitlines()) == 1
