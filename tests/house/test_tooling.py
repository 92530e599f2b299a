"""What sets the project up is whole: every installed version is pinned, every script runs, every goal is listed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
from house.source import ROOT, refuse

OURS, BUILDERS = {"attune-models"}, {"pip", "setuptools", "wheel"}


def normal(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    """constraints.txt: name and exact version."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {normal(name): pin for name, pin in (line.split("==") for line in lines if line and line[0] != "#")}


def project() -> dict:
    """pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_everything_installed_is_pinned():
    """What CI tested is what the next machine installs."""
    if sys.prefix != str(ROOT / ".venv"):
        pytest.skip("not the environment that the Makefile made")
    # "v0.0.21" and "0.0.21" are one version (PEP 440); a few distributions write the former.
    there = {normal(found.name): found.version.removeprefix("v") for found in metadata.distributions()}
    loose = {name: version for name, version in there.items() if name not in OURS | BUILDERS and name not in pins()}
    assert loose == {}
    refuse(
        f"{name} {there[name]} is installed, {pin} is pinned"
        for name, pin in pins().items()
        if name in there and name not in BUILDERS and there[name] != pin
    )


def test_everything_declared_is_pinned():
    """Each dependency, of the package, its extras and its groups."""
    config = project()
    declared = [*config["project"]["dependencies"], *config["build-system"]["requires"]]
    for extra in config["project"]["optional-dependencies"].values():
        declared += extra
    for group in config["dependency-groups"].values():
        declared += [line for line in group if isinstance(line, str)]
    names = {normal(re.match(r"[\w.-]+", line)[0]) for line in declared}
    assert sorted(names - set(pins()) - OURS) == []


@pytest.mark.parametrize("script", [".ci/run"])
def test_a_script_is_executable_and_parses(script):
    assert os.access(ROOT / script, os.X_OK)
    subprocess.run(["bash", "-n", script], cwd=ROOT, check=True)


@pytest.mark.parametrize("goal", ["demo", "test", "check", "bench", "stack", "clean"])
def test_make_knows_the_goal(goal):
    """The recipe expands, whatever is installed so far; nothing is run."""
    done = subprocess.run(["make", "-n", goal], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^make {goal}\t", subprocess.check_output(["make", "help"], cwd=ROOT, text=True), re.MULTILINE)


def test_make_says_what_python_it_needs(tmp_path):
    """No interpreter that would do: one clear sentence, and nothing half made."""
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    asked = ["make", "-C", str(tmp_path), "PYTHON=/nonexistent/python3", "demo"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "needs Python 3.11 or later" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_changelog_has_an_open_page():
    """Keep a Changelog: what is not yet released stands first."""
    titles = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert titles[0] == "[Unreleased]"
