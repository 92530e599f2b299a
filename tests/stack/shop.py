"""A service under way: guarded SDK clients in several threads, told over OTLP by `attune.telemetry.setup` alone.

Calls are made where the router sends them (`auto`), and some are pinned. It counts what became of them, and knows nothing
of what stands behind its exporter.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anthropic
import pytest

import attune
from attune.models import get_all_models
from attune.telemetry import setup
from attune.testing import Behaviour, ScriptedProvider, fail

SERVICE, WORKFLOW, STAGE = "shop", "code-review", "analysis"
RECOVERY_S = 3.0
ANSWER_MS = 20.0
# Long enough that callers who came at once are all under way when the first of them hears of the outage.
SICK = fail("overloaded", should_retry=False, delay_ms=400)


class Shop:
    """Its provider, its clients, and the models of its one workflow."""

    def __init__(self, otlp: str, home: Path, stack: ExitStack) -> None:
        with pytest.MonkeyPatch.context() as environ:
            for name, value in {
                "OTEL_EXPORTER_OTLP_ENDPOINT": otlp,
                "OTEL_METRIC_EXPORT_INTERVAL": "1000",
                "OTEL_BSP_SCHEDULE_DELAY": "500",
            }.items():
                environ.setenv(name, value)
            self.telemetry = setup(service_name=SERVICE, home=home, set_as_global=False)
        stack.callback(self.telemetry.shutdown)
        found = get_all_models()["anthropic"]
        self.cheap, self.capable = (found[tier].id for tier in ("cheap", "capable"))
        usual = {model: Behaviour(latency_ms=ANSWER_MS, output_tokens=40) for model in (self.cheap, self.capable)}
        self.provider = stack.enter_context(ScriptedProvider.spawn(seed=5, models=usual, default=None))
        attune.configure(
            state="memory",
            readers=(),
            home=home,
            explore=False,
            seed=5,
            breaker={"failure_threshold": 5, "recovery_timeout_seconds": RECOVERY_S},
            tracer_provider=self.telemetry.tracer_provider,
            meter_provider=self.telemetry.meter_provider,
        )
        stack.callback(attune.shutdown)
        bare = stack.enter_context(anthropic.Anthropic(base_url=self.provider.url, api_key="scripted", max_retries=0))
        self._client = attune.wrap(
            bare, candidates=[self.cheap, self.capable], workflow=WORKFLOW, stage=STAGE, min_success_rate=0.8
        )
        self.circuit_name = f"anthropic:{self.cheap}"
        self.errors: Counter[str] = Counter()  # by the model that was asked for

    def call(self, model: str = attune.AUTO) -> str:
        """One call; the model that answered, or the error's name."""
        try:
            answer = self._client.messages.create(
                model=model,
                max_tokens=60,
                messages=[{"role": "user", "content": "What may go wrong with this change?"}],
            )
        except anthropic.APIError as error:
            self.errors[model] += 1
            return type(error).__name__
        return str(answer.model)

    def at_once(self, callers: int, model: str = attune.AUTO) -> list[str]:
        """So many callers, each with one call, all at the same moment."""
        gate, words = threading.Barrier(callers), list[str]()

        def one() -> None:
            gate.wait(10)
            words.append(self.call(model))

        threads = [threading.Thread(target=one) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        return words

    @contextmanager
    def traffic(self, each_s: float, model: str = attune.AUTO) -> Iterator[None]:
        """A caller in the background, with a pause after each call."""
        over = threading.Event()

        def go() -> None:
            while not over.wait(each_s):
                self.call(model)

        thread = threading.Thread(target=go)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(30)

    def sicken(self) -> None:
        """The cheap model answers 529 from now on."""
        self.provider.outage(self.cheap, status=SICK)

    def recover(self) -> None:
        """It is well again."""
        self.provider.recover(self.cheap)

    def circuit(self) -> str:
        """The state of the cheap model's circuit."""
        return str(attune.models.CircuitBreaker().get_status().get(self.circuit_name, {}).get("state", "closed"))


@contextmanager
def shop(otlp: str, home: Path) -> Iterator[Shop]:
    """A shop that tells `otlp` of itself."""
    with ExitStack() as stack:
        yield Shop(otlp, home, stack)
