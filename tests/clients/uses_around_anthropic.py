"""What users do with anthropic's clients beside asking: other endpoints, options, copies, low-level requests."""

from __future__ import annotations

import copy
import inspect
import pickle
import threading
import typing
from typing import Any

import anthropic
from anthropic.resources.messages import Messages
from clients.stage import HAIKU
from clients.uses import Hand, Table, all_of, following, raised, settle, within
from clients.uses_of_anthropic import BODY, HELLO, TOOL

TABLE = Table("anthropic")
use = TABLE.use

HAS_FILES = hasattr(anthropic.Anthropic, "files")
HAS_COMPLETIONS = hasattr(anthropic.Anthropic, "completions")
HAS_MIDDLEWARE = hasattr(anthropic.Anthropic, "with_middleware")
HAS_CREDENTIALS = "credentials" in inspect.signature(anthropic.Anthropic).parameters


@use()
async def count_tokens(it: Hand) -> Any:
    return await settle(it.client.messages.count_tokens(model=HAIKU, messages=HELLO, tools=[TOOL], system="Be brief."))


@use()
async def count_tokens_raw_and_beta(it: Hand) -> Any:
    raw = await settle(it.client.messages.with_raw_response.count_tokens(model=HAIKU, messages=HELLO))
    return (
        raw,
        await settle(raw.parse()),
        await settle(it.client.beta.messages.count_tokens(model=HAIKU, messages=HELLO)),
    )


@use()
async def batches(it: Hand) -> Any:
    there = it.client.messages.batches
    asked: Any = [{"custom_id": "first", "params": {**BODY}}, {"custom_id": "second", "params": {**BODY}}]
    made = await settle(there.create(requests=asked))
    seen = [made, await settle(there.retrieve(made.id)), await settle(there.cancel(made.id))]
    return [*seen, await settle(there.delete(made.id))]


@use()
async def batches_listed_over_pages(it: Hand) -> Any:
    listed = it.client.messages.batches.list(limit=2)
    page = await settle(listed)
    return page, page.has_next_page(), page.next_page_info(), await all_of(it.client.messages.batches.list(limit=2))


@use()
async def batches_next_page(it: Hand) -> Any:
    page = await settle(it.client.messages.batches.list(limit=2))
    return await settle(page.get_next_page())


@use()
async def batch_results(it: Hand) -> Any:
    return await all_of(await settle(it.client.messages.batches.results("batch_1")))


@use()
async def beta_batches(it: Hand) -> Any:
    asked: Any = [{"custom_id": "first", "params": {**BODY}}]
    made = await settle(it.client.beta.messages.batches.create(requests=asked, betas=["b"]))
    return made, await all_of(it.client.beta.messages.batches.list())


@use()
async def models(it: Hand) -> Any:
    found = await settle(it.client.models.retrieve(HAIKU))
    return found, await all_of(it.client.models.list()), await all_of(it.client.beta.models.list(limit=1))


@use()
async def an_unknown_model_retrieved(it: Hand) -> Any:
    return await raised(lambda: it.client.models.retrieve("no-such-model"))


@use()
async def beta_files(it: Hand) -> Any:
    there = it.client.beta.files
    made = await settle(there.upload(file=("a.txt", b"hello", "text/plain")))
    listed = await all_of(there.list(limit=2))
    content = await settle(there.download(made.id))
    return made, listed, await settle(content.read()), await settle(there.delete(made.id))


@use(when=HAS_FILES)
async def files(it: Hand) -> Any:
    there = it.client.files
    made = await settle(there.upload(file=("a.txt", b"hello")))
    return made, await settle(there.retrieve_metadata(made.id)), await all_of(there.list())


@use(when=HAS_COMPLETIONS)
async def completions(it: Hand) -> Any:
    return await settle(it.client.completions.create(model="claude-2.1", max_tokens_to_sample=5, prompt="\n\nHuman:"))


