"""One conversation with a PromQL HTTP API: bounded in time and bytes, no redirects, no ambient proxies, no credential in clear.

What goes wrong ends as a TelemetryError that says what to do and carries no header, key or address beyond the host.
Knows no query and no metric. httpx2 (extra `promql`) and TLS are loaded with the first request, on the asking thread.
"""

from __future__ import annotations

import base64
import importlib.util
import ipaddress
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from attune.errors import ConfigError, TelemetryError

CONNECT_S: Final = 1.0
MAX_BYTES: Final = 8 * 1024 * 1024
_HARMLESS: Final = frozenset({"x-scope-orgid", "user-agent", "accept", "accept-language"})
_WORDS: Final = frozenset({"bad_data", "execution", "timeout", "canceled", "internal", "unavailable", "not_found"})


class QueryRefused(TelemetryError):  # noqa: N818 - says what became of the query, as its siblings in errors.py do
    """The store will not answer this query, or the answer is too large; it may well answer others."""


class Sample(msgspec.Struct, gc=False):
    """One series of an answer: its labels, and one value or several with their times."""

    metric: dict[str, str]
    value: tuple[float, str] | None = None
    values: list[tuple[float, str]] = msgspec.field(default_factory=list)


class _Result(msgspec.Struct):
    result: list[msgspec.Raw]  # taken apart one by one, so that no thread waits for all of them


class _Body(msgspec.Struct, rename={"error_type": "errorType"}):
    status: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    error: str = ""
    error_type: str = ""
    warnings: list[str] = msgspec.field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`data` still as JSON. `server_s`: the store's clock, in whole seconds, None where it said none; `asked_s`: ours."""

    data: msgspec.Raw
    warnings: tuple[str, ...] = ()
    server_s: int | None = None
    asked_s: float = 0.0
    reaches_back: bool = False  # VictoriaMetrics names its host in each answer

    def samples(self, most: int) -> Iterator[Sample]:
        """An instant or range vector. Raises TelemetryError for anything else, QueryRefused for more series than `most`."""
        try:
            found = msgspec.json.decode(self.data, type=_Result).result
        except msgspec.DecodeError as error:
            raise TelemetryError("The store answered with something that is no vector.") from error
        if len(found) > most or any("truncated" in warning for warning in self.warnings):
            raise QueryRefused(f"The store has more than {most} series for a query. Narrow it with selector=.")
        return _taken_apart(found)

    def words(self) -> list[str]:
        """A list of names."""
        try:
            return msgspec.json.decode(self.data, type=list[str])
        except msgspec.DecodeError as error:
            raise TelemetryError("The store answered with something that is no list of names.") from error


def _taken_apart(found: list[msgspec.Raw]) -> Iterator[Sample]:
    one = msgspec.json.Decoder(Sample)
    for raw in found:
        try:
            yield one.decode(raw)
        except msgspec.DecodeError as error:
            raise TelemetryError("The store answered with something that is no vector.") from error


