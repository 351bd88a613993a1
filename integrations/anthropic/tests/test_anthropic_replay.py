"""Every surface of the SDK, recorded on a live provider and replayed with it gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic, AsyncAnthropic, beta_tool
from anthropic_kit import (
    ALL,
    ASYNC,
    CODE,
    PARALLEL,
    PARALLEL_ANSWER,
    REDACTED,
    SYNC,
    THINKING,
    THINKING_ANSWER,
    address,
    asked,
    async_client,
    serving,
    streamed,
    sync_client,
)
from sdk_kit import check_async_surface, check_calls_were_named_live, check_offline, check_surface
from support.provider import Behaviour

from agentstream import Client, agent, step


@pytest.mark.parametrize("surface", SYNC, ids=lambda surface: surface.__name__)
def test_sync_surfaces(surface: Callable[[Anthropic], Any], tmp_path: Path) -> None:
    with (
        serving(ALL, piece=37) as provider,
        sync_client(provider) as recorded,
        Anthropic(base_url=address(provider), api_key="x") as plain,
    ):
        check_surface(surface, plain, recorded, provider, tmp_path, [Behaviour(gzip=True)])


@pytest.mark.parametrize("surface", ASYNC, ids=lambda surface: surface.__name__)
def test_async_surfaces(surface: Callable[[AsyncAnthropic], Awaitable[Any]], tmp_path: Path) -> None:
    async def main() -> None:
        with serving(ALL, piece=37) as provider:
            async with (
                async_client(provider) as recorded,
                AsyncAnthropic(base_url=address(provider), api_key="x") as plain,
            ):
                await check_async_surface(surface, plain, recorded, provider, tmp_path)

    asyncio.run(main())


def test_thinking_comes_back_to_the_byte(tmp_path: Path) -> None:
    """Signed and redacted blocks: the provider refuses a conversation in which one of them is changed."""
    exchanges = [THINKING, THINKING_ANSWER, REDACTED]
    with serving(exchanges) as provider, Client(tmp_path) as client, sync_client(provider) as anthropic:

        @agent
        def asks() -> list[Any]:
            said = anthropic.messages.create(**asked(THINKING))
            more = [*THINKING.request["messages"], {"role": "assistant", "content": said.content}]
            result = {"type": "tool_result", "tool_use_id": said.content[-1].id, "content": "Mexico"}
            more.append({"role": "user", "content": [result]})
            anthropic.messages.create(**asked(THINKING, messages=more))
            with anthropic.beta.messages.stream(**asked(REDACTED)) as stream:
                hidden = stream.get_final_message()
            return [block.model_dump(mode="json", exclude_none=True) for block in (*said.content, *hidden.content)]

        session = client.session("s")
        blocks = session.run(asks)
        sent = provider.billed[1]["messages"][1]["content"]
        check_offline(provider, session, asks, blocks)
    real = json.loads(THINKING.body)["content"]
    assert blocks[: len(real)] == real == sent
    assert [block["type"] for block in blocks[len(real) :]] == ["redacted_thinking", "redacted_thinking", "text"]
    for block in blocks[len(real) :][:2]:
        assert f'"data":"{block["data"]}"' in REDACTED.body


@step
def retrieve_entity_info(name: str) -> str:
    return f"{name} is somebody"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_the_tool_runner(tmp_path: Path, *, stream: bool) -> None:
    """Its model calls are steps, and so are its tools where they are marked."""
    exchanges = [streamed(PARALLEL), streamed(PARALLEL_ANSWER)] if stream else [PARALLEL, PARALLEL_ANSWER]
    with serving(exchanges) as provider, Client(tmp_path) as client, sync_client(provider) as anthropic:

        @beta_tool(name="retrieve_entity_info")
        def look_up(name: str) -> str:
            """Get the knowledge about the given entity."""
            return retrieve_entity_info(name)

        run: Any = anthropic.beta.messages.tool_runner
        # later releases send what is new only, and leave it to the provider to remember the rest
        whole: Any = {"thread": False} if "thread" in signature(run).parameters else {}

        @agent
        def asks() -> str:
            runner: Any = run(**asked(PARALLEL, tools=[look_up]), stream=stream, **whole)
            last = runner.until_done()
            return last.content[-1].text

        session = client.session("s")
        answer = session.run(asks)
        assert "Daisy is the youngest" in answer
        names = [found.name for found in session.state().steps]
        assert sorted(names) == ["POST /v1/messages"] * 2 + ["retrieve_entity_info"] * 4
        check_offline(provider, session, asks, answer)


def test_what_the_model_said_is_in_the_session(tmp_path: Path) -> None:
    with serving([streamed(PARALLEL), CODE]) as provider, Client(tmp_path) as client:
        with sync_client(provider) as anthropic:

            @agent
            def asks() -> None:
                for _ in anthropic.beta.messages.create(**asked(PARALLEL), stream=True):
                    pass
                for _ in anthropic.messages.create(**asked(CODE), stream=True):
                    pass

            session = client.session("s")
            session.run(asks)
        state = session.state()
        assert [message["finish_reason"] for message in state.messages] == ["tool_use", "end_turn"]
        assert [json.loads(call["arguments"])["name"] for call in state.tool_calls] == [
            *("Alice", "Bob", "Charlie", "Daisy"),
        ]
        assert {found.kind for found in state.steps} == {"model"}
        deltas = [event.value for event in session.events() if event.type == "delta"]
        assert {delta["kind"] for delta in deltas} == {"args", "reasoning", "text"}
        check_calls_were_named_live(session.events(), state.messages)
        said = "".join(
            one["text"] for one in deltas if one["kind"] == "text" and one["target"] == state.messages[1]["id"]
        )
        assert said == "".join(part["text"] for part in state.messages[1]["parts"] if part["type"] == "text")