@use()
async def options_for_one_call(it: Hand) -> Any:
    client = it.client.with_options(timeout=3.0, max_retries=5, default_headers={"x-mine": "1"})
    return client.timeout, client.max_retries, await settle(client.messages.create(**BODY))


@use()
async def options_that_replace(it: Hand) -> Any:
    client = it.client.with_options(
        api_key="other", base_url=it.stage.url + "/", set_default_headers={"x-only": "1"}, default_query={"q": "1"}
    )
    return client.api_key, str(client.base_url), await settle(client.messages.create(**BODY))


@use()
async def a_copy_of_a_copy(it: Hand) -> Any:
    client = it.client.copy(max_retries=1).copy(timeout=2).with_options(default_headers={"a": "b"})
    same = isinstance(client, it.kind("Anthropic")), client._client is it.client._client
    return client.max_retries, client.timeout, same, await settle(client.messages.create(**BODY))


@use()
async def options_at_odds(it: Hand) -> Any:
    return await raised(lambda: it.client.with_options(default_headers={"a": "b"}, set_default_headers={"c": "d"}))


@use()
async def a_client_in_a_with_block(it: Hand) -> Any:
    async with within(it.own()) as client:
        answer = await settle(client.messages.create(**BODY))
        before = client.is_closed()
    return answer, before, client.is_closed(), await raised(lambda: client.messages.create(**BODY))


@use()
async def a_closed_client(it: Hand) -> Any:
    client = it.own()
    await settle(client.close())
    await settle(client.close())
    return client.is_closed(), await raised(lambda: client.messages.create(**BODY))


@use()
async def properties(it: Hand) -> Any:
    client = it.client
    return (
        client.api_key, client.auth_token, client.base_url, client.default_headers, client.default_query,
        client.max_retries, client.timeout, client.auth_headers, client.user_agent, client.custom_auth,
        client.platform_headers(), client.qs.stringify({"a": [1, 2]}),
    )  # fmt: skip


@use()
async def assigned_attributes(it: Hand) -> Any:
    client = it.own()
    client.api_key, client.max_retries, client.timeout, client.base_url = "fresh", 0, 4.5, it.stage.url + "/v1/.."
    return str(client.base_url), await settle(client.messages.create(**BODY))


@use()
async def attributes_and_their_names(it: Hand) -> Any:
    hidden = sorted(name for name in vars(it.client) if "cached" in name)
    public = [name for name in dir(it.client) if not name.startswith("_")]
    return public, sorted(vars(it.client.with_options())), hidden, hasattr(it.client, "no_such_thing")


@use()
async def a_missing_attribute(it: Hand) -> Any:
    return await raised(lambda: it.client.mesages, but=())


@use()
async def identity(it: Hand) -> Any:
    client = it.client
    twin = client.with_options()
    known = {client: "one", twin: "two"}
    return known[client], client == twin, client is client.with_options(), bool(client), type(client), type(twin)


@use()
async def resources(it: Hand) -> Any:
    client = it.client
    same = client.messages is client.messages, client.beta.messages is client.beta.messages
    return same, [type(each) for each in (client.messages, client.beta, client.models, client.with_raw_response)]


@use()
async def representation(it: Hand) -> Any:
    return it.client, str(type(it.client)), type(it.client).__doc__, type(it.client).__name__


@use()
async def introspection(it: Hand) -> Any:
    client = it.client
    asked = (
        client.messages.create,
        client.messages.stream,
        client.copy,
        client.with_options,
        client.request,
        client.post,
    )
    return asked, [inspect.iscoroutinefunction(each) for each in asked], [inspect.getdoc(each) for each in asked]


@use()
async def type_hints(it: Hand) -> Any:
    hints = typing.get_type_hints(it.client.messages.create), typing.get_type_hints(it.client.request)
    return [sorted(each.items(), key=str) for each in hints]


@use()
async def a_shallow_copy(it: Hand) -> Any:
    twin = copy.copy(it.client)
    return twin, type(twin), twin == it.client, await settle(twin.messages.create(**BODY))


