"""A guarded client is the SDK's client: each use of the table gives the same, raises the same and sends the same."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import difflib
import gc
import importlib
import pprint
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
from clients import (
    errors_of_anthropic,
    uses_around_anthropic,
    uses_around_openai,
    uses_of_anthropic,
    uses_of_openai,
)
from clients.stage import Stage
from clients.told import DOCUMENTED, TIMEOUTS, told
from clients.uses import Hand, Use, at_once

import attune
from attune.calls.default import build
from attune.testing import FakeClock, Sandbox

TABLES = (uses_of_anthropic, uses_around_anthropic, errors_of_anthropic, uses_of_openai, uses_around_openai)
USES = [use for module in TABLES for use in module.TABLE.uses]
CLASSES = {"anthropic": "Anthropic", "openai": "OpenAI"}


class Theatre:
    """A stage, and the clients that all uses share: making one costs a tenth of a second of TLS set-up each."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.runner = asyncio.Runner()
        self._clients: dict[tuple[str, bool], Any] = {}

    def bare(self, use: Use) -> Any:
        """The SDK's own client for a use, with the SDK's own pool."""
        key = (use.sdk, use.asynchronous)
        if key not in self._clients:
            self._clients[key] = self.make(use)()
        return self._clients[key]

    def make(self, use: Use) -> Callable[..., Any]:
        """What makes a client with a pool of its own, which may have hooks of httpx's: "request" or "response"."""
        sdk = importlib.import_module(use.sdk)
        kind = getattr(sdk, ("Async" if use.asynchronous else "") + CLASSES[use.sdk])
        pool = getattr(sdk, "DefaultAsyncHttpxClient" if use.asynchronous else "DefaultHttpxClient")
        base_url = self.stage.url + ("/v1" if use.sdk == "openai" else "")

        def make(hooks: dict[str, Callable[[Any], None]] | None = None, **options: Any) -> Any:
            event_hooks = {name: [_hook(hook, use.asynchronous)] for name, hook in (hooks or {}).items()}
            http_client = pool(verify=False, headers={"x-pool": "mine"}, event_hooks=event_hooks)
            return kind(**{"api_key": "k", "base_url": base_url, "http_client": http_client, **options})

        return make

    def play(self, use: Use, guard: Callable[[Any], Any]) -> Any:
        """What the caller sees of a use, and what the provider sees."""
        self.stage.raise_curtain()
        run = self._alone if use.asynchronous else at_once
        seen = run(_outcome(use, self._hand(use, guard, self.bare(use))))
        wire = self.stage.wire(DOCUMENTED | TIMEOUTS if use.deadline_s else DOCUMENTED)
        return {"seen": seen, "wire": sorted(wire, key=repr) if use.unordered else wire}

    def play_in_trio(self, use: Use, guard: Callable[..., Any]) -> Any:
        """The same on trio's loop, with a client that lives there."""
        self.stage.raise_curtain()
        client = self.make(use)()
        hand = self._hand(use, guard, client)
        hand.closing.append(client)
        seen = trio.run(_outcome, use, hand)
        return {"seen": seen, "wire": self.stage.wire(DOCUMENTED)}

    def _hand(self, use: Use, guard: Callable[..., Any], client: Any) -> Hand:
        return Hand(
            sdk=importlib.import_module(use.sdk),
            client=guard(client),
            stage=self.stage,
            guard=guard,
            make=self.make(use),
            asynchronous=use.asynchronous,
        )

    def _alone(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine, context=contextvars.copy_context())

    def close(self) -> None:
        """Close the clients, the loop and the stage."""
        for (_, asynchronous), client in self._clients.items():
            self.runner.run(client.close()) if asynchronous else client.close()
        self.runner.close()
        self.stage.close()


def _hook(hook: Callable[[Any], None], asynchronous: bool) -> Any:
    async def awaited(subject: Any) -> None:
        hook(subject)

    return awaited if asynchronous else hook


async def _outcome(use: Use, hand: Hand) -> Any:
    try:
        return told(await use.play(hand))  # what a use means to see raised, it catches itself
    finally:
        for client in hand.closing:
            await client.close() if hand.asynchronous else client.close()


class Guarding:
    """A way of guarding: `attune.wrap` with a runtime of its own, in one mode."""

    def __init__(self, sandbox: Sandbox, mode: str) -> None:
        self.runtime = build(
            mode=mode,
            state="memory",
            readers=(),
            home=sandbox.home,
            explore=False,
            clock=FakeClock(),
            tracer_provider=sandbox._tracer_provider,
            meter_provider=sandbox._meter_provider,
        )

    @contextlib.contextmanager
    def __call__(self, use: Use) -> Iterator[Callable[[Any], Any]]:
        self.runtime.circuits.reset(now=self.runtime.clock.monotonic())
        yield lambda client, **words: attune.wrap(client, timeout_s=use.deadline_s, runtime=self.runtime, **words)

    def close(self) -> None:
        """End the runtime."""
        assert self.runtime.faults == {}
        self.runtime.shutdown(1.0)


