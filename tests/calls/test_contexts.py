"""Where a scope, a capture and the last call reach, and where not: tasks, threads, generators, copies, other processes."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import copy
import gc
import json
import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import anyio.to_thread
import pytest
import trio
from calls.ways import BODY, HAIKU, OPUS, SONNET, Bench, Ledger, Way

import attune
from attune.calls.context import NO_SCOPE, captures, current_scope, under_way
from attune.calls.underway import Call
from attune.testing import Sandbox, fail, hang

MODELS = [HAIKU, SONNET, OPUS]


@attune.routed(workflow="inside", candidates=MODELS, default=HAIKU)
def ask(model: str = attune.AUTO) -> str:
    return model


@attune.routed(workflow="inside", candidates=MODELS, default=HAIKU)
async def ask_later(model: str = attune.AUTO) -> str:
    await asyncio.sleep(0)
    return model


@attune.routed(workflow="inside", candidates=MODELS, default=HAIKU)
def ask_in_steps(model: str = attune.AUTO) -> Iterator[str]:
    yield model
    yield model


class Asker:
    """Every kind of method, decorated from either side."""

    @attune.routed(workflow="inside", candidates=MODELS, default=HAIKU)
    def plain(self, model: str = attune.AUTO) -> tuple[str, str]:
        return type(self).__name__, model

    @attune.routed(workflow="inside", candidates=MODELS, default=HAIKU)
    @classmethod
    def of_class(cls, model: str = attune.AUTO) -> tuple[str, str]:
        return cls.__name__, model

    @classmethod
    @attune.routed(workflow="inside", candidates=MODELS, default=HAIKU)
    def class_of(cls, model: str = attune.AUTO) -> tuple[str, str]:
        return cls.__name__, model

    @attune.routed(workflow="inside", candidates=MODELS, default=HAIKU)
    @staticmethod
    def static(model: str = attune.AUTO) -> tuple[str, str]:
        return "static", model

    @staticmethod
    @attune.routed(workflow="inside", candidates=MODELS, default=HAIKU)
    def still(model: str = attune.AUTO) -> tuple[str, str]:
        return "static", model


def word() -> str | None:
    """The session in force here."""
    return current_scope().session


def nothing_is_left() -> bool:
    """Whether this context is as it was before anything was entered."""
    return (current_scope(), captures(), under_way()) == (NO_SCOPE, (), None)


# -- one scope, many users


def test_one_scope_object_serves_many_tasks_at_once(sandbox: Sandbox):
    """Entered and left in any order, it takes back what it set in each task, and no other task's."""
    shared = attune.scope(session="shared")
    turns = {name: asyncio.Event() for name in "abc"}

    async def work(name: str) -> list[str | None]:
        with attune.scope(session=name):
            with shared:
                await turns[name].wait()
                inside = word()
            return [inside, word()]

    async def main() -> list[list[str | None]]:
        tasks = [asyncio.create_task(work(name)) for name in turns]
        for name in "bac":
            await asyncio.sleep(0)
            turns[name].set()
        return await asyncio.gather(*tasks)

    assert asyncio.run(main()) == [["shared", "a"], ["shared", "b"], ["shared", "c"]]


def test_one_scope_object_serves_many_threads_at_once(sandbox: Sandbox):
    shared, together = attune.scope(session="shared"), threading.Barrier(3)

    def work(name: str) -> list[str | None]:
        with attune.scope(session=name):
            with shared:
                together.wait(5)
                inside = word()
                together.wait(5)
            return [inside, word()]

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(work, "abc")) == [["shared", "a"], ["shared", "b"], ["shared", "c"]]


def test_one_scope_object_inside_itself(sandbox: Sandbox):
    """And one capture: each entry is its own."""
    shared, captured = attune.scope(session="s"), attune.capture()
    with shared, captured as outer:
        with shared, captured as inner:
            ask()
        assert word() == "s"
        ask()
    assert word() is None
    assert (len(outer), len(inner)) == (2, 1)


def test_blocks_that_are_left_out_of_order(sandbox: Sandbox):
    """Each takes back its own words, whatever else is in force by then."""
    first, second = attune.scope(session="first", stage="s"), attune.scope(workflow="w")
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert (current_scope().session, current_scope().stage, current_scope().workflow) == (None, None, "w")
    second.__exit__(None, None, None)
    assert nothing_is_left()


