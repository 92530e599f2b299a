"""Prompt in, LLMResponse out: the executor's work. A provider's failure is an answer here, not an exception.

The only place that follows `AuthStrategy.default_mode`; a client that the user wrapped is billed as its owner made it.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import AsyncIterator
from typing import Any

from attune.calls.context import Capture, Scope, checked
from attune.calls.guard import guard
from attune.calls.runtime import Runtime
from attune.calls.site import Site
from attune.errors import CallError, CircuitOpenError, ConfigError, DeadlineExceeded, NoModelAvailable
from attune.models.auth_strategy import AuthMode, read_strategy
from attune.models.call import AUTO, CallRecord
from attune.models.failures import FailureKind
from attune.models.response import LLMResponse

log = logging.getLogger("attune.executor")

_CONSTRAINTS = ("max_cost", "max_latency_ms", "min_success_rate", "timeout_s", "on_infeasible", "model", "session")


class Prompts:
    """Answers prompts with Anthropic clients: `configure(clients=...)`'s, else ones made from the SDK's own environment."""

    def __init__(self) -> None:
        self._made: Any = None  # the sync client, where none was given
        self._by_loop: Any = None  # event loop -> async client: a connection serves the loop it was opened on alone
        self._lock = threading.Lock()

    def run(self, runtime: Runtime, prompt: str, **request: Any) -> LLMResponse:
        """See `attune.models.LLMExecutor.run`."""
        scope, body = _read(prompt, request)
        if (refused := _billed_elsewhere(runtime)) is not None:
            return refused
        with Capture() as calls:
            try:
                client = _guarded(runtime, scope, self._sync(runtime))
                answer = client.messages.create(model=scope.model or AUTO, **body)
            except Exception as error:  # noqa: BLE001 - a failure is an answer
                return _failure(runtime, error, calls[-1] if calls else None)
        return _success(runtime, answer, calls[-1] if calls else None)

    async def arun(self, runtime: Runtime, prompt: str, **request: Any) -> LLMResponse:
        """See `attune.models.LLMExecutor.arun`."""
        scope, body = _read(prompt, request)
        if (refused := _billed_elsewhere(runtime)) is not None:
            return refused
        with Capture() as calls:
            try:
                client = _guarded(runtime, scope, await self._async(runtime))
                answer = await client.messages.create(model=scope.model or AUTO, **body)
            except Exception as error:  # noqa: BLE001 - a failure is an answer
                return _failure(runtime, error, calls[-1] if calls else None)
        return _success(runtime, answer, calls[-1] if calls else None)

    def forget(self) -> None:
        """In a forked child: what is open is the parent's, and its bytes would mix with ours."""
        self._made = self._by_loop = None
        self._lock = threading.Lock()

    def _sync(self, runtime: Runtime) -> Any:
        given = runtime.live.clients.get("anthropic")
        if given is not None and not _is_async(given):
            return given
        with self._lock:
            if self._made is None:
                import anthropic

                self._made = anthropic.Anthropic(**_like(given))
            return self._made

    async def _async(self, runtime: Runtime) -> Any:
        given = runtime.live.clients.get("anthropic")
        if given is not None and _is_async(given):
            return given
        kept = self._per_loop()
        if (found := kept.get(None)) is None:
            import anthropic

            keeper = _open(anthropic.AsyncAnthropic(**_like(given)))
            found = (await anext(keeper), keeper)
            kept.set(found)
        return found[0]

    def _per_loop(self) -> Any:
        with self._lock:
            if self._by_loop is None:
                from anyio.lowlevel import RunVar

                self._by_loop = RunVar(f"executor {uuid.uuid4().hex}")  # older anyio tells RunVars apart by their names
            return self._by_loop


async def _open(client: Any) -> AsyncIterator[Any]:
    """Keep a client open until its loop ends: asyncio and trio close the generators that are left over then."""
    async with client:
        yield client


def _guarded(runtime: Runtime, scope: Scope, bare: Any) -> Any:
    dialect = runtime.dialect_of(bare)
    if dialect is None:
        raise ConfigError(f"configure(clients={{...: {type(bare).__qualname__}}}): no dialect speaks this client.")
    return guard(bare, Site(dialect=dialect, client=bare, scope=scope), lambda: runtime)


def _like(client: Any) -> dict[str, Any]:
    """What makes a client of the other colour go to the same place, by the same account, with the same patience."""
    if client is None:
        return {}
    import anthropic

    if not isinstance(client, (anthropic.Anthropic, anthropic.AsyncAnthropic)):
        name = type(client).__name__
        raise ConfigError(f"run() and arun() with a {name}: call the one that the client is made for.")
    return {
        "api_key": client.api_key,
        "auth_token": client.auth_token,
        "base_url": str(client.base_url),
        "timeout": client.timeout,
        "max_retries": client.max_retries,
        "default_headers": client._custom_headers,  # noqa: SLF001 - the public property mixes in the SDK's own
    }


def _is_async(client: Any) -> bool:
    return type(client).__name__.startswith("Async")


