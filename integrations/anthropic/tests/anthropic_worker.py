"""An agent that asks, looks four people up and asks again; and a process of its own that is killed at a place.

Places: `event:N` after the N-th event of the first stream, `model:1` and `model:2` after the model calls, `in:NAME`
inside the tool's call for that person, `after:NAME` after it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from agentstream_anthropic import record
from anthropic import Anthropic, AsyncAnthropic
from anthropic_kit import PARALLEL, asked
from sdk_kit import Here, killed_at, pass_by

from agentstream import AsyncClient, Client, agent, step

PRELOAD = ["agentstream_anthropic", "anthropic.resources.messages", "agentstream.client"]


def child(store: Path, url: str, kind: str, mode: str, place: str = "nowhere", told: Any = None) -> Any:
    """A process that runs the agent and is killed at `place`. `told` is sent every place that it passes."""
    return killed_at(place, worked, str(store), url, kind, mode, told=told, preload=PRELOAD)


def tool_of(effects: Path, here: Here) -> Any:
    """A tool whose effect can be counted: it writes whom it looked up into a file."""

    @step(name="retrieve_entity_info", kind="tool")
    def look_up(name: str) -> str:
        with effects.open("a") as file:
            file.write(f"{name}\n")
        here(f"in:{name}")
        return f"{name} is somebody"

    return look_up


def asker(anthropic: Anthropic, look_up: Any, here: Here, *, streamed: bool) -> Any:
    def ask(messages: list[Any], number: int) -> Any:
        if not streamed:
            return anthropic.messages.create(**asked(PARALLEL, messages=messages))
        with anthropic.messages.stream(**asked(PARALLEL, messages=messages)) as stream:
            for count, _ in enumerate(stream):
                here(f"event:{count}" if number == 1 else "")
            return stream.get_final_message()

    @agent
    def asks() -> str:
        messages = list(PARALLEL.request["messages"])
        said = ask(messages, 1)
        here("model:1")
        results = []
        for block in said.content:
            if block.type == "tool_use":
                results.append(result(block.id, look_up(block.input["name"])))
                here(f"after:{block.input['name']}")
        said = ask(with_results(messages, said, results), 2)
        here("model:2")
        return said.content[0].text

    return asks


def async_asker(anthropic: AsyncAnthropic, look_up: Any, here: Here, *, streamed: bool) -> Any:
    async def ask(messages: list[Any], number: int) -> Any:
        if not streamed:
            return await anthropic.messages.create(**asked(PARALLEL, messages=messages))
        async with anthropic.messages.stream(**asked(PARALLEL, messages=messages)) as stream:
            count = 0
            async for _ in stream:
                here(f"event:{count}" if number == 1 else "")
                count += 1
            return await stream.get_final_message()

    @agent
    async def asks() -> str:
        messages = list(PARALLEL.request["messages"])
        said = await ask(messages, 1)
        here("model:1")
        results = []
        for block in said.content:
            if block.type == "tool_use":
                results.append(result(block.id, look_up(block.input["name"])))
                here(f"after:{block.input['name']}")
        said = await ask(with_results(messages, said, results), 2)
        here("model:2")
        return said.content[0].text

    return asks


def result(id: str, text: str) -> Any:
    return {"type": "tool_result", "tool_use_id": id, "content": text}


def with_results(messages: list[Any], said: Any, results: list[Any]) -> list[Any]:
    return [*messages, {"role": "assistant", "content": said.content}, {"role": "user", "content": results}]


def worked(store: str, url: str, kind: str, mode: str, here: Here = pass_by, *, replayed: bool = False) -> Any:
    """Runs the agent, or replays its finished run; running again resumes."""
    effects, streamed = Path(store) / "effects.txt", mode == "streamed"

    async def live() -> Any:
        async with AsyncClient(store) as client, AsyncAnthropic(base_url=url, api_key="x", max_retries=0) as anthropic:
            asks = async_asker(record(anthropic), tool_of(effects, here), here, streamed=streamed)
            session = client.session("s").with_options(run_id="one")
            return await (session.replay(asks) if replayed else session.run(asks))

    if kind == "async":
        return asyncio.run(live())
    with Client(store) as client, Anthropic(base_url=url, api_key="x", max_retries=0) as anthropic:
        asks = asker(record(anthropic), tool_of(effects, here), here, streamed=streamed)
        session = client.session("s").with_options(run_id="one")
        return session.replay(asks) if replayed else session.run(asks)
