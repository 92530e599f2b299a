"""Asks a running Grafana whether it took the dashboards: each is there, its data sources answer, its panels show data.

    python grafana/ask.py http://127.0.0.1:3000 [--wait SECONDS]

For the public CI, after `docker compose --profile demo up -d --wait`. Anonymous viewers may ask all of this. Ends with 1, and
a line for each thing that is not so; panels that may be empty after a minute of load are not asked.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DASHBOARDS = Path(__file__).parent / "dashboards"
SHARE = 0.5  # of a dashboard's Prometheus panels must show something after the wait: most of them chart the demo's load


def ask(base: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """One question to Grafana's API; RuntimeError with its status where it refuses."""
    request = urllib.request.Request(  # noqa: S310 - the address is the operator's
        base.rstrip("/") + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"content-type": "application/json", "accept": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{path}: status {error.code}") from error
    except (OSError, ValueError) as error:
        raise RuntimeError(f"{path}: {type(error).__name__}") from error


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every panel with queries, those in collapsed rows included."""
    for panel in dashboard.get("panels", []):
        yield from panels(panel)
        if panel.get("targets"):
            yield panel


def shows(base: str, panel: dict[str, Any]) -> bool | None:
    """Whether a panel's queries give a value; None for a panel that is not Prometheus's."""
    wanted = [target for target in panel["targets"] if target.get("expr")]
    if not wanted:
        return None
    queries = [
        {
            "refId": target.get("refId", "A"),
            "datasource": {"type": "prometheus", "uid": "attune-prometheus"},
            "expr": filled(target["expr"]),
            "range": True,
            "intervalMs": 15_000,
            "maxDataPoints": 100,
        }
        for target in wanted
    ]
    results = ask(base, "/api/ds/query", {"queries": queries, "from": "now-15m", "to": "now"})["results"]
    frames = [frame for result in results.values() for frame in result.get("frames", [])]
    return any(values for frame in frames for values in frame.get("data", {}).get("values", []))


def filled(expression: str) -> str:
    """An expression with Grafana's variables put in, as a viewer who chose "All" would have it."""
    for name, value in (("$__rate_interval", "1m"), ("$__range", "15m"), ("$__interval", "1m"), ("$objective", "0.99")):
        expression = expression.replace(name, value).replace("${" + name[1:] + "}", value)
    for name in ("service", "workflow", "stage", "provider", "model"):
        for form in (f"${{{name}:regex}}", f"${{{name}}}", f"${name}"):
            expression = expression.replace(form, ".*")
    return expression


def faults(base: str) -> Iterator[str]:
    """What is not as it should be."""
    for source in ("attune-prometheus", "attune-tempo"):
        if ask(base, f"/api/datasources/uid/{source}/health").get("status") != "OK":
            yield f"the data source {source} does not answer"
    for file in sorted(DASHBOARDS.glob("*.json")):
        committed = json.loads(file.read_text("utf-8"))
        there = ask(base, f"/api/dashboards/uid/{committed['uid']}")["dashboard"]
        if there["title"] != committed["title"]:
            yield f"{committed['uid']} is {there['title']!r}, not {committed['title']!r}"
        shown = [said for panel in panels(there) if (said := shows(base, panel)) is not None]
        if sum(shown) < SHARE * len(shown):
            yield f"{committed['uid']}: {sum(shown)} of {len(shown)} panels show something"


def main(arguments: list[str] | None = None) -> int:
    """Ask until all is well or the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("base")
    parser.add_argument("--wait", type=float, default=180.0, help="seconds until the load has to show")
    asked = parser.parse_args(arguments)
    until = time.monotonic() + asked.wait
    while True:
        try:
            found = list(faults(asked.base))
        except (RuntimeError, KeyError) as error:
            found = [str(error)]
        if not found or time.monotonic() >= until:
            break
        time.sleep(5)
    print("\n".join(found) or "Grafana has all dashboards, and they show data.")  # noqa: T201 - what it is for
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
