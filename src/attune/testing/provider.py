"""A scripted provider: a real HTTP server on loopback that speaks the Anthropic Messages API and OpenAI's Chat Completions
and Responses, and does as it is told.

`ScriptedProvider` runs in this process, `python -m attune.testing.provider` in one of its own (`remote.py` is the handle
for that). No key is asked for and none is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from attune.errors import ConfigError
from attune.testing.behaviour import Behaviour
from attune.testing.endpoints import Endpoints
from attune.testing.remote import RemoteProvider
from attune.testing.scenario import Received, Scenario
from attune.testing.script import Step
from attune.testing.server import LoopbackServer


class ScriptedProvider:
    """Serves from construction to `close()` (or the end of its `with` block). Thread-safe.

    `url` is what an Anthropic client takes as `base_url`, and an Azure client as `azure_endpoint`; an OpenAI client takes
    `url + "/v1"`.

    - `models`: model id -> Behaviour. `default`: the behaviour of all others; None: they are answered with 404.
    - `seed`: the n-th request of a model meets the same luck in every run with the same seed.
    - `port`: 0 takes a free one.

    A request meets, in this order: the next step scripted for its model, the next step scripted for any model, an
    outage, the model's behaviour.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        models: Mapping[str, Behaviour] | None = None,
        default: Behaviour | None = Behaviour(),  # noqa: B008 - immutable
        port: int = 0,
    ) -> None:
        self._scenario = Scenario(seed=seed, models=models or {}, default=default)
        self._server = LoopbackServer(Endpoints(self._scenario, time.monotonic).answer, port)
        self.url = f"http://127.0.0.1:{self._server.port}"

    def script(self, model: str | None, *steps: Step) -> None:
        """The next requests of this model (None: of any model) meet these steps, in order, after those still waiting."""
        self._scenario.script(model, *steps)

    def set(self, model: str, behaviour: Behaviour) -> None:
        """From now on, this model behaves so."""
        self._scenario.set(model, behaviour)

    def outage(self, model: str | None = None, *, success: float = 0.0, status: int | str | Step = 529) -> None:
        """From now on, requests of this model (None: of every model) are answered with this chance only.

        Otherwise they meet `status`: an HTTP status, a failure's name, or any Step, such as `hang()` or `refuse()`.
        """
        self._scenario.outage(model, success, status)

    def recover(self, model: str | None = None) -> None:
        """End the outage that was declared for this model; None: all outages."""
        self._scenario.recover(model)

    def stop_listening(self) -> None:
        """Refuse connections at the socket, and reset the open ones."""
        self._server.stop_listening()

    def listen(self) -> None:
        """Accept connections again, on the same port."""
        self._server.listen()

    @property
    def requests(self) -> tuple[Received, ...]:
        """What was asked of a model, in order (the last 20 000; `served` counts all)."""
        return self._scenario.received

    @property
    def served(self) -> dict[str, dict[str, int]]:
        """Totals per model: requests, answers, good, bad, input_tokens, output_tokens."""
        return self._scenario.served

    @property
    def connections(self) -> int:
        """How many connections are open now."""
        return self._server.connections

    def close(self) -> None:
        """Stop serving. No thread or socket is left; more than once is fine."""
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def spawn(
        *,
        seed: int = 0,
        models: Mapping[str, Behaviour] | None = None,
        default: Behaviour | None = Behaviour(),  # noqa: B008 - immutable
    ) -> RemoteProvider:
        """The same in a process of its own, which ends with `close()`, or with this process."""
        return RemoteProvider.spawn(to_plan(seed, models or {}, default))


def to_plan(seed: int, models: Mapping[str, Behaviour], default: Behaviour | None) -> dict[str, Any]:
    """A provider's arguments as JSON, which `from_plan` reads."""
    return {
        "seed": seed,
        "models": {model: behaviour.to_dict() for model, behaviour in models.items()},
        "default": None if default is None else default.to_dict(),
    }


def from_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments again. What is left out has its default."""
    unknown = sorted(set(plan) - {"seed", "models", "default"})
    if unknown:
        raise ConfigError(f"A provider's script has no {', '.join(map(repr, unknown))}: use seed, models, default.")
    default = plan.get("default", {})
    return {
        "seed": plan.get("seed", 0),
        "models": {model: Behaviour.from_dict(told) for model, told in plan.get("models", {}).items()},
        "default": None if default is None else Behaviour.from_dict(default),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stdin closes, or an interrupt comes. The first line of stdout is `{"url": …, "port": …}`."""
    parser = argparse.ArgumentParser(prog="python -m attune.testing.provider", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--script", help='a JSON file of {"seed", "models", "default"}; "-" is one line of stdin')
    chosen = parser.parse_args(argv)
    text = "{}"
    if chosen.script is not None:
        text = sys.stdin.readline() if chosen.script == "-" else Path(chosen.script).read_text(encoding="utf-8")
    with ScriptedProvider(port=chosen.port, **from_plan(json.loads(text))) as provider:
        sys.stdout.write(json.dumps({"url": provider.url, "port": int(provider.url.rpartition(":")[2])}) + "\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C reaches the children of a terminal's program too
            sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main())
