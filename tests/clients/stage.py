"""The provider that the table of uses is played against: a ScriptedProvider that also tells what arrived, byte for byte,
and an annex with the endpoints that no model answers (batches, files, older ones) and with odd answers.

Everything it says depends on the request and the seed alone, so each run of a use starts from the same beginning.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Mapping
from typing import Any, Self

from clients.told import headers_of

from attune.testing import Behaviour, ScriptedProvider
from attune.testing.endpoints import Endpoints
from attune.testing.http_wire import HttpRequest, head
from attune.testing.playback import Playback
from attune.testing.scenario import Scenario

SEED = 20261123
HAIKU, SONNET, GPT = "claude-haiku-5-5", "claude-sonnet-5-5", "gpt-6-mini"
_BOUNDARY = re.compile(rb"boundary=([\w-]+)")
_MOMENT = "2026-01-01T00:00:00Z"


class Stage:
    """A provider on one port for a whole module. `raise_curtain` forgets everything that was said and asked before."""

    def __init__(self) -> None:
        self.provider = ScriptedProvider(seed=SEED)
        self.url = self.provider.url
        self.arrived: list[HttpRequest] = []
        self._nobody = socket.socket()
        self._nobody.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        self.nowhere = f"http://127.0.0.1:{self._nobody.getsockname()[1]}"
        self._server = self.provider._server
        self._server._answer = self._answer
        self.raise_curtain()

    def raise_curtain(self) -> None:
        """Begin anew: the same models, no script, nothing arrived."""
        self.arrived.clear()
        models = {model: Behaviour() for model in (HAIKU, SONNET, GPT)}
        self.provider._scenario = Scenario(seed=SEED, models=models, default=Behaviour())
        self._speak = Endpoints(self.provider._scenario, time.monotonic).answer

    def _answer(self, request: HttpRequest) -> Playback:
        self.arrived.append(request)
        return annex(request, self.url) or self._speak(request)

    def wire(self, without: frozenset[str]) -> list[Any]:
        """What arrived, but for these headers and the boundaries of forms."""
        return [_said(request, without) for request in self.arrived]

    def close(self) -> None:
        """End the provider."""
        self.provider.close()
        self._nobody.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _said(request: HttpRequest, without: frozenset[str]) -> Any:
    body = request.body
    if found := _BOUNDARY.search(request.headers.get("content-type", "").encode()):
        body = body.replace(found[1], b"drawn")
    return (request.method, request.path, request.query, headers_of(request.headers.items(), without=without), body)


def annex(request: HttpRequest, url: str) -> Playback | None:
    """The answer of an endpoint that the scripted provider does not have; None where it has it."""
    if (odd := request.headers.get("x-odd")) is not None:
        return _odd(odd)
    for method, pattern, tell in _ANNEX:
        if method == request.method and (found := re.fullmatch(pattern, request.path)):
            return _json(tell(request, url, *found.groups()))
    if request.method == "GET" and (found := re.fullmatch(r"/v1/messages/batches/(\w+)/results", request.path)):
        lines = [_result("first", {"type": "canceled"}), _result("second", {"type": "expired"})]
        return _whole(200, "\n".join(lines).encode() + b"\n", "application/x-jsonl")
    if request.method == "GET" and re.fullmatch(r"/v1/files/\w+/content", request.path):
        return _whole(200, b"the bytes of a file", "application/octet-stream")
    return None


def _odd(which: str) -> Playback:
    """Answers that no API would document and that networks give all the same."""
    match which:
        case "page":
            return _whole(502, b"<html>Bad gateway</html>", "text/html")
        case "text":
            return _whole(200, b"not what was asked for", "text/plain")
        case "nothing":
            return _whole(204, b"", None)
        case "object":
            return _whole(200, b'{"surprise": [1, 2]}', "application/json")
        case "away":
            return _whole(307, b"", None, {"location": "/v1/models"})
        case "teapot":
            return _whole(418, b'{"error": {"type": "teapot", "message": "short and stout"}}', "application/json")
    return _whole(
        200, b'{"input_tokens": 7}', "application/json", {"x-told": "one", "anthropic-organization-id": "org"}
    )


def _json(data: Any) -> Playback:
    return _whole(200, json.dumps(data).encode(), "application/json")


def _whole(status: int, body: bytes, content_type: str | None, extra: Mapping[str, str] | None = None) -> Playback:
    headers = {"request-id": "req_annex", "x-request-id": "req_annex", **(extra or {})}
    if content_type is not None:
        headers["content-type"] = content_type
    return Playback(((0.0, head(status, {**headers, "content-length": str(len(body))}) + body),), status=status)


def _result(name: str, result: Any) -> str:
    return json.dumps({"custom_id": name, "result": result})


def _batch(request: HttpRequest, url: str, name: str = "batch_1") -> dict[str, Any]:
    return {
        "id": name,
        "type": "message_batch",
        "processing_status": "canceling" if request.path.endswith("/cancel") else "ended",
        "request_counts": {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 1, "expired": 1},
        "created_at": _MOMENT,
        "expires_at": _MOMENT,
        "results_url": f"{url}/v1/messages/batches/{name}/results",
    }


def _batches(request: HttpRequest, url: str) -> dict[str, Any]:
    names = ["batch_3"] if "after_id=" in request.query else ["batch_1", "batch_2"]
    data = [_batch(request, url, name) for name in names]
    return {"data": data, "has_more": len(names) > 1, "first_id": names[0], "last_id": names[-1]}


def _deleted(kind: str) -> Any:
    return lambda request, url, name: {"id": name, "type": kind, "object": "file", "deleted": True}


def _file(request: HttpRequest, url: str, name: str = "file_1") -> dict[str, Any]:
    shape = {"id": name, "type": "file", "object": "file", "filename": "a.txt", "mime_type": "text/plain"}
    return {**shape, "size_bytes": 5, "bytes": 5, "created_at": _MOMENT, "purpose": "batch", "status": "processed"}


def _files(request: HttpRequest, url: str) -> dict[str, Any]:
    names = ["file_3"] if "after_id=" in request.query else ["file_1", "file_2"]
    data = [_file(request, url, name) for name in names]
    return {"data": data, "has_more": len(names) > 1, "first_id": names[0], "last_id": names[-1], "object": "list"}


def _completion(request: HttpRequest, url: str) -> dict[str, Any]:
    asked = json.loads(request.body)
    if "max_tokens_to_sample" in asked:
        said = {"type": "completion", "id": "compl_1", "completion": " ok", "stop_reason": "stop_sequence"}
        return {**said, "model": asked["model"], "stop": None}
    choice = {"index": 0, "text": " ok", "finish_reason": "stop", "logprobs": None}
    return {"id": "cmpl_1", "object": "text_completion", "created": 1, "model": asked["model"], "choices": [choice]}


def _embeddings(request: HttpRequest, url: str) -> dict[str, Any]:
    asked = json.loads(request.body)
    vector: Any = "AACAPwAAAEA=" if asked.get("encoding_format") == "base64" else [1.0, 2.0]
    data = [{"object": "embedding", "index": 0, "embedding": vector}]
    return {"object": "list", "data": data, "model": asked["model"], "usage": {"prompt_tokens": 1, "total_tokens": 1}}


def _moderation(request: HttpRequest, url: str) -> dict[str, Any]:
    found = {"flagged": False, "categories": {"hate": False}, "category_scores": {"hate": 0.25}}
    return {"id": "modr_1", "model": "omni-moderation-latest", "results": [found]}


_ANNEX: tuple[tuple[str, str, Any], ...] = (
    ("POST", r"/v1/messages/batches", _batch),
    ("GET", r"/v1/messages/batches", _batches),
    ("GET", r"/v1/messages/batches/(\w+)", _batch),
    ("POST", r"/v1/messages/batches/(\w+)/cancel", _batch),
    ("DELETE", r"/v1/messages/batches/(\w+)", _deleted("message_batch_deleted")),
    ("POST", r"/v1/files", _file),
    ("GET", r"/v1/files", _files),
    ("GET", r"/v1/files/(\w+)", _file),
    ("DELETE", r"/v1/files/(\w+)", _deleted("file_deleted")),
    ("POST", r"/v1/complete", _completion),
    ("POST", r"/v1/completions", _completion),
    ("POST", r"/v1/embeddings", _embeddings),
    ("POST", r"/v1/moderations", _moderation),
)
