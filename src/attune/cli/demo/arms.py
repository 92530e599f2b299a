"""The runs: one task with attune, and the same task with the bare client at one model, each measured the same way.

A run makes one call and says what became of it. Order, phases and figures are not known here.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anthropic

import attune
from attune.cli.demo.clients import Pair, aask, ask
from attune.cli.demo.traffic import WORKFLOWS, Task, Workflow
from attune.clients.function import usage_of
from attune.models.registry import Price
from attune.telemetry.names import SCOPE_DEMO

Run = Callable[[Any], Any]  # runs a coroutine to its end
Alternates = Callable[[str], list[attune.Target]]  # for "sync" or "async" clients


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of one call. `good`: it returned and was judged good; `at_s` epoch seconds of its start; cost in USD."""

    task: Task
    phase: str
    provider: str
    model: str
    returned: bool
    good: bool
    cost: float
    latency_ms: float
    at_s: float
    reason: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a routed function gives back: the judge needs the task too."""

    task: Task
    message: Any

    def judge(self) -> bool:
        """Whether it is good."""
        return self.task.judge(self.message)


class WithAttune:
    """Routed functions around guarded clients: one pair for each workflow, which share its cell."""

    def __init__(self, pair: Pair, alternates: Alternates, models: list[str], run: Run) -> None:
        self._run = run
        sync, asynchronous = attune.wrap(pair.sync), attune.wrap(pair.asynchronous)
        sync_targets, async_targets = [*models, *alternates("sync")], [*models, *alternates("async")]
        self._sync = {it.name: _routed(it, sync, sync_targets) for it in WORKFLOWS}
        self._async = {it.name: _arouted(it, asynchronous, async_targets) for it in WORKFLOWS}

    def call(self, task: Task, phase: str) -> Done:
        """Make one call, and read its record."""
        at_s = time.time()
        with attune.capture() as calls:
            try:
                if task.kind.startswith("async"):
                    self._run(self._async[task.workflow.name](task))
                else:
                    self._sync[task.workflow.name](task)
            except (anthropic.APIError, attune.CallError):
                pass
        (record,) = calls
        return Done(
            task=task,
            phase=phase,
            provider=record.provider or "",
            model=record.model or "",
            returned=record.outcome == "success",
            good=record.outcome == "success" and record.quality == 1.0,
            cost=record.cost,
            latency_ms=record.latency_ms,
            at_s=at_s,
            reason=record.decision.reason if record.decision is not None else "",
            error=(record.attempts[-1].error_type or "") if record.attempts else "",
        )


def _routed(workflow: Workflow, client: anthropic.Anthropic, candidates: list[Any]) -> Callable[[Task], Answer]:
    @attune.routed(
        workflow=workflow.name,
        stage=workflow.stage,
        min_success_rate=workflow.floor,
        candidates=candidates,
        judge=Answer.judge,
    )
    def answer(task: Task, *, model: str = attune.AUTO) -> Answer:
        return Answer(task, ask(client, model, task))

    return answer


def _arouted(
    workflow: Workflow, client: anthropic.AsyncAnthropic, candidates: list[Any]
) -> Callable[[Task], Awaitable[Answer]]:
    @attune.routed(
        workflow=workflow.name,
        stage=workflow.stage,
        min_success_rate=workflow.floor,
        candidates=candidates,
        judge=Answer.judge,
    )
    async def answer(task: Task, *, model: str = attune.AUTO) -> Answer:
        return Answer(task, await aask(client, model, task))

    return answer


class Bare:
    """The same traffic at one model, by the client as it is. Writes one span a call."""

    def __init__(self, name: str, model: str, price: Price, pair: Pair, run: Run, tracer: Any) -> None:
        self.name = name
        self.model = model
        self._price = price
        self._pair = pair
        self._run = run
        self._tracer = tracer

    def call(self, task: Task, phase: str) -> Done:
        """Make one call, and measure it."""
        at_ns, started = time.time_ns(), time.perf_counter_ns()
        message = None
        try:
            if task.kind.startswith("async"):
                message = self._run(aask(self._pair.asynchronous, self.model, task))
            else:
                message = ask(self._pair.sync, self.model, task)
        except anthropic.APIError:
            pass
        took_ns = time.perf_counter_ns() - started
        done = Done(
            task=task,
            phase=phase,
            provider="anthropic",
            model=self.model,
            returned=message is not None,
            good=message is not None and task.judge(message),
            cost=0.0 if message is None else self._cost(message.usage),
            latency_ms=took_ns / 1e6,
            at_s=at_ns / 1e9,
        )
        self._tell(done, at_ns, took_ns)
        return done

    def _cost(self, usage: Any) -> float:
        told = usage_of(usage)
        return 0.0 if told is None else self._price.cost_nano(told) / 1e9

    def _tell(self, done: Done, at_ns: int, took_ns: int) -> None:
        known: Mapping[str, Any] = {
            "run": self.name, "workflow": done.task.workflow.name, "model": self.model, "success": done.good,
            "cost": done.cost, "returned": done.returned, "phase": done.phase,
        }  # fmt: skip
        self._tracer.start_span(f"{SCOPE_DEMO} {self.name}", start_time=at_ns, attributes=known).end(at_ns + took_ns)
