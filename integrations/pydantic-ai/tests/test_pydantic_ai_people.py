"""Approvals and results from elsewhere are questions of the session, which anyone answers, from any process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from agentstream_pydantic_ai import Recorded, durable, run_durable, run_durable_sync, stream_durable
from pydantic_ai import Agent, ApprovalRequired, CallDeferred, DeferredToolRequests, RunContext
from pydantic_ai.messages import ModelResponse, ToolCallPart
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import ExternalToolset
from pydantic_ai_kit import says, scripted
from pydantic_ai_worker import loop_for_sync

from agentstream import AsyncClient, Client, RunWaiting

WISHES = [{"order": "A1", "amount": 10}, {"order": "B2", "amount": 20}]
ASKS = ModelResponse(
    parts=[ToolCallPart("refund", wish, tool_call_id=f"c{number}") for number, wish in enumerate(WISHES, 1)]
)


def clerk(done: Any = lambda order, amount: None, asked: Any = lambda which: None, **options: Any) -> Agent[None, Any]:
    options.setdefault("capabilities", [Recorded()])
    agent: Agent[None, Any] = Agent(scripted(ASKS, says("settled"), asked=asked), name="clerk", **options)

    @agent.tool_plain(requires_approval=True)
    def refund(order: str, amount: int) -> str:
        done(order, amount)
        return f"{amount} for {order}"

    return agent


def results_in(session: Any) -> dict[str, Any]:
    return {step.input["id"]: step.result for step in session.state().steps if step.kind == "tool"}


@pytest.mark.parametrize("kind", ["run", "sync", "stream"])
def test_an_approval_ends_the_process_and_another_goes_on_with_the_answers(kind: str, tmp_path: Path) -> None:
    """One approved with another amount, one denied; the model was asked once before and once after."""
    done: list[Any] = []
    asked: list[str] = []

    def once() -> Any:
        agent = clerk(lambda *what: done.append(what), asked.append)

        async def live() -> Any:
            async with AsyncClient(tmp_path) as client:
                if kind == "run":
                    return await run_durable(agent, "go", client.session("s"))
                events = [event async for event in stream_durable(agent, "go", client.session("s"))]
                return events[-1].result.output

        if kind != "sync":
            return asyncio.run(live())
        with Client(tmp_path) as client, loop_for_sync():
            return run_durable_sync(agent, "go", client.session("s"))

    with pytest.raises(RunWaiting) as waiting:
        once()
    assert [question.arguments for question in waiting.value.questions] == WISHES
    with Client(tmp_path) as client:
        session = client.session("s")
        assert session.status() == "waiting"
        first, second = waiting.value.questions
        session.answer(first, {"approved": True, "arguments": {"amount": 5}})
        with pytest.raises(RunWaiting):
            once()
    command = [sys.executable, "-m", "agentstream.cli", "answer", "s", second.key, "no", "--reason", "too much"]
    told = subprocess.run([*command, "--url", str(tmp_path)], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert str(once()).strip() == "settled"
    assert done == [("A1", 5)]
    assert asked == ["model:1", "model:2"]
    with Client(tmp_path) as client:
        session = client.session("s")
        assert results_in(session) == {"c1": "5 for A1"}
        last = next(step for step in reversed(session.state().steps) if step.kind == "model")
        assert "too much" in json.dumps(last.input)


def test_a_tool_may_ask_for_approval_itself_and_is_called_again_with_it() -> None:
    async def main() -> None:
        called: list[bool] = []
        model = scripted(ModelResponse(parts=[ToolCallPart("refund", {}, tool_call_id="c1")]), says("settled"))
        agent = Agent(model, name="clerk", capabilities=[Recorded()])

        @agent.tool
        def refund(ctx: RunContext[Any]) -> str:
            called.append(ctx.tool_call_approved)
            if not ctx.tool_call_approved:
                raise ApprovalRequired({"why": "it is much"})
            return "refunded"

        async with AsyncClient("memory:") as client:
            session = client.session("s")
            with pytest.raises(RunWaiting) as waiting:
                await run_durable(agent, "go", session)
            await session.answer(waiting.value.questions[0], True)
            assert await run_durable(agent, "go", session) == "settled"
            assert called == [False, True]
            assert (await session.replay(durable(agent))).identical
            assert called == [False, True]

    asyncio.run(main())


def test_a_result_from_elsewhere_is_given_as_an_answer() -> None:
    async def main() -> None:
        weigh = ToolDefinition(name="weigh", parameters_json_schema={"type": "object", "properties": {}})
        called = [ToolCallPart("weigh", {}, tool_call_id="c1"), ToolCallPart("measure", {}, tool_call_id="c2")]
        model = scripted(ModelResponse(parts=called), says("known"))
        agent: Agent[None, str] = Agent(model, name="a", toolsets=[ExternalToolset([weigh])], capabilities=[Recorded()])

        @agent.tool_plain
        def measure() -> str:
            raise CallDeferred

        async with AsyncClient("memory:") as client:
            session = client.session("s")
            with pytest.raises(RunWaiting) as waiting:
                await run_durable(agent, "go", session)
            prompts = [question.prompt for question in waiting.value.questions]
            assert sorted(prompts) == ["What does measure() give?", "What does weigh() give?"]
            for question in waiting.value.questions:
                await session.answer(question, {"kg": 3} if "weigh" in question.prompt else "2 m")
            assert await run_durable(agent, "go", session) == "known"
            last = next(step for step in reversed((await session.state()).steps) if step.kind == "model")
            contents = {part["tool_name"]: part["content"] for part in last.input["messages"][-1]["parts"]}
            assert contents == {"weigh": {"kg": 3}, "measure": "2 m"}

    asyncio.run(main())


def test_the_agent_may_keep_its_requests_to_itself() -> None:
    async def main() -> None:
        agent = clerk(output_type=[str, DeferredToolRequests], capabilities=[Recorded(ask=False)])
        async with AsyncClient("memory:") as client:

            async def turn() -> list[str]:
                result = await agent.run("go")
                assert isinstance(result.output, DeferredToolRequests)
                return [call.tool_call_id for call in result.output.approvals]

            session = client.session("s")
            assert await session.run(turn) == ["c1", "c2"]
            assert not await session.questions()

    asyncio.run(main())