@use()
async def a_deep_copy(it: Hand) -> Any:
    return await raised(lambda: copy.deepcopy(it.client))


@use()
async def pickled(it: Hand) -> Any:
    return await raised(lambda: pickle.dumps(it.client))


@use()
async def pickled_answers(it: Hand) -> Any:
    answer = await settle(it.client.messages.create(**BODY))
    return pickle.loads(pickle.dumps(answer)), copy.deepcopy(answer) == answer


@use()
async def pickled_errors(it: Hand) -> Any:
    from attune.testing import fail

    it.script(HAIKU, fail(400))
    error = await raised(lambda: it.client.messages.create(**BODY))
    return error, await raised(lambda: pickle.loads(pickle.dumps(error)))


@use()
async def post(it: Hand) -> Any:
    from anthropic.types import Message

    answer = await settle(it.client.post("/v1/messages", cast_to=Message, body={**BODY}))
    return answer, await settle(it.client.post("/v1/messages", cast_to=object, body={**BODY}))


@use()
async def post_with_options(it: Hand) -> Any:
    options: Any = {"headers": {"x-mine": "1"}, "params": {"a": "b"}, "timeout": 4, "max_retries": 1}
    return await settle(it.client.post("/v1/messages", cast_to=dict[str, Any], body={**BODY}, options=options))


@use()
async def post_for_a_stream(it: Hand) -> Any:
    from anthropic.types import RawMessageStreamEvent

    stream_cls = it.kind("Stream")[RawMessageStreamEvent]
    body = {**BODY, "stream": True}
    return await all_of(
        await settle(it.client.post("/v1/messages", cast_to=object, body=body, stream=True, stream_cls=stream_cls))
    )


@use()
async def post_a_body_that_is_no_mapping(it: Hand) -> Any:
    return await raised(lambda: it.client.post("/v1/messages", cast_to=object, body=["a", "list"]))


@use()
async def post_without_a_body(it: Hand) -> Any:
    return await raised(lambda: it.client.post("/v1/messages", cast_to=object))


@use()
async def post_elsewhere(it: Hand) -> Any:
    return await raised(lambda: it.client.post("/v2/anything", cast_to=object, body={"model": HAIKU}))


@use()
async def get(it: Hand) -> Any:
    page = await settle(it.client.get("/v1/models", cast_to=object))
    return page, await settle(it.client.get(f"/v1/models/{HAIKU}", cast_to=str))


@use()
async def put_patch_delete(it: Hand) -> Any:
    client = it.client
    asked = [
        lambda: client.put("/v1/x", cast_to=object, body={}), lambda: client.patch("/v1/x", cast_to=object, body={}),
        lambda: client.delete("/v1/x", cast_to=object),
    ]  # fmt: skip
    return [await raised(each) for each in asked]


@use()
async def a_response_of_httpx(it: Hand) -> Any:
    response_type = type((await settle(it.client.messages.with_raw_response.create(**BODY))).http_response)
    return await settle(it.client.post("/v1/messages", cast_to=response_type, body={**BODY}))


@use()
async def an_http_client_of_one_s_own(it: Hand) -> Any:
    seen: list[Any] = []
    client = it.own(hooks={"request": lambda request: seen.append((request.method, request.url.path))})
    answer = await settle(client.messages.create(**BODY))
    return answer, seen, client._client.headers.get("x-pool")


@use()
async def a_client_with_other_defaults(it: Hand) -> Any:
    client = it.own(timeout=11.0, max_retries=7, default_headers={"x-d": "1"}, default_query={"v": "2"})
    return client.timeout, client.max_retries, await settle(client.messages.create(**BODY))


@use()
async def a_client_with_a_token(it: Hand) -> Any:
    client = it.own(api_key=None, auth_token="token")
    return client.auth_headers, await settle(client.messages.create(**BODY))


