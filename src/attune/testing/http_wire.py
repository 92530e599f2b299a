"""HTTP/1.1 as far as a scripted provider needs it: one request out of a buffer, heads and chunks into bytes.

Knows nothing of models or JSON. A body needs a content-length; chunked requests are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

REASONS: Mapping[int, str] = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    411: "Length Required",
    413: "Payload Too Large",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
    504: "Gateway Timeout",
    529: "Overloaded",
}
LAST_CHUNK = b"0\r\n\r\n"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. Header names are lower case; `path` has no query, which stands in `query` as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    query: str = ""


def take_request(buffer: bytearray) -> HttpRequest | None:
    """Take the first whole request out of the buffer; None while it is not whole. Raises ValueError on nonsense."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    first, *lines = buffer[:end].decode("latin-1").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    if "transfer-encoding" in headers:
        raise ValueError("a request body needs a content-length")
    whole = end + 4 + int(headers.get("content-length", "0"))
    if len(buffer) < whole:
        return None
    body = bytes(buffer[end + 4 : whole])
    del buffer[:whole]
    method, target, _ = first.split(" ", 2)
    path, _, query = target.partition("?")
    return HttpRequest(method, path, headers, body, query)


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """The status line and headers of a response."""
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Scripted')}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """One piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
