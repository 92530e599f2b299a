"""Beside other instrumentations of the same clients nothing is counted twice, and no span is lost.

Each is the real package. Who came first does not matter, nor whether a client is wrapped or all are instrumented.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest
from calls.ways import BODY, HAIKU, HELLO, Bench, Way
from opentelemetry import trace
from opentelemetry.trace import SpanKind

import attune
from attune.clients.anthropic import AnthropicDialect
from attune.testing import Sandbox

pytestmark = pytest.mark.filterwarnings("ignore:Support for class-based")  # OpenLLMetry's, of its own models

GPT = "gpt-5-mini"
# package, instrumentor, whether it emits gen_ai.client.* metrics
OFFICIAL = {
    "anthropic": ("opentelemetry.instrumentation.genai.anthropic", "AnthropicInstrumentor", True),
    "openai": ("opentelemetry.instrumentation.genai.openai", "OpenAIInstrumentor", True),
}
OPENLLMETRY = {
    "anthropic": ("opentelemetry.instrumentation.anthropic", "AnthropicInstrumentor", True),
    "openai": ("opentelemetry.instrumentation.openai", "OpenAIInstrumentor", True),
}
OPENINFERENCE = {
    "anthropic": ("openinference.instrumentation.anthropic", "AnthropicInstrumentor", False),
    "openai": ("openinference.instrumentation.openai", "OpenAIInstrumentor", False),
}
EACH = {"official": OFFICIAL, "openllmetry": OPENLLMETRY, "openinference": OPENINFERENCE}


@pytest.fixture(params=EACH)
def neighbour(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def undo() -> Iterator[list[Callable[[], Any]]]:
    """What must be undone, the last thing first."""
    steps: list[Callable[[], Any]] = []
    yield steps
    for step in reversed(steps):
        step()


def instrument_neighbour(which: str, sdk: str, sandbox: Sandbox, undo: list[Callable[[], Any]]) -> str:
    module, name, _ = EACH[which][sdk]
    instrumentor = getattr(pytest.importorskip(module), name)()
    providers = {"tracer_provider": sandbox._tracer_provider, "meter_provider": sandbox._meter_provider}
    undo.append(put_back(sdk))
    instrumentor.instrument(skip_dep_check=True, **providers)
    undo.append(instrumentor.uninstrument)
    return module


def put_back(sdk: str) -> Callable[[], None]:
    """Not every instrumentation takes back all that it wrapped: this does, so that no later test meets it."""
    importlib.import_module(f"{sdk}.resources")
    classes = [
        (it, dict(vars(it)))
        for name, module in tuple(sys.modules.items())
        if name.startswith((f"{sdk}.resources", f"{sdk}._client"))
        for it in tuple(vars(module).values())
        if isinstance(it, type) and it.__module__ == name
    ]

    def restore() -> None:
        for cls, members in classes:
            for name, member in members.items():
                if vars(cls).get(name) is not member and callable(member):
                    setattr(cls, name, member)
            if "request" in vars(cls) and "request" not in members:
                del cls.request

    return restore


def instrument(first: str, which: str, sdk: str, sandbox: Sandbox, undo: list[Callable[[], Any]]) -> str:
    def ours() -> None:
        attune.instrument()
        undo.append(attune.uninstrument)

    if first == "attune":
        ours()
    module = instrument_neighbour(which, sdk, sandbox, undo)
    if first != "attune":
        ours()
    return module


def check(sandbox: Sandbox, module: str, *, measured: bool, calls: int) -> None:
    """One span of theirs and one attempt of ours a call; of the metrics, one point a call from whoever emits them."""
    spans = sandbox.spans
    theirs = [span for span in spans if span.instrumentation_scope.name.startswith(module)]
    ours = [span for span in spans if span.instrumentation_scope.name == "attune"]
    assert len(theirs) == calls
    assert [span.name for span in ours if span.kind is SpanKind.CLIENT] == []
    assert [span.name for span in ours].count("attune.attempt") == calls
    if not module.startswith("opentelemetry.instrumentation.anthropic"):  # which does not make its span current
        assert len({span.context.trace_id for span in (*theirs, *ours)}) == calls
    by_scope = durations(sandbox)
    assert sum(by_scope.values()) == calls
    assert by_scope.get("attune", 0) == (0 if measured else calls)
    assert sum(sandbox.metrics()["attune.attempt.duration"].values()) == calls
    assert sandbox.faults == {}


def durations(sandbox: Sandbox) -> dict[str, int]:
    """How many durations of `gen_ai.client.*` each scope has recorded."""
    found: dict[str, int] = {}
    for resource in sandbox.reader.get_metrics_data().resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if metric.name == "gen_ai.client.operation.duration":
                    found[scope.scope.name] = sum(point.count for point in metric.data.data_points)
    return found


@pytest.mark.parametrize("first", ["attune", "neighbour"])
def test_beside_instrumented_anthropic(bench: Bench, sandbox: Sandbox, neighbour, first, undo, way: Way):
    module = instrument(first, neighbour, "anthropic", sandbox, undo)
    seen = bench.ask(way, bench.bare(way), model=HAIKU)
    assert seen.error is None
    check(sandbox, module, measured=EACH[neighbour]["anthropic"][2], calls=1)


@pytest.mark.parametrize("first", ["attune", "neighbour"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_beside_instrumented_openai(bench: Bench, sandbox: Sandbox, neighbour, first, stream, undo):
    module = instrument(first, neighbour, "openai", sandbox, undo)
    with openai.OpenAI(api_key="k", base_url=f"{bench.url}/v1") as client:
        answer = client.chat.completions.create(model=GPT, messages=HELLO, stream=stream)
        if stream:
            assert list(answer)
    check(sandbox, module, measured=EACH[neighbour]["openai"][2], calls=1)


def test_beside_a_wrapped_client(bench: Bench, sandbox: Sandbox, neighbour, undo, way: Way):
    """The same where one client is wrapped, before and after the neighbour came."""
    client = bench.wrapped(way)
    module = instrument_neighbour(neighbour, "anthropic", sandbox, undo)
    for each in (client, bench.wrapped(way)):
        assert bench.ask(way, each, model=HAIKU).error is None
    check(sandbox, module, measured=EACH[neighbour]["anthropic"][2], calls=2)


def test_after_the_neighbour_has_gone(bench: Bench, sandbox: Sandbox, neighbour, undo):
    """The span is CLIENT again, and the metrics are ours."""
    client = bench.wrapped(Way("plain"))
    instrument_neighbour(neighbour, "anthropic", sandbox, undo)
    undo.pop()()
    client.messages.create(model=HAIKU, **BODY)
    kinds = {span.name: span.kind for span in sandbox.spans}
    assert kinds[f"chat {HAIKU}"] is SpanKind.CLIENT
    assert durations(sandbox) == {"attune": 1}


@pytest.mark.parametrize("leaves", ["attune", "neighbour"])
@pytest.mark.parametrize("first", ["attune", "neighbour"])
def test_whoever_leaves_first_leaves_the_other_as_it_was(
    bench: Bench, sandbox: Sandbox, neighbour, first, leaves, undo
):
    """In whatever order both came and one goes; afterwards a call is guarded once, or not at all."""
    instrument(first, neighbour, "openai", sandbox, undo)
    steps = {"attune" if step is attune.uninstrument else "neighbour": step for step in undo}
    undo.remove(steps[leaves])
    steps[leaves]()
    with openai.OpenAI(api_key="k", base_url=f"{bench.url}/v1") as client, attune.capture() as calls:
        client.chat.completions.create(model=GPT, messages=HELLO)
    assert [len(it.attempts) for it in calls] == ([1] if leaves == "neighbour" else [])
    assert sandbox.faults == {}


def test_a_neighbour_that_measures_nothing_leaves_the_metrics_to_us(bench: Bench, sandbox: Sandbox, undo, monkeypatch):
    """OpenLLMetry's metrics can be switched off; then ours are the only ones."""
    monkeypatch.setenv("TRACELOOP_METRICS_ENABLED", "false")
    module = instrument("neighbour", "openllmetry", "anthropic", sandbox, undo)
    bench.sync.messages.create(model=HAIKU, **BODY)
    check(sandbox, module, measured=False, calls=1)


