"""Tools that need an approval: asked in the session as questions, answered by anybody, gone on with in any process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, RunState, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from agentstream_openai_agents import durable, run_durable, run_durable_streamed
from openai_agents_kit import scripted
from openai_agents_worker import workers

from agentstream import AsyncClient, Client, RunWaiting


def test_an_approval_is_answered_elsewhere_and_resumed_in_another_process(tmp_path: Path) -> None:
    store, log = str(tmp_path / "store"), tmp_path / "log"
    with workers() as children:
        case = {"mode": "paying", "store": store, "log": str(log)}
        code, (question, name, arguments) = children.run(**case)
        assert (code, name, arguments) == (0, "pay", {"amount": 5})
        with Client(store) as client:
            session = client.session("s")
            [asked] = session.questions()
            assert (asked.key, asked.kind, asked.prompt) == (question, "approval", "May pay be called?")
            session.answer(asked, True, by="ada")
        assert children.run(**case) == (0, "done")
        assert log.read_text() == "paid 5\n"


def payer(paid: list[Any], *, ids: int = 1, asked: bool = False) -> tuple[Agent[Any], ScriptedModel]:
    """`asked`: the model has only the last answer left, since the first is in the record."""

    @function_tool(needs_approval=True)
    def pay(amount: int) -> str:
        """Pays."""
        paid.append(amount)
        return f"paid {amount}"

    @function_tool
    def look() -> str:
        """Looks."""
        paid.append("looked")
        return "seen"

    calls: Any = [function_call("pay", {"amount": n + 1}, call_id=f"p{n}") for n in range(ids)]
    first: Any = [] if asked else [[*calls, function_call("look", {}, call_id="l")]]
    return scripted(*first, [assistant_message("done")], tools=[pay, look])


@pytest.mark.parametrize("stream", [False, True])
def test_several_stand_open_at_once_and_each_has_its_own_answer(stream: bool, tmp_path: Path) -> None:
    async def once(session: Any, made: Agent[Any]) -> Any:
        if not stream:
            return await run_durable(made, "pay", session)
        result = run_durable_streamed(made, "pay", session)
        async for _ in result.stream_events():
            pass
        return result

    async def main() -> None:
        paid: list[Any] = []
        async with AsyncClient(tmp_path) as client:
            session = client.session("s")
            with pytest.raises(RunWaiting) as waiting:
                await once(session, payer(paid, ids=3)[0])
            assert paid == ["looked"]  # what needs nobody is done, and is not done again
            first, second, third = sorted(waiting.value.questions, key=lambda asked: asked.arguments["amount"])
            await session.answer(third, {"approved": True, "arguments": {"amount": 30}})
            await session.answer(first, {"approved": False, "reason": "too much"})
            with pytest.raises(RunWaiting):
                await once(session, payer(paid, ids=3)[0])
            await session.answer(second, True)
            made, model = payer(paid, ids=3, asked=True)
            result = await once(session, made)
            assert result.final_output == "done"
            assert sorted(map(str, paid)) == ["2", "30", "looked"]
            items: Any = result.to_input_list()
            outputs = {item["call_id"]: item["output"] for item in items if item.get("type") == "function_call_output"}
            assert outputs == {"l": "seen", "p0": "too much", "p1": "paid 2", "p2": "paid 30"}
            assert len(model.calls) == 1  # the first call was in another life
            assert (await session.replay(durable(made))).identical

    asyncio.run(main())


def test_an_agent_used_as_a_tool_asks_too(tmp_path: Path) -> None:
    async def main() -> None:
        paid: list[Any] = []

        def made(*, asked: bool = False) -> Agent[Any]:
            inner = payer(paid, asked=asked)[0]
            tool = inner.as_tool("delegate", "Delegates.")
            first: Any = [] if asked else [[function_call("delegate", {"input": "go"}, call_id="d")]]
            return scripted(*first, [assistant_message("all done")], tools=[tool])[0]

        async with AsyncClient(tmp_path) as client:
            session = client.session("s")
            with pytest.raises(RunWaiting) as waiting:
                await run_durable(made(), "hi", session)
            await session.answer(waiting.value.questions[0], True)
            result = await run_durable(made(asked=True), "hi", session)
            assert result.final_output == "all done"
            assert sorted(map(str, paid)) == ["1", "looked"]

    asyncio.run(main())


def test_a_state_is_not_taken_for_input(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient(tmp_path) as client:
            state: Any = object.__new__(RunState)
            with pytest.raises(TypeError, match="answer its questions in the session"):
                await run_durable(payer([])[0], state, client.session("s"))

    asyncio.run(main())
