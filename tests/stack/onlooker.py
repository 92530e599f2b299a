"""A process that never makes a call: it reads Prometheus, and says which model its router would take, as often as it changes.

Run as a program: `python onlooker.py READER WORKFLOW STAGE`. One JSON object a line on stdout; ends when stdin does.
`Onlooker` starts it and keeps what it said.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

EVERY_S = 0.2


class Onlooker:
    """The running process, and what it said: (monotonic second, its words)."""

    def __init__(self, reader: str, workflow: str, stage: str, home: Path) -> None:
        home.mkdir()
        self.told: list[tuple[float, Mapping[str, Any]]] = []
        with (home / "stderr").open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, __file__, reader, workflow, stage],
                cwd=home,
                env={**os.environ, "ATTUNE_HOME": str(home)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def names(self, model: str, since: float) -> tuple[float, Mapping[str, Any]] | None:
        """When it first named this model as proven, after a moment, and its words."""
        for at, words in list(self.told):
            if at >= since and (words["model"], words["reason"]) == (model, "proven"):
                return at, words
        return None

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.told.append((time.monotonic(), json.loads(line)))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join(5)
        self._process.stdout.close()


def main(reader: str, workflow: str, stage: str) -> None:
    """Say it until nobody listens."""
    import attune
    from attune.models import AdaptiveModelRouter

    runtime = attune.configure(state="memory", readers=(reader,), refresh_s=0.5)
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    said = ""
    while not over.wait(EVERY_S):
        decision = AdaptiveModelRouter().explain(workflow, stage, min_success_rate=0.8)
        seen = {
            it.model: {"samples": it.sample_size, "success": it.success_rate, "out": it.eliminated_by}
            for it in decision.candidates
        }
        words = {"model": decision.model, "reason": decision.reason, "seen": seen, "faults": dict(runtime.faults)}
        if (line := json.dumps(words)) != said:
            said = line
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
    attune.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
