"""What the tests of real calls share: clients of the stand-in provider, and every surface of the SDK."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from inspect import isawaitable
from typing import Any

from agentstream_anthropic import record
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import Message
from pydantic import BaseModel
from support.provider import Exchange, Provider, traffic

SECRET = "sk-ant-a-key-that-must-not-be-stored"
EVENTS = "text/event-stream; charset=utf-8"


BETA = "?beta=true"


def serving(exchanges: Iterable[Exchange], **options: Any) -> Provider:
    """A provider of those answers, at whichever path: some releases say in the query that a call is of the beta."""
    plain = [replace(exchange, path=exchange.path.removesuffix(BETA)) for exchange in exchanges]
    return Provider([*plain, *(replace(exchange, path=exchange.path + BETA) for exchange in plain)], **options)


def streamed(exchange: Exchange) -> Exchange:
    """The same answer as a stream of events, in the shapes of a real one: texts and arguments in pieces."""
    whole = json.loads(exchange.body)
    begun = {**whole, "content": [], "stop_reason": None, "usage": {**whole["usage"], "output_tokens": 1}}
    events: list[Any] = [{"type": "message_start", "message": begun}]
    for index, block in enumerate(whole["content"]):
        empty, deltas = _in_pieces(block)
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    said = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    counts = {"output_tokens": whole["usage"]["output_tokens"]}
    events += [{"type": "message_delta", "delta": said, "usage": counts}, {"type": "ping"}, {"type": "message_stop"}]
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    return replace(exchange, request={**exchange.request, "stream": True}, content_type=EVENTS, body=body)


def _in_pieces(block: Any) -> tuple[Any, list[Any]]:
    def cut(text: str) -> list[str]:
        return [text[start : start + 40] for start in range(0, len(text), 40)]

    if block["type"] == "tool_use":
        pieces = cut(json.dumps(block["input"]))
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    if block["type"] == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in cut(block["thinking"])]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
        return {**block, "thinking": "", "signature": ""}, deltas
    return {**block, "text": ""}, [{"type": "text_delta", "text": piece} for piece in cut(block["text"])]


PATH = "/v1/messages"
THINKING, THINKING_ANSWER = traffic("anthropic-thinking-tool")
PARALLEL, PARALLEL_ANSWER = traffic("anthropic-parallel-tools")
[CODE] = traffic("anthropic-code-execution-stream")
[REDACTED] = traffic("anthropic-redacted-thinking-stream")
COUNT = Exchange("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "count me"}]}, 200,
                 "application/json", '{"input_tokens": 2095}')  # fmt: skip
MODELS = Exchange("/v1/models", None, 200, "application/json",
                  '{"data":[{"type":"model","id":"m","display_name":"M","created_at":"2026-01-01T00:00:00Z"}],'
                  '"has_more":false,"first_id":"m","last_id":"m"}')  # fmt: skip
FILE = Exchange("/v1/files", 0, 200, "application/json",
                '{"id":"file_1","type":"file","filename":"a.txt","mime_type":"text/plain","size_bytes":4,'
                '"created_at":"2026-01-01T00:00:00Z","downloadable":false}')  # fmt: skip
AS_JSON: Any = [{"role": "user", "content": "as JSON"}]
PARSED = replace(
    THINKING_ANSWER,
    request={"messages": AS_JSON},
    body=json.dumps(
        {
            **json.loads(THINKING_ANSWER.body),
            "content": [{"type": "text", "text": '{"city": "Mexico City", "country": "Mexico"}'}],
        }
    ),
)
ALL = [THINKING, THINKING_ANSWER, PARALLEL, PARALLEL_ANSWER, CODE, REDACTED, COUNT, MODELS, FILE, PARSED]


class City(BaseModel):
    city: str
    country: str


def asked(exchange: Exchange, **more: Any) -> Any:
    """What to ask for that answer. The model's name is made up: the SDK warns of the old ones."""
    return {**{name: value for name, value in exchange.request.items() if name != "stream"}, "model": "m", **more}


def address(provider: Provider) -> str:
    return provider.url.removesuffix("/v1")


def sync_client(provider: Provider, **options: Any) -> Anthropic:
    return record(Anthropic(base_url=address(provider), api_key=SECRET, **options))


