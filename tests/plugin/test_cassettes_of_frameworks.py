"""Cassettes of agents of the OpenAI Agents SDK and of Pydantic AI: the framework's own loop runs again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, function_tool
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from agentstream_openai_agents import durable as durable_agent
from agentstream_pydantic_ai import durable as durable_pydantic
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


@pytest.mark.parametrize("make", [openai_agent, pydantic_agent], ids=lambda make: make.__name__)
def test_a_framework(tmp_path: Path, make: Any) -> None:
    def played(order: str, *, recording: bool) -> tuple[str, Made]:
        made: Made = []
        taping = Taping(tmp_path / "cassette.jsonl", recording=recording, redact=True, recorded=set())
        try:
            result = asyncio.run(taping.arun(make(made, order), "Where is it?"))
            taping.finish()
            return str(result), [each for each in made if each != "agent"]
        finally:
            taping.close()

    first, made = played("A1", recording=True)
    assert made
    again, made = played("A1", recording=False)
    assert (again, made) == (first, [])
    with pytest.raises(Diverged):
        played("B2", recording=False)
