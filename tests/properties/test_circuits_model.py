"""The circuits against a model: random operations on both, and they must never disagree.

The model below is written for obviousness, from the contract and not from the code: it keeps lists of what happened and
scans them. `ATTUNE_MODEL_OPS` sets the number of operations (10000000 for the long run), `ATTUNE_MODEL_SEED` the first seed.
"""

from __future__ import annotations

import random

import pytest

from attune.models.circuits import Circuits, CircuitSettings, Permit

SESSION = 400  # operations on one pair of objects
PROVIDERS = ("a", "b")
SCOPES = (None, "m1", "m2", "m3")
ENDPOINTS = ("", "e1", "e2")
RANK = ("closed", "half_open", "open")


class One:
    """One circuit of the model. `history`: "F" and "S" of this key; `heard`: whose failures there were since a success."""

    def __init__(self):
        self.era, self.mode, self.until, self.cool, self.forced_at = 0, "closed", None, 0.0, None
        self.history, self.heard, self.probes = [], [], []

    def seen(self, t):
        return "half_open" if self.mode == "open" and self.until is not None and t >= self.until else self.mode

    def count(self):
        clean = "".join(self.history).rsplit("S", 1)[-1]
        return len(clean)

    def enter(self, mode):
        self.era += 1
        self.mode = mode


class Model:
    """All circuits of the model, in simulated time `t`."""

    def __init__(self, settings, measure_only):
        self.s, self.measure_only, self.t = settings, measure_only, 0.0
        self.ones, self.manual = {}, {}

    def one(self, provider, scope, endpoint):
        return self.ones.setdefault((provider, scope, endpoint), One())

    def meets(self, provider, scope, endpoint):
        """All circuits of the provider and of the scope: at all endpoints by name, else at this one and the name's."""
        return [
            one
            for (p, s, e), one in self.ones.items()
            if p == provider and s in (None, scope) and (not endpoint or e in ("", endpoint))
        ]

    def running(self, one):
        return [p for p in one.probes if not p["over"] and p["since"] + self.s.probe_lease_s > self.t]

    def may_share(self, one, endpoint):
        return [p for p in self.running(one) if endpoint and p["by_name"]]

    def admits(self, one, endpoint, forced=False):
        if one.cool > self.t:
            return False
        seen = one.seen(self.t)
        room = len(self.running(one)) < self.s.half_open_calls
        if seen == "closed":
            return True
        if seen == "half_open":
            return room or bool(self.may_share(one, endpoint))
        fresh = one.forced_at is None or self.t - one.forced_at >= 5
        return forced and room and fresh and one.until is not None

    def free(self, provider):
        return self.measure_only or self.manual.get(provider) == "metrics_only"

    def allows(self, provider, scope, endpoint):
        if self.free(provider) or self.manual.get(provider) == "disabled":
            return True
        return all(self.admits(one, endpoint) for one in self.meets(provider, scope, endpoint))

    def state(self, provider, scope, endpoint):
        if self.manual.get(provider) in ("disabled", "metrics_only"):
            return "closed"
        return max((o.seen(self.t) for o in self.meets(provider, scope, endpoint)), key=RANK.index, default="closed")

    def acquire(self, provider, scope, endpoint, forced=False):
        """None, or what is needed to settle."""
        home = [self.one(provider, None, endpoint), self.one(provider, scope, endpoint)]
        meets = self.meets(provider, scope, endpoint)
        disabled = self.manual.get(provider) == "disabled"
        if not disabled and not self.free(provider) and not all(self.admits(o, endpoint, forced) for o in meets):
            return None
        probes = []
        for one in [] if disabled else meets:
            seen = one.seen(self.t)
            if seen == "half_open" or (forced and seen == "open"):
                if len(self.running(one)) < self.s.half_open_calls:
                    if seen == "open":
                        one.forced_at = self.t
                    elif one.mode == "open":
                        one.enter("half_open")
                    probe = {"since": self.t, "over": False, "by_name": not endpoint}
                    one.probes.append(probe)
                    probes.append((one, probe, one.era, False))
                elif shared := self.may_share(one, endpoint):
                    probes.append((one, shared[0], one.era, True))
        eras = {id(o): (o, o.era) for o in home}
        return {"key": (provider, scope), "eras": eras, "probes": probes, "done": False}

    def settle(self, permit, outcome, touches):
        if permit["done"]:
            return
        permit["done"] = True
        provider, scope = permit["key"]
        begun = {key: (one, era, None) for key, (one, era) in permit["eras"].items()}
        for one, probe, era, shared in permit["probes"]:
            late = probe["over"] or probe["since"] + self.s.probe_lease_s <= self.t
            if outcome != "neutral" or not shared:
                probe["over"] = True
            begun[id(one)] = (one, None if late else era, probe)
        if outcome == "neutral":
            return
        for one, era, probe in begun.values():
            if one.era == era:
                self.count(provider, scope, one, outcome, touches, probe is not None)

    def record(self, provider, scope, endpoint, outcome, touches):
        home = {id(o): o for o in (self.one(provider, None, endpoint), self.one(provider, scope, endpoint))}
        for one in home.values():
            if outcome != "neutral":
                self.count(provider, scope, one, outcome, touches, False)

    def count(self, provider, scope, one, outcome, touches, probing):
        if self.manual.get(provider) in ("forced_open", "disabled") or (one.mode != "closed" and not probing):
            return
        narrow = any(o is one and s is not None for (_, s, _), o in self.ones.items())
        theirs = scope is not None and touches == "model"  # the failure is the model's
        if outcome == "success":
            if one.mode != "closed":
                one.enter("closed")
            one.history.append("S")
            one.heard, one.until = [], None
        elif narrow:
            if theirs:
                one.history.append("F")
                if one.mode == "half_open" or (one.mode == "closed" and one.count() >= self.s.failure_threshold):
                    self.trip(one)
        else:
            self.count_on_provider(one, scope, theirs)

    def count_on_provider(self, one, scope, theirs):
        if one.mode == "open":
            if not theirs:
                one.history.append("F")
                one.heard.append(scope)
            return
        if not theirs:
            one.history.append("F")
        one.heard = [*one.heard, scope][-5:]
        two_models = len({m for m in one.heard if m}) >= 2
        if one.mode == "half_open":
            if not theirs or two_models or len(one.heard) == 5:
                one.history += ["F"] if theirs else []
                self.trip(one)
        elif not theirs and one.count() >= self.s.failure_threshold:
            self.trip(one)
        elif len(one.heard) == 5 and two_models:
            one.history += ["F"] * (5 - one.count())
            self.trip(one)

    def trip(self, one):
        one.enter("open")
        one.heard, one.until = [], self.t + self.s.recovery_timeout_s

    def cool(self, provider, scope, endpoint, until):
        one = self.one(provider, scope, endpoint)
        if until > self.t:
            one.cool = max(one.cool, until)

    def renew(self, one, cooling):
        one.enter("closed")
        one.history, one.heard, one.until, one.forced_at = [], [], None, None
        for probe in one.probes:
            probe["over"] = True
        one.probes = []
        if cooling:
            one.cool = 0.0

    def reset(self, provider, scope):
        for (p, s, _), one in self.ones.items():
            if provider in (None, p) and scope in (None, s):
                self.renew(one, cooling=True)
        if scope is None:
            for p in PROVIDERS if provider is None else (provider,):
                self.manual.pop(p, None)

    def by_hand(self, provider, word):
        own = self.one(provider, None, "")
        self.manual[provider] = word
        if word == "forced_open":
            own.enter("open")
            own.heard, own.until, own.probes = [], None, []
            return
        for (p, _, _), one in self.ones.items():
            if p == provider:
                self.renew(one, cooling=False)


