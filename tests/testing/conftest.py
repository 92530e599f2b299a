"""A scripted provider and the real SDK in front of it, with its own retries off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import pytest

from attune.testing import ScriptedProvider

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as provider:
        yield provider


@pytest.fixture(scope="session")
def _connected() -> Iterator[anthropic.Anthropic]:
    """Making a client's pool takes longer than most of these tests."""
    with anthropic.Anthropic(base_url="http://127.0.0.1:9", api_key="scripted", max_retries=0, timeout=5) as client:
        yield client


@pytest.fixture
def client(provider: ScriptedProvider, _connected: anthropic.Anthropic) -> anthropic.Anthropic:
    return _connected.with_options(base_url=provider.url)


@pytest.fixture
def call(client: anthropic.Anthropic) -> Callable[..., Any]:
    """Ask "small" for an answer; any argument may be given."""

    def create(prompt: str = "hello", **given: Any) -> Any:
        asked = {"model": "small", "max_tokens": 100, "messages": [{"role": "user", "content": prompt}], **given}
        return client.messages.create(**asked)

    return create
