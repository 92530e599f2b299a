"""The linters, the formatter and the type checkers are tests like any other; each is skipped only where it is missing."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
from house.source import ROOT


def run(command: list[str], environment: dict[str, str], timeout_s: float = 280) -> str:
    """The tool's complaints, or nothing."""
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    return "" if done.returncode == 0 else f"\n{done.stdout}{done.stderr}"


def tool(name: str) -> list[str]:
    """The command of an installed tool; the test is skipped where it is not."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed: it comes with `make test`")
    return [sys.executable, "-m", name]


def test_ruff_finds_nothing(outside):
    """Rules and reasons for leaving one out are in pyproject.toml."""
    assert run([*tool("ruff"), "check", "--output-format", "concise", "."], outside) == ""


def test_the_format_is_the_formatters(outside):
    """One format, and no discussion of it."""
    assert run([*tool("ruff"), "format", "--check", "."], outside) == ""


@pytest.mark.timeout(300)
def test_mypy_is_content(outside):
    """Strict, over src and tests/typing."""
    assert run([*tool("mypy"), "--no-error-summary"], outside) == ""


@pytest.mark.timeout(300)
def test_pyright_reads_the_public_interface_as_meant(outside):
    """A second reader of tests/typing. It fetches its own program at first use, and is skipped where it cannot."""
    command = tool("pyright")
    try:
        unready = run([*command, "--version"], outside, timeout_s=120)
    except subprocess.TimeoutExpired:
        unready = "no answer within 120 s"
    if unready:
        pytest.skip(f"pyright cannot start on this machine: {unready.strip().splitlines()[-1][:100]}")
    assert run([*command, "--pythonpath", sys.executable], outside) == ""


@pytest.mark.parametrize(
    ("command", "text"),
    [
        (["ruff", "check"], "import os\n"),
        (["ruff", "format", "--check"], "x  =  1\n"),
        (["mypy"], "def f(x: int) -> str:\n    return x\n"),
    ],
    ids=["ruff", "format", "mypy"],
)
def test_the_tool_sees_a_breach(tmp_path, outside, command, text):
    sample = tmp_path / "sample.py"
    sample.write_text(text, encoding="utf-8")
    config = {"ruff": ["--isolated"], "mypy": ["--config-file=", f"--cache-dir={tmp_path}"]}[command[0]]
    assert "sample.py" in run([*tool(command[0]), *command[1:], *config, str(sample)], outside)
