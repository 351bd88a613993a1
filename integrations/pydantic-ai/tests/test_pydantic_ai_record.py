"""What stands in the session: once, linear, without secrets; a conversation's memory, forks, what errors leave."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from agentstream_pydantic_ai import Recorded, durable, history, run_durable
from pydantic import BaseModel
from pydantic_ai import Agent, ModelHTTPError
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelRequest, ModelResponse, ToolCallPart
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai_kit import PEOPLE, calls_for, down_once, looker, says, scripted

from agentstream import AsyncClient, Redact, ReplayedError, Worker


def test_the_session_shows_messages_tool_calls_and_usage_in_its_own_words() -> None:
    async def main() -> None:
        agent = looker(scripted(calls_for(["Ann"], "I look."), says("done")))
        async with AsyncClient("memory:") as client:
            session = client.session("s")
            await run_durable(agent, "go", session)
            state = await session.state()
            first, last = state.messages
            assert [part["type"] for part in first["parts"]] == ["text", "tool_call"]
            assert first["parts"][1] == {
                "type": "tool_call", "id": "call_Ann", "name": "look_up", "arguments": '{"name": "Ann"}',
            }  # fmt: skip
            assert (last["role"], last["parts"]) == ("assistant", [{"type": "text", "text": "done"}])
            assert [event.value["name"] async for event in session.events() if event.type == "tool_call"] == ["look_up"]
            model = state.steps[0]
            outcome = model.outcome
            assert outcome is not None
            usage = outcome.value["usage"]
            assert {"input_tokens", "output_tokens", "model"} <= usage.keys()
            (tool,) = [found for found in state.steps if found.kind == "tool"]
            assert (tool.input, tool.result) == ({"id": "call_Ann", "arguments": {"name": "Ann"}}, "Ann is somebody")

    asyncio.run(main())


def prompt_of(message: Any) -> Any:
    return message.parts[0].content


def test_a_conversation_goes_on_from_its_session_and_from_any_fork_of_it() -> None:
    async def main() -> None:
        seen: list[int] = []

        def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
            seen.append(len(messages))
            return says(f"answer {len(messages)}")

        agent: Agent[None, str] = Agent(FunctionModel(answer), name="a", capabilities=[Recorded()])
        async with AsyncClient("memory:") as client:
            session = client.session("s")
            for prompt in ("one", "two"):
                await run_durable(agent, prompt, session)
            branch = await session.fork("b")
            await run_durable(agent, "three", session)
            assert await run_durable(agent, "other", branch) == "answer 5"
            assert seen == [1, 3, 5, 5]
            prompts = [
                [prompt_of(message) for message in history(await one.state()) if isinstance(message, ModelRequest)]
                for one in (session, branch)
            ]
            assert prompts == [["one", "two", "three"], ["one", "two", "other"]]
            again = history(await session.state())
            assert all(message.timestamp for message in again)
            assert ModelMessagesTypeAdapter.validate_json(ModelMessagesTypeAdapter.dump_json(again)) == again
            assert history(await session.state(), "another agent") == []
            report = await session.replay(durable(agent))
            assert report.identical, report
            assert len(seen) == 4

    asyncio.run(main())


def test_a_fork_after_a_tools_result_repeats_only_what_came_after() -> None:
    async def main() -> None:
        asked: list[str] = []
        called: list[str] = []
        agent = looker(scripted(calls_for(PEOPLE), says("done"), asked=asked.append), called.append)
        async with AsyncClient("memory:") as client:
            session = client.session("s")
            await run_durable(agent, "go", session)
            tools = [found for found in (await session.state()).steps if found.kind == "tool"]
            finished = sorted((tool.outcome for tool in tools if tool.outcome), key=lambda outcome: outcome.index)
            branch = await session.fork("b", at=finished[1])
            assert await branch.run(durable(agent), "go") == "done"
            assert asked == ["model:1", "model:2", "model:2"]
            assert len(called) == 6
            tool = tools[0]
            other = await session.fork("c", replace={tool.key: "Alice is nobody"})
            await other.resume(durable(agent))
            last = [found for found in (await other.state()).steps if found.kind == "model"][-1]
            assert "Alice is nobody" in str(last.input)

    asyncio.run(main())


def test_agents_that_run_beside_each_other_are_resumed_each_in_its_place() -> None:
    async def main() -> None:
        asked: list[str] = []
        crashed: list[bool] = []

        async def turn() -> list[str]:
            agents = [looker(scripted(calls_for([name]), says(name), asked=asked.append)) for name in PEOPLE]
            results = await asyncio.gather(
                *(agent.run(f"who is {name}?") for agent, name in zip(agents, PEOPLE, strict=True))
            )
            if not crashed:
                crashed.append(True)
                raise ConnectionError("as if it were killed")
            return [result.output for result in results]

        async with AsyncClient("memory:") as client:
            session = client.session("s")
            with pytest.raises(ConnectionError):
                await session.run(turn)
            assert await session.run(turn) == PEOPLE
            assert len(asked) == 8
            assert (await session.replay(turn)).identical

    asyncio.run(main())


def test_a_worker_goes_on_with_a_run_that_was_left(tmp_path: Path) -> None:
    async def main() -> None:
        asked: list[str] = []
        agent = looker(scripted(calls_for(["Ann"]), says("done"), asked=asked.append), down_once())
        async with AsyncClient(tmp_path) as client:
            session = client.session("s")
            with pytest.raises(ConnectionError):
                await run_durable(agent, "go", session)
            await Worker(client, durable(agent), first_pause=1e-6).arun(once=True)
            assert (await session.state()).status == "finished"
            assert asked == ["model:1", "model:2"]

    asyncio.run(main())


def test_outputs_of_a_class_are_of_it_from_the_record_too() -> None:
    class Person(BaseModel):
        name: str
        age: int

    async def main() -> None:
        model = TestModel(custom_output_args={"name": "Ann", "age": 3})
        agent: Agent[None, Person] = Agent(model, output_type=Person, name="a", capabilities=[Recorded()])
        async with AsyncClient("memory:") as client:
            session = client.session("s").with_options(run_id="one")
            assert await run_durable(agent, "go", session) == Person(name="Ann", age=3)
            assert await run_durable(agent, "go", session) == Person(name="Ann", age=3)
            assert len([found for found in (await session.state()).steps if found.kind == "model"]) == 1

    asyncio.run(main())


def test_an_error_of_the_provider_is_the_same_on_replay_and_fallbacks_hold() -> None:
    async def main() -> None:
        asked: list[str] = []
        refuses = scripted(ModelHTTPError(503, "busy", {"error": "overloaded"}), asked=asked.append)

        async def turn() -> list[Any]:
            agent = Agent(refuses, name="a", capabilities=[Recorded()])
            try:
                await agent.run("go")
            except ModelHTTPError as error:
                return [error.status_code, error.model_name, (await Agent(model, name="b").run("go")).output]
            return []

        model = FallbackModel(refuses, scripted(says("here")))
        async with AsyncClient("memory:") as client:
            session = client.session("s")
            assert await session.run(turn) == [503, "busy", "here"]

            async def recorded() -> str:
                agent = Agent(model, name="b", capabilities=[Recorded()])
                return (await agent.run("go")).output

            other = client.session("t")
            assert await other.run(recorded) == "here"
            count = len(asked)
            assert (await other.replay(recorded)).identical

            async def caught() -> list[Any]:
                agent = Agent(refuses, name="a", capabilities=[Recorded()])
                try:
                    await agent.run("go")
                except ModelHTTPError as error:
                    again = await looker(scripted(says("sorry"))).run("again")
                    return [error.status_code, again.output, isinstance(error, ReplayedError)]
                return []

            third = client.session("u")
            assert await third.run(caught) == [503, "sorry", False]
            report = await third.replay(caught)
            assert report.result == [503, "sorry", True]
            assert len(asked) == count + 1

    asyncio.run(main())


def test_secrets_are_taken_out_before_anything_is_written(tmp_path: Path) -> None:
    called = ToolCallPart("look_up", {"name": "sk-live-42"}, tool_call_id="c1")
    gives = ModelResponse(parts=[*says("You gave sk-live-42").parts, called])

    async def main() -> None:
        model = scripted(gives, says("I keep sk-live-42 to myself"))
        agent = looker(model, model_settings={"extra_headers": {"authorization": "sk-header-42"}})
        rules = Redact(patterns={"key": r"sk-live-\d+"})
        async with AsyncClient(tmp_path, redact=rules) as client:
            for kind in ("plain", "streamed"):

                async def turn(kind: str = kind) -> list[str]:
                    if kind == "plain":
                        return [(await agent.run("mine is sk-live-42")).output]
                    async with agent.run_stream_events("mine is sk-live-42") as events:
                        return [event.result.output async for event in events if event.event_kind == "agent_run_result"]

                session = client.session(kind)
                (said,) = await session.run(turn)
                assert "sk-live-42" not in said
                assert (await session.replay(turn)).identical
        kept = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
        assert b"redacted" in kept
        assert b"sk-live-42" not in kept
        assert b"sk-header-42" not in kept

    asyncio.run(main())


@pytest.mark.parametrize("streamed", [False, True])
def test_a_hundred_turns_are_stored_linearly(streamed: bool, tmp_path: Path) -> None:
    """At most three times what is new; with what was streamed, 0.4 of its pieces besides. Late turns as small as
    early ones."""
    drawn = random.Random(1)

    def words(count: int) -> str:
        return " ".join(f"word{drawn.randrange(10**6)}" for _ in range(count))

    async def main() -> None:
        pieces = 0

        def answer(messages: Sequence[ModelMessage], info: AgentInfo) -> ModelResponse:
            return says(words(20))

        async def speak(messages: Sequence[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
            nonlocal pieces
            for word in words(20).split(" "):
                pieces += 250  # bytes that a provider sends for a token
                yield f"{word} "

        agent = looker(FunctionModel(answer, stream_function=speak))
        sizes: list[int] = []
        async with AsyncClient(tmp_path) as client:
            session = client.session("s")

            async def turn(prompts: int) -> int:
                said: list[ModelMessage] = []
                for number in range(prompts):
                    prompt = f"{number}: {words(20)}"
                    if streamed:
                        async with agent.run_stream(prompt, message_history=said) as result:
                            await result.get_output()
                            said = result.all_messages()
                    else:
                        said = (await agent.run(prompt, message_history=said)).all_messages()
                return len(ModelMessagesTypeAdapter.dump_json(said))

            new = await session.run(turn, 100)
            count = 0
            async for event in session.events():
                count += len(event.raw)
                if event.type == "outcome":
                    sizes.append(count)
        assert count <= 3 * new + 0.4 * pieces, (count / new, pieces)
        tenth = len(sizes) // 10
        assert sizes[-1] - sizes[-tenth] <= 1.5 * (sizes[2 * tenth] - sizes[tenth])

    asyncio.run(main())
