"""What is to happen next, and what has happened: scripts, behaviours and outages by model, and the record of requests.

One lock, held for short looks only. Knows no HTTP.
"""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from attune.errors import ConfigError
from attune.testing.behaviour import Behaviour
from attune.testing.fate import Fate, draw
from attune.testing.playback import Playback
from attune.testing.script import Step, fail

_TOPIC = re.compile(r"\[topic:([^\]]+)\]")
_ANSWER = Step()
RECORDED = 20_000  # requests kept with their bodies; totals go on


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it arrived, and what was decided for it.

    `ordinal` counts the model's requests from 1. `headers` are a few of interest, never a key. `status` is the HTTP
    status that was sent, None where none was; `act` what happened (a Step's `act`); `good` whether the answer was a
    good one, None where the dice were not asked; `at_s` is the time of arrival in monotonic seconds.
    """

    model: str
    ordinal: int
    stream: bool
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any] = field(repr=False)
    topic: str | None
    status: int | None
    act: str
    good: bool | None
    at_s: float


@dataclass(frozen=True, slots=True)
class Turn:
    """What one request is to meet."""

    ordinal: int
    step: Step
    behaviour: Behaviour
    fate: Fate


@dataclass(slots=True)
class _Part:
    """One model's part: what it does, and what it did."""

    behaviour: Behaviour
    script: deque[Step] = field(default_factory=deque)
    arrived: int = 0
    totals: dict[str, int] = field(default_factory=dict)


def topic_of(prompt: str) -> str | None:
    """The topic that a prompt names as `[topic:NAME]`, the first if there are several."""
    found = _TOPIC.search(prompt)
    return found[1] if found else None


class Scenario:
    """The mutable heart of a scripted provider. Thread-safe."""

    def __init__(self, *, seed: int, models: Mapping[str, Behaviour], default: Behaviour | None) -> None:
        self._seed = seed
        self._default = default
        self._lock = threading.Lock()
        self._parts = {model: _Part(behaviour) for model, behaviour in models.items()}
        self._any: deque[Step] = deque()
        self._outages: dict[str | None, tuple[float, Step]] = {}
        self._received: deque[Received] = deque(maxlen=RECORDED)

    def set(self, model: str, behaviour: Behaviour) -> None:
        """From now on, this model behaves so."""
        with self._lock:
            self._part(model).behaviour = behaviour

    def script(self, model: str | None, *steps: Step) -> None:
        """Append to what this model's (None: any model's) next requests meet. Names a model that was not known."""
        with self._lock:
            queue = self._any if model is None else self._part(model).script
            queue.extend(steps)

    def outage(self, model: str | None, success: float, failure: str | int | Step) -> None:
        """From now on, `failure` unless the dice say success; None: for every model."""
        if not 0 <= success <= 1:
            raise ConfigError(f"outage(success={success!r}): a chance is from 0 to 1.")
        step = failure if isinstance(failure, Step) else fail(failure)
        with self._lock:
            self._outages[model] = (success, step)

    def recover(self, model: str | None) -> None:
        """End the outage that was declared for this model; None: every outage."""
        with self._lock:
            if model is None:
                self._outages.clear()
            self._outages.pop(model, None)

    def turn(self, model: str) -> Turn | None:
        """Count a request of this model and say what it meets; None for a model that is not here."""
        with self._lock:
            if model not in self._parts and self._default is None:
                return None
            part = self._part(model)
            part.arrived += 1
            ordinal, behaviour = part.arrived, part.behaviour
            scripted = part.script.popleft() if part.script else self._any.popleft() if self._any else None
            outage = self._outages.get(model) or self._outages.get(None)
        fate = draw(self._seed, model, ordinal)
        success, failure = outage or (behaviour.success, behaviour.failure)
        return Turn(ordinal, scripted or (_ANSWER if fate.success < success else failure), behaviour, fate)

    def record(self, received: Received, playback: Playback) -> None:
        """Keep what arrived and what it is answered with."""
        with self._lock:
            self._received.append(received)
            totals = self._part(received.model).totals
            facts = {
                "requests": 1,
                "answers": received.act == "answer",
                "good": received.good is True,
                "bad": received.good is False,
                "input_tokens": playback.input_tokens,
                "output_tokens": playback.output_tokens,
            }
            for name, count in facts.items():
                totals[name] = totals.get(name, 0) + count

    @property
    def received(self) -> tuple[Received, ...]:
        """What arrived, in order; the last RECORDED requests."""
        with self._lock:
            return tuple(self._received)

    @property
    def served(self) -> dict[str, dict[str, int]]:
        """Totals per model: requests, answers, good, bad, input_tokens, output_tokens."""
        with self._lock:
            return {model: dict(part.totals) for model, part in self._parts.items() if part.totals}

    @property
    def models(self) -> tuple[str, ...]:
        """The models that were named so far."""
        with self._lock:
            return tuple(self._parts)

    def _part(self, model: str) -> _Part:
        if model not in self._parts:
            self._parts[model] = _Part(self._default or Behaviour())
        return self._parts[model]
