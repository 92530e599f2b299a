"""Where the next attempt goes: the untried target of most merit whose circuit admits it, else a wait, else the end.

It knows the failure table's words and the circuits; what is done with its answer is the plan's. A target that failed is
not tried again while an untried one is left. Each fallback is allowed once; further attempts are bounded by
`max_attempts` a target and, where there are two targets, by the retry budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from attune.calls import reach
from attune.calls.attempt import Attached, Try
from attune.calls.underway import Call
from attune.errors import CallError, CircuitOpenError, DeadlineExceeded
from attune.models.call import AttemptKind, Target
from attune.models.circuits import Permit, Refusal
from attune.models.failures import Failure
from attune.models.retry import RetryPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far one call may go."""

    policy: RetryPolicy
    fallback: bool = True


class Admission:
    """Born with the call, used by its plan alone."""

    def __init__(self, call: Call, order: list[Target], limits: Limits) -> None:
        self._call = call
        self._order = order
        self._limits = limits
        self._tried: dict[int, int] = {}  # place in the order -> attempts made there
        self._failures: dict[int, Failure] = {}
        self._last: tuple[int, Failure, BaseException] | None = None
        self._next: tuple[int, Permit | None, AttemptKind] | None = None
        self._due: int | None = None  # a retry that has waited its time
        self._rested = False
        if len(order) > 1:
            call.safely("retry", call.runtime.retry_budget.call, now=call.now_s())

    def seek(self) -> float:
        """Find the next target and its permit: 0.0 when `open` may be called, else the seconds to wait before asking again.

        Raises what the provider raised last where nothing more may be tried, or a refusal where nothing was.
        """
        self._check_deadline()
        if self._due is not None:
            place, self._due = self._due, None
            return 0.0 if self._admitted(place, "retry") else self._give_up([])
        refusals: list[tuple[int, Refusal]] = []
        for place in self._untried():
            permit = self._acquire(place)
            if isinstance(permit, Refusal):
                refusals.append((place, permit))
                continue
            self._next = (place, permit, "fallback" if self._tried else "initial")
            return 0.0
        if self._last is None:
            return self._rest(refusals)
        return self._call.safely("retry", self._again) or self._cooled(refusals) or self._give_up(refusals)

    def open(self) -> Try:
        """Begin the attempt that `seek` found."""
        if self._next is None:
            raise RuntimeError("attune: an attempt was opened before one was found")
        place, permit, kind = self._next
        self._next = None
        self._tried[place] = self._tried.get(place, 0) + 1
        return self._call.begin(self._order[place], permit, kind)

    def learn(self, attempt: Try, failure: Failure, error: BaseException) -> None:
        """What the last attempt ended with."""
        place = next(i for i, target in enumerate(self._order) if target is attempt.target)
        self._failures[place] = failure
        self._last = (place, failure, error)

    def answered(self, attempt: Try) -> None:
        """The last attempt was answered: who refused the same request before it, and who the session stays with."""
        call = self._call
        if self._failures:
            call.safely("lessons", self._remember, attempt.target)
        if call.session is not None and call.decision is not None and not call.pinned and call.mode == "enforce":
            keep = call.runtime.memory.sessions.keep
            call.safely("session", keep, call.session, call.question, attempt.target, call.decision, call.now_s())

    # -- pieces

    def _remember(self, answered: Target) -> None:
        """What a target refused and the default answered, routing had caused: the next such request goes elsewhere."""
        for place, failure in self._failures.items():
            if failure.rule.fall_back == "default" and not failure.particular and self._order[place] is not answered:
                reach.learn(self._call, self._order[place], failure.kind)

    def _untried(self) -> Iterator[int]:
        return (place for place in range(len(self._order)) if place not in self._tried and self._reaches(place))

    def _reaches(self, place: int) -> bool:
        """Whether the call may go there after what happened last: what is final ends the call, whatever came before."""
        if self._last is None:
            return True
        failed, failure, _ = self._last
        if place == failed:
            return True
        if not self._limits.fallback or self._call.mode != "enforce":
            return False
        if failure.rule.fall_back == "any" and self._order[place].model != self._order[failed].model:
            binding = self._call.safely("reach", reach.binding_of, self._call.dialect, self._call.request)
            return binding is None or not binding.model
        match failure.rule.fall_back:
            case "any":
                return True
            case "other_account":
                return self._account(place) != self._account(failed)
            case "default":
                return self._is_default(place)
            case "no":
                return False

    def _account(self, place: int) -> tuple[Any, ...]:
        target = self._order[place]
        return (target.provider, target.endpoint, target.account, id(target.client))

    def _is_default(self, place: int) -> bool:
        """Only routing may have caused a 4xx of a model that the caller did not name: the default would have been asked."""
        question, target = self._call.question, self._order[place]
        default = question.targets[question.default]
        return not self._call.pinned and (target.provider, target.model) == (default.provider, default.model)

    def _acquire(self, place: int) -> Permit | Refusal | None:
        target, call = self._order[place], self._call
        return call.safely("breaker", self._ask, call, target)  # type: ignore[no-any-return]  # None is a breaker that failed: law 5 lets the attempt through

    def _ask(self, call: Call, target: Target) -> Permit | Refusal:
        circuits, now = call.runtime.circuits, call.now_s()
        if circuits.quiet:
            return circuits.acquire(target.provider, target.model, endpoint=target.endpoint, now=now)
        with Attached(call.telling.span):  # time may turn open into half-open here: an event on the call's span
            return circuits.acquire(target.provider, target.model, endpoint=target.endpoint, now=now)

    def _admitted(self, place: int, kind: AttemptKind) -> bool:
        permit = self._acquire(place)
        if isinstance(permit, Refusal):
            return False
        self._next = (place, permit, kind)
        return True

    def _rest(self, refusals: list[tuple[int, Refusal]]) -> float:
        """Nothing was tried and every circuit refuses: probe the one due soonest, wait out a short cooldown, or refuse."""
        place, refusal = min(refusals, key=lambda it: (it[1].forced, it[1].cooling, it[1].retry_after_s))
        if len(self._order) > 1:
            target, now = self._order[place], self._call.now_s()
            probe = self._call.runtime.circuits.force_probe
            permit = self._call.safely(
                "breaker", probe, target.provider, target.model, endpoint=target.endpoint, now=now
            )
            if permit is None or not isinstance(permit, Refusal):
                self._next = (place, permit, "probe")
                return 0.0
        if (wait_s := self._cooled(refusals)) > 0:
            return wait_s
        raise self._refusal(refusal)

    def _cooled(self, refusals: list[tuple[int, Refusal]]) -> float:
        """Seconds until the first of them has cooled that only cools; 0.0 where none may be waited for. Once a call."""
        waits = [refusal.retry_after_s for _, refusal in refusals if refusal.cooling and not refusal.forced]
        if self._rested or not waits or not self._may_wait(min(waits)):
            return 0.0
        self._rested = True
        return max(min(waits), 1e-3)

    def _refusal(self, refusal: Refusal) -> CallError:
        call = self._call
        status = call.safely("breaker", call.runtime.circuits.status, now=call.now_s()) or {}
        names = {name for t in self._order for name in (t.provider, f"{t.provider}:{t.model}")}
        call.safely("emit", call.runtime.emitter.rejected, refusal.name, refusal.name.partition(":")[0])
        error = CircuitOpenError(
            _said(refusal),
            provider=refusal.name.partition(":")[0],
            retry_after_s=refusal.retry_after_s,
            status={name: entry for name, entry in status.items() if name in names},
        )
        return call.dialect.refusal(error, call.request.client)

    def _again(self) -> float | None:
        """The wait before a target that failed is asked once more; None where none may be."""
        if self._call.mode != "enforce":
            return None  # the SDK's own retries have run
        for place, failure in self._failures.items():
            wait_s = self._wait_before(place, failure) if self._reaches(place) else None
            if wait_s is None:
                continue
            if len(self._order) > 1 and not self._call.runtime.retry_budget.take(now=self._call.now_s()):
                return None
            self._due = place
            return max(wait_s, 1e-6)
        return None

    def _wait_before(self, place: int, failure: Failure) -> float | None:
        wanted = failure.rule.retry if failure.should_retry is None else failure.should_retry
        tries = self._tried[place]
        if not wanted or tries >= self._limits.policy.max_attempts:
            return None
        call, target = self._call, self._order[place]
        policy = self._limits.policy
        if policy.too_long(failure.retry_after_s):
            return None
        wait_s = policy.wait_s(tries - 1, failure.retry_after_s, call.runtime.dice)
        due_s = call.safely(
            "breaker", call.runtime.circuits.retry_after_s, target.provider, target.model,
            endpoint=target.endpoint, now=call.now_s(),
        )  # fmt: skip
        wait_s = max(wait_s, due_s or 0.0)
        return wait_s if self._may_wait(wait_s) else None

    def _may_wait(self, wait_s: float) -> bool:
        remaining_s = self._call.remaining_s()
        return wait_s <= self._limits.policy.max_wait_s and (remaining_s is None or wait_s < remaining_s)

    def _check_deadline(self) -> None:
        if self._call.remaining_s() != 0.0:
            return
        self._raise_last()
        timeout_s = self._call.timeout_s or 0.0
        refusal = DeadlineExceeded(
            f"The call's time-out of {timeout_s:g} s passed before an attempt could start. Raise timeout_s.",
            deadline_s=timeout_s,
            attempts=tuple(self._call.attempts),
        )
        raise self._call.dialect.refusal(refusal, self._call.request.client)

    def _give_up(self, refusals: list[tuple[int, Refusal]]) -> float:
        self._raise_last()
        raise self._refusal(refusals[0][1])

    def _raise_last(self) -> None:
        """What the provider raised last reaches the caller, the same object."""
        if self._last is None:
            return
        _, self._call.final, error = self._last
        asked_s, most_s = self._call.final.retry_after_s, self._limits.policy.max_wait_s
        if asked_s is not None and asked_s > most_s and self._call.mode == "enforce":
            note = f"attune did not wait the {asked_s:g} s that were asked for: max_wait_s of attune.configure is {most_s:g}"
            self._call.safely("notes", error.add_note, note)
        raise error


def _said(refusal: Refusal) -> str:
    provider = refusal.name.partition(":")[0]
    if refusal.forced:
        return (
            f"The circuit {refusal.name!r} was forced open by hand. End that with "
            f"attune.models.CircuitBreaker().auto({provider!r}), or give the call another target."
        )
    state = "cooling" if refusal.cooling else refusal.state
    return (
        f"The circuit {refusal.name!r} is {state}; it may be tried in {refusal.retry_after_s:.1f} s. Wait, give the call "
        f"another target, or reset it: attune.models.CircuitBreaker().reset({provider!r})"
    )
