"""The handle for a scripted provider in another process: the same verbs, sent to its control endpoint.

Uses the standard library's HTTP client, so that a process under measurement loads nothing for it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from http.client import HTTPConnection
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from attune.errors import ConfigError, StateError
from attune.testing.behaviour import Behaviour
from attune.testing.endpoints import CONTROL
from attune.testing.script import Step, fail

_PATIENCE_S = 10.0


class RemoteProvider:
    """Directs the scripted provider at `url`. Thread-safe: each order is a connection of its own."""

    def __init__(self, url: str, *, process: subprocess.Popen[str] | None = None) -> None:
        self.url = url
        self._address = urlsplit(url).netloc
        self._process = process

    @classmethod
    def spawn(cls, plan: Mapping[str, Any]) -> RemoteProvider:
        """Start a provider with this plan (see `provider.to_plan`) and wait until it serves."""
        process = subprocess.Popen(
            [sys.executable, "-m", "attune.testing.provider", "--script", "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(plan) + "\n")
        process.stdin.flush()
        first = process.stdout.readline()
        handle = cls(json.loads(first)["url"] if first else "", process=process)
        if not first:
            handle.close()
            raise StateError("The scripted provider's process ended before it served; its stderr says why.")
        return handle

    def script(self, model: str | None, *steps: Step) -> None:
        """As ScriptedProvider.script."""
        self._order(do="script", model=model, steps=[step.to_dict() for step in steps])

    def set(self, model: str, behaviour: Behaviour) -> None:
        """As ScriptedProvider.set."""
        self._order(do="set", model=model, behaviour=behaviour.to_dict())

    def outage(self, model: str | None = None, *, success: float = 0.0, status: int | str | Step = 529) -> None:
        """As ScriptedProvider.outage."""
        failure = status if isinstance(status, Step) else fail(status)
        self._order(do="outage", model=model, success=success, failure=failure.to_dict())

    def recover(self, model: str | None = None) -> None:
        """As ScriptedProvider.recover."""
        self._order(do="recover", model=model)

    @property
    def served(self) -> dict[str, dict[str, int]]:
        """As ScriptedProvider.served."""
        told: dict[str, dict[str, int]] = self._exchange("GET", None)["models"]
        return told

    def close(self) -> None:
        """End the process, if this handle started it. More than once is fine."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _order(self, **order: Any) -> None:
        self._exchange("POST", json.dumps(order))

    def _exchange(self, method: str, body: str | None) -> dict[str, Any]:
        connection = HTTPConnection(self._address, timeout=_PATIENCE_S)
        try:
            connection.request(method, CONTROL, body)
            answer = connection.getresponse()
            told: dict[str, Any] = json.loads(answer.read())
        finally:
            connection.close()
        if "error" in told:
            raise ConfigError(f"The scripted provider refused: {told['error']}")
        return told
