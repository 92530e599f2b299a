"""`attune demo` as a command: what it takes, what it refuses, where it leaves its files, and its exit status.

0 done; 1 the second process does not agree, or nothing could be measured; 2 usage.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from attune.cli.demo.course import Course, Listen
    from attune.cli.demo.stack import Stack

CALLS: Final = 1000
LIVE_CALLS: Final = 40
MOST_CALLS: Final = 100_000
FEWEST_CALLS: Final = 100  # fewer leave a phase without a call of some workflow


def demo(
    *,
    calls: Annotated[int | None, typer.Option(help=f"Calls in each run: {CALLS:,}; with --live {LIVE_CALLS}.")] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same traffic and same luck.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Where to leave the OTLP files; a new temporary directory if left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Use the real API and spend real money, up to --max-usd.")
    ] = False,
    max_usd: Annotated[float, typer.Option(help="The cap on spending, with --live.")] = 0.5,
    stack: Annotated[
        bool,
        typer.Option("--stack", help="Send it to a real collector, Prometheus and trace store (`make stack`) too."),
    ] = False,
    collector: Annotated[
        Path | None, typer.Option(help="With --stack: the folder of their configurations, if not in a checkout.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="With --stack: leave them running until Enter or Ctrl-C.")
    ] = False,
) -> None:
    """Watch attune learn, meet an outage and a slow model, and recover.

    Beside it the same traffic runs without attune. Real SDK clients and real
    HTTP, against scripted providers in processes of their own; every figure is
    measured. Time is compressed: a circuit that opens for 60 s in real life
    opens for 0.6 s here. Needs no key and no network. With --stack, the same
    run also goes through a real collector into real stores on this machine.
    """
    asked = _Asked(
        calls=calls, seed=seed, out=out, as_json=as_json, live=live, max_usd=max_usd, stack=stack, collector=collector,
        keep=keep,
    )  # fmt: skip
    raise typer.Exit(_attempt(asked))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The command's words."""

    calls: int | None
    seed: int
    out: Path | None
    as_json: bool
    live: bool
    max_usd: float
    stack: bool
    collector: Path | None
    keep: bool


def _attempt(asked: _Asked) -> int:
    """The exit status. What goes wrong is one line."""
    from rich.console import Console

    from attune.errors import AttuneError, ConfigError

    console = Console(stderr=True)
    try:
        return 0 if _show(console, asked) else 1
    except ConfigError as error:
        return _tell(console, str(error), 2)
    except (AttuneError, OSError) as error:
        return _tell(console, str(error), 1)
    except KeyboardInterrupt:
        return _tell(console, "stopped.", 130)


def _show(console: Console, asked: _Asked) -> bool:
    """Run it and tell it; whether every second process agrees."""
    _check(asked)
    with ExitStack() as open_:
        there = _beside(open_, console, asked.collector) if asked.stack else None
        listen = () if there is None else (there.listen,)
        agrees = _report(_run(console, asked, *listen), there, as_json=asked.as_json)
        if asked.keep:
            _keep(console)
    return agrees


def _check(asked: _Asked) -> None:
    from attune.errors import ConfigError

    if asked.stack and asked.live:
        raise ConfigError("--stack shows the scripted demo: leave out --live.")
    if not asked.stack and (asked.keep or asked.collector is not None):
        raise ConfigError(f"{'--keep' if asked.keep else '--collector'} goes with --stack.")
    if asked.live:
        from attune.cli.demo.live import checked_key

        checked_key(os.environ, asked.max_usd)
    fewest = 1 if asked.live else FEWEST_CALLS
    if asked.calls is not None and not fewest <= asked.calls <= MOST_CALLS:
        raise ConfigError(f"--calls {asked.calls}: give a number from {fewest} to {MOST_CALLS:,}.")


def _beside(open_: ExitStack, console: Console, collector: Path | None) -> Stack:
    from attune.cli.demo.beside import beside

    return open_.enter_context(beside(console, collector))


def _keep(console: Console) -> None:
    from attune.cli.demo.beside import keep

    keep(console)


def _run(console: Console, asked: _Asked, *listen: Listen) -> Course:
    from attune.cli.demo.course import run_scripted
    from attune.cli.demo.live import run_live
    from attune.cli.demo.show import Display
    from attune.cli.demo.traffic import real_tasks, scripted_tasks
    from attune.models import CircuitBreaker

    calls = asked.calls if asked.calls is not None else LIVE_CALLS if asked.live else CALLS
    where, seed = _directory(asked.out), asked.seed
    with Display(console, calls, lambda: CircuitBreaker().get_status()) as display:
        if asked.live:
            return run_live(real_tasks(calls, seed), seed, where, display, max_usd=asked.max_usd)
        return run_scripted(scripted_tasks(calls, seed), seed, where, display, *listen)


def _directory(out: Path | None) -> Path:
    """A directory that holds no earlier run, for the second process reads all there is: `out`, or a new one in it."""
    if out is None:
        return Path(tempfile.mkdtemp(prefix="attune-demo-"))
    out = out.expanduser().absolute()
    out.mkdir(parents=True, exist_ok=True)
    place, n = out, 1
    while (place / "telemetry").exists():
        n += 1
        place = out / f"run-{n}"
    return place


def _report(course: Course, there: Stack | None, *, as_json: bool) -> bool:
    """Tell it all; whether every second process agrees."""
    from rich.console import Console

    from attune.cli.demo import beside, figures, summary

    told, agrees = figures.compose(course), course.agrees
    if there is not None:
        told["stack"] = beside.told(there, course)
        agrees = agrees and told["stack"]["second_process"]["agrees"]
    if as_json:
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        return agrees
    console = Console()
    summary.write(console, told)
    if there is not None:
        beside.write(console, told["stack"])
    return agrees


def _tell(console: Console, message: str, status: int) -> int:
    console.print(f"attune demo: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    return status
