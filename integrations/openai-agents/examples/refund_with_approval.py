"""An agent of the OpenAI Agents SDK that asks before it pays; killed and run again it does nothing twice. No key.

python integrations/openai-agents/examples/refund_with_approval.py
"""

from __future__ import annotations

import asyncio
import tempfile

from agents import Agent, function_tool, set_tracing_disabled
from agents.testing import ScriptedModel, assistant_message, function_call
from agentstream_openai_agents import durable, run_durable_streamed

from agentstream import AsyncClient, RunWaiting

QUESTION = "Order A1 never came. I want my money back."


@function_tool
def lookup(order: str) -> str:
    """Looks an order up."""
    print(f"  (the tool looks up {order})")
    return f"{order}: lost in transit, 40 EUR"


@function_tool(needs_approval=True)
def refund(order: str, amount: int) -> str:
    """Pays an order back."""
    print(f"  (the tool pays {amount} EUR)")
    return f"{amount} EUR are on their way"


def support(*, answers: slice = slice(None)) -> Agent[None]:
    """In place of a model that costs money, one that knows its answers beforehand: those that are left."""
    steps = [
        [function_call("lookup", {"order": "A1"}, call_id="call_1")],
        [function_call("refund", {"order": "A1", "amount": 40}, call_id="call_2")],
        [assistant_message("I am sorry. 40 EUR are on their way to you.")],
    ]
    return Agent(name="support", model=ScriptedModel(steps[answers]), tools=[lookup, refund])


async def main() -> None:
    set_tracing_disabled(True)
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncClient(folder) as client:
            session = client.session("support/42")
            try:
                async for _ in run_durable_streamed(support(), QUESTION, session).stream_events():
                    pass
            except RunWaiting as waiting:
                asked = waiting.questions[0]
                print(f"waiting, and nothing runs: {asked.prompt} {asked.arguments}")
                await session.answer(asked, {"approved": True, "arguments": {"amount": 35}}, by="ada")

            # The same call, hours later or in another process: what is recorded is not made again.
            result = run_durable_streamed(support(answers=slice(2, None)), QUESTION, session)
            async for event in result.stream_events():
                if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                    print(f"live: {event.data.delta}")

            report = await session.replay(durable(support(answers=slice(0))))
            print(f"replayed offline: {report}")


asyncio.run(main())
