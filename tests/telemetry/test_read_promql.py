"""The fleet's reader: what a store says becomes rows that replace each other, and whatever it does, nothing worse."""

from __future__ import annotations

import gzip
import importlib.util
import json
import threading
import time

import pytest
from telemetry.store import AT, LABELS, Store, attempts, kind

from attune.errors import ConfigError, TelemetryError
from attune.models.performance import Series, merge
from attune.models.windows import Windows
from attune.telemetry import PromQLReader, from_text
from attune.telemetry.refresh import Refresher

SERIES = Series("review", "analysis", "anthropic", "claude-haiku-4-5")
HOUR = 3600
BEGIN = (AT - 900) // HOUR * HOUR


@pytest.fixture
def store():
    one = Store()
    yield one
    one.close()


@pytest.fixture
def reader(store):
    made = []

    def make(url=None, **settings):
        settings = {"every_s": 0, "window_s": HOUR, "now": lambda: store.at, **settings}
        made.append(PromQLReader(url or store.url, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


def only(batch):
    """The one row's tally."""
    [row] = batch.rows
    assert row.series == SERIES
    return row.tally


def busy(store, answers=50, failures=4):
    store.says["attempts"] = [(attempts(), answers), (attempts("failure", error="overloaded"), failures)]


def test_counts_cost_verdicts_and_latencies_come_back(store, reader):
    """Failures of probes are the breaker's; cost is known where attempts are billed; the provider's word is ours."""
    store.says |= {
        "attempts": [
            (attempts(), 90), (attempts(kind="fallback"), 10.4), (attempts("failure", error="overloaded"), 5),
            (attempts("failure", "probe", "timeout"), 3), (attempts("neutral", error="cancelled"), 2),
            (attempts("rejected"), 7),
        ],
        "cost": [(LABELS, 0.25)], "score": [(LABELS, 30.5)], "verdicts": [(LABELS, 40)], "explored": [(LABELS, 21)],
        "seconds": [(LABELS, 120.5)],
        "buckets": [({**LABELS, "le": le}, n) for le, n in [("1.0", 40), ("1.5", 90), ("2", 100), ("+Inf", 100)]],
    }  # fmt: skip
    batch = reader().poll()
    tally = only(batch)
    assert (tally.answers, tally.failures, tally.failures_open, tally.neutral) == (100, 5, 3, 2)
    assert (tally.costed, tally.cost_nano) == (105, 250_000_000)
    assert (tally.judged, tally.quality_micro) == (40, 30_500_000)
    assert (tally.explored, tally.explored_cost_nano) == (21, 50_000_000)
    assert (tally.timed, tally.latency_us, sum(n for _, n in tally.buckets)) == (100, 120_500_000, 100)
    assert batch.complete and not batch.warnings
    assert (
        batch.watermark_ns == (AT - 3) * 10**9
    )  # its Date header has no fractions: older by one second, never younger


def test_the_providers_words_are_ours(store, reader):
    store.says["attempts"] = [(attempts(gen_ai_provider_name="aws.bedrock"), 50)]
    [row] = reader().poll().rows
    assert row.series.provider == "bedrock"


def test_a_second_look_replaces_the_first(store, reader):
    """Same key, higher seq; what did not change is not told again; a new consumer is told everything."""
    busy(store, 50)
    one = reader()
    first = one.poll(None)
    same = one.poll(first.cursor)
    busy(store, 60)
    store.at += 10
    second = one.poll(same.cursor)
    assert same.rows == [] and second.rows[0].seq > first.rows[0].seq
    [total] = merge([*second.rows, *first.rows, *first.rows]).values()
    assert total.answers == 60
    assert only(one.poll(None)).answers == 60


def test_a_span_that_moves_on_takes_its_rows_back(store, reader):
    """A window under an hour slides: what was dated at its old beginning is told as nothing."""
    busy(store)
    one = reader(window_s=600)
    rows = list(one.poll(None).rows)
    store.at += 900
    batch = one.poll(str(rows[0].seq).encode())
    rows += batch.rows
    assert len(batch.rows) == 2 and sum(tally.answers for tally in merge(rows).values()) == 50


def test_between_two_looks_nothing_is_asked(store, reader):
    busy(store)
    one = reader(every_s=60)
    first = one.poll(None)
    asked = len(store.asked)
    again = one.poll(first.cursor)
    assert len(store.asked) == asked and again.rows == () and again.watermark_ns == first.watermark_ns


def test_queries_are_sums_at_the_stores_own_time(store, reader):
    """Every query but the clock's has `time`, `limit` and no ratio; stand-ins and left-out instances are not asked for."""
    busy(store)
    store.at += 7 * 86_400
    one = reader(selector='{app="shop",}', leave_out=["me.1"], tenant="team")
    one.leave_out(["next-door"])
    one.poll()
    queries = [params for path, params in store.asked if path.endswith("/query")]
    assert {params["time"] for params in queries} == {str(store.at)} and {params["limit"] for params in queries} == {
        "20000"
    }
    for params in queries:
        assert 'attune_workflow!="_other"' in params["query"] and 'app="shop"' in params["query"]
        assert 'service_instance_id!~"me\\\\.1|next\\\\-door"' in params["query"] and " / " not in params["query"]
    assert all(headers["X-Scope-OrgID"] == "team" for headers in store.headers)


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "-3", "1e300", "many", ""])
def test_what_is_no_number_is_left_out_and_told(store, reader, value):
    busy(store)
    store.says["attempts"].append((attempts("neutral"), value))
    store.says["cost"] = [(LABELS, value)]
    batch = reader().poll()
    tally = only(batch)
    assert (tally.answers, tally.neutral, tally.costed) == (50, 0, 0)
    assert not batch.complete and "2 values" in batch.warnings[0]


