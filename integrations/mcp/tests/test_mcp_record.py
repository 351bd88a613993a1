"""What code asks of an MCP server over stdio, as steps: killed, resumed, replayed, cancelled, and left alone."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from agentstream_mcp import record
from mcp import Client as McpClient
from mcp import MCPError
from mcp.server.mcpserver import MCPServer
from mcp_agent import asker, child, unconnected, worked
from mcp_kit import effects
from mcp_server import NEVER, server

from agentstream import AsyncClient, OutcomeUnknown, agent, outside_run, step

WHOLE = ["add 1 2", "count 3", "fail no", "one", "ask it"]
ANSWER = {
    "tools": ["add", "count", "fail", "announce"],
    "sum": {"sum": 3},
    "counted": "counted to 3",
    "progress": [[1.0, 3.0, "at 1"], [2.0, 3.0, "at 2"], [3.0, 3.0, "at 3"]],
    "failed": True,
    "read": "1",
    "prompt": "What is it?",
}


EVERY = ["in:add 1 2", "one", "in:count 3", "two", "in:fail no", "in:one", "three"]
PLACES = EVERY if os.environ.get("AGENTSTREAM_TEST_ALL") else ["in:add 1 2", "two", "in:one"]


@pytest.mark.parametrize(("place", "how"), [("three", "stdio"), *((place, "memory") for place in PLACES)])
def test_a_killed_agent_asks_only_that_again_which_it_was_at(place: str, how: str, tmp_path: Path) -> None:
    killed = child(tmp_path, place, how)
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL
    again = [place.removeprefix("in:")] if place.startswith("in:") else []

    async def main() -> None:
        assert await worked(tmp_path) == ANSWER
        assert sorted(effects(tmp_path)) == sorted([*WHOLE, *again])
        async with AsyncClient(tmp_path / "store") as client:
            report = await client.session("s").replay(asker(unconnected()))
            assert report.identical, report
            assert report.result == ANSWER

    asyncio.run(main())
    assert len(effects(tmp_path)) == len(WHOLE + again)


def test_a_tool_that_must_not_act_twice_stops_the_run(tmp_path: Path) -> None:
    killed = child(tmp_path, "in:count 3", "memory", ("count",))
    killed.join(60)
    assert killed.exitcode == -signal.SIGKILL

    async def main() -> None:
        with pytest.raises(BaseException) as stopped:  # noqa: PT011 - it comes in a group of the client's
            await worked(tmp_path, once=("count",))
        assert stopped.group_contains(OutcomeUnknown)
        async with AsyncClient(tmp_path / "store") as client:
            [unknown] = await client.session("s").unresolved()
            assert (unknown.name, unknown.input) == ("count", {"to": 3, "gate": ""})
            await client.session("s").resolve(unknown, {"content": [{"type": "text", "text": "counted to 3"}]})
        assert await worked(tmp_path, once=("count",)) == {**ANSWER, "progress": []}
        assert effects(tmp_path) == WHOLE

    asyncio.run(main())


def test_errors_are_what_they_were(tmp_path: Path) -> None:
    """The protocol's errors are raised again, with code and data."""

    async def main() -> None:
        async with AsyncClient("memory:") as client, record(McpClient(server(tmp_path))) as asked:

            def refused(session: Any) -> Any:
                @agent
                async def asks() -> Any:
                    told: list[Any] = []
                    try:
                        await session.read_resource("numbers://two")
                    except MCPError as error:
                        told = [error.code, error.message, error.data]
                    return [*told, (await session.call_tool("add", {"a": 1, "b": 1})).structured_content]

                return asks

            first = await client.session("s").run(refused(asked))
            assert first[0] == -32602
            report = await client.session("s").replay(refused(unconnected()))
            assert report.result[:3] == first[:3]
            assert report.identical, report

    asyncio.run(main())


