"""Where the stack's programs and configurations are: in variables, where `make stack` put them, on the PATH; in a checkout.

A variable (OTELCOL_BIN, PROMETHEUS_BIN, ALERTMANAGER_BIN, JAEGER_BIN) is believed whatever it names. Nothing is started
here, and nothing is downloaded or built.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attune.errors import ConfigError

NAMES: Final = ("otelcol", "prometheus", "alertmanager", "jaeger")
FILES: Final = ("agent.yaml", "gateway.yaml", "prometheus.yml", "alertmanager.yml", "rules")
_ELSEWHERE: Final[Mapping[str, tuple[str, ...]]] = {  # what those call it who install it otherwise
    "otelcol": ("otelcol-contrib",),
    "alertmanager": ("alertmanager", "prometheus-alertmanager"),
    "jaeger": ("jaeger-all-in-one",),
}


def variable(name: str) -> str:
    """The environment variable that says where a program is."""
    return f"{name.upper()}_BIN"


def home(environ: Mapping[str, str]) -> Path:
    """Where `make stack` puts programs: ATTUNE_STACK_HOME, else attune-stack in the user's cache."""
    if said := environ.get("ATTUNE_STACK_HOME"):
        return Path(said).expanduser().absolute()
    cache = environ.get("XDG_CACHE_HOME")
    base = Path(cache) if cache else Path(environ.get("HOME") or Path.home()) / ".cache"
    return base.absolute() / "attune-stack"


def find(name: str, environ: Mapping[str, str]) -> Path | None:
    """One program, or None where this machine has it not."""
    if said := environ.get(variable(name)):
        found = shutil.which(said)
        return Path(found) if found else None
    made = [path for path in home(environ).glob(f"*/bin/{name}") if shutil.which(path)]
    if made:  # several after a pin was changed
        return max(made, key=lambda path: path.stat().st_mtime)
    there = (shutil.which(word, path=environ.get("PATH", "")) for word in _ELSEWHERE.get(name, (name,)))
    return next((Path(path) for path in there if path), None)


def find_all(environ: Mapping[str, str]) -> dict[str, Path]:
    """Every program. ConfigError with all that are missing, and what to do."""
    found = {name: find(name, environ) for name in NAMES}
    there = {name: path for name, path in found.items() if path is not None}
    if missing := [name for name in NAMES if name not in there]:
        raise ConfigError(
            f"--stack needs {', '.join(missing)}, which {'are' if len(missing) > 1 else 'is'} neither below {home(environ)} "
            f"nor on the PATH. Run `make stack` in a checkout of attune, or set {', '.join(map(variable, missing))}."
        )
    return there


def configurations(said: Path | None) -> Path:
    """The folder `collector` with the shipped files: `said`, else the checkout's. ConfigError where it is not."""
    if said is not None:
        folder = said.expanduser().absolute()
        if missing := [name for name in FILES if not (folder / name).exists()]:
            raise ConfigError(f"--collector {said}: there is no {', '.join(missing)} in it.")
        return folder
    # this file is src/attune/cli/demo/programs.py in a checkout; else the directory one works in may be of one
    roots = (Path(__file__).resolve().parents[4], Path.cwd(), *Path.cwd().parents)
    for folder in (root / "collector" for root in roots):
        if all((folder / name).exists() for name in FILES):
            return folder
    raise ConfigError(
        "--stack runs the configurations of attune's folder `collector`, which an installed package does not have. "
        "Say where it is with --collector DIR, or run it in a checkout."
    )
