#!/usr/bin/env python3
"""`make stack`: gets the programs that attune's infrastructure tests and demo run against, into a private, cached folder.

Parts that are there already are left alone; the others are made one after the other, at the lowest priority, each in a
folder of its own that is renamed into place when all of it has answered. No root, nothing outside the folder but Go's own
caches. Where Go or apt is missing, what needs it is left out and said; a part that fails does not stop the others.
Ends with 0 unless a part failed or, with --require, is missing. How a part is made is the affair of recipes.py.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pins
import recipes
import shelf
from shelf import Part

MADE = "made.json"  # written last: how it was made, for those who ask later


def say(line: str) -> None:
    """One line of progress, at once. Progress goes to stderr: with --json, stdout is for the answer alone."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def main(arguments: list[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Do what the command line asks; the number is the exit status."""
    asked = _arguments(arguments)
    parts = [part for part in shelf.PARTS if not asked.only or part.name in asked.only]
    if asked.repin:
        pins.repin(asked.repin, say)
        return 0
    states = {part.name: "made" if shelf.place(part, environ).exists() else "not made" for part in parts}
    if not asked.list:
        os.nice(19)
        began = time.monotonic()
        home = shelf.home(environ)
        say(f"The stack is in {home}")
        home.mkdir(parents=True, exist_ok=True)
        with _alone(home):
            states = {part.name: _have(part, environ) for part in parts}
            if asked.prune:
                _prune(home, environ)
        say(f"{_sentence(states)} in {_clock(time.monotonic() - began)}")
    report = [_report(part, states[part.name], environ) for part in parts]
    sys.stdout.write(json.dumps(report, indent=2) + "\n" if asked.json else _table(report) if asked.list else "")
    if any(state.startswith("failed") for state in states.values()):
        return 1
    return 1 if asked.require and any(state != "made" for state in states.values()) else 0


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    names = [part.name for part in shelf.PARTS]
    parser = argparse.ArgumentParser(prog="build.py", description="Gets the programs of attune's stack.")
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help=f"only this part: {', '.join(names)}"
    )
    parser.add_argument("--list", action="store_true", help="say what is there and make nothing")
    parser.add_argument("--json", action="store_true", help="print what is there as JSON")
    parser.add_argument("--require", action="store_true", help="fail where a part cannot be had on this machine")
    parser.add_argument("--prune", action="store_true", help="remove what this checkout does not use")
    parser.add_argument(
        "--repin", choices=pins.NAMES, metavar="NAME", help="write go.mod and go.sum anew, after a change of version"
    )
    return parser.parse_args(arguments)


def _have(part: Part, environ: Mapping[str, str]) -> str:
    """See to it that the part is there; "made", or why it is not."""
    place = shelf.place(part, environ)
    if place.exists():
        return "made"
    began = time.monotonic()

    def tell(line: str) -> None:
        say(f"  {_clock(time.monotonic() - began):>6}  {part.name}: {line}")

    tell(f"making {part.version}")
    folder = Path(tempfile.mkdtemp(prefix=f".{part.name}-", dir=place.parent))
    try:
        made_with = recipes.make(part, folder, tell)
        facts: dict[str, Any] = {"part": part.name, "version": part.version, "made_with": made_with}
        facts |= {"seconds": round(time.monotonic() - began, 1), "bytes": _size(folder)}
        (folder / MADE).write_text(json.dumps(facts, indent=2) + "\n")
        folder.chmod(0o755)
        folder.rename(place)
    except recipes.Missing as error:
        tell(f"left out: {error}")
        return f"missing: {error}"
    except recipes.Failed as error:
        tell(f"FAILED: {error}")
        return f"failed: {error}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    tell(
        f"made with {made_with.split(', ')[0]}; {_size(place) / 1e6:.0f} MB; runs: {', '.join(binary.name for binary in part.binaries)}"
    )
    return "made"


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """One run at a time in one folder; the lock ends with its process, however that ends."""
    with (home / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another run is at work there: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for left in home.glob(".*-*"):  # what a run that was killed left half made
            shutil.rmtree(left, ignore_errors=True)
        yield


def _prune(home: Path, environ: Mapping[str, str]) -> None:
    wanted = {shelf.place(part, environ) for part in shelf.PARTS}
    for place in sorted(home.iterdir()):
        if (place / MADE).exists() and place not in wanted:
            say(f"Removing {place.name}")
            shutil.rmtree(place)


def _report(part: Part, state: str, environ: Mapping[str, str]) -> dict[str, Any]:
    place = shelf.place(part, environ)
    made = json.loads((place / MADE).read_text()) if state == "made" else {}
    binaries = {binary.name: str(place / "bin" / binary.name) for binary in part.binaries}
    return {"part": part.name, "version": part.version, "state": state, **made, "binaries": binaries if made else {}}


def _table(report: list[dict[str, Any]]) -> str:
    rows = [
        f"{part['part']:<20} {part['version']:<8} {part['state']:<10} {' '.join(part['binaries'].values())}"
        for part in report
    ]
    return "".join(row.rstrip() + "\n" for row in rows)


def _sentence(states: Mapping[str, str]) -> str:
    absent = [name for name, state in states.items() if state != "made"]
    return f"{len(states) - len(absent)} of {len(states)} parts are there{': without ' + ', '.join(absent) if absent else ''}"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


if __name__ == "__main__":
    sys.exit(main())
