"""What `--stack` adds to the demo: the stack under way beside it, what the stack then holds, and a process that reads it there.

`told` is its part of the JSON object; `write` shows the same to people. However it ends, the programs are stopped first.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from attune.cli.demo import looks, programs, second
from attune.cli.demo.course import Course
from attune.cli.demo.stack import Stack, running
from attune.cli.demo.traffic import WORKFLOWS


@contextmanager
def beside(console: Console, collector: Path | None) -> Iterator[Stack]:
    """The stack, until the `with` block ends. ConfigError where this machine has it not."""
    binaries, shipped = programs.find_all(os.environ), programs.configurations(collector)
    with _ending_as_by_ctrl_c():
        console.print(f"attune demo: starting the stack of {shipped}", markup=False, highlight=False, soft_wrap=True)
        with running(binaries, shipped, os.environ) as stack:
            yield stack


def told(stack: Stack, course: Course) -> dict[str, Any]:
    """What the stack holds: programs, whether every call arrived, answers, and what a process that asks Prometheus says."""
    complete = looks.arrived(stack, len(course.attune))
    cells = [(it.name, it.stage, it.floor) for it in WORKFLOWS]
    best = second.ask_reader(f"promql+{stack.prometheus}?window_s=3600", cells)
    return {
        "programs": [{"name": it.name, "url": it.url, "ready_s": round(it.ready_s, 3)} for it in stack.programs],
        "complete": complete,
        "looks": [
            {"words": it.words, "query": it.query, "url": it.url, "found": list(it.found)} for it in looks.look(stack)
        ],
        "second_process": {"best_models": best, "agrees": best == course.best_models},
    }


def write(console: Console, it: Mapping[str, Any]) -> None:
    """Print it for people."""
    agrees = "names the same best models" if it["second_process"]["agrees"] else "names OTHER best models"
    lines = [
        "",
        "The same run in the real stack, by SDK, agent, gateway and stores:",
        *(f"  {one['name']:<13} {one['url']}   up after {one['ready_s']:.1f} s" for one in it["programs"]),
        f"A second process, which never made a call, reads Prometheus and {agrees}.",
        *([] if it["complete"] else ["Not every call has arrived in time: what follows may lack the last ones."]),
        "What it was asked, and answered (with --keep the addresses stay, for curl):",
    ]
    for one in it["looks"]:
        lines += [f"- {one['words']}:  {one['query']}", f"  {one['url']}"]
        lines += [f"    {found}" for found in one["found"] or ["nothing"]]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def keep(console: Console) -> None:
    """Wait for Enter, where somebody can press it, or an interrupt."""
    console.print("attune demo: the stack goes on. Enter or Ctrl-C ends it.", markup=False, highlight=False)
    try:
        if sys.stdin.isatty():
            select.select([sys.stdin], [], [])
        else:
            threading.Event().wait()
    except KeyboardInterrupt:
        pass


@contextmanager
def _ending_as_by_ctrl_c() -> Iterator[None]:
    """A closed terminal or a polite kill ends the block as Ctrl-C does, so that nothing is left running."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
