"""What users do with anthropic's clients to get an answer: whole, in events, raw, parsed, with tools."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import anthropic
import pydantic
from anthropic.resources.beta.messages import Messages as BetaMessages
from anthropic.resources.messages import Messages
from clients.stage import HAIKU, SONNET
from clients.uses import Hand, Table, all_of, each, following, raised, settle, within

from attune.testing import empty, ok, refusal, stream_error, tool_use, truncate

TABLE = Table("anthropic")
use = TABLE.use

HELLO: Any = [{"role": "user", "content": "hello"}]
BODY: Any = {"model": HAIKU, "max_tokens": 60, "messages": HELLO}
TOOL: Any = {"name": "look", "description": "Look.", "input_schema": {"type": "object", "properties": {}}}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Weather(pydantic.BaseModel):
    """What an answer is parsed into."""

    city: str
    degrees: int


@contextlib.contextmanager
def heard() -> Iterator[list[warnings.WarningMessage]]:
    """All warnings of a block."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield warned


def told_warnings(warned: list[warnings.WarningMessage]) -> Any:
    """What a user reads of them: the kind, the words, and the line that they blame."""
    return [(one.category, str(one.message), one.filename, one.lineno) for one in warned]


WEATHER = '{"city": "Bonn", "degrees": 7}'


@use()
async def create(it: Hand) -> Any:
    return await settle(it.client.messages.create(**BODY))


@use()
async def create_with_everything(it: Hand) -> Any:
    return await settle(
        it.client.messages.create(
            **BODY,
            system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
            metadata={"user_id": "someone"},
            stop_sequences=["END"],
            temperature=0.5,
            top_k=3,
            top_p=0.9,
            service_tier="auto",
        )
        if "temperature" in Messages.create.__annotations__
        else it.client.messages.create(
            **BODY,
            system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
            metadata={"user_id": "someone"},
            stop_sequences=["END"],
            service_tier="auto",
        )
    )


@use()
async def create_with_a_system_prompt(it: Hand) -> Any:
    return await settle(it.client.messages.create(**BODY, system="Be brief."))


@use()
async def create_with_thinking(it: Hand) -> Any:
    thinking: Any = {"type": "enabled", "budget_tokens": 1024}
    with heard() as warned:
        answer = await settle(it.client.messages.create(**{**BODY, "max_tokens": 2048}, thinking=thinking))
    return answer, told_warnings(warned)


@use()
async def create_with_a_tool(it: Hand) -> Any:
    it.script(HAIKU, tool_use("look", {"at": "the sky"}))
    answer = await settle(it.client.messages.create(**BODY, tools=[TOOL], tool_choice={"type": "tool", "name": "look"}))
    return answer, answer.content[-1].input, type(answer.content[-1])