# -- generators


async def in_a_scope() -> AsyncIterator[str | None]:
    with attune.scope(session="generator's"), attune.capture():
        yield word()
        yield word()


def test_a_scope_in_an_async_generator_that_another_task_closes(sandbox: Sandbox):
    """The closing task keeps its own words: nothing of the opener's comes to it."""

    async def main() -> None:
        items = in_a_scope()

        async def begin() -> None:
            with attune.scope(session="opener's"):
                assert await anext(items) == "generator's"

        await asyncio.create_task(begin())
        with attune.scope(session="closer's"):
            await items.aclose()
            assert word() == "closer's"
        assert nothing_is_left()

    asyncio.run(main())


def test_a_scope_in_an_async_generator_that_is_closed_inside_another_scope(sandbox: Sandbox):
    """Closed in the task that read it, inside a block that was entered since: that block stays in force."""

    async def main() -> None:
        items = in_a_scope()
        await anext(items)
        with attune.scope(session="since"):
            await items.aclose()
            assert word() == "since"
        assert nothing_is_left()

    asyncio.run(main())


def test_a_block_that_is_left_in_a_copy_of_its_context(sandbox: Sandbox):
    """The copy is rid of it; the original, where nobody left it, is not."""

    def main() -> None:
        block = attune.scope(session="s")
        block.__enter__()
        copied = contextvars.copy_context()
        copied.run(block.__exit__, None, None, None)
        assert copied.run(word) is None
        assert word() == "s"

    contextvars.Context().run(main)


@attune.routed(workflow="steps", stage="s", candidates=MODELS, default=HAIKU)
def steps(model: str = attune.AUTO) -> Any:
    told = yield current_scope().workflow
    try:
        yield told, current_scope().workflow
    except KeyError:
        attune.report(cost_usd=0.5)
        yield "caught", current_scope().workflow
    return "returned"


@attune.routed(workflow="steps", stage="s", candidates=MODELS, default=HAIKU)
async def asteps(model: str = attune.AUTO) -> Any:
    told = yield current_scope().workflow
    try:
        await asyncio.sleep(0)
        yield told, current_scope().workflow
    except KeyError:
        attune.report(cost_usd=0.5)
        yield "caught", current_scope().workflow


@attune.routed(workflow="steps", stage="s", candidates=MODELS, default=HAIKU)
def steps_made_elsewhere(model: str = attune.AUTO) -> Any:
    """A plain function that returns a generator: its kind is judged by what it returns."""
    return steps.__wrapped__(model)


@pytest.mark.parametrize("function", [steps, steps_made_elsewhere])
def test_a_generator_s_words_hold_in_its_steps_and_never_between_them(sandbox: Sandbox, function):
    """What is sent and thrown in reaches the body, what it returns comes out, and late facts are heard."""

    def around() -> Any:
        return (yield from function())

    items = around()
    with attune.capture() as calls:
        assert next(items) == "steps"
    assert nothing_is_left()
    assert items.send("word") == ("word", "steps")
    assert nothing_is_left()
    assert items.throw(KeyError()) == ("caught", "steps")
    assert nothing_is_left()
    with pytest.raises(StopIteration) as end:
        next(items)
    assert end.value.value == "returned"
    assert nothing_is_left()
    assert [(it.outcome, it.cost) for it in calls] == [("success", 0.5)]


def test_an_async_generator_s_words_hold_in_its_steps_and_never_between_them(sandbox: Sandbox):
    async def main() -> None:
        items = asteps()
        with attune.capture() as calls:
            assert await items.asend(None) == "steps"
        assert nothing_is_left()
        assert await asyncio.create_task(items.asend("word")) == ("word", "steps")  # a step in another task
        assert await items.athrow(KeyError()) == ("caught", "steps")
        assert nothing_is_left()
        assert [item async for item in items] == []
        assert [(it.outcome, it.cost) for it in calls] == [("success", 0.5)]

    contextvars.Context().run(asyncio.run, main())


