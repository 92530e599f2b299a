"""The four ways of asking for an answer, each through a real SDK: plain, async, stream, async stream.

A `Way` makes one call and says what the caller saw; `Bench` is a scripted provider with the SDKs' clients in front of it.
A way is one of Anthropic's Messages unless it names another API (`sdks.py`).
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai
import pytest
from calls.sdks import CHAT, HELLO, MESSAGES, RESPONSES, Sdk

import attune
from attune.testing import Sandbox, ScriptedProvider

HAIKU, SONNET, OPUS = MESSAGES.small, MESSAGES.large, MESSAGES.premium
BODY = {"max_tokens": 50, "messages": HELLO}


@dataclass
class Seen:
    """What one call gave its caller, and what attune wrote down."""

    value: Any = None
    events: list[Any] = field(default_factory=list)
    error: BaseException | None = None
    records: list[Any] = field(default_factory=list)

    @property
    def record(self) -> Any:
        """The one record."""
        assert len(self.records) == 1, self.records
        return self.records[0]

    @property
    def tried(self) -> list[tuple[str, str, str, str | None]]:
        """Model, kind, outcome and error type of each attempt."""
        return [(it.model, it.kind, it.outcome, it.error_type) for it in self.record.attempts]


class Way:
    """One way of asking, in one API."""

    def __init__(self, name: str, sdk: Sdk = MESSAGES) -> None:
        self.name = name
        self.sdk = sdk
        self.asynchronous = "async" in name
        self.stream = "stream" in name

    def __repr__(self) -> str:
        return self.name if self.sdk is MESSAGES else f"{self.sdk} {self.name}"


NAMES = ("plain", "async", "stream", "async stream")
WAYS = [Way(name) for name in NAMES]
# every API in every way; and, where that would take too long, each of OpenAI's in one
EVERY = [Way(name, sdk) for sdk in (MESSAGES, CHAT, RESPONSES) for name in NAMES]
SOME = [*WAYS, Way("plain", CHAT), Way("async stream", RESPONSES)]
STREAMS = [way for way in EVERY if way.stream]


class Bench:
    """A scripted provider, and clients in front of it that share two connection pools over all tests."""

    def __init__(self, provider: ScriptedProvider, clients: Clients) -> None:
        self.provider = provider
        self.loop = clients.runner
        self.url = provider.url
        self._clients = clients
        self._here: dict[Any, Any] = {}
        self.sync, self.asynchronous = self.bare(WAYS[0]), self.bare(WAYS[1])

    def bare(self, way: Way, **options: Any) -> Any:
        """The SDK's own client."""
        kind = (way.sdk.module, way.asynchronous)
        if (client := self._here.get(kind)) is None:
            client = self._here[kind] = self._clients.made[kind].with_options(base_url=way.sdk.url(self.url))
        return client.with_options(**options) if options else client

    def wrapped(self, way: Way, **words: Any) -> Any:
        """A guarded one."""
        return attune.wrap(self.bare(way), **words)

    def ask(self, way: Way, client: Any, model: str = "auto", **words: Any) -> Seen:
        """One call, read to its end; whatever it raises is kept."""
        seen = Seen()
        body = {**way.sdk.body(stream=way.stream), "model": model, **words}
        if way.stream:
            body["stream"] = True
        with attune.capture() as seen.records:
            try:
                if way.asynchronous:
                    self.loop.run(self._aread(way, client, body, seen), context=contextvars.copy_context())
                else:
                    self._read(way, client, body, seen)
            except BaseException as error:
                seen.error = error
        return seen

    def _read(self, way: Way, client: Any, body: Any, seen: Seen) -> None:
        seen.value = way.sdk.ask(client, **body)
        if way.stream:
            for event in seen.value:
                seen.events.append(event)

    async def _aread(self, way: Way, client: Any, body: Any, seen: Seen) -> None:
        seen.value = await way.sdk.ask(client, **body)
        if way.stream:
            async for event in seen.value:
                seen.events.append(event)


