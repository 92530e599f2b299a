"""A call site: one decorated function or one guarded client, and the questions that its calls put to the router.

It turns candidates as people write them into Targets, and a scope into a Question, once for each runtime. What to choose
is the router's business, what to do with the choice the plan's.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from attune.calls.context import Scope
from attune.calls.reroute import Rule
from attune.calls.targets import Speakers, completed, kin, twins
from attune.calls.words import several
from attune.clients.dialect import Dialect
from attune.errors import ConfigError
from attune.models.call import AUTO, Target
from attune.models.registry import Catalogue, ModelTier
from attune.models.router import Question

UNNAMED = "default"
_QUESTIONS_MAX = 1024  # distinct scopes remembered for a site; past that the memory starts anew
_PLACES_MAX = 256  # endpoints remembered for a site; likewise


class Ground(Speakers, Protocol):
    """What a site needs of the runtime."""

    @property
    def catalogue(self) -> Catalogue:
        """Models and prices."""
        ...

    @property
    def default_tier(self) -> ModelTier:
        """Whose model is the default."""
        ...

    @property
    def configured(self) -> tuple[str | Target, ...]:
        """Candidates for sites that name none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question, and whether the caller named the model."""

    question: Question
    pinned: bool


@dataclass(slots=True)
class _Memory:
    """What was worked out for one runtime."""

    ground: Any
    targets: tuple[Target, ...]
    default: int
    questions: dict[Any, Asked] = field(default_factory=dict)


class Site:
    """Made once per decorated function, guarded client, or process whose clients are all guarded; shared by threads.

    Keeps no client alive. `shared`: it speaks for clients of several SDKs and endpoints, each of which takes what it can
    reach of the candidates.
    """

    __slots__ = (
        "_last", "_memory", "_places", "alternates", "candidates", "default", "dialect", "endpoint", "provider", "scope",
        "shared",
    )  # fmt: skip

    def __init__(
        self,
        *,
        dialect: Dialect,
        client: Any = None,
        candidates: Sequence[str | Target] | None = None,
        alternates: Sequence[Any] = (),
        default: str | None = None,
        provider: str | None = None,
        scope: Scope,
        shared: bool = False,
    ) -> None:
        self.dialect = dialect
        self.endpoint: str | None = None if client is None else dialect.endpoint(client)  # None: a function
        if shared and client is None:
            self.endpoint = ""
        self.candidates = several("candidates", candidates)
        self.alternates = tuple(alternates)
        self.default = default
        self.provider = provider or dialect.provider
        self.scope = scope
        self.shared = shared
        self._memory: _Memory | None = None
        self._last: tuple[Callable[[], Any], Site] = (lambda: None, self)
        self._places: dict[str, Site] = {}  # endpoint -> the site of copies of the client that send there

    def ask(self, ground: Ground, scope: Scope, model: str, rule: Rule | None = None) -> Asked:
        """The question that a call with this model, in this scope, puts; by `rule` where one speaks of the model."""
        memory = self._remember(ground)
        forced = scope.model or (model if model != AUTO else None)
        key = (forced, scope, rule and rule.name)
        if (asked := memory.questions.get(key)) is None:
            asked = self._work_out(memory, scope, forced, rule)
            if len(memory.questions) >= _QUESTIONS_MAX:
                memory.questions.clear()
            memory.questions[key] = asked
        return asked

    def at(self, client: Any) -> Site:
        """This site as a copy of its client sees it: what is sent elsewhere meets the circuits of elsewhere."""
        last, site = self._last
        if last() is client:
            return site
        endpoint = self.dialect.endpoint(client)
        if (there := self if endpoint == self.endpoint else self._places.get(endpoint)) is None:
            if len(self._places) >= _PLACES_MAX:
                self._places.clear()
            there = self._places[endpoint] = Site(
                dialect=self.dialect,
                client=client,
                candidates=self.candidates,
                alternates=self.alternates,
                default=self.default,
                provider=self.provider,
                scope=self.scope,
                shared=self.shared,
            )
        self._last = (_weakly(client), there)
        return there

    def default_model(self, ground: Ground) -> str:
        """What `auto` becomes when nothing is to be decided."""
        memory = self._remember(ground)
        targets = self._some(memory)
        target = targets[memory.default]
        if self.endpoint is None:
            return target.handed
        if target.endpoint == self.endpoint:
            return target.wire
        # the default is elsewhere, and this request stays: that model as it is called here, else its own name
        return next(
            (it.wire for it in targets if it.endpoint == self.endpoint and it.model == target.model), target.model
        )

    def targets(self, ground: Ground) -> tuple[Target, ...]:
        """Where this site's routed calls may go."""
        return self._some(self._remember(ground))

    def check(self, ground: Ground) -> None:
        """ConfigError for what a person wrote and no call could follow."""
        self._remember(ground)

    def _some(self, memory: _Memory) -> tuple[Target, ...]:
        if not memory.targets:
            raise ConfigError(
                f"No candidates: provider {self.provider!r} has no tier defaults. Name models: candidates=[...]."
            )
        return memory.targets

    def _remember(self, ground: Ground) -> _Memory:
        memory = self._memory
        if memory is None or memory.ground is not ground:
            targets, default = self._resolve(ground)
            self._memory = memory = _Memory(ground, targets, default)
        return memory

    def _work_out(self, memory: _Memory, scope: Scope, forced: str | None, rule: Rule | None) -> Asked:
        if forced is None:
            targets, default = self._some(memory), memory.default
        elif rule is not None:
            targets, default = self._rerouted(memory, forced, rule)
        else:
            targets, default = self._pinned(memory.ground, memory.targets, forced), 0
        question = Question(
            workflow=scope.workflow or UNNAMED,
            stage=scope.stage or UNNAMED,
            targets=targets,
            default=default,
            max_cost_nano=None if scope.max_cost is None else round(scope.max_cost * 1e9),
            max_latency_ms=scope.max_latency_ms,
            min_success_rate=0.8 if scope.min_success_rate is None else scope.min_success_rate,
            on_infeasible=scope.on_infeasible or "best",
        )
        return Asked(question=question, pinned=forced is not None and rule is None)

    def _pinned(self, ground: Ground, targets: tuple[Target, ...], model: str) -> tuple[Target, ...]:
        """The named model, then the same id elsewhere: falling back there keeps the caller's word."""
        same = tuple(t for t in targets if model in (t.model, t.wire, t.written))
        ids = {t.model for t in same}  # elsewhere it may bear another word
        same += tuple(t for t in targets if t.model in ids and t not in same and t.endpoint not in ("", self.endpoint))
        if not same:
            named = self._named(ground, model)
            others = (target for target in self._elsewhere(ground) if target.model == named.model)
            same = (named, *self._twins(ground, named), *others)
        return same

    def _rerouted(self, memory: _Memory, model: str, rule: Rule) -> tuple[tuple[Target, ...], int]:
        """The rule's candidates and the model that the caller wrote, which is the default."""
        ground, targets = memory.ground, memory.targets
        if rule.candidates is not None:
            targets = self._spread(
                ground, [self._target(ground, it) for it in self._reachable(ground, rule.candidates)]
            )
        for i, target in enumerate(targets):
            if model in (target.model, target.wire, target.written):
                return targets, i
        named = self._named(ground, model)
        return (*targets, named, *self._twins(ground, named)), len(targets)

    def _spread(self, ground: Ground, own: list[Target]) -> tuple[Target, ...]:
        """Candidates, the same ids elsewhere, and what is elsewhere besides."""
        return (*own, *(twin for target in own for twin in self._twins(ground, target)), *self._elsewhere(ground))

    def _resolve(self, ground: Ground) -> tuple[tuple[Target, ...], int]:
        written = self._written(ground)
        if not written:
            written = tuple(info.id for info in ground.catalogue.tier_defaults(self.provider).values())
        own = [self._target(ground, candidate) for candidate in written]
        default = self._default(ground, own)
        return self._spread(ground, own), default

    def _written(self, ground: Ground) -> tuple[Any, ...]:
        """The candidates of this site, else those of `configure`, which speak for every site there is."""
        own = self._reachable(ground, self.candidates) if self.shared and self.candidates else self.candidates
        return own or self._reachable(ground, ground.configured)

    def _reachable(self, ground: Ground, candidates: Sequence[str | Target]) -> tuple[str | Target, ...]:
        """Of a list that speaks for many sites, what this one reaches: a client its provider's, a function all."""
        if self.endpoint is None:
            return tuple(candidates)
        return tuple(it for it in candidates if self._provider_of(ground, it) == self.provider)

    def _provider_of(self, ground: Ground, candidate: str | Target) -> str:
        if isinstance(candidate, Target):
            return candidate.provider
        return ground.catalogue.resolve(candidate, self.provider)[0]

    def _default(self, ground: Ground, own: list[Target]) -> int:
        if self.default is not None and (not self.shared or self._reachable(ground, (self.default,))):
            for i, target in enumerate(own):
                if self.default in (target.model, target.alias, target.written):
                    return i
            own.append(self._target(ground, self.default))
            return len(own) - 1
        return next((i for i, target in enumerate(own) if target.tier is ground.default_tier), 0)

    def _named(self, ground: Ground, model: str) -> Target:
        """A model that the caller wrote in the call itself: wherever the client sends it is right."""
        provider, bare = ground.catalogue.resolve(model, self.provider)
        if self.endpoint is not None:
            return self._filled(ground, Target(model, provider=self.provider, written=model))
        return self._filled(ground, Target(bare, provider=provider, written=model))

    def _target(self, ground: Ground, candidate: Any) -> Target:
        if isinstance(candidate, Target):
            return self._filled(ground, candidate)
        if not isinstance(candidate, str) or not candidate.strip() or candidate == AUTO:
            raise ConfigError(f"candidates: {candidate!r} is neither a model id nor a Target.")
        provider, model = ground.catalogue.resolve(candidate, self.provider)
        if self.endpoint is not None and provider != self.provider:
            raise ConfigError(
                f"candidates: {candidate!r} is of provider {provider!r}, which this {self.provider} client does not "
                f"reach. Hand its client over: attune.Target({model!r}, provider={provider!r}, client=...)."
            )
        return self._filled(ground, Target(model, provider=provider, written=candidate))

    def _filled(self, ground: Ground, target: Target) -> Target:
        """Complete a target from the catalogue and its client; None as its client means the one that is asked."""
        client = target.client
        if client is not None and self.endpoint is not None and not kin(ground, client, self.dialect):
            raise ConfigError(
                f"Target({target.model!r}, client={type(client).__qualname__}): a request of the "
                f"{self.dialect.name} SDK cannot be made there. Decorate the function around it: @attune.routed."
            )
        endpoint = self.endpoint if client is None else self.dialect.endpoint(client)
        return completed(ground.catalogue, target, endpoint or "")

    def _twins(self, ground: Ground, target: Target) -> list[Target]:
        """The same id at the alternate clients."""
        clients = [alternate for alternate in self.alternates if not isinstance(alternate, Target)]
        return twins(ground, target, clients, self.dialect)

    def _elsewhere(self, ground: Ground) -> list[Target]:
        """The alternates that are Targets of their own."""
        return [self._filled(ground, alternate) for alternate in self.alternates if isinstance(alternate, Target)]


def _weakly(client: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(client)
    except TypeError:  # a client of slots; it is looked up anew each time
        return lambda: None
