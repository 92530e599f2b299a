"""Programs that use the SDKs in earnest and know nothing of attune: a rule in the settings, and an outage does not stop them.

Each runs as a process of its own, bare and guarded, against the same provider, whose named model fails in the middle.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from attune.testing import Behaviour, ScriptedProvider, Step, fail

PROGRAMS = Path(__file__).with_name("programs")
NAMED = ("claude-sonnet-5-5", "gpt-6.1-terra")
# program: what it imports besides an SDK, and how many lines it prints
KNOWN = {"chat_model": ("langchain_anthropic", 56), "agent": ("pydantic_ai", 24), "runner": ("anthropic", 12)}
BEFORE, DURING = 5, 60  # requests of the named model before its outage, and in it


@dataclass
class Run:
    """One process that ran a program, and the provider that it asked."""

    status: int
    said: list[str]
    complaint: str
    asked: int


def start(stack: ExitStack, home: Path, *command: str) -> tuple[subprocess.Popen[str], ScriptedProvider]:
    """The command in a folder of its own, with the SDKs' own variables for where the providers are."""
    provider = stack.enter_context(ScriptedProvider(seed=5, default=Behaviour(uses_tools=True)))
    for model in NAMED:
        provider.script(model, *[Step()] * BEFORE, *[fail("overloaded")] * DURING)
    known = {
        "ANTHROPIC_BASE_URL": provider.url,
        "ANTHROPIC_API_KEY": "any",
        "OPENAI_BASE_URL": f"{provider.url}/v1",
        "OPENAI_API_KEY": "any",
        "LANGSMITH_TRACING": "false",
        "ATTUNE_HOME": str(home),
    }
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "ATTUNE_"))}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", *command],
        cwd=home,
        env={**environ, **known},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return process, provider


def end(process: subprocess.Popen[str], provider: ScriptedProvider) -> Run:
    """What came of it."""
    try:
        said, complaint = process.communicate(timeout=90)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    return Run(process.returncode, said.splitlines(), complaint[-3000:], len(provider.requests))


@pytest.fixture(scope="module", params=KNOWN)
def program(request, tmp_path_factory) -> tuple[Run, Run, list[dict], int]:
    """The program guarded and alone, at the same time; the records of the guarded one; how much it is to say."""
    package, lines = KNOWN[request.param]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed (dependency group `programs`)")
    home = tmp_path_factory.mktemp(request.param)
    path, records = PROGRAMS / f"{request.param}.py", home / "records.jsonl"
    with ExitStack() as stack:
        started = [
            start(stack, home, str(PROGRAMS / "guarded.py"), str(path), str(records)),
            start(stack, home, str(path)),
        ]
        guarded, alone = [end(*one) for one in started]
    calls = [json.loads(line) for line in records.read_text().splitlines()] if records.exists() else []
    return guarded, alone, calls, lines


def test_a_program_finishes_though_the_model_it_names_is_out(program):
    """Routed by rule, it is answered each time; what it was routed to is on its records."""
    guarded, _, calls, lines = program
    assert guarded.status == 0, guarded.complaint
    assert len(guarded.said) == lines
    assert len(calls) >= lines
    assert {call["workflow"] for call in calls} == {"support"}
    assert {call["outcome"] for call in calls} == {"success"}
    tried = [attempt for call in calls for attempt in call["tried"]]
    assert len(tried) == guarded.asked
    for named in {model for model, *_ in tried} & set(NAMED):
        first = [outcome for model, outcome, _ in tried if model == named]
        assert sorted(first[:BEFORE]) == ["success"] * BEFORE
        assert set(first[BEFORE:]) == {"failure"}
    assert {model for model, outcome, _ in tried if outcome == "success"} >= {"claude-sonnet-5-5", "claude-opus-5-5"}


def test_the_same_program_alone_fails(program):
    """The outage is one: without attune the program ends with an error."""
    _, alone, _, lines = program
    assert alone.status == 1
    assert len(alone.said) < lines
    assert "529" in alone.complaint or "overloaded" in alone.complaint.lower()
