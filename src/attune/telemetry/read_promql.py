"""PromQLReader: the fleet's evidence, from Prometheus and what speaks its API (Mimir, Thanos, VictoriaMetrics).

Each look gives absolute totals of spans of time; a span's rows replace those of the look before, and what moved on is
taken back, so nothing is counted twice. A look that fails changes nothing: the last good rows stay, and grow old.
A prior, not the truth: token counts, empty answers and time to first content are not on attune's metrics by series.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from attune.errors import ConfigError, TelemetryError
from attune.models.performance import BUCKET_S, Batch, Row, Series, Tally
from attune.telemetry import names as n
from attune.telemetry.promql_http import MAX_BYTES, Api
from attune.telemetry.promql_look import Look
from attune.telemetry.promql_past import Past
from attune.telemetry.promql_queries import checked_selector
from attune.telemetry.promql_spans import DAY_S, Span, cut

TOTAL_S: Final = 5.0
_PAUSE_S: Final = 60.0  # after history could not be read
_OPTIONS: Final = frozenset(
    {"token_file", "ca_file", "cert_file", "key_file", "tenant", "selector", "window_s", "every_s"}
)
_NOTHING: Final = Tally()


class PromQLReader:
    """Reads a PromQL API at `url` (with its prefix, without `/api/v1`). One thread at a time; raises ConfigError.

    `headers`, `token_file` (bearer, read again each time), `basic` (user, password), `tenant` (X-Scope-OrgID), `ca_file`,
    `cert_file`, `key_file`: who asks, and whom to trust; https is demanded where a credential would leave this machine.
    `selector` bounds every query (`app="shop"`). `window_s` seconds back are read (60 to 30 days, default 7 days), at
    most every `every_s` seconds (default 15); a poll in between gives nothing new. `leave_out`: values of
    service.instance.id that are known otherwise, as this process's own. `now` gives epoch seconds. `max_rows` series an
    answer and `max_bytes` are refused beyond, never cut. `sparse` holds the series too seldom seen to be relied on.
    """

    scope: Literal["host", "fleet"] = "fleet"

    def __init__(
        self, url: str, *, headers: Mapping[str, str] | None = None, token_file: str | os.PathLike[str] | None = None,
        ca_file: str | os.PathLike[str] | None = None, cert_file: str | os.PathLike[str] | None = None,
        key_file: str | os.PathLike[str] | None = None, basic: tuple[str, str] | None = None, tenant: str | None = None,
        window_s: float = 7 * DAY_S, every_s: float = 15.0, selector: str = "", leave_out: Collection[str] = (),
        name: str | None = None, max_bytes: int = MAX_BYTES, max_rows: int = 20_000,
        now: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        if not 60 <= window_s <= 30 * DAY_S:
            raise ConfigError(f"window_s={window_s!r}: write seconds from 60 to {30 * DAY_S}.")
        if not 0 <= every_s <= DAY_S:
            raise ConfigError(f"every_s={every_s!r}: write seconds from 0 to {DAY_S}.")
        api = Api(
            url, headers=headers, token_file=token_file, ca_file=ca_file, cert_file=cert_file, key_file=key_file,
            basic=basic, tenant=tenant, max_bytes=max_bytes, now=now,
        )  # fmt: skip
        selector = checked_selector(selector)
        self.name = name or _name(api.place, selector, tenant)
        self.look = Look(api, selector=selector, max_rows=max_rows)
        self.sparse: tuple[Series, ...] = ()
        self._now = now
        self._window_s, self._every_s = int(window_s), every_s
        self._leave_out = frozenset(leave_out)
        self.leave_out(())
        self._past = Past()
        self._given: dict[tuple[Series, int], Tally] = {}
        self._seq = 0
        self._cursor: bytes | None = None
        self._watermark_ns = 0
        self._complete = True
        self._next = self._next_history = 0.0

    @classmethod
    def from_text(cls, text: str, *, now: Callable[[], float] = time.time) -> PromQLReader:
        """`promql+http(s)://[USER:PASSWORD@]HOST[:PORT][/PREFIX][?selector=…&token_file=…&tenant=…&window_s=…]`."""
        try:
            parts = urlsplit(text.removeprefix("promql+"))
            pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError as error:
            raise ConfigError(
                "promql+http(s)://HOST[:PORT][/PREFIX][?OPTION=VALUE&…]: this address is none."
            ) from error
        words: dict[str, Any] = dict(pairs)
        for word in words:
            if word not in _OPTIONS:
                raise ConfigError(f"{word!r} is no option of a promql reader. Known: {', '.join(sorted(_OPTIONS))}.")
        for word in ("window_s", "every_s"):
            if word in words:
                words[word] = _seconds(word, words[word])
        if parts.username is not None:
            words["basic"] = (unquote(parts.username), unquote(parts.password or ""))
        plain = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", parts.fragment))
        return cls(plain, now=now, **words)

    def leave_out(self, instances: Collection[str]) -> None:
        """Leave these instances out from the next look on, beside those that were named at the beginning."""
        self.look.leave_out = self._leave_out | frozenset(instances)

    def poll(self, since: bytes | None = None, deadline_s: float = TOTAL_S) -> Batch:
        """Rows that changed since the cursor. TelemetryError where the store cannot be read; then nothing has changed.

        A cursor other than the last one given brings everything again. History is read newest first, as far as half the
        deadline goes, and goes on with the next poll: until then the batch is not `complete`.
        """
        anew = since is None or since != self._cursor
        began = time.monotonic()
        if began < self._next and not anew:
            return Batch(cursor=self._cursor, watermark_ns=self._watermark_ns, complete=self._complete)
        budget = min(deadline_s, TOTAL_S)
        try:
            warnings, pending, at = self._refresh(began + budget, began + budget / 2)
        finally:
            self.look.api.close()  # until the next look a connection would only grow stale
        rows = self._changed(at, anew=anew)
        self._next = 0.0 if pending else began + self._every_s
        self._complete = not (warnings or pending or self.sparse)
        self._cursor = str(self._seq).encode()
        return Batch(
            rows=rows,
            cursor=self._cursor,
            watermark_ns=self._watermark_ns,
            complete=self._complete,
            warnings=tuple(warnings),
        )

    def close(self) -> None:
        """Let go of the connections."""
        self.look.api.close()

    def _refresh(self, until: float, half: float) -> tuple[list[str], bool, int]:
        """Look at the open span, then at history; what was to be warned of, whether more is to be read, and the time."""
        look = self.look
        look.warnings, look.bad = [], 0
        at = look.clock(until)
        if look.naming is None:
            return [f"no {n.ATTEMPTS} there yet; `attune telemetry verify` says what to do"], False, at
        newest = look.newest(at, until)
        if newest is None:  # nobody there, or a store that lost its memory: what is known stays, and grows old
            return [], False, at
        self._watermark_ns = round((newest - look.ahead_s) * 1e9)
        span, closed = cut(at, self._window_s)
        past = self._past
        for run in past.behind(span, closed):
            past.keep(look.measure(run, until), whole=not look.warnings)
        found = look.measure([span], until)[span]
        past.keep_open(span, found, leave_out=look.leave_out)
        seen = look.sightings(at, until)
        past.tidy(closed)
        pending = self._read_history(closed, until, half)
        self.sparse = past.sparse(seen)
        warnings = list(dict.fromkeys(look.warnings))
        if look.bad:
            warnings.append(f"{look.bad} values are no numbers or out of bounds, and are left out")
        return warnings, pending, at

    def _read_history(self, closed: Collection[Span], until: float, half: float) -> bool:
        """Read what is missing, newest first; whether something is left for the next time."""
        if time.monotonic() < self._next_history:
            return False
        for done, run in enumerate(self._past.unread(closed)):
            if done and time.monotonic() > half:
                return True
            before = len(self.look.warnings)
            try:
                found = self.look.measure(run, until)
                self._past.keep(found, whole=len(self.look.warnings) == before)
            except TelemetryError as error:
                self.look.warnings.append(f"history: {error}")
            if len(self.look.warnings) > before:
                self._next_history = time.monotonic() + _PAUSE_S
                return False
        return False

    def _changed(self, at: int, *, anew: bool) -> list[Row]:
        """The rows that differ from those given (all of them where `anew`), and empty ones where one is no more."""
        shift = round(self.look.ahead_s / BUCKET_S) * BUCKET_S  # a wrong clock: rows are dated by ours
        wanted = self._past.totals(shift)
        forgotten = at - shift - self._window_s - DAY_S
        for key in self._given:
            if key[1] >= forgotten:
                wanted.setdefault(key, _NOTHING)
        changed = wanted if anew else {key: it for key, it in wanted.items() if self._given.get(key, _NOTHING) != it}
        self._seq = max(self._seq + 1, at * 1000)
        self._given = wanted
        return [
            Row(series=series, bucket_s=bucket, writer=self.name, seq=self._seq, tally=tally)
            for (series, bucket), tally in changed.items()
        ]


def _name(place: str, selector: str, tenant: str | None) -> str:
    """The reader's name, which its rows bear: one for each place and each part of it that is read."""
    if not selector and not tenant:
        return f"promql:{place}"
    return f"promql:{place}#{hashlib.sha256(repr((selector, tenant)).encode()).hexdigest()[:8]}"


def _seconds(word: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ConfigError(f"{word}={value!r}: write a number of seconds.") from None