def test_a_generator_that_gives_nothing_still_returns(sandbox: Sandbox):
    @attune.routed(workflow="w", candidates=MODELS, default=HAIKU)
    def nothing(model: str = attune.AUTO) -> Any:
        return model
        yield

    with pytest.raises(StopIteration) as end:
        next(nothing())
    assert end.value.value == HAIKU


def test_a_generator_that_other_threads_read(sandbox: Sandbox):
    """Each step sees its own thread's words under the function's; the call is of the block around its first item."""

    @attune.routed(workflow="w", candidates=MODELS, default=HAIKU)
    def words(model: str = attune.AUTO) -> Iterator[Any]:
        while True:
            yield current_scope().workflow, word()

    def read(name: str) -> Any:
        with attune.scope(session=name):
            return next(items)

    items = words()
    with attune.capture() as calls:
        assert next(items) == ("w", None)
    with ThreadPoolExecutor(1) as pool:
        assert list(pool.map(read, "ab")) == [("w", "a"), ("w", "b")]
        pool.submit(items.close).result()
    sandbox.runtime.settle_abandoned()
    assert [it.outcome for it in calls] == ["success"]


def test_a_generator_s_call_begins_at_its_first_item(sandbox: Sandbox):
    """Made in one scope and read in another: the other holds, as for any generator."""
    with attune.scope(model=OPUS), attune.capture() as makers:
        items = ask_in_steps()
    with attune.scope(model=SONNET), attune.capture() as readers:
        assert next(items) == SONNET
    with attune.scope(model=OPUS):
        assert next(items) == SONNET
    assert next(items, None) is None
    assert (len(makers), len(readers)) == (0, 1)


def test_generators_that_are_left_half_read_leave_nothing_behind(sandbox: Sandbox):
    def main() -> None:
        with attune.capture() as calls:
            for _ in ask_in_steps():
                break
            for first, _second in zip(ask_in_steps(), ask_in_steps(), strict=True):
                assert first == HAIKU
                break
        sandbox.runtime.settle_abandoned()
        assert nothing_is_left()
        assert len(calls) == 3

    contextvars.Context().run(main)


def test_a_plain_function_that_returns_an_awaitable(sandbox: Sandbox):
    """What runs when it is awaited runs in the function's cell."""

    @attune.routed(workflow="w", stage="late", candidates=MODELS, default=HAIKU)
    def later(model: str = attune.AUTO) -> Any:
        async def body() -> Any:
            await asyncio.sleep(0)
            return current_scope().workflow, current_scope().stage

        return body()

    async def main() -> None:
        assert await later() == ("w", "late")
        assert nothing_is_left()

    contextvars.Context().run(asyncio.run, main())


# -- functions that return a context manager: their answer comes when it is entered


@pytest.mark.parametrize("guarded", [False, True], ids=["bare", "guarded"])
@pytest.mark.parametrize("name", ["stream", "async stream"])
def test_a_function_that_returns_a_stream_manager(bench: Bench, ledger: Ledger, name, guarded):
    """One call: the attempt is made where the `with` block begins, a failure there falls back, the stream ends it."""
    way = Way(name)
    client = bench.wrapped(way) if guarded else bench.bare(way, max_retries=0)

    @attune.routed(workflow="w", candidates=[HAIKU, SONNET])
    def answer(model: str = attune.AUTO) -> Any:
        return client.messages.stream(model=model, **BODY)

    def read() -> str:
        with answer() as stream:
            assert "StreamManager" not in type(stream).__name__
            return stream.get_final_text()

    async def aread() -> str:
        async with answer() as stream:
            return await stream.get_final_text()

    bench.provider.script(HAIKU, fail("overloaded"))
    with attune.capture() as calls:
        text = bench.loop.run(aread(), context=contextvars.copy_context()) if way.asynchronous else read()
    assert text
    assert [it.outcome for it in calls] == ["success"]
    assert [(it.model, it.kind, it.outcome) for it in calls[0].attempts] == [
        (HAIKU, "initial", "failure"),
        (SONNET, "fallback", "success"),
    ]
    assert calls[0].usage.output_tokens > 0
    assert calls[0].cost > 0
    assert len(bench.provider.requests) == 2


