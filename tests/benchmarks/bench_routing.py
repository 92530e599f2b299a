"""Replays the router, the windows and the circuits on public outcome tables, in simulated time, and prints what it got.

Bandit feedback: each prompt's answers are known for every model, but only the chosen model's is told. A wrong answer is an
answer with the verdict 0; in the outage scene the main model's calls fail with probability 0.8, so that the real circuits
meet it. Best fixed (BFA): the cheapest model of a cell that meets the floor in hindsight, else its most successful.

    python tests/benchmarks/bench_routing.py [--seeds 10] [--seed0 0] [--tables mmlupro,routellm] [--scenes stationary,outage,drop]
"""

from __future__ import annotations

import argparse
import csv
import gzip
import random
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

from attune.models.call import Target
from attune.models.circuits import Circuits
from attune.models.performance import Observation, Series, Verdict
from attune.models.registry import Price
from attune.models.router import Question, Router
from attune.models.windows import Windows

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "routing"
FLOORS = {"mmlupro": 0.65, "routellm": 0.75}
EPOCH = 1_700_000_000.0


@dataclass
class Table:
    """One outcome table: `rows` hold the cell and, per model, (right, tokens in, tokens out, latency in us, cost in nano-USD)."""

    name: str
    floor: float
    models: list[str]
    targets: tuple[Target, ...]
    cells: list[str]
    rows: list[tuple[int, list[tuple[int, int, int, int, int]]]]
    success: list[list[float]] = field(default_factory=list)
    cost: list[list[float]] = field(default_factory=list)


def load(name: str) -> Table:
    """Read a table; latencies are measured (first token, per token) pairs times the answer's own length."""
    with gzip.open(DATA / f"{name}_outcomes.csv.gz", "rt") as file:
        raw = list(csv.DictReader(file))
    with (DATA / "model_prices.csv").open() as file:
        prices = {
            it["model"]: Price(
                input=round(float(it["usd_per_mtok_in"]) * 1e9), output=round(float(it["usd_per_mtok_out"]) * 1e9)
            )
            for it in csv.DictReader(file)
            if it["dataset"] == name
        }
    with gzip.open(DATA / "llmperf_latency.csv.gz", "rt") as file:
        pairs = [(float(it["ttft_s"]), float(it["inter_token_s"])) for it in csv.DictReader(file) if it["error"] == "0"]
    models = [key[3:] for key in raw[0] if key.startswith("ok:")]
    cells = sorted({it["category"] for it in raw})
    dice = random.Random(7)
    rows = []
    for it in raw:
        answers = []
        for model in models:
            given = int(float(it.get("in_tok") or it[f"in_tok:{model}"]))
            got = int(float(it[f"out_tok:{model}"]))
            first, each = dice.choice(pairs)
            cost = round((given * prices[model].input + got * prices[model].output) / 1e6)
            answers.append((int(it[f"ok:{model}"]), given, got, max(1000, round((first + each * got) * 1e6)), cost))
        rows.append((cells.index(it["category"]), answers))
    targets = tuple(Target(model, provider="other", price=prices[model]) for model in models)
    table = Table(name, FLOORS[name], models, targets, cells, rows)
    for cell in range(len(cells)):
        here = [answers for at, answers in rows if at == cell]
        table.success.append([sum(it[m][0] for it in here) / len(here) for m in range(len(models))])
        table.cost.append([sum(it[m][4] for it in here) / len(here) for m in range(len(models))])
    return table


def best_fixed(success: list[float], cost: list[float], floor: float) -> int:
    """The cheapest that meets the floor, else the most successful."""
    good = [m for m, rate in enumerate(success) if rate >= floor]
    return min(good, key=lambda m: cost[m]) if good else max(range(len(success)), key=lambda m: (success[m], -cost[m]))


@dataclass
class Replay:
    """One run: what was chosen, and what it is worth in expectation."""

    chosen: list[int] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    best_rate: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    best_cost: list[float] = field(default_factory=list)
    cells: list[int] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    victim: int = -1
    bad_cell: int = -1
    start: int = 0
    end: int = 0


