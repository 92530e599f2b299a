"""The public testing kit: a scripted provider, a fake clock, a fake executor.

Names resolve on first use, so that importing this package loads neither a test runner nor OpenTelemetry nor an SDK, and
a test that needs a clock starts no server.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attune.testing.behaviour import Behaviour
    from attune.testing.clock import FakeClock
    from attune.testing.executor import ExecutorCall, FakeExecutor
    from attune.testing.provider import ScriptedProvider
    from attune.testing.remote import RemoteProvider
    from attune.testing.sandbox import Sandbox, attune_sandbox
    from attune.testing.scenario import Received
    from attune.testing.script import (
        BAD,
        GOOD,
        Step,
        cut,
        empty,
        fail,
        hang,
        is_good,
        malformed,
        ok,
        refusal,
        refuse,
        stream_error,
        tool_use,
        truncate,
    )

_HOMES: Mapping[str, str] = {
    "Behaviour": "behaviour",
    "FakeClock": "clock",
    "ExecutorCall": "executor",
    "FakeExecutor": "executor",
    "ScriptedProvider": "provider",
    "RemoteProvider": "remote",
    "Sandbox": "sandbox",
    "attune_sandbox": "sandbox",
    "Received": "scenario",
    "BAD": "script",
    "GOOD": "script",
    "Step": "script",
    "cut": "script",
    "empty": "script",
    "fail": "script",
    "hang": "script",
    "is_good": "script",
    "malformed": "script",
    "ok": "script",
    "refusal": "script",
    "refuse": "script",
    "stream_error": "script",
    "tool_use": "script",
    "truncate": "script",
}

__all__ = [
    "BAD",
    "GOOD",
    "Behaviour",
    "ExecutorCall",
    "FakeClock",
    "FakeExecutor",
    "Received",
    "RemoteProvider",
    "Sandbox",
    "ScriptedProvider",
    "Step",
    "attune_sandbox",
    "cut",
    "empty",
    "fail",
    "hang",
    "is_good",
    "malformed",
    "ok",
    "refusal",
    "refuse",
    "stream_error",
    "tool_use",
    "truncate",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