class Clients:
    """The SDKs' clients and the event loop they live on: made once, because TLS set-up costs a tenth of a second each."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.made = {
            (anthropic, False): anthropic.Anthropic(api_key="k", timeout=5),
            (anthropic, True): anthropic.AsyncAnthropic(api_key="k", timeout=5),
            (openai, False): openai.OpenAI(api_key="k", timeout=5),
            (openai, True): openai.AsyncOpenAI(api_key="k", timeout=5),
        }

    def part(self) -> None:
        """Close the connections of the async pools, whose provider is about to go.

        Else the next test's first calls would close them; and one that is cancelled in that moment leaves a socket open, of
        the bare SDK, too (14 and 30 of 600, anthropic 2.12).
        """
        for (_, asynchronous), client in self.made.items():
            if asynchronous and (open_now := client._client._transport._pool.connections):
                self.runner.run(_closed(open_now))

    def close(self) -> None:
        """Close the pools and the loop."""
        for (_, asynchronous), client in self.made.items():
            if asynchronous:
                self.runner.run(client.close())
            else:
                client.close()
        self.runner.close()


async def _closed(connections: list[Any]) -> None:
    for connection in list(connections):
        await connection.aclose()


class Ledger:
    """Counts what must happen exactly once: permits, observations, spans, records."""

    def __init__(self, sandbox: Sandbox, monkeypatch: Any) -> None:
        self.sandbox = sandbox
        self.permits: list[Any] = []
        self.observed: list[Any] = []
        runtime = sandbox.runtime
        circuits = runtime.circuits
        for name in ("acquire", "force_probe"):
            monkeypatch.setattr(circuits, name, self._kept(getattr(circuits, name)))
        record = runtime.windows.record

        def observe(observation: Any) -> None:
            self.observed.append(observation)
            record(observation)

        monkeypatch.setattr(runtime.windows, "record", observe)

    def _kept(self, take: Any) -> Any:
        def acquire(*args: Any, **kwargs: Any) -> Any:
            answer = take(*args, **kwargs)
            if hasattr(answer, "settle"):
                self.permits.append(answer)
            return answer

        return acquire

    def check(self, records: list[Any], *, permits: int | None = None) -> None:
        """Each attempt has one settled permit, one observation and one ended span; each call one record and one span."""
        self.sandbox.runtime.settle_abandoned()
        attempts = [attempt for record in records for attempt in record.attempts]
        assert [permit for permit in self.permits if not permit.done] == []
        assert len(self.permits) == (len(attempts) if permits is None else permits)
        assert [it.outcome for it in self.observed] == [it.outcome for it in attempts]
        spans = self.sandbox.spans
        routes = [span for span in spans if span.name.startswith("attune.route")]
        ours = [span for span in spans if span.instrumentation_scope.name == "attune" and span not in routes]
        assert len(routes) == len(records)
        assert len(ours) == len(attempts)
        assert len({record.id for record in records}) == len(records)
        assert self.sandbox.faults == {}


@pytest.fixture(scope="session")
def clients() -> Iterator[Clients]:
    clients = Clients()
    gc.collect()
    gc.freeze()  # what is imported by now is not looked at again: a collection takes 3 ms, not 200
    yield clients
    gc.unfreeze()
    for _ in range(3):  # what was thrown away meanwhile is found while the loop, which closes it, is there
        gc.collect()
        clients.runner.run(asyncio.sleep(0.002))
    clients.close()


@pytest.fixture
def bench(clients: Clients, attune_sandbox: Sandbox) -> Iterator[Bench]:
    with ScriptedProvider() as provider:
        yield Bench(provider, clients)
        clients.part()


@pytest.fixture
def sandbox(attune_sandbox: Sandbox) -> Sandbox:
    return attune_sandbox


@pytest.fixture
def ledger(attune_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    return Ledger(attune_sandbox, monkeypatch)


@pytest.fixture(params=WAYS, ids=repr)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param


@pytest.fixture(params=EVERY, ids=repr)
def every_way(request: pytest.FixtureRequest) -> Way:
    return request.param


@pytest.fixture(params=SOME, ids=repr)
def some_way(request: pytest.FixtureRequest) -> Way:
    return request.param


@pytest.fixture(params=STREAMS, ids=repr)
def stream_way(request: pytest.FixtureRequest) -> Way:
    return request.param
