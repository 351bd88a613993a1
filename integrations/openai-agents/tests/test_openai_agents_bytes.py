"""What a long conversation costs: in proportion to what is new in it, in one run and in a run a turn."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, ModelResponse, Runner, Usage, function_tool
from agents.models.interface import Model
from agentstream_openai_agents import AgentStreamSession, instrument, run_durable
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage
from openai_agents_kit import calls, says

from agentstream import AsyncClient, AsyncSession, Event, agent, current_session

TURNS = 100 if os.environ.get("AGENTSTREAM_TEST_ALL") else 40
TENTH = TURNS // 10
WORDS = ["order", "refund", "customer", "river", "number", "found", "status", "city", "green"]


def words(size: int, seed: object) -> str:
    """Some `size` bytes, the same for the same seed."""
    drawn = random.Random(str(seed))
    return " ".join(f"{drawn.choice(WORDS)}{drawn.randrange(999)}" for _ in range(size // 10))


class Talker(Model):
    """Calls a tool, and then answers."""

    model = "m"

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:
        """The next answer, by how much was said before."""
        if isinstance(input, str) or input[-1].get("type") != "function_call_output":
            call = calls("look_up", f"call_{len(input):024x}", who=f"n{len(input)}")
            output: Any = ResponseFunctionToolCall.model_validate({**call, "id": f"fc_{len(input):048x}"})
        else:
            said = says(words(2000, len(input)), f"msg_{len(input):048x}")
            output = ResponseOutputMessage.model_validate(said)
        usage = Usage(requests=1, input_tokens=900, output_tokens=100, total_tokens=1000)
        return ModelResponse(output=[output], usage=usage, response_id=f"resp_{len(input):048x}")

    def stream_response(self, *args: Any, **kwargs: Any) -> Any:
        """Nobody asks for it here."""
        raise NotImplementedError


@function_tool
def look_up(who: str) -> str:
    """Says who somebody is."""
    return words(1000, who)


async def runs(support: Agent[Any], session: AsyncSession) -> None:
    """A run a turn."""
    for turn in range(TURNS):
        await run_durable(support, words(1000, ("asked", turn)), session)


async def one_run(support: Agent[Any], session: AsyncSession) -> None:
    """All turns in one."""

    @agent
    async def chat() -> None:
        memory = AgentStreamSession(current_session())
        for turn in range(TURNS):
            await Runner.run(support, words(1000, ("asked", turn)), session=memory)

    await session.run(chat)


def on_disk(folder: Path) -> int:
    for file in folder.rglob("*.db"):
        database = sqlite3.connect(file)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def turns_of(events: list[Event]) -> list[int]:
    """The bytes of each turn: from one question that the memory is given to the next."""
    sizes: list[int] = []
    for event in events:
        said = event.value.get("input") if event.type == "step" and event.value["name"] == "add_items" else None
        if said is not None and b'"role":"user"' in event.raw:
            sizes.append(0)
        if sizes:
            sizes[-1] += len(event.raw)
    return sizes


@pytest.mark.parametrize("way", [runs, one_run])
def test_a_long_conversation_costs_three_times_its_items_and_late_turns_what_early_ones_do(
    tmp_path: Path, way: Callable[[Agent[Any], AsyncSession], Awaitable[None]]
) -> None:
    async def main() -> tuple[list[Any], list[Event]]:
        support = Agent("support", instructions="Be brief.", model=Talker(), tools=[look_up])
        instrument(support)
        async with AsyncClient(tmp_path) as client:
            session = client.session("chat")
            await way(support, session)
            return await AgentStreamSession(session).get_items(), [event async for event in session.events()]

    items, events = asyncio.run(main())
    assert len(items) == 4 * TURNS
    new = sum(len(json.dumps(item)) for item in items)
    assert 950 * len(items) <= new <= 1100 * len(items)
    disk = on_disk(tmp_path)
    assert disk <= 3 * new, disk / new
    took = turns_of(events)
    assert len(took) == TURNS
    early, late = sum(took[1 : 1 + TENTH]), sum(took[-1 - TENTH : -1])  # the last has no run after it
    assert late <= 1.03 * early, late / early
