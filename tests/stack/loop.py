"""The whole stack as shipped, started on loopback: agent, gateway, Prometheus with the rules, Alertmanager, a trace store.

What differs from the shipped files, and why: addresses, because ports are free ones of this moment; a webhook, where the
shipped receivers are empty; and waits, because a test has seconds where people have minutes (`QUICKER` lists them all).
A replacement that finds nothing to replace fails, so that a changed file cannot quietly be tested as it was.
"""

from __future__ import annotations

import json
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stack import collectors
from stack.launch import Running, Yard, free_port
from stack.posted import Posted

COLLECTOR = Path(__file__).resolve().parents[2] / "collector"
# file: pattern -> what stands there in the test
QUICKER: Mapping[str, Mapping[str, str]] = {
    "prometheus.yml": {r"(scrape|evaluation)_interval: 15s": r"\1_interval: 1s"},
    "alertmanager.yml": {r"group_wait: \w+": "group_wait: 1s", r"group_interval: \w+": "group_interval: 1s"},
    "rules/recording.yaml": {r"max_over_time\(attune_circuit_open\[\w+\]\)": "max_over_time(attune_circuit_open[4s])"},
    "rules/alerts.yaml": {
        r"(- alert: AttuneCircuitOpen\n.*\n *for:) \w+\n( *keep_firing_for:) \w+\n": r"\1 2s\n\2 2s\n",
    },
}
QUICK = {"COLLECTOR_DECISION_WAIT": "2s", "COLLECTOR_SPAN_METRICS_FLUSH": "1s"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """Everything behind the SDK, running."""

    agent: Running
    prometheus: Running
    alertmanager: Running
    jaeger: Running
    webhook: Webhook

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an instant query finds: `metric` and `value`."""
        asked = urllib.parse.urlencode({"query": expression})
        return fetch(self.prometheus.url(f"/api/v1/query?{asked}"))["data"]["result"]

    def traces(self, service: str, **tags: str) -> list[dict[str, Any]]:
        """The traces of a service with a span that bears these tags; `__` stands for a dot."""
        wanted = json.dumps({name.replace("__", "."): value for name, value in tags.items()})
        asked = urllib.parse.urlencode({"service": service, "tags": wanted, "limit": "200", "lookback": "1h"})
        return fetch(self.jaeger.url(f"/api/traces?{asked}"))["data"]

    def trace(self, trace_id: str) -> dict[str, Any] | None:
        """One trace, None where it was not kept."""
        try:
            found = fetch(self.jaeger.url(f"/api/traces/{trace_id}"))["data"]
        except urllib.error.HTTPError as error:
            error.close()
            return None
        return found[0] if found else None

    def exemplars(self, series: str) -> list[dict[str, Any]]:
        """The exemplars of the last ten minutes."""
        now = time.time()
        asked = urllib.parse.urlencode({"query": series, "start": now - 600, "end": now + 1})
        told = fetch(self.prometheus.url(f"/api/v1/query_exemplars?{asked}"))["data"]
        return [exemplar for one in told for exemplar in one["exemplars"]]


def start(yard: Yard, webhook: Webhook) -> Loop:
    """Start all of it; about five seconds."""
    jaeger = yard.jaeger()
    alertmanager = yard.alertmanager(
        _altered(
            "alertmanager.yml",
            {
                r"^(  - name: page)$": rf"\1\n    webhook_configs: [{{url: '{webhook.url}'}}]",
                r"^(  - name: ticket)$": rf"\1\n    webhook_configs: [{{url: '{webhook.url}'}}]",
            },
        )
    )
    at = {name: {port: free_port() for port in collectors.PORTS} for name in ("agent", "gateway")}
    own = free_port()
    prometheus = yard.prometheus(
        _altered(
            "prometheus.yml",
            {
                r"rules/\*\.yaml": str(_rules(yard.folder / "rules") / "*.yaml"),
                r"alertmanager:9093": f"127.0.0.1:{alertmanager.ports['http']}",
                r"127\.0\.0\.1:9090": f"127.0.0.1:{own}",
                r"agent:8888": f"127.0.0.1:{at['agent']['metrics']}",
                r"gateway:8888": f"127.0.0.1:{at['gateway']['metrics']}",
            },
        ),
        at={"http": own},
    )
    stores = {
        "COLLECTOR_METRICS_URL": prometheus.url("/api/v1/otlp"),
        "COLLECTOR_TRACES_URL": jaeger.url(port="otlp_http"),
    }
    gateway = collectors.start(yard, "gateway.yaml", environ={**stores, **QUICK}, at=at["gateway"])
    agent = collectors.agent(yard, gateway.url(), at=at["agent"])
    return Loop(agent=agent, prometheus=prometheus, alertmanager=alertmanager, jaeger=jaeger, webhook=webhook)


def _rules(folder: Path) -> Path:
    folder.mkdir()
    for path in (COLLECTOR / "rules").glob("*.yaml"):
        (folder / path.name).write_text(_altered(f"rules/{path.name}", {}), encoding="utf-8")
    return folder


def _altered(name: str, places: Mapping[str, str]) -> str:
    text = (COLLECTOR / name).read_text(encoding="utf-8")
    for pattern, new in {**places, **QUICKER.get(name, {})}.items():
        text, times = re.subn(pattern, new, text, flags=re.MULTILINE)
        assert times, f"collector/{name} has nothing like {pattern}: say anew what the test needs otherwise"
    return text


class Webhook(Posted):
    """Takes what Alertmanager sends: (monotonic second, "firing" or "resolved", labels) of each alert, as it came."""

    def __init__(self) -> None:
        super().__init__()
        self.alerts: list[tuple[float, str, dict[str, str]]] = []

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        now = time.monotonic()
        self.alerts.extend((now, it["status"], it["labels"]) for it in json.loads(body)["alerts"])
        return 200

    def heard(self, status: str, since: float, **labels: str) -> float | None:
        """When an alert with these labels was first told with this status, after a moment."""
        for at, told, known in list(self.alerts):
            if at >= since and told == status and labels.items() <= known.items():
                return at
        return None


def fetch(url: str) -> Any:
    """A GET's JSON."""
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.loads(answer.read())