def async_client(provider: Provider, **options: Any) -> AsyncAnthropic:
    return record(AsyncAnthropic(base_url=address(provider), api_key=SECRET, **options))


# --- every surface, sync ----------------------------------------------------------------------------------------------


def create(client: Anthropic) -> Any:
    return client.messages.create(**asked(THINKING)).model_dump()


def stream(client: Anthropic) -> Any:
    return [event.model_dump() for event in client.messages.create(**asked(CODE), stream=True)]


def stream_helper(client: Anthropic) -> Any:
    with client.messages.stream(**asked(CODE)) as stream:
        kinds = [event.type for event in stream]
        return [kinds, stream.get_final_message().model_dump()]


def beta_create(client: Anthropic) -> Any:
    return client.beta.messages.create(**asked(PARALLEL)).model_dump()


def beta_stream(client: Anthropic) -> Any:
    with client.beta.messages.stream(**asked(REDACTED)) as stream:
        return ["".join(stream.text_stream), stream.get_final_message().model_dump()]


def parse(client: Anthropic) -> Any:
    found = client.messages.parse(model="m", max_tokens=9, messages=AS_JSON, output_format=City)
    assert isinstance(found.parsed_output, City)
    return found.parsed_output.model_dump()


def count_tokens(client: Anthropic) -> Any:
    return client.messages.count_tokens(model="m", messages=COUNT.request["messages"]).input_tokens


def raw(client: Anthropic) -> Any:
    raw = client.messages.with_raw_response.create(**asked(THINKING))
    return [raw.status_code, raw.headers["content-type"], raw.parse().model_dump()]


def streaming_response(client: Anthropic) -> Any:
    with client.messages.with_streaming_response.create(**asked(CODE), stream=True) as response:
        return b"".join(response.iter_bytes())


def post(client: Anthropic) -> Any:
    return client.post(PATH, body=asked(THINKING), cast_to=Message).model_dump()


def with_options(client: Anthropic) -> Any:
    return [create(client.with_options(timeout=7, max_retries=1)), stream(client.copy())]


def models(client: Anthropic) -> Any:
    return [model.id for model in client.models.list()]


def files(client: Anthropic) -> Any:
    return client.beta.files.upload(file=("a.txt", b"four")).model_dump()


SYNC: list[Callable[[Anthropic], Any]] = [
    create,
    stream,
    stream_helper,
    beta_create,
    beta_stream,
    parse,
    count_tokens,
    raw,
    streaming_response,
    post,
    with_options,
    models,
    files,
]


# --- every surface, async ---------------------------------------------------------------------------------------------


async def acreate(client: AsyncAnthropic) -> Any:
    return (await client.messages.create(**asked(THINKING))).model_dump()


async def astream(client: AsyncAnthropic) -> Any:
    return [event.model_dump() async for event in await client.messages.create(**asked(CODE), stream=True)]


async def astream_helper(client: AsyncAnthropic) -> Any:
    async with client.messages.stream(**asked(CODE)) as stream:
        kinds = [event.type async for event in stream]
        return [kinds, (await stream.get_final_message()).model_dump()]


async def abeta_stream(client: AsyncAnthropic) -> Any:
    async with client.beta.messages.stream(**asked(REDACTED)) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        return [text, (await stream.get_final_message()).model_dump()]


async def acount_tokens(client: AsyncAnthropic) -> Any:
    return (await client.messages.count_tokens(model="m", messages=COUNT.request["messages"])).input_tokens


async def araw(client: AsyncAnthropic) -> Any:
    raw = await client.messages.with_raw_response.create(**asked(THINKING))
    parsed: Any = raw.parse()  # to be awaited in later releases only
    return [raw.status_code, (await parsed if isawaitable(parsed) else parsed).model_dump()]


async def astreaming_response(client: AsyncAnthropic) -> Any:
    async with client.messages.with_streaming_response.create(**asked(CODE), stream=True) as response:
        return b"".join([chunk async for chunk in response.iter_bytes()])


async def concurrent(client: AsyncAnthropic) -> Any:
    return await asyncio.gather(*[acreate(client) for _ in range(4)], *[astream(client) for _ in range(4)])


ASYNC: list[Callable[[AsyncAnthropic], Awaitable[Any]]] = [
    acreate,
    astream,
    astream_helper,
    abeta_stream,
    acount_tokens,
    araw,
    astreaming_response,
    concurrent,
]
