"""The course of the demo: every task in turn with attune, then without it, then at the premium model, phase by phase.

It makes things happen and keeps what was measured; what that amounts to is `figures.py`'s, how it looks `show.py`'s.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor

import attune
from attune.cli.demo import environment, second
from attune.cli.demo.arms import Alternates, Bare, Done, Run, WithAttune
from attune.cli.demo.clients import Clients, Pair
from attune.cli.demo.traffic import WORKFLOWS, Task
from attune.cli.demo.world import RECOVERY_S, TIMEOUT_S, Model, World, phases, tier_defaults
from attune.models import AdaptiveModelRouter
from attune.models.call import Transition
from attune.telemetry import Telemetry, setup
from attune.telemetry.names import SCOPE_DEMO, SPAN_ROUTE

_PATIENCE_S: Final = 10.0
Listen = Callable[[Telemetry], None]
Models = tuple[Model, Model, Model]  # cheap, capable, premium
Runs = tuple[WithAttune, Bare, Bare]  # with attune, without, always premium


class Watch(Protocol):
    """Who looks on while it runs."""

    def phase(self, name: str, model: str) -> None:
        """A phase begins; `model` is the one it befalls."""
        ...

    def done(self, call: Done) -> None:
        """One call with attune is over; the bare runs made it too."""
        ...


@dataclass(slots=True, kw_only=True)
class Outage:
    """The busiest model's outage: of which model, between which epoch seconds."""

    model: str
    from_s: float
    to_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class Course:
    """Everything that was measured. Times are epoch seconds; `start_s` is the first route span's start."""

    seed: int
    pinned: str
    premium: str
    start_s: float = 0.0
    seconds: float = 0.0
    attune: list[Done] = field(default_factory=list)
    without: list[Done] = field(default_factory=list)
    always_premium: list[Done] = field(default_factory=list)
    outage: Outage | None = None
    transitions: list[Transition] = field(default_factory=list)
    best_models: dict[str, str] = field(default_factory=dict)
    second_best: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

    @property
    def agrees(self) -> bool:
        """Whether the second process named the same models."""
        return self.second_best == self.best_models


class FirstRoute(SpanProcessor):
    """Keeps the start of the first call's span."""

    def __init__(self, course: Course) -> None:
        self._course = course

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the SDK's signature
        """Called by the SDK for each span."""
        if not self._course.start_s and span.name.startswith(SPAN_ROUTE) and span.start_time:
            self._course.start_s = span.start_time / 1e9


def _alone(_: Telemetry) -> None:
    """Nobody but the files listens."""


def run_scripted(tasks: list[Task], seed: int, out: Path, watch: Watch, listen: Listen = _alone) -> Course:
    """The whole demo in the scripted world. Files go under `out`; `listen` may have the telemetry sent elsewhere too."""
    with ground(out, seed, recovery_s=RECOVERY_S, listen=listen) as (telemetry, transitions, run):
        models = tier_defaults()
        course = begin(seed, models, telemetry, transitions)
        with World(models, seed) as world, Clients(run) as clients:
            main = clients.pair(base_url=world.main.url, api_key="scripted", timeout_s=TIMEOUT_S)
            backup = clients.pair(base_url=world.backup.url, api_key="scripted", timeout_s=TIMEOUT_S)
            guarded = WithAttune(main, _alternates(models, backup), [it.id for it in models], run)
            for pair in (main, backup):  # opens the connections, so that no call is measured with its handshake
                pair.sync.with_options(timeout=_PATIENCE_S).models.list()
                run(_list(pair))
            began = time.perf_counter()
            _through_phases(course, tasks, world, (guarded, *bare_runs(models, main, run, telemetry)), watch)
            course.seconds = time.perf_counter() - began
        conclude(course, telemetry, out)
    return course


