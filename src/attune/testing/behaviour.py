"""How a scripted model usually behaves: how often it answers, how well, how fast, how much.

Plain data that goes to JSON and back. Which request meets which fate is `fate.py`'s business.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from attune.errors import ConfigError
from attune.testing.script import Step, fail


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What a model does with a request that no script speaks of.

    - `success` (0..1): the chance of an answer; otherwise `failure` happens.
    - `quality` (0..1): the chance that an answer is good, or a mapping of topic to chance with None for all other
      topics (1.0 if missing). The topic of a prompt that holds `[topic:review]` is `review`.
    - `latency_ms`, `spread`: an answer takes `latency_ms * exp(spread * z)` with z normal: a log-normal with that
      median. `spread` 0.0 is always the median; 0.5 has its p90 at 1.9 times the median.
    - `first_ms`: the median for a stream's headers and first event; None: `latency_ms`. `chunk_ms`: the median wait
      before each piece of content. `chunks`: into how many pieces (1 or more) a text is cut.
    - `text`: what follows the marker. `output_tokens`: the text is repeated or cut until it counts that many tokens;
      None: as it is.
    - `uses_tools`: each tool that a request offers is called once, in their order, before there is a text. The
      conversation that the request holds says which were; the input fits the tool's schema.

    A request that wants its answer in JSON by a schema gets JSON that fits, neither good nor bad.
    """

    success: float = 1.0
    failure: Step = fail("overloaded")  # noqa: RUF009 - frozen
    quality: float | Mapping[str | None, float] = field(default=1.0, hash=False)
    latency_ms: float = 0.0
    spread: float = 0.0
    first_ms: float | None = None
    chunk_ms: float = 0.0
    chunks: int = 3
    text: str = "This is a scripted answer."
    output_tokens: int | None = None
    uses_tools: bool = False

    def __post_init__(self) -> None:
        """Refuse chances outside 0..1 and times that never pass."""
        for name, chance in (("success", self.success), *(("quality", value) for value in self._qualities())):
            if not 0 <= chance <= 1:
                raise ConfigError(f"Behaviour({name}={chance!r}): a chance is from 0 to 1.")
        for name in ("latency_ms", "spread", "first_ms", "chunk_ms"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"Behaviour({name}={value!r}): use a finite number, 0 or more.")
        for name in ("chunks", "output_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"Behaviour({name}={value!r}): use 1 or more.")

    def _qualities(self) -> tuple[float, ...]:
        return tuple(self.quality.values()) if isinstance(self.quality, Mapping) else (self.quality,)

    def chance_of_good(self, topic: str | None) -> float:
        """The chance that an answer to a prompt of this topic is good."""
        if isinstance(self.quality, Mapping):
            return self.quality.get(topic, self.quality.get(None, 1.0))
        return self.quality

    def to_dict(self) -> dict[str, Any]:
        """What differs from a plain behaviour, ready for JSON. The topic None is written as ""."""
        told = {
            known.name: getattr(self, known.name)
            for known in fields(self)
            if getattr(self, known.name) != known.default
        }
        if "failure" in told:
            told["failure"] = self.failure.to_dict()
        if isinstance(self.quality, Mapping):
            told["quality"] = {topic or "": chance for topic, chance in self.quality.items()}
        return told

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Behaviour:
        """The inverse of `to_dict`. Raises ConfigError on unknown names."""
        unknown = sorted(set(data) - {known.name for known in fields(cls)})
        if unknown:
            raise ConfigError(f"A behaviour has no {', '.join(map(repr, unknown))}. Make it with Behaviour.to_dict().")
        told = dict(data)
        if isinstance(told.get("failure"), Mapping):
            told["failure"] = Step.from_dict(told["failure"])
        if isinstance(told.get("quality"), Mapping):
            told["quality"] = {topic or None: chance for topic, chance in told["quality"].items()}
        return cls(**told)