@use()
async def create_after_a_tool_s_result(it: Hand) -> Any:
    call = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "sky"}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "blue"}]}
    talk: Any = [*HELLO, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    return await settle(it.client.messages.create(**{**BODY, "messages": talk}, tools=[TOOL]))


@use()
async def create_with_an_image(it: Hand) -> Any:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    talk: Any = [{"role": "user", "content": [picture, {"type": "text", "text": "What is it?"}]}]
    return await settle(it.client.messages.create(**{**BODY, "messages": talk}))


@use()
async def create_from_a_conversation_of_sdk_objects(it: Hand) -> Any:
    first = await settle(it.client.messages.create(**BODY))
    talk: Any = [*HELLO, {"role": "assistant", "content": first.content}, *HELLO]
    return first, await settle(it.client.messages.create(**{**BODY, "messages": iter(talk)}))


@use()
async def create_cut_at_max_tokens(it: Hand) -> Any:
    return await settle(it.client.messages.create(**{**BODY, "max_tokens": 2}))


@use()
async def create_refused_by_the_model(it: Hand) -> Any:
    it.script(HAIKU, refusal("no"))
    return await settle(it.client.messages.create(**BODY))


@use()
async def create_with_an_empty_answer(it: Hand) -> Any:
    it.script(HAIKU, empty())
    return await settle(it.client.messages.create(**BODY))


@use()
async def create_at_an_unknown_model(it: Hand) -> Any:
    return await settle(it.client.messages.create(**{**BODY, "model": "a-model-of-tomorrow"}))


@use()
async def create_at_a_deprecated_model(it: Hand) -> Any:
    with heard() as warned:
        answer = await settle(it.client.messages.create(**{**BODY, "model": "claude-2.1"}))
    return answer, told_warnings(warned)


@use()
async def create_with_extras(it: Hand) -> Any:
    return await settle(
        it.client.messages.create(
            **BODY,
            extra_headers={"x-mine": "1", "anthropic-beta": "b1,b2"},
            extra_query={"page": "2", "deep": {"a": 1}},
            extra_body={"invented": {"deep": [1, None]}},
        )
    )


@use()
async def create_with_another_model_in_extra_body(it: Hand) -> Any:
    return await settle(it.client.messages.create(**BODY, extra_body={"model": SONNET}))


@use()
async def create_with_headers_taken_away(it: Hand) -> Any:
    gone: Any = {"x-stainless-lang": anthropic.omit, "User-Agent": "me"} if hasattr(anthropic, "omit") else {"x": "y"}
    return await settle(it.client.messages.create(**BODY, extra_headers=gone))


@use()
async def create_with_a_timeout(it: Hand) -> Any:
    return await settle(it.client.messages.create(**BODY, timeout=7.5))


@use()
async def create_with_a_timeout_in_parts(it: Hand) -> Any:
    return await settle(it.client.messages.create(**BODY, timeout=anthropic.Timeout(9.0, connect=2.0)))


@use()
async def create_without_a_timeout(it: Hand) -> Any:
    return await settle(it.client.messages.create(**BODY, timeout=None))


@use(deadline_s=60.0)
async def create_under_a_deadline(it: Hand) -> Any:
    return await settle(it.client.messages.create(**BODY))


@use(deadline_s=60.0)
async def create_with_a_timeout_under_a_deadline(it: Hand) -> Any:
    return await settle(it.client.messages.create(**BODY, timeout=anthropic.Timeout(9.0, connect=2.0)))


@use(deadline_s=60.0)
async def stream_under_a_deadline(it: Hand) -> Any:
    async with within(it.client.messages.stream(**BODY)) as stream:
        return await settle(stream.get_final_message())


@use()
async def create_without_an_argument(it: Hand) -> Any:
    return await raised(lambda: it.client.messages.create(model=HAIKU, messages=HELLO))


@use()
async def create_with_a_misspelt_argument(it: Hand) -> Any:
    return await raised(lambda: it.client.messages.create(**BODY, sistem="x"))


@use()
async def create_with_so_many_tokens_that_it_must_stream(it: Hand) -> Any:
    return await raised(lambda: it.client.messages.create(**{**BODY, "max_tokens": 900_000}))


@use()
async def create_read_as_a_dictionary_and_as_json(it: Hand) -> Any:
    answer = await settle(it.client.messages.create(**BODY))
    return answer.to_dict(), answer.to_json(), answer.model_dump(), repr(answer), answer._request_id


@use()
async def stream_iterated(it: Hand) -> Any:
    stream = await settle(it.client.messages.create(**BODY, stream=True))
    return stream, await all_of(stream), stream.response.is_closed


@use()
async def stream_read_by_next(it: Hand) -> Any:
    stream = await settle(it.client.messages.create(**BODY, stream=True))
    first = await following(stream)
    return first, await following(stream), await all_of(stream)


@use()
async def stream_left_early(it: Hand) -> Any:
    stream = await settle(it.client.messages.create(**BODY, stream=True))
    seen = []
    async for event in each(stream):
        seen.append(event)
        if len(seen) == 3:
            break
    await settle(stream.close())
    return seen, stream.response.is_closed, await all_of(stream)


@use()
async def stream_in_a_with_block(it: Hand) -> Any:
    async with within(await settle(it.client.messages.create(**BODY, stream=True))) as stream:
        seen = [await following(stream), await following(stream)]
    return stream, seen, stream.response.is_closed


@use()
async def stream_closed_unread_and_twice(it: Hand) -> Any:
    stream = await settle(it.client.messages.create(**BODY, stream=True))
    await settle(stream.close())
    await settle(stream.close())
    return stream, stream.response.is_closed


@use()
async def stream_iterated_twice(it: Hand) -> Any:
    stream = await settle(it.client.messages.create(**BODY, stream=True))
    return await all_of(stream), await all_of(stream), await raised(lambda: following(stream))


@use()
async def stream_s_response(it: Hand) -> Any:
    stream = await settle(it.client.messages.create(**BODY, stream=True))
    seen = stream.response.headers, stream.response.status_code, stream.response.http_version, isinstance(
        stream, it.kind("Stream")
    )  # fmt: skip
    await settle(stream.close())
    return seen


@use()
async def stream_that_breaks_with_an_error(it: Hand) -> Any:
    it.script(HAIKU, stream_error("overloaded", after=1))
    seen = []
    stream = await settle(it.client.messages.create(**BODY, stream=True))
    try:
        async for event in each(stream):
            seen.append(event)
    except anthropic.APIError as error:
        return seen, error
    return seen


@use()
async def stream_that_ends_too_soon(it: Hand) -> Any:
    it.script(HAIKU, truncate(1))
    return await all_of(await settle(it.client.messages.create(**BODY, stream=True)))


@use()
async def stream_of_a_tool(it: Hand) -> Any:
    it.script(HAIKU, tool_use("look", {"at": "the sky"}))
    return await all_of(await settle(it.client.messages.create(**BODY, tools=[TOOL], stream=True)))


@use()
async def helper_text_stream(it: Hand) -> Any:
    async with within(it.client.messages.stream(**BODY)) as stream:
        texts = await all_of(stream.text_stream)
    return type(stream), texts, await settle(stream.get_final_message())


@use()
async def helper_events(it: Hand) -> Any:
    async with within(it.client.messages.stream(**BODY)) as stream:
        seen = []
        async for event in each(stream):
            seen.append((event.type, getattr(event, "snapshot", None), stream.current_message_snapshot.stop_reason))
    return seen


@use()
async def helper_final_text(it: Hand) -> Any:
    async with within(it.client.messages.stream(**BODY)) as stream:
        text = await settle(stream.get_final_text())
        return text, stream.response, stream.request_id


@use()
async def helper_until_done(it: Hand) -> Any:
    it.script(HAIKU, tool_use("look", {"at": "the sky"}))
    async with within(it.client.messages.stream(**BODY, tools=[TOOL])) as stream:
        await settle(stream.until_done())
        return stream.current_message_snapshot, await raised(lambda: stream.get_final_text())


@use()
async def helper_left_early(it: Hand) -> Any:
    async with within(it.client.messages.stream(**BODY)) as stream:
        first = await following(stream)
    return first, stream.response.is_closed, await raised(lambda: following(stream))


@use()
async def helper_left_by_an_exception(it: Hand) -> Any:
    async def leave() -> None:
        async with within(it.client.messages.stream(**BODY)) as stream:
            await following(stream)
            raise KeyError("mine")

    return await raised(leave)


@use()
async def helper_never_entered(it: Hand) -> Any:
    manager = it.client.messages.stream(**BODY)
    async with within(manager) as stream:
        await settle(stream.close())
    return type(manager), stream.response.is_closed


@use()
async def helper_that_breaks(it: Hand) -> Any:
    it.script(HAIKU, stream_error("server", after=1))
    async with within(it.client.messages.stream(**BODY)) as stream:
        return await raised(lambda: stream.get_final_message()), stream.current_message_snapshot


@use()
async def raw(it: Hand) -> Any:
    response = await settle(it.client.messages.with_raw_response.create(**BODY))
    parsed = await settle(response.parse())
    return response, response.headers, response.http_response, parsed, await settle(response.parse()) is parsed


@use()
async def raw_stream(it: Hand) -> Any:
    response = await settle(it.client.messages.with_raw_response.create(**BODY, stream=True))
    stream = await settle(response.parse())
    return response, stream, await all_of(stream)


@use()
async def streamed_response_read(it: Hand) -> Any:
    async with within(it.client.messages.with_streaming_response.create(**BODY)) as response:
        before = response.is_closed
        return response, before, await settle(response.read()), await settle(response.json())


@use()
async def streamed_response_in_lines(it: Hand) -> Any:
    async with within(it.client.messages.with_streaming_response.create(**BODY, stream=True)) as response:
        return response, await all_of(response.iter_lines())


@use()
async def streamed_response_in_texts(it: Hand) -> Any:
    async with within(it.client.messages.with_streaming_response.create(**BODY)) as response:
        return "".join(await all_of(response.iter_text())), response.num_bytes_downloaded if hasattr(
            response, "num_bytes_downloaded"
        ) else None


@use()
async def streamed_response_parsed(it: Hand) -> Any:
    async with within(it.client.messages.with_streaming_response.create(**BODY)) as response:
        return await settle(response.parse()), response.headers.get("request-id")


@use()
async def streamed_response_left_unread(it: Hand) -> Any:
    async with within(it.client.messages.with_streaming_response.create(**BODY)) as response:
        pass
    return response, response.is_closed


@use(when=hasattr(Messages, "parse"))
async def parse(it: Hand) -> Any:
    it.script(HAIKU, ok(WEATHER))
    answer = await settle(it.client.messages.parse(**BODY, output_format=Weather))
    return answer, answer.parsed_output, type(answer.parsed_output) is Weather


@use(when=hasattr(Messages, "parse"))
async def parse_what_does_not_fit(it: Hand) -> Any:
    it.script(HAIKU, ok("no weather"))
    error = await raised(lambda: it.client.messages.parse(**BODY, output_format=Weather))
    return type(error), str(error)


@use(when=hasattr(Messages, "parse"))
async def helper_with_an_output_format(it: Hand) -> Any:
    it.script(HAIKU, ok(WEATHER))
    async with within(it.client.messages.stream(**BODY, output_format=Weather)) as stream:
        return (await settle(stream.get_final_message())).parsed_output


@use()
async def beta_create(it: Hand) -> Any:
    return await settle(it.client.beta.messages.create(**BODY, betas=["context-1m-2025-08-07"]))


@use()
async def beta_stream(it: Hand) -> Any:
    stream = await settle(it.client.beta.messages.create(**BODY, betas=["b"], stream=True))
    return stream, await all_of(stream)


@use()
async def beta_helper(it: Hand) -> Any:
    async with within(it.client.beta.messages.stream(**BODY)) as stream:
        return await all_of(stream.text_stream), await settle(stream.get_final_message())


@use()
async def beta_raw(it: Hand) -> Any:
    response = await settle(it.client.beta.messages.with_raw_response.create(**BODY))
    return response, await settle(response.parse())


@use(when=hasattr(BetaMessages, "parse"))
async def beta_parse(it: Hand) -> Any:
    it.script(HAIKU, ok(WEATHER))
    with heard() as warned:
        answer = await settle(it.client.beta.messages.parse(**BODY, output_format=Weather))
    return answer.parsed_output, told_warnings(warned)


@use()
async def streamed_response_parsed_as_a_stream(it: Hand) -> Any:
    async with within(it.client.messages.with_streaming_response.create(**BODY, stream=True)) as response:
        return await all_of(await settle(response.parse()))


@use()
async def beta_streamed_response(it: Hand) -> Any:
    async with within(it.client.beta.messages.with_streaming_response.create(**BODY)) as response:
        return response, "".join(await all_of(response.iter_text()))


@use(when=hasattr(BetaMessages, "thread"))
async def thread(it: Hand) -> Any:
    talk = it.client.beta.messages.thread(model=HAIKU, max_tokens=60)
    said = [await settle(talk.send(*HELLO)), await settle(talk.send(*HELLO))]
    async with within(talk.stream(*HELLO)) as stream:
        said.append(await settle(stream.get_final_message()))
    return said, talk.previous_message_id, talk.messages


def _tool(it: Hand) -> Any:
    if it.asynchronous:

        @anthropic.beta_async_tool
        async def look(at: str) -> str:
            """Look at something.

            Args:
                at: What to look at.
            """
            return f"seen: {at}"

        return look

    @anthropic.beta_tool
    def look(at: str) -> str:
        """Look at something.

        Args:
            at: What to look at.
        """
        return f"seen: {at}"

    return look


@use(when=hasattr(BetaMessages, "tool_runner"))
async def tool_runner(it: Hand) -> Any:
    it.script(HAIKU, tool_use("look", {"at": "the sky"}), tool_use("look", {"at": "the sea"}), ok("blue"))
    return await all_of(it.client.beta.messages.tool_runner(**BODY, tools=[_tool(it)]))


@use(when=hasattr(BetaMessages, "tool_runner"))
async def tool_runner_until_done(it: Hand) -> Any:
    it.script(HAIKU, tool_use("look", {"at": "the sky"}), ok("blue"))
    runner = it.client.beta.messages.tool_runner(**BODY, tools=[_tool(it)], max_iterations=5)
    return await settle(runner.until_done())


@use(when=hasattr(BetaMessages, "tool_runner"))
async def tool_runner_with_streams(it: Hand) -> Any:
    it.script(HAIKU, tool_use("look", {"at": "the sky"}), ok("blue"))
    seen = []
    async for stream in each(it.client.beta.messages.tool_runner(**BODY, tools=[_tool(it)], stream=True)):
        seen.append((type(stream), await all_of(stream), await settle(stream.get_final_message())))
    return seen
