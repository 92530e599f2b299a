"""What users of anthropic's clients meet when something fails: each status, lost connections, time-outs, odd answers."""

from __future__ import annotations

import inspect
from typing import Any

import anthropic
from clients.stage import HAIKU
from clients.uses import Hand, Table, all_of, each, http_of, one_of, raised, settle, within
from clients.uses_of_anthropic import BODY

from attune.testing import cut, fail, hang, malformed, ok, refuse

TABLE = Table("anthropic")
use = TABLE.use


STATUSES = (400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 500, 501, 503, 504, 529)
SOON_S = 0.005
HAS_MIDDLEWARE = hasattr(anthropic.Anthropic, "with_middleware")
HAS_CREDENTIALS = "credentials" in inspect.signature(anthropic.Anthropic).parameters


def _met(status: int) -> None:
    async def error(it: Hand) -> Any:
        it.script(HAIKU, fail(status, retry_after_s=1.0))
        client = it.client.with_options(max_retries=0)
        try:
            return await settle(client.messages.create(**BODY))
        except anthropic.APIStatusError as caught:
            return caught, type(caught), caught.status_code, caught.request_id, caught.body, caught.response.json()

    error.__name__ = f"error_{status}"
    use(only=one_of(status))(error)


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
        try:
            return await settle(it.client.messages.create(**BODY))
        except anthropic.APIStatusError as caught:
            return caught

    error.__name__ = f"error_{status}_then_an_answer"
    use(only=one_of(status + 1))(error)


for _status in STATUSES:
    _met(_status)
for _status in (400, 429, 529):
    _met_in_a_stream(_status)
for _status in (400, 404, 408, 409, 413, 429, 500, 503, 529):
    _tried_again(_status)


@use()
async def retries_used_up(it: Hand) -> Any:
    it.script(HAIKU, *[fail(500, retry_after_s=SOON_S)] * 4)
    return await raised(lambda: it.client.messages.create(**BODY))


@use()
async def retries_of_a_body_that_can_be_read_once(it: Hand) -> Any:
    it.script(HAIKU, fail(500, retry_after_s=SOON_S), fail(500, retry_after_s=SOON_S))
    parts = ({"type": "text", "text": word} for word in ("one", "two"))
    talk: Any = iter([{"role": "user", "content": parts}])
    return await settle(it.client.messages.create(**{**BODY, "messages": talk}))


@use(when=HAS_CREDENTIALS)
async def a_token_that_is_not_valid_any_more(it: Hand) -> Any:
    from anthropic.lib.credentials import AccessToken

    minted = []

    def provide(**_: Any) -> AccessToken:
        minted.append(1)
        return AccessToken(token=f"token-{len(minted)}", expires_at=None)

    client = it.own(api_key=None, credentials=provide)
    it.script(HAIKU, ok("one"), fail(401), ok("two"), fail(401), fail(401), ok("three"))
    said = [await settle(client.messages.create(**BODY)), await settle(client.messages.create(**BODY))]
    refused = await raised(lambda: client.messages.create(**BODY))
    return said, refused, await settle(client.messages.create(**BODY)), len(minted)


@use(when=HAS_MIDDLEWARE)
async def a_retry_that_middleware_wishes(it: Hand) -> Any:
    seen: list[int] = []

    def sync(request: Any, call_next: Any) -> Any:
        seen.append(1)
        if len(seen) < 3:
            raise anthropic.RetryableError("again")
        return call_next(request)

    async def asynchronous(request: Any, call_next: Any) -> Any:
        seen.append(1)
        if len(seen) < 3:
            raise anthropic.RetryableError("again")
        return await call_next(request)

    client = it.client.with_middleware(asynchronous if it.asynchronous else sync)
    return await settle(client.messages.create(**BODY)), len(seen)


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
    error = await raised(lambda: it.client.with_options(timeout=0.02, max_retries=0).messages.create(**BODY))
    await it.arrived(1)
    return error


@use()
async def timed_out_once(it: Hand) -> Any:
    late = [http_of(anthropic).ReadTimeout("late")]

    def wait(request: Any) -> None:
        if late:
            raise late.pop()

    return await settle(it.own(hooks={"request": wait}, max_retries=1).messages.create(**BODY))


@use()
async def timed_out_in_a_stream(it: Hand) -> Any:
    seen = []
    http = http_of(anthropic)

    class Late(http.SyncByteStream, http.AsyncByteStream):
        """The first piece of a response, and then nothing for too long."""

        def __init__(self, stream: Any) -> None:
            self.stream = stream

        def __iter__(self) -> Any:
            yield next(iter(self.stream))
            raise http.ReadTimeout("late")

        async def __aiter__(self) -> Any:
            async for piece in self.stream:
                yield piece
                raise http.ReadTimeout("late")

        def close(self) -> None:
            self.stream.close()

        async def aclose(self) -> None:
            await self.stream.aclose()

    def slow(response: Any) -> None:
        response.stream = Late(response.stream)

    it.script(HAIKU, hang(5.0, after=1))
    stream = await settle(it.own(hooks={"response": slow}).messages.create(**BODY, stream=True))

    async def read() -> None:
        async for event in each(stream):
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
    use(only=one_of(len(which)))(answer)


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
    asking = asyncio.ensure_future(it.client.messages.create(**BODY))
    await it.arrived(1)
    asking.cancel("enough")
    try:
        await asking
    except asyncio.CancelledError as error:
        return error.args, asking.cancelled(), (await it.client.messages.create(**BODY)).id


@use(only="async")
async def cancelled_in_a_stream(it: Hand) -> Any:
    import asyncio

    it.script(HAIKU, hang(5.0, after=1))
    stream = await it.client.messages.create(**BODY, stream=True)
    seen = []

    async def read() -> None:
        async for event in stream:
            seen.append(event)

    reading = asyncio.ensure_future(read())
    while len(seen) < 3:  # noqa: ASYNC110 - an event for each would say no more
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.001)
    reading.cancel()
    try:
        await reading
    except asyncio.CancelledError:
        return seen, reading.cancelled(), stream.response.is_closed
