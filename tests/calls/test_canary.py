"""A marker in prompts, answers, keys, headers, session names and exceptions is found in nothing that attune says or keeps.

Under every failure, in every way of asking, in every API. What is looked at is what a stranger may come to see: telemetry,
logs, notes, files, pickles, and the repr of every object of attune's that is alive. First the test is seen to find leaks.
"""

from __future__ import annotations

import asyncio
import base64
import contextvars
import gc
import json
import logging
import pickle
import re
import traceback
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from calls.test_failures import CASES, IN_STREAM
from calls.ways import CHAT, EVERY, HAIKU, MESSAGES, RESPONSES, SONNET, Bench, Way

import attune
from attune.calls import context
from attune.calls.plan import Reply
from attune.calls.telling import Telling
from attune.calls.underway import Call
from attune.telemetry.spans import RouteSpan
from attune.testing import Sandbox, empty, hang, malformed, ok, refusal, tool_use, truncate

MARKER = "quokka-4d1f-akkouq"
# either end of it, in any case, so that a cut or folded marker is found too; and as bytes in base64, at each offset
FOUND = re.compile(
    "quokka|akkouq|"
    + "|".join(base64.b64encode(b"_" * i + b"quokka-4d1f-akkouq")[4:-4].decode() for i in range(3))
    + "|"
    + b"quokka".hex(),
    re.IGNORECASE,
)
HEADERS = {"x-mine": MARKER}
BODIES: dict[Any, dict[str, Any]] = {
    MESSAGES: {
        "max_tokens": 50, "system": MARKER, "messages": [{"role": "user", "content": f"say {MARKER}"}],
        "metadata": {"user_id": MARKER}, "stop_sequences": [MARKER],
        "tools": [{"name": MARKER, "description": MARKER, "input_schema": {"type": "object"}}],
    },
    CHAT: {
        "messages": [{"role": "system", "content": MARKER}, {"role": "user", "content": f"say {MARKER}"}],
        "user": MARKER, "stop": [MARKER], "metadata": {"who": MARKER},
        "tools": [{"type": "function", "function": {"name": MARKER, "description": MARKER, "parameters": {}}}],
    },
    RESPONSES: {"input": f"say {MARKER}", "instructions": MARKER, "metadata": {"who": MARKER}, "user": MARKER},
}  # fmt: skip
OTHER_STEPS = {
    "answer": ok(),
    "tool": tool_use(MARKER, {"say": MARKER}),
    "refusal": refusal(),
    "empty": empty(),
    "truncated": truncate(after=1),
    "malformed": malformed(),
    "hang": hang(),
    **{name: step for name, (step, *_) in IN_STREAM.items()},
}
STEPS = {name: case.step for name, case in CASES.items()} | OTHER_STEPS


def marked(step: Any) -> Any:
    """The same step, with the marker in every text that the provider says."""
    return replace(step, text=step.text if step.text == "" else f"answer {MARKER}", message=f"you said {MARKER}")


def texts(error: BaseException | None) -> Iterator[str]:
    """What is ours of an exception: the notes on anybody's, and all of a refusal, with what it is chained to."""
    if error is None:
        return
    yield from getattr(error, "__notes__", [])
    if isinstance(error, attune.AttuneError):
        yield "".join(traceback.format_exception(error)).rpartition("\n\n")[2]  # the last link
        yield f"{error!r} {error} {error.args!r} {vars(error)!r}"
        yield repr(pickle.dumps(error))
        if (request := vars(error).get("request")) is not None:
            yield f"{request.url} {request.headers!r} {request.content!r}"


def objects() -> Iterator[Any]:
    """Every object of attune's that is alive, but for the scripted provider, whose business texts are."""
    for it in gc.get_objects():
        kind = type(it)
        module = getattr(kind, "__module__", None)
        if isinstance(module, str) and module.partition(".")[0] == "attune" and not module.startswith("attune.testing"):
            yield it


