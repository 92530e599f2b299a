"""AdaptiveModelRouter: questions about the process's evidence, a reader's, or any object with entries."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from attune.errors import ConfigError, NoModelAvailable
from attune.models import process
from attune.models.adaptive import AdaptiveModelRouter
from attune.models.call import Target
from attune.models.circuits import Circuits
from attune.models.performance import Batch, Observation, Series
from attune.models.registry import Catalogue, ModelInfo, ModelTier
from attune.models.windows import Windows

T0 = 1_800_000_000.0
TIERS = {"cheap": ("small", 1.0, 5.0), "capable": ("middle", 3.0, 15.0), "premium": ("large", 15.0, 75.0)}
STATS = {
    "workflow", "stage", "days_analyzed", "models_used", "performance_by_model", "total_calls", "sample_size", "avg_cost",
    "avg_success_rate",
}  # fmt: skip


class Clock:
    """Time stands still until told."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return T0 + self.now


@pytest.fixture
def live(monkeypatch):
    """A process with a catalogue of three anthropic models and evidence of its own."""
    models = [ModelInfo(name, "anthropic", ModelTier(tier), given, got) for tier, (name, given, got) in TIERS.items()]
    it = SimpleNamespace(
        clock=Clock(), circuits=Circuits(), catalogue=Catalogue(models), default_tier=ModelTier.CHEAP,
        windows=Windows(writer="me"), settled=0, targets=tuple,
    )  # fmt: skip
    it.snapshot = lambda: it.windows.snapshot(it.clock.time())
    it.settle_in = lambda: setattr(it, "settled", it.settled + 1)
    monkeypatch.setattr(process, "_slot", [lambda: it])
    return it


def entry(model: str = "small", success: object = True, *, ts: object = None, **facts) -> dict[str, object]:
    ts = {} if ts is None else {"ts": ts}
    return {"workflow": "w", "stage": "s", "model": model, "tier": "cheap", "success": success, **ts, **facts}


def entries(model: str, good: int, bad: int = 0, *, cost: float = 0.001, duration_ms: float = 800) -> list[dict]:
    return [entry(model, n >= bad, ts=T0 + n, cost=cost, duration_ms=duration_ms) for n in range(good + bad)]


def telemetry(*some: dict) -> MagicMock:
    it = MagicMock()
    it.get_recent_entries.return_value = list(some)
    return it


def test_without_evidence_the_cheap_tier_is_named(live):
    """Nothing is proven: the default tier's model, of anthropic."""
    assert AdaptiveModelRouter().get_best_model("w", "s") == "small"
    assert AdaptiveModelRouter(telemetry()).get_best_model("w", "s") == "small"
    live.default_tier = ModelTier.PREMIUM
    assert AdaptiveModelRouter().get_best_model("w", "s") == "large"


def test_the_process_own_evidence_is_asked(live):
    """After the host store had its moment to be read."""
    for number in range(12):
        at = int((T0 + number) * 1e6)
        series = Series("w", "s", "anthropic", "middle")
        live.windows.record(Observation(series=series, at_us=at, outcome="success", latency_us=1_000_000))
    decision = AdaptiveModelRouter().explain("w", "s")
    assert (decision.model, decision.reason, live.settled) == ("middle", "proven", 1)
    assert "p90 ms" in str(decision)


def test_ten_samples_at_the_floor_are_enough(live):
    """Nine are not; seven of ten are under the default floor of 0.8, unless it is lowered."""
    assert AdaptiveModelRouter(telemetry(*entries("middle", 8, 2))).get_best_model("w", "s") == "middle"
    assert AdaptiveModelRouter(telemetry(*entries("middle", 9))).get_best_model("w", "s") == "small"
    router = AdaptiveModelRouter(telemetry(*entries("middle", 7, 3)))
    assert router.get_best_model("w", "s") == "small"
    assert router.get_best_model("w", "s", min_success_rate=0.7) == "middle"


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        ({"max_cost": 0.01}, "max_cost"),
        ({"max_latency_ms": 3000}, "max_latency_ms"),
        ({"min_success_rate": 1.0}, "min_success_rate"),
    ],
)
def test_each_limit_eliminates_by_its_name(live, limits, name):
    """Without the limit the model is the pick; on_infeasible="raise" names the limit."""
    some = entries("middle", 19, 1, cost=0.05, duration_ms=4000)
    router = AdaptiveModelRouter(telemetry(*some))
    assert router.get_best_model("w", "s") == "middle"
    assert router.get_best_model("w", "s", **limits) == "small"
    out = {it.model: it.eliminated_by for it in router.explain("w", "s", **limits).candidates}
    assert out["middle"] == name
    with pytest.raises(NoModelAvailable, match=name):
        router.get_best_model("w", "s", **limits, on_infeasible="raise")


