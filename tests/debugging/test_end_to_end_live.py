"""A session of an agents' framework run on from the command line: another model and prompt reach the provider, a tool
is mocked, the fork is a session like any other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from debugging_kit import Project
from openai_agents_kit import ANSWER, QUESTION, conversation
from support.provider import Exchange, Provider, traffic

OPENAI_AGENTS = '''
import asyncio
from pathlib import Path
from agents import Agent, OpenAIResponsesModel, function_tool
from agentstream import AsyncClient
from agentstream_openai_agents import durable
from openai import AsyncOpenAI

@function_tool
def lookup(order: str) -> str:
    """Looks an order up."""
    return f"{order} is late"

@function_tool
def refund(order: str, amount: int) -> str:
    """Pays back."""
    with Path("made").open("a") as file:
        file.write("refund\\n")
    return "refunded"

def changed(result):
    return result == ANSWER

model = OpenAIResponsesModel("m", AsyncOpenAI(base_url="URL", api_key="x", max_retries=0))
agent = Agent(name="support", instructions="Be kind.", model=model, tools=[lookup, refund])
support = durable(agent)
ANSWER = "Order A was refunded."

async def main():
    async with AsyncClient() as client:
        await client.session("support/42").run(support, "QUESTION")

if __name__ == "__main__":
    asyncio.run(main())
'''

PYDANTIC_AI = """
import asyncio
from pathlib import Path
from agentstream import AsyncClient
from agentstream_pydantic_ai import Recorded, durable
from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

class City(BaseModel):
    city: str
    country: str

def changed(result):
    return result.city == "Mexico City"

provider = OpenAIProvider(openai_client=AsyncOpenAI(base_url="URL", api_key="x", max_retries=0))
model = OpenAIChatModel("gpt-4o", provider=provider)
agent = Agent(model, name="asks", output_type=City, instructions="Be kind.", capabilities=[Recorded()])

@agent.tool_plain
def get_user_country() -> str:
    with Path("made").open("a") as file:
        file.write("get_user_country\\n")
    return "Mexico"

support = durable(agent)

async def main():
    async with AsyncClient() as client:
        await client.session("support/42").run(support, "QUESTION")

if __name__ == "__main__":
    asyncio.run(main())
"""

RESPONSES = conversation(stream=False)
CHAT = traffic("openai-chat-tools")


def of_responses(request: Any) -> tuple[str, str, str]:
    return request["model"], request["instructions"], str(request["input"])


def of_chat(request: Any) -> tuple[str, str, str]:
    said = request["messages"]
    return request["model"], next(each["content"] for each in said if each["role"] == "system"), str(said)


@pytest.mark.parametrize(
    ("code", "question", "exchanges", "tool", "names", "result", "read"),
    [
        (OPENAI_AGENTS, QUESTION, RESPONSES, "refund", ("m", "gpt-4o"), ANSWER, of_responses),
        (
            PYDANTIC_AI,
            CHAT[0].request["messages"][0]["content"],
            CHAT,
            "get_user_country",
            ("gpt-4o", "gpt-4o-mini"),
            {"city": "Mexico City", "country": "Mexico"},
            of_chat,
        ),
    ],
    ids=["openai-agents", "pydantic-ai"],
)
def test_a_session_is_run_on(
    tmp_path: Path,
    code: str,
    question: str,
    exchanges: list[Exchange],
    tool: str,
    names: tuple[str, str],
    result: Any,
    read: Callable[[Any], tuple[str, str, str]],
) -> None:
    with Provider(exchanges) as provider:
        written = code.replace("URL", provider.url).replace("QUESTION", question)
        project = Project(tmp_path, written, "helpers.py")
        made, asked = len(project.made), len(provider.asked)
        rows = project.cli("show", "support/42").rows
        steps = [(row[2], row[3], row[4]) for row in rows if row[1] == "step"]
        last = [number for number, kind, _ in steps if kind == "model"][-1]
        at = next(number for number, kind, name in steps if kind == "tool" and name == tool)

        live = (
            "replay",
            "support/42",
            "helpers:support",
            "-y",
            "--live-from",
            at,
            "--model",
            names[1],
            "--system",
            "Be brief.",
        )
        report = project.cli(*live, "--mock", f'{tool}="Peru, or so"', "--json").data
        assert (report["verdict"], report["result"], report["returned"]) == ("otherwise", result, True)
        assert report["fork"] == "support/42-live-1"
        assert len(project.made) == made, "it is mocked"
        sent = [read(request) for _, request in provider.asked]
        assert [each[:2] for each in sent] == [(names[0], "Be kind.")] * asked + [(names[1], "Be brief.")]
        assert "Peru, or so" in sent[-1][2]
        assert project.cli("diff", "support/42-live-1", "--json", exits=1).data
        assert project.cli("replay", "support/42-live-1", "helpers:support").rows[0][0] == "identical"

        again = project.cli("replay", "support/42", "helpers:support", "-y", "--live-from", last)
        assert (again.rows[0][3], json.loads(again.rows[0][4])) == ("support/42-live-2", result)
        assert "running on costs, by the record: " in again.err
        checked = "-y", "--repeat", "2", "--check", "helpers:changed", "--json"
        assert project.cli("replay", "support/42", "helpers:support", "--live-from", last, *checked).data["passed"] == 2
