"""Where a breaker's circuits and clock come from: its own, or at each call those of the process.

It owns what an exception says of the provider (any counts but a caller's mistake, a cancellation and a refusal of our own)
and the words of a refusal. With a clock at hand, it asks the pure circuits for leave and brings outcomes back to them.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

from attune.errors import CallError, CircuitOpenError, StreamInterrupted
from attune.models.call import CircuitState
from attune.models.circuits import Circuits, Permit, PermitOutcome, Refusal
from attune.models.failures import Classify, Failure, FailureKind, Touches, classify
from attune.models.process import Clock, current


class Judgement(NamedTuple):
    """What an exception means for the circuit. `cool_s`: how long the provider asked to be left alone."""

    outcome: PermitOutcome
    kind: FailureKind
    touches: Touches = "model"
    cool_s: float | None = None


def judge(error: BaseException, hook: Classify | None, *, at_s: float) -> Judgement:
    """Any exception counts but caller errors, cancellations and our own refusals; the table says what it touches.

    `hook` is the user's word, and final where it has one: a word that is no FailureKind is "other", which is neutral. `at_s`
    is the time of day, to read a `Retry-After` that is a date.
    """
    word = hook(error) if hook is not None and isinstance(error, Exception) else None
    if word is None:
        if isinstance(error, StreamInterrupted):
            return Judgement("failure", FailureKind.STREAM_BROKEN)
        if isinstance(error, CallError):
            return Judgement("neutral", FailureKind.CIRCUIT_OPEN)
    failure = classify(error, hook=None if word is None else lambda _: word, at_s=at_s)
    if word is None and _unheard_of(failure):
        return Judgement("failure", failure.kind)
    rule = failure.rule
    return Judgement(rule.settles, failure.kind, rule.touches, failure.cools_s)


def _unheard_of(failure: Failure) -> bool:
    return failure.kind is FailureKind.OTHER and failure.status is None


class TimedPermit:
    """Leave for one attempt, with a clock at hand. Settle it once: the first word counts, later ones do nothing.

    A permit that is never settled holds nothing but, if it is a probe, its slot until the lease ends. Thread-safe.
    """

    __slots__ = ("_clock", "permit")

    def __init__(self, permit: Permit, clock: Clock) -> None:
        self.permit = permit
        self._clock = clock

    def settle(self, outcome: PermitOutcome, *, kind: FailureKind | None = None, touches: Touches = "model") -> None:
        """Say how it went: "success", "failure" or "neutral". ConfigError for another word.

        A failure that `touches` the provider counts on its circuit, and is neutral for the narrow one.
        """
        if not self.permit.settle_unseen(outcome):
            self.permit.settle(outcome, now=self._clock.monotonic(), kind=kind, touches=touches)

    @property
    def provider(self) -> str:
        """Whose circuit it is."""
        return self.permit.provider

    @property
    def scope(self) -> str | None:
        """The narrow key, if any."""
        return self.permit.scope

    @property
    def name(self) -> str:
        """`provider` or `provider:scope`."""
        return self.permit.name

    @property
    def probe(self) -> bool:
        """Whether a half-open circuit waits for this outcome."""
        return self.permit.probe

    @property
    def state(self) -> CircuitState:
        """The worst state among the circuits concerned, when it was granted."""
        return self.permit.state


class Door:
    """One breaker's way to its circuits: `circuits` of its own, or None for those of the process. Thread-safe."""

    __slots__ = ("_circuits", "_hook", "own_clock")

    def __init__(self, circuits: Circuits | None, clock: Clock | None, hook: Classify | None) -> None:
        self._circuits = circuits
        self.own_clock = clock
        self._hook = hook
        if circuits is not None and clock is not None:
            circuits.wall_offset_s = clock.time() - clock.monotonic()

    @property
    def shared(self) -> bool:
        """Whether these are the circuits of the process."""
        return self._circuits is None

    def parts(self) -> tuple[Circuits, Clock]:
        """The circuits and their clock. Private ones without a clock take the process's at first use, and keep it."""
        if self._circuits is None:
            process = current()
            return process.circuits, process.clock
        if self.own_clock is None:
            clock = current().clock
            self._circuits.wall_offset_s = clock.time() - clock.monotonic()
            self.own_clock = clock
        return self._circuits, self.own_clock

    def take(self, provider: str, scope: str | None) -> Permit:
        """A permit, or CircuitOpenError."""
        circuits, clock = self._circuits, self.own_clock
        if circuits is None or clock is None:
            circuits, clock = self.parts()
        answer = circuits.acquire(provider, scope, now=clock.monotonic())
        if isinstance(answer, Permit):
            return answer
        raise _refused(answer, provider, circuits, clock.monotonic())

    def clock(self) -> Clock:
        """The clock of these circuits."""
        return self.own_clock or self.parts()[1]

    def passed(self, permit: Permit) -> None:
        """It went well."""
        if not permit.settle_unseen("success"):
            permit.settle("success", now=self.parts()[1].monotonic())

    def failed(self, permit: Permit, error: BaseException, hook: Classify | None) -> None:
        """It ended in an exception. A hook that itself raises is a fault of attune's surroundings, and the table decides."""
        circuits, clock = self.parts()
        try:
            judgement = judge(error, hook or self._hook, at_s=clock.time())
        except Exception as fault:  # noqa: BLE001 - the user's classify must not replace the exception under way
            self.fault("classify", fault)
            judgement = judge(error, None, at_s=clock.time())
        now = clock.monotonic()
        if judgement.cool_s:
            scope = permit.scope if judgement.touches == "model" else None
            circuits.cool_down(permit.provider, scope, until=now + judgement.cool_s, now=now, reason=judgement.kind)
        permit.settle(judgement.outcome, now=now, kind=judgement.kind, touches=judgement.touches)

    def fault(self, where: str, error: BaseException) -> None:
        """Count a fault where the process counts them; a private breaker may live without a process."""
        with contextlib.suppress(Exception):  # nobody is left to tell
            current().fault(where, error)


def _refused(refusal: Refusal, provider: str, circuits: Circuits, now: float) -> CircuitOpenError:
    if refusal.forced:
        state = "is forced open. auto() or reset() ends that"
    elif refusal.state == "half_open" and not refusal.retry_after_s:
        state = "is half-open, and its probes are under way. Try again when one has ended"
    else:
        state = f"is {'cooling' if refusal.cooling else 'open'}. Try again in {refusal.retry_after_s:.1f} s"
    return CircuitOpenError(
        f"The circuit of {refusal.name!r} {state}; get_status() says why, and reset(provider={provider!r}) closes it now.",
        provider=provider,
        retry_after_s=refusal.retry_after_s,
        status=circuits.status(now=now, provider=provider),
    )