def test_an_open_circuit_redirects(live):
    """Also where the evidence is somebody else's."""
    some = [*entries("middle", 20), *entries("large", 20, cost=0.1)]
    router = AdaptiveModelRouter(telemetry(*some))
    assert router.get_best_model("w", "s") == "middle"
    for _ in range(5):
        live.circuits.acquire("anthropic", "middle", now=100.0).settle("failure", now=100.0)
    assert router.get_best_model("w", "s") == "large"


def test_ids_are_given_back_as_they_were_seen(live):
    """Also ids that no catalogue knows, with the provider that was told."""
    router = AdaptiveModelRouter(telemetry(*[{**it, "provider": "mine"} for it in entries("odd/name:7b", 12)]))
    decision = router.explain("w", "s")
    assert (decision.model, decision.provider) == ("odd/name:7b", "mine")


def test_configured_candidates_bring_their_providers_defaults(live):
    """And stand beside what the evidence has seen."""
    live.targets = lambda: (Target("mine", provider="other"), Target("small"))
    seen = {it.model for it in AdaptiveModelRouter().explain("w", "s").candidates}
    assert seen == {"mine", "small", "middle", "large"}


def test_a_telemetry_object_is_read_at_most_every_five_seconds(live):
    """First at the first question, never at construction."""
    source = telemetry(*entries("middle", 12))
    router = AdaptiveModelRouter(source)
    assert router.telemetry is source and not source.get_recent_entries.called
    router.get_best_model("w", "s")
    router.get_routing_stats("w")
    assert source.get_recent_entries.call_count == 1
    assert set(source.get_recent_entries.call_args.kwargs) == {"limit", "days"}
    live.clock.now += 5
    router.get_best_model("w", "s")
    assert source.get_recent_entries.call_count == 2


def test_a_reader_is_polled_from_its_cursor(live):
    """Anything with `poll` gives rows."""
    windows = Windows(writer="far")
    for number in range(12):
        at = int((T0 + number) * 1e6)
        series = Series("w", "s", "anthropic", "middle")
        windows.record(Observation(series=series, at_us=at, outcome="success", latency_us=1_000_000))

    class Reader:
        name, scope, asked = "mine", "host", []

        def poll(self, since, deadline_s):
            self.asked.append(since)
            return Batch(rows=windows.own_rows()[0], cursor=b"next")

    reader = Reader()
    router = AdaptiveModelRouter(reader)
    assert router.get_best_model("w", "s") == "middle"
    live.clock.now += 6
    assert router.get_routing_stats("w")["total_calls"] == 12
    assert reader.asked == [None, b"next"]


@pytest.mark.parametrize(
    "odd",
    [
        {}, {"workflow": "w"}, {"workflow": "w", "stage": "s", "model": MagicMock()}, {"workflow": 7, "model": "small"},
        {"workflow": "w", "stage": "s", "model": ""}, "text", None, 7,
    ],
)  # fmt: skip
def test_entries_that_say_nothing_are_left_out(live, odd):
    """Missing keys and values of other types are tolerated, never guessed."""
    router = AdaptiveModelRouter(telemetry(odd, *entries("middle", 12)))
    assert router.get_routing_stats("w", "s")["total_calls"] == 12
    assert router.get_best_model("w", "s") == "middle"


@pytest.mark.parametrize("nothing", [MagicMock(), None, "text", {"a": 1}, 7])
def test_a_telemetry_object_that_gives_no_list_is_no_evidence(live, nothing):
    """Such as a bare MagicMock."""
    source = MagicMock()
    source.get_recent_entries.return_value = nothing
    assert AdaptiveModelRouter(source).get_best_model("w", "s") == "small"
    assert AdaptiveModelRouter(MagicMock()).get_routing_stats("w")["total_calls"] == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0, "much", None])
def test_numbers_that_are_none_are_ignored(live, bad):
    """The other entries' mean stands."""
    some = [*entries("middle", 12, cost=0.002), entry("middle", cost=bad, duration_ms=bad, ts=T0)]
    by_model = AdaptiveModelRouter(telemetry(*some)).get_routing_stats("w", "s")["performance_by_model"]
    assert by_model["middle"]["calls"] == 13
    assert by_model["middle"]["avg_cost"] == pytest.approx(0.002)
    assert by_model["middle"]["avg_latency_ms"] == pytest.approx(800)


def test_entries_without_success_count_for_cost_and_latency_only(live):
    """They say nothing about quality."""
    some = [{key: value for key, value in it.items() if key != "success"} for it in entries("middle", 12, cost=0.004)]
    it = AdaptiveModelRouter(telemetry(*some)).get_routing_stats("w", "s")["performance_by_model"]["middle"]
    assert (it["calls"], it["sample_size"], it["success_rate"]) == (12, 0, 0.0)
    assert it["avg_cost"] == pytest.approx(0.004) and it["avg_latency_ms"] == pytest.approx(800)


