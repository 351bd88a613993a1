"""An agent that asks, looks four people up and asks again; and a process of its own that is killed at a place.

Places: `event:N` after the N-th event of a stream, `end:N` after the N-th end of a part, `model:1` and `model:2` after
the model calls, `in:NAME` inside the tool's call for that person, `after:NAME` after it. With `parallel` the last
person's call ends after all others; with `engine` it is AgentStreamDurability that records.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentstream_pydantic_ai import AgentStreamDurability, Recorded
from pydantic_ai import Agent
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import AgentStreamEvent
from pydantic_ai_kit import PEOPLE, calls_for, says, scripted
from sdk_kit import Here, killed_at, pass_by

from agentstream import AsyncClient, Client, agent

PRELOAD = ["agentstream_pydantic_ai", "pydantic_ai.models.function", "agentstream.client"]
QUESTION = "Alice, Bob, Charlie and Daisy are a family. Who is the youngest?"


def child(store: Path, kind: str, model: str, place: str = "nowhere", told: Any = None) -> Any:
    """A process that runs the agent and is killed at `place`. `told` is sent every place that it passes."""
    return killed_at(place, worked, str(store), kind, model, told=told, preload=PRELOAD)


@dataclass
class Places(AbstractCapability[Any]):
    """Says where the agent is, from around what is recorded."""

    here: Here = pass_by
    models: int = 0

    async def after_model_request(self, ctx: Any, *, request_context: Any, response: Any) -> Any:
        self.models += 1
        self.here(f"model:{self.models}")
        return response

    async def after_tool_execute(self, ctx: Any, *, call: Any, tool_def: Any, args: Any, result: Any) -> Any:
        self.here(f"after:{next(iter(args.values()))}")
        return result


def model_of(name: str, store: Path) -> Any:
    """`function`, or `responses`, `chat` or `anthropic`, where the provider is and what it is asked."""
    kind, url, *_ = [*name.split(" "), ""]
    if kind == "responses" or kind == "chat":
        from openai import AsyncOpenAI
        from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
        from pydantic_ai.providers.openai import OpenAIProvider

        provider = OpenAIProvider(openai_client=AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0))
        return (OpenAIResponsesModel if kind == "responses" else OpenAIChatModel)("gpt-4o", provider=provider)
    if kind == "anthropic":
        from anthropic import AsyncAnthropic
        from pydantic_ai.models.anthropic import AnthropicModel
        from pydantic_ai.providers.anthropic import AnthropicProvider

        client = AsyncAnthropic(base_url=url, api_key="x", max_retries=0)
        provider = AnthropicProvider(anthropic_client=client)
        return AnthropicModel("claude-haiku-4-5", provider=provider, settings={"max_tokens": 1024})

    def billed(which: str) -> None:
        with (store / "billed.txt").open("a") as file:
            file.write(f"{which}\n")

    return scripted(calls_for(PEOPLE), says("Daisy is the youngest"), asked=billed)


def asker(
    model: Any, effects: Path, here: Here, *, parallel: bool = False, engine: bool = False, **options: Any
) -> Agent[None, str]:
    """The agent; its tool's effect can be counted: it writes whom it looked up into a file."""
    finished: list[str] = []
    others = asyncio.Event()

    def place(name: str) -> None:
        if name.startswith("after:"):
            finished.append(name)
            if len(finished) == len(PEOPLE) - 1:
                others.set()
        here(name)

    recorder: Any = AgentStreamDurability() if engine else Recorded()
    asks: Agent[None, str] = Agent(model, name="asks", capabilities=[recorder, Places(place)], **options)

    @asks.tool_plain(name="retrieve_entity_info", sequential=not parallel)
    async def retrieve(name: str) -> str:
        with effects.open("a") as file:
            file.write(f"{name}\n")
        if parallel and name == PEOPLE[-1]:
            await others.wait()
        here(f"in:{name}")
        return f"{name} is somebody"

    asks.tool_plain(name="look_up", sequential=not parallel)(retrieve)

    @asks.tool_plain
    async def get_capital(country: str) -> str:
        return await retrieve(country)

    return asks


def asking(asks: Agent[None, str], kind: str, here: Here, question: str = QUESTION) -> Any:
    """The function that a session runs: the agent asked in one of the ways that there are."""

    async def run() -> str:
        return (await asks.run(question)).output

    async def events() -> str:
        output = ""
        async with asks.run_stream_events(question) as found:
            count = ends = 0
            async for event in found:
                output = event.result.output if event.event_kind == "agent_run_result" else output
                here(f"event:{count}")
                count += 1
                if event.event_kind == "part_end":
                    ends += 1
                    here(f"end:{ends}")
        return output

    async def stream() -> str:
        async def handler(ctx: Any, events: Any) -> None:
            async for _ in events:
                pass

        async with asks.run_stream(question, event_stream_handler=handler) as result:
            said = [text async for text in result.stream_text(delta=True, debounce_by=None)]
            return "".join(said)

    def sync() -> str:
        return asks.run_sync(question).output

    return agent(name="asks")({"run": run, "events": events, "stream": stream, "sync": sync}[kind.partition(" ")[0]])


def worked(store: str, kind: str, model: str, here: Here = pass_by, *, replayed: bool = False) -> Any:
    """Runs the agent, or replays its finished run; running again resumes."""
    folder = Path(store)

    def asks() -> Any:
        _, *how = kind.split(" ")
        effects = folder / "effects.txt"
        asks = asker(model_of(model, folder), effects, here, parallel="parallel" in how, engine="engine" in how)
        return asking(asks, kind, here, " ".join(model.split(" ")[2:]) or QUESTION)

    async def live() -> Any:
        async with AsyncClient(store) as client:
            session = client.session("s").with_options(run_id="one")
            return await (session.replay(asks()) if replayed else session.run(asks()))

    if not kind.startswith("sync"):
        return asyncio.run(live())
    with Client(store) as client, loop_for_sync():
        session = client.session("s").with_options(run_id="one")
        return session.replay(asks()) if replayed else session.run(asks())


@contextmanager
def loop_for_sync() -> Iterator[None]:
    """The loop that `run_sync` runs in; of itself it makes one and leaves it open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def lines(file: Path) -> list[str]:
    """The lines of a file, none where there is no file."""
    return file.read_text().split() if file.exists() else []


def kinds_of(events: list[AgentStreamEvent]) -> list[str]:
    return [event.event_kind for event in events]
