"""Handoffs, guardrails, MCP servers, agents as tools, values of all kinds, and leaving a stream."""

from __future__ import annotations

import asyncio
import copy
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai_agents_mcp_server
import pytest
from agents import (
    Agent,
    FunctionTool,
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    RunHooks,
    Runner,
    ToolOutputText,
    UserError,
    function_tool,
    handoff,
    input_guardrail,
    output_guardrail,
)
from agents.mcp import MCPServerStdio
from agents.testing import assistant_message, function_call
from agents.tool_context import ToolContext
from agentstream_openai_agents import (
    AgentStreamSession,
    durable,
    instrument,
    run_durable,
    run_durable_streamed,
    run_durable_sync,
)
from openai_agents_kit import ANSWER, QUESTION, exchange, model, says, scripted
from pydantic import BaseModel
from support.provider import Behaviour, Provider

from agentstream import AsyncClient, Client, current_session


async def kinds(session: Any) -> list[str]:
    steps = (await session.state()).steps
    return [f"{found.kind} {found.name}" for found in steps if found.kind not in ("session", "run")]


def test_handoffs_also_those_made_by_code(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient(tmp_path) as client:
            last, third = scripted([assistant_message("from the last")])
            last.name = "last"
            middle, second = scripted([function_call("transfer_to_last", {}, call_id="h2")], handoffs=[last])
            middle.name = "middle"
            hidden = handoff(middle)
            first, _ = scripted([function_call("transfer_to_middle", {}, call_id="h1")], handoffs=[hidden])
            result = await run_durable(first, "hi", client.session("s"))
            assert (result.final_output, result.last_agent) == ("from the last", last)
            assert await kinds(client.session("s")) == ["model ScriptedModel"] * 3
            report = await client.session("s").replay(durable(first))
            assert report.identical
            assert (len(second.calls), len(third.calls)) == (1, 1)

    asyncio.run(main())


def test_a_guardrail_is_a_step_with_the_model_that_it_asks(tmp_path: Path) -> None:
    async def main() -> None:
        looked: list[str] = []

        @input_guardrail(run_in_parallel=False)
        async def polite(context: Any, agent: Any, about: Any) -> GuardrailFunctionOutput:
            looked.append(about[0]["content"])
            return GuardrailFunctionOutput(output_info={"why": "said please"}, tripwire_triggered="now!" in str(about))

        @output_guardrail
        def short(context: Any, agent: Any, about: Any) -> GuardrailFunctionOutput:
            looked.append(str(about))
            return GuardrailFunctionOutput(output_info=None, tripwire_triggered=False)

        def made() -> Agent[Any]:
            return scripted([assistant_message("done")], input_guardrails=[polite], output_guardrails=[short])[0]

        async with AsyncClient(tmp_path) as client:
            session = client.session("s").with_options(run_id="one")
            result = await run_durable(made(), "please", session)
            assert await kinds(session) == ["guardrail polite", "model ScriptedModel", "guardrail short"]
            again = await run_durable(made(), "please", session)
            assert again.input_guardrail_results[0].output == result.input_guardrail_results[0].output
            assert looked == ["please", "done"]
            other = client.session("other")
            for _ in range(2):
                with pytest.raises(InputGuardrailTripwireTriggered):
                    await run_durable(made(), "now!", other)
            assert looked == ["please", "done", "now!"]

    asyncio.run(main())


def test_mcp_tools_are_steps_and_the_server_need_not_be_there_on_replay(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = {"command": sys.executable, "args": [openai_agents_mcp_server.__file__, str(log)]}

    def made(server: Any) -> Agent[Any]:
        steps: Any = [[function_call("fetch", {"title": "Emma"}, call_id="c")], [assistant_message("300 pages")]]
        return scripted(*steps, mcp_servers=[server])[0]

    async def main() -> None:
        async with AsyncClient(tmp_path / "store") as client:
            session = client.session("s").with_options(run_id="one")
            async with MCPServerStdio(params=command, name="shelf") as server:  # type: ignore[arg-type]
                result = await run_durable(made(server), "how long is Emma?", session)
            assert [name for name in await kinds(session) if "model" not in name] == [
                "mcp tools/list",
                "tool fetch",
                "mcp tools/list",
            ]
            gone = MCPServerStdio(params=command, name="shelf")  # type: ignore[arg-type]
            again = await run_durable(made(gone), "how long is Emma?", session)
            assert again.to_input_list() == result.to_input_list()
            assert "300 pages" in str(again.to_input_list())
            assert log.read_text() == "Emma\n"

    asyncio.run(main())


def test_an_agent_used_as_a_tool_has_steps_of_its_own(tmp_path: Path) -> None:
    async def main() -> None:
        ran: list[str] = []

        @function_tool
        def look() -> str:
            """Looks."""
            ran.append("look")
            return "seen"

        inner, model = scripted([function_call("look", {}, call_id="i")], [assistant_message("inner")], tools=[look])
        inner.name = "inner"
        steps: Any = [[function_call("ask", {"input": "go"}, call_id="o")], [assistant_message("outer")]]
        outer, _ = scripted(*steps, tools=[inner.as_tool("ask", "Asks.")])
        async with AsyncClient(tmp_path) as client:
            await run_durable(outer, "hi", client.session("s"))
            one = "model ScriptedModel"
            assert await kinds(client.session("s")) == [one, one, "tool look", one, one]
            assert (await client.session("s").replay(durable(outer))).identical
            assert (ran, len(model.calls)) == (["look"], 2)

    asyncio.run(main())


class Found(BaseModel):
    place: str
    near: list[str] = []


@dataclass
class Spot:
    at: int


class Odd:
    def __str__(self) -> str:
        return "odd"


VALUES: list[Any] = [
    "text",
    None,
    3,
    {"a": [1, 2.5, None]},
    Found(place="here", near=["there"]),
    [Found(place="here"), "and text"],
    Spot(4),
    ToolOutputText(text="said"),
    Odd(),
    ("a", 1),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_what_a_tool_gives_is_told_to_the_model_alike_on_every_run(value: Any, tmp_path: Path) -> None:
    async def plain() -> Any:
        from agents import Runner

        return (await Runner.run(made(), "hi")).to_input_list()

    def made() -> Agent[Any]:
        @function_tool
        def give() -> Any:
            """Gives."""
            return copy.deepcopy(value)

        return scripted([function_call("give", {}, call_id="c")], [assistant_message("done")], tools=[give])[0]

    async def main() -> None:
        async with AsyncClient(tmp_path) as client:
            session = client.session("s").with_options(run_id="one")
            first = (await run_durable(made(), "hi", session)).to_input_list()
            assert first == await plain()
            assert (await run_durable(made(), "hi", session)).to_input_list() == first

    asyncio.run(main())


def test_a_tools_error_is_told_to_the_model_alike_and_a_failed_run_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        tried: list[str] = []

        def made(*calls: Any) -> Agent[Any]:
            @function_tool(failure_error_function=lambda context, error: f"failed: {error}")
            def fail() -> str:
                """Fails."""
                tried.append("fail")
                raise ValueError("no such order")

            return scripted(*calls, [assistant_message("done")], tools=[fail])[0]

        async with AsyncClient(tmp_path) as client:
            session = client.session("s")
            calls: Any = [[function_call("fail", {}, call_id=f"c{n}")] for n in range(2)]
            with pytest.raises(MaxTurnsExceeded):
                await run_durable(made(*calls), "hi", session, max_turns=2)
            result = await run_durable(made(), "hi", session, max_turns=5)
            assert result.final_output == "done"
            assert str(result.to_input_list()).count("no such order") == 2
            assert tried == ["fail", "fail"]

    asyncio.run(main())


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("memory", ["s", "another"])
def test_calls_that_ask_the_same_are_told_apart_by_their_ids(tmp_path: Path, memory: str, *, stream: bool) -> None:
    """The second was recorded first, and the first failed: when the run goes on that one alone is made again, though
    the SDK has put what there was into its memory; and each has its own result."""

    async def main() -> None:
        drew: list[str] = []
        recorded = asyncio.Event()

        class InOrder(RunHooks[Any]):
            async def on_tool_start(self, context: Any, agent: Any, tool: Any) -> None:
                if context.tool_call_id == "c1":
                    await recorded.wait()

            async def on_tool_end(self, context: Any, agent: Any, tool: Any, result: Any) -> None:
                recorded.set()

        def made(*steps: Any) -> Agent[Any]:
            @function_tool(failure_error_function=None)
            def draw(context: ToolContext[Any]) -> str:
                """Draws a card."""
                drew.append(context.tool_call_id)
                if drew == ["c2", "c1"]:
                    raise ValueError("the cards fell down")
                return f"{context.tool_call_id} drew"

            return scripted(*steps, [assistant_message("done")], tools=[draw])[0]

        async with AsyncClient(tmp_path) as client:
            session, options = client.session("s"), {"memory": AgentStreamSession(client, memory)}

            async def ran(agent: Agent[Any], **more: Any) -> Any:
                if not stream:
                    return await run_durable(agent, "hi", session, **options, **more)
                result = run_durable_streamed(agent, "hi", session, **options, **more)
                assert [event async for event in result.stream_events()]
                return result

            twice: Any = [function_call("draw", {}, call_id=id) for id in ("c1", "c2")]
            with pytest.raises(Exception, match="fell down"):
                await ran(made(twice), hooks=InOrder())
            result = await ran(made())
            given: Any = [item for item in result.to_input_list() if item.get("type") == "function_call_output"]
            assert {item["call_id"]: item["output"] for item in given} == {"c1": "c1 drew", "c2": "c2 drew"}
            assert drew == ["c2", "c1", "c1"]
            held: Any = await AgentStreamSession(client, memory).get_items()
            assert [item.get("call_id") for item in held] == [None, "c1", "c2", "c1", "c2", None]

    asyncio.run(main())


def test_an_error_that_code_goes_on_from_leaves_what_there_was_in_memory(tmp_path: Path) -> None:
    """As outside of a run."""

    async def main() -> None:
        @function_tool(failure_error_function=None)
        def draw(card: int) -> str:
            """Draws a card."""
            if card == 2:
                raise ValueError("the cards fell down")
            return "an ace"

        def made() -> Any:
            both: Any = [function_call("draw", {"card": card}, call_id=f"c{card}") for card in (1, 2)]
            agent, _ = scripted(both, [assistant_message("never mind")], tools=[draw])
            instrument(agent)

            async def plays(elsewhere: str = "") -> str:
                memory = AgentStreamSession(client, elsewhere) if elsewhere else AgentStreamSession(current_session())
                try:
                    return (await Runner.run(agent, "draw", session=memory)).final_output
                except UserError:  # what is done here is the code's own, and recorded as ever
                    return (await Runner.run(agent, "and now?", session=memory)).final_output

            return plays

        async with AsyncClient(tmp_path) as client:
            session = client.session("s")
            assert await session.run(made()) == await made()("plain") == "never mind"
            items, plain = [await AgentStreamSession(client, name).get_items() for name in ("s", "plain")]
            assert items == plain
            report = await session.replay(made())
            assert report.identical, report

    asyncio.run(main())


@pytest.mark.parametrize("mode", ["immediate", "after_turn"])
def test_a_stream_that_is_cancelled_can_go_on(mode: Any, tmp_path: Path) -> None:
    async def main() -> None:
        answer = exchange(QUESTION, 0, [says(ANSWER)], stream=True)
        async with AsyncClient(tmp_path) as client:
            with Provider([answer], piece=64) as provider:
                if mode == "immediate":
                    provider.next.append(Behaviour(stall=answer.place_after("Order")))
                session = client.session("s").with_options(run_id="one")
                result = run_durable_streamed(Agent(name="a", model=model(provider.url)), QUESTION, session)
                seen: list[Any] = []
                async for event in result.stream_events():
                    seen.append(event)
                    if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                        result.cancel(mode)
                assert result.is_complete
                provider.release.set()
                again = run_durable_streamed(Agent(name="a", model=model(provider.url)), QUESTION, session)
                _ = [event async for event in again.stream_events()]
                assert again.final_output == ANSWER
                assert len(provider.billed) == (2 if mode == "immediate" else 1)

    asyncio.run(main())


def test_plain_code(tmp_path: Path) -> None:
    made, model = scripted([assistant_message("one")], [assistant_message("two")])
    with Client(tmp_path) as client:
        session = client.session("s")
        assert run_durable_sync(made, "hi", session).final_output == "one"
        assert run_durable_sync(made, "ho", session).final_output == "two"
        assert len(model.calls[1].input) == 3

        async def held_up() -> None:
            run_durable_sync(made, "hi", session)

        with pytest.raises(RuntimeError, match="await run_durable"):
            asyncio.run(held_up())


def test_what_cannot_be_instrumented_is_refused_and_the_rest_is_left_as_it_was() -> None:
    with pytest.raises(TypeError, match=r"not builtins\.str"):
        instrument("agent")

    @function_tool
    def look() -> str:
        """Looks."""
        return "seen"

    async def invoke(context: Any, arguments: str) -> str:
        return arguments

    own = FunctionTool(
        name="own", description="", params_json_schema={}, on_invoke_tool=invoke, strict_json_schema=False
    )
    made, _ = scripted(tools=[look, own])
    function, invoker = look.__wrapped__, look.on_invoke_tool
    assert instrument(made) is made
    assert (look.__wrapped__, look.on_invoke_tool) == (function, invoker)
    wrapped = own.on_invoke_tool
    instrument(made)
    instrument(copy.copy(own))
    assert own.on_invoke_tool is wrapped
    assert made.tools == [look, own]