def test_a_stream_manager_that_is_never_entered(bench: Bench, ledger: Ledger):
    """It is one to `isinstance`; nothing is asked, and the call ends as nobody's fault."""

    @attune.routed(workflow="w", candidates=[HAIKU, SONNET])
    def answer(model: str = attune.AUTO) -> Any:
        return bench.sync.messages.stream(model=model, **BODY)

    with attune.capture() as calls:
        assert isinstance(answer(), anthropic.MessageStreamManager)
        ledger.sandbox.runtime.settle_abandoned()
    assert [(it.outcome, len(it.attempts)) for it in calls] == [("neutral", 1)]
    assert len(bench.provider.requests) == 0
    ledger.check(calls)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_a_function_that_is_a_context_manager(sandbox: Sandbox, asynchronous):
    """`@contextmanager` below `@routed`: the body runs in its cell on both sides of its `yield`, and is tried elsewhere."""
    seen = []

    @attune.routed(workflow="w", stage="s", candidates=[HAIKU, SONNET])
    @contextlib.contextmanager
    def block(model: str = attune.AUTO) -> Any:
        seen.append((model, current_scope().stage))
        if model == HAIKU:
            raise ConnectionError
        yield model
        seen.append(("after", current_scope().stage))

    @attune.routed(workflow="w", stage="s", candidates=[HAIKU, SONNET])
    @contextlib.asynccontextmanager
    async def ablock(model: str = attune.AUTO) -> Any:
        with block.__wrapped__(model) as chosen:
            yield chosen

    async def main() -> None:
        async with ablock() as model:
            assert model == SONNET
            assert nothing_is_left()

    if asynchronous:
        contextvars.Context().run(asyncio.run, main())
    else:
        with attune.capture() as calls, block() as model:
            assert (model, current_scope().stage) == (SONNET, None)
        assert [it.outcome for it in calls[0].attempts] == ["failure", "success"]
    assert seen == [(HAIKU, "s"), (SONNET, "s"), ("after", "s")]
    assert sandbox.faults == {}


def test_a_block_s_own_error_is_not_the_answer_s(sandbox: Sandbox):
    """It passes through the manager, as it does bare; the call had its answer."""

    @attune.routed(workflow="w", candidates=[HAIKU])
    @contextlib.contextmanager
    def block(model: str = attune.AUTO) -> Any:
        with contextlib.suppress(LookupError):
            yield model

    with attune.capture() as calls:
        with block():
            raise LookupError("swallowed by the body")
        with pytest.raises(ZeroDivisionError), block():
            raise ZeroDivisionError
    assert [it.outcome for it in calls] == ["success", "success"]


def test_a_manager_of_a_function_that_is_decorated_twice(sandbox: Sandbox):
    def block(model: str = attune.AUTO) -> Any:
        return contextlib.nullcontext(model) if model == OPUS else made(model)

    @contextlib.contextmanager
    def made(model: str) -> Any:
        yield model

    inner = attune.routed(workflow="inner", candidates=[HAIKU])(block)
    outer = attune.routed(workflow="outer", candidates=[HAIKU])(inner)
    with attune.capture() as calls, outer() as model:
        assert model == HAIKU
    assert [(it.workflow, it.outcome) for it in calls] == [("inner", "success"), ("outer", "success")]


@pytest.mark.parametrize("sdk", ["anthropic", "openai"])
@pytest.mark.parametrize("helper", [False, True], ids=["stream", "helper"])
def test_a_function_that_returns_a_bare_stream_of_either_sdk(bench: Bench, ledger: Ledger, sdk, helper):
    """Each SDK's events are read by its own dialect: usage is known, and the circuit of a well model stays closed."""
    openai = pytest.importorskip("openai")
    said = [{"role": "user", "content": "hello"}]

    @attune.routed(workflow="w", candidates=[HAIKU if sdk == "anthropic" else "openai/gpt-6-luna"])
    def answer(model: str = attune.AUTO) -> Any:
        bare = model.rpartition("/")[2]
        if sdk == "anthropic":
            messages = bench.sync.messages
            return messages.stream(model=bare, **BODY) if helper else messages.create(model=bare, stream=True, **BODY)
        chat = client.chat.completions
        words: Any = {"model": bare, "messages": said, "stream_options": {"include_usage": True}}
        return chat.stream(**words) if helper else chat.create(stream=True, **words)

    with (
        openai.OpenAI(api_key="k", base_url=f"{bench.url}/v1") as client,
        attune.capture() as calls,
        answer() as stream,
    ):
        assert len(list(stream)) > 1
    assert [it.outcome for it in calls] == ["success"]
    assert calls[0].usage.output_tokens > 0
    ledger.check(calls)


