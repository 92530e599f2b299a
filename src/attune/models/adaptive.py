"""AdaptiveModelRouter: the names by which people ask what attune knows. Questions only: nothing here explores or changes.

It finds the evidence (the process's, a reader's, or a telemetry object's entries), makes a Question of the arguments and
hands both to `router.py`. It knows neither where rows are stored nor how a call is made.
"""

from __future__ import annotations

from typing import Any, Final

from attune.errors import ConfigError
from attune.models import process
from attune.models.call import Target
from attune.models.decision import Decision
from attune.models.entries import EntrySource
from attune.models.histogram import quantile
from attune.models.performance import ModelPerformance
from attune.models.process import Process
from attune.models.question import Question, check_limits, is_number
from attune.models.router import Router
from attune.models.snapshot import Snapshot
from attune.models.sums import QUALITY, success
from attune.models.tally import Series, Tally

_DAY_S: Final = 86_400.0


class AdaptiveModelRouter:
    """Asks the evidence which model to use. Thread-safe; keeps no state but what it read last.

    `telemetry` None: this process's evidence. Else an object with `get_recent_entries(limit=, days=)` that gives
    dictionaries, or a TelemetryReader; either is read at the first question, then at most every 5 seconds.
    """

    MIN_SAMPLE_SIZE: Final = 10
    FAILURE_RATE_THRESHOLD: Final = 0.2
    RECENT_WINDOW_SIZE: Final = 20

    def __init__(self, telemetry: Any = None) -> None:
        self.telemetry = telemetry
        self._source = None if telemetry is None else EntrySource(telemetry)

    def get_best_model(
        self,
        workflow: str,
        stage: str,
        max_cost: float | None = None,
        max_latency_ms: float | None = None,
        min_success_rate: float = 0.8,
        *,
        on_infeasible: str = "default",
    ) -> str:
        """The id of the cheapest model with at least 10 samples at or over the floor and within the limits.

        `max_cost` in USD a call, `max_latency_ms` in milliseconds (at most 10 % of the calls over it), `min_success_rate`
        0..1. If none qualifies: the default tier's model ("default"), the best within `max_cost` ("best"), or
        NoModelAvailable ("raise"). A pure question. Raises ConfigError for a value that cannot be meant.
        """
        return self.explain(
            workflow, stage, max_cost, max_latency_ms, min_success_rate, on_infeasible=on_infeasible
        ).model

    def explain(
        self,
        workflow: str,
        stage: str,
        max_cost: float | None = None,
        max_latency_ms: float | None = None,
        min_success_rate: float = 0.8,
        *,
        on_infeasible: str = "default",
    ) -> Decision:
        """The answer of `get_best_model` with its reasons, candidate by candidate. Prints as a table."""
        policy = check_limits(max_cost, max_latency_ms, min_success_rate, on_infeasible)
        _check_names(workflow=workflow, stage=stage)
        live, snapshot = self._evidence()
        targets = _targets(live, snapshot, workflow, stage)
        tier = live.default_tier
        question = Question(
            workflow=workflow,
            stage=stage,
            targets=targets,
            default=next((i for i, it in enumerate(targets) if it.tier == tier), 0),
            max_cost_nano=None if max_cost is None else round(max_cost * 1e9),
            max_latency_ms=max_latency_ms,
            min_success_rate=min_success_rate,
            on_infeasible=policy,
        )
        return Router(explore=False, default_tier=tier).ask(
            question, snapshot, live.circuits, now=live.clock.monotonic()
        )

    def get_routing_stats(self, workflow: str, stage: str | None = None, days: float = 7) -> dict[str, Any]:
        """What is known of a workflow (and stage): every key always there, 0.0 where nothing is known, never None or NaN.

        `days` up to 7 (rows are kept no longer); costs in USD, latencies in milliseconds, rates 0..1. Candidates without a
        sample are listed. `calls` counts all, `sample_size` those that say something about success.
        """
        _check_names(workflow=workflow, stage="all" if stage is None else stage)
        if not is_number(days) or days <= 0:
            raise ConfigError(f"days={days!r}: give a number of days over 0. Rows are kept for 7.")
        live, snapshot = self._evidence()
        detail = snapshot.detail(workflow, stage, snapshot.at_s - min(days, 7) * _DAY_S)
        totals: dict[str, Tally] = {}
        for (_, model), tally in detail.totals.items():
            totals[model] = totals.get(model, Tally()) + tally
        for target in _targets(live, snapshot, workflow, stage):
            totals.setdefault(target.model, Tally())
        by_model = {model: _figures(tally, judged=detail.judged) for model, tally in totals.items()}
        whole = _figures(sum(totals.values(), Tally()), judged=detail.judged)
        return {
            "workflow": workflow,
            "stage": "all" if stage is None else stage,
            "days_analyzed": days,
            "models_used": sorted(model for model, it in by_model.items() if it["calls"]),
            "performance_by_model": by_model,
            "total_calls": whole["calls"],
            "sample_size": whole["sample_size"],
            "avg_cost": whole["avg_cost"],
            "avg_success_rate": whole["success_rate"],
        }

    def performance(self, workflow: str, stage: str | None = None) -> list[ModelPerformance]:
        """The same by model, as ModelPerformance, the most used first."""
        live, _ = self._evidence()
        rows = self.get_routing_stats(workflow, stage)["performance_by_model"]
        found = [
            ModelPerformance(
                model_id=model, tier=info.tier if (info := live.catalogue.find(model)) else None,
                success_rate=it["success_rate"], avg_latency_ms=it["avg_latency_ms"], avg_cost=it["avg_cost"],
                sample_size=it["sample_size"], recent_failures=it["failures"],
            )
            for model, it in rows.items()
        ]  # fmt: skip
        return sorted(found, key=lambda it: -it.sample_size)

    def recommend_tier_upgrade(self, workflow: str, stage: str) -> tuple[bool, str]:
        """Whether more than 20 % of the last 20 outcomes failed, and what that is based on. Upgrades nothing."""
        _check_names(workflow=workflow, stage=stage)
        _, snapshot = self._evidence()
        n, failures = snapshot.detail(workflow, stage, 0.0).recent
        where = f"at {workflow}/{stage}"
        if n < self.MIN_SAMPLE_SIZE:
            return False, f"Insufficient data {where}: {n} of {self.MIN_SAMPLE_SIZE} samples"
        rate = failures / n
        if rate > self.FAILURE_RATE_THRESHOLD + 1e-9:
            return True, f"High failure rate: {rate:.1%} of the last {n} {where}; consider a higher tier"
        return False, f"Performance acceptable: {rate:.1%} failures in the last {n} {where}"

    def _evidence(self) -> tuple[Process, Snapshot]:
        live = process.current()
        if self._source is not None:
            return live, self._source.snapshot(live.clock.time(), live.clock.monotonic(), live.catalogue)
        live.settle_in()
        return live, live.snapshot()