def _read(prompt: Any, request: dict[str, Any]) -> tuple[Scope, dict[str, Any]]:
    if not isinstance(prompt, str) or not prompt:
        raise ConfigError(f"run({type(prompt).__name__}): the prompt must be a non-empty string.")
    max_tokens = request.pop("max_tokens", 1024)
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1:
        raise ConfigError(f"run(max_tokens={max_tokens!r}): max_tokens must be a whole number, 1 or more.")
    body: dict[str, Any] = {"max_tokens": max_tokens, "messages": [{"role": "user", "content": prompt}]}
    if (system := request.pop("system", None)) is not None:
        body["system"] = system
    for name in request:
        if name not in (*_CONSTRAINTS, "workflow", "stage"):
            raise ConfigError(f"run: unknown argument {name!r}. Constraints: {', '.join(_CONSTRAINTS)}.")
    return checked("run", **request), body


def _billed_elsewhere(runtime: Runtime) -> LLMResponse | None:
    """In subscription mode nothing is sent, so that nothing is billed to the API silently."""
    strategy, problem = read_strategy()
    if problem is not None:  # a missing file is no news; a broken one may have said "subscription"
        log.log(logging.DEBUG if problem.startswith("No auth strategy") else logging.WARNING, "%s", problem)
    if strategy.default_mode is not AuthMode.SUBSCRIPTION:
        return None
    remedy = "This strategy's default_mode is subscription, which the API does not serve. Choose: attune auth setup --mode api"
    tier = runtime.default_tier
    facts = {"error_type": "ConfigError", "error": remedy, **_nothing_tried(tier)}
    return LLMResponse("", "", "anthropic", str(tier), metadata=facts)


def _nothing_tried(tier: Any) -> dict[str, Any]:
    return {
        "fallback_used": False,
        "fallback_chain": [],
        "original_provider": "anthropic",
        "original_tier": str(tier),
        "retry_count": 0,
        "circuit_breaker_state": {},
    }


def _success(runtime: Runtime, answer: Any, record: CallRecord | None) -> LLMResponse:
    content = "".join(block.text for block in answer.content if getattr(block, "type", None) == "text")
    return _response(runtime, content, record, error_type=None)


def _failure(runtime: Runtime, error: Exception, record: CallRecord | None) -> LLMResponse:
    if isinstance(error, ConfigError):
        raise error
    kind = record.attempts[-1].error_type if record is not None and record.attempts else None
    if kind is None:
        kind = _refusal(error)
    log.debug("no answer: %s (%s)", kind, type(error).__name__)
    return _response(runtime, "", record, error_type=kind, told=_told(kind, error))


def _refusal(error: Exception) -> str:
    if isinstance(error, CircuitOpenError):
        return FailureKind.CIRCUIT_OPEN.value
    if isinstance(error, DeadlineExceeded):
        return FailureKind.TIMEOUT.value
    return "NoModelAvailable" if isinstance(error, NoModelAvailable) else type(error).__name__


def _told(kind: str, error: Exception) -> dict[str, str]:
    """What to do, where that is ours to say: texts of other people's exceptions may hold anything."""
    if isinstance(error, CallError):
        return {"error": str(error)}
    if kind == FailureKind.CALLER:
        name = type(error).__name__
        return {
            "error": f"The client raised {name} and sent nothing. If it has no key: set ANTHROPIC_API_KEY, or hand a "
            "client to attune.configure(clients={'anthropic': ...})."
        }
    return {}


def _response(
    runtime: Runtime,
    content: str,
    record: CallRecord | None,
    *,
    error_type: str | None,
    told: dict[str, str] | None = None,
) -> LLMResponse:
    if record is None:  # mode "off", or nothing could be sent
        facts = {"error_type": error_type, **(told or {}), **_nothing_tried(runtime.default_tier)}
        return LLMResponse(content, "", "anthropic", str(runtime.default_tier), metadata=facts)
    attempts = record.attempts
    models = [attempt.model for attempt in attempts]
    first = attempts[0] if attempts else None
    model, provider = record.model or "", record.provider or "anthropic"
    usage = record.usage
    return LLMResponse(
        content,
        model,
        provider,
        _tier(runtime, model, provider),
        tokens_input=usage.total_input_tokens if usage is not None else 0,
        tokens_output=usage.output_tokens if usage is not None else 0,
        cost_estimate=record.cost,
        latency_ms=round(record.latency_ms),
        metadata={
            "error_type": error_type,
            **(told or {}),
            "fallback_used": len(set(models)) > 1,
            "fallback_chain": models,
            "original_provider": first.provider if first else provider,
            "original_tier": _tier(runtime, first.model, first.provider) if first else str(runtime.default_tier),
            "retry_count": sum(attempt.kind == "retry" for attempt in attempts),
            "circuit_breaker_state": runtime.circuits.status(now=runtime.clock.monotonic()),
            "call_id": record.id,
        },
    )


def _tier(runtime: Runtime, model: str, provider: str) -> str:
    info = runtime.catalogue.find(model, provider) if model else None
    return str(info.tier if info is not None and info.tier is not None else runtime.default_tier)
