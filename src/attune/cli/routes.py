"""`attune routes`: what the evidence says of models, and why a question is answered as it is. Asks, never explores.

Each command is a plain function that returns its exit status (0 done, 1 not in order, 2 usage). Reads the default readers
or `--from READER`. Decides nothing: that is `models/router.py`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from attune.errors import AttuneError, ConfigError

if TYPE_CHECKING:
    from attune.models.adaptive import AdaptiveModelRouter
    from attune.models.call import Target
    from attune.models.snapshot import Snapshot

DONE, NOT_IN_ORDER, USAGE = 0, 1, 2

app = typer.Typer(help="What is known of models, and why one is chosen.", no_args_is_help=True)


def show_stats(workflow: str | None, stage: str | None, *, reader: str | None, as_json: bool) -> int:
    """Print the figures of a workflow (and stage), or of every cell that there is evidence on."""
    with _told() as failed:
        router, snapshot = _evidence(reader)
        asked: Sequence[tuple[str, str | None]] = [(workflow, stage)] if workflow is not None else _cells(snapshot)
        told = [router.get_routing_stats(name, where) for name, where in asked]
        if as_json:
            _emit(told[0] if workflow is not None else told)
        else:
            _print_stats(told)
    return failed[0] if failed else DONE


def show_decision(workflow: str, stage: str, limits: Mapping[str, Any], *, reader: str | None, as_json: bool) -> int:
    """Print the model that would be named, and what rules each of the others out."""
    with _told() as failed:
        router, _ = _evidence(reader)
        decision = router.explain(workflow, stage, **limits)
        if as_json:
            facts = {name: getattr(decision, name) for name in decision.__slots__}
            _emit({**facts, "candidates": [asdict(it) for it in decision.candidates]})
        else:
            sys.stdout.write(f"{decision}\n")
    return failed[0] if failed else DONE


def show_models(*, reader: str | None, as_json: bool) -> int:
    """Print the candidates, and every other model that there is evidence on, with prices and totals."""
    with _told() as failed:
        _, snapshot = _evidence(reader)
        rows = [_model(target, snapshot) for target in _targets(snapshot)]
        if as_json:
            _emit(rows)
        else:
            table = Table(Column("model", no_wrap=True), "tier", "in $/M", "out $/M", "samples", "success")
            for row in rows:
                table.add_row(
                    escape(f"{row['provider']}/{row['model']}"), row["tier"] or "-", _said(row["input_usd_per_million"], "g"),
                    _said(row["output_usd_per_million"], "g"), str(row["samples"]),
                    _said(row["success_rate"], ".1%"),
                )  # fmt: skip
            Console().print(table)
    return failed[0] if failed else DONE


def _evidence(reader: str | None) -> tuple[AdaptiveModelRouter, Snapshot]:
    """A router over the named reader, else over the default ones; and all that it knows."""
    from attune.models import AdaptiveModelRouter, process

    live = process.current()
    if reader is None:
        live.settle_in()
        return AdaptiveModelRouter(), live.snapshot()
    from attune.models.entries import EntrySource
    from attune.telemetry import from_text

    read = EntrySource(from_text(reader)).snapshot(live.clock.time(), live.clock.monotonic(), live.catalogue)
    return AdaptiveModelRouter(telemetry=from_text(reader)), read


def _cells(snapshot: Snapshot) -> list[tuple[str, str | None]]:
    return sorted({(it.workflow, it.stage) for it in snapshot.series()})


def _targets(snapshot: Snapshot) -> list[Target]:
    from attune.models import process
    from attune.models.call import Target

    live = process.current()
    found = {(it.provider, it.model): it for it in live.targets()}
    for series in snapshot.series():
        info = live.catalogue.find(series.model, series.provider)
        seen = Target(
            series.model, provider=series.provider, tier=info.tier if info else None, price=info.price if info else None,
            context_window=info.context_window if info else None,
        )  # fmt: skip
        found.setdefault((series.provider, series.model), seen)
    return list(found.values())


def _model(target: Target, snapshot: Snapshot) -> dict[str, Any]:
    stat, price = snapshot.pooled(target.provider, target.model), target.price
    return {
        "provider": target.provider,
        "model": target.model,
        "tier": target.tier,
        "input_usd_per_million": None if price is None else price.input / 1e9,
        "output_usd_per_million": None if price is None else price.output / 1e9,
        "context_window": target.context_window,
        "samples": stat.samples if stat is not None else 0,
        "success_rate": stat.s / stat.n if stat is not None and stat.n else None,
    }


def _print_stats(told: Sequence[Mapping[str, Any]]) -> None:
    console = Console()
    if not told:
        console.print("No evidence yet. Make calls through attune, or name a reader: --from file:PATH")
    for it in told:
        title = f"{it['workflow']}/{it['stage']}: {it['total_calls']} calls in {it['days_analyzed']:g} days"
        table = Table(
            Column("model", no_wrap=True),
            "calls",
            "success",
            "cost a call",
            "mean",
            "p95",
            title=escape(title),
            title_justify="left",
        )
        for model, row in it["performance_by_model"].items():
            table.add_row(
                escape(model), str(row["calls"]), f"{row['success_rate']:.1%}", f"${row['avg_cost']:.6f}",
                f"{row['avg_latency_ms']:.0f} ms", f"{row['p95_latency_ms']:.0f} ms",
            )  # fmt: skip
        console.print(table)


def _said(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _emit(facts: Any) -> None:
    sys.stdout.write(json.dumps(facts, indent=2) + "\n")


@contextmanager
def _told() -> Iterator[list[int]]:
    """Turn a person's mistake, or evidence that cannot be read, into a line and an exit status."""
    failed: list[int] = []
    try:
        yield failed
    except (AttuneError, OSError) as error:
        Console(stderr=True).print(
            f"attune routes: {error}", style="red", markup=False, highlight=False, soft_wrap=True
        )
        failed.append(USAGE if isinstance(error, ConfigError) else NOT_IN_ORDER)


Json = Annotated[bool, typer.Option("--json", help="Plain JSON on stdout.")]
From = Annotated[
    str | None, typer.Option("--from", help="Read this instead of the default: file:PATH, promql+http://…")
]


@app.command("stats")
def _stats(
    workflow: Annotated[str | None, typer.Argument(help="All, if left out.")] = None,
    stage: Annotated[str | None, typer.Argument(help="All stages together, if left out.")] = None,
    *,
    as_json: Json = False,
    reader: From = None,
) -> None:
    """Calls, success, cost and latency of each model."""
    raise typer.Exit(show_stats(workflow, stage, reader=reader, as_json=as_json))


@app.command("explain")
def _explain(
    workflow: str,
    stage: str,
    *,
    max_cost: Annotated[float | None, typer.Option(help="USD a call.")] = None,
    max_latency_ms: Annotated[float | None, typer.Option(help="At most 10 % of the calls over it.")] = None,
    min_success_rate: Annotated[float, typer.Option(help="The floor, 0 to 1.")] = 0.8,
    as_json: Json = False,
    reader: From = None,
) -> None:
    """The model that get_best_model would name, and what rules out each of the others."""
    limits = {"max_cost": max_cost, "max_latency_ms": max_latency_ms, "min_success_rate": min_success_rate}
    raise typer.Exit(show_decision(workflow, stage, limits, reader=reader, as_json=as_json))


@app.command("models")
def _models(*, as_json: Json = False, reader: From = None) -> None:
    """The candidates and the models that were seen, with their prices."""
    raise typer.Exit(show_models(reader=reader, as_json=as_json))