def test_missing_is_unknown_and_never_nothing(store, reader):
    """No cost series, or one that stayed at the zero it was announced with: no cost is known, not a free model."""
    busy(store)
    assert only(reader().poll()).costed == 0
    store.says["cost"] = [(LABELS, 0)]
    assert only(reader().poll()).costed == 0
    store.says["attempts"] = []
    assert reader().poll().rows == []


def test_a_metric_that_is_not_there_is_not_asked_for(store, reader):
    busy(store)
    store.metrics = ["attune_attempts_total"]
    reader().poll()
    assert set(store.words) == {"attempts", "lost", "newest", "seen"}


def test_no_metric_at_all_is_a_state_of_its_own(store, reader):
    """Nothing is asked but the names; it is told; and it is looked for again each time."""
    store.metrics = ["up"]
    one = reader()
    batch = one.poll(None)
    assert batch.rows == [] and not batch.complete and "verify" in batch.warnings[0]
    store.metrics = ["attune_attempts_total"]
    busy(store)
    assert only(one.poll(batch.cursor)).answers == 50


@pytest.mark.parametrize(
    ("metrics", "label", "query"),
    [
        (["attune.attempts_total"], "attune.workflow", '__name__="attune.attempts_total","attune.workflow"!='),
        (["attune_attempts"], "attune_workflow", '__name__="attune_attempts",attune_workflow!='),
        (["attune.attempts"], "attune.workflow", '__name__="attune.attempts","attune.workflow"!='),
    ],
)
def test_other_translations_of_names_are_seen(store, reader, metrics, label, query):
    store.metrics = metrics
    one = reader()
    one.poll()
    assert one.look.naming.label("attune.workflow") == label
    assert query in store.asked[-1][1]["query"]


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, {"status": "error", "errorType": "bad_data", "error": "canary"}, "bad_data"),
        (401, b"canary", "credentials"),
        (403, b"", "credentials"),
        (404, b"<html>canary", "prefix"),
        (422, {"status": "error", "errorType": "execution", "error": "canary"}, "execution"),
        (429, b"", "429"),
        (503, b"canary", "503"),
        (200, b"<html>canary", "200"),
        (200, {"status": "error", "errorType": "canary"}, "no reason"),
        (200, {"status": "success", "data": {"resultType": "scalar", "result": [1, "2"]}}, "no vector"),
    ],
)
def test_a_refusal_says_what_to_do_and_changes_nothing(store, reader, status, body, words):
    """Nothing of the answer's text is repeated; after it, the rows are what they were."""
    busy(store)
    one = reader(token_file=None)
    first = one.poll(None)
    store.reply = lambda path, params: (status, {}, body) if "last_over_time" in params.get("query", "") else None
    with pytest.raises(TelemetryError, match=words) as caught:
        one.poll(first.cursor)
    assert "canary" not in f"{caught.value!r} {caught.value}"
    store.reply = None
    assert one.poll(first.cursor).rows == []


def test_a_part_that_is_refused_is_left_out_and_the_rest_goes_on(store, reader):
    """Distributions are what is heaviest to ask for: without them counts still come."""
    busy(store)
    store.reply = lambda path, params: (422, {}, b"") if "_bucket" in params.get("query", "") else None
    batch = reader().poll()
    assert only(batch).answers == 50 and not batch.complete and "buckets" in batch.warnings[0]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(store, reader, status, tmp_path):
    """The credential stays with whom it was meant for."""
    other = Store()
    try:
        (tmp_path / "token").write_text("secret-token\n")
        store.reply = lambda path, params: (status, {"Location": f"{other.url}{path}"}, b"")
        with pytest.raises(TelemetryError, match="redirects") as caught:
            reader(token_file=tmp_path / "token").poll()
        assert other.asked == [] and "secret" not in str(caught.value)
    finally:
        other.close()


