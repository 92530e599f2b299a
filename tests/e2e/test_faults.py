"""A fault of attune's own never changes the outcome of a call: every part that can break is broken, four ways."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from calls.ways import HAIKU, SONNET, Bench, Way

import attune
from attune.testing import Sandbox, fail


class Broken(RuntimeError):
    """What a part of attune raises here. Its text must not be told."""


def broken(*_args: Any, **_kwargs: Any) -> Any:
    raise Broken("canary-of-a-fault")


class Breaker:
    """Circuits that raise on every use but settling, which has permits of its own."""

    quiet = False
    version = 0

    acquire = allows = state = retry_after_s = status = force_probe = cool_down = broken


class Permit:
    """A permit that cannot be settled."""

    state = "closed"
    probe = False
    settle = broken


class Reader:
    """A reader of evidence that cannot read."""

    name = "broken"
    scope = "host"
    poll = broken

    def close(self) -> None:
        """Nothing is held."""


def break_router(sandbox: Sandbox, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sandbox.runtime.router, "decide", broken)


def break_snapshot(sandbox: Sandbox, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sandbox.runtime.windows, "snapshot", broken)


def break_breaker(sandbox: Sandbox, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sandbox.runtime, "circuits", Breaker())


def break_permits(sandbox: Sandbox, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sandbox.runtime.circuits, "acquire", lambda *args, **kwargs: Permit())


def break_windows(sandbox: Sandbox, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sandbox.runtime.windows, "record", broken)


def break_emitter(sandbox: Sandbox, patch: pytest.MonkeyPatch) -> None:
    emitter = sandbox.runtime.emitter
    for name in ("route", "announce", "transition", "rejected", "quality", "fault"):
        patch.setattr(emitter, name, broken)


def break_spans(sandbox: Sandbox, patch: pytest.MonkeyPatch) -> None:
    from attune.telemetry.spans import AttemptSpan, RouteSpan

    for kind in (AttemptSpan, RouteSpan):
        for name in ("attach", "end"):
            patch.setattr(kind, name, broken)
    patch.setattr(RouteSpan, "decided", broken)
    patch.setattr(RouteSpan, "attempt", broken)


def break_dialect(sandbox: Sandbox, patch: pytest.MonkeyPatch) -> None:
    from attune.clients.anthropic import AnthropicDialect

    for name in ("read", "events", "native_span", "tap"):
        patch.setattr(AnthropicDialect, name, broken)


def break_reading(sandbox: Sandbox, patch: pytest.MonkeyPatch) -> None:
    from attune.clients.anthropic import MessageEvents

    for name in ("feed", "facts"):
        patch.setattr(MessageEvents, name, broken)


def break_budget(sandbox: Sandbox, patch: pytest.MonkeyPatch) -> None:
    for name in ("call", "take"):
        patch.setattr(sandbox.runtime.retry_budget, name, broken)


def break_dice(sandbox: Sandbox, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sandbox.runtime, "dice", broken)


def break_listener(sandbox: Sandbox, patch: pytest.MonkeyPatch) -> None:
    sandbox.configure(on_event=broken, breaker={"failure_threshold": 1})


def break_site(sandbox: Sandbox, patch: pytest.MonkeyPatch) -> None:
    from attune.calls.site import Site

    patch.setattr(Site, "ask", broken)


def break_telling(sandbox: Sandbox, patch: pytest.MonkeyPatch) -> None:
    from attune.calls import context

    patch.setattr(context, "tell", broken)


# part -> the place its fault is counted at, None where no use of it is certain
PARTS = {
    break_router: "router", break_snapshot: "router", break_breaker: "breaker", break_permits: "breaker",
    break_windows: "windows", break_emitter: "emit", break_spans: "emit", break_dialect: "dialect", break_reading: None,
    break_budget: "retry", break_dice: None, break_listener: None, break_site: "call", break_telling: "context",
}  # fmt: skip


@pytest.mark.parametrize("broken_part", PARTS, ids=lambda part: part.__name__.removeprefix("break_"))
@pytest.mark.parametrize("model", ["auto", HAIKU])
def test_a_broken_part_fails_no_call(
    bench: Bench, sandbox: Sandbox, monkeypatch, caplog, way: Way, model: str, broken_part
):
    """The call answers as it was written, `auto` as the default; the fault is counted, and logged once for its place."""
    caplog.set_level(logging.WARNING, logger="attune")
    client = bench.wrapped(way, candidates=[HAIKU, SONNET])
    broken_part(sandbox, monkeypatch)
    for _ in range(6):  # more often than a circuit needs to open
        seen = bench.ask(way, client, model)
        assert seen.error is None
        if way.stream:
            assert [it.type for it in seen.events][-1] == "message_stop"
        else:
            assert seen.value.content[0].text
    assert {it.model for it in bench.provider.requests} == {HAIKU}
    expected = PARTS[broken_part]
    if expected is not None and not (model == HAIKU and expected in ("router", "retry")):
        assert sandbox.faults[expected] >= 1
    faults = [it for it in caplog.records if "fault in" in it.getMessage()]
    assert len(faults) == len(sandbox.faults)
    assert "canary-of-a-fault" not in caplog.text


@pytest.mark.parametrize("broken_part", PARTS, ids=lambda part: part.__name__.removeprefix("break_"))
@pytest.mark.parametrize(("model", "name"), [("auto", "plain"), ("auto", "async stream"), (HAIKU, "stream")])
def test_a_broken_part_changes_no_exception(bench: Bench, sandbox: Sandbox, monkeypatch, name, model, broken_part):
    """While the provider fails too: the caller gets the SDK's own exception."""
    way = Way(name)
    client = bench.wrapped(way, candidates=[HAIKU, SONNET])
    bench.provider.outage(status="auth")
    bare = bench.ask(way, bench.bare(way), HAIKU).error
    broken_part(sandbox, monkeypatch)
    seen = bench.ask(way, client, model)
    assert type(seen.error) is type(bare)
    if broken_part is break_listener:
        return  # whose circuit is open by now
    bench.provider.recover()
    bench.provider.outage(status=fail("overloaded", retry_after_s=0.01))
    seen = bench.ask(way, client, model)
    assert getattr(seen.error, "status_code", None) == 529