class Session:
    """One model and one set of circuits, and the permits that are out."""

    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.told = []
        settings = CircuitSettings(
            failure_threshold=self.dice.randint(1, 6),
            half_open_calls=self.dice.randint(1, 3),
            recovery_timeout_s=60.0,
            probe_lease_s=self.dice.choice((30.0, 120.0)),
        )
        measure_only = self.dice.random() < 0.08
        self.circuits = Circuits(settings, measure_only=measure_only)
        self.circuits.add_listener(self.told.append)
        self.model = Model(settings, measure_only)
        self.out = []
        self.bad = self.dice.random()
        self.scopes = SCOPES[: self.dice.randint(1, 4)]
        self.endpoints = self.dice.choice((("",), ("e1",), ENDPOINTS))
        self.providers = PROVIDERS[: self.dice.randint(1, 2)]
        self.kept_for, self.kept = None, {}

    def key(self):
        return self.dice.choice(self.providers), self.dice.choice(self.scopes), self.dice.choice(self.endpoints)

    def step(self):
        roll = self.dice.random()
        if roll < 0.42:
            self.acquire(forced=roll < 0.03)
        elif roll < 0.82:
            self.settle()
        elif roll < 0.87:
            self.record()
        elif roll < 0.965:
            self.model.t += self.dice.choice((0.5, 4.9, 5.0, 29.9, 30.0, 31.0, 60.0, 121.0))
        elif roll < 0.975:
            provider, scope, endpoint = self.key()
            until = self.model.t + self.dice.choice((-1.0, 3.0, 40.0))
            self.circuits.cool_down(provider, scope, endpoint=endpoint, until=until, now=self.model.t)
            self.model.cool(provider, scope, endpoint, until)
        elif roll < 0.985:
            self.by_hand()
        elif self.out:
            self.out.pop(self.dice.randrange(len(self.out)))  # lost: never reported
        self.compare()

    def acquire(self, forced):
        provider, scope, endpoint = self.key()
        ask = self.circuits.force_probe if forced else self.circuits.acquire
        got = ask(provider, scope, endpoint=endpoint, now=self.model.t)
        state = self.model.state(provider, scope, endpoint)
        wanted = self.model.acquire(provider, scope, endpoint, forced)
        assert isinstance(got, Permit) == (wanted is not None), (got, wanted)
        if wanted is not None:
            assert got.probe == bool(wanted["probes"])
            assert got.state == state
            self.out.append((got, wanted))

    def settle(self):
        if not self.out:
            return
        index = self.dice.randrange(len(self.out))
        got, wanted = self.out[index] if self.dice.random() < 0.05 else self.out.pop(index)  # some are settled twice
        roll, touches = self.dice.random(), self.dice.choice(("model", "model", "provider"))
        outcome = "neutral" if roll < 0.12 else "failure" if self.dice.random() < self.bad else "success"
        got.settle(outcome, now=self.model.t, touches=touches)
        self.model.settle(wanted, outcome, touches)

    def record(self):
        provider, scope, endpoint = self.key()
        outcome, touches = self.dice.choice(("success", "failure", "failure", "neutral")), "model"
        self.circuits.record(provider, scope, outcome, endpoint=endpoint, now=self.model.t, touches=touches)
        self.model.record(provider, scope, endpoint, outcome, touches)

    def by_hand(self):
        provider, scope, _ = self.key()
        word = self.dice.choice(("reset", "reset all", "auto", "forced_open", "disabled", "metrics_only"))
        now = self.model.t
        if word == "reset":
            self.circuits.reset(provider, scope, now=now)
            self.model.reset(provider, scope)
        elif word == "reset all":
            self.circuits.reset(now=now)
            self.model.reset(None, None)
        else:
            act = {"auto": "auto", "forced_open": "force_open", "disabled": "disable", "metrics_only": "metrics_only"}
            getattr(self.circuits, act[word])(provider, now=now)
            self.model.by_hand(provider, None if word == "auto" else word)

    def compare(self):
        provider, scope, endpoint = self.key()
        now = self.model.t
        allowed = self.model.allows(provider, scope, endpoint)
        assert self.circuits.allows(provider, scope, endpoint=endpoint, now=now) == allowed
        assert self.circuits.state(provider, scope, endpoint=endpoint, now=now) == self.model.state(
            provider, scope, endpoint
        )
        if self.circuits.quiet and self.dice.random() < 0.2:
            assert all(self.model.allows(p, s, e) for p in self.providers for s in self.scopes for e in self.endpoints)
        group = self.circuits._groups.get(provider) if self.dice.random() < 0.3 else None
        for (s, e), circuit in (group.circuits if group else {}).items():
            one = self.model.one(provider, s, e)
            assert (circuit.state, circuit.failures) == (one.mode, one.count()), (provider, s, e)
        self.compare_version(allowed, (provider, scope, endpoint), now)

    def compare_version(self, allowed, key, now):
        """An answer that was kept for a version and a moment is still the answer."""
        if self.kept_for != (self.circuits.version, now):
            self.kept_for, self.kept = (self.circuits.version, now), {}
        assert self.kept.setdefault(key, allowed) == allowed


