"""Which path does what: the Messages API and the two of OpenAI for clients, `/_script` for whoever directs.

Pure dispatch: from one HTTP request to one Playback. The scenario decides, `playback.py` performs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from attune.errors import ConfigError
from attune.testing import anthropic_wire, openai_wire, responses_wire
from attune.testing.asked import as_asked
from attune.testing.behaviour import Behaviour
from attune.testing.http_wire import HttpRequest
from attune.testing.playback import Ask, Playback, perform, simple
from attune.testing.scenario import Received, Scenario, Turn, topic_of
from attune.testing.script import Step
from attune.testing.wire import Wire, count_tokens, prompt_text

CONTROL = "/_script"
_UNLIMITED = 1_000_000
_SPOKEN: Mapping[str, Wire] = {
    "/v1/messages": anthropic_wire,
    "/v1/chat/completions": openai_wire,
    "/v1/responses": responses_wire,
    "/openai/responses": responses_wire,  # Azure's
}
_NEEDED: Mapping[str, tuple[str, ...]] = {"/v1/messages": ("model", "max_tokens", "messages")}
_AZURE, _AZURE_CHAT = "/openai/deployments/", "/chat/completions"
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_CONVERSATIONS: Mapping[str, tuple[type, ...]] = {"messages": (list,), "input": (list, str)}
_HEADERS = ("anthropic-version", "anthropic-beta", "user-agent", "traceparent", "idempotency-key")


class Endpoints:
    """Answers requests out of a scenario. `now` is only shown, in `Received.at_s`."""

    def __init__(self, scenario: Scenario, now: Callable[[], float]) -> None:
        self._scenario = scenario
        self._now = now

    def answer(self, request: HttpRequest) -> Playback:
        """What this request is answered with."""
        if request.path == CONTROL:
            return self._control(request)
        if request.method == "GET" and request.path.startswith("/v1/models"):
            return self._models(request.path.removeprefix("/v1/models").strip("/"))
        if request.method == "POST" and request.path == "/v1/messages/count_tokens":
            return _count(request)
        deployment = _deployment(request.path)
        spoken = _SPOKEN.get(request.path) if deployment is None else openai_wire
        if spoken is None or request.method != "POST":
            return _refused(anthropic_wire, 404, "not_found_error", f"{request.method} {request.path} is not here")
        return self._messages(request, spoken, deployment)

    def _messages(self, request: HttpRequest, spoken: Wire, deployment: str | None) -> Playback:
        asked = "input" if spoken is responses_wire else "messages"
        body, wrong = _read(request.body, _NEEDED.get(request.path, ("model", asked)))
        if wrong:
            return _refused(spoken, 400, "invalid_request_error", wrong)
        model = deployment or body["model"]
        turn = self._scenario.turn(model)
        if turn is None:
            return _refused(spoken, 404, "not_found_error", f"model: {model}")
        prompt = prompt_text(body)
        options = body.get("stream_options")
        ask = Ask(
            wire=spoken,
            name=f"{_plain(model)}_{turn.ordinal:06d}",
            model=model,
            stream=body.get("stream") is True,
            max_tokens=next((body[name] for name in _LIMITS if body.get(name)), _UNLIMITED),
            input_tokens=max(1, count_tokens(prompt)),
            topic=topic_of(prompt),
            tell_usage=isinstance(options, dict) and options.get("include_usage") is True,
        )
        step = as_asked(turn.step, body, uses_tools=turn.behaviour.uses_tools)
        playback = perform(step, turn.behaviour, turn.fate, ask)
        self._record(request, body, ask, turn, playback)
        return playback

    def _record(self, request: HttpRequest, body: Mapping[str, Any], ask: Ask, turn: Turn, playback: Playback) -> None:
        received = Received(
            model=ask.model,
            ordinal=turn.ordinal,
            stream=ask.stream,
            path=request.path,
            headers={n: v for n, v in request.headers.items() if n in _HEADERS or n.startswith("x-stainless-")},
            body=body,
            topic=ask.topic,
            status=playback.status,
            act=turn.step.act,
            good=playback.good,
            at_s=self._now(),
        )
        self._scenario.record(received, playback)

    def _models(self, model: str) -> Playback:
        known = self._scenario.models
        if not model:
            return simple(200, anthropic_wire.model_list(known), "models")
        if model in known:
            return simple(200, anthropic_wire.model_info(model), "models")
        return _refused(anthropic_wire, 404, "not_found_error", f"model: {model}")

    def _control(self, request: HttpRequest) -> Playback:
        if request.method == "GET":
            return simple(200, {"models": self._scenario.served}, "control")
        try:
            direct(self._scenario, json.loads(request.body))
        except (ValueError, TypeError, KeyError, AttributeError) as error:  # a ConfigError is a ValueError
            return simple(400, {"error": f"{type(error).__name__}: {error}"}, "control")
        return simple(200, {"ok": True}, "control")


def direct(scenario: Scenario, order: Mapping[str, Any]) -> None:
    """Carry out one order of the control endpoint: `{"do": "set" | "script" | "outage" | "recover", "model": …}`."""
    model = order.get("model")
    match order.get("do"):
        case "set":
            scenario.set(order["model"], Behaviour.from_dict(order["behaviour"]))
        case "script":
            scenario.script(model, *(Step.from_dict(step) for step in order["steps"]))
        case "outage":
            scenario.outage(model, order["success"], Step.from_dict(order["failure"]))
        case "recover":
            scenario.recover(model)
        case other:
            raise ConfigError(f"do={other!r}: use set, script, outage or recover.")


def _read(raw: bytes, needed: tuple[str, ...]) -> tuple[dict[str, Any], str]:
    """The body, and what is wrong with it in the API's words ("" if nothing)."""
    try:
        body = json.loads(raw)
    except ValueError:
        return {}, "The request body is not valid JSON."
    if not isinstance(body, dict):
        return {}, "The request body is not an object."
    for name in needed:
        if name not in body:
            return body, f"{name}: Field required"
    asked = body[needed[-1]]
    if not isinstance(body["model"], str) or not asked or not isinstance(asked, _CONVERSATIONS[needed[-1]]):
        return body, f"{needed[-1]}: at least one message is required, and model is a string"
    for name in _LIMITS:
        limit = body.get(name)
        if (limit is not None or name in needed) and not (isinstance(limit, int) and limit > 0):
            return body, f"{name}: Input should be greater than 0"
    return body, ""


def _deployment(path: str) -> str | None:
    """The model that an Azure path names."""
    if not (path.startswith(_AZURE) and path.endswith(_AZURE_CHAT)):
        return None
    return path.removeprefix(_AZURE).removesuffix(_AZURE_CHAT)


def _count(request: HttpRequest) -> Playback:
    body, wrong = _read(request.body, ("model", "messages"))
    if wrong:
        return _refused(anthropic_wire, 400, "invalid_request_error", wrong)
    return simple(200, {"input_tokens": max(1, count_tokens(prompt_text(body)))}, "count")


def _refused(spoken: Wire, status: int, kind: str, text: str) -> Playback:
    return simple(status, spoken.error(kind, text, "req_refused"), "refused")


def _plain(model: str) -> str:
    return "".join(letter if letter.isascii() and (letter.isalnum() or letter in "-.") else "_" for letter in model)
