"""attune's whole loop on the real programs: a failure is told, stored, alerted on, read back, and routed around.

call -> spans and metrics -> agent -> gateway -> Prometheus -> alert -> webhook, and -> PromQL reader of a process that
never made a call -> its router; then the way back; then the traces of the same run. Each step prints its seconds
(`pytest -s`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from stack import loop as stack_loop
from stack.collectors import soon
from stack.loop import Loop, Webhook
from stack.onlooker import Onlooker
from stack.shop import RECOVERY_S, SERVICE, STAGE, WORKFLOW, Shop, shop

import attune

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
        sys.stdout.write(f"{now - self.began:7.2f} s  (+{now - self.last:5.2f})  {what}\n")
        self.last = now


@dataclass(slots=True)
class Run:
    """What the one run showed: the tests look at it. Seconds are of the monotonic clock, 0.0 before they are known."""

    loop: Loop
    shop: Shop
    onlooker: Onlooker
    sick: float = 0.0
    shifted: float = 0.0
    shifted_words: Mapping[str, Any] = field(default_factory=dict)
    fired: float = 0.0
    well: float = 0.0
    closed: float = 0.0
    resolved: float = 0.0
    returned: float = 0.0


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
    run.sick = time.monotonic()
    words = shop.at_once(CALLERS)
    steps.say(f"{CALLERS} callers met the outage; another model answered {words.count(shop.capable)} of them")
    assert words == [shop.capable] * CALLERS
    with shop.traffic(0.1), shop.traffic(0.5, shop.cheap):
        opened = f'attune_circuit_open{{service_name="{SERVICE}", attune_circuit_name="{shop.circuit_name}"}} == 1'
        steps.until("Prometheus shows the circuit open", lambda: run.loop.query(opened), 20)
        run.shifted, run.shifted_words = steps.until(
            "the onlooker's router shifts", lambda: run.onlooker.names(shop.capable, run.sick), 30
        )
        run.fired = steps.until(
            "Alertmanager called the webhook: AttuneCircuitOpen fires", lambda: _heard(run, "firing", run.sick), 45
        )


def _rise(run: Run, steps: Steps) -> None:
    """The provider is well again: a probe closes the circuit, and good answers take the failures' place."""
    shop = run.shop
    shop.recover()
    run.well = time.monotonic()
    with shop.traffic(0.1), shop.traffic(0.02, shop.cheap), shop.traffic(0.02, shop.cheap):
        steps.until("a probe closed the circuit", lambda: shop.circuit() == "closed", RECOVERY_S + 5)
        run.closed = time.monotonic()
        run.returned, _ = steps.until(
            "the onlooker's router takes the cheap model again",
            lambda: run.onlooker.names(shop.cheap, run.well),
            WINDOW_S + 30,
        )
        steps.until("so does the shop's own", lambda: shop.call() == shop.cheap, 30)
        run.resolved = steps.until(
            "the webhook hears that the alert is resolved", lambda: _heard(run, "resolved", run.well), 45
        )


def _heard(run: Run, status: str, since: float) -> float | None:
    """When the webhook heard of the cheap model's circuit."""
    return run.loop.webhook.heard(
        status, since, alertname="AttuneCircuitOpen", attune_circuit_name=run.shop.circuit_name, service_name=SERVICE
    )


def test_a_process_that_made_no_call_routed_around_the_outage_and_back(run):
    """It saw the failures in Prometheus, as a share of what the model was asked; nothing of its own is in there."""
    assert run.sick < run.shifted < run.well < run.returned
    seen = run.shifted_words["seen"]
    assert seen[run.shop.cheap]["out"] == "min_success_rate"
    assert seen[run.shop.capable]["out"] is None
    worst = min(it["seen"][run.shop.cheap]["success"] for at, it in run.onlooker.told if run.sick < at < run.well)
    assert worst <= 0.7
    assert not any(words["faults"] for _, words in run.onlooker.told)
    instances = run.loop.query("group by (service_instance_id) (attune_attempts_total)")
    assert [it["metric"]["service_instance_id"] for it in instances] == [run.shop.telemetry.instance_id]


def test_the_alert_came_and_went(run):
    """Fired while the model was sick, resolved after the circuit closed, and told as the rules say."""
    assert run.sick < run.fired < run.well
    assert run.closed < run.resolved
    labels = next(labels for _, _, labels in run.loop.webhook.alerts if labels["alertname"] == "AttuneCircuitOpen")
    assert labels["gen_ai_provider_name"] == "anthropic"
    assert labels["gen_ai_request_model"] == run.shop.cheap
    assert labels["severity"] == "ticket"