class Api:
    """A PromQL API below `url`. One thread at a time; a forked child opens connections of its own.

    `basic` is (user, password); `token_file` holds a bearer token and is read again for each request; `tenant` is sent as
    X-Scope-OrgID; `ca_file` is trusted instead of the system's authorities; `cert_file` and `key_file` are ours. Raises
    ConfigError for an address that is none, and where a credential would leave this machine without TLS.
    """

    def __init__(
        self, url: str, *, headers: Mapping[str, str] | None = None, token_file: str | os.PathLike[str] | None = None,
        ca_file: str | os.PathLike[str] | None = None, cert_file: str | os.PathLike[str] | None = None,
        key_file: str | os.PathLike[str] | None = None, basic: tuple[str, str] | None = None, tenant: str | None = None,
        max_bytes: int = MAX_BYTES, now: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        parts = _address(url)
        if parts.username is not None:
            basic = basic or (parts.username, parts.password or "")
        self.host = parts.hostname or ""
        netloc = parts.netloc.rpartition("@")[2]
        self.place = f"{netloc}{re.sub('(/api/v1)?/*$', '', parts.path)}"
        self._url = f"{parts.scheme}://{self.place}/api/v1/"
        self._headers = _checked(headers or {}, tenant)
        self._basic = basic
        self._token = None if token_file is None else Path(token_file).expanduser()
        self._tls = [None if file is None else str(Path(file).expanduser()) for file in (ca_file, cert_file, key_file)]
        self._max = max_bytes
        self._now = now
        self._client: Any = None
        self._context: Any = None
        self._pid = 0
        secret = bool(basic or token_file or {name.lower() for name in self._headers} - _HARMLESS)
        if secret and parts.scheme == "http" and not _near(self.host):
            raise ConfigError(
                f"A credential would be sent in clear to {self.host}. Write https, or reach it over loopback."
            )
        if importlib.util.find_spec("httpx2") is None:
            raise ConfigError(
                "Reading from a Prometheus needs httpx2, which is not installed: pip install 'attune-models[promql]'"
            )

    def ask(self, path: str, params: Mapping[str, str], until: float, *, method: str = "POST") -> Answer:
        """Ask, to be answered before `until` on the monotonic clock."""
        httpx2 = self._module()
        left = until - time.monotonic()
        if left <= 0:
            raise TelemetryError(f"{self.host} did not answer in time.")
        limits = httpx2.Timeout(left, connect=min(CONNECT_S, left))
        form: dict[str, Any] = {"data" if method == "POST" else "params": dict(params)}
        asked = self._now()
        try:
            with self._open().stream(
                method, self._url + path, headers=self._sent(), timeout=limits, **form
            ) as response:
                body = b"".join(self._read(response, until))
                status, headers = response.status_code, response.headers
        except httpx2.TimeoutException as error:
            raise TelemetryError(f"{self.host} did not answer in time.") from error
        except httpx2.HTTPError as error:
            raise TelemetryError(f"{self.host} cannot be reached ({type(error).__name__}).") from error
        return self._understood(status, headers, body, asked)

    def close(self) -> None:
        """Let go of the connections; the next request opens one again."""
        client, self._client = self._client, None
        if client is not None and self._pid == os.getpid():
            client.close()

    def _module(self) -> Any:
        try:
            return importlib.import_module("httpx2")
        except ImportError as error:
            raise TelemetryError("httpx2 is not installed: pip install 'attune-models[promql]'") from error

    def _open(self) -> Any:
        if self._client is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._client = self._module().Client(verify=self._trust(), trust_env=False, follow_redirects=False)
        return self._client

    def _trust(self) -> Any:
        if self._url.startswith("http:"):
            return False
        if self._context is not None:
            return self._context
        import ssl

        ca_file, cert_file, key_file = self._tls
        try:
            context = ssl.create_default_context(cafile=ca_file)
            if cert_file is not None:
                context.load_cert_chain(cert_file, key_file)
        except (OSError, ssl.SSLError) as error:
            raise TelemetryError(
                f"The certificates for {self.host} cannot be read. Check ca_file, cert_file and key_file."
            ) from error
        self._context = context
        return context

    def _sent(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "attune", **self._headers}
        if self._token is not None:
            try:
                token = self._token.read_text("utf-8").strip()
            except (OSError, ValueError) as error:
                raise TelemetryError(f"The token file {self._token} cannot be read.") from error
            if not token or not token.isascii() or not token.isprintable():
                raise TelemetryError(f"The token file {self._token} holds no token.")
            headers["Authorization"] = f"Bearer {token}"
        elif self._basic is not None:
            headers["Authorization"] = f"Basic {base64.b64encode(':'.join(self._basic).encode()).decode()}"
        return headers

    def _read(self, response: Any, until: float) -> Iterator[bytes]:
        """The body, refused where it grows too large or too slowly, or is packed although it was not to be."""
        if response.headers.get("content-encoding", "identity") != "identity":
            raise TelemetryError(f"{self.host} packs what was asked for unpacked. Look for a proxy in between.")
        size = 0
        for chunk in response.iter_raw():
            size += len(chunk)
            if size > self._max:
                raise QueryRefused(f"{self.host} answered with more than {self._max} bytes. Narrow it with selector=.")
            if time.monotonic() > until:
                raise TelemetryError(f"{self.host} did not answer in time.")
            yield chunk

    def _understood(self, status: int, headers: Any, body: bytes, asked: float) -> Answer:
        if 300 <= status < 400:
            raise TelemetryError(
                f"{self.host} redirects (HTTP {status}), which is not followed. Write the final address."
            )
        if status in (401, 403):
            raise TelemetryError(
                f"{self.host} refused the credentials (HTTP {status}). Check token_file, basic or headers."
            )
        try:
            said = msgspec.json.decode(body, type=_Body)
        except msgspec.DecodeError:
            said = _Body(status="error")
        if status == 404 and not said.error_type:
            raise TelemetryError(
                f"{self.host} has no PromQL API at this path (HTTP 404). Check the prefix: /prometheus?"
            )
        if status != 200 or said.status != "success":
            word = said.error_type if said.error_type in _WORDS else "no reason"
            refused = status in (400, 413, 422) or (status == 200 and word in ("bad_data", "execution"))
            raise (QueryRefused if refused else TelemetryError)(f"{self.host} answered HTTP {status} ({word}).")
        return Answer(
            data=said.data, warnings=tuple(said.warnings), server_s=_seconds(headers), asked_s=asked,
            reaches_back="x-server-hostname" in headers,
        )  # fmt: skip


def _address(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (ValueError, TypeError, AttributeError):
        known = False
    if not known:
        raise ConfigError("A Prometheus is at http(s)://HOST[:PORT][/PREFIX]: this address is none.")
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        raise ConfigError(f"The address of {parts.hostname} ends in ?… or #…, which is no part of it.")
    return parts


def _checked(headers: Mapping[str, str], tenant: str | None) -> dict[str, str]:
    known = {**headers, **({} if tenant is None else {"X-Scope-OrgID": tenant})}
    for name, value in known.items():
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", str(name)) or not str(value).isprintable():
            raise ConfigError(f"headers: {str(name)[:40]!r} is no HTTP header, or its value has line breaks.")
    return {str(name): str(value) for name, value in known.items()}


def _near(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _seconds(headers: Any) -> int | None:
    """The server's clock, as its Date header says."""
    try:
        return int(parsedate_to_datetime(headers["date"]).timestamp())
    except (KeyError, ValueError, TypeError):
        return None