# -- what is dropped


@pytest.mark.parametrize("kind", ["awaited", "function", "manager", "generator"])
def test_a_call_that_the_collector_ends_is_settled_later(sandbox: Sandbox, ledger: Ledger, monkeypatch, kind):
    """A finalizer may run with any lock held, such as the metrics SDK's: it takes a note, and nothing else."""
    collecting, settled = [], []
    finish = Call.finish

    def finished(call: Any, *args: Any, **words: Any) -> Any:
        settled.append(bool(collecting))
        return finish(call, *args, **words)

    def watch(phase: str, info: Any) -> None:
        collecting.append(phase) if phase == "start" else collecting.clear()

    monkeypatch.setattr(Call, "finish", finished)

    @attune.routed(workflow="w", candidates=[HAIKU])
    async def forever(model: str = attune.AUTO) -> None:
        await Suspended()

    @attune.routed(workflow="w", candidates=[HAIKU])
    def awaitable(model: str = attune.AUTO) -> Any:
        return Suspended()

    @attune.routed(workflow="w", candidates=[HAIKU])
    def manager(model: str = attune.AUTO) -> Any:
        return in_a_block(model)

    begin = {"awaited": forever, "function": awaitable, "manager": manager, "generator": ask_in_steps}[kind]

    def drop() -> None:
        begun = begin()
        if kind == "awaited":
            begun.send(None)
        if kind == "generator":
            next(begun)
        cycle = [begun]
        cycle.append(cycle)

    gc.collect()
    gc.disable()
    gc.callbacks.append(watch)
    try:
        with attune.capture() as calls, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "never awaited": that is what is tested
            drop()
            gc.collect()
            assert (calls, settled) == ([], [])
            before = attune.last_call()
            sandbox.runtime.settle_abandoned()
            assert attune.last_call() is before
    finally:
        gc.callbacks.remove(watch)
        gc.enable()
    assert settled == [False]
    assert [it.outcome for it in calls] == ["success" if kind == "generator" else "neutral"]
    ledger.check(calls)


class Suspended:
    """An awaitable that never comes to its end."""

    def __await__(self) -> Any:
        yield


@contextlib.contextmanager
def in_a_block(model: str) -> Iterator[str]:
    yield model


def test_what_was_dropped_elsewhere_is_not_the_last_call_here(bench: Bench, sandbox: Sandbox):
    """It is settled by the next call, whoever makes that; to it, its own is the last."""
    client = bench.wrapped(Way("stream"))

    def drop() -> None:
        client.messages.create(model=HAIKU, stream=True, **BODY)

    def main() -> None:
        with attune.scope(workflow="mine"):
            stream = client.messages.create(model=HAIKU, stream=True, **BODY)
            assert attune.last_call() is None
            list(stream)
            assert attune.last_call().workflow == "mine"

    contextvars.Context().run(drop)
    gc.collect(0)
    assert sandbox.runtime.abandoned
    contextvars.Context().run(main)


# -- other processes


