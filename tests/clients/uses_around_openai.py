"""What users do with openai's clients beside asking, and what they meet when something fails."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import openai
from clients.stage import GPT
from clients.uses import Hand, Table, all_of, one_of, raised, settle, within
from clients.uses_of_openai import ASK, CHAT

from attune.testing import cut, fail, hang, malformed, ok, refuse

TABLE = Table("openai")
use = TABLE.use

STATUSES = (400, 401, 403, 404, 409, 413, 422, 429, 500, 503)
SOON_S = 0.005


@use()
async def embeddings(it: Hand) -> Any:
    asked: Any = {"model": "text-embedding-3-small", "input": "hello"}
    return await settle(it.client.embeddings.create(**asked)), await settle(
        it.client.embeddings.create(**asked, encoding_format="float")
    )


@use()
async def moderations(it: Hand) -> Any:
    return await settle(it.client.moderations.create(input="hello"))


@use()
async def models(it: Hand) -> Any:
    return await all_of(it.client.models.list()), await raised(lambda: it.client.models.retrieve("none"))


@use()
async def files(it: Hand) -> Any:
    made = await settle(it.client.files.create(file=("a.jsonl", b"{}"), purpose="batch"))
    content = await settle(it.client.files.content(made.id))
    page = await settle(it.client.files.list())
    return made, content.content, page, await settle(it.client.files.delete(made.id))


@use()
async def options_and_copies(it: Hand) -> Any:
    client = it.client.with_options(timeout=3.0, max_retries=5, default_headers={"x-mine": "1"}).copy(max_retries=1)
    seen = client.timeout, client.max_retries, isinstance(client, it.kind("OpenAI"))
    return seen, await settle(client.chat.completions.create(**CHAT))


@use()
async def a_client_in_a_with_block(it: Hand) -> Any:
    async with within(it.own()) as client:
        answer = await settle(client.chat.completions.create(**CHAT))
    return answer, client.is_closed(), await raised(lambda: client.chat.completions.create(**CHAT))


@use()
async def a_client_with_other_defaults(it: Hand) -> Any:
    client = it.own(timeout=11.0, max_retries=7, organization="org", project="proj", default_query={"v": "2"})
    return client.timeout, client.max_retries, await settle(client.chat.completions.create(**CHAT))


@use()
async def a_key_that_is_asked_for(it: Hand) -> Any:
    asked: list[int] = []

    def key() -> str:
        asked.append(1)
        return f"key-{len(asked)}"

    async def akey() -> str:
        return key()

    client = it.own(api_key=akey if it.asynchronous else key)
    first = await settle(client.chat.completions.create(**CHAT))
    return first, await settle(client.with_options(timeout=2).chat.completions.create(**CHAT)), len(asked)


@use()
async def properties(it: Hand) -> Any:
    client = it.client
    return (
        client.api_key, client.base_url, client.default_headers, client.default_query, client.max_retries,
        client.timeout, client.auth_headers, client.user_agent, client.organization, client.project,
    )  # fmt: skip


@use()
async def likeness(it: Hand) -> Any:
    client = it.client
    asked = (client.chat.completions.create, client.responses.create, client.request, client.copy)
    public = [name for name in dir(client) if not name.startswith("_")]
    return repr(type(client)), public, asked, [inspect.getdoc(each) for each in asked], client == client.copy()


@use()
async def copied_and_pickled(it: Hand) -> Any:
    twin = copy.copy(it.client)
    answer = await settle(twin.chat.completions.create(**CHAT))
    same = pickle.loads(pickle.dumps(answer)) == answer
    return (
        type(twin),
        same,
        await raised(lambda: copy.deepcopy(it.client)),
        await raised(lambda: pickle.dumps(it.client)),
    )


@use()
async def strict_validation(it: Hand) -> Any:
    client = it.own(_strict_response_validation=True)
    return await raised(lambda: client.chat.completions.create(**CHAT, extra_headers={"x-odd": "text"}))


@use()
async def post_and_get(it: Hand) -> Any:
    answer = await settle(it.client.post("/chat/completions", cast_to=object, body={**CHAT}))
    return answer, await settle(it.client.get("/models", cast_to=object))


@use()
async def endpoints_that_no_model_of_text_answers(it: Hand) -> Any:
    client = it.client.with_options(max_retries=0)
    asked = [
        lambda: client.images.generate(model="gpt-image-1", prompt="a cat"),
        lambda: client.audio.speech.create(model="tts-1", voice="alloy", input="hello"),
        lambda: client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"RIFF")),
        lambda: client.batches.create(completion_window="24h", endpoint="/v1/responses", input_file_id="file_1"),
        lambda: client.responses.retrieve("resp_1"),
        lambda: client.responses.cancel("resp_1"),
        lambda: client.fine_tuning.jobs.create(model=GPT, training_file="file_1"),
        lambda: client.vector_stores.create(name="v"),
    ]
    return [await raised(each) for each in asked]


@use(only="sync")
async def the_module_s_own_client(it: Hand) -> Any:
    """Which only `attune.instrument` can guard."""
    made = it.client
    openai.api_key, openai.base_url, openai.http_client = "k", made.base_url, made._client
    try:
        answer = openai.chat.completions.create(**CHAT)
        return answer, [chunk.id for chunk in openai.chat.completions.create(**CHAT, stream=True)]
    finally:
        openai.api_key = openai.base_url = openai.http_client = None
        openai._reset_client()


@use()
async def chat_streamed_response_parsed_as_a_stream(it: Hand) -> Any:
    made = it.client.chat.completions.with_streaming_response.create(**CHAT, stream=True)
    async with within(made) as response:
        return await all_of(await settle(response.parse()))


@use(when=hasattr(openai, "AzureOpenAI"))
async def azure(it: Hand) -> Any:
    kind: Any = it.kind("AzureOpenAI")
    made = kind(api_key="k", api_version="2026-01-01", azure_endpoint=it.stage.url, http_client=it.client._client)
    client = it.guard(made, candidates=[GPT])  # a deployment's names are its owner's: there are no tier defaults
    answer = await settle(client.chat.completions.create(**CHAT))
    return answer, await settle(client.with_options(max_retries=1).chat.completions.create(**CHAT)), type(client)


def _met(status: int) -> None:
    async def error(it: Hand) -> Any:
        it.script(GPT, fail(status, retry_after_s=1.0))
        client = it.client.with_options(max_retries=0)
        try:
            return await settle(client.chat.completions.create(**CHAT))
        except openai.APIStatusError as caught:
            return caught, type(caught), caught.status_code, caught.request_id, caught.body, caught.code, caught.param

    error.__name__ = f"error_{status}"
    use(only=one_of(status))(error)


def _tried_again(status: int) -> None:
    async def error(it: Hand) -> Any:
        it.script(GPT, fail(status, retry_after_s=SOON_S), ok("at last"))
        try:
            return await settle(it.client.responses.create(**ASK))
        except openai.APIStatusError as caught:
            return caught

    error.__name__ = f"error_{status}_then_a_response"
    use(only=one_of(status + 1))(error)


for _status in STATUSES:
    _met(_status)
for _status in (400, 408, 409, 429, 500, 529):
    _tried_again(_status)


@use()
async def retries_used_up(it: Hand) -> Any:
    it.script(GPT, *[fail(500, retry_after_s=SOON_S)] * 4)
    return await raised(lambda: it.client.chat.completions.create(**CHAT))


@use()
async def retries_told_by_a_raw_response(it: Hand) -> Any:
    it.script(GPT, fail(529, retry_after_s=SOON_S), fail(500, retry_after_s=SOON_S))
    response = await settle(it.client.chat.completions.with_raw_response.create(**CHAT))
    return response, response.retries_taken


@use()
async def spend_limit(it: Hand) -> Any:
    it.script(GPT, fail("spend_limit", retry_after_s=SOON_S, should_retry=False))
    return await raised(lambda: it.client.chat.completions.create(**CHAT))


@use()
async def timed_out(it: Hand) -> Any:
    it.script(GPT, hang(5.0))
    error = await raised(lambda: it.client.with_options(timeout=0.02, max_retries=0).chat.completions.create(**CHAT))
    await it.arrived(1)
    return error


@use()
async def connection_reset_once(it: Hand) -> Any:
    it.script(GPT, refuse(), ok("now"))
    return await settle(it.client.chat.completions.create(**CHAT))


@use()
async def connection_refused(it: Hand) -> Any:
    client = it.own(base_url=it.stage.nowhere, max_retries=0)
    return await raised(lambda: client.responses.create(**ASK))


@use()
async def cut_off_in_a_stream(it: Hand) -> Any:
    it.script(GPT, cut(1))
    stream = await settle(it.client.chat.completions.create(**CHAT, stream=True))
    return await raised(lambda: all_of(stream)), stream.response.is_closed


@use()
async def malformed_answer(it: Hand) -> Any:
    it.script(GPT, malformed())
    return await raised(lambda: it.client.chat.completions.create(**CHAT))


def _odd(which: str) -> None:
    async def answer(it: Hand) -> Any:
        client = it.client.with_options(max_retries=0)

        async def ask() -> Any:
            return await settle(client.chat.completions.create(**CHAT, extra_headers={"x-odd": which}))

        return await raised(ask) or await ask()

    answer.__name__ = f"odd_{which}"
    use(only=one_of(len(which)))(answer)


for _which in ("page", "text", "nothing", "object", "teapot", "headers"):
    _odd(_which)
