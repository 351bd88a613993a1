"""As `test_end_to_end`, of an agent of the OpenAI Agents SDK."""

from __future__ import annotations

import json
from pathlib import Path

from debugging_kit import Project

AGENTS = '''
from pathlib import Path
from agents import Agent, function_tool
from agents.testing import ModelStep, ScriptedModel, assistant_message, function_call
from agentstream import AsyncClient
from agentstream_openai_agents import durable

def made(what):
    with Path("made").open("a") as file:
        file.write(what + "\\n")

@function_tool
def lookup(order: str) -> str:
    """Looks an order up."""
    made(f"lookup {order}")
    return f"{order} is late"

class Says(ScriptedModel):
    async def get_response(self, system_instructions, input, *args, **kwargs):
        made("model")
        said = [item["output"] for item in input if item.get("type") == "function_call_output"]
        call = function_call("lookup", {"order": "A1"}, call_id="call_1")
        self.enqueue(ModelStep([assistant_message(f"I looked: {said[0]}") if said else call]))
        return await super().get_response(system_instructions, input, *args, **kwargs)

agent = Agent(name="support", instructions="Be kind.", model=Says(), tools=[lookup])
support = durable(agent)

async def main():
    async with AsyncClient() as client:
        await client.session("support/42").run(support, "Where is A1?")

if __name__ == "__main__":
    import asyncio
    asyncio.run(main())
'''


def test_an_agent(tmp_path: Path) -> None:
    project = Project(tmp_path, AGENTS, "helpers.py")  # `agents` is the SDK's own name
    assert project.made == ["model", "lookup A1", "model"]
    assert project.cli("list").rows[0][0] == "support/42"
    steps = [row[3:5] for row in project.cli("show", "support").rows if row[1] == "step"]
    assert ["tool", "lookup"] in steps

    assert project.cli("replay", "support", "helpers:support").rows[0][0] == "identical"
    stopped = project.cli("replay", "support", "helpers:support", "--break", "tool:lookup", "--json").data
    assert stopped["verdict"] == "stopped"

    project.change("Be kind.", "Be brief.")
    diverged = project.cli("replay", "support", "helpers:support", "--json", exits=1).data["divergence"]
    assert diverged["kind"] == "different_args"
    assert "Be brief." in str(diverged["actual"])
    assert "Be kind." in str(diverged["recorded"])
    project.change("Be brief.", "Be kind.")

    # a branch with another outcome of the tool, gone on with
    number = next(row[2] for row in project.cli("show", "support", "--kind", "tool").rows if row[1] == "step")
    outcome = project.cli("show", "support", "--kind", "tool", "--full", "--jsonl").lines[-1]["value"]["result"]
    assert "A1 is late" in json.dumps(outcome)
    other = json.dumps(outcome).replace("A1 is late", "A1 was sent")
    project.cli("fork", "support", "--as", "try", "--set-outcome", f"{number}={other}")
    assert "I looked: A1 was sent" in project.cli("resume", "try", "helpers:support").out
    assert project.made == ["model", "lookup A1", "model", "model"], "what was recorded is not made again"
    assert "A1 was sent" in project.cli("diff", "try", exits=1).out