def test_an_answer_too_large_is_refused_not_cut(store, reader):
    busy(store)
    with pytest.raises(TelemetryError, match="more than 100 bytes"):
        reader(max_bytes=100).poll()
    store.says["attempts"] = [(attempts(gen_ai_request_model=f"m{i}"), 1) for i in range(4)]
    with pytest.raises(TelemetryError, match="selector="):
        reader(max_rows=3).poll()
    store.says["attempts"] = [(attempts(), 1)]
    store.extra = {"warnings": ["results truncated due to limit"]}
    with pytest.raises(TelemetryError, match="selector="):
        reader().poll()


def test_a_packed_answer_is_refused(store, reader):
    """A few kilobytes could become gigabytes."""
    packed = gzip.compress(json.dumps({"status": "success", "data": []}).encode())
    store.reply = lambda path, params: (200, {"Content-Encoding": "gzip"}, packed)
    with pytest.raises(TelemetryError, match="unpacked"):
        reader().poll()
    assert store.headers[0]["Accept-Encoding"] == "identity"


def test_a_frozen_store_costs_the_deadline_and_no_more(store, reader):
    hold = threading.Event()
    store.reply = lambda path, params: hold.wait(5) and None
    began = time.monotonic()
    with pytest.raises(TelemetryError, match="in time"):
        reader().poll(None, 0.1)
    assert time.monotonic() - began < 2
    hold.set()


def test_a_store_that_trickles_costs_the_deadline_and_no_more(store, reader):
    hold = threading.Event()

    def drops():
        while not hold.wait(0.02):
            yield b"1\r\n \r\n"

    store.reply = lambda path, params: (200, {"Transfer-Encoding": "chunked"}, drops())
    began = time.monotonic()
    with pytest.raises(TelemetryError, match="in time"):
        reader().poll(None, 0.1)
    assert time.monotonic() - began < 2
    hold.set()


def test_a_store_that_is_not_there(reader):
    with pytest.raises(TelemetryError, match="cannot be reached"):
        reader("http://127.0.0.1:9").poll()


@pytest.mark.parametrize("off", [-7200, 90, 7200])
def test_a_wrong_clock_moves_neither_rows_nor_ages(store, reader, off):
    """The store's clock is read from its answers: asked at its time, dated at ours."""
    busy(store)
    ours = store.at
    store.at += off
    batch = reader(now=lambda: ours).poll()
    assert batch.watermark_ns == (ours - 3) * 10**9
    assert abs(batch.rows[0].bucket_s - BEGIN) <= HOUR + 300 and batch.rows[0].bucket_s <= ours
    assert {params["time"] for _, params in store.asked if "time" in params} == {str(store.at)}


def test_age_is_that_of_the_newest_sample_and_grows(store, reader):
    """A store that answers at once with old samples is old; what it forgot keeps its age."""
    busy(store)
    store.says["newest"] = [({}, AT - 200)]
    one = reader()
    first = one.poll(None)
    store.at += 400
    store.says["newest"] = []
    second = one.poll(first.cursor)
    assert first.watermark_ns == second.watermark_ns == (AT - 201) * 10**9 and second.rows == []
    assert reader().poll(None).watermark_ns == 0


def test_an_answer_that_is_not_whole_lowers_nothing(store, reader):
    """Counters only grow: what is known of the same span stays where the answer says less; infos are no warnings."""
    busy(store, 50)
    one = reader()
    rows = list(one.poll(None).rows)
    store.extra = {"warnings": ["a store gateway did not answer"], "infos": ["might not be a counter"]}
    busy(store, 20)
    batch = one.poll(str(rows[0].seq).encode())
    assert batch.rows == [] and not batch.complete and "not whole" in batch.warnings[0]
    busy(store, 70)
    batch = one.poll(batch.cursor)
    assert only(batch).answers == 70
    store.extra = {"infos": ["might not be a counter"]}
    busy(store, 60)
    batch = one.poll(batch.cursor)
    assert batch.rows == [] and batch.complete
    one.leave_out(["next-door"])  # others than before are asked for
    assert only(one.poll(batch.cursor)).answers == 60


