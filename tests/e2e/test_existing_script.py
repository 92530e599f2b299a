"""A script that was written without attune gets it by an import and one changed line for each client; nothing else moves."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

import pytest
from calls.ways import HAIKU, Bench

import attune
from attune.testing import Sandbox, fail

# Three kinds of call site, as people write them: plain, async, stream; and an `except` clause of the SDK's.
SCRIPT = """
import anthropic

client = anthropic.Anthropic(base_url=URL, api_key="k", max_retries=0)
async_client = anthropic.AsyncAnthropic(base_url=URL, api_key="k", max_retries=0)


def ask(prompt):
    try:
        return client.messages.create(
            model="claude-haiku-5-5", max_tokens=50, messages=[{"role": "user", "content": prompt}]
        )
    except anthropic.RateLimitError as error:
        return f"slow down: {error.status_code}"
    except anthropic.APIConnectionError:
        return "not reached"


async def ask_later(prompt):
    try:
        return await async_client.messages.create(
            model="claude-haiku-5-5", max_tokens=50, messages=[{"role": "user", "content": prompt}]
        )
    except anthropic.RateLimitError as error:
        return f"slow down: {error.status_code}"


def read(prompt):
    texts = []
    try:
        with client.messages.stream(
            model="claude-haiku-5-5", max_tokens=50, messages=[{"role": "user", "content": prompt}]
        ) as stream:
            for text in stream.text_stream:
                texts.append(text)
            return stream.get_final_message(), texts
    except anthropic.RateLimitError as error:
        return f"slow down: {error.status_code}", texts


async def close():
    client.close()
    await async_client.close()
"""

CHANGES = {
    "import anthropic\n": "import anthropic\nimport attune\n",
    'client = anthropic.Anthropic(base_url=URL, api_key="k", max_retries=0)\n': (
        'client = attune.wrap(anthropic.Anthropic(base_url=URL, api_key="k", max_retries=0))\n'
    ),
    'async_client = anthropic.AsyncAnthropic(base_url=URL, api_key="k", max_retries=0)\n': (
        'async_client = attune.wrap(anthropic.AsyncAnthropic(base_url=URL, api_key="k", max_retries=0))\n'
    ),
}


def with_attune() -> str:
    lines = SCRIPT.splitlines(keepends=True)
    changed = [CHANGES.get(line, line) for line in lines]
    assert sum(a != b for a, b in zip(lines, changed, strict=True)) == len(CHANGES)
    return "".join(changed)


class Run:
    """A script, executed, and its three call sites."""

    def __init__(self, text: str, url: str, loop: asyncio.Runner) -> None:
        self.names: dict[str, Any] = {"URL": url}
        self._loop = loop
        exec(compile(text, "script.py", "exec"), self.names)

    def all(self) -> list[Any]:
        """Each call site once; what came back."""
        later = self._loop.run(self.names["ask_later"]("two"), context=contextvars.copy_context())
        return [self.names["ask"]("one"), later, *self.names["read"]("three")]

    def close(self) -> None:
        self._loop.run(self.names["close"]())


@pytest.fixture
def runs(bench: Bench):
    """The script as it was, and as it is."""
    both = [Run(SCRIPT, bench.url, bench.loop), Run(with_attune(), bench.url, bench.loop)]
    yield both
    for run in both:
        run.close()


def test_the_same_script_gives_the_same_types(bench: Bench, runs, sandbox: Sandbox):
    """Messages stay messages, texts stay texts; each call is written down."""
    before, after = runs
    with attune.capture() as nothing:
        was = before.all()
    with attune.capture() as calls:
        now = after.all()
    assert nothing == []
    assert [type(it) for it in now] == [type(it) for it in was]
    assert [type(it) for it in now[-1]] == [type(it) for it in was[-1]]
    for name in ("client", "async_client"):
        old, new = before.names[name], after.names[name]
        assert isinstance(new, type(old))
        assert (type(new).__name__, type(new).__qualname__, type(new).__module__) == (
            type(old).__name__,
            type(old).__qualname__,
            type(old).__module__,
        )
    assert [(it.model, it.outcome, it.decision.reason) for it in calls] == [(HAIKU, "success", "pinned")] * 3
    old, new = bench.provider.requests[:3], bench.provider.requests[3:]
    assert [it.body for it in new] == [it.body for it in old]
    assert sandbox.faults == {}


def test_its_except_clauses_still_work(bench: Bench, runs, sandbox: Sandbox):
    """A rate limit is the SDK's RateLimitError; an open circuit is a connection error to it."""
    before, after = runs
    bench.provider.outage(status=fail("rate_limit", retry_after_s=600))
    was = before.all()
    assert was == ["slow down: 429", "slow down: 429", "slow down: 429", []]
    assert after.names["ask"]("one") == "slow down: 429"
    assert after.names["ask"]("one") == "not reached"  # it cools, and so is not asked
    sandbox.runtime.circuits.reset(now=sandbox.clock.monotonic())
    for name, answer in (("read", ("slow down: 429", [])),):
        assert after.names[name]("three") == answer
    sandbox.runtime.circuits.reset(now=sandbox.clock.monotonic())
    later = bench.loop.run(after.names["ask_later"]("two"), context=contextvars.copy_context())
    assert later == "slow down: 429"


def test_it_runs_off_and_observing_as_it_did(bench: Bench, runs, sandbox: Sandbox):
    """The modes for those who are not sure yet."""
    before, after = runs
    was = [type(it) for it in before.all()]
    for mode in ("off", "observe"):
        sandbox.configure(mode=mode)
        assert [type(it) for it in after.all()] == was
    bench.provider.outage(status="rate_limit")
    assert after.all() == ["slow down: 429", "slow down: 429", "slow down: 429", []]


def test_one_more_word_routes_it(bench: Bench, sandbox: Sandbox):
    """`model="auto"` where the model was named; the same `except` clause."""
    run = Run(with_attune().replace('"claude-haiku-5-5"', "attune.AUTO"), bench.url, bench.loop)
    bench.provider.script(HAIKU, fail("rate_limit"))
    message = run.names["ask"]("one")
    assert message.model != HAIKU
    run.close()
