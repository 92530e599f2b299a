"""Writes the go.mod and go.sum of a part anew, after its version was changed in shelf.py or builder.yaml.

What is written here is what recipes.py builds from and may not change: every module by version and hash. Needs Go, and a
module proxy that has the modules; leaves the old pin alone where any step fails.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from shelf import HERE, MANIFEST, PARTS

OCB = "go.opentelemetry.io/collector/cmd/builder"
NAMES = ("ocb", *(part.name for part in PARTS if not part.packages))
OLDEST_GO = "1.25.0"  # what the pins ask for; Go raises it where a module needs more


def repin(name: str, say: Callable[[str], None]) -> None:
    """Resolve the part's modules anew and write them down; CalledProcessError where Go or a proxy refuses."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _resolve_collector(folder) if name == "otelcol" else _resolve(name, folder)
        for file in ("go.mod", "go.sum"):
            shutil.copy(folder / file, HERE / name / file)
    say(f"collector/stack/{name}: go.mod and go.sum are new")


def _resolve(name: str, folder: Path) -> None:
    packages, tags = [OCB + "@" + _collector_version()], ""
    for part in PARTS:
        if part.name == name:
            packages, tags = [f"{binary.source}@{part.release}" for binary in part.binaries], part.tags
    _go(folder, "mod", "init", f"attune.invalid/stack/{name}")
    _go(folder, "mod", "edit", f"-go={OLDEST_GO}")
    _go(folder, "get", "-tags", tags, "-tool", *packages)


def _resolve_collector(folder: Path) -> None:
    builder = folder / "builder"
    _go(HERE / "ocb", "build", "-mod=readonly", "-p", "2", "-o", str(builder), OCB)
    shutil.copy(MANIFEST, folder)
    subprocess.run([builder, f"--config={MANIFEST.name}", "--skip-compilation"], cwd=folder, check=True)
    for file in ("go.mod", "go.sum"):
        shutil.copy(folder / "_build" / file, folder / file)


def _collector_version() -> str:
    return next("v" + part.version for part in PARTS if part.name == "otelcol")


def _go(folder: Path, *arguments: str) -> None:
    environ = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
    subprocess.run(["go", *arguments], cwd=folder, env=environ, check=True)