def test_a_cancelled_call_is_cancelled_again(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient("memory:") as client, record(McpClient(server(tmp_path))) as asked:

            def gives_up(session: Any) -> Any:
                @agent
                async def asks() -> Any:
                    reached = asyncio.Event()

                    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
                        reached.set()

                    call = session.call_tool("count", {"to": 2, "gate": NEVER}, progress_callback=on_progress)
                    task = asyncio.create_task(call)
                    await reached.wait()
                    task.cancel()
                    [left] = await asyncio.gather(task, return_exceptions=True)
                    return [type(left).__name__, (await session.call_tool("add", {"a": 1, "b": 1})).structured_content]

                return asks

            assert await client.session("s").run(gives_up(asked)) == ["CancelledError", {"sum": 2}]
            assert effects(tmp_path) == ["count 2", "add 1 1"]
            report = await client.session("s").replay(gives_up(unconnected()))
            assert report.identical, report

    asyncio.run(main())


def test_progress_is_seen_by_followers(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient("memory:") as client, record(McpClient(server(tmp_path))) as asked:

            @agent
            async def counts() -> None:
                await asked.call_tool("count", {"to": 2, "gate": ""})

            await client.session("s").run(counts)
            told = [event.value async for event in client.session("s").events() if event.type == "custom"]
            assert [(one["mcp"], one["progress"], one["total"], one["message"]) for one in told] == [
                ("progress", 1.0, 2.0, "at 1"),
                ("progress", 2.0, 2.0, "at 2"),
            ]

    asyncio.run(main())


def test_nothing_is_recorded_twice_and_nothing_outside_a_run(tmp_path: Path) -> None:
    """In a step of somebody else's (a framework's tool) and outside of runs the session is what it was."""

    async def main() -> None:
        async with AsyncClient("memory:") as client, record(record(McpClient(server(tmp_path)))) as asked:

            @step(kind="tool")
            async def tool() -> Any:
                return (await asked.call_tool("add", {"a": 1, "b": 2})).structured_content

            @agent
            async def asks() -> Any:
                with outside_run():
                    await asked.call_tool("add", {"a": 0, "b": 0})
                return await tool()

            assert await client.session("s").run(asks) == {"sum": 3}
            assert [found.name for found in (await client.session("s").state()).steps] == ["tool"]
            outside: Any = await asked.call_tool("add", {"a": 5, "b": 5})
            assert outside.structured_content == {"sum": 10}
        assert effects(tmp_path) == ["add 0 0", "add 1 2", "add 5 5"]

    asyncio.run(main())


def test_a_step_is_named_and_asked_as_the_tool_was(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient("memory:") as client, record(McpClient(server(tmp_path))) as asked:

            @agent
            async def asks() -> Any:
                await asked.call_tool(name="add", arguments={"a": 1, "b": 2}, read_timeout_seconds=60)
                await asked.list_prompts()

            await client.session("s").run(asks)
            steps = (await client.session("s").state()).steps
            assert [(found.kind, found.name, found.input) for found in steps] == [
                ("tool", "add", {"a": 1, "b": 2}),
                ("mcp", "prompts/list", {}),
            ]
            assert steps[0].result["structuredContent"] == {"sum": 3}

    asyncio.run(main())


def test_a_fork_after_a_result_calls_only_what_came_after(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient("memory:") as client, record(McpClient(server(tmp_path))) as asked:

            @agent
            async def adds() -> list[Any]:
                found: list[Any] = []
                for number in range(3):
                    answer: Any = await asked.call_tool("add", {"a": number, "b": len(found)})
                    found.append(answer.structured_content["sum"])
                return found

            session = client.session("s")
            assert await session.run(adds) == [0, 2, 4]
            calls = (await session.state()).steps
            branch = await session.fork("b", at=calls[1].outcome)
            assert await branch.run(adds) == [0, 2, 4]
            assert effects(tmp_path) == ["add 0 0", "add 1 1", "add 2 2", "add 2 2"]
            other = await session.fork("c", replace={calls[0].key: {"content": [], "structuredContent": {"sum": 70}}})
            assert await other.run(adds) == [70, 2, 4]
            assert (await other.replay(adds)).identical

    asyncio.run(main())


def test_the_hundredth_call_takes_no_more_than_the_first(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient("memory:") as client, record(McpClient(server(tmp_path))) as asked:

            @agent
            async def asks() -> None:
                for number in range(100, 200):
                    await asked.call_tool("add", {"a": number, "b": number})

            await client.session("s").run(asks)
            events = [event async for event in client.session("s").events() if "#" in event.key]
            assert len(events) == 200
            sizes = [len(event.raw) for event in events]
            assert sum(sizes[-20:]) <= 1.05 * sum(sizes[:20])

    asyncio.run(main())


def test_what_is_no_session_is_refused() -> None:
    with pytest.raises(TypeError, match="record takes"):
        record("nothing")  # type: ignore[type-var]
    with pytest.raises(TypeError, match="once="):
        record(McpClient(MCPServer("x")), once="count")
