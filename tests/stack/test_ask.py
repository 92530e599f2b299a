"""The script that the public CI asks Grafana with, against a Grafana that is only a few canned answers."""

from __future__ import annotations

import importlib.util
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

GRAFANA = Path(__file__).parents[2] / "grafana"
spec = importlib.util.spec_from_file_location("ask_grafana", GRAFANA / "ask.py")
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
BOARDS = {
    board["uid"]: board for file in GRAFANA.glob("dashboards/*.json") for board in [json.loads(file.read_text("utf-8"))]
}


class Canned(BaseHTTPRequestHandler):
    """Answers as Grafana does; `server.wrong` says what is amiss."""

    def answer(self, body: object, status: int = 200) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def do_GET(self) -> None:
        wrong, uid = self.server.wrong, self.path.rpartition("/")[2]
        if self.path.endswith("/health"):
            self.answer({"status": "ERROR" if wrong == "source" else "OK"})
        elif wrong == "missing" and uid == "attune-circuits":
            self.answer({"message": "Dashboard not found"}, 404)
        else:
            self.answer({"dashboard": BOARDS[uid] | ({"title": "Old"} if wrong == "title" else {})})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked += [query["expr"] for query in asked["queries"]]
        values = [] if self.server.wrong == "empty" else [[1], [2.0]]
        self.answer({"results": {q["refId"]: {"frames": [{"data": {"values": values}}]} for q in asked["queries"]}})

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def grafana():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Canned)
    server.wrong, server.asked = None, []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def asked(server: ThreadingHTTPServer) -> int:
    return script.main([f"http://127.0.0.1:{server.server_port}", "--wait", "0"])


def test_all_is_well(grafana, capsys):
    """Every dashboard is asked for, and no variable of Grafana's is left in an expression."""
    assert asked(grafana) == 0
    assert "show data" in capsys.readouterr().out
    assert len(grafana.asked) > 50
    assert [expression for expression in grafana.asked if "$" in expression] == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("source", "does not answer"),
        ("missing", "attune-circuits: status 404"),
        ("title", "is 'Old'"),
        ("empty", "0 of"),
    ],
)
def test_what_is_amiss_is_told(grafana, capsys, wrong, told):
    grafana.wrong = wrong
    assert asked(grafana) == 1
    assert told in capsys.readouterr().out


def test_nobody_there(capsys):
    assert script.main(["http://127.0.0.1:9", "--wait", "0"]) == 1
    assert "URLError" in capsys.readouterr().out
