"""What users do with openai's clients to get an answer: completions and responses, whole, in events, raw and parsed."""

from __future__ import annotations

from typing import Any

import openai
import pydantic
from clients.stage import GPT
from clients.uses import Hand, Table, all_of, each, following, raised, settle, within

from attune.testing import empty, ok, refusal, stream_error, tool_use, truncate

TABLE = Table("openai")
use = TABLE.use

HELLO: Any = [{"role": "user", "content": "hello"}]
CHAT: Any = {"model": GPT, "messages": HELLO}
ASK: Any = {"model": GPT, "input": "hello"}
PARAMETERS: Any = {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}
STRICT: Any = {**PARAMETERS, "additionalProperties": False}
TOOL: Any = {"type": "function", "function": {"name": "look", "strict": True, "parameters": STRICT}}
FUNCTION: Any = {"type": "function", "name": "look", "strict": True, "parameters": STRICT}


class Weather(pydantic.BaseModel):
    """What an answer is parsed into."""

    city: str
    degrees: int


WEATHER = '{"city": "Bonn", "degrees": 7}'


@use()
async def chat(it: Hand) -> Any:
    return await settle(it.client.chat.completions.create(**CHAT))


@use()
async def chat_with_everything(it: Hand) -> Any:
    return await settle(
        it.client.chat.completions.create(
            **CHAT, n=2, temperature=0.5, top_p=0.9, max_completion_tokens=50, stop=["END"], seed=7, user="someone",
            metadata={"a": "b"}, logprobs=False, presence_penalty=0.1, frequency_penalty=0.1, reasoning_effort="low",
            response_format={"type": "text"}, service_tier="auto", store=False, logit_bias={"1": 1},
        )
    )  # fmt: skip


@use()
async def chat_with_a_tool(it: Hand) -> Any:
    it.script(GPT, tool_use("look", {"at": "the sky"}))
    answer = await settle(it.client.chat.completions.create(**CHAT, tools=[TOOL], tool_choice="required"))
    return answer, answer.choices[0].message.tool_calls[0].function.arguments


@use()
async def chat_after_a_tool_s_result(it: Hand) -> Any:
    it.script(GPT, tool_use("look", {"at": "the sky"}), ok("blue"))
    first = await settle(it.client.chat.completions.create(**CHAT, tools=[TOOL]))
    result = {"role": "tool", "tool_call_id": first.choices[0].message.tool_calls[0].id, "content": "blue"}
    talk: Any = [*HELLO, first.choices[0].message, result]
    return await settle(it.client.chat.completions.create(**{**CHAT, "messages": talk}, tools=[TOOL]))


@use()
async def chat_with_an_image(it: Hand) -> Any:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    talk: Any = [{"role": "user", "content": [picture, {"type": "text", "text": "What is it?"}]}]
    return await settle(it.client.chat.completions.create(**{**CHAT, "messages": talk}))


@use()
async def chat_refused_by_the_model(it: Hand) -> Any:
    it.script(GPT, refusal("no"))
    return await settle(it.client.chat.completions.create(**CHAT))


@use()
async def chat_with_an_empty_answer(it: Hand) -> Any:
    it.script(GPT, empty())
    return await settle(it.client.chat.completions.create(**CHAT))


@use()
async def chat_with_extras(it: Hand) -> Any:
    return await settle(
        it.client.chat.completions.create(
            **CHAT, extra_headers={"x-mine": "1"}, extra_query={"q": "2"}, extra_body={"invented": [1]}, timeout=8.0
        )
    )


@use(deadline_s=60.0)
async def chat_under_a_deadline(it: Hand) -> Any:
    return await settle(it.client.chat.completions.create(**CHAT))


@use()
async def chat_without_an_argument(it: Hand) -> Any:
    return await raised(lambda: it.client.chat.completions.create(model=GPT))


@use()
async def chat_stream(it: Hand) -> Any:
    stream = await settle(it.client.chat.completions.create(**CHAT, stream=True))
    return stream, await all_of(stream), stream.response.is_closed, isinstance(stream, it.kind("Stream"))


@use()
async def chat_stream_with_usage(it: Hand) -> Any:
    options: Any = {"include_usage": True}
    return await all_of(await settle(it.client.chat.completions.create(**CHAT, stream=True, stream_options=options)))


@use()
async def chat_stream_left_early(it: Hand) -> Any:
    stream = await settle(it.client.chat.completions.create(**CHAT, stream=True))
    seen = []
    async for chunk in each(stream):
        seen.append(chunk)
        if len(seen) == 2:
            break
    await settle(stream.close())
    return seen, stream.response.is_closed


@use()
async def chat_stream_in_a_with_block(it: Hand) -> Any:
    async with within(await settle(it.client.chat.completions.create(**CHAT, stream=True))) as stream:
        seen = [await following(stream), await following(stream)]
    return seen, stream.response.is_closed


@use()
async def chat_stream_of_a_tool(it: Hand) -> Any:
    it.script(GPT, tool_use("look", {"at": "the sky"}))
    return await all_of(await settle(it.client.chat.completions.create(**CHAT, tools=[TOOL], stream=True)))


