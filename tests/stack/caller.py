"""An application on its own: it makes calls without a pause and tells, line by line, how they went and how large it is.

`python caller.py PROVIDER`: OTLP goes where the environment says. One JSON object a quarter of a second on stdout; it
stops when stdin ends, and tells its telemetry good-bye.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

import anthropic

import attune
from attune.telemetry import setup

MODEL = "claude-haiku-4-5"
PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


def tell(line: dict[str, object]) -> None:
    """One line on stdout, at once."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main(provider: str) -> None:
    """Call until stdin ends."""
    telemetry = setup(service_name="caller")
    attune.configure(state="memory", readers=(), explore=False)
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    calls = failed = 0
    slowest = said = 0.0
    with anthropic.Anthropic(base_url=provider, api_key="scripted", max_retries=0) as bare:
        client = attune.wrap(bare, candidates=[MODEL], workflow="chaos", stage="one")
        while not over.is_set():
            began = time.monotonic()
            calls += 1
            try:
                client.messages.create(
                    model=MODEL, max_tokens=9, messages=[{"role": "user", "content": "Still there?"}]
                )
            except Exception:
                failed += 1
            slowest = max(slowest, time.monotonic() - began)
            if time.monotonic() - said > 0.25:
                said = time.monotonic()
                rss = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_KB
                line = {
                    "calls": calls,
                    "failed": failed,
                    "slowest_s": slowest,
                    "rss_kb": rss,
                    "threads": threading.active_count(),
                }
                tell(line)
                slowest = 0.0
    telemetry.flush()
    tell({"calls": calls, "failed": failed, "over": True})
    attune.shutdown()
    telemetry.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
