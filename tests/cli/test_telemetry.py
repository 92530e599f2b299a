"""`attune telemetry`: what is set up here, what is missing in a store, and the exit status that scripts rely on."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from telemetry.store import AT, Store, attempts
from typer.testing import CliRunner

from attune.cli.main import app
from attune.telemetry import OtlpFileReader, PromQLReader
from attune.telemetry.verify import verify

RUN = CliRunner()


@pytest.fixture
def store():
    one = Store()
    yield one
    one.close()


def attune(*words):
    """The command's status and output."""
    done = RUN.invoke(app, ["telemetry", *words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def findings(store, **words):
    """What `verify` finds, by what it looked for."""
    reader = PromQLReader(store.url, now=lambda: AT, **words)
    try:
        return {it.what: it for it in verify(reader, now=lambda: AT)}
    finally:
        reader.close()


def missing(found):
    return {what for what, it in found.items() if not it.ok}


def test_where_everything_is_there_nothing_is_missing(store):
    found = findings(store)
    assert missing(found) == set() and found["naming"].seen == "UnderscoreEscapingWithSuffixes"
    assert "attune_attempt_duration_seconds_bucket" in found and "newest sample" in found


@pytest.mark.parametrize("index", range(7))
def test_a_missing_metric_is_named_with_what_to_do(store, index):
    """Without attempts there is nothing to check further: the remedy is to send something."""
    gone = store.metrics.pop(index)
    found = findings(store)
    assert missing(found) == {gone} and found[gone].remedy
    assert ("setup()" in found[gone].remedy) == (gone == "attune_attempts_total")


@pytest.mark.parametrize("label", ["attune_workflow", "gen_ai_request_model", "attune_outcome", "attune_attempt_kind"])
def test_a_missing_label_is_named_where_it_is_missing(store, label):
    store.labels.remove(label)
    found = findings(store)
    lines = [it for it in found.values() if not it.ok]
    assert lines and all(it.what.startswith("labels of ") and f"{label} missing" in it.seen for it in lines)
    assert all("dropped" in it.remedy for it in lines)


def test_processes_that_cannot_be_told_apart_are_named(store):
    """The scraped address is no identity; over OTLP `instance` bears it, and that will do."""
    store.labels.remove("service_instance_id")
    found = findings(store)
    assert (
        missing(found) == {"service_instance_id"}
        and "promote_resource_attributes" in found["service_instance_id"].remedy
    )
    well = store.answer
    store.reply = lambda path, params: (
        (200, {}, {"status": "success", "data": ["5e0c-77", "a1b2"]})
        if path.endswith("instance/values")
        else (200, {}, well(path, params))
    )
    assert missing(findings(store)) == set()


def test_old_news_wrong_clocks_and_selectors_that_match_nothing(store):
    store.says["newest"] = [({}, AT - 4000)]
    assert missing(findings(store)) == {"newest sample"}
    store.says["newest"] = []
    assert "within a day" in findings(store)["newest sample"].seen
    store.says["newest"] = [({}, lambda: store.at - 2)]
    store.at += 600
    assert missing(findings(store)) == {"clock"} and "+600 s" in findings(store)["clock"].seen
    store.at -= 600
    store.labels = []
    assert any("selector=" in it.remedy for it in findings(store, selector='app="x"').values())


def test_few_samples_are_a_hint_and_no_fault(store):
    store.says["seen"] = [(attempts(), 30)]
    found = findings(store)
    assert missing(found) == set() and "OTEL_METRIC_EXPORT_INTERVAL" in found["samples in the last hour"].remedy


def test_a_store_that_refuses_is_the_one_finding(store):
    store.reply = lambda path, params: (401, {}, b"")
    [(what, it)] = findings(store).items()
    assert what.startswith("promql:") and not it.ok and "credentials" in it.seen


def test_files_are_checked_too(tmp_path):
    [it] = verify(OtlpFileReader(tmp_path))
    assert (it.what, it.ok) == ("attempts", False) and "setup()" in it.remedy


def test_verify_speaks_to_people_and_to_scripts(store):
    """Exit status 0 where all is there, 1 where something is missing, 2 where the reader is written wrong."""
    said = f"promql+{store.url}"
    store.at = int(time.time())
    status, out, _ = attune("verify", "--from", said)
    assert status == 0 and "MISSING" not in out and "ok" in out
    store.metrics.remove("attune_attempt_cost_total")
    status, out, _ = attune("verify", "--from", said, "--json")
    told = json.loads(out)
    assert status == 1 and told["ok"] is False and told["reader"] == f"promql:{store.url.partition('://')[2]}"
    [gone] = [it for it in told["findings"] if not it["ok"]]
    assert gone == {"what": "attune_attempt_cost_total", "ok": False, "seen": "missing", "remedy": gone["remedy"]}
    status, out, err = attune("verify", "--from", "http://127.0.0.1:9090")
    assert status == 2 and out == "" and "promql+http" in err
    status, out, _ = attune("verify")
    assert status == 1 and "promql+http://" in out


def test_verify_reads_the_configured_readers(store, monkeypatch):
    store.at = int(time.time())
    monkeypatch.setenv("ATTUNE_READERS", f"promql+{store.url}")
    status, out, _ = attune("verify", "--json")
    assert status == 0 and [it["ok"] for it in json.loads(out)] == [True]


def test_status_of_a_machine_where_nothing_is_set_up():
    """It makes no file."""
    status, out, _ = attune("status", "--json")
    told = json.loads(out)
    home = Path(os.environ["ATTUNE_HOME"])
    assert (
        status == 0
        and told["home"] == str(home)
        and told["readers"] == [] == told["files"]
        and told["state_db"] is None
    )
    assert not home.exists()
    assert "No reader is set up" in attune("status")[1]


def test_status_shows_files_stores_and_readers(store, monkeypatch):
    """Sizes of what is there, what each reader brings, and no password of an address."""
    home = Path(os.environ["ATTUNE_HOME"])
    (home / "telemetry").mkdir(parents=True)
    (home / "telemetry" / "traces-1.jsonl").write_text("{}\n")
    (home / "state.db").write_bytes(b"x" * 100)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://me:hunter2@collector.example:4318/x?key=hunter2")
    status, out, _ = attune("status", "--json")
    told = json.loads(out)
    assert status == 0 and told["state_db"]["bytes"] == 100 and told["files"][0]["bytes"] == 3
    assert told["otlp_endpoint"] == {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector.example:4318/x"}
    [reader] = told["readers"]
    assert reader["name"].startswith("file:") and reader["attempts"] == 0 and reader["error"] is None
    store.at = int(time.time())
    store.says["attempts"] = [(attempts(), 50)]
    status, out, _ = attune("status", "--from", f"promql+{store.url}?window_s=3600", "--json")
    [reader] = json.loads(out)["readers"]
    assert status == 0 and (reader["series"], reader["attempts"], reader["scope"]) == (1, 50, "fleet")
    assert 1 <= reader["age_s"] <= 10 and reader["sparse"] == [] and reader["complete"]
    text = attune("status", "--from", f"promql+{store.url}?window_s=3600")[1]
    assert "hunter2" not in text and "fleet" in text


def test_status_is_1_where_a_reader_cannot_read():
    status, out, _ = attune("status", "--from", "promql+http://127.0.0.1:9", "--json")
    assert status == 1 and "cannot be reached" in json.loads(out)["readers"][0]["error"]


def test_routes_read_a_store_too(store):
    """What the fleet counted, as a question's evidence."""
    store.at = int(time.time())
    store.says["attempts"] = [(attempts(), 57), (attempts("failure", error="overloaded"), 3)]
    done = RUN.invoke(app, ["routes", "stats", "review", "--from", f"promql+{store.url}?window_s=3600", "--json"])
    told = json.loads(done.stdout)
    assert done.exit_code == 0 and told["total_calls"] == 60 and told["avg_success_rate"] == pytest.approx(0.95)
