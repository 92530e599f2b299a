"""Finds the outside programs of the infrastructure tests: where a variable says, where `make stack` put them, on the PATH.

A variable (OTELCOL_BIN, PROMETHEUS_OLDEST_BIN, ...) is believed whatever it names. On the PATH only the very version that
the stack pins counts: another Prometheus may lack what the tests are about.
"""

from __future__ import annotations

import functools
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
# What a program is called by those who install it otherwise.
ELSEWHERE = {
    "otelcol": ("otelcol", "otelcol-contrib"),
    "jaeger": ("jaeger-all-in-one", "jaeger"),
    "alertmanager-oldest": ("alertmanager", "prometheus-alertmanager"),
}


@functools.cache
def _shelf() -> ModuleType:
    path = ROOT / "collector" / "stack" / "shelf.py"
    spec = importlib.util.spec_from_file_location("attune_stack_shelf", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@functools.cache
def names() -> frozenset[str]:
    """Every program of the stack, by the name that `needs` takes."""
    return frozenset(binary.name for part in _shelf().PARTS for binary in part.binaries)


def variable(name: str) -> str:
    """The environment variable that says where the program is."""
    return re.sub(r"\W", "_", name).upper() + "_BIN"


def find(name: str, environ: Mapping[str, str]) -> Path | None:
    """The program, or None where this machine has it not. `environ`: as it was before the walls of the tests."""
    if said := environ.get(variable(name)):
        found = shutil.which(said)
        return Path(found) if found else None
    if made := _shelf().binary(name, environ):
        return Path(made)
    return _installed(name, environ.get("PATH", ""))


@functools.cache
def _installed(name: str, search: str) -> Path | None:
    for part in _shelf().PARTS:
        for binary in part.binaries:
            if binary.name == name:
                there = (
                    shutil.which(other, path=search) for other in ELSEWHERE.get(name, (name.removesuffix("-oldest"),))
                )
                return next((Path(path) for path in there if path and _says(path, binary.asked, binary.says)), None)
    return None


def _says(path: str, asked: str, expected: str) -> bool:
    try:
        done = subprocess.run([path, asked], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and re.search(expected, done.stdout + done.stderr) is not None