def test_random_operations_agree_with_the_model(outside):
    """Admissions, states, counts, quiet and version: no difference, however many operations."""
    operations = int(outside.get("ATTUNE_MODEL_OPS", "200000"))
    first = int(outside.get("ATTUNE_MODEL_SEED", "1"))
    transitions = 0
    for seed in range(first, first + max(1, operations // SESSION)):
        session = Session(seed)
        for step in range(SESSION):
            try:
                session.step()
            except AssertionError as error:
                error.add_note(f"ATTUNE_MODEL_SEED={seed}, operation {step}, at {session.model.t} s")
                raise
        transitions += len(session.told)
    assert transitions > operations / 50


@pytest.mark.parametrize("wrong", ["threshold", "lease", "neutral"])
def test_the_model_would_notice(wrong, monkeypatch):
    """A model that differs in one rule disagrees soon: the comparison can fail."""
    if wrong == "threshold":
        monkeypatch.setattr(One, "count", lambda self: len("".join(self.history).rsplit("S", 1)[-1]) + 1)
    elif wrong == "lease":
        monkeypatch.setattr(Model, "running", lambda self, one: [p for p in one.probes if not p["over"]])
    else:
        settle = Model.settle
        monkeypatch.setattr(
            Model, "settle", lambda self, p, o, t: settle(self, p, "success" if o == "neutral" else o, t)
        )
    with pytest.raises(AssertionError):
        for seed in range(60):
            session = Session(seed)
            for _ in range(SESSION):
                session.step()
