"""The oldest and the newest SDKs that attune supports, each pair in an environment of its own: `nox -f tests/noxfile.py`.

The oldest versions are the lower bounds of pyproject.toml; the newest are what the package index has today within them. All
else is as constraints.txt pins it.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parents[1]
SDKS = ("anthropic", "openai")
WHAT_MEETS_THEM = ("tests/calls", "tests/clients", "tests/e2e/test_existing_script.py", "tests/testing")

nox.options.default_venv_backend = "venv"
nox.options.envdir = str(ROOT / ".nox")


def supported() -> dict[str, str]:
    """Each SDK and the range that pyproject.toml gives it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["openai"]]
    ranges = (re.match(r"([\w-]+)(.*)", line).groups() for line in declared)
    return {name: bounds for name, bounds in ranges if name in SDKS}


def pins(session: nox.Session) -> str:
    """constraints.txt without the SDKs."""
    kept = Path(session.create_tmp()) / "constraints.txt"
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    kept.write_text("\n".join(line for line in lines if line.partition("==")[0] not in SDKS), encoding="utf-8")
    return str(kept)


def run(session: nox.Session, wanted: list[str]) -> None:
    """Install this pair, say which it is, and run the tests that meet an SDK."""
    session.chdir(ROOT)
    project = nox.project.load_toml(ROOT / "pyproject.toml")
    test = nox.project.dependency_groups(project, "test")
    session.install("--constraint", pins(session), "--editable", ".", *wanted, *test)
    told = "from importlib.metadata import version as v; print(*(f'{it} {v(it)}' for it in ('anthropic', 'openai')))"
    session.run("python", "-c", told)
    session.run("python", "-m", "pytest", "-q", *(session.posargs or WHAT_MEETS_THEM))


@nox.session
def oldest(session: nox.Session) -> None:
    """The lower bounds."""
    run(session, [f"{name}=={re.match(r'>=([^,]+),', bounds)[1]}.*" for name, bounds in supported().items()])


@nox.session
def newest(session: nox.Session) -> None:
    """The newest within the bounds."""
    run(session, [f"{name}{bounds}" for name, bounds in supported().items()])