def test_calls_met_the_outage_and_were_answered(run):
    """Only calls that were pinned to the sick model got an error; the router's own calls got an answer, each of them."""
    assert run.shop.errors[attune.AUTO] == 0
    assert run.shop.errors[run.shop.cheap] > 0


def test_prometheus_holds_every_attempt(run):
    """What the scripted provider served and what two collectors and a store made of it is the same number."""
    sums = "sum by (gen_ai_request_model) (attune_attempts_total)"
    served = {model: counts["requests"] for model, counts in run.shop.provider.served.items()}

    def stored() -> dict[str, int]:
        return {it["metric"]["gen_ai_request_model"]: int(it["value"][1]) for it in run.loop.query(sums)}

    assert soon(lambda: stored() == served), (stored(), served)


def test_the_trace_of_a_call_that_fell_back_is_found_by_tag(run):
    """The route span, below it the attempt that failed and the one that answered, with what the circuit was then."""
    found = soon(lambda: run.loop.traces(SERVICE, attune__fallback__count="1"))
    route, first, second = _told(found[0])
    assert (route["operationName"], route["parent"]) == (f"attune.route {WORKFLOW}", None)
    assert route["tags"]["attune.route.model"] == run.shop.capable
    assert (route["tags"]["attune.attempt.count"], route["tags"]["attune.outcome"]) == (2, "success")
    assert {first["parent"], second["parent"]} == {route["spanID"]}
    about = [
        [
            it["tags"].get(name)
            for name in ("gen_ai.request.model", "attune.attempt.kind", "attune.outcome", "error.type")
        ]
        for it in (first, second)
    ]
    assert about == [
        [run.shop.cheap, "initial", "failure", "overloaded"],
        [run.shop.capable, "fallback", "success", None],
    ]
    assert first["tags"]["attune.circuit.name"] == run.shop.circuit_name
    assert first["tags"]["attune.circuit.state"] == "closed"


def test_probes_are_found_by_the_state_of_their_circuit(run):
    """One that failed and the one that closed it."""
    probes = soon(
        lambda: len({_probe(trace)["tags"]["attune.outcome"] for trace in _probes(run)}) == 2 and _probes(run)
    )
    assert {_probe(trace)["tags"]["attune.attempt.kind"] for trace in probes} == {"probe"}
    assert {_probe(trace)["tags"]["gen_ai.request.model"] for trace in probes} == {run.shop.cheap}


def test_the_call_that_opened_the_circuit_says_so(run):
    """The transition is an event on a span of the call that caused it; Prometheus counted the same ones."""

    def told() -> list[tuple[str, str]]:
        spans = [span for trace in run.loop.traces(SERVICE, error__type="overloaded") for span in _told(trace)]
        return [
            (event["attune.circuit.from"], event["attune.circuit.to"])
            for span in spans
            for event in span["events"]
            if event["event"] == "attune.circuit.transition"
        ]

    assert soon(lambda: ("closed", "open") in told())
    trip = 'attune_circuit_from="closed", attune_circuit_to="open"'
    counted = run.loop.query(f"attune_circuit_transitions_total{{{trip}}} > 0")
    assert [it["value"][1] for it in counted] == ["1"]


def test_an_exemplar_leads_to_its_trace(run):
    """From a point in the latency of failures to the call behind it."""
    series = 'attune_attempt_duration_seconds_bucket{attune_outcome="failure"}'
    exemplars = soon(lambda: run.loop.exemplars(series))
    labels = exemplars[0]["labels"]
    trace = soon(lambda: run.loop.trace(labels["trace_id"]))
    (span,) = [it for it in _told(trace) if it["spanID"] == labels["span_id"]]
    assert span["tags"]["attune.outcome"] == "failure"
    assert span["duration"] / 1e6 == pytest.approx(float(exemplars[0]["value"]), abs=0.05)


def _probes(run: Run) -> list[dict[str, Any]]:
    return run.loop.traces(SERVICE, attune__circuit__state="half_open")


def _probe(trace: Mapping[str, Any]) -> dict[str, Any]:
    return next(it for it in _told(trace) if it["tags"].get("attune.circuit.state") == "half_open")


def _told(trace: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A trace's spans in order of their start, with tags, events and parent as plain words."""
    return [
        {
            **span,
            "tags": {tag["key"]: tag["value"] for tag in span["tags"]},
            "events": [{tag["key"]: tag["value"] for tag in log["fields"]} for log in span["logs"]],
            "parent": next((it["spanID"] for it in span["references"] if it["refType"] == "CHILD_OF"), None),
        }
        for span in sorted(trace["spans"], key=lambda it: it["startTime"])
    ]
