"""The composition root: owns the clock, the dice, the evidence, the circuits, the emitter and the one background thread.

It puts parts together and keeps them; it knows no plan, no client's shape and no order of steps. One Runtime is one world:
two of them share nothing but the machine.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from attune.calls.abandoned import Abandoned
from attune.calls.background import Background
from attune.calls.clock import SystemClock
from attune.calls.faults import log_first
from attune.calls.memory import Memory
from attune.calls.settings import Live, Settings
from attune.calls.targets import completed
from attune.clients.dialect import Dialect
from attune.clients.function import rows_inside
from attune.clients.spoken import SPOKEN
from attune.models.call import Target, Transition
from attune.models.circuits import Circuits, CircuitSettings
from attune.models.process import Clock
from attune.models.registry import Catalogue, ModelTier
from attune.models.response import LLMResponse
from attune.models.retry import RetryBudget, RetryPolicy
from attune.models.router import Choice, Question, Router
from attune.models.snapshot import Snapshot
from attune.models.windows import Windows
from attune.telemetry.listening import listened

log = logging.getLogger("attune")


class Executor(Protocol):
    """What answers prompts on a runtime; handed in, because it is built on top of one."""

    def run(self, runtime: Any, prompt: str, **request: Any) -> LLMResponse:
        """Prompt in, answer out."""
        ...

    async def arun(self, runtime: Any, prompt: str, **request: Any) -> LLMResponse:
        """The same, awaited."""
        ...

    def forget(self) -> None:
        """In a forked child: connections are the parent's."""
        ...