def test_the_default_answers_where_the_router_cannot_say(bench: Bench, sandbox: Sandbox, monkeypatch):
    """Not the first candidate: the one that was named as the default, with the reason `fault`."""
    way = Way("plain")
    client = bench.wrapped(way, candidates=[HAIKU, SONNET], default=SONNET)
    break_router(sandbox, monkeypatch)
    seen = bench.ask(way, client)
    assert seen.value.model == SONNET
    assert seen.record.decision.reason == "fault"


def test_everything_broken_at_once(bench: Bench, sandbox: Sandbox, monkeypatch, way: Way):
    """Still the answer."""
    client = bench.wrapped(way, candidates=[HAIKU, SONNET])
    for part in PARTS:
        if part not in (break_listener, break_site):
            part(sandbox, monkeypatch)
    for model in ("auto", HAIKU):
        seen = bench.ask(way, client, model)
        assert seen.error is None
        assert seen.value is not None


def test_a_reader_that_raises_and_a_store_that_cannot_be_opened(bench: Bench, sandbox: Sandbox, way: Way):
    """They are read beside the calls: no call sees them."""
    sandbox.home.parent.mkdir(exist_ok=True)
    sandbox.home.write_text("a file where a folder should be")
    sandbox.configure(state="host", readers=(Reader(),), refresh_s=0.01)
    for model in ("auto", HAIKU):
        assert bench.ask(way, bench.wrapped(way), model).error is None
    sandbox.runtime.settle_in()
    assert bench.ask(way, bench.wrapped(way)).error is None
    attune.shutdown(1.0)


def test_a_routed_function_goes_on_too(sandbox: Sandbox, monkeypatch):
    """With everything broken it is handed the default, as the candidate was written."""

    @attune.routed(workflow="w", candidates=["openai/gpt-6-luna", HAIKU], judge=broken)
    def ask(model: str = attune.AUTO) -> str:
        attune.report(cost_usd=0.5)
        return model

    for part in PARTS:
        if part is not break_listener:
            part(sandbox, monkeypatch)
            assert ask() == "openai/gpt-6-luna"
            assert ask(model=HAIKU) == HAIKU