@pytest.mark.parametrize("stage", ["s", None])
@pytest.mark.parametrize("some", [[], entries("middle", 3, 1)])
def test_the_stats_have_every_key_and_no_holes(live, stage, some):
    """0.0 where nothing is known, never None or NaN; JSON can hold it; candidates without samples are listed."""
    stats = AdaptiveModelRouter(telemetry(*some)).get_routing_stats("w", stage)
    assert set(stats) >= STATS and stats["stage"] == (stage or "all") and stats["days_analyzed"] == 7
    json.loads(json.dumps(stats, allow_nan=False))
    assert set(stats["performance_by_model"]) == {"small", "middle", "large"}
    for it in stats["performance_by_model"].values():
        assert set(it) >= {"calls", "success_rate", "avg_cost", "avg_latency_ms", "p95_latency_ms", "sample_size"}
        assert None not in it.values()
    assert stats["models_used"] == (["middle"] if some else [])
    assert stats["sample_size"] == len(some) and stats["avg_success_rate"] == (0.75 if some else 0.0)


def test_the_stats_look_back_as_many_days_as_asked(live):
    """Whole buckets of five minutes."""
    some = [entry(ts=T0 - 3 * 86_400 + n) for n in range(4)] + [entry(ts=T0 - n) for n in range(3)]
    router = AdaptiveModelRouter(telemetry(*some))
    assert router.get_routing_stats("w", "s", days=1)["total_calls"] == 3
    assert router.get_routing_stats("w", "s")["total_calls"] == 7


def test_a_tier_upgrade_is_advised_by_the_last_twenty(live):
    """Under 10 samples nothing; over 20 % failures yes; 20 % exactly no."""

    def advice(good: int, bad: int) -> tuple[bool, str]:
        return AdaptiveModelRouter(telemetry(*entries("small", good, bad))).recommend_tier_upgrade("w", "s")

    upgrade, text = advice(9, 0)
    assert not upgrade and text.startswith("Insufficient data")
    upgrade, text = advice(14, 6)
    assert upgrade and text.startswith("High failure rate: 30.0%")
    upgrade, text = advice(18, 2)
    assert not upgrade and text.startswith("Performance acceptable: 10.0%")
    assert advice(8, 2)[0] is False


@pytest.mark.parametrize("timed", [True, False])
def test_the_last_twenty_are_the_newest(live, timed):
    """By `ts`; without it, entries come newest first."""
    old = [entry(success=False) for _ in range(20)]
    new = [entry() for _ in range(20)]
    some = [*new, *old]
    if timed:
        some = [{**it, "ts": T0 + n} for n, it in enumerate([*old, *new])]
    assert AdaptiveModelRouter(telemetry(*some)).recommend_tier_upgrade("w", "s")[0] is False


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_cost": math.nan}, {"max_cost": -1}, {"max_cost": "1"}, {"max_cost": True}, {"max_latency_ms": math.inf},
        {"max_latency_ms": -5}, {"min_success_rate": 1.1}, {"min_success_rate": -0.1}, {"min_success_rate": None},
        {"min_success_rate": math.nan}, {"on_infeasible": "never"}, {"workflow": ""}, {"stage": None},
    ],
)  # fmt: skip
def test_what_nobody_can_mean_is_refused(live, wrong):
    """ConfigError with the name and the value."""
    (name, value), *_ = wrong.items()
    with pytest.raises(ConfigError, match=name) as caught:
        AdaptiveModelRouter().get_best_model(**{"workflow": "w", "stage": "s", **wrong})
    assert repr(value) in str(caught.value)


def test_days_must_be_days(live):
    """Neither NaN nor nothing."""
    for days in (0, -1, math.nan, "7", True):
        with pytest.raises(ConfigError, match="days"):
            AdaptiveModelRouter().get_routing_stats("w", days=days)


def test_the_documented_constants(live):
    """As the seed names them; `performance` gives ModelPerformance."""
    assert AdaptiveModelRouter.MIN_SAMPLE_SIZE == 10
    assert AdaptiveModelRouter.FAILURE_RATE_THRESHOLD == 0.2
    assert AdaptiveModelRouter.RECENT_WINDOW_SIZE == 20
    best, *_ = AdaptiveModelRouter(telemetry(*entries("middle", 9, 1, cost=0.01))).performance("w")
    assert (best.model_id, best.tier, best.sample_size) == ("middle", ModelTier.CAPABLE, 10)
    assert best.quality_score == pytest.approx(89.9)
