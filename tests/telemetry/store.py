"""A store with a PromQL API that says what it is told to: a real HTTP server on loopback, with no metrics of its own."""

from __future__ import annotations

import http.server
import json
import re
import threading
from email.utils import formatdate
from urllib.parse import parse_qsl, urlsplit

AT = 1_790_000_400  # 14:20:00 UTC
LABELS = {
    "attune_workflow": "review",
    "attune_stage": "analysis",
    "gen_ai_provider_name": "anthropic",
    "gen_ai_request_model": "claude-haiku-4-5",
}
METRICS = (
    "attune_attempts_total",
    "attune_attempt_cost_total",
    "attune_quality_score_total",
    "attune_quality_count_total",
    "attune_route_decisions_total",
    "attune_attempt_duration_seconds_sum",
    "attune_attempt_duration_seconds_bucket",
)
WORDS = {
    "attempts": r"^sum by .*last_over_time.*attune_attempts_total",
    "lost": r"^sum by .* unless .*$",
    "cost": r"^sum by .*attune_attempt_cost_total",
    "score": r"^sum by .*attune_quality_score_total",
    "verdicts": r"^sum by .*attune_quality_count_total",
    "explored": r"^sum by .*attune_route_decisions_total",
    "seconds": r"^sum by .*_seconds_sum",
    "buckets": r"^sum by .*_seconds_bucket",
    "seen": r"^max by ",
    "newest": r"^max\(",
}


def kind(query):
    """Which figure a query asks for."""
    order = ("lost", *[word for word in WORDS if word != "lost"])
    return next((word for word in order if re.search(WORDS[word], query, re.DOTALL)), "clock")


def attempts(outcome="success", kind="initial", error=None, **labels):
    """Labels of attempts."""
    more = {"error_type": error} if error else {}
    return {**LABELS, "attune_outcome": outcome, "attune_attempt_kind": kind, **more, **labels}


class Store:
    """`says`: what each figure's query is answered with, [(labels, value), ...]; `history`: the same for range queries,
    a function of a span's end. `reply`: a function of (path, params) that answers instead, (status, headers, body);
    a body is bytes, a dictionary, or pieces that are sent one by one.
    """

    def __init__(self):
        self.at, self.asked, self.headers = AT, [], []
        self.metrics = list(METRICS)
        self.says = {"newest": [({}, lambda: self.at - 2)], "seen": [(LABELS, 100)]}
        self.history = {}
        self.reply = None
        self.extra = {}  # beside `data`: warnings, infos
        self.labels = sorted([*LABELS, "attune_outcome", "attune_attempt_kind", "error_type", "service_instance_id"])
        self.labels += ["attune_route_explored", "attune_mode", "le"]
        store = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet

            def do_GET(self):
                store._serve(self, dict(parse_qsl(urlsplit(self.path).query)))

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                store._serve(self, dict(parse_qsl(body.decode())))

            def log_message(self, *args):
                pass

            def date_time_string(self, timestamp=None):
                return formatdate(store.at, usegmt=True)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def words(self):
        """The figures asked for, in order."""
        return [kind(params["query"]) for path, params in self.asked if "query" in params]

    def answer(self, path, params):
        """What a well store says."""
        if path.endswith("__name__/values"):
            return {"status": "success", "data": self.metrics}
        if path.endswith("/labels"):
            return {"status": "success", "data": self.labels}
        if path.endswith("/values"):
            return {"status": "success", "data": ["127.0.0.1:8889"]}
        word = kind(params["query"])
        if path.endswith("query_range"):
            ends = range(int(params["start"]), int(params["end"]) + 1, int(params["step"]))
            found = [(labels, [[end, str(of(end))] for end in ends]) for labels, of in self.history.get(word, ())]
            result = [{"metric": labels, "values": values} for labels, values in found]
            return {"status": "success", "data": {"resultType": "matrix", "result": result}, **self.extra}
        result, at = [], int(float(params.get("time", self.at)))
        full = at % 3600 == 0 and word in self.history  # a span that is over, asked for by itself
        for labels, value in (
            [(labels, of(at)) for labels, of in self.history[word]] if full else self.says.get(word, ())
        ):
            value = value() if callable(value) else value
            result.append({"metric": labels, "value": [float(params.get("time", self.at)), str(value)]})
        return {"status": "success", "data": {"resultType": "vector", "result": result}, **self.extra}

    def _serve(self, handler, params):
        path = urlsplit(handler.path).path
        self.asked.append((path, params))
        self.headers.append(dict(handler.headers))
        said = self.reply(path, params) if self.reply is not None else None
        status, headers, body = said if said is not None else (200, {}, self.answer(path, params))
        body = json.dumps(body).encode() if isinstance(body, dict) else body
        whole = isinstance(body, bytes)
        headers = {
            "Content-Type": "application/json",
            **({"Content-Length": str(len(body))} if whole else {}),
            **headers,
        }
        try:
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            for piece in [body] if whole else body:
                handler.wfile.write(piece)
                handler.wfile.flush()
        except OSError:  # the reader has gone
            handler.close_connection = True