class Watchman:
    """Looks in all places, and says where the marker was found."""

    def __init__(self, sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
        self.sandbox = sandbox
        self.caplog = caplog
        caplog.set_level(logging.DEBUG)  # the root's: nobody's loggers are quieter
        self.records: list[Any] = []
        self.errors: list[BaseException | None] = []
        self.extra: list[Any] = []  # things whose repr we make, though their class is not ours

    def said(self) -> Iterator[tuple[str, str]]:
        """Place and text."""
        runtime = self.sandbox.runtime
        for span in self.sandbox.spans:
            yield "span", span.to_json()
        data = self.sandbox.reader.get_metrics_data()
        yield "metric", data.to_json() if data else ""
        written = logging.Formatter("%(name)s %(message)s")
        for it in self.caplog.records:
            if it.name.partition(".")[0] == "attune":
                yield "log", f"{written.format(it)} {it.args!r}"
        yield "status", repr(self.sandbox.circuits)
        yield "evidence", repr(runtime.windows.own_rows())
        yield "faults", repr(dict(runtime.faults))
        for record in self.records:
            yield "record", f"{record!r} {record} {record.decision} {record.id} {_decoded(record.id)}"
            yield "pickle", repr(pickle.dumps(replace(record, partial_text=None)))
        for error in self.errors:
            yield from (("exception", text) for text in texts(error))
        for it in self.extra:
            yield "repr", f"{it!r} {it}"
        for it in objects():
            yield f"repr of {type(it).__module__}.{type(it).__qualname__}", _shown(it)

    def leaks(self) -> list[str]:
        """The places where the marker is."""
        return sorted({place for place, text in self.said() if FOUND.search(text)})


def _decoded(call_id: str) -> str:
    cell = call_id.rpartition(".")[2]
    return base64.urlsafe_b64decode(cell + "=" * (-len(cell) % 4)).decode()


def _shown(it: Any) -> str:
    try:
        return f"{it!r} {it}" if not isinstance(it, BaseException) else ""
    except Exception as error:  # half-made objects have no repr
        return type(error).__name__


@pytest.fixture
def watchman(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> Watchman:
    return Watchman(sandbox, caplog)


def played(watchman: Watchman, bench: Bench, way: Way, step: Any, model: str = "auto") -> Any:
    """One call that is marked all over."""
    client = bench.bare(way).with_options(api_key=f"sk-{MARKER}", default_headers={"x-more": MARKER}, timeout=0.05)
    guarded = attune.wrap(client, workflow="w", candidates=[way.sdk.small, way.sdk.large])
    bench.provider.outage(status=marked(step))
    with attune.scope(session=MARKER):
        seen = bench.ask(way, guarded, model, **BODIES[way.sdk], extra_headers=HEADERS)
    bench.provider.recover()
    watchman.sandbox.runtime.settle_abandoned()
    watchman.records += seen.records
    watchman.errors.append(seen.error)
    watchman.extra.append(guarded)
    return seen


# -- first: leaks are found


def plant_log(monkeypatch: Any) -> None:
    log = logging.getLogger("attune.calls")
    monkeypatch.setattr(Telling, "ended", lambda self, record, error: log.debug("prompt %s", MARKER))


def plant_traceback(monkeypatch: Any) -> None:
    def ended(self: Any, record: Any, error: Any) -> None:
        try:
            raise ValueError(MARKER)
        except ValueError:
            logging.getLogger("attune").debug("fault", exc_info=True)

    monkeypatch.setattr(Telling, "ended", ended)


def plant_attribute(monkeypatch: Any) -> None:
    end = RouteSpan.end

    def ended(self: Any, *args: Any, **words: Any) -> None:
        self.span.set_attribute("prompt", MARKER)
        end(self, *args, **words)

    monkeypatch.setattr(RouteSpan, "end", ended)


def plant_exception_event(monkeypatch: Any) -> None:
    end = RouteSpan.end

    def ended(self: Any, *args: Any, **words: Any) -> None:
        self.span.record_exception(ValueError(MARKER))
        end(self, *args, **words)

    monkeypatch.setattr(RouteSpan, "end", ended)


def plant_label(monkeypatch: Any) -> None:
    def ended(self: Any, record: Any, error: Any) -> None:
        self._runtime.emitter.channel.meters.count("attune.faults", 1, {"attune.where": MARKER})

    monkeypatch.setattr(Telling, "ended", ended)


def plant_note(monkeypatch: Any) -> None:
    failed = Call.failed

    def noted(self: Any, attempt: Any, error: BaseException) -> Any:
        error.add_note(f"was asked {self.request.body if hasattr(self.request, 'body') else MARKER} {MARKER}")
        return failed(self, attempt, error)

    monkeypatch.setattr(Call, "failed", noted)


def plant_fault(monkeypatch: Any) -> None:
    monkeypatch.setattr(Telling, "ended", lambda self, record, error: self._runtime.fault(MARKER, ValueError()))


def plant_record(monkeypatch: Any) -> None:
    tell = context.tell
    monkeypatch.setattr(context, "tell", lambda record, to: tell(replace(record, stage=MARKER), to))


def plant_repr(monkeypatch: Any) -> None:
    monkeypatch.setattr(Call, "__repr__", lambda self: MARKER, raising=False)


LEAKS = {
    plant_log: "log", plant_traceback: "log", plant_attribute: "span", plant_exception_event: "span", plant_label: "metric",
    plant_note: "exception", plant_fault: "faults", plant_record: "record", plant_repr: "repr of attune.calls.underway.Call",
}  # fmt: skip


@pytest.mark.parametrize("plant", LEAKS, ids=lambda it: it.__name__)
def test_a_planted_leak_is_found(bench: Bench, watchman: Watchman, monkeypatch, plant):
    """Each place is really looked at: what is put there is seen, and without it nothing is."""

    def look() -> None:
        gc.collect()  # what an earlier test planted
        played(watchman, bench, EVERY[0], CASES["auth"].step)
        assert watchman.leaks() == []
        plant(monkeypatch)
        seen = played(watchman, bench, EVERY[0], CASES["auth"].step)
        assert seen.error is not None
        assert LEAKS[plant] in watchman.leaks()

    contextvars.copy_context().run(look)  # which keeps the last call, and what was planted there, to itself


@pytest.mark.parametrize("text", [MARKER, MARKER.upper(), "…quokka-4d", "1f-akkouq", "x" + base64.b64encode(b"ab" + MARKER.encode()).decode()])  # fmt: skip
def test_the_marker_is_known_in_other_clothes(text):
    assert FOUND.search(text)


# -- then: there are none


@pytest.mark.parametrize("name", STEPS)
def test_nothing_of_a_call_is_said_or_kept(bench: Bench, watchman: Watchman, sandbox: Sandbox, name):
    """Every failure and answer, all four ways, routed and pinned by turns; OpenAI's two APIs in ways that change too."""
    turn = list(STEPS).index(name)
    for number, way in enumerate([*EVERY[:4], EVERY[4 + turn % 4], EVERY[8 + (turn + 1) % 4]]):
        played(watchman, bench, way, STEPS[name], "auto" if (number + turn) % 2 else way.sdk.small)
        sandbox.runtime.circuits.reset(now=sandbox.clock.monotonic())
    assert len(watchman.records) == 6
    assert watchman.leaks() == []
    assert sandbox.faults == {}


def test_what_a_caller_leaves_half_read_is_his(bench: Bench, watchman: Watchman):
    """`partial_text` has it, for the caller; its repr has not."""
    way = Way("stream")
    bench.provider.script(None, ok(f"{MARKER} " * 8))
    with attune.capture() as calls:
        stream = bench.wrapped(way).messages.create(model="auto", stream=True, **BODIES[MESSAGES])
        for event in stream:
            if event.type == "content_block_delta":
                break
        stream.close()
    assert "quokka" in calls[0].partial_text
    watchman.records += calls
    watchman.extra.append(calls)
    assert watchman.leaks() == []
    assert b"quokka" in pickle.dumps(calls[0])  # as docs/reference.md says


def explode(*args: Any, **words: Any) -> Any:
    """A hook that fails, and says why; what is ours of it says nothing."""
    try:
        raise ValueError(MARKER, args, words)
    except ValueError as error:
        if len(args) == 1:
            raise attune.AttuneError("A hook failed.") from error
        raise


class Careless:
    """A reader whose exceptions say too much."""

    name = "careless"
    scope = "host"

    def poll(self, since: bytes | None, deadline_s: float) -> Any:
        try:
            raise ValueError(MARKER)
        except ValueError as error:
            raise attune.TelemetryError("It cannot be read.") from error

    def close(self) -> None:
        raise ValueError(MARKER)


@pytest.mark.parametrize("name", ["judge", "classify", "body", "generator", "awaitable", "manager", "report"])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_nothing_of_a_function_is_said_or_kept(sandbox: Sandbox, watchman: Watchman, name, asynchronous):
    """Arguments, values, what it raises, and what its judge and classify raise."""

    def body(text: str, model: str) -> Any:
        if name == "report":
            attune.report(usage={"input_tokens": 1, "output_tokens": 1, "note": MARKER})
        if name in ("body", "classify"):
            raise ConnectionError(text)
        return text

    hooks = {name: explode} if name in ("judge", "classify") else {}

    @attune.routed(workflow="w", candidates=[HAIKU, SONNET], **hooks)
    def plain(text: str, model: str = attune.AUTO) -> Any:
        return body(text, model)

    @attune.routed(workflow="w", candidates=[HAIKU, SONNET], **hooks)
    async def later(text: str, model: str = attune.AUTO) -> Any:
        return body(text, model)

    @attune.routed(workflow="w", candidates=[HAIKU, SONNET])
    def items(text: str, model: str = attune.AUTO) -> Any:
        yield text
        raise ConnectionError(text)

    @attune.routed(workflow="w", candidates=[HAIKU, SONNET])
    def awaitable(text: str, model: str = attune.AUTO) -> Any:
        return later.__wrapped__(text, model)

    @attune.routed(workflow="w", candidates=[HAIKU, SONNET])
    def manager(text: str, model: str = attune.AUTO) -> Any:
        return TextManager(text)

    def run() -> None:
        if name == "generator":
            list(items(MARKER))
        elif name == "manager":
            with manager(MARKER) as kept:
                watchman.extra.append(manager(MARKER))
                raise ConnectionError(kept)
        elif name == "awaitable":
            asyncio.run(_awaited(awaitable(MARKER)))
        elif asynchronous:
            asyncio.run(_awaited(later(MARKER)))
        else:
            plain(MARKER)

    with attune.capture() as watchman.records, attune.scope(session=MARKER):
        try:
            run()
        except Exception as error:
            watchman.errors.append(error)
        sandbox.runtime.settle_abandoned()
    watchman.extra += [plain, later, items, manager]
    assert len(watchman.records) >= 1
    assert bool(watchman.errors) == (name in ("body", "classify", "generator", "manager"))
    assert watchman.leaks() == []
    assert set(sandbox.faults) == set(hooks)


class TextManager:
    """A context manager by name and by nature."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __enter__(self) -> str:
        return self.text

    def __exit__(self, *exit_: object) -> None:
        return None


async def _awaited(value: Any) -> Any:
    return await value


def test_nothing_of_the_hooks_errors_is_said(bench: Bench, sandbox: Sandbox, watchman: Watchman):
    """Readers, listeners, dice, and dialects of the user's that raise: counted by place, told by type."""

    class Dialect(type(sandbox.runtime.dialects[-1])):
        name = "careless"

        def speaks(self, client: Any) -> bool:
            return False

        read = events = explode

    sandbox.configure(on_event=explode, readers=[Careless()], dice=explode, dialects=[Dialect()], explore=True)
    watchman.sandbox = sandbox
    try:
        for case in ("overloaded", "auth", "rate limit"):
            for _ in range(6):
                played(watchman, bench, EVERY[0], CASES[case].step)
        attune.flush(5.0)

        @attune.routed(workflow="w", candidates=[HAIKU])
        def ask(text: str, model: str = attune.AUTO) -> Any:
            return text

        sandbox.runtime.circuits.reset(now=sandbox.clock.monotonic())
        ask(MARKER)
        assert watchman.leaks() == []
        assert sum(sandbox.faults.values()) > 0
        assert {"reader:careless"} <= set(sandbox.faults)
    finally:
        attune.shutdown(5.0)
    assert watchman.leaks() == []


@pytest.mark.parametrize("way", [EVERY[0], EVERY[3], EVERY[4], EVERY[9]], ids=repr)
def test_refusals_hold_nothing_of_the_call(bench: Bench, sandbox: Sandbox, watchman: Watchman, monkeypatch, way: Way):
    """Open circuit, no model, deadline, interrupted stream: text, repr, attributes, pickle, and the request on them."""
    with attune.scope(max_cost=1e-9):
        played(watchman, bench, way, OTHER_STEPS["answer"])
    with monkeypatch.context() as slow, attune.scope(timeout_s=1.0):
        decide = sandbox.runtime.decide
        slow.setattr(sandbox.runtime, "decide", lambda *args: (sandbox.clock.advance(2.0), decide(*args))[1])
        played(watchman, bench, way, OTHER_STEPS["answer"])
    sandbox.runtime.circuits.force_open(way.sdk.provider, now=sandbox.clock.monotonic())
    played(watchman, bench, way, OTHER_STEPS["answer"])
    kinds = [type(it).__name__ for it in watchman.errors]
    assert kinds == ["NoModelAvailable", "DeadlineExceeded", "CircuitOpenError"]
    assert watchman.leaks() == []
    if way.stream:
        sandbox.configure(strict_streams=True)
        played(watchman, bench, way, OTHER_STEPS["truncated"])
        assert type(watchman.errors[-1]).__name__ == "StreamInterrupted"
        assert watchman.leaks() == []


def test_the_executor_keeps_texts_to_its_answers(bench: Bench, sandbox: Sandbox, watchman: Watchman):
    """`LLMResponse.content` has the answer; its repr, what it says of a failure, and the log have nothing."""
    from attune.models import LLMExecutor

    client = bench.sync.with_options(api_key=f"sk-{MARKER}", max_retries=0, timeout=0.05)
    sandbox.configure(clients={"anthropic": client})
    for name in ("answer", "auth", "overloaded", "malformed", "cut before headers"):
        bench.provider.outage(status=marked(STEPS[name]))
        answer = LLMExecutor().run(MARKER, workflow="w", stage="s", system=MARKER)
        bench.provider.recover()
        assert answer.success == (name == "answer")
        assert ("quokka" in answer.content) == answer.success
        watchman.extra += [answer, answer.metadata, str(dict(answer.metadata))]
        sandbox.runtime.circuits.reset(now=sandbox.clock.monotonic())
    assert watchman.leaks() == []


# -- files


def test_nothing_is_kept_on_disk(bench: Bench, sandbox: Sandbox, watchman: Watchman, tmp_path):
    """The host store with its log, and OTLP files: all bytes, while they are written and afterwards."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    from attune.telemetry.otlp_file import FileMetricExporter, FileSpanExporter, LineFile

    def found() -> list[str]:
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        return [path.name for path in files if FOUND.search(path.read_bytes().decode("latin-1") + path.name)]

    lines = LineFile(tmp_path / "attune" / "telemetry", "test")
    spans = TracerProvider(shutdown_on_exit=False)
    spans.add_span_processor(SimpleSpanProcessor(FileSpanExporter(lines)))
    reader = PeriodicExportingMetricReader(FileMetricExporter(lines), export_interval_millis=1e9)
    metrics = MeterProvider([reader], shutdown_on_exit=False)
    sandbox.configure(state="host", tracer_provider=spans, meter_provider=metrics, readers=None)
    for name, step in STEPS.items():
        if name == "hang":
            continue
        played(watchman, bench, EVERY[1 if name in CASES else 3], step)
        sandbox.runtime.circuits.reset(now=sandbox.clock.monotonic())
    assert attune.flush(5.0)
    metrics.force_flush()
    names = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert {"state.db", "state.db-wal"} <= names
    assert any(name.endswith(".jsonl") for name in names), names
    assert found() == []
    sandbox.runtime.circuits.force_open("anthropic", now=sandbox.clock.monotonic())
    attune.shutdown(5.0)
    spans.shutdown()
    metrics.shutdown()
    assert found() == []
    (tmp_path / "planted").write_bytes(b"\x00" + json.dumps({"prompt": MARKER}).encode())
    assert found() == ["planted"]


def test_replies_and_other_plain_data_show_no_values():
    """Effects and replies of a plan carry answers: debuggers and error reporters print them."""
    assert MARKER not in repr(Reply(MARKER, ValueError(MARKER)))
