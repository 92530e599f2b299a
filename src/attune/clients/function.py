"""Plain functions as a dialect: a decorated function is asked with a model's name, and its return value is read.

Facts are taken from whatever the value offers: an SDK's message, an LLMResponse, anything with usage. What it does not
say stays unknown. Iterators count as streams; their items are handed on untouched.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from attune.clients.dialect import NOTHING, Dialect, EventReader, Facts, Watch
from attune.clients.spoken import SPOKEN
from attune.clients.watched import Ended, aconversed, conversed
from attune.errors import CallError
from attune.models.call import Target
from attune.models.failures import FailureKind
from attune.models.response import LLMResponse, Usage

# Errors that a body raises over its own data as well as an SDK over an answer: they are the body's.
_ITS_OWN = frozenset({"JSONDecodeError"})


def rows_inside(dialects: Sequence[Dialect]) -> Mapping[str, FailureKind]:
    """What errors mean inside a function, where any SDK may raise: all rows count, and the first dialects' win."""
    rows = {name: kind for each in reversed(dialects) for name, kind in each.failures.items()}
    return {name: kind for name, kind in rows.items() if name not in _ITS_OWN}


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRequest:
    """One call of a decorated function, ready to be made again with another model."""

    function: Callable[..., Any]
    args: tuple[Any, ...] = field(repr=False)
    kwargs: Mapping[str, Any] = field(repr=False)
    model: str
    place: int | None = None  # where in `args` the model goes; None: by keyword
    answers: bool = True
    asynchronous: bool = False
    stream: bool = False
    max_retries: int = 2  # three attempts at one target, as the SDKs make
    client: None = None
    timeout_s: float | None = None

    @property
    def params(self) -> Mapping[str, Any]:
        """A function's arguments are its own business."""
        return {}

    def send(self, target: Target, *, timeout_s: float | None) -> Any:
        """Run the body once, with the target's word for `model`. Time is the body's to keep: `attune.remaining_s()`."""
        del timeout_s
        return self.untouched(target.handed)

    def untouched(self, model: str) -> Any:
        """Run the body once with this word."""
        if self.place is not None:
            return self.function(*self.args[: self.place], model, *self.args[self.place :], **self.kwargs)
        return self.function(*self.args, **{**self.kwargs, "model": model})


class FunctionDialect:
    """What a function's value says. It has no client, so it guards nothing."""

    name = "function"
    provider = "anthropic"
    failures: Mapping[str, FailureKind] = {}

    def speaks(self, client: Any) -> bool:
        """A function is decorated, never wrapped."""
        del client
        return False

    def endpoint(self, client: Any) -> str:
        """None of its own."""
        del client
        return ""

    def guard(self, client: Any, intercept: Any) -> Any:
        """Nothing to guard."""
        del intercept
        return client

    def native_span(self, client: Any) -> bool:
        """Whatever is inside has its own spans."""
        del client
        return False

    def read(self, answer: Any) -> Facts:
        """The facts of a message, an LLMResponse, or anything with usage."""
        if isinstance(answer, LLMResponse):
            known = answer.tokens_input or answer.tokens_output
            return Facts(
                usage=Usage(input_tokens=answer.tokens_input, output_tokens=answer.tokens_output) if known else None,
                model=answer.model_id or None,
                empty=not answer.success,
                cost_nano=round(answer.cost_estimate * 1e9) if answer.cost_estimate else None,
            )
        package = type(answer).__module__.partition(".")[0]
        for dialect in SPOKEN:  # an SDK's own answer: its dialect knows more of it than its usage
            if dialect.name == package and (facts := dialect.read(answer)) is not NOTHING:
                return facts
        usage = answer.get("usage") if isinstance(answer, Mapping) else getattr(answer, "usage", None)
        if usage is None:
            return NOTHING
        model = answer.get("model") if isinstance(answer, Mapping) else getattr(answer, "model", None)
        return Facts(usage=usage_of(usage), model=model if isinstance(model, str) else None)

    def events(self, stream: Any) -> EventReader | None:
        """Generators and SDK streams; any other iterable is a value."""
        if inspect.isgenerator(stream) or inspect.isasyncgen(stream):
            return Items()
        return None

    def hold(self, stream: Any, reader: EventReader) -> Any:
        """Take the first item."""
        return _afirst(stream, reader) if inspect.isasyncgen(stream) else _first(stream, reader)

    def tap(self, stream: Any, watch: Watch, held: Sequence[Any] = ()) -> Any:
        """A generator around the generator."""
        return (aconversed if inspect.isasyncgen(stream) else conversed)(stream, watch, held)

    def refusal(self, error: CallError, client: Any) -> CallError:
        """No SDK is near: the plain class."""
        del client
        return error


def opens(value: Any) -> bool:
    """Whether a value gives its answer only when a `with` block enters it: by its class's name, so that no SDK is imported.

    The SDKs' stream and response managers and contextlib's are called so; pools and clients are other managers.
    """
    kind: Any = value.__class__  # what a proxy of ours says that it is
    named = kind.__name__.endswith(("StreamManager", "ContextManager"))
    return named and (hasattr(kind, "__enter__") or hasattr(kind, "__aenter__"))


class Items:
    """A reader that only knows that something has come."""

    __slots__ = ("content", "done")

    def __init__(self) -> None:
        self.content = False
        self.done = True  # a generator's end is its terminal event

    @property
    def text(self) -> str:
        """Items are the caller's; none is kept."""
        return ""

    def feed(self, event: Any) -> None:
        """The first item is content."""
        del event
        self.content = True

    def facts(self) -> Facts:
        """Items say nothing of usage."""
        return NOTHING


def _first(stream: Iterator[Any], reader: EventReader) -> list[Any]:
    try:
        item = next(stream)
    except StopIteration as end:
        ended = Ended()
        ended.value = end.value
        return ended
    reader.feed(item)
    return [item]


async def _afirst(stream: AsyncIterator[Any], reader: EventReader) -> list[Any]:
    async for item in stream:
        reader.feed(item)
        return [item]
    return Ended()


def usage_of(usage: Any) -> Usage | None:
    """A Usage from an object or mapping with either API's names; None if it has none of them."""
    if isinstance(usage, Usage):
        return usage

    def get(name: str, holder: Any = usage) -> int | None:
        value = _part(holder, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            return None
        return max(0, int(value))

    given, out = get("input_tokens"), get("output_tokens")
    if given is None and out is None:  # OpenAI's words
        given, out = get("prompt_tokens"), get("completion_tokens")
    if given is None and out is None:
        return None
    details = _part(usage, "prompt_tokens_details") or _part(usage, "input_tokens_details")
    read, written = (
        get("cached_tokens", details) or 0,
        get("cache_write_tokens", details) or 0,
    )  # parts of the input there
    return Usage(
        input_tokens=max(0, (given or 0) - read - written),
        output_tokens=out or 0,
        cache_read_tokens=get("cache_read_input_tokens") or read,
        cache_write_tokens=get("cache_creation_input_tokens") or written,
    )


def _part(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)