def replay(
    table: Table, seed: int, scene: str = "stationary", *, fraction: float = 1.0, explore: bool = True
) -> Replay:
    """Play the whole table once in a seeded order, one call a second on average."""
    dice = random.Random(1000 + seed)
    order = list(range(len(table.rows)))
    dice.shuffle(order)
    order = order[: int(len(order) * fraction)]
    bfa = [best_fixed(s, c, table.floor) for s, c in zip(table.success, table.cost, strict=True)]
    use = [0] * len(table.models)
    weight = [0] * len(table.cells)
    for cell, _ in table.rows:
        use[bfa[cell]] += 1
        weight[cell] += 1
    run = Replay(victim=use.index(max(use)), start=int(0.4 * len(order)), end=int(0.6 * len(order)))
    run.bad_cell = max(range(len(bfa)), key=lambda c: weight[c] if bfa[c] == run.victim else 0)
    windows, circuits, router = Windows(writer="replay"), Circuits(), Router(explore=explore)
    router_dice = random.Random(seed * 7919 + 13)
    questions = [
        Question(workflow=table.name, stage=cell, targets=table.targets, min_success_rate=table.floor)
        for cell in table.cells
    ]
    now = 0.0
    for step, index in enumerate(order):
        now += dice.expovariate(1.0)
        cell, answers = table.rows[index]
        began = time.perf_counter()
        choice = router.decide(
            questions[cell], windows.snapshot(EPOCH + now), circuits, now=now, dice=router_dice.random
        )
        run.seconds += time.perf_counter() - began
        m = choice.order[0]
        run.reasons[choice.decision.reason] = run.reasons.get(choice.decision.reason, 0) + 1
        rates, best = table.success[cell], bfa[cell]
        right, given, got, latency, cost = answers[m]
        failed = False
        luck = dice.random()
        if scene == "outage" and run.start <= step < run.end:
            rates = [0.2 if i == run.victim else rate for i, rate in enumerate(rates)]
            best = best_fixed(rates, table.cost[cell], table.floor)
            if m == run.victim:
                failed, right, latency = luck >= 0.2, 1, latency * 10
        elif _degraded(scene, run, step, cell):
            keep = 0.6 if scene == "drop" else 0.2
            rates = [rate * keep if i == run.victim else rate for i, rate in enumerate(rates)]
            best = best_fixed(rates, table.cost[cell], table.floor)
            right = int(right and luck < keep) if m == run.victim else right
        permit = circuits.acquire("other", table.models[m], now=now)
        series = Series(table.name, table.cells[cell], "other", table.models[m])
        at = int((EPOCH + now) * 1e6)
        windows.record(
            Observation(
                series=series, at_us=at, outcome="failure" if failed else "success", latency_us=latency,
                error_type="server" if failed else None, cost_nano=0 if failed else cost, tokens_in=given, tokens_out=got,
                explored=choice.decision.explored, circuit=getattr(permit, "state", "open"),
            )
        )  # fmt: skip
        if not failed:
            windows.judge(Verdict(series=series, at_us=at, quality_micro=right * 1_000_000))
        if hasattr(permit, "settle"):
            permit.settle("failure" if failed else "success", now=now)
        run.chosen.append(m)
        run.rate.append(rates[m])
        run.best_rate.append(rates[best])
        run.cost.append(table.cost[cell][m])
        run.best_cost.append(table.cost[cell][best])
        run.cells.append(cell)
    return run


def _degraded(scene: str, run: Replay, step: int, cell: int) -> bool:
    """Drop: one cell, for good. Quiet: every cell, for a while; the provider says nothing of it."""
    if scene == "quiet":
        return run.start <= step < run.end
    return scene == "drop" and step >= run.start and cell == run.bad_cell


def figures(table: Table, run: Replay, scene: str) -> dict[str, float]:
    """What a run is worth: cost over best fixed, points of success missing, and in an outage the calls lost."""
    n = len(run.chosen)
    missing = [max(0.0, min(table.floor, best) - rate) for rate, best in zip(run.rate, run.best_rate, strict=True)]
    found = {
        "success": 100 * sum(run.rate) / n,
        "cost": sum(run.cost) / sum(run.best_cost),
        "short": 100 * sum(missing) / n,
        "explored": 100 * (run.reasons.get("trial", 0) + run.reasons.get("retry", 0)) / n,
        "us": run.seconds / n * 1e6,
    }
    if scene in {"outage", "quiet"}:
        hit = [m == run.victim for m in run.chosen]
        before = sum(hit[run.start - 1000 : run.start]) / 1000
        found["lost"] = sum(run.best_rate[run.start : run.end]) - sum(run.rate[run.start : run.end])
        found["share"] = before
        if before >= 0.1:
            found["detect"] = _first(hit[run.start : run.end], 40, lambda share: share <= 0.1 * before + 0.05) - 20
            found["back"] = _first(hit[run.end :], 100, lambda share: share >= 0.5 * before)
    if scene == "drop":
        there = [i for i in range(run.start, n) if run.cells[i] == run.bad_cell]
        found["lost"] = sum(run.best_rate[i] - run.rate[i] for i in there)
        found["detect"] = _first([run.chosen[i] == run.victim for i in there], 20, lambda share: share <= 0.25) - 10
    return found


def _first(hits: list[bool], width: int, wanted) -> float:
    for end in range(width, len(hits) + 1):
        if wanted(sum(hits[end - width : end]) / width):
            return float(end)
    return float("inf")


def main() -> None:
    """Print a table."""
    ask = argparse.ArgumentParser()
    ask.add_argument("--seeds", type=int, default=10)
    ask.add_argument("--seed0", type=int, default=0)
    ask.add_argument("--tables", default="mmlupro,routellm")
    ask.add_argument("--scenes", default="stationary,outage,drop,quiet")
    given = ask.parse_args()
    for name in given.tables.split(","):
        table = load(name)
        for scene in given.scenes.split(","):
            runs = [figures(table, replay(table, given.seed0 + i, scene), scene) for i in range(given.seeds)]
            told = []
            for key in dict.fromkeys(key for run in runs for key in run):
                values = [run[key] for run in runs if key in run]
                whole = [value for value in values if value != float("inf")]
                spread = statistics.stdev(whole) if len(whole) > 1 else 0.0
                never = f" ({len(values) - len(whole)} never)" if len(whole) < len(values) else ""
                told.append(f"{key} {statistics.fmean(whole) if whole else float('nan'):.2f}±{spread:.2f}{never}")
            print(f"{name:9} {scene:10} " + "  ".join(told), flush=True)


if __name__ == "__main__":
    main()