PROCESSES = """
import concurrent.futures, gc, json, multiprocessing, os, sys
import attune

@attune.routed(workflow="inside", candidates=["small", "large"], default="small", provider="mine")
def ask(word="", model=attune.AUTO):
    from attune.calls.context import current_scope
    return [word, model, current_scope().session, len(attune.capture().__enter__())]

@attune.routed(workflow="inside", candidates=["small"], provider="mine")
def steps(model=attune.AUTO):
    yield 1
    yield 2

def told(calls, runtime):
    return {"calls": [it.outcome for it in calls], "faults": dict(runtime.faults),
            "writer": runtime.windows.writer, "dice": runtime.dice()}

if __name__ == "__main__":
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    runtime = attune.configure(state="memory", readers=(), explore=False, tracer_provider=provider)
    out = {}
    with attune.scope(session="outer"), attune.capture() as calls:
        ask()
        dropped, held = steps(), steps()
        next(dropped), next(held)
        del dropped
        gc.collect()
        exporter.clear()
        read, write = os.pipe()
        memory = runtime.memory
        locks = [each._lock for each in (memory.lessons, memory.sessions, memory.loops)]
        for lock in locks:
            lock.acquire()
        if (child := os.fork()) == 0:
            inherited = len(calls)
            answer = ask("forked")
            held.close()
            attune.flush()
            routes = sum(span.name.startswith("attune.route") for span in exporter.get_finished_spans())
            os.write(write, json.dumps({"answer": answer, "new": len(calls) - inherited, "routes": routes,
                                        **told(calls[inherited:], runtime)}).encode())
            os._exit(0)
        for lock in locks:
            lock.release()
        os.waitpid(child, 0)
        out["forked"] = json.loads(os.read(read, 1 << 16))
        held.close()
        ask()
        routes = sum(span.name.startswith("attune.route") for span in exporter.get_finished_spans())
        out["parent"] = {"routes": routes, **told(calls, runtime)}
        for how in ("fork", "spawn"):
            with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context(how)) as pool:
                out[how] = pool.submit(ask, how).result(60)
    print(json.dumps(out))
"""


def test_other_processes(sandbox: Sandbox, tmp_path):
    """A forked child inherits words, and nothing to settle; a spawned one starts with neither; both take the function.

    Whatever lock of the memory another thread held at the fork, the child does not wait for it.
    """
    script = tmp_path / "processes.py"
    script.write_text(PROCESSES)
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    out = json.loads(ran.stdout)
    forked, parent = out["forked"], out["parent"]
    assert forked["answer"][:3] == ["forked", "small", "outer"]
    assert (forked["new"], forked["calls"], forked["routes"]) == (1, ["success"], 1)
    assert (parent["calls"], parent["routes"]) == (["success"] * 4, 3)  # its first span was told before the fork
    assert forked["writer"] != parent["writer"]
    assert forked["dice"] != parent["dice"]
    assert forked["faults"] == parent["faults"] == {}
    assert out["fork"][:3] == ["fork", "small", "outer"]
    assert out["spawn"][:3] == ["spawn", "small", None]


CHILDREN = """
import concurrent.futures, json, multiprocessing, sys
import attune

@attune.routed(workflow=sys.argv[1], candidates=["small"], provider="mine")
def ask(word=0, model=attune.AUTO):
    return model

def kept():
    from attune.models import AdaptiveModelRouter
    attune.flush()
    return AdaptiveModelRouter().get_routing_stats(sys.argv[1])["total_calls"]

if __name__ == "__main__":
    out, context = [kept()], multiprocessing.get_context(sys.argv[1])
    child = context.Process(target=ask)
    child.start(), child.join()
    out.append(kept())
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        assert list(pool.map(ask, range(3))) == ["small"] * 3
    out.append(kept())
    print(json.dumps(out))
"""


@pytest.mark.parametrize("how", ["fork", "forkserver"])
def test_children_of_multiprocessing_keep_what_they_learnt(tmp_path, how):
    """They end by `os._exit`, past `atexit`; what they counted is in the host store all the same, and nothing twice."""
    script = tmp_path / "children.py"
    script.write_text(CHILDREN)
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), how],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "ATTUNE_HOME": str(tmp_path / "home")},
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == [0, 1, 4]
    assert "attune: fault" not in ran.stderr


@pytest.mark.parametrize("configured", [True, False])
def test_a_process_that_ends_at_once_keeps_what_it_learnt(tmp_path, configured):
    """Its last second is written at exit, whichever way the runtime came to be."""
    script = (
        ("import attune\nattune.configure(seed=1)\n" if configured else "import attune\n")
        + "@attune.routed(workflow='short', candidates=['m'], provider='other')\n"
        + "def ask(*, model=attune.AUTO):\n    return model\n"
        + "ask()\n"
    )
    told = (
        "from attune.models import AdaptiveModelRouter\n"
        "print(AdaptiveModelRouter().get_routing_stats('short')['total_calls'])\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", text],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            cwd=tmp_path,
            env={**os.environ, "ATTUNE_HOME": str(tmp_path / "home")},
        ).stdout
        for text in (script, told)
    ]
    assert said == ["", "1\n"]