def test_beside_the_sdks_own_spans(bench: Bench, sandbox: Sandbox, undo):
    """The anthropic SDK traces itself: its span is the CLIENT one, inside our attempt's."""
    if "open_telemetry" not in inspect.signature(anthropic.Anthropic.with_options).parameters:
        pytest.skip("this anthropic has no spans of its own")
    attune.instrument()
    undo.append(attune.uninstrument)
    client = bench.sync.with_options(open_telemetry={"tracer_provider": sandbox._tracer_provider})
    client.messages.create(model=HAIKU, **BODY)
    check(sandbox, "com.anthropic.sdk", measured=False, calls=1)
    spans = {span.name: span for span in sandbox.spans}
    assert spans["anthropic.messages.create"].kind is SpanKind.CLIENT
    assert spans["anthropic.messages.create"].parent.span_id == spans["attune.attempt"].context.span_id


def test_a_function_around_an_instrumented_client(bench: Bench, sandbox: Sandbox, neighbour, undo):
    """Which client it calls is not known; the model that it was handed says whose it is likely to be."""

    @attune.routed(workflow="mine", candidates=[HAIKU])
    def ask(*, model: str = attune.AUTO) -> Any:
        return bench.sync.messages.create(model=model, **BODY)

    module = instrument_neighbour(neighbour, "anthropic", sandbox, undo)
    ask()
    check(sandbox, module, measured=EACH[neighbour]["anthropic"][2], calls=1)


def test_a_function_around_a_client_that_traces_itself(bench: Bench, sandbox: Sandbox, monkeypatch):
    """By default every anthropic client does, where somebody listens."""
    dialect = AnthropicDialect()
    assert not dialect.native_span(None)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: sandbox._tracer_provider)
    assert dialect.native_span(None) == ("anthropic._tracing" in sys.modules)
    monkeypatch.setenv("ANTHROPIC_OPEN_TELEMETRY", "false")
    assert not dialect.native_span(None)


def test_nothing_is_imported_to_find_out():
    """A package that is installed, and not loaded, is no neighbour."""
    neighbours = importlib.import_module("attune.clients.neighbours")
    missing = neighbours.Neighbour(module="opentelemetry.instrumentation.nowhere", instrumentor="X", metrics=True)
    assert not missing.at_work()
    assert not missing.measures()
