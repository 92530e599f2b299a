"""A new provider is one small file, and so is a new reader: no other file of attune is touched."""

from __future__ import annotations

import inspect
import time
from dataclasses import dataclass
from typing import Any

import pytest

import attune
from attune.clients.dialect import Facts
from attune.models.call import Target
from attune.models.failures import FailureKind
from attune.models.performance import Batch, Row
from attune.models.registry import ModelInfo
from attune.models.response import Usage
from attune.models.tally import Series, Tally
from attune.testing import Sandbox


class Toy:
    """A vendor's SDK in miniature: a client with one method, one answer, one error."""

    class Busy(Exception):
        """What it raises."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.busy: set[str] = set()

    def chat(self, model: str, prompt: str) -> dict[str, Any]:
        """One answer."""
        self.asked.append(model)
        if model in self.busy:
            raise Toy.Busy
        return {"text": prompt.upper(), "tokens": (len(prompt), 2)}


# -- the whole dialect


@dataclass
class ToyRequest:
    client: Any
    inner: Any
    model: str
    prompt: str
    stream = asynchronous = False
    answers, max_retries, params, timeout_s = True, 1, {}, None

    def send(self, target, *, timeout_s):
        return self.untouched(target.wire, target.client or self.inner)

    def untouched(self, model, client=None):
        return Toy.chat(client or self.inner, model, self.prompt)


class ToyDialect:
    name = provider = "toy"
    failures = {"Busy": FailureKind.OVERLOADED}  # noqa: RUF012

    speaks = staticmethod(lambda client: isinstance(client, Toy))
    endpoint = staticmethod(lambda client: "toy://home")
    native_span = staticmethod(lambda client: False)
    events = hold = tap = staticmethod(lambda *stream: None)
    refusal = staticmethod(lambda error, client: error)

    def guard(self, client, intercept):
        guarded = type("Toy", (Toy,), {"chat": lambda s, m, p: intercept(ToyRequest(s, client, m, p))})()
        guarded.__dict__ = client.__dict__
        return guarded

    def read(self, answer):
        given, out = answer["tokens"]
        return Facts(usage=Usage(input_tokens=given, output_tokens=out), empty=not answer["text"])


# -- the whole reader


class ToyReader:
    name, scope = "toy", "fleet"

    def __init__(self, failing: str, calls: int) -> None:
        self.failing, self.calls, self.closed = failing, calls, False

    def poll(self, since, deadline_s):
        bucket = int(time.time()) // 300 * 300
        tally = Tally(answers=0, failures=self.calls)
        rows = [
            Row(series=Series("w", "default", "toy", self.failing), bucket_s=bucket, writer="x", seq=1, tally=tally)
        ]
        return Batch(rows=rows if since is None else (), cursor=b"read")

    def close(self):
        self.closed = True


# -- what they are good for

MODELS = [
    ModelInfo(id="toy-small", provider="toy", tier="cheap", input_cost_per_million=1.0, output_cost_per_million=2.0),
    ModelInfo(
        id="toy-large", provider="toy", tier="premium", input_cost_per_million=10.0, output_cost_per_million=20.0
    ),
]


def lines(*classes: type) -> int:
    """Lines that say something."""
    text = "".join(inspect.getsource(cls) for cls in classes)
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in text.splitlines())


def test_they_are_small():
    """At most 40 lines each."""
    assert lines(ToyDialect, ToyRequest) <= 40
    assert lines(ToyReader) <= 40


@pytest.fixture
def toy(attune_sandbox: Sandbox) -> Toy:
    attune_sandbox.configure(dialects=[ToyDialect()], models=MODELS)
    return Toy()


def test_a_toy_is_routed_guarded_and_measured(toy: Toy, attune_sandbox: Sandbox):
    """`auto`, fallback, cost from the given prices, circuits, retries: all there."""
    client = attune.wrap(toy, workflow="w", candidates=["toy-small", "toy-large"])
    assert isinstance(client, Toy)
    assert client.chat("auto", "hello")["text"] == "HELLO"
    record = attune.last_call()
    assert (record.provider, record.model) == ("toy", "toy-small")
    assert record.cost == pytest.approx((5 * 1.0 + 2 * 2.0) / 1e6)

    toy.busy.add("toy-small")
    assert client.chat("auto", "hello")["text"] == "HELLO"
    assert [(it.model, it.kind, it.error_type) for it in attune.last_call().attempts] == [
        ("toy-small", "initial", "overloaded"),
        ("toy-large", "fallback", None),
    ]
    with pytest.raises(Toy.Busy):
        client.chat("toy-small", "hello")
    assert [it.kind for it in attune.last_call().attempts] == ["initial", "retry"]
    assert attune_sandbox.circuits["toy:toy-small"]["failure_count"] == 3
    for _ in range(2):
        with pytest.raises((Toy.Busy, attune.CircuitOpenError)):
            client.chat("toy-small", "hello")
    with pytest.raises(attune.CircuitOpenError):
        client.chat("toy-small", "hello")
    assert attune_sandbox.faults == {}
    assert any(span.name == "chat toy-large" for span in attune_sandbox.spans)


def test_a_target_of_the_toy_may_have_a_client_of_its_own(toy: Toy):
    """An alternate is reached by its own client."""
    other = Toy()
    toy.busy.add("toy-small")
    client = attune.wrap(toy, candidates=["toy-small"], alternates=[Target("toy-small", provider="toy", client=other)])
    assert client.chat("auto", "hello")["text"] == "HELLO"
    assert (toy.asked, other.asked) == (["toy-small"], ["toy-small"])


def test_what_a_toy_reader_brings_is_evidence(toy: Toy, attune_sandbox: Sandbox):
    """A model that fails for everybody else is left here too; the reader is closed with the runtime."""
    reader = ToyReader("toy-small", 200)
    runtime = attune_sandbox.configure(
        dialects=[ToyDialect()], models=MODELS, readers=[reader], clock=None, refresh_s=0.01
    )
    client = attune.wrap(toy, workflow="w", candidates=["toy-small", "toy-large"])
    client.chat("auto", "hello")
    runtime.settle_in()
    toy.asked.clear()
    client.chat("auto", "hello")
    assert toy.asked == ["toy-large"]
    attune.shutdown(1.0)
    assert reader.closed
    assert attune_sandbox.faults == {}
