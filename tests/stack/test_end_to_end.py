"""attune's whole loop on the real programs: a failure is told, stored, alerted on, read back, and routed around.

call -> spans and metrics -> agent -> gateway -> Prometheus -> alert -> webhook, and -> PromQL reader of a process that
never made a call -> its router; then the way back; then the traces of the same run. Each step prints its seconds
(`pytest -s`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stack import loop as stack_loop
from stack.loop import Loop, Webhook
from stack.onlooker import Onlooker
from stack.shop import RECOVERY_S, SERVICE, STAGE, WORKFLOW, Shop, shop

pytestmark = pytest.mark.needs("otelcol", "prometheus", "alertmanager", "jaeger")

WINDOW_S = 60  # the reader's shortest
CALLERS = 24


class Steps:
    """Waits for one thing after another, and says how long each took."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.last = self.began

    def until(self, what: str, ask: Callable[[], Any], seconds: float) -> Any:
        """The first true answer; without one in time, the test fails."""
        began = time.monotonic()
        while not (answer := ask()):
            assert time.monotonic() - began < seconds, f"not within {seconds:.0f} s: {what}"
            time.sleep(0.05)
        self.say(what)
        return answer

    def say(self, what: str) -> None:
        """Print a step that is done."""
        now = time.monotonic()
        print(f"{now - self.began:7.2f} s  (+{now - self.last:5.2f})  {what}")
        self.last = now


class Run:
    """What the one run showed: the tests below look at it."""

    def __init__(self, loop: Loop, shop: Shop, onlooker: Onlooker) -> None:
        self.loop, self.shop, self.onlooker = loop, shop, onlooker
        self.fired_after_s = self.shifted_after_s = self.returned_after_s = self.resolved_after_s = 0.0


@pytest.fixture(scope="module")
def run(lasting_yard, tmp_path_factory):
    """One outage and one recovery, all the way."""
    home, steps = tmp_path_factory.mktemp("end-to-end"), Steps()
    with Webhook() as webhook:
        loop = stack_loop.start(lasting_yard, webhook)
        steps.say("five programs are up")
        reader = f"promql+{loop.prometheus.url()}?window_s={WINDOW_S}&every_s=0"
        with (
            shop(loop.agent.url(), home) as the_shop,
            Onlooker(reader, WORKFLOW, STAGE, home / "onlooker") as onlooker,
        ):
            run = Run(loop, the_shop, onlooker)
            _learn(run, steps)
            _fall(run, steps)
            _rise(run, steps)
            the_shop.telemetry.flush()
            yield run


def _learn(run: Run, steps: Steps) -> None:
    """Both models do well; what Prometheus holds is what was called, and the onlooker takes the cheap one."""
    shop = run.shop
    shop.call(shop.cheap)  # announces every counter at 0
    first = f'attune_attempts_total{{service_name="{SERVICE}", attune_outcome="success"}}'
    steps.until("the first call is in Prometheus", lambda: run.loop.query(f"{first} > 0"), 30)
    for model in (shop.cheap, shop.capable):
        for _ in range(3):
            shop.at_once(8, model)
    steps.until("the onlooker's router takes the cheap model", lambda: run.onlooker.names(shop.cheap, steps.began), 30)


def _fall(run: Run, steps: Steps) -> None:
    """The cheap model's provider fails it."""
    shop = run.shop
    shop.sicken()
    sick = time.monotonic()
    words = shop.at_once(CALLERS)
    steps.say(f"{CALLERS} callers met the outage; another model answered {words.count(shop.capable)} of them")
    assert set(words) == {shop.capable}
    assert shop.circuit() != "closed"
    name = f"anthropic:{shop.cheap}"
    with shop.traffic(0.1), shop.traffic(0.5, shop.cheap):
        opened = f'attune_circuit_open{{service_name="{SERVICE}", attune_circuit_name="{name}"}} == 1'
        steps.until("Prometheus shows the circuit open", lambda: run.loop.query(opened), 20)
        steps.until(
            "the onlooker's router shifts", lambda: run.onlooker.names(shop.capable, sick), 30
        )
        steps.until(
            "Alertmanager called the webhook: AttuneCircuitOpen fires",
            lambda: run.loop.webhook.heard("firing", "AttuneCircuitOpen", attune_circuit_name=name),
            45,
        )
    run.shifted_after_s = (run.onlooker.names(shop.capable, sick) or 0.0) - sick
    run.fired_after_s = (run.loop.webhook.heard("firing", "AttuneCircuitOpen") or 0.0) - sick


def _rise(run: Run, steps: Steps) -> None:
    """The provider is well again: a probe closes the circuit, and good answers take the place of the failures."""
    shop = run.shop
    shop.recover()
    well = time.monotonic()
    with shop.traffic(0.1), shop.traffic(0.02, shop.cheap), shop.traffic(0.02, shop.cheap):
        steps.until("a probe closed the circuit", lambda: shop.circuit() == "closed", RECOVERY_S + 5)
        steps.until(
            "the webhook hears that the alert is resolved",
            lambda: run.loop.webhook.heard("resolved", "AttuneCircuitOpen", attune_circuit_name=f"anthropic:{shop.cheap}"),
            45,
        )
        steps.until(
            "the onlooker's router takes the cheap model again", lambda: run.onlooker.names(shop.cheap, well), WINDOW_S + 30
        )
        steps.until("so does the shop's own", lambda: shop.call() == shop.cheap, 30)
    run.resolved_after_s = (run.loop.webhook.heard("resolved", "AttuneCircuitOpen") or 0.0) - well
    run.returned_after_s = (run.onlooker.names(shop.cheap, well) or 0.0) - well


def test_the_loop_closes(run):
    """The steps of the fixture, in the order of cause and effect, by the clock."""
    print(run.shop.answers, run.fired_after_s, run.shifted_after_s, run.resolved_after_s, run.returned_after_s)