@use()
async def chat_stream_that_breaks(it: Hand) -> Any:
    it.script(GPT, stream_error("server", after=1))
    stream = await settle(it.client.chat.completions.create(**CHAT, stream=True))
    seen = []

    async def read() -> None:
        async for chunk in each(stream):
            seen.append(chunk)

    return await raised(read), seen


@use()
async def chat_stream_that_ends_too_soon(it: Hand) -> Any:
    it.script(GPT, truncate(1))
    return await all_of(await settle(it.client.chat.completions.create(**CHAT, stream=True)))


@use()
async def chat_helper(it: Hand) -> Any:
    async with within(it.client.chat.completions.stream(**CHAT)) as stream:
        seen = await all_of(stream)
        return type(stream), seen, await settle(stream.get_final_completion())


@use()
async def chat_helper_left_early(it: Hand) -> Any:
    async with within(it.client.chat.completions.stream(**CHAT)) as stream:
        first = await following(stream)
    return first, stream.current_completion_snapshot


@use()
async def chat_helper_with_a_format(it: Hand) -> Any:
    it.script(GPT, ok(WEATHER))
    async with within(it.client.chat.completions.stream(**CHAT, response_format=Weather)) as stream:
        await settle(stream.until_done())
        return (await settle(stream.get_final_completion())).choices[0].message.parsed


@use()
async def chat_parse(it: Hand) -> Any:
    it.script(GPT, ok(WEATHER))
    answer = await settle(it.client.chat.completions.parse(**CHAT, response_format=Weather))
    return answer, type(answer.choices[0].message.parsed) is Weather


@use()
async def chat_parse_of_a_tool(it: Hand) -> Any:
    class Look(pydantic.BaseModel):
        at: str

    it.script(GPT, tool_use("Look", {"at": "the sky"}))
    tool = openai.pydantic_function_tool(Look)
    answer = await settle(it.client.chat.completions.parse(**CHAT, tools=[tool]))
    return answer.choices[0].message.tool_calls[0].function.parsed_arguments.at


@use()
async def chat_parse_that_was_cut(it: Hand) -> Any:
    return await raised(
        lambda: it.client.chat.completions.parse(**CHAT, response_format=Weather, max_completion_tokens=2)
    )


@use()
async def chat_raw(it: Hand) -> Any:
    response = await settle(it.client.chat.completions.with_raw_response.create(**CHAT))
    return response, response.headers, response.http_response, response.parse(), response.request_id


@use()
async def chat_raw_stream(it: Hand) -> Any:
    response = await settle(it.client.chat.completions.with_raw_response.create(**CHAT, stream=True))
    return response, await all_of(response.parse())


@use()
async def chat_streamed_response(it: Hand) -> Any:
    async with within(it.client.chat.completions.with_streaming_response.create(**CHAT)) as response:
        return response, await settle(response.read()), await settle(response.parse())


@use()
async def chat_streamed_response_in_lines(it: Hand) -> Any:
    async with within(it.client.chat.completions.with_streaming_response.create(**CHAT, stream=True)) as response:
        return await all_of(response.iter_lines())


@use()
async def responses(it: Hand) -> Any:
    answer = await settle(it.client.responses.create(**ASK))
    return answer, answer.output_text, answer._request_id


@use()
async def responses_with_everything(it: Hand) -> Any:
    return await settle(
        it.client.responses.create(
            **ASK, instructions="Be brief.", max_output_tokens=50, metadata={"a": "b"}, temperature=0.5, top_p=0.9,
            reasoning={"effort": "low"}, parallel_tool_calls=False, store=False, truncation="auto", user="someone",
        )
    )  # fmt: skip


@use()
async def responses_with_a_tool(it: Hand) -> Any:
    it.script(GPT, tool_use("look", {"at": "the sky"}))
    return await settle(it.client.responses.create(**ASK, tools=[FUNCTION], tool_choice="auto"))


@use()
async def responses_in_events(it: Hand) -> Any:
    stream = await settle(it.client.responses.create(**ASK, stream=True))
    return stream, await all_of(stream), stream.response.is_closed


@use()
async def responses_in_events_left_early(it: Hand) -> Any:
    async with within(await settle(it.client.responses.create(**ASK, stream=True))) as stream:
        seen = [await following(stream) for _ in range(3)]
    return seen, stream.response.is_closed


@use()
async def responses_that_fail_in_a_stream(it: Hand) -> Any:
    it.script(GPT, stream_error("server", after=1))
    return await all_of(await settle(it.client.responses.create(**ASK, stream=True)))


@use()
async def responses_helper(it: Hand) -> Any:
    async with within(it.client.responses.stream(**ASK)) as stream:
        return await all_of(stream), await settle(stream.get_final_response())


@use()
async def responses_parse(it: Hand) -> Any:
    it.script(GPT, ok(WEATHER))
    answer = await settle(it.client.responses.parse(**ASK, text_format=Weather))
    return answer, answer.output_parsed


@use()
async def responses_raw(it: Hand) -> Any:
    response = await settle(it.client.responses.with_raw_response.create(**ASK))
    return response, response.parse()


@use()
async def completions(it: Hand) -> Any:
    return await settle(it.client.completions.create(model=GPT, prompt="say ok"))
