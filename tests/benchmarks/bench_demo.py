"""`attune demo` over several seeds: what was promised of it, as a table. Exit status 1 if a bound is missed.

    python tests/benchmarks/bench_demo.py [--seeds 0-9] [--calls N]

Bounds: in the outage, calls answered with attune at least 98 %, without it under 90 %; cost at most 0.6 of always-premium's;
success of each workflow at most 2 points under its floor; the second process agrees.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from typing import Any

HEAD = ("seed", "s", "answered", "without", "cost", "floors", "lost", "left after", "back after", "agrees", "missed")


def run(seed: int, calls: int | None, out: str) -> dict[str, Any]:
    """The JSON object of one run."""
    many = [] if calls is None else ["--calls", str(calls)]
    command = [sys.executable, "-m", "attune.cli.main", "demo", "--json", "--seed", str(seed), "--out", out, *many]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if not ended.stdout:
        sys.exit(f"seed {seed}: exit status {ended.returncode}\n{ended.stderr}")
    told: dict[str, Any] = json.loads(ended.stdout)
    return told


def missed(told: dict[str, Any]) -> list[str]:
    """The bounds that this run missed."""
    outage = told["outage"]
    held = {
        "answered": outage["with_attune"]["success_rate"] >= 0.98,
        "without": outage["without"]["success_rate"] < 0.9,
        "cost": told["with_attune"]["cost_usd"] <= 0.6 * told["always_premium"]["cost_usd"],
        "floors": all(it["success_rate"] >= it["floor"] - 0.02 for it in told["workflows"]),
        "agrees": told["second_process"]["agrees"],
    }
    return [name for name, holds in held.items() if not holds]


def row(told: dict[str, Any], broken: list[str]) -> tuple[str, ...]:
    """One run's line; `floors` is the worst distance of a workflow from its floor, in points."""
    outage = told["outage"]
    return (
        str(told["seed"]), f"{told['seconds']:.1f}", f"{outage['with_attune']['success_rate']:.1%}",
        f"{outage['without']['success_rate']:.1%}",
        f"{told['with_attune']['cost_usd'] / told['always_premium']['cost_usd']:.3f}",
        f"{100 * min(it['success_rate'] - it['floor'] for it in told['workflows']):+.1f}", str(outage["lost"]),
        str(outage["detected_after"]), str(outage["returned_after"]), str(told["second_process"]["agrees"]),
        ", ".join(broken) or "-",
    )  # fmt: skip


def main() -> int:
    """Run the seeds one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0-9", help="one seed, or from-to")
    parser.add_argument("--calls", type=int, help="calls in each run; the demo's own number if left out")
    chosen = parser.parse_args()
    first, _, last = chosen.seeds.partition("-")
    failed = False
    print("  ".join(name.rjust(10) for name in HEAD))
    with tempfile.TemporaryDirectory(prefix="attune-bench-") as out:
        for seed in range(int(first), int(last or first) + 1):
            told = run(seed, chosen.calls, f"{out}/{seed}")
            broken = missed(told)
            failed = failed or bool(broken)
            print("  ".join(cell.rjust(10) for cell in row(told, broken)), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
