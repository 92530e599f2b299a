"""A stand-in for LLMExecutor: prepared answers out, the calls that came in on record. No model, no network.

Knows nothing of routing or circuits; a test that is about those wants a ScriptedProvider.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from attune.errors import ConfigError
from attune.models.response import LLMResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorCall:
    """One call as it came in. The prompt stays out of the repr."""

    prompt: str = field(repr=False)
    workflow: str
    stage: str
    system: str | None = field(default=None, repr=False)
    max_tokens: int | None = None
    constraints: Mapping[str, Any] = field(default_factory=dict)


Prepared = str | LLMResponse | BaseException
Responses = str | Sequence[Prepared] | Callable[[ExecutorCall], Prepared]


class FakeExecutor:
    """Answers in order with `responses`; the last one is repeated. Thread-safe.

    A text becomes an LLMResponse of `model_id`, `provider` and `tier` with four characters to a token and no cost; an
    LLMResponse is returned as it is; an exception is raised. A callable is given the ExecutorCall and returns one of
    these. Raises ConfigError if there is nothing to answer with.
    """

    def __init__(
        self,
        responses: Responses = "ok",
        *,
        model_id: str = "fake-model",
        provider: str = "fake",
        tier: str = "cheap",
    ) -> None:
        self._responses = (responses,) if isinstance(responses, str) else responses
        if not callable(self._responses) and not self._responses:
            raise ConfigError("FakeExecutor(responses=()): give it at least one answer.")
        self._names = (model_id, provider, tier)
        self._lock = threading.Lock()
        self._calls: list[ExecutorCall] = []

    @property
    def calls(self) -> tuple[ExecutorCall, ...]:
        """What came in, in order."""
        with self._lock:
            return tuple(self._calls)

    def run(
        self,
        prompt: str,
        *,
        workflow: str,
        stage: str,
        system: str | None = None,
        max_tokens: int | None = None,
        **constraints: Any,
    ) -> LLMResponse:
        """The next prepared answer."""
        call = ExecutorCall(
            prompt=prompt,
            workflow=workflow,
            stage=stage,
            system=system,
            max_tokens=max_tokens,
            constraints=constraints,
        )
        with self._lock:
            self._calls.append(call)
            turn = len(self._calls) - 1
        return self._finish(self._prepared(call, turn), call)

    async def arun(self, prompt: str, *, workflow: str, stage: str, **rest: Any) -> LLMResponse:
        """The same, awaited."""
        return self.run(prompt, workflow=workflow, stage=stage, **rest)

    def _prepared(self, call: ExecutorCall, turn: int) -> Prepared:
        if callable(self._responses):
            return self._responses(call)
        return self._responses[min(turn, len(self._responses) - 1)]

    def _finish(self, answer: Prepared, call: ExecutorCall) -> LLMResponse:
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, LLMResponse):
            return answer
        tokens = [-(-len(text) // 4) for text in (call.prompt + (call.system or ""), answer)]
        return LLMResponse(answer, *self._names, tokens_input=tokens[0], tokens_output=tokens[1])
