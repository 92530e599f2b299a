"""The seed's face of the executor: prompt in, LLMResponse out, by the parts of this process.

The work is done above (`calls/executor.py`); this file only asks the slot.
"""

from __future__ import annotations

from typing import Any

from attune.models.process import current
from attune.models.response import LLMResponse


class LLMExecutor:
    """Runs prompts on the model that meets the constraints. Stateless; safe to share between threads and tasks."""

    def run(
        self,
        prompt: str,
        *,
        workflow: str = "default",
        stage: str = "default",
        system: str | None = None,
        max_tokens: int = 1024,
        **constraints: Any,
    ) -> LLMResponse:
        """Answer a prompt. A provider's failure is an answer (`success` False), not an exception.

        `constraints` are those of `attune.scope`: max_cost (USD), max_latency_ms, min_success_rate (0..1), timeout_s,
        on_infeasible, model; wrong ones raise ConfigError.
        """
        return current().execute(
            prompt, workflow=workflow, stage=stage, system=system, max_tokens=max_tokens, **constraints
        )

    async def arun(
        self,
        prompt: str,
        *,
        workflow: str = "default",
        stage: str = "default",
        system: str | None = None,
        max_tokens: int = 1024,
        **constraints: Any,
    ) -> LLMResponse:
        """The same, awaited."""
        return await current().aexecute(
            prompt, workflow=workflow, stage=stage, system=system, max_tokens=max_tokens, **constraints
        )
