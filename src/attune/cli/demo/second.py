"""The second process: it never made a call, reads what the first told, and says which models it would take.

Run as a program in an interpreter and a home of its own; `ask` starts it. It knows nothing of the first but what
the reader brings.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from attune.cli.demo.environment import without_own
from attune.errors import StateError

_PATIENCE_S: Final = 60.0


def ask(files: Path, cells: Sequence[tuple[str, str, float]]) -> dict[str, str]:
    """As `ask_reader`, from OTLP files."""
    return ask_reader(f"file:{files.absolute()}", cells)


def ask_reader(reader: str, cells: Sequence[tuple[str, str, float]]) -> dict[str, str]:
    """The best model of each (workflow, stage, floor), by a fresh interpreter. StateError if it does not answer."""
    with tempfile.TemporaryDirectory(prefix="attune-second-") as home:
        told = subprocess.run(  # noqa: S603 - this interpreter and our own module
            [sys.executable, "-m", __name__, reader, json.dumps(cells)],
            cwd=home,
            env={**without_own(), "ATTUNE_HOME": home},
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    if told.returncode != 0:
        last = told.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise StateError(f"The second process ended with status {told.returncode}: {last[0]}")
    best: dict[str, str] = json.loads(told.stdout)
    return best


def main(arguments: Sequence[str]) -> int:
    """`READER CELLS`: print the best models as JSON."""
    from attune.models import AdaptiveModelRouter
    from attune.telemetry import from_text

    reader, cells = arguments
    router = AdaptiveModelRouter(telemetry=from_text(reader))
    best = {
        f"{name}/{stage}": router.get_best_model(name, stage, min_success_rate=floor)
        for name, stage, floor in json.loads(cells)
    }
    sys.stdout.write(json.dumps(best) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