def test_history_is_read_once(store, reader):
    """Hours and days behind the open hour, newest first; the next look asks for the open one alone."""
    busy(store, 100)
    store.history["attempts"] = [(attempts(), lambda end: 10)]
    one = reader(window_s=7 * 86_400)
    first, rows = one.poll(None), []
    rows += first.rows
    while not first.complete:  # as far as half the deadline goes, each time
        first = one.poll(first.cursor)
        rows += first.rows
    tallies = merge(rows)
    hours = sum(1 for path, params in store.asked if path.endswith("query_range") and params["step"] == "3600")
    assert hours >= 2
    assert sum(tally.answers for tally in tallies.values()) == 100 + 10 * (len(tallies) - 1) and 30 < len(tallies) < 56
    assert len({bucket for _, bucket in tallies}) == len(tallies) and min(b for _, b in tallies) > AT - 7 * 86_400
    before = len(store.asked)
    one.poll(first.cursor)
    assert [path for path, _ in store.asked[before:] if path.endswith("query_range")] == []


def test_when_the_hour_turns_nothing_is_missing_or_double(store, reader):
    """The hour that closes is read before the open span begins after it."""
    busy(store, 30)
    one = reader(window_s=86_400)
    rows = list(one.poll(None).rows)
    store.at += HOUR
    busy(store, 5)
    store.says["attempts"][0] = (attempts(), lambda: 5 if store.asked[-1][1]["time"] == str(store.at) else 33)
    batch = one.poll(str(rows[0].seq).encode())
    assert sum(tally.answers for tally in merge([*rows, *batch.rows]).values()) == 38
    asked = [params["time"] for path, params in store.asked if "time" in params and kind(params["query"]) == "attempts"]
    assert asked[-2:] == [str(BEGIN + HOUR), str(store.at)]


def test_history_that_cannot_be_read_leaves_the_present(store, reader):
    busy(store)
    store.reply = lambda path, params: (503, {}, b"") if path.endswith("query_range") else None
    one = reader(window_s=86_400)
    batch = one.poll(None)
    assert only(batch).answers == 50 and not batch.complete and "history" in batch.warnings[0]
    asked = len(store.asked)
    one.poll(batch.cursor)
    assert not [path for path, _ in store.asked[asked:] if path.endswith("query_range")]  # not again at once


def test_what_is_too_rare_or_may_lack_its_beginning_is_told_as_incomplete(store, reader):
    busy(store, 30)
    one = reader()
    batch = one.poll(None)
    assert not batch.complete and not batch.warnings and one.sparse == (SERIES,)
    busy(store, 100)
    batch = one.poll(batch.cursor)
    assert batch.complete and one.sparse == ()
    store.says["lost"] = [(LABELS, 4)]
    batch = one.poll(batch.cursor)
    assert batch.complete  # 4 of 108
    store.says["lost"] = [(LABELS, 40)]
    assert not one.poll(batch.cursor).complete
    store.says |= {"lost": [], "seen": [(LABELS, 12)]}
    assert not one.poll(batch.cursor).complete and one.sparse == (SERIES,)


def test_the_refresher_names_this_process_and_its_neighbours(store, reader):
    """What is known from memory and from this machine's store is not asked for again; errors of ours are told in words."""
    from telemetry.test_refresh import Clock, Source, row

    from attune.models.performance import Batch

    busy(store)
    neighbours = Source(Batch(rows=[row(writer="next-door")], cursor=b"1"))
    windows = Windows(writer="me")
    refresher = Refresher(windows, [neighbours, reader(now=time.time)], clock=Clock())
    store.at = int(time.time())
    assert refresher.poll_once()
    assert 'service_instance_id!~"me|next\\\\-door"' in store.asked[-1][1]["query"]
    refresher.close(1.0)


def test_the_fleet_weighs_in_a_decision(store, reader):
    """Half its weight, at most 100 samples; where nothing else is known it is what is known."""
    busy(store, 180, 20)
    windows = Windows(writer="me")
    windows.absorb(reader().poll().rows, scope="fleet")
    stat = windows.snapshot(AT).cell("review", "analysis").stat("anthropic", "claude-haiku-4-5")
    assert stat.n == pytest.approx(100, rel=0.02) and stat.s / stat.n == pytest.approx(0.9, rel=0.01)


def test_latencies_of_a_row_that_grows_count_once(store, reader):
    """The open hour is told again and again; the model's latencies over all cells hear only of what is new."""
    windows, one, cursor = Windows(writer="me"), reader(), None
    for n in (10, 20, 20, 30):
        store.says |= {"seconds": [(LABELS, n)], "buckets": [({**LABELS, "le": le}, n) for le in ("1.5", "+Inf")]}
        busy(store, n)
        batch = one.poll(cursor)
        cursor = batch.cursor
        windows.absorb(batch.rows, scope="fleet")
    assert windows.snapshot(AT).pooled("anthropic", "claude-haiku-4-5").timed == 30


