"""`import attune` costs what a person does not notice, and brings along nothing that was not asked for."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys

import pytest

BUDGET_MS = 50.0
ROUNDS = 7
HEAVY = [
    "anthropic", "openai", "wrapt", "asyncio", "pydantic", "tenacity", "genai_prices", "opentelemetry.sdk", "sqlite3",
    "typer", "rich", "httpx", "httpx2", "grpc", "msgspec", "pytest",
]  # fmt: skip


def cpu_ms(statement: str) -> float:
    """CPU time of a fresh interpreter that runs one statement: user and system, waits excluded."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True, stdin=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def loaded_by(statement: str) -> set[str]:
    """The modules that are there after a statement, and were not before."""
    code = f"import sys, json; had = set(sys.modules)\n{statement}\nprint(json.dumps(sorted(set(sys.modules) - had)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout))


def test_import_attune_is_quick(record_property):
    """At most 50 ms of CPU over `python -c pass`: the minimum of 7, measured in turns."""
    pairs = [(cpu_ms("pass"), cpu_ms("import attune")) for _ in range(ROUNDS)]
    cost = min(one for _, one in pairs) - min(nothing for nothing, _ in pairs)
    record_property("import_attune_ms", round(cost, 1))
    assert cost <= BUDGET_MS


@pytest.mark.parametrize(
    "statement", ["import attune", "import attune.models", "import attune.errors", "import attune.testing"]
)
def test_import_attune_brings_nothing_heavy(statement):
    """No SDK, no event loop, no telemetry SDK, no database: they load when they are first needed."""
    loaded = loaded_by(statement)
    assert "attune" in loaded
    assert sorted(loaded & set(HEAVY)) == []


@pytest.mark.parametrize("statement", ["import attune", "import attune.models; dir(attune.models)"])
def test_import_attune_starts_nothing(statement, tmp_path):
    """No thread, no file, no look at the environment beyond Python's own."""
    code = f"""
import os, sys, threading
asked = []
class Watched(type(os.environ)):
    def __getitem__(self, key):
        asked.append(key)
        return super().__getitem__(key)
os.environ.__class__ = Watched
opened = []
sys.addaudithook(lambda name, args: opened.append(args) if name == "open" and args[1] and set(args[1]) & set("wax+") else None)
sys.addaudithook(lambda name, args: opened.append(args) if name in ("socket.connect", "os.mkdir") else None)
{statement}
assert threading.active_count() == 1, threading.enumerate()
assert not [key for key in asked if key.startswith(("ATTUNE", "OTEL", "ANTHROPIC", "OPENAI"))], asked
assert not [args for args in opened if "__pycache__" not in str(args)], opened
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


def test_the_rule_sees_something_heavy():
    assert "asyncio" in loaded_by("import asyncio")
    assert cpu_ms("import asyncio") > cpu_ms("pass")