@contextmanager
def ground(
    out: Path, seed: int, *, recovery_s: float, listen: Listen = _alone
) -> Iterator[tuple[Telemetry, list[Transition], Run]]:
    """A runtime, telemetry into files under `out`, and an event loop: the demo's own, whatever the person has set."""
    transitions: list[Transition] = []
    with ExitStack() as stack:
        stack.enter_context(environment.plain())
        telemetry = setup(home=out, service_name="attune-demo", set_as_global=False)
        stack.callback(telemetry.shutdown)
        listen(telemetry)
        attune.configure(
            mode="enforce", state="memory", home=out, namespace="demo", candidates=(), default_tier="cheap", timeout_s=None,
            max_attempts=None, explore=True, seed=seed, readers=(), reroute={}, on_event=transitions.append,
            breaker={"failure_threshold": 5, "recovery_timeout_seconds": recovery_s},
            tracer_provider=telemetry.tracer_provider, meter_provider=telemetry.meter_provider,
        )  # fmt: skip
        stack.callback(attune.shutdown)
        runner = stack.enter_context(asyncio.Runner())
        # a runner's tasks would otherwise live in the context of its first one
        yield telemetry, transitions, lambda work: runner.run(work, context=copy_context())


def begin(seed: int, models: Models, telemetry: Telemetry, transitions: list[Transition]) -> Course:
    """A course that knows when its first route span starts."""
    _, capable, premium = models
    course = Course(seed=seed, pinned=capable.id, premium=premium.id, transitions=transitions)
    telemetry.tracer_provider.add_span_processor(FirstRoute(course))
    return course


def bare_runs(models: Models, pair: Pair, run: Run, telemetry: Telemetry) -> tuple[Bare, Bare]:
    """The runs without attune: at the model that an engineer would have pinned, and at the best that money buys."""
    tracer = telemetry.tracer_provider.get_tracer(SCOPE_DEMO)
    _, pinned, premium = models
    return (
        Bare("without", pinned.id, pinned.price, pair, run, tracer),
        Bare("always_premium", premium.id, premium.price, pair, run, tracer),
    )


def make(course: Course, task: Task, phase: str, runs: Runs) -> None:
    """One task, in each of the runs."""
    guarded, without, premium = runs
    course.attune.append(guarded.call(task, phase))
    course.without.append(without.call(task, phase))
    course.always_premium.append(premium.call(task, phase))


def conclude(course: Course, telemetry: Telemetry, out: Path) -> None:
    """Ask this process, export what is left, and ask one that never made a call."""
    attune.flush()
    router = AdaptiveModelRouter()
    for it in WORKFLOWS:
        course.best_models[it.cell] = router.get_best_model(it.name, it.stage, min_success_rate=it.floor)
    telemetry.shutdown()
    course.files = telemetry.files
    course.second_best = second.ask(out / "telemetry", [(it.name, it.stage, it.floor) for it in WORKFLOWS])


def _alternates(models: Models, backup: Pair) -> Alternates:
    """The same models at the second provider, at a higher price."""

    def targets(kind: str) -> list[attune.Target]:
        client = backup.sync if kind == "sync" else backup.asynchronous
        return [attune.Target(it.id, provider="backup", client=client, price=it.backup_price) for it in models]

    return targets


async def _list(pair: Pair) -> None:
    await pair.asynchronous.with_options(timeout=_PATIENCE_S).models.list()


def _through_phases(course: Course, tasks: list[Task], world: World, runs: Runs, watch: Watch) -> None:
    suffers = course.pinned
    for phase, places in phases(len(tasks)):
        if phase == "outage":
            suffers = Counter(done.model for done in course.attune if done.provider == "anthropic").most_common(1)[0][0]
            course.outage = Outage(model=suffers, from_s=time.time())
        elif phase == "calm" and course.outage is not None:
            course.outage.to_s = time.time()
        world.befall(phase, suffers)
        watch.phase(phase, suffers)
        for place in places:
            make(course, tasks[place], phase, runs)
            watch.done(course.attune[-1])
