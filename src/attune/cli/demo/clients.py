"""The SDK's clients as the demo uses them, sync and async, and one question put through them, plain or streamed.

Retries are off in every run: an outage of seconds would only be waited through. Measures and judges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import anthropic

from attune.cli.demo.traffic import Task

MAX_TOKENS: Final = 256
# The SDK mounts the environment's proxies even on a client that does not trust the environment.
_PAST_PROXIES: Final[Mapping[str, None]] = {"http://127.0.0.1": None}


@dataclass(frozen=True, slots=True)
class Pair:
    """One provider's clients. Closed by `Clients`."""

    sync: anthropic.Anthropic
    asynchronous: anthropic.AsyncAnthropic


class Clients:
    """Opens pairs and closes them all; the async ones on the loop they were used on."""

    def __init__(self, run: Any) -> None:
        self._run = run
        self._open = ExitStack()

    def pair(self, *, base_url: str | None, api_key: str, timeout_s: float, near: bool = True) -> Pair:
        """Clients for one endpoint; `base_url` None: the SDK's own. One that is `near` is never sought through a proxy."""
        pair = Pair(
            anthropic.Anthropic(
                base_url=base_url, api_key=api_key, max_retries=0, timeout=timeout_s,
                http_client=anthropic.DefaultHttpxClient(trust_env=False, mounts=_PAST_PROXIES) if near else None,
            ),
            anthropic.AsyncAnthropic(
                base_url=base_url, api_key=api_key, max_retries=0, timeout=timeout_s,
                http_client=anthropic.DefaultAsyncHttpxClient(trust_env=False, mounts=_PAST_PROXIES) if near else None,
            ),
        )  # fmt: skip
        self._open.callback(pair.sync.close)
        self._open.callback(lambda: self._run(pair.asynchronous.close()))
        return pair

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


def ask(client: anthropic.Anthropic, model: str, task: Task) -> Any:
    """Put a task's question, and give the whole Message."""
    words: Any = {"model": model, "max_tokens": MAX_TOKENS, "messages": [{"role": "user", "content": task.prompt}]}
    if not task.kind.endswith("stream"):
        return client.messages.create(**words)
    with client.messages.stream(**words) as stream:
        return stream.get_final_message()


async def aask(client: anthropic.AsyncAnthropic, model: str, task: Task) -> Any:
    """The same, awaited."""
    words: Any = {"model": model, "max_tokens": MAX_TOKENS, "messages": [{"role": "user", "content": task.prompt}]}
    if not task.kind.endswith("stream"):
        return await client.messages.create(**words)
    async with client.messages.stream(**words) as stream:
        return await stream.get_final_message()
