"""How the public interface looks to a type checker. Never executed: mypy --strict and pyright read it.

Each line that would be an error carries the checker's name for it, so that a checker which stops seeing it complains.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, assert_type

import anthropic
import openai
from anthropic import Stream
from anthropic.lib.bedrock import AnthropicBedrock, AnthropicBedrockMantle, AsyncAnthropicBedrock
from anthropic.lib.vertex import AnthropicVertex
from anthropic.types import Message, RawMessageStreamEvent
from openai.types.chat import ChatCompletion

import attune
from attune.models import (
    AdaptiveModelRouter,
    AuthMode,
    AuthStrategy,
    CircuitBreaker,
    Decision,
    LLMExecutor,
    LLMResponse,
    ModelInfo,
    ModelTier,
    SubscriptionTier,
    get_auth_strategy,
    get_model,
)

messages: list[anthropic.types.MessageParam] = [{"role": "user", "content": "Say hello."}]


# wrap: the same class to the checker, and so the same answers.
def wrapped() -> None:
    client = attune.wrap(anthropic.Anthropic(), workflow="code-review", stage="analysis")
    assert_type(client, anthropic.Anthropic)
    assert_type(client.messages.create(model=attune.AUTO, max_tokens=64, messages=messages), Message)
    assert_type(
        client.messages.create(model="auto", max_tokens=64, messages=messages, stream=True),
        Stream[RawMessageStreamEvent],
    )
    assert_type(client.with_options(max_retries=0), anthropic.Anthropic)
    other = attune.wrap(
        AnthropicBedrock(),
        candidates=[
            "global.anthropic.claude-haiku-5-5",
            attune.Target(
                "claude-sonnet-5-5",
                provider="bedrock",
                alias="global.anthropic.claude-sonnet-5-5",
                tier=ModelTier.CAPABLE,
            ),
        ],
        alternates=[attune.Target("claude-sonnet-5-5", client=anthropic.Anthropic())],
        default="claude-sonnet-5-5",
        max_cost=0.01,
        max_latency_ms=3000,
        min_success_rate=0.9,
    )
    assert_type(other, AnthropicBedrock)
    assert_type(other.messages.create(model=attune.AUTO, max_tokens=64, messages=messages), Message)
    attune.wrap(anthropic.Anthropic(), stages="no such argument")  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue]


def wrapped_at_clouds() -> None:
    second = attune.Target("claude-sonnet-5-5", provider="vertex", client=AnthropicVertex(region="global"))
    assert_type(attune.wrap(anthropic.Anthropic(), alternates=[second]), anthropic.Anthropic)
    assert_type(attune.wrap(AnthropicVertex(region="global")), AnthropicVertex)
    assert_type(attune.wrap(anthropic.AnthropicFoundry(resource="r")), anthropic.AnthropicFoundry)
    assert_type(attune.wrap(AnthropicBedrockMantle()), AnthropicBedrockMantle)
    assert_type(attune.wrap(anthropic.AnthropicAWS()), anthropic.AnthropicAWS)
    assert_type(attune.wrap(anthropic.AnthropicGoogleCloud()), anthropic.AnthropicGoogleCloud)


async def wrapped_async() -> None:
    client = attune.wrap(anthropic.AsyncAnthropic())
    assert_type(client, anthropic.AsyncAnthropic)
    assert_type(await client.messages.create(model=attune.AUTO, max_tokens=64, messages=messages), Message)
    cloud = attune.wrap(AsyncAnthropicBedrock(), candidates=["global.anthropic.claude-haiku-5-5"])
    assert_type(cloud, AsyncAnthropicBedrock)
    async with client.messages.stream(model=attune.AUTO, max_tokens=64, messages=messages) as stream:
        answer: Message = await stream.get_final_message()
    del answer


def wrapped_openai() -> None:
    client = attune.wrap(openai.OpenAI())
    assert_type(client, openai.OpenAI)
    answer = client.chat.completions.create(model=attune.AUTO, messages=[{"role": "user", "content": "hello"}])
    assert_type(answer, ChatCompletion)


# instrument: words as wrap's, nothing given back.
def instrumented() -> None:
    assert_type(attune.instrument(), None)
    attune.instrument(workflow="all", candidates=["claude-haiku-5-5", attune.Target("gpt-5-mini", provider="openai")])
    attune.instrument(max_cost=0.01, min_success_rate=0.9, default="claude-haiku-5-5")
    attune.instrument(alternates=[])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(attune.uninstrument(), None)
    attune.AttuneInstrumentor().instrument(workflow="all")


# routed: the function keeps its signature, whatever its kind.
@attune.routed(workflow="code-review", stage="analysis", max_cost=0.01, max_latency_ms=3000, min_success_rate=0.9)
def review(diff: str, *, model: str = attune.AUTO) -> Message:
    return anthropic.Anthropic().messages.create(model=model, max_tokens=64, messages=messages)


@attune.routed(workflow="code-review", stage="summary", judge=lambda text: len(text) > 0, fallback=False)
async def summarise(diff: str, limit: int = 3, *, model: str = attune.AUTO) -> str:
    return diff[:limit] + model


@attune.routed(workflow="chat", stage="answer")
def words(prompt: str, *, model: str = attune.AUTO) -> Iterator[str]:
    yield prompt + model


@attune.routed(workflow="chat", stage="answer")
async def words_async(prompt: str, *, model: str = attune.AUTO) -> AsyncIterator[str]:
    yield prompt + model


class Reviewer:
    @attune.routed(
        workflow="code-review", stage="analysis", candidates=["claude-haiku-5-5"], default="claude-haiku-5-5"
    )
    def review(self, diff: str, *, model: str = attune.AUTO) -> int:
        return len(diff + model)

    @classmethod
    @attune.routed(workflow="code-review", stage="analysis")
    def review_all(cls, diffs: list[str], *, model: str = attune.AUTO) -> int:
        return len(diffs) + len(model)


async def routed() -> None:
    assert_type(review("a diff"), Message)
    assert_type(review("a diff", model="claude-opus-5-5"), Message)
    assert_type(await summarise("a diff", 2), str)
    assert_type(words("a prompt"), Iterator[str])
    assert_type(words_async("a prompt"), AsyncIterator[str])
    assert_type(Reviewer().review("a diff"), int)
    assert_type(Reviewer.review_all(["a diff"], model="auto"), int)
    pending: Awaitable[str] = summarise("a diff")
    await pending
    review(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    review("a diff", modle="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


# What is told of calls.
def told() -> None:
    with attune.scope(workflow="w", stage="s", max_cost=0.01, timeout_s=30.0, model="claude-haiku-5-5", session="a"):
        review("a diff")
    with attune.capture() as calls:
        review("a diff")
    assert_type(calls.cost, float)
    for call in calls:
        assert_type(call, attune.CallRecord)
    last = attune.last_call()
    assert_type(last, attune.CallRecord | None)
    if last is not None:
        assert_type(last.decision, Decision | None)
        assert_type(last.attempts, tuple[attune.Attempt, ...])
        attune.report_quality(last.id, 0.9)
    attune.report(cost_usd=0.01, model="claude-haiku-5-5", provider="anthropic", latency_s=1.5)
    assert_type(attune.remaining_s(), float | None)


def configured() -> None:
    runtime = attune.configure(mode="observe", state="memory", seed=7, readers=(), breaker={"failure_threshold": 5})
    assert_type(runtime, attune.Runtime)
    assert_type(runtime.faults["telemetry"], int)
    attune.wrap(anthropic.Anthropic(), runtime=runtime)
    attune.instrument()
    attune.uninstrument()
    attune.flush(5.0)
    attune.shutdown(5.0)


def refused() -> None:
    try:
        review("a diff")
    except attune.CircuitOpenError as error:
        assert_type(error.provider, str)
        assert_type(error.retry_after_s, float)
    except attune.NoModelAvailable as error:
        explanation: object = error.decision
        raise RuntimeError(explanation) from error
    except attune.DeadlineExceeded as error:
        assert_type(error.deadline_s, float)
    except (attune.StreamInterrupted, attune.CallError, attune.ConfigError, attune.AttuneError):
        raise


# attune.models: the argument-free faces.
def models() -> None:
    breaker = CircuitBreaker()
    status: dict[str, Any] = breaker.get_status()
    del status
    breaker.reset(provider="anthropic", tier="cheap")
    assert_type(breaker.allows("anthropic"), bool)
    assert_type(breaker.is_available("anthropic", tier=None), bool)
    breaker.acquire("anthropic", "claude-haiku-5-5").settle("success")
    with breaker.guard("anthropic"):
        review("a diff")
    router = AdaptiveModelRouter()
    assert_type(router.get_best_model("code-review", "analysis", max_cost=0.01, min_success_rate=0.5), str)
    assert_type(router.explain("code-review", "analysis"), Decision)
    stats: dict[str, Any] = router.get_routing_stats("code-review", stage=None, days=7)
    del stats
    assert_type(router.recommend_tier_upgrade("code-review", "analysis"), tuple[bool, str])
    response = LLMExecutor().run("a prompt", workflow="w", stage="s", system=None, max_tokens=64)
    assert_type(response, LLMResponse)
    assert_type(response.success, bool)
    assert_type(get_model("anthropic", "cheap"), ModelInfo | None)


def auth() -> None:
    strategy = AuthStrategy(subscription_tier=SubscriptionTier.MAX, default_mode=AuthMode.AUTO)
    assert_type(strategy.get_recommended_mode(600), AuthMode)
    assert_type(strategy.estimate_tokens(600), int)
    estimate: dict[str, Any] = strategy.estimate_cost(600)
    del estimate
    strategy.save()
    assert_type(AuthStrategy.load(), AuthStrategy)
    assert_type(get_auth_strategy(), AuthStrategy)