@use()
async def a_client_without_a_key(it: Hand) -> Any:
    client = it.own(api_key=None)
    return await raised(lambda: client.messages.create(**BODY))


@use(when=HAS_CREDENTIALS)
async def credentials_in_copies(it: Hand) -> Any:
    from anthropic.lib.credentials import AccessToken

    asked = []

    def provide(**_: Any) -> AccessToken:
        asked.append(1)
        return AccessToken(token="minted", expires_at=None)

    client = it.own(api_key=None, credentials=provide)
    first = await settle(client.messages.create(**BODY))
    copied = client.with_options(timeout=3)
    return first, copied.credentials is provide, await settle(copied.messages.create(**BODY)), len(asked)


@use()
async def strict_validation(it: Hand) -> Any:
    client = it.own(_strict_response_validation=True)
    return await raised(lambda: client.messages.create(**BODY, extra_headers={"x-odd": "text"}))


@use(when=HAS_MIDDLEWARE)
async def middleware(it: Hand) -> Any:
    seen: list[Any] = []

    def sync(request: Any, call_next: Any) -> Any:
        seen.append((request.options.method, request.options.url, request.retries_taken))
        return call_next(request)

    async def asynchronous(request: Any, call_next: Any) -> Any:
        seen.append((request.options.method, request.options.url, request.retries_taken))
        return await call_next(request)

    client = it.client.with_middleware(asynchronous if it.asynchronous else sync)
    answer = await settle(client.messages.create(**BODY))
    stream = await settle(client.messages.create(**BODY, stream=True))
    return answer, await following(stream), await all_of(stream), seen


@use(only="sync", unordered=True)
async def two_threads(it: Hand) -> Any:
    answers: dict[str, Any] = {}

    def ask(model: str) -> None:
        answers[model] = [it.client.messages.create(**{**BODY, "model": model}) for _ in range(3)]

    threads = [threading.Thread(target=ask, args=(f"model-{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(answers), [answers[name] for name in sorted(answers)]


@use(only="async", unordered=True)
async def several_tasks(it: Hand) -> Any:
    import asyncio

    async def ask(model: str) -> Any:
        return await it.client.messages.create(**{**BODY, "model": model})

    return await asyncio.gather(*(ask(f"model-{n}") for n in range(4)))


@use(when=HAS_CREDENTIALS)  # before them, this client's own with_options failed
async def foundry(it: Hand) -> Any:
    kind: Any = it.kind("AnthropicFoundry")
    client = it.guard(kind(api_key="k", base_url=it.stage.url, http_client=it.client._client))
    copied = client.with_options(max_retries=1)
    return await settle(client.messages.create(**BODY)), await settle(copied.messages.create(**BODY)), type(copied)


@use(when=hasattr(anthropic, "AnthropicAWS"))
async def aws(it: Hand) -> Any:
    kind: Any = it.kind("AnthropicAWS")
    options: Any = {"api_key": "k", "aws_region": "us-east-1", "workspace_id": "w", "base_url": it.stage.url}
    client = it.guard(kind(**options, http_client=it.client._client))
    copied = client.with_options(max_retries=1)
    return await settle(client.messages.create(**BODY)), await settle(copied.messages.create(**BODY)), type(copied)


@use()
async def a_resource_made_by_hand(it: Hand) -> Any:
    from anthropic.resources.messages import AsyncMessages

    made = AsyncMessages(it.client) if it.asynchronous else Messages(it.client)
    return await settle(made.create(**BODY))


@use()
async def a_subclass_s_own_method(it: Hand) -> Any:
    base: Any = it.kind("Anthropic")

    class Mine(base):
        """A client with a house rule."""

        def greet(self) -> Any:
            return self.messages.create(**BODY)

        @property
        def user_agent(self) -> str:
            return "mine"

    client = it.guard(Mine(api_key="k", base_url=it.stage.url, http_client=it.client._client))
    copied = client.with_options(max_retries=1)
    return await settle(client.greet()), await settle(copied.greet()), isinstance(copied, Mine)
