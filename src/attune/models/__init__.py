"""The models feature: which model, may we call it, how is it billed.

The seed's names, each loaded from its own file at first use, so that importing the package stays cheap. This file decides
nothing; a name that users of other libraries look for in vain is told its replacement.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attune.models.adaptive import AdaptiveModelRouter as AdaptiveModelRouter
    from attune.models.auth_strategy import AUTH_STRATEGY_FILE as AUTH_STRATEGY_FILE
    from attune.models.auth_strategy import AuthMode as AuthMode
    from attune.models.auth_strategy import AuthStrategy as AuthStrategy
    from attune.models.auth_strategy import SubscriptionTier as SubscriptionTier
    from attune.models.auth_strategy import count_lines_of_code as count_lines_of_code
    from attune.models.auth_strategy import get_auth_strategy as get_auth_strategy
    from attune.models.auth_strategy import get_module_size_category as get_module_size_category
    from attune.models.call import Attempt as Attempt
    from attune.models.call import CallRecord as CallRecord
    from attune.models.call import Target as Target
    from attune.models.call import Transition as Transition
    from attune.models.circuit_breaker import CircuitBreaker as CircuitBreaker
    from attune.models.decision import Candidate as Candidate
    from attune.models.decision import Decision as Decision
    from attune.models.executor import LLMExecutor as LLMExecutor
    from attune.models.failures import FailureKind as FailureKind
    from attune.models.lookup import MODEL_REGISTRY as MODEL_REGISTRY
    from attune.models.lookup import get_all_models as get_all_models
    from attune.models.lookup import get_model as get_model
    from attune.models.lookup import get_pricing_for_model as get_pricing_for_model
    from attune.models.performance import ModelPerformance as ModelPerformance
    from attune.models.performance import TelemetryReader as TelemetryReader
    from attune.models.registry import ModelInfo as ModelInfo
    from attune.models.registry import ModelTier as ModelTier
    from attune.models.response import LLMResponse as LLMResponse
    from attune.models.response import Usage as Usage
    from attune.models.retry import RetryPolicy as RetryPolicy
    from attune.models.snapshot import Snapshot as Snapshot

_HOMES: Mapping[str, str] = {
    "AdaptiveModelRouter": "adaptive",
    "Attempt": "call",
    "AUTH_STRATEGY_FILE": "auth_strategy",
    "AuthMode": "auth_strategy",
    "AuthStrategy": "auth_strategy",
    "CallRecord": "call",
    "Candidate": "decision",
    "CircuitBreaker": "circuit_breaker",
    "Decision": "decision",
    "FailureKind": "failures",
    "LLMExecutor": "executor",
    "LLMResponse": "response",
    "MODEL_REGISTRY": "lookup",
    "ModelInfo": "registry",
    "ModelPerformance": "performance",
    "ModelTier": "registry",
    "RetryPolicy": "retry",
    "Snapshot": "snapshot",
    "SubscriptionTier": "auth_strategy",
    "Target": "call",
    "TelemetryReader": "performance",
    "Transition": "call",
    "Usage": "response",
    "count_lines_of_code": "auth_strategy",
    "get_all_models": "lookup",
    "get_auth_strategy": "auth_strategy",
    "get_model": "lookup",
    "get_module_size_category": "auth_strategy",
    "get_pricing_for_model": "lookup",
}

_REPLACED: Mapping[str, str] = {
    "CircuitBreakerState": "attune.models.CircuitBreaker().get_status()",
    "EmpathyLLMExecutor": "attune.models.LLMExecutor",
    "FallbackPolicy": "attune.wrap(client, candidates=[...], alternates=[...])",
    "FallbackStep": "attune.Target",
    "LLMCallRecord": "attune.models.CallRecord",
    "MockLLMExecutor": "attune.testing.FakeExecutor",
    "ModelProvider": "a provider's name as a string, such as 'anthropic'",
    "ResilientExecutor": "attune.models.LLMExecutor",
    "TelemetryStore": "attune.telemetry.OtlpFileReader",
    "cmd_auth_reset": "attune.cli.auth.cmd_auth_reset",
    "cmd_auth_setup": "attune.cli.auth.cmd_auth_setup",
    "cmd_auth_status": "attune.cli.auth.cmd_auth_status",
    "estimate_cost": "attune.models.AuthStrategy.estimate_cost",
    "get_telemetry_store": "attune.telemetry.OtlpFileReader",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605 - one list of names, kept above


def __getattr__(name: str) -> Any:
    """Load a public name from the file it lives in."""
    if (home := _HOMES.get(name)) is not None:
        return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    if (replacement := _REPLACED.get(name)) is not None:
        raise ImportError(f"attune.models has no {name}. Use {replacement}.")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(sorted(_HOMES))}")


def __dir__() -> list[str]:
    return sorted(_HOMES)
