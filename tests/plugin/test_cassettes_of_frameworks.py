"""Cassettes of agents of the OpenAI Agents SDK and of Pydantic AI, whose own loops run again, and of MCP's tools."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, function_tool
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from agentstream_openai_agents import durable as durable_agent
from agentstream_pydantic_ai import durable as durable_pydantic
from mcp_agent import asker, connected, pass_by, unconnected
from mcp_kit import effects
from pydantic_ai_kit import calls_for, looker, says, scripted

from agentstream import Diverged
from agentstream.plugin.taping import Taping

Made = list[str]


def openai_agent(made: Made, order: str) -> Callable[..., Any]:
    @function_tool
    def lookup(order: str) -> str:
        """Looks an order up."""
        made.append(f"lookup {order}")
        return f"{order} is late"

    call = function_call("lookup", {"order": "A1"}, call_id="call_1")
    model = ScriptedModel([ModelStep([call]), ModelStep([assistant_message("It is late.")])])
    made.append("agent")
    return durable_agent(Agent(name="support", instructions=f"About {order}", model=model, tools=[lookup]))


def pydantic_agent(made: Made, order: str) -> Callable[..., Any]:
    model = scripted(calls_for([order]), says("It is late."), asked=made.append)
    return durable_pydantic(looker(model, called=made.append, instructions=f"On {order}"))


def taped(folder: Path, do: Callable[[Taping], Awaitable[Any]], *, recording: bool) -> Any:
    taping = Taping(folder / "cassette.jsonl", recording=recording, redact=True, recorded=set())

    async def done() -> Any:
        return await do(taping)

    try:
        result = asyncio.run(done())
        taping.finish()
        return result
    finally:
        taping.close()


@pytest.mark.parametrize("make", [openai_agent, pydantic_agent], ids=lambda make: make.__name__)
def test_a_framework(tmp_path: Path, make: Any) -> None:
    def played(order: str, *, recording: bool) -> tuple[str, Made]:
        made: Made = []
        result = taped(tmp_path, lambda taping: taping.arun(make(made, order), "Where is it?"), recording=recording)
        return str(result), [each for each in made if each != "agent"]

    first, made = played("A1", recording=True)
    assert made
    again, made = played("A1", recording=False)
    assert (again, made) == (first, [])
    with pytest.raises(Diverged):
        played("B2", recording=False)


def test_tools_of_an_mcp_server(tmp_path: Path) -> None:
    """Played without a server: results, errors and progress are told as they were."""

    async def recorded(taping: Taping) -> Any:
        async with connected(tmp_path, pass_by, "memory", ()) as session:
            return await taping.arun(asker(session))

    first = taped(tmp_path, recorded, recording=True)
    done = effects(tmp_path)
    assert (first["sum"], len(first["progress"]), first["failed"], len(done)) == ({"sum": 3}, 3, True, 5)
    assert taped(tmp_path, lambda taping: taping.arun(asker(unconnected())), recording=False) == first
    assert effects(tmp_path) == done
