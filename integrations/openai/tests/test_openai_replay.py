"""Every surface of the SDK, recorded on a live provider and replayed with it gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI
from openai_kit import ALL, ASYNC, CHAT, CHAT_STREAM, RESPONSE_STREAM, SYNC, async_client, sync_client
from sdk_kit import check_async_surface, check_calls_were_named_live, check_surface, marker
from support.provider import Behaviour, Provider

from agentstream import Client, agent


@pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("surface", SYNC, ids=lambda surface: surface.__name__)
def test_sync_surfaces(surface: Callable[[OpenAI], Any], tmp_path: Path, *, gzip: bool) -> None:
    with (
        Provider(ALL, piece=37) as provider,
        sync_client(provider) as recorded,
        OpenAI(base_url=provider.url, api_key="x") as plain,
    ):
        check_surface(surface, plain, recorded, provider, tmp_path, [Behaviour(gzip=gzip)] * 2)


@pytest.mark.parametrize("surface", ASYNC, ids=lambda surface: surface.__name__)
def test_async_surfaces(surface: Callable[[AsyncOpenAI], Awaitable[Any]], tmp_path: Path) -> None:
    async def main() -> None:
        with Provider(ALL, piece=37) as provider:
            async with async_client(provider) as recorded, AsyncOpenAI(base_url=provider.url, api_key="x") as plain:
                await check_async_surface(surface, plain, recorded, provider, tmp_path)

    asyncio.run(main())


def test_chunks_are_replayed_as_they_were_cut(tmp_path: Path) -> None:
    with Provider([RESPONSE_STREAM], piece=37) as provider, Client(tmp_path) as client, sync_client(provider) as openai:

        @agent
        def chunks() -> list[bytes]:
            with openai.responses.with_streaming_response.create(**RESPONSE_STREAM.request) as response:
                return list(response.iter_bytes())

        session = client.session("s")
        recorded = session.run(chunks)
        assert b"".join(recorded) == RESPONSE_STREAM.body.encode()
        provider.close()
        assert session.replay(chunks).result == recorded


def test_what_the_model_said_is_in_the_session(tmp_path: Path) -> None:
    with Provider([CHAT_STREAM, CHAT]) as provider, Client(tmp_path) as client, sync_client(provider) as openai:

        @agent
        def asks() -> None:
            openai.chat.completions.create(**CHAT.request)
            for _ in openai.chat.completions.create(**CHAT_STREAM.request):
                pass

        session = client.session("s")
        session.run(asks)
        state = session.state()
        assert [message["finish_reason"] for message in state.messages] == ["tool_calls", "tool_calls"]
        assert [call["name"] for call in state.tool_calls] == ["get_user_country", "get_capital"]
        assert state.usage["input_tokens"] == 68 + 53
        assert {step.kind for step in state.steps} == {"model"}
        assert {event.value["kind"] for event in session.events() if event.type == "delta"} == {"args"}
        check_calls_were_named_live(session.events(), state.messages[1:])


def test_outside_a_run_nothing_is_recorded_or_changed(tmp_path: Path) -> None:
    with Provider(ALL) as provider, Client(tmp_path) as client, sync_client(provider) as openai:
        raw = openai.chat.completions.with_raw_response.create(**CHAT.request)
        assert "set-cookie" in raw.headers
        assert "content-length" in raw.headers
        assert list(client.sessions()) == []


def test_a_step_between_calls_is_served_with_them(tmp_path: Path) -> None:
    with Provider(ALL) as provider, Client(tmp_path) as client, sync_client(provider) as openai:

        @agent
        def asks() -> str:
            openai.chat.completions.create(**CHAT.request)
            return marker()

        session = client.session("s")
        assert session.run(asks) == "after"
        provider.close()
        assert session.replay(asks).identical
