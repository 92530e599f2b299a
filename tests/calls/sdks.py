"""What differs between the APIs that the same scenarios are played in: Messages, Chat Completions, Responses."""

from __future__ import annotations

from typing import Any

import anthropic
import openai

HELLO = [{"role": "user", "content": "hello"}]


class Sdk:
    """One API: its clients, how it is asked, and what its answers and events look like."""

    name: str
    module: Any
    provider: str
    small: str  # the cheap default
    large: str  # the next one up
    premium: str
    ending: str  # the last event of a stream, as `kind` says it
    raises_in_stream = True  # an error inside a stream is raised, and not handed on as an event

    def __repr__(self) -> str:
        return self.name

    def url(self, provider: str) -> str:
        """What a client takes as its base URL."""
        return f"{provider}/v1"

    def body(self, *, stream: bool) -> dict[str, Any]:
        """The smallest request."""
        raise NotImplementedError

    def ask(self, client: Any, **body: Any) -> Any:
        """One call for an answer."""
        raise NotImplementedError

    def helper(self, client: Any, **body: Any) -> Any:
        """The SDK's own helper for streams, a context manager."""
        raise NotImplementedError

    def kind(self, event: Any) -> str:
        """What sort of event it is."""
        kind: str = event.type
        return kind

    def text(self, event: Any) -> str:
        """The text of an event, if it carries any."""
        raise NotImplementedError

    def model(self, event: Any) -> str:
        """Who answers, by the first event."""
        raise NotImplementedError

    def in_stream(self, kind: str) -> str:
        """What a failure is called inside a stream, where no status tells."""
        return kind


class Messages(Sdk):
    """Anthropic's."""

    name = "messages"
    module = anthropic
    provider = "anthropic"
    small, large, premium = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
    ending = "message_stop"

    def url(self, provider: str) -> str:
        return provider

    def body(self, *, stream: bool) -> dict[str, Any]:
        return {"max_tokens": 50, "messages": HELLO}

    def ask(self, client: Any, **body: Any) -> Any:
        return client.messages.create(**body)

    def helper(self, client: Any, **body: Any) -> Any:
        return client.messages.stream(**body)

    def text(self, event: Any) -> str:
        return event.delta.text if event.type == "content_block_delta" else ""

    def model(self, event: Any) -> str:
        return event.message.model


class OpenAI(Sdk):
    """What OpenAI's two have in common."""

    module = openai
    provider = "openai"
    small, large, premium = "gpt-6-luna", "gpt-6.1-terra", "gpt-6.1-sol"

    def in_stream(self, kind: str) -> str:
        return {"overloaded": "server"}.get(kind, kind)  # an overload has no word of its own there


class Chat(OpenAI):
    """Chat Completions."""

    name = "chat"
    ending = "usage"

    def body(self, *, stream: bool) -> dict[str, Any]:
        return {"messages": HELLO, **({"stream_options": {"include_usage": True}} if stream else {})}

    def ask(self, client: Any, **body: Any) -> Any:
        return client.chat.completions.create(**body)

    def helper(self, client: Any, **body: Any) -> Any:
        return client.chat.completions.stream(**body)

    def kind(self, event: Any) -> str:
        if not event.choices:
            return "usage"
        choice = event.choices[0]
        return "end" if choice.finish_reason else "text" if choice.delta.content else "opening"

    def text(self, event: Any) -> str:
        return event.choices[0].delta.content or "" if event.choices else ""

    def model(self, event: Any) -> str:
        return event.model


class Responses(OpenAI):
    """The Responses API."""

    name = "responses"
    ending = "response.completed"
    raises_in_stream = False

    def body(self, *, stream: bool) -> dict[str, Any]:
        return {"input": "hello"}

    def ask(self, client: Any, **body: Any) -> Any:
        return client.responses.create(**body)

    def helper(self, client: Any, **body: Any) -> Any:
        return client.responses.stream(**body)

    def text(self, event: Any) -> str:
        return event.delta if event.type == "response.output_text.delta" else ""

    def model(self, event: Any) -> str:
        return event.response.model


MESSAGES, CHAT, RESPONSES = Messages(), Chat(), Responses()
SDKS = [MESSAGES, CHAT, RESPONSES]
