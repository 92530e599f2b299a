"""Rules for models that a caller named: what a rule is, what may stand in one, and which of them speaks of a model.

The name that is longest wins, so that the order in which rules were written means nothing; a name without `*`, `?` and `[`
wins over every pattern. Where a rule leads is the site's business.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from attune.calls.context import NO_SCOPE, Scope, checked
from attune.calls.words import unknown
from attune.errors import ConfigError
from attune.models.call import AUTO, Target

_WORDS: Final = (
    "candidates", "workflow", "stage", "max_cost", "max_latency_ms", "min_success_rate", "timeout_s", "on_infeasible",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Calls that name a model like `name` are routed among `candidates`, the named model being one of them.

    `candidates` None: those that an `auto` call of that site has. `scope`: what the rule says of these calls.
    """

    name: str
    candidates: tuple[str | Target, ...] | None = None
    scope: Scope = NO_SCOPE
    pattern: re.Pattern[str] = field(repr=False, compare=False)

    @property
    def exact(self) -> bool:
        """Whether it names one model."""
        return not any(sign in self.name for sign in "*?[")


def find(rules: Sequence[Rule], model: str) -> Rule | None:
    """The rule that speaks of this model."""
    return next((rule for rule in rules if rule.pattern.match(model)), None)


def rules_from(where: str, table: Any) -> tuple[Rule, ...]:
    """Rules as a person wrote them, in the order in which they are asked. ConfigError for what cannot be followed."""
    if not isinstance(table, Mapping):
        raise ConfigError(
            f"{where}: reroute={table!r} is not right: it maps names of models to rules, such as "
            '{"claude-opus-*": {"candidates": ["claude-sonnet-5-5"]}}.'
        )
    rules = [_rule(where, name, words) for name, words in table.items()]
    return tuple(sorted(rules, key=lambda rule: (not rule.exact, -len(rule.name), rule.name)))


def _rule(where: str, name: Any, words: Any) -> Rule:
    if not isinstance(name, str) or not name.strip() or name == AUTO:
        raise ConfigError(
            f'{where}: reroute: {name!r} names no model; write an id, or a pattern such as "claude-opus-*".'
        )
    here = f"{where}: reroute[{name!r}]"
    if not isinstance(words, Mapping):
        raise ConfigError(f"{here}={words!r}: a rule is a table of words: {', '.join(_WORDS)}.")
    for word in words:
        if word not in _WORDS:
            raise ConfigError(unknown(here, str(word), _WORDS))
    said = {word: value for word, value in words.items() if word != "candidates"}
    return Rule(
        name=name,
        candidates=_candidates(here, words.get("candidates")),
        scope=checked(here, **said),
        pattern=re.compile(fnmatch.translate(name)),
    )


def _candidates(here: str, written: Any) -> tuple[str | Target, ...] | None:
    if written is None:
        return None
    if isinstance(written, str) or not isinstance(written, Sequence) or not written:
        raise ConfigError(
            f"{here}: candidates={written!r} must be a list of model ids; leave it out for the site's own."
        )
    for candidate in written:
        if isinstance(candidate, Target):
            continue
        if not isinstance(candidate, str) or not candidate.strip() or candidate == AUTO or "*" in candidate:
            raise ConfigError(f"{here}: candidates: {candidate!r} is no model id.")
    return tuple(written)
