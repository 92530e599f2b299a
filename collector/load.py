"""Demo load: calls of four stages against a scripted provider, so that every panel has something to show. No key, no bill.

Every third minute one model fails for 50 seconds, the first time after 20. Answers are good or not by the provider's dice,
and judged. Telemetry goes where OTEL_EXPORTER_OTLP_ENDPOINT says; Ctrl-C or SIGTERM ends it.
"""  # noqa: INP001 - a script that is copied, not imported

from __future__ import annotations

import random
import signal
import threading
import time
from types import FrameType
from typing import Any, Final

import anthropic

import attune
from attune.models import get_all_models
from attune.telemetry import setup
from attune.testing import Behaviour, ScriptedProvider, is_good

STAGES: Final = (
    ("triage", "label", 0.7),
    ("triage", "reply", 0.85),
    ("review", "draft", 0.8),
    ("review", "verdict", 0.93),
)
PROMPT: Final = "Is this one worth a look?"
CALLS_A_SECOND: Final = 3.0  # of each stage
PERIOD_S, FIRST_S, OUTAGE_S = 180.0, 20.0, 50.0


def behaviours() -> dict[str, Behaviour]:
    """The cheap one is quick and often wrong, the dear one slow and nearly always right."""
    models = {str(tier.value): info.id for tier, info in get_all_models()["anthropic"].items()}
    return {
        models["cheap"]: Behaviour(success=0.985, quality=0.78, latency_ms=350, spread=0.4, output_tokens=180),
        models["capable"]: Behaviour(success=0.99, quality=0.9, latency_ms=900, spread=0.4, output_tokens=220),
        models["premium"]: Behaviour(success=0.995, quality=0.97, latency_ms=1800, spread=0.4, output_tokens=260),
    }


def ask(client: Any, workflow: str, stage: str, floor: float) -> Any:
    """One stage as a function that is routed, and whose answers are judged."""

    @attune.routed(workflow=workflow, stage=stage, min_success_rate=floor, judge=is_good)
    def one(model: str = attune.AUTO) -> Any:
        return client.messages.create(model=model, max_tokens=400, messages=[{"role": "user", "content": PROMPT}])

    return one


def call_until(over: threading.Event, one: Any) -> None:
    """One call after the other, at uneven distances. What fails is told by telemetry, not here."""
    while not over.wait(random.expovariate(CALLS_A_SECOND)):
        try:
            one()
        except anthropic.APIError:
            continue


def trouble_until(over: threading.Event, provider: Any, models: list[str]) -> None:
    """Outages, of one model after the other."""
    wait, turn = FIRST_S, 0
    while not over.wait(wait):
        model = models[turn % len(models)]
        provider.outage(model)
        over.wait(OUTAGE_S)
        provider.recover(model)
        wait, turn = PERIOD_S - OUTAGE_S, turn + 1


def main() -> None:
    """Make calls until somebody says stop."""
    over = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        over.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    telemetry = setup(service_name="demo")
    attune.configure(breaker={"recovery_timeout_seconds": 20})
    models = behaviours()
    with (
        ScriptedProvider.spawn(seed=int(time.time()), models=models) as provider,
        anthropic.Anthropic(base_url=provider.url, api_key="scripted", max_retries=1) as bare,
    ):
        client = attune.wrap(bare, candidates=list(models))
        work = [threading.Thread(target=call_until, args=(over, ask(client, *stage))) for stage in STAGES]
        work.append(threading.Thread(target=trouble_until, args=(over, provider, list(models)[:2])))
        for thread in work:
            thread.start()
        over.wait()
        for thread in work:
            thread.join()
    attune.shutdown()
    telemetry.shutdown()


if __name__ == "__main__":
    main()
