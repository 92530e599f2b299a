"""The end of the demo for people: the figures of the JSON object as tables and sentences.

It works nothing out: what is not in the object is not told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

_NAMES: Final[Mapping[str, str]] = {
    "with_attune": "with attune",
    "without": "without",
    "always_premium": "always premium",
}


def write(console: Console, told: Mapping[str, Any]) -> None:
    """Print them all."""
    console.print(Group(_runs(told), _workflows(told)))
    for line in (*_outage(told["outage"]), *_timeline(told)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(_words(told), soft_wrap=True)


def _runs(told: Mapping[str, Any]) -> RenderableType:
    table = Table(
        "run",
        Column("model", no_wrap=True),
        "calls",
        "success",
        "cost",
        "p95",
        title="The same traffic, measured",
        title_justify="left",
    )
    for key, name in _NAMES.items():
        it = told[key]
        table.add_row(
            name, it.get("model", "auto"), f"{it['calls']:,}", f"{it['success_rate']:.1%}", f"${it['cost_usd']:.4f}",
            f"{it['p95_ms']:.0f} ms",
        )  # fmt: skip
    return table


def _workflows(told: Mapping[str, Any]) -> RenderableType:
    table = Table(
        Column("workflow", no_wrap=True),
        "floor",
        "success",
        "calls",
        Column("best model", no_wrap=True),
        title="With attune",
        title_justify="left",
    )
    for it in told["workflows"]:
        cell = f"{it['workflow']}/{it['stage']}"
        table.add_row(
            cell, f"{it['floor']:.0%}", f"{it['success_rate']:.1%}", f"{it['calls']:,}", told["best_models"][cell]
        )
    return table


def _outage(it: Mapping[str, Any]) -> list[str]:
    if it["model"] is None:
        return []
    left = "its circuit never opened" if it["detected_after"] is None else f"left after {it['detected_after']} requests"
    back = (
        "not used again"
        if it["returned_after"] is None
        else f"used again {it['returned_after']} requests after its end"
    )
    answered, without = it["with_attune"]["success_rate"], it["without"]["success_rate"]
    told = (
        f"Outage of {it['model']} from {it['from_s']:.1f} s to {it['to_s']:.1f} s: answered with attune {answered:.1%}, "
        f"without {without:.1%}; {it['lost']} requests lost, {left}, {back}."
    )
    return [told]


def _timeline(told: Mapping[str, Any]) -> list[str]:
    return [
        f"{it['at_s']:8.2f} s  {it['name']}: {it['from']} -> {it['to']} ({it['reason']})" for it in told["circuits"]
    ]


def _words(told: Mapping[str, Any]) -> Text:
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in told["decisions"].items())
    agrees = "names the same best models" if told["second_process"]["agrees"] else "names OTHER best models"
    lines = [
        f"Decisions: {reasons}.",
        f"A second process, which never made a call, reads the OTLP files and {agrees}.",
        f"{told['calls']:,} calls in each run, {told['seconds']:.1f} s, seed {told['seed']}; time is compressed. Files:",
        *(f"  {path}" for path in told["files"]),
    ]
    return Text("\n".join(lines))
