"""What the tests of real calls share: clients of the stand-in provider, runs, and every surface of the SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import sdk_kit
from agentstream_openai import record
from openai import APIConnectionError, AsyncOpenAI, OpenAI
from pydantic import BaseModel
from support.provider import Exchange, Provider, traffic

SECRET = "sk-a-key-that-must-not-be-stored"

CHAT_STREAM, CHAT_STREAM_ANSWER = traffic("openai-chat-stream-tools")
CHAT = traffic("openai-chat-tools")[0]
RESPONSE_STREAM, RESPONSE_STREAM_ANSWER = traffic("openai-responses-stream-tools")
RESPONSE = traffic("openai-responses-tool-call")[0]
EMBEDDING = Exchange(
    "/v1/embeddings",
    {"input": "hi", "model": "e"},
    200,
    "application/json",
    json.dumps(
        {
            "object": "list",
            "model": "e",
            "data": [{"object": "embedding", "index": 0, "embedding": "AACAPwAAAEA="}],
            "usage": {"prompt_tokens": 2, "total_tokens": 2},
        }
    ),
)
FILE = Exchange(
    "/v1/files",
    0,
    200,
    "application/json",
    '{"id":"file-1","object":"file","bytes":4,"created_at":1,"filename":"a.txt","purpose":"assistants","status":"ok"}',
)
CONTENT = Exchange("/v1/files/file-1/content", None, 200, "application/octet-stream", "\x00binary\x01" * 900)


class City(BaseModel):
    city: str
    country: str


AS_JSON: Any = [{"role": "user", "content": "as JSON"}]
PARSED = '{"city": "Mexico City", "country": "Mexico"}'
PARSE_CHAT = Exchange(
    "/v1/chat/completions",
    {"messages": AS_JSON},
    200,
    "application/json",
    json.dumps(
        {
            "id": "chatcmpl-parsed",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": PARSED}}],
        }
    ),
)
_TEXT = traffic("openai-responses-tool-call")[1]
PARSE_RESPONSE = replace(
    _TEXT,
    request={"input": AS_JSON},
    body=_TEXT.body.replace("The capital of PotatoLand is Potato City.", PARSED.replace('"', '\\"')),
)
ALL = [PARSE_CHAT, PARSE_RESPONSE, CHAT_STREAM, CHAT, RESPONSE_STREAM, RESPONSE, EMBEDDING, FILE, CONTENT]


def sync_client(provider: Provider, **options: Any) -> OpenAI:
    return record(OpenAI(base_url=provider.url, api_key=SECRET, organization="org-secret", **options))


def async_client(provider: Provider, **options: Any) -> AsyncOpenAI:
    return record(AsyncOpenAI(base_url=provider.url, api_key=SECRET, organization="org-secret", **options))


def without(request: Any, *names: str) -> Any:
    return {name: value for name, value in request.items() if name not in names}


# --- every surface, sync ----------------------------------------------------------------------------------------------


def chat_create(client: OpenAI) -> Any:
    return client.chat.completions.create(**CHAT.request).model_dump()


def chat_stream(client: OpenAI) -> Any:
    return [event.model_dump() for event in client.chat.completions.create(**CHAT_STREAM.request)]


def chat_parse(client: OpenAI) -> Any:
    parsed: Any = client.chat.completions.parse(model="m", messages=AS_JSON, response_format=City)
    return [parsed.id, parsed.usage, parsed.choices[0].message.parsed.model_dump()]


def chat_stream_helper(client: OpenAI) -> Any:
    with client.chat.completions.stream(**without(CHAT_STREAM.request, "stream")) as stream:
        kinds = [event.type for event in stream]
        return [kinds, stream.get_final_completion().model_dump()]


def chat_raw(client: OpenAI) -> Any:
    raw = client.chat.completions.with_raw_response.create(**CHAT.request)
    return [raw.status_code, raw.headers["content-type"], raw.parse().model_dump()]


def chat_streaming_response(client: OpenAI) -> Any:
    with client.chat.completions.with_streaming_response.create(**CHAT_STREAM.request) as response:
        return b"".join(response.iter_bytes())


def responses_create(client: OpenAI) -> Any:
    return client.responses.create(**RESPONSE.request).model_dump()


def responses_stream(client: OpenAI) -> Any:
    return [event.model_dump() for event in client.responses.create(**RESPONSE_STREAM.request)]


def responses_parse(client: OpenAI) -> Any:
    parsed: Any = client.responses.parse(model="m", input=AS_JSON, text_format=City)
    return [parsed.id, parsed.usage.model_dump(), parsed.output_parsed.model_dump()]


def responses_stream_helper(client: OpenAI) -> Any:
    with client.responses.stream(**without(RESPONSE_STREAM.request, "stream")) as stream:
        kinds = [event.type for event in stream]
        return [kinds, stream.get_final_response().model_dump()]


def responses_raw(client: OpenAI) -> Any:
    raw = client.responses.with_raw_response.create(**RESPONSE.request)
    return [raw.status_code, raw.headers["content-type"], raw.parse().model_dump()]


def responses_streaming_response(client: OpenAI) -> Any:
    with client.responses.with_streaming_response.create(**RESPONSE.request) as response:
        return list(response.iter_lines())


def with_options(client: OpenAI) -> Any:
    return [chat_create(client.with_options(timeout=7, max_retries=1)), responses_stream(client.copy())]


def embeddings(client: OpenAI) -> Any:
    return client.embeddings.create(input="hi", model="e").model_dump()


def files(client: OpenAI) -> Any:
    made = client.files.create(file=("a.txt", b"four"), purpose="assistants")
    return [made.model_dump(), client.files.content(made.id).read()]


SYNC: list[Callable[[OpenAI], Any]] = [
    chat_create,
    chat_stream,
    chat_parse,
    chat_stream_helper,
    chat_raw,
    chat_streaming_response,
    responses_create,
    responses_stream,
    responses_parse,
    responses_stream_helper,
    responses_raw,
    responses_streaming_response,
    with_options,
    embeddings,
    files,
]


# --- every surface, async ---------------------------------------------------------------------------------------------


async def achat_create(client: AsyncOpenAI) -> Any:
    return (await client.chat.completions.create(**CHAT.request)).model_dump()


async def achat_stream(client: AsyncOpenAI) -> Any:
    return [event.model_dump() async for event in await client.chat.completions.create(**CHAT_STREAM.request)]


async def achat_parse(client: AsyncOpenAI) -> Any:
    parsed: Any = await client.chat.completions.parse(model="m", messages=AS_JSON, response_format=City)
    return [parsed.id, parsed.usage, parsed.choices[0].message.parsed.model_dump()]


async def achat_stream_helper(client: AsyncOpenAI) -> Any:
    async with client.chat.completions.stream(**without(CHAT_STREAM.request, "stream")) as stream:
        kinds = [event.type async for event in stream]
        return [kinds, (await stream.get_final_completion()).model_dump()]


async def achat_raw(client: AsyncOpenAI) -> Any:
    raw = await client.chat.completions.with_raw_response.create(**CHAT.request)
    return [raw.status_code, raw.headers["content-type"], raw.parse().model_dump()]


async def achat_streaming_response(client: AsyncOpenAI) -> Any:
    async with client.chat.completions.with_streaming_response.create(**CHAT_STREAM.request) as response:
        return b"".join([chunk async for chunk in response.iter_bytes()])


async def aresponses_create(client: AsyncOpenAI) -> Any:
    return (await client.responses.create(**RESPONSE.request)).model_dump()


async def aresponses_stream(client: AsyncOpenAI) -> Any:
    return [event.model_dump() async for event in await client.responses.create(**RESPONSE_STREAM.request)]


async def aresponses_parse(client: AsyncOpenAI) -> Any:
    parsed: Any = await client.responses.parse(model="m", input=AS_JSON, text_format=City)
    return [parsed.id, parsed.usage.model_dump(), parsed.output_parsed.model_dump()]


async def aresponses_stream_helper(client: AsyncOpenAI) -> Any:
    async with client.responses.stream(**without(RESPONSE_STREAM.request, "stream")) as stream:
        kinds = [event.type async for event in stream]
        return [kinds, (await stream.get_final_response()).model_dump()]


async def aresponses_streaming_response(client: AsyncOpenAI) -> Any:
    async with client.responses.with_streaming_response.create(**RESPONSE.request) as response:
        return [line async for line in response.iter_lines()]


async def awith_options(client: AsyncOpenAI) -> Any:
    return [await achat_create(client.with_options(timeout=7)), await aresponses_stream(client.copy())]


async def aembeddings(client: AsyncOpenAI) -> Any:
    return (await client.embeddings.create(input="hi", model="e")).model_dump()


async def afiles(client: AsyncOpenAI) -> Any:
    made = await client.files.create(file=("a.txt", b"four"), purpose="assistants")
    return [made.model_dump(), (await client.files.content(made.id)).read()]


async def concurrent(client: AsyncOpenAI) -> Any:
    return await asyncio.gather(*[achat_create(client) for _ in range(4)], *[achat_stream(client) for _ in range(4)])


ASYNC: list[Callable[[AsyncOpenAI], Awaitable[Any]]] = [
    achat_create,
    achat_stream,
    achat_parse,
    achat_stream_helper,
    achat_raw,
    achat_streaming_response,
    aresponses_create,
    aresponses_stream,
    aresponses_parse,
    aresponses_stream_helper,
    aresponses_streaming_response,
    awith_options,
    aembeddings,
    afiles,
    concurrent,
]


def refused(match: str) -> AbstractContextManager[None]:
    """An error of agentstream is raised here; early releases of openai 2 wrap it, as they wrap every error."""
    return sdk_kit.refused(match, APIConnectionError)