def _check_names(**names: Any) -> None:
    for name, value in names.items():
        if not isinstance(value, str) or not value.strip():
            raise ConfigError(f"{name}={value!r}: give a non-empty string.")


def _targets(live: Process, snapshot: Snapshot, workflow: str, stage: str | None) -> tuple[Target, ...]:
    """Models seen in the evidence, as they were named; then the configured ones and their providers' tier defaults."""
    found: dict[tuple[str, str], Target] = {}
    for series in snapshot.series():
        if series.workflow == workflow and stage in {None, series.stage}:
            found.setdefault(series[2:], _seen(live, series))
    configured = live.targets()
    for provider in dict.fromkeys([it.provider for it in configured] or ["anthropic"]):
        for tier, info in live.catalogue.tier_defaults(provider).items():
            of = (info.provider, info.id)
            price, window = info.price, info.context_window
            found.setdefault(of, Target(info.id, provider=info.provider, tier=tier, price=price, context_window=window))
    for target in configured:
        found.setdefault((target.provider, target.model), target)
    return tuple(found.values())


def _seen(live: Process, series: Series) -> Target:
    info = live.catalogue.find(series.model, series.provider)
    if info is None:
        return Target(series.model, provider=series.provider)
    window = info.context_window
    return Target(series.model, provider=series.provider, tier=info.tier, price=info.price, context_window=window)


def _figures(tally: Tally, *, judged: bool) -> dict[str, Any]:
    n, s = success([getattr(tally, name) for name in QUALITY], judged=judged)
    p95 = quantile(dict(tally.buckets), tally.scale, 0.95)
    return {
        "calls": tally.answers + tally.failures + tally.failures_open + tally.neutral,
        "success_rate": s / n if n else 0.0,
        "avg_cost": tally.cost_nano / tally.costed * 1e-9 if tally.costed else 0.0,
        "avg_latency_ms": tally.latency_us / tally.timed / 1e3 if tally.timed else 0.0,
        "p95_latency_ms": p95 / 1e3 if p95 is not None else 0.0,
        "sample_size": round(n),
        "failures": tally.failures + tally.failures_open,
        "total_cost": tally.cost_nano * 1e-9,
        "tokens_input": tally.tokens_in,
        "tokens_output": tally.tokens_out,
    }
