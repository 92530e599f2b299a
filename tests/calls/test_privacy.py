"""What people write and models answer stays where it was: a marker in all of it is found in nothing that attune tells."""

from __future__ import annotations

import asyncio
import gc
import logging
import pickle
import traceback
from typing import Any

import anthropic
import pytest
from calls.ways import HAIKU, OPUS, SONNET, Bench, Way

import attune
from attune.testing import Sandbox, cut, fail, hang, malformed, ok, refuse, stream_error, tool_use, truncate

CANARY = "canary-4d1f"
BODY = {
    "max_tokens": 50,
    "system": f"system {CANARY}",
    "messages": [{"role": "user", "content": f"prompt {CANARY}"}],
    "metadata": {"user_id": CANARY},
    "stop_sequences": [CANARY],
    "tools": [{"name": CANARY, "description": CANARY, "input_schema": {"type": "object"}}],
    "extra_headers": {"x-mine": CANARY},
}
STEPS = {
    "answer": ok(f"answer {CANARY}"),
    "tool": tool_use(CANARY, {"say": CANARY}),
    **{
        name: fail(name, message=f"you said {CANARY}", retry_after_s=0.01)
        for name in (
            "overloaded",
            "server",
            "rate_limit",
            "auth",
            "payment",
            "not_found",
            "invalid_request",
            "conflict",
        )
    },
    "spend limit": fail("spend_limit", message=CANARY),
    "refused": refuse(),
    "cut": cut(),
    "cut in the stream": cut(after=1),
    "truncated": truncate(after=1),
    "stream error": stream_error("overloaded", after=0, message=CANARY),
    "late stream error": stream_error("overloaded", after=1, message=CANARY),
    "malformed": malformed(),
    "hang": hang(),
}


def told(sandbox: Sandbox, records: list[Any], caplog: pytest.LogCaptureFixture) -> str:
    """Everything that attune says: spans, metrics, its log at DEBUG, records, circuits, evidence."""
    rows, _ = sandbox.runtime.windows.own_rows()
    logs = [
        f"{it.getMessage()} {it.args!r} {it.exc_text or ''}{it.exc_info or ''}"
        for it in caplog.records
        if it.name.startswith("attune")
    ]
    return "\n".join(
        [
            sandbox.text(), *logs, repr(records), *(str(it.decision) for it in records), repr(sandbox.circuits), repr(rows),
            repr(sandbox.runtime.faults), *(it.id for it in records),
        ]
    )  # fmt: skip


def shown(error: BaseException | None) -> str:
    """What is ours of an exception: all of a refusal, the notes of the SDK's."""
    if error is None:
        return ""
    ours = [error] if isinstance(error, attune.AttuneError) else []
    notes = getattr(error, "__notes__", [])
    return "\n".join([*notes, *(f"{it!r} {it} {vars(it)!r}" for it in ours)])


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(
    ("model", "kind"), [("auto", "plain"), ("auto", "async stream"), (HAIKU, "async"), (HAIKU, "stream")]
)
def test_nothing_of_a_call_is_told(bench: Bench, sandbox: Sandbox, caplog, model: str, kind: str, name: str):
    """Prompt, system, tools, answers, key, headers and the provider's messages, under every failure."""
    way = Way(kind)
    caplog.set_level(logging.DEBUG, logger="attune")
    bare = bench.bare(way).with_options(api_key=f"sk-{CANARY}", default_headers={"x-more": CANARY}, timeout=0.05)
    bench.provider.script(None, *[STEPS[name]] * 4)
    seen = bench.ask(way, attune.wrap(bare, workflow="w", candidates=[HAIKU, SONNET]), model, **BODY)
    said = told(sandbox, seen.records, caplog)
    assert "attune.route" in said
    assert HAIKU in said
    assert any(it.name.startswith("attune") for it in caplog.records)
    assert CANARY not in said
    assert CANARY not in shown(seen.error)
    assert sandbox.faults == {}


def test_a_stream_that_is_left_keeps_its_text_to_the_caller_s_record(bench: Bench, sandbox: Sandbox, caplog):
    """`partial_text` holds it, for the caller; the repr does not."""
    caplog.set_level(logging.DEBUG, logger="attune")
    client = bench.wrapped(Way("stream"))
    bench.provider.script(None, ok(f"{CANARY} {CANARY} {CANARY} {CANARY}"))
    with attune.capture() as calls:
        for event in client.messages.create(model="auto", stream=True, **BODY):
            if event.type == "content_block_delta":
                break
        gc.collect(0)
        sandbox.runtime.settle_abandoned()
    assert "canary" in calls[0].partial_text
    assert CANARY[:6] not in told(sandbox, calls, caplog)


def test_nothing_of_a_routed_function_is_told(sandbox: Sandbox, caplog):
    """Arguments, what it returns, what it raises, what its judge and classify raise."""
    caplog.set_level(logging.DEBUG, logger="attune")

    def explode(*args: Any) -> Any:
        raise ValueError(CANARY)

    @attune.routed(workflow="w", candidates=[HAIKU, SONNET], judge=explode, classify=explode)
    def ask(text: str, model: str = attune.AUTO) -> str:
        if text.startswith("raise"):
            raise RuntimeError(text)
        return text

    @attune.routed(workflow="w", candidates=[HAIKU], judge=explode)
    async def later(text: str, model: str = attune.AUTO) -> Any:
        raise ConnectionError(text)

    with attune.capture() as calls:
        ask(CANARY)
        with pytest.raises(RuntimeError):
            ask(f"raise {CANARY}")
        with pytest.raises(ConnectionError) as seen:
            asyncio.run(later(CANARY))
    assert len(calls) == 3
    assert CANARY not in told(sandbox, calls, caplog)
    assert CANARY not in shown(seen.value)


def test_refusals_hold_nothing_of_the_call(bench: Bench, sandbox: Sandbox, caplog):
    """Open circuit, no model, deadline: text, repr, attributes, pickle; the request on them has no body and no key."""
    caplog.set_level(logging.DEBUG, logger="attune")
    way = Way("plain")
    bare = bench.bare(way).with_options(api_key=f"sk-{CANARY}", default_headers={"x-more": CANARY})
    client = attune.wrap(bare)
    refusals = []
    with attune.scope(max_cost=1e-9):
        refusals.append(bench.ask(way, client, **BODY).error)
    sandbox.runtime.circuits.force_open("anthropic", now=0.0)
    refusals.append(bench.ask(way, client, OPUS, **BODY).error)
    assert [type(it).__name__ for it in refusals] == ["NoModelAvailable", "CircuitOpenError"]
    for refusal in refusals:
        text = "".join(traceback.format_exception_only(refusal))
        assert CANARY not in f"{text} {refusal!r} {vars(refusal)!r} {refusal.request.headers!r} {refusal.request.url}"
        assert CANARY.encode() not in refusal.request.content
        assert CANARY.encode() not in pickle.dumps(refusal)
        assert isinstance(refusal, anthropic.APIError)
    assert CANARY not in told(sandbox, [], caplog)


def test_nothing_of_a_call_is_kept_on_disk(bench: Bench, sandbox: Sandbox, tmp_path):
    """The host store holds numbers and names."""
    sandbox.configure(state="host")
    way = Way("plain")
    bare = bench.bare(way).with_options(api_key=f"sk-{CANARY}")
    for step in (STEPS["answer"], STEPS["overloaded"], STEPS["auth"]):
        bench.provider.script(None, step)
        bench.ask(way, attune.wrap(bare), **BODY)
    attune.flush(5.0)
    attune.shutdown(5.0)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert [path.name for path in files if CANARY.encode() in path.read_bytes()] == []
