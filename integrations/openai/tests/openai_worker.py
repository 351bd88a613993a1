"""An agent that asks, uses a tool, asks twice more and uses it again; and a process that is killed at a place.

Places are counted: after each event of a stream, after each call, and inside and after each use of the tool. At none of
them would the agent notice that anything is recorded. What the tool did is in `effects.txt`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agentstream_openai import record
from openai import AsyncOpenAI, OpenAI
from openai_kit import CHAT_STREAM, RESPONSE, RESPONSE_STREAM_ANSWER
from sdk_kit import Here, killed_at, pass_by

from agentstream import AsyncClient, Client, agent, step

PRELOAD = ["agentstream_openai", "openai.resources.responses", "openai.resources.chat", "agentstream.client"]


def child(store: Path, url: str, kind: str, place: int | None = None, told: Any = None) -> Any:
    """A process that runs the agent and is killed at the `place`-th place. `told` is sent the places that it passes."""
    return killed_at(str(place), worked, kind, str(store), url, told=told, preload=PRELOAD)


def counted(here: Here) -> Callable[[], None]:
    """Called at each place; tells `here` its number."""
    passed = 0

    def place() -> None:
        nonlocal passed
        passed += 1
        here(str(passed))

    return place


def tool_of(store: str, here: Callable[[], None]) -> Any:
    @step(kind="tool")
    def tool(name: str) -> str:
        with (Path(store) / "effects.txt").open("a") as file:
            file.write(f"{name}\n")
        here()
        return name.upper()

    return tool


def work(store: str, url: str, here: Callable[[], None], *, replayed: bool = False) -> Any:
    tool = tool_of(store, here)
    with OpenAI(base_url=url, api_key="x", max_retries=0) as openai, Client(store) as client:
        record(openai)

        @agent
        def asks() -> list[Any]:
            done: list[Any] = []
            for event in openai.responses.create(**RESPONSE_STREAM_ANSWER.request):
                done.append(event.type)
                here()
            done.append(tool("one"))
            here()
            done.append(openai.responses.create(**RESPONSE.request).id)
            here()
            for chunk in openai.chat.completions.create(**CHAT_STREAM.request):
                done.append(chunk.id)
                here()
            done.append(tool("two"))
            here()
            return done

        session = client.session("s").with_options(run_id="one")
        return session.replay(asks) if replayed else session.run(asks)


async def awork(store: str, url: str, here: Callable[[], None], *, replayed: bool = False) -> Any:
    tool = tool_of(store, here)
    async with AsyncOpenAI(base_url=url, api_key="x", max_retries=0) as openai, AsyncClient(store) as client:
        record(openai)

        @agent
        async def asks() -> list[Any]:
            done: list[Any] = []
            async for event in await openai.responses.create(**RESPONSE_STREAM_ANSWER.request):
                done.append(event.type)
                here()
            done.append(tool("one"))
            here()
            done.append((await openai.responses.create(**RESPONSE.request)).id)
            here()
            async for chunk in await openai.chat.completions.create(**CHAT_STREAM.request):
                done.append(chunk.id)
                here()
            done.append(tool("two"))
            here()
            return done

        session = client.session("s").with_options(run_id="one")
        return await (session.replay(asks) if replayed else session.run(asks))


def worked(kind: str, store: str, url: str, here: Here = pass_by, *, replayed: bool = False) -> Any:
    """Runs the agent, or replays its finished run; running again resumes."""
    if kind == "async":
        return asyncio.run(awork(store, url, counted(here), replayed=replayed))
    return work(store, url, counted(here), replayed=replayed)
