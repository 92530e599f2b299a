"""Clouds that sell the Messages API, as one loopback server, and the anthropic SDK's clients of each in front of it.

The server takes what each of them takes, at its own addresses, and refuses what it would refuse: a body that names its model
where the address does, and one that does not where it must. A step of its script is played at one request for an answer.
"""

from __future__ import annotations

import base64
import json
import re
import struct
import threading
from binascii import crc32
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import anthropic
from calls.ways import HAIKU, Way

from attune.testing import anthropic_wire

USAGE = {
    "input_tokens": 1000, "output_tokens": 200, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
}  # fmt: skip
FRAMES, EVENTS, JSON = "application/vnd.amazon.eventstream", "text/event-stream; charset=utf-8", "application/json"


def frame(payload: bytes, **headers: str) -> bytes:
    """One frame of Amazon's event streams; a name of a header begins with a colon there."""
    told = b"".join(
        struct.pack("!B", len(name) + 1) + b":" + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
        for name, value in ((name.replace("_", "-"), value) for name, value in headers.items())
    )
    prelude = struct.pack("!II", 16 + len(told) + len(payload), len(told))
    start = prelude + struct.pack("!I", crc32(prelude)) + told + payload
    return start + struct.pack("!I", crc32(start))


def chunk(event: bytes) -> bytes:
    """A frame with one event of an answer."""
    payload = json.dumps({"bytes": base64.b64encode(event).decode(), "p": "abcdef"}).encode()
    return frame(payload, event_type="chunk", content_type=JSON, message_type="event")


def exception(word: str) -> bytes:
    """A frame by which the service says that it cannot go on."""
    payload = b'{"message": "SECRET"}'
    return frame(payload, exception_type=word, content_type=JSON, message_type="exception")


@dataclass
class Step:
    """What happens at one request: a status, or a stream that ends after so many events in an exception, or in nothing."""

    status: int = 200
    body: Mapping[str, Any] = field(default_factory=lambda: {"message": "SECRET"})
    events: int | None = None
    word: str | None = None


@dataclass
class Asked:
    """One request for an answer."""

    path: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        """What was sent."""
        body: dict[str, Any] = json.loads(self.raw)
        return body

    @property
    def model(self) -> str:
        """Who was asked, by the address, else by the body."""
        found = re.search(r"/models?/([^/]+?)(?:/invoke.*|:\w+redict)$", self.path, re.IGNORECASE)
        return unquote(found[1]) if found else self.body["model"]


class Cloud:
    """The server."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.script: list[Step] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def models(self) -> list[str]:
        """Who was asked, in order."""
        return [asked.model for asked in self.asked]

    def close(self) -> None:
        """Once no client is there any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, headers: Mapping[str, str], raw: bytes) -> tuple[int, str, bytes, bool]:
        """Status, kind and body, and whether that is all of it."""
        body = json.loads(raw)
        if path.endswith(("count-tokens:rawPredict", "/count_tokens")):
            self.asked.append(Asked(path, headers, raw))
            return 200, JSON, b'{"input_tokens": 3}', True
        addressed = path.startswith("/model/") or ":" in path
        versioned = "anthropic_version" in body
        if addressed == ("model" in body) or addressed != versioned or (not addressed and "messages" not in path):
            return 400, JSON, b'{"message": "malformed"}', True
        self.asked.append(asked := Asked(path, headers, raw))
        step = self.script.pop(0) if self.script else Step()
        if step.status != 200:
            return step.status, JSON, json.dumps(step.body).encode(), True
        whole = anthropic_wire.message("1", asked.model, [{"type": "text", "text": "hello there"}], "end_turn", USAGE)
        framed = path.endswith("/invoke-with-response-stream")
        if not framed and not path.endswith(":streamRawPredict") and not body.get("stream"):
            return 200, JSON, json.dumps(whole).encode(), step.events is None
        events = list(anthropic_wire.events(whole, 3))[: step.events]
        if not framed:
            told = b"".join(b"event: %b\ndata: %b\n\n" % (it.name.encode(), it.data) for it in events)
            return 200, EVENTS, told, step.events is None
        told = b"".join(chunk(it.data) for it in events) + (exception(step.word) if step.word else b"")
        return 200, FRAMES, told, step.events is None or step.word is not None


def _handler(cloud: Cloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65_536  # head and body in one piece: in two, the second waits 40 ms for the first one's receipt

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, kind, body, whole = cloud.answer(self.path.partition("?")[0], headers, raw)
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body) + (not whole)))
            self.end_headers()
            self.wfile.write(body)
            self.close_connection = not whole

        def log_message(self, *args: Any) -> None:
            """Nothing: tests read `asked`."""

    return Handler


@dataclass(frozen=True)
class Place:
    """One cloud: its word for a provider, its id for the cheap model, and how its clients are made."""

    name: str
    provider: str
    model: str
    options: Callable[[str], dict[str, Any]]
    frames: bool = False

    def __repr__(self) -> str:
        return self.name

    def client(self, way: Way, cloud: Cloud, http_client: Any) -> Any:
        """A client of this cloud that sends to the server."""
        kind = getattr(anthropic, ("Async" if way.asynchronous else "") + self.name)
        return kind(http_client=http_client, **self.options(cloud.url))


BEDROCK = Place(
    "AnthropicBedrock",
    "bedrock",
    f"global.anthropic.{HAIKU}",
    lambda url: {"api_key": "KEY", "aws_region": "us-east-1", "base_url": url},
    frames=True,
)
VERTEX = Place(
    "AnthropicVertex",
    "vertex",
    f"{HAIKU}@20261001",
    lambda url: {"region": "us-east5", "project_id": "p", "access_token": "KEY", "base_url": f"{url}/v1"},
)
FOUNDRY = Place("AnthropicFoundry", "foundry", HAIKU, lambda url: {"api_key": "KEY", "base_url": f"{url}/anthropic"})
MANTLE = Place(
    "AnthropicBedrockMantle",
    "bedrock",
    f"anthropic.{HAIKU}",
    lambda url: {"api_key": "KEY", "aws_region": "us-east-1", "base_url": f"{url}/anthropic"},
)
AWS = Place(
    "AnthropicAWS",
    "anthropic",
    HAIKU,
    lambda url: {"api_key": "KEY", "workspace_id": "w", "base_url": f"{url}/anthropic"},
)
GOOGLE = Place(
    "AnthropicGoogleCloud",
    "anthropic",
    HAIKU,
    lambda url: {"token_provider": lambda: "KEY", "workspace_id": "w", "base_url": url},
)
# Not every one of them is in every SDK that attune supports.
PLACES = [place for place in (BEDROCK, VERTEX, FOUNDRY, MANTLE, AWS, GOOGLE) if hasattr(anthropic, place.name)]