class Runtime:
    """One process's attune. Thread-safe; made by `attune.configure()`, or on first use.

    `faults` counts attune's own faults by place: always there, also where no telemetry leaves.
    """

    def __init__(self, settings: Settings, live: Live, *, executor: Executor) -> None:
        self.settings = settings
        self.live = live
        self.clock: Clock = live.clock or SystemClock()
        self.dice = self._make_dice()
        self.ids = random.Random()  # seeded once by the system: asking it for every id costs more than the id
        self.faults: Counter[str] = Counter()
        self.abandoned = Abandoned(self.fault)
        self.windows = Windows(writer=uuid.uuid4().hex, max_series=settings.max_series)
        self.circuits = self._make_circuits()
        self.router = Router(explore=settings.explore, default_tier=settings.default_tier)
        self.retry_budget = RetryBudget(RetryPolicy())
        self.memory = Memory()
        self.dialects: tuple[Dialect, ...] = (*live.dialects, *SPOKEN)
        self.failure_rows = rows_inside(self.dialects)
        self._executor = executor
        self._emitter: Any = None
        self._catalogue: Catalogue | None = None
        self._lock = threading.Lock()
        self.pid = os.getpid()
        self._background = Background(
            settings,
            live,
            self.clock,
            on_fault=self.fault,
            on_error=self._on_reader_error,
            on_age=self._on_reader_age,
            on_round=self.settle_abandoned,
            on_end=self.shutdown,
        )

    # -- parts, each built when first needed

    @property
    def catalogue(self) -> Catalogue:
        """Models and prices; compiled on first use, with the user's models over them."""
        if self._catalogue is None:
            from datetime import UTC, datetime

            from attune.clients.catalogue import load_catalogue

            today = datetime.fromtimestamp(self.clock.time(), UTC).date()
            self._catalogue = load_catalogue(today, self.live.models)
        return self._catalogue

    @property
    def default_tier(self) -> ModelTier:
        """Where a question goes when nothing is proven."""
        return self.settings.default_tier

    @property
    def configured(self) -> tuple[str | Target, ...]:
        """The candidates of `configure`, for sites that name none."""
        return self.live.candidates or self.settings.candidates

    @property
    def emitter(self) -> Any:
        """What tells outcomes to OpenTelemetry."""
        if self._emitter is None:
            with self._lock:
                if self._emitter is None:
                    self._emitter = self._make_emitter()
        return self._emitter

    def tells(self) -> bool:
        """Whether anybody listens to telemetry: providers handed in, or global ones set up by now."""
        if self.live.tracer_provider is not None or self.live.meter_provider is not None:
            return True
        return listened()

    def decide(self, question: Question, now_s: float) -> Choice:
        """The router's choice on the evidence of this moment."""
        snapshot = self.windows.snapshot(self.clock.time())
        return self.router.decide(question, snapshot, self.circuits, now=now_s, dice=self.dice)

    def snapshot(self) -> Snapshot:
        """All windows at this moment."""
        return self.windows.snapshot(self.clock.time())

    def data_age_s(self) -> float | None:
        """How old the oldest reader's newest word is, in seconds; None where no reader has spoken."""
        return self._background.age_s()

    # -- around a call

    def enter(self) -> None:
        """What every call does first: notice a fork, settle what was dropped, and see that the background runs."""
        if self.pid != os.getpid():
            self._after_fork()
        if self.abandoned:
            self.abandoned.settle()
        if not self._background.started:
            self._background.start(self.windows)

    def settle_abandoned(self) -> None:
        """Settle the calls and streams that nobody holds any more."""
        self.abandoned.settle()

    def safely(self, where: str, act: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Do something of attune's own; a fault is counted, gives None, and never reaches the caller."""
        try:
            return act(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - law 5: a fault of attune never changes the outcome of a call
            self.fault(where, error)
            return None

    def fault(self, where: str, error: BaseException) -> None:
        """Count a fault of attune's own, and log it once for each place. Never raises."""
        self.faults[where] += 1
        if self.faults[where] == 1:
            log_first(where, error)
        if where != "emit" and self._emitter is not None:
            try:
                self._emitter.fault(where)
            except Exception:  # noqa: BLE001 - counted above already
                self.faults["emit"] += 1

    def dialect_of(self, client: Any) -> Dialect | None:
        """Whose client it is; the user's dialects are asked first."""
        return next((dialect for dialect in self.dialects if dialect.speaks(client)), None)

    def targets(self) -> tuple[Target, ...]:
        """The configured candidates, else the tier defaults of the configured clients' providers."""
        catalogue = self.catalogue
        written: list[str | Target] = list(self.configured)
        if not written:
            providers = tuple(self.live.clients) or ("anthropic",)
            written = [info.id for name in providers for info in catalogue.tier_defaults(name).values()]
        return tuple(_target(catalogue, candidate) for candidate in written)

    def execute(self, prompt: str, **request: Any) -> LLMResponse:
        """Prompt in, answer out."""
        return self._executor.run(self, prompt, **request)

    async def aexecute(self, prompt: str, **request: Any) -> LLMResponse:
        """The same, awaited."""
        return await self._executor.arun(self, prompt, **request)

    # -- the background

    def settle_in(self) -> None:
        """For questions: wait up to a second for the first round of reading."""
        self.enter()
        self._background.ready(1.0)

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Write what is known to the host store. Whether it was done in time."""
        self.settle_abandoned()
        return self._background.flush(timeout_s)

    def shutdown(self, timeout_s: float = 5.0) -> None:
        """Flush, and stop the background thread. Calls go on working, on what is known."""
        self.settle_abandoned()
        self._background.close(timeout_s)

    # -- making

    def _make_dice(self) -> Callable[[], float]:
        return self.live.dice or random.Random(self.settings.seed).random

    def _make_circuits(self) -> Circuits:
        breaker = self.settings.breaker
        circuits = Circuits(
            CircuitSettings(
                failure_threshold=breaker.failure_threshold,
                recovery_timeout_s=breaker.recovery_timeout_seconds,
                half_open_calls=breaker.half_open_calls,
                probe_lease_s=breaker.probe_lease_seconds,
            ),
            wall_offset_s=self.clock.time() - self.clock.monotonic(),
            measure_only=self.settings.mode == "observe",
        )
        circuits.add_listener(self._on_transition, self.fault)
        if self.live.on_event is not None:
            circuits.add_listener(self.live.on_event, self.fault)
        return circuits

    def _on_transition(self, transition: Transition) -> None:
        log.info("circuit %s: %s -> %s", transition.name, transition.from_state, transition.to_state)
        self.emitter.transition(transition)

    def _on_reader_error(self, reader: str) -> None:
        self.emitter.reader_error(reader)

    def _on_reader_age(self, reader: str, age_s: float) -> None:
        self.emitter.reader_age(reader, age_s)

    def _make_emitter(self) -> Any:
        from attune.telemetry.emit import Emitter
        from attune.telemetry.names import GENAI_2026, GENAI_OLDER

        live, settings = self.live, self.settings
        emitter = Emitter(
            tracer_provider=live.tracer_provider,
            meter_provider=live.meter_provider,
            time=self.clock.time,
            names=GENAI_OLDER if settings.gen_ai_names == "1.41" else GENAI_2026,
            gen_ai_metrics=settings.gen_ai_metrics,
            max_series=settings.max_series,
        )
        emitter.watch(self._lights)
        return emitter

    def _lights(self) -> Any:
        """What the gauges show of the circuits, read when metrics are collected, so that time alone shows too."""
        from attune.telemetry.emit import CircuitLight

        status = self.circuits.status(now=self.clock.monotonic())
        return [
            CircuitLight(name, entry["state"], entry["cooling_until"] is not None) for name, entry in status.items()
        ]

    def _after_fork(self) -> None:
        """A child is another writer: its rows are its own, the parent's come to it through the store."""
        with self._lock:
            if self.pid == os.getpid():
                return
            self._background.forget()
            self.ids = random.Random()
            self.dice = self._make_dice()  # children would else all fall alike
            self.windows = Windows(writer=uuid.uuid4().hex, max_series=self.settings.max_series)
            self.circuits = self._make_circuits()
            self.retry_budget = RetryBudget(RetryPolicy())
            self.memory = Memory()  # another thread of the parent's may hold its locks for good
            self.abandoned.clear()
            self._executor.forget()
            if self._emitter is not None:
                self._emitter.forget()
            self.pid = os.getpid()


def _target(catalogue: Catalogue, candidate: str | Target) -> Target:
    if isinstance(candidate, str):
        provider, model = catalogue.resolve(candidate)
        candidate = Target(model, provider=provider, written=candidate)
    return completed(catalogue, candidate)
