"""What users of anthropic's clients meet when something fails: each status, lost connections, time-outs, odd answers."""

from __future__ import annotations

from typing import Any

import anthropic
from clients.stage import HAIKU
from clients.uses import Hand, Table, all_of, raised, settle, within
from clients.uses_of_anthropic import BODY

from attune.testing import cut, fail, hang, malformed, ok, refuse

TABLE = Table("anthropic")
use = TABLE.use

STATUSES = (400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 500, 501, 503, 504, 529)
SOON_S = 0.005


def _met(status: int) -> None:
    async def error(it: Hand) -> Any:
        it.script(HAIKU, fail(status, retry_after_s=1.0))
        client = it.client.with_options(max_retries=0)
        try:
            return await settle(client.messages.create(**BODY))
        except anthropic.APIStatusError as caught:
            return caught, type(caught), caught.status_code, caught.request_id, caught.body, caught.response.json()

    error.__name__ = f"error_{status}"
    use()(error)


def _met_in_a_stream(status: int) -> None:
    async def error(it: Hand) -> Any:
        it.script(HAIKU, fail(status))
        client = it.client.with_options(max_retries=0)
        return await raised(lambda: client.messages.create(**BODY, stream=True))

    error.__name__ = f"error_{status}_of_a_stream"
    use()(error)


def _tried_again(status: int) -> None:
    async def error(it: Hand) -> Any:
        it.script(HAIKU, fail(status, retry_after_s=SOON_S), fail(status, retry_after_s=SOON_S), ok("at last"))
        return await settle(it.client.messages.create(**BODY))

    error.__name__ = f"error_{status}_then_an_answer"
    use()(error)


for _status in STATUSES:
    _met(_status)
for _status in (400, 429, 529):
    _met_in_a_stream(_status)
for _status in STATUSES:
    _tried_again(_status)


@use()
async def retries_used_up(it: Hand) -> Any:
    it.script(HAIKU, *[fail(500, retry_after_s=SOON_S)] * 4)
    return await raised(lambda: it.client.messages.create(**BODY))


@use()
async def retries_of_a_stream(it: Hand) -> Any:
    it.script(HAIKU, fail(529, retry_after_s=SOON_S))
    return await all_of(await settle(it.client.messages.create(**BODY, stream=True)))


@use()
async def retries_of_the_helper(it: Hand) -> Any:
    it.script(HAIKU, fail(529, retry_after_s=SOON_S))
    async with within(it.client.messages.stream(**BODY)) as stream:
        return await settle(stream.get_final_message())


@use()
async def retries_told_by_a_raw_response(it: Hand) -> Any:
    it.script(HAIKU, fail(529, retry_after_s=SOON_S), fail(500, retry_after_s=SOON_S))
    response = await settle(it.client.messages.with_raw_response.create(**BODY))
    return response, response.retries_taken


@use()
async def retries_told_by_a_streamed_response(it: Hand) -> Any:
    it.script(HAIKU, fail(529, retry_after_s=SOON_S))
    async with within(it.client.messages.with_streaming_response.create(**BODY)) as response:
        return response, response.retries_taken, await settle(response.parse())


@use()
async def retry_wished_by_the_server(it: Hand) -> Any:
    it.script(HAIKU, fail(400, should_retry=True, retry_after_s=SOON_S), ok("now"))
    return await settle(it.client.messages.create(**BODY))


@use()
async def retry_refused_by_the_server(it: Hand) -> Any:
    it.script(HAIKU, fail(500, should_retry=False))
    return await raised(lambda: it.client.messages.create(**BODY))


@use()
async def one_retry_for_one_call(it: Hand) -> Any:
    it.script(HAIKU, *[fail(500, retry_after_s=SOON_S)] * 3)
    return await raised(lambda: it.client.with_options(max_retries=1).messages.create(**BODY))


@use()
async def errors_of_raw_responses(it: Hand) -> Any:
    it.script(HAIKU, fail(404), fail(404))
    client = it.client.messages

    async def streamed() -> None:
        async with within(client.with_streaming_response.create(**BODY)):
            pass

    return await raised(lambda: client.with_raw_response.create(**BODY)), await raised(streamed)


@use()
async def error_of_the_helper(it: Hand) -> Any:
    it.script(HAIKU, fail(400))

    async def ask() -> None:
        async with within(it.client.messages.stream(**BODY)):
            pass

    return await raised(ask)


