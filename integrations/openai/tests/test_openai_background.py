"""Background responses: the provider goes on with them when nobody listens, so a broken stream is not paid again."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from openai_kit import RESPONSE_STREAM_ANSWER, async_client, sync_client
from sdk_kit import attempts, check_offline
from support.provider import Behaviour, Exchange, Provider

from agentstream import AsyncClient, Client, agent

ID = json.loads(RESPONSE_STREAM_ANSWER.body.partition("data: ")[2].partition("\n")[0])["response"]["id"]
BODY = RESPONSE_STREAM_ANSWER.body.replace('"object":"response",', '"object":"response","background":true,')
ASKED: Any = {**RESPONSE_STREAM_ANSWER.request, "background": True}
CREATED = replace(RESPONSE_STREAM_ANSWER, request=ASKED, body=BODY)
KEPT = Exchange(f"/v1/responses/{ID}?stream=true", None, 200, CREATED.content_type, BODY)
BROKEN = Behaviour(cut=RESPONSE_STREAM_ANSWER.place_after(" capital"))


def paid(provider: Provider) -> int:
    return sum(request is not None for request in provider.billed)


@pytest.mark.parametrize("kept", [True, False])
def test_a_broken_stream_is_fetched_where_the_provider_has_it(tmp_path: Path, *, kept: bool) -> None:
    exchanges = [CREATED, KEPT] if kept else [CREATED]
    with Provider(exchanges, piece=300) as provider, Client(tmp_path) as client, sync_client(provider) as openai:
        assert '"background":true' in BODY
        provider.next.append(BROKEN)

        @agent
        def asks() -> list[Any]:
            return [event.model_dump() for event in openai.responses.create(**ASKED)]

        session = client.session("s")
        with pytest.raises(Exception, match=r"closed|peer|onnection"):
            session.run(asks)
        events = session.run(asks)
        assert events[-1]["type"] == "response.completed"
        assert paid(provider) == (1 if kept else 2)
        assert attempts(client, "s") == [["failed", "ok"]]
        assert len(session.state().messages) == 1
        check_offline(provider, session, asks, events)


def test_async_streams_too(tmp_path: Path) -> None:
    async def main() -> None:
        with Provider([CREATED, KEPT], piece=300) as provider:
            async with AsyncClient(tmp_path) as client, async_client(provider) as openai:
                provider.next.append(BROKEN)

                @agent
                async def asks() -> list[Any]:
                    return [event.model_dump() async for event in await openai.responses.create(**ASKED)]

                session = client.session("s")
                with pytest.raises(Exception, match=r"closed|peer|onnection"):
                    await session.run(asks)
                events = await session.run(asks)
                assert events[-1]["type"] == "response.completed"
                assert paid(provider) == 1

    asyncio.run(main())


def test_a_response_of_the_foreground_is_asked_for_again(tmp_path: Path) -> None:
    with Provider([RESPONSE_STREAM_ANSWER], piece=300) as provider, Client(tmp_path) as client:
        provider.next.append(BROKEN)
        with sync_client(provider) as openai:

            @agent
            def asks() -> int:
                return len(list(openai.responses.create(**RESPONSE_STREAM_ANSWER.request)))

            session = client.session("s")
            with pytest.raises(Exception, match=r"closed|peer|onnection"):
                session.run(asks)
            session.run(asks)
            assert paid(provider) == 2