# -- trio, and frameworks


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # of a closed stream; the bare SDK's say it too
def test_everything_works_under_trio(bench: Bench, ledger: Ledger):
    """Guarded clients, routed functions, waits, streams, cancellation; words and captures reach tasks of a nursery."""
    clock = ledger.sandbox.clock

    @attune.routed(workflow="w", candidates=[HAIKU])
    async def ask_trio(model: str = attune.AUTO) -> str:
        await trio.lowlevel.checkpoint()
        return current_scope().session or ""

    async def main() -> None:
        async with anthropic.AsyncAnthropic(api_key="k", base_url=bench.url, max_retries=1) as bare:
            client = attune.wrap(bare, candidates=[HAIKU])
            bench.provider.script(HAIKU, fail("overloaded"))
            await client.messages.create(model="auto", **BODY)
            assert len(clock.sleeps) == 1
            async for _ in await client.messages.create(model="auto", stream=True, **BODY):
                pass
            answers: list[str] = []

            async def one(name: str) -> None:
                with attune.scope(session=name):
                    answers.append(await ask_trio())

            async with trio.open_nursery() as nursery:
                for name in "ab":
                    nursery.start_soon(one, name)
            assert sorted(answers) == ["a", "b"]
            bench.provider.script(HAIKU, hang())
            with trio.move_on_after(0.05) as moved:
                await client.messages.create(model="auto", **BODY)
            assert moved.cancelled_caught
            stream = await client.messages.create(model="auto", stream=True, **BODY)
            await anext(stream)
            await stream.close()

    with attune.capture() as calls:
        trio.run(main)
    assert [it.outcome for it in calls] == ["success"] * 4 + ["neutral"] * 2
    ledger.check(calls)


def test_waits_on_the_real_clock_work_under_trio():
    from attune.calls.clock import SystemClock

    trio.run(SystemClock().asleep, 0.001)


def test_a_call_that_wait_for_cancels(sandbox: Sandbox, ledger: Ledger):
    """It is captured and told, and the task around it has it as its last one only where it ran in that task."""

    @attune.routed(workflow="w", candidates=[HAIKU])
    async def forever(model: str = attune.AUTO) -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(forever(), 0.001)
        assert nothing_is_left_but_captures()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await forever()
        assert attune.last_call() is calls[1]

    with attune.capture() as calls:
        asyncio.run(main())
    assert [(it.outcome, it.attempts[0].error_type) for it in calls] == [("neutral", "cancelled")] * 2
    ledger.check(calls)


def test_a_thread_pool_with_and_without_a_copied_context(sandbox: Sandbox):
    """A thread of a pool knows nothing of the block around `submit`, unless its context is handed over."""
    with attune.scope(model=OPUS), attune.capture() as calls, ThreadPoolExecutor(1) as pool:
        assert pool.submit(ask).result() == HAIKU
        assert calls == []
        assert pool.submit(contextvars.copy_context().run, ask).result() == OPUS
        assert len(calls) == 1
        assert pool.submit(nothing_is_left).result()


def test_a_copied_context_keeps_its_last_call_to_itself(sandbox: Sandbox):
    before = attune.last_call()
    copied = contextvars.copy_context()
    with attune.scope(model=SONNET):
        assert copied.run(ask) == HAIKU
    assert copied.run(attune.last_call).model == HAIKU
    assert attune.last_call() is before


def test_a_handler_of_a_web_framework(sandbox: Sandbox):
    """Words of a middleware reach the handler, be it async or run in a thread, and other requests never see them."""

    async def handler(name: str) -> tuple[str | None, str]:
        await asyncio.sleep(0)
        return word(), await ask_later()

    def threaded(name: str) -> tuple[str | None, str]:
        return word(), ask()

    async def middleware(name: str, handle: Any) -> tuple[Any, int]:
        with attune.scope(session=name, model=SONNET), attune.capture() as calls:
            if handle is threaded:
                answer = await anyio.to_thread.run_sync(threaded, name)
            else:  # some run the rest of the application in a task of its own
                answer = await asyncio.create_task(handler(name))
            return answer, len(calls)

    async def main() -> list[Any]:
        requests = [middleware(f"r{i}", handle) for i in range(20) for handle in (handler, threaded)]
        answers = await asyncio.gather(*requests)
        assert nothing_is_left()
        return answers

    answers = contextvars.Context().run(asyncio.run, main())
    assert answers == [(((f"r{i}", SONNET)), 1) for i in range(20) for _ in range(2)]


