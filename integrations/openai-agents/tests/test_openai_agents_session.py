"""`AgentStreamSession` keeps the SDK's Session protocol, as a fold of a session's events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, OpenAIResponsesCompactionSession, Runner, SessionSettings, function_tool
from agents.memory import Session as Protocol
from agents.testing import assistant_message, function_call
from agentstream_openai_agents import AgentStreamSession, durable, run_durable
from openai_agents_kit import scripted

from agentstream import AsyncClient, Client, SessionExists, agent

Items = list[Any]
HI: Any = {"role": "user", "content": "hi"}
CALL: Any = {"type": "function_call", "call_id": "c", "name": "look", "arguments": '{"at": 1}', "id": "fc_1"}
RESULT: Any = {"type": "function_call_output", "call_id": "c", "output": "seen"}
THOUGHT: Any = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}]}
SAID: Any = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "I see", "annotations": [], "logprobs": []}],
}
PICTURE: Any = {
    "role": "user",
    "content": [{"type": "input_image", "image_url": "https://x.test/a.png", "detail": "auto"}],
}
ALL: Items = [
    HI,
    THOUGHT,
    CALL,
    RESULT,
    SAID,
    PICTURE,
    {"type": "web_search_call", "id": "ws_1", "status": "completed"},
]


def in_store(tmp_path: Path, test: Callable[[AsyncClient], Awaitable[None]]) -> None:
    async def main() -> None:
        async with AsyncClient(tmp_path) as client:
            await test(client)

    asyncio.run(main())


def test_items_come_back_as_they_are_and_others_can_read_them(tmp_path: Path) -> None:
    async def test(client: AsyncClient) -> None:
        memory = AgentStreamSession(client, "s")
        assert isinstance(memory, Protocol)
        assert await memory.get_items() == []
        assert await memory.pop_item() is None
        await memory.add_items(ALL[:2])
        await memory.add_items([])
        await AgentStreamSession(client.session("s"), "s").add_items(ALL[2:])
        got: Any = await memory.get_items()
        assert got == ALL
        got[0]["content"] = "changed"  # nobody else's
        assert await memory.get_items() == ALL
        messages = (await client.session("s").state()).messages
        assert [message["role"] for message in messages[:4]] == ["user", "assistant", "assistant", "tool"]
        assert messages[3]["parts"][0] == {"type": "tool_result", "id": "c", "content": "seen"}

    in_store(tmp_path, test)


def test_limits(tmp_path: Path) -> None:
    async def test(client: AsyncClient) -> None:
        memory = AgentStreamSession(client, "s", session_settings=SessionSettings(limit=2))
        await memory.add_items(ALL)
        assert await memory.get_items() == ALL[-2:]
        assert await memory.get_items(3) == ALL[-3:]
        assert await memory.get_items(limit=0) == []
        assert await memory.get_items(-1) == []
        assert await memory.get_items(99) == ALL

    in_store(tmp_path, test)


def test_items_are_taken_away_and_still_stand_in_the_record(tmp_path: Path) -> None:
    async def test(client: AsyncClient) -> None:
        memory = AgentStreamSession(client, "s")
        await memory.add_items(ALL[:3])
        assert await memory.pop_item(wrapper=None) == CALL
        await memory.add_items([SAID])
        assert await memory.get_items() == [HI, THOUGHT, SAID]
        await memory.clear_session()
        assert await memory.get_items() == []
        await memory.add_items([HI])
        await memory.replace_items([SAID, HI])
        assert await memory.get_items() == [SAID, HI]
        assert len([event async for event in client.session("s").events() if event.type == "message"]) == 5

    in_store(tmp_path, test)


def test_two_that_pop_at_once_get_different_items(tmp_path: Path) -> None:
    async def test(client: AsyncClient) -> None:
        memory = AgentStreamSession(client, "s")
        await memory.add_items(ALL)
        popped = await asyncio.gather(*(memory.pop_item() for _ in range(4)))
        assert sorted(map(str, popped)) == sorted(map(str, ALL[-4:]))
        assert await memory.get_items() == ALL[:-4]

    in_store(tmp_path, test)


def test_branches_at_any_item(tmp_path: Path) -> None:
    """Also between items that were added at once, in a run."""

    @function_tool
    def look(at: int) -> str:
        """Looks."""
        return f"saw {at}"

    async def test(client: AsyncClient) -> None:
        steps: Any = [
            [function_call("look", {"at": n}, call_id=f"c{n}") for n in range(2)],
            [assistant_message("both")],
        ]
        made, _ = scripted(*steps, tools=[look])
        await AgentStreamSession(client, "s").add_items([HI, SAID])
        await run_durable(made, "look twice", client.session("s"))
        memory = AgentStreamSession(client, "s")
        items = await memory.get_items()
        kinds = ["function_call", "function_call", "function_call_output", "function_call_output", "message"]
        assert [item.get("type", "message") for item in items] == ["message"] * 3 + kinds
        for count in range(len(items) + 1):
            branch = await memory.fork(f"b{count}", items=count)
            assert await branch.get_items() == items[:count]
            made, model = scripted([assistant_message("on")])
            await run_durable(made, "go on", client.session(f"b{count}"))
            assert model.calls[0].input[: count - 1] == items[: max(0, count - 1)] or count in (4, 5, 6)
        assert await memory.get_items() == items
        with pytest.raises(ValueError, match="has 8 items, not 9"):
            await memory.fork("b9", items=9)
        with pytest.raises(SessionExists):
            await memory.fork("b1", items=1)

    in_store(tmp_path, test)


def test_it_goes_on_with_what_another_sdk_said(tmp_path: Path) -> None:
    async def test(client: AsyncClient) -> None:
        await client.session("s").append("message", {"role": "user", "parts": [{"type": "text", "text": "I am Ada"}]})
        made, model = scripted([assistant_message("hello Ada")])
        await run_durable(made, "who am I?", client.session("s"))
        asked: Any = model.calls[0].input
        assert [item["role"] for item in asked] == ["user", "user"]
        assert "I am Ada" in str(asked[0])
        items: Any = await AgentStreamSession(client, "s").get_items()
        assert len(items) == 3

    in_store(tmp_path, test)


def test_within_a_run_it_reads_as_of_the_runs_start(tmp_path: Path) -> None:
    async def test(client: AsyncClient) -> None:
        memory = AgentStreamSession(client, "s")
        await memory.add_items([HI])

        @agent
        async def looks() -> list[Any]:
            here = AgentStreamSession(client, "s")
            before = await here.get_items()
            await here.add_items([SAID, CALL])
            popped = await here.pop_item()
            other = AgentStreamSession(client, "other")
            await other.add_items([HI])
            return [before, popped, await here.get_items(), await other.get_items()]

        session = client.session("s")
        assert await session.run(looks) == [[HI], CALL, [HI, SAID], [HI]]
        await memory.add_items([RESULT])
        assert (await session.replay(looks)).identical
        assert await memory.get_items() == [HI, SAID, RESULT]
        assert await AgentStreamSession(client, "other").get_items() == [HI]

    in_store(tmp_path, test)


def test_compaction_is_asked_after_a_turn_and_is_a_step_of_the_run(tmp_path: Path) -> None:
    async def test(client: AsyncClient) -> None:
        asked: list[int] = []

        async def compact(items: Items) -> Items | None:
            asked.append(len(items))
            return [{"role": "assistant", "content": "in short: hi"}] if len(items) > 2 else None

        memory: Any = AgentStreamSession(client, "s", compact=compact)
        assert [hasattr(each, "run_compaction") for each in (memory, AgentStreamSession(client, "s"))] == [True, False]
        made, _ = scripted([assistant_message("one")], [assistant_message("two")])
        await run_durable(made, "hi", memory)
        await run_durable(made, "ho", memory)
        assert asked == [2, 4]
        assert await memory.get_items() == [{"role": "assistant", "content": "in short: hi"}]
        assert (await client.session("s").replay(durable(made, memory=memory))).identical
        assert asked == [2, 4]

    in_store(tmp_path, test)


def test_below_the_sdks_compaction_session_and_as_a_plain_memory(tmp_path: Path) -> None:
    async def test(client: AsyncClient) -> None:
        made, model = scripted([assistant_message("one")], [assistant_message("two")])
        memory = OpenAIResponsesCompactionSession(
            "s",
            AgentStreamSession(client, "s"),
            should_trigger_compaction=lambda context: False,
            client=Any,  # type: ignore[arg-type]
        )
        await Runner.run(made, "hi", session=memory)
        await Runner.run(made, "ho", session=AgentStreamSession(client, "s"))
        assert len(model.calls[1].input) == 3

    in_store(tmp_path, test)


def test_a_sync_client_serves_as_well(tmp_path: Path) -> None:
    with Client(tmp_path) as client:
        memory = AgentStreamSession(client, "s")
        asyncio.run(memory.add_items([HI]))
        assert asyncio.run(AgentStreamSession(client.session("s")).get_items()) == [HI]
        assert memory.session_id == "s"


def test_what_is_no_session_is_refused(tmp_path: Path) -> None:
    with Client(tmp_path) as client:
        with pytest.raises(TypeError, match="which session"):
            AgentStreamSession(client)
        with pytest.raises(TypeError, match="takes a Client or a session"):
            AgentStreamSession("s")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="but the session is 's'"):
            AgentStreamSession(client.session("s"), "t")
        with pytest.raises(TypeError, match="a durable run needs a session"):
            asyncio.run(run_durable(Agent(name="a"), "hi", client))  # type: ignore[arg-type]
