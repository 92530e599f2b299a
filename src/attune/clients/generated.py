"""What the dialects of the SDKs that Stainless generates have in common: whose clients, the seam, streams held, tapped and
read as bytes, and refusals in the SDK's own classes.

A subclass says which package, classes and paths they are, and what an answer, an event, a request and an error mean.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from attune.clients import neighbours, stainless, tapped, unread
from attune.clients.asked import FREE, Binding, Shape, shape_of
from attune.clients.dialect import EventReader, Facts, Intercept, Request, Seam, Watch
from attune.clients.refusals import dual
from attune.errors import CallError, CircuitOpenError, DeadlineExceeded, StreamInterrupted

_NONE: Mapping[str, Any] = MappingProxyType({})


class GeneratedDialect(ABC):
    """One SDK. `package` is its name, `clients` the classes spoken to (subclasses too), `answers` the ends of the paths at
    which a model answers, `plain` the marks of lines of a raw stream that hold a piece of the answer alone.
    """

    package: ClassVar[str]
    clients: ClassVar[frozenset[str]]
    answers: ClassVar[frozenset[str]]
    plain: ClassVar[tuple[bytes, ...]]
    seams: ClassVar[tuple[Seam, ...]]

    @abstractmethod
    def reader(self) -> EventReader:
        """A new reader for one stream."""

    @abstractmethod
    def read(self, answer: Any) -> Facts:
        """What a finished answer says."""

    @abstractmethod
    def bound(self, body: Mapping[str, Any], headers: Mapping[str, Any]) -> Binding:
        """What binds a request with this body and these headers of its own."""

    def address(self, client: Any, path: str, model: str) -> str | None:
        """Where a request for this model goes if its path alone does not say so: an absolute URL. None: it does."""
        del client, path, model
        return None

    def speaks(self, client: Any) -> bool:
        """By class name, so that nothing is imported."""
        return stainless.speaks(client, self.package, self.clients)

    def endpoint(self, client: Any) -> str:
        """The base URL."""
        return stainless.endpoint(client)

    def guard(self, client: Any, intercept: Intercept) -> Any:
        """A guarded copy; see `stainless.guard`."""
        return stainless.guard(client, intercept, self.answers, self.address)

    def catch(self, client: Any, through: Any, args: Any, kwargs: Any, *, asynchronous: bool) -> Request | None:
        """See `Instrumentable.catch`."""
        return stainless.catch(self.answers, self.address, client, through, args, kwargs, asynchronous=asynchronous)

    def binding(self, request: Any) -> Binding:
        """See `RequestReader.binding`."""
        body = getattr(request, "body", None)
        return FREE if body is None else self.bound(body, getattr(request, "headers", None) or _NONE)

    def shape(self, request: Any) -> Shape | None:
        """See `RequestReader.shape`."""
        body = getattr(request, "body", None)
        return None if body is None else shape_of(body)

    def native_span(self, client: Any) -> bool:
        """Whether somebody would record a CLIENT span for the request: neighbours may, where the SDK does not."""
        del client
        return neighbours.record(self.package)

    def native_metrics(self, client: Any) -> bool:
        """Whether somebody measures its calls: no SDK does by itself, neighbours may."""
        del client
        return neighbours.measure(self.package)

    def events(self, stream: Any) -> EventReader | None:
        """A reader for the events of a stream of this SDK."""
        return self.reader() if tapped.is_stream(stream, self.package) else None

    def unread(self, answer: Any) -> EventReader | None:
        """See `Unread.unread`."""
        response = unread.body_of(answer)
        return None if response is None else unread.reader_of(response, self.reader(), self.read, self.plain)

    def hold(self, stream: Any, reader: EventReader) -> Any:
        """See `Dialect.hold`."""
        return tapped.hold(stream, reader)

    def tap(self, stream: Any, watch: Watch, held: Sequence[Any] = ()) -> Any:
        """See `Dialect.tap`."""
        if (response := unread.body_of(stream)) is not None:
            unread.tap(response, watch)
            return stream
        return tapped.tap(stream, watch, held)

    def refusal(self, error: CallError, client: Any) -> CallError:
        """Also an `APIConnectionError`, an `APITimeoutError` or an `APIError` of the SDK."""
        nearest = "APIError"
        if isinstance(error, (CircuitOpenError, StreamInterrupted)):
            nearest = "APIConnectionError"
        elif isinstance(error, DeadlineExceeded):
            nearest = "APITimeoutError"
        return dual(error, self.package, nearest, url=stainless.endpoint(client))