def test_a_response_that_is_streamed_from_a_thread_pool(sandbox: Sandbox):
    """Frameworks read a plain generator item by item, each in a copy of the context, on whatever thread is free."""

    async def main() -> list[str]:
        items, got = ask_in_steps(), []
        with attune.scope(model=SONNET):
            while (item := await anyio.to_thread.run_sync(next, items, None)) is not None:
                got.append(item)
        assert nothing_is_left()
        return got

    assert contextvars.Context().run(asyncio.run, main()) == [SONNET, SONNET]
    assert sandbox.faults == {}


def test_a_dependency_that_is_entered_in_one_thread_and_left_in_another(sandbox: Sandbox):
    """Frameworks run a plain `with` dependency so: its words stay in those threads, and leaving it disturbs nobody."""

    @contextlib.contextmanager
    def dependency() -> Iterator[None]:
        with attune.scope(session="dependency"), attune.capture():
            yield

    async def main() -> None:
        with attune.scope(session="handler"):
            block = dependency()
            await anyio.to_thread.run_sync(block.__enter__)
            assert word() == "handler"
            await anyio.to_thread.run_sync(block.__exit__, None, None, None)
            assert word() == "handler"
        assert nothing_is_left()

    contextvars.Context().run(asyncio.run, main())


def nothing_is_left_but_captures() -> bool:
    return (current_scope(), under_way()) == (NO_SCOPE, None)


# -- decorated functions as values


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (ask, HAIKU), (Asker().plain, ("Asker", HAIKU)), (Asker.of_class, ("Asker", HAIKU)),
        (Asker().of_class, ("Asker", HAIKU)), (Asker.class_of, ("Asker", HAIKU)), (Asker.static, ("static", HAIKU)),
        (Asker().static, ("static", HAIKU)), (Asker.still, ("static", HAIKU)),
    ],
)  # fmt: skip
def test_a_decorated_function_pickles_as_a_function_does(sandbox: Sandbox, function, expected, protocol):
    """By its name, so that a process pool takes it."""
    again = pickle.loads(pickle.dumps(function, protocol))
    assert again() == expected
    assert copy.copy(function)() == copy.deepcopy(function)() == expected


def test_a_method_that_is_seen_on_its_class_pickles_too(sandbox: Sandbox):
    assert pickle.loads(pickle.dumps(Asker.plain))(Asker()) == ("Asker", HAIKU)
    assert copy.deepcopy({"ask": ask})["ask"] is ask


def test_a_function_that_is_decorated_twice(sandbox: Sandbox):
    """Two calls, one inside the other: each decorator says what its own is."""
    twice: Any = attune.routed(workflow="outside", candidates=MODELS, default=HAIKU)(ask)
    with attune.capture() as calls:
        assert twice() == HAIKU
    assert [(it.workflow, it.outcome, len(it.attempts)) for it in calls] == [
        ("inside", "success", 1),
        ("outside", "success", 1),
    ]


def test_a_forked_child_ends_no_call_of_its_parent_s(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch):
    """A coroutine that was under way at the fork is in both processes: one of them tells of it."""

    class Wait:
        def __await__(self):
            yield

    @attune.routed(workflow="w", candidates=["m"], provider="mine")
    async def ask(*, model: str = attune.AUTO) -> None:
        await Wait()

    told = []
    for pid in (os.getpid() + 1, os.getpid()):
        with attune.capture() as calls:
            running = ask()
            running.send(None)
            with monkeypatch.context() as elsewhere:
                elsewhere.setattr(os, "getpid", lambda pid=pid: pid)
                running.close()
                sandbox.runtime.settle_abandoned()
        told.append([it.outcome for it in calls])
    assert told == [[], ["neutral"]]