@pytest.mark.parametrize(
    ("words", "url"),
    [
        ({"basic": ("me", "hunter2")}, "http://prometheus.example:9090"),
        ({"headers": {"Authorization": "hunter2"}}, "http://10.0.0.1:9090"),
        ({"headers": {"X-Api-Key": "hunter2"}}, "http://prometheus.example"),
        ({"token_file": "/hunter2"}, "http://prometheus.example"),
        ({}, "http://me:hunter2@prometheus.example"),
        ({"headers": {"X-Bad\n": "hunter2"}}, "http://127.0.0.1"),
        ({"headers": {"X-Bad": "hunter2\r\nX-More: 1"}}, "http://127.0.0.1"),
        ({}, "ftp://hunter2@host"),
        ({}, "http://"),
        ({}, "http://host:port"),
        ({}, "http://host/?token=hunter2"),
        ({"window_s": 5}, "http://127.0.0.1"),
        ({"every_s": -1}, "http://127.0.0.1"),
        ({"selector": "x} or vector(1) or up{"}, "http://127.0.0.1"),
    ],
)
def test_what_a_person_wrote_wrong_is_refused_and_keys_are_not_repeated(words, url):
    with pytest.raises(ConfigError) as caught:
        PromQLReader(url, **words)
    assert "hunter2" not in f"{caught.value!r}{caught.value}{caught.value.__cause__}"


def test_credentials_that_may_travel(store, reader, tmp_path):
    """Over TLS anywhere, in clear on loopback; the token is read again for each request; a tenant is no secret."""
    token = tmp_path / "token"
    token.write_text("first\n")
    one = reader(token_file=token)
    one.poll()
    assert {headers["Authorization"] for headers in store.headers} == {"Bearer first"}
    token.write_text("second")
    one.poll()
    assert store.headers[-1]["Authorization"] == "Bearer second"
    token.write_text("bro\nken")
    with pytest.raises(TelemetryError, match="token file") as caught:
        one.poll()
    assert "bro" not in str(caught.value)
    token.unlink()
    with pytest.raises(TelemetryError, match="cannot be read"):
        one.poll()
    reader(basic=("me", "hunter2")).poll()
    assert store.headers[-1]["Authorization"].startswith("Basic ")
    for url in ("https://me:hunter2@prometheus.example", "http://[::1]:9090", "http://localhost"):
        made = PromQLReader(url, basic=("me", "hunter2"))
        assert "hunter2" not in f"{made.name}{made!r}"
    PromQLReader("http://prometheus.example", tenant="a|b")


def test_certificates_that_cannot_be_read_say_so(reader):
    with pytest.raises(TelemetryError, match="ca_file"):
        reader("https://127.0.0.1:9", ca_file="/nowhere.pem").poll()


def test_the_text_form(store):
    """Options stand behind a question mark; an unknown one is refused; one place has one name, a part of it another."""
    text = f"promql+{store.url}/api/v1?window_s=3600&every_s=0&selector=app%3D%22shop%22&tenant=team"
    one = from_text(text, now=lambda: store.at)
    assert isinstance(one, PromQLReader) and one.scope == "fleet"
    busy(store)
    assert only(one.poll()).answers == 50 and 'app="shop"' in store.asked[-1][1]["query"]
    assert store.asked[0][0] == "/api/v1/label/__name__/values"
    one.close()
    names = {
        from_text(f"promql+{store.url}{rest}").name for rest in ("", "/", "/api/v1", "/x", "?tenant=a", "?tenant=b")
    }
    assert len(names) == 4 and f"promql:{store.url.partition('://')[2]}" in names
    for wrong in ("?tenants=a", "?window_s=long", "?selector", "#x", "?window_s=1"):
        with pytest.raises(ConfigError):
            from_text(f"promql+{store.url}{wrong}")


def test_without_the_package_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'attune-models\[promql\]'"):
        PromQLReader("http://127.0.0.1:9090")


def test_nothing_is_sent_or_loaded_before_the_first_poll(store, reader):
    one = reader()
    assert store.asked == [] and one.look.api._client is None
    one.close()


def test_a_tally_of_nothing_is_no_row(store, reader):
    """Series that were only announced are not told."""
    store.says["attempts"] = [(attempts(), 0)]
    assert reader().poll().rows == []
