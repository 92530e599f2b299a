"""How a guarded openai client looks to a type checker: the same class, so the same answers. Never executed.

Each line that would be an error carries the checker's name for it, so that a checker which stops seeing it complains.
"""

from __future__ import annotations

from typing import assert_type

import openai
import pydantic
from openai import AsyncStream, Stream
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessageParam, ParsedChatCompletion
from openai.types.responses import ParsedResponse, Response, ResponseStreamEvent

import attune

messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello."}]


class Weather(pydantic.BaseModel):
    city: str


def chat() -> None:
    client = attune.wrap(openai.OpenAI(), workflow="chat", stage="answer", candidates=["gpt-5-mini"], max_cost=0.01)
    assert_type(client, openai.OpenAI)
    assert_type(client.chat.completions.create(model=attune.AUTO, messages=messages), ChatCompletion)
    assert_type(
        client.chat.completions.create(model="auto", messages=messages, stream=True), Stream[ChatCompletionChunk]
    )
    assert_type(
        client.chat.completions.parse(model="auto", messages=messages, response_format=Weather),
        ParsedChatCompletion[Weather],
    )
    assert_type(client.with_options(max_retries=0), openai.OpenAI)
    assert_type(
        client.chat.completions.with_raw_response.create(model="auto", messages=messages).parse(), ChatCompletion
    )
    with client.chat.completions.stream(model="auto", messages=messages, response_format=Weather) as stream:
        assert_type(stream.get_final_completion(), ParsedChatCompletion[Weather])
    client.chat.completions.create(model="auto", mesages=messages)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


def responses() -> None:
    client = attune.wrap(openai.OpenAI())
    assert_type(client.responses.create(model="auto", input="hello"), Response)
    assert_type(client.responses.create(model="auto", input="hello", stream=True), Stream[ResponseStreamEvent])
    assert_type(client.responses.parse(model="auto", input="hello", text_format=Weather), ParsedResponse[Weather])


async def asynchronous() -> None:
    client = attune.wrap(openai.AsyncOpenAI(), alternates=[openai.AsyncOpenAI(base_url="http://localhost:1/v1")])
    assert_type(client, openai.AsyncOpenAI)
    assert_type(await client.chat.completions.create(model=attune.AUTO, messages=messages), ChatCompletion)
    assert_type(
        await client.chat.completions.create(model="auto", messages=messages, stream=True),
        AsyncStream[ChatCompletionChunk],
    )
    assert_type(await client.responses.create(model="auto", input="hello"), Response)


def azure() -> None:
    client = attune.wrap(openai.AzureOpenAI(api_version="2026-01-01"), candidates=["our-deployment"])
    assert_type(client, openai.AzureOpenAI)
    assert_type(attune.wrap(openai.AsyncAzureOpenAI(api_version="2026-01-01")), openai.AsyncAzureOpenAI)
    attune.wrap(openai.OpenAI(), stages="no such argument")  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue]
