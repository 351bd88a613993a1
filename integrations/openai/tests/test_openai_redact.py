"""A client with rules: what a model says is recorded, and handed to code, without what they take out."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from agentstream_openai import record
from agentstream_openai._sdk import OPENAI
from openai import AsyncOpenAI, OpenAI
from openai_kit import CHAT_STREAM, RESPONSE_STREAM
from support.provider import Exchange, Provider

from agentstream import AsyncClient, Client, Redact, agent, step
from agentstream.adapters.http import Recorded
from agentstream.sessions import codec

KEY = "sk-proj-Zyxwvutsrqponmlkjihgfedcba9876543210"
WORD = "correct horse battery staple"
PIECES = ["Your key is ", KEY[:3], KEY[3:11], KEY[11:30], KEY[30:], " and", " it is good."]
ARGUMENTS = json.dumps({"user": "me", "password": WORD})
REDACT = Redact(fields=["password"])


def chat_stream() -> Exchange:
    def event(delta: dict[str, Any], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        about = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        return f"data: {json.dumps({**about, 'choices': [choice]})}\n\n"

    def call(part: dict[str, Any], **more: Any) -> dict[str, Any]:
        return {"tool_calls": [{"index": 0, **more, "function": part}]}

    named = call({"name": "log_in", "arguments": ""}, id="call_1", type="function")
    cut = [ARGUMENTS[at : at + 5] for at in range(0, len(ARGUMENTS), 5)]
    deltas = [*({"content": piece} for piece in PIECES), named, *(call({"arguments": piece}) for piece in cut)]
    body = "".join(map(event, deltas)) + event({}, "tool_calls") + "data: [DONE]\n\n"
    return Exchange("/v1/chat/completions", CHAT_STREAM.request, 200, "text/event-stream", body)


def chat(status: int = 200) -> Exchange:
    message = {"role": "assistant", "content": "".join(PIECES)}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    body |= {"choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
    if status >= 400:
        body = {"error": {"message": f"Incorrect API key provided: {KEY}", "type": "invalid_request_error"}}
    request = {"model": "m", "messages": [{"role": "user", "content": f"I have {KEY}"}]}
    return Exchange("/v1/chat/completions", request, status, "application/json", json.dumps(body))


def said(chunks: list[Any]) -> tuple[str, str]:
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    calls = (call for delta in deltas for call in delta.tool_calls or ())
    return "".join(delta.content or "" for delta in deltas), "".join(call.function.arguments or "" for call in calls)


def assert_clean(folder: Path, client: Client) -> None:
    for event in client.session("s").events():
        assert KEY.encode() not in event.raw
        assert WORD.encode() not in event.raw
        result = codec.decode(event.value.get("result")) if event.type == "outcome" else None
        body = Recorded.read(result, OPENAI.dictionaries)
        if body is not None:
            whole = b"".join(body.chunks)
            assert KEY.encode() not in whole
            assert KEY[11:30].encode() not in whole
            assert b"horse" not in whole
    for file in folder.rglob("*"):
        if file.is_file():
            assert KEY[11:30].encode() not in file.read_bytes(), file


@step
def use(text: str) -> str:
    return text


def test_a_stream(tmp_path: Path) -> None:
    with Provider([chat_stream()]) as provider, Client(tmp_path, redact=REDACT) as store:
        openai = record(OpenAI(base_url=provider.url, api_key=KEY))

        @agent
        def asks() -> list[str]:
            text, arguments = said(list(openai.chat.completions.create(**CHAT_STREAM.request)))
            return [use(text), use(arguments)]

        session = store.session("s")
        text, arguments = session.run(asks)
        assert text == "Your key is [redacted: api_key] and it is good."
        assert json.loads(arguments) == {"user": "me", "password": "[redacted: field]"}
        assert session.replay(asks).identical
        assert session.output().texts["chatcmpl-1"] == text
        assert session.output().of_kind("args")["call_1"] == arguments
        assert session.state().messages[-1]["parts"][0]["text"] == text
        assert_clean(tmp_path, store)


def test_an_async_stream(tmp_path: Path) -> None:
    async def live(url: str) -> None:
        openai = record(AsyncOpenAI(base_url=url, api_key=KEY))

        @agent
        async def asks() -> str:
            stream = await openai.chat.completions.create(**CHAT_STREAM.request)
            return use(said([chunk async for chunk in stream])[0])

        async with AsyncClient(tmp_path, redact=REDACT) as store:
            assert await store.session("s").run(asks) == "Your key is [redacted: api_key] and it is good."
            assert (await store.session("s").replay(asks)).identical

    with Provider([chat_stream()]) as provider:
        asyncio.run(live(provider.url))
    with Client(tmp_path) as store:
        assert_clean(tmp_path, store)


@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_and_an_error_that_come_whole(tmp_path: Path, status: int) -> None:
    exchange = chat(status)
    with Provider([exchange]) as provider, Client(tmp_path, redact=True) as store:
        openai = record(OpenAI(base_url=provider.url, api_key=KEY, max_retries=0))

        @agent
        def asks() -> str:
            try:
                answer = openai.chat.completions.create(**exchange.request)
            except Exception as error:
                return use(str(error))
            return use(answer.choices[0].message.content)

        assert "[redacted: api_key]" in store.session("s").run(asks)
        assert store.session("s").replay(asks).identical
        assert_clean(tmp_path, store)


def streams(openai: OpenAI) -> int:
    return len(list(openai.responses.create(**RESPONSE_STREAM.request)))


def test_what_has_nothing_to_take_out_is_recorded_to_the_byte(tmp_path: Path) -> None:
    bodies = []
    for name, redact in (("with", True), ("without", None)):
        with Provider([RESPONSE_STREAM]) as provider, Client(tmp_path / name, redact=redact) as store:
            openai = record(OpenAI(base_url=provider.url, api_key=KEY))

            assert store.session("s").run(lambda client=openai: streams(client))
            body = Recorded.read(store.session("s").state().steps[0].result, OPENAI.dictionaries)
            assert body is not None
            bodies.append(b"".join(body.chunks))
    assert bodies[0] == bodies[1]