class Instrumenting(Guarding):
    """The bare client, in a process where `attune.instrument` has guarded every one."""

    @contextlib.contextmanager
    def __call__(self, use: Use) -> Iterator[Callable[..., Any]]:
        self.runtime.circuits.reset(now=self.runtime.clock.monotonic())
        attune.instrument(timeout_s=use.deadline_s, runtime=self.runtime)
        try:
            yield _bare
        finally:
            attune.uninstrument()


def _bare(client: Any, **_: Any) -> Any:
    return client


@pytest.fixture(scope="module")
def theatre() -> Iterator[Theatre]:
    """One for the whole table. The SDKs' own waits before a retry are made short."""
    with pytest.MonkeyPatch.context() as patch:
        for sdk in CLASSES:
            base = sys.modules.get(f"{sdk}._base_client") or importlib.import_module(f"{sdk}._base_client")
            patch.setattr(base, "INITIAL_RETRY_DELAY", 0.001)
        built = Theatre()
        gc.collect()
        gc.freeze()  # what is imported by now is not looked at again: thousands of short calls stay short
        yield built
        gc.unfreeze()
        built.close()


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Guarding]]:
    """Every way of guarding a client."""
    sandbox = Sandbox(tmp_path_factory.mktemp("home"))
    ways = {mode: Guarding(sandbox, mode) for mode in ("off", "observe", "enforce")}
    ways["instrumented"] = Instrumenting(sandbox, "enforce")
    yield ways
    for way in ways.values():
        way.close()
    sandbox.close()


def apart(name: str, bare: Any, guarded: Any) -> str:
    """Where the two differ, line by line."""
    lines = [pprint.pformat(each, width=140).splitlines() for each in (bare, guarded)]
    return "\n".join(difflib.unified_diff(*lines, "bare", name, n=1, lineterm=""))


@pytest.mark.parametrize("use", USES, ids=str)
def test_a_guarded_client_is_used_as_the_bare_one(theatre: Theatre, ways: dict[str, Guarding], use: Use) -> None:
    """Equal results, types, exceptions and requests on the wire, but for the documented headers."""
    bare = theatre.play(use, _bare)
    for name, way in ways.items():
        with way(use) as guard:
            guarded = theatre.play(use, guard)
        assert guarded == bare, apart(name, bare, guarded)


# Without streams that are left early: there the SDKs leave generators to the collector, of which trio warns.
CHOSEN = {
    "create", "stream_iterated", "helper_final_text", "raw", "retries_used_up", "timed_out_once", "chat", "responses_helper",
    "retries_told_by_a_raw_response",
}  # fmt: skip


@pytest.mark.parametrize("use", [use for use in USES if use.asynchronous and use.name in CHOSEN], ids=str)
def test_it_is_so_on_another_loop(theatre: Theatre, ways: dict[str, Guarding], use: Use) -> None:
    """The SDKs run on trio too; waits between attempts with them."""
    bare = theatre.play_in_trio(use, _bare)
    for name, way in ways.items():
        with way(use) as guard:
            assert (name, theatre.play_in_trio(use, guard)) == (name, bare)


@pytest.mark.parametrize("use", [use for use in USES if use.name in CHOSEN], ids=str)
def test_it_is_so_for_a_guarded_client_in_an_instrumented_process(
    theatre: Theatre, ways: dict[str, Guarding], use: Use
) -> None:
    """Guarded twice is guarded once."""
    bare = theatre.play(use, _bare)
    with ways["instrumented"](use), ways["enforce"](use) as guard:
        assert theatre.play(use, guard) == bare


SPOILERS = {
    "a header": lambda client: client.with_options(default_headers={"x-guard": "here"}),
    "a time-out": lambda client: client.with_options(timeout=5),
    "another class": lambda client: _renamed(client.with_options()),
}


@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS)
def test_the_table_sees_what_a_guard_changes(theatre: Theatre, spoil: Callable[[Any], Any]) -> None:
    """A header more, another time-out, a class of another name: some use tells."""
    few = [use for use in USES if use.name in ("create", "representation", "create_under_a_deadline")]
    assert any(theatre.play(use, _bare) != theatre.play(use, spoil) for use in few)
    assert all(theatre.play(use, _bare) == theatre.play(use, _bare) for use in few)


def _renamed(client: Any) -> Any:
    client.__class__ = type("Guarded", (type(client),), {})
    return client


def test_the_table_is_long_enough() -> None:
    """Sixty uses at least, whichever SDK is there; each has a name of its own."""
    assert len(USES) >= 60
    assert len({str(use) for use in USES}) == len(USES)