@use()
async def spend_limit(it: Hand) -> Any:
    it.script(HAIKU, fail("spend_limit", retry_after_s=SOON_S, should_retry=False))
    return await raised(lambda: it.client.messages.create(**BODY))


@use()
async def error_with_a_message(it: Hand) -> Any:
    it.script(HAIKU, fail(400, message="prompt is too long: 300000 tokens > 200000 maximum"))
    error: Any = await raised(lambda: it.client.messages.create(**BODY))
    return error, repr(error), error.message, getattr(error, "type", None), getattr(error, "error_code", None)


@use()
async def timed_out(it: Hand) -> Any:
    it.script(HAIKU, hang(5.0))
    return await raised(lambda: it.client.with_options(timeout=0.02, max_retries=0).messages.create(**BODY))


@use()
async def timed_out_once(it: Hand) -> Any:
    it.script(HAIKU, hang(5.0), ok("now"))
    return await settle(it.client.with_options(timeout=0.05, max_retries=1).messages.create(**BODY))


@use()
async def timed_out_in_a_stream(it: Hand) -> Any:
    it.script(HAIKU, hang(5.0, after=1))
    seen = []

    async def read() -> None:
        from clients.uses import each

        async for event in each(await settle(it.client.messages.create(**BODY, stream=True, timeout=0.05))):
            seen.append(event)

    return await raised(read), seen


@use()
async def connection_reset(it: Hand) -> Any:
    it.script(HAIKU, refuse())
    return await raised(lambda: it.client.with_options(max_retries=0).messages.create(**BODY))


@use()
async def connection_reset_once(it: Hand) -> Any:
    it.script(HAIKU, refuse(), ok("now"))
    return await settle(it.client.with_options(max_retries=1).messages.create(**BODY))


@use()
async def connection_refused(it: Hand) -> Any:
    client = it.own(base_url=it.stage.nowhere, max_retries=0)
    return await raised(lambda: client.messages.create(**BODY))


@use()
async def connection_refused_again(it: Hand) -> Any:
    client = it.own(base_url=it.stage.nowhere, max_retries=1)
    return await raised(lambda: client.messages.create(**BODY))


@use()
async def cut_off(it: Hand) -> Any:
    it.script(HAIKU, cut(1))
    return await raised(lambda: it.client.with_options(max_retries=0).messages.create(**BODY))


@use()
async def cut_off_in_a_stream(it: Hand) -> Any:
    it.script(HAIKU, cut(1))
    stream = await settle(it.client.messages.create(**BODY, stream=True))
    return await raised(lambda: all_of(stream)), stream.response.is_closed


@use()
async def malformed_answer(it: Hand) -> Any:
    it.script(HAIKU, malformed())
    return await raised(lambda: it.client.messages.create(**BODY))


@use()
async def malformed_event(it: Hand) -> Any:
    it.script(HAIKU, malformed(1))
    stream = await settle(it.client.messages.create(**BODY, stream=True))
    return await raised(lambda: all_of(stream))


def _odd(which: str) -> None:
    async def answer(it: Hand) -> Any:
        client = it.client.with_options(max_retries=0)

        async def ask() -> Any:
            return await settle(client.messages.create(**BODY, extra_headers={"x-odd": which}))

        return await raised(ask) or await ask()

    answer.__name__ = f"odd_{which}"
    use()(answer)


for _which in ("page", "text", "nothing", "object", "away", "teapot", "headers"):
    _odd(_which)


@use()
async def caught_as_the_base_class(it: Hand) -> Any:
    it.script(HAIKU, fail(429, should_retry=False))
    try:
        await settle(it.client.messages.create(**BODY))
    except anthropic.APIError as error:
        return error, isinstance(error, anthropic.RateLimitError), error.request.url.path


@use(only="async")
async def cancelled(it: Hand) -> Any:
    import asyncio

    it.script(HAIKU, hang(5.0))
    try:
        async with asyncio.timeout(0.02):
            await it.client.messages.create(**BODY)
    except TimeoutError as error:
        return type(error), type(error.__cause__), (await it.client.messages.create(**BODY)).id


@use(only="async")
async def cancelled_in_a_stream(it: Hand) -> Any:
    import asyncio

    it.script(HAIKU, hang(5.0, after=1))
    stream = await it.client.messages.create(**BODY, stream=True)
    seen = []
    try:
        async with asyncio.timeout(0.05):
            async for event in stream:
                seen.append(event)
    except TimeoutError as error:
        return seen, type(error), stream.response.is_closed
