"""The protocol of a dialect: what attune needs to know of one SDK, and nothing about policy.

A dialect says which clients it speaks, guards one (the seam), tells what an answer and a stream's events mean, and brings
its own failure rows. It never chooses, counts, waits or names a signal. A new provider is one file beside this one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from attune.errors import CallError
from attune.models.call import Target
from attune.models.failures import FailureKind
from attune.models.response import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What an answer says of itself. None means that it does not say; `cost_nano` is set only where it was reported.

    `failed` is set where an answer says that there is none: its own word for the reason, "" where it names no reason.
    `served_by` is set where the provider itself went on to another model than the one asked: `usage` is billed at its price.
    `besides` is what was billed on top of `usage`, each at the price of its model, None for the model that answered.
    """

    usage: Usage | None = None
    model: str | None = None
    response_id: str | None = None
    finish_reasons: tuple[str, ...] = ()
    empty: bool = False
    cost_nano: int | None = None
    failed: str | None = None
    served_by: str | None = None
    besides: tuple[tuple[str | None, Usage], ...] = ()


NOTHING = Facts()


@runtime_checkable
class EventReader(Protocol):
    """Reads one stream's events as they pass. Made for each stream; keeps counts and text, never an event."""

    @property
    def content(self) -> bool:
        """Whether an event has carried something of the answer: from then on, no other target may take over."""
        ...

    @property
    def done(self) -> bool:
        """Whether the terminal event has passed."""
        ...

    @property
    def text(self) -> str:
        """The text that has arrived."""
        ...

    def feed(self, event: Any) -> None:
        """Take one event in."""
        ...

    def facts(self) -> Facts:
        """What the events have said so far."""
        ...


class Request(Protocol):
    """One request that would make a model answer, caught at the seam.

    `model` is what the caller wrote. For an async client `send` and `untouched` give awaitables.
    """

    @property
    def model(self) -> str:
        """The model that the caller asked for."""
        ...

    @property
    def answers(self) -> bool:
        """Whether a model will answer. Else (a token count, a batch) only the word `auto` in it is replaced."""
        ...

    @property
    def client(self) -> Any:
        """The client it was made on; None for a function."""
        ...

    @property
    def stream(self) -> bool:
        """Whether the answer comes in events."""
        ...

    @property
    def asynchronous(self) -> bool:
        """Whether `send` gives an awaitable."""
        ...

    @property
    def max_retries(self) -> int:
        """How often the client itself would try again."""
        ...

    @property
    def params(self) -> Mapping[str, Any]:
        """Request parameters that telemetry may tell: numbers and short words, never text of the prompt."""
        ...

    @property
    def timeout_s(self) -> float | None:
        """The time-out the client would use, None if it has none or it cannot be told."""
        ...

    def send(self, target: Target, *, timeout_s: float | None) -> Any:
        """Make one attempt at a target, with the client's own retries off."""
        ...

    def untouched(self, model: str) -> Any:
        """Send it as it was written, with `auto` replaced by `model`; the client's own retries stay."""
        ...


Intercept = Callable[[Request], Any]


@runtime_checkable
class Watch(Protocol):
    """What a tapped stream calls, in order: `event` for each event, then exactly one of the others wins."""

    def event(self, event: Any) -> None:
        """An event is about to be handed to the caller."""
        ...

    def finished(self) -> BaseException | None:
        """The events ended. An error given back is raised in their place."""
        ...

    def broken(self, error: BaseException) -> None:
        """The next event raised."""
        ...

    def closed(self) -> None:
        """The caller closed it early, on its own thread."""
        ...

    def dropped(self) -> None:
        """It was garbage-collected. May run inside any line that allocates: must only take a note."""
        ...

    def step(self) -> AbstractContextManager[None]:
        """What is in force while a user's generator runs on to its next item."""
        ...


Seam = tuple[str, str]  # a module, and a class in it through whose `request` its clients send


@runtime_checkable
class Instrumentable(Protocol):
    """A dialect whose clients can all be guarded at once, by `attune.instrument()`. Several may share a seam."""

    @property
    def seams(self) -> Sequence[Seam]:
        """The classes to wrap, each only if it has a `request` of its own. Imports nothing."""
        ...

    def catch(self, client: Any, through: Any, args: Any, kwargs: Any, *, asynchronous: bool) -> Request | None:
        """A call of a client's `request`, caught on its class; `through` is the method as it was, bound to the client.

        None where attune has no part in it: nothing answers, the client is guarded already, or attune is sending.
        """
        ...


@runtime_checkable
class Unread(Protocol):
    """A dialect that can tell an answer whose body the caller will read himself."""

    def unread(self, answer: Any) -> EventReader | None:
        """A reader for the body's chunks, which `tap` shows to it; None for any other answer. Nothing of it is held."""
        ...


class Dialect(Protocol):
    """One SDK's shape. Instances are stateless, so they are shared by threads.

    It may also have `native_metrics(client) -> bool`: whether another instrumentation emits the `gen_ai.client.*` metrics
    for the request; without it, attune does. And `own_ids`: true where no other provider knows its models by their ids.
    """

    @property
    def name(self) -> str:
        """A short word for messages, such as "anthropic"."""
        ...

    @property
    def provider(self) -> str:
        """The provider that its clients reach, unless a Target says otherwise."""
        ...

    @property
    def failures(self) -> Mapping[str, FailureKind]:
        """Class names and codes of this SDK's errors: rows of the failure table."""
        ...

    def speaks(self, client: Any) -> bool:
        """Whether this is one of its clients. Imports nothing."""
        ...

    def endpoint(self, client: Any) -> str:
        """Where the client sends, without credentials: it tells one circuit from another."""
        ...

    def guard(self, client: Any, intercept: Intercept) -> Any:
        """A new client of the same class that hands every request for an answer to `intercept`."""
        ...

    def native_span(self, client: Any) -> bool:
        """Whether the SDK itself, or who instruments it, would record a span for the request.

        `client` None: of some client inside a function that was handed a model of this provider.
        """
        ...

    def read(self, answer: Any) -> Facts:
        """What a finished answer says. Anything it does not know gives `NOTHING`."""
        ...

    def events(self, stream: Any) -> EventReader | None:
        """A reader for a stream of its SDK, None where the value is no stream."""
        ...

    def hold(self, stream: Any, reader: EventReader) -> Any:
        """Take events off a stream, feeding them to `reader`, until there is content, or the end.

        Gives the list of them, for an async stream an awaitable of it. What the stream raises passes.
        """
        ...

    def tap(self, stream: Any, watch: Watch, held: Sequence[Any] = ()) -> Any:
        """Let `watch` see a stream's further events and its end; `held` events are handed out first, unseen.

        The stream keeps its type to `isinstance`.
        """
        ...

    def refusal(self, error: CallError, client: Any) -> CallError:
        """The same refusal as an instance of the SDK's nearest class too."""
        ...
