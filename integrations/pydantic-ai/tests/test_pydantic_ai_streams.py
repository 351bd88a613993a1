"""Streamed answers: live at the caller and at followers, the same to the piece from the record, however they ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from agentstream_pydantic_ai import Recorded, durable, history, run_durable, stream_durable
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai_kit import PEOPLE, calls_for, looker, says, scripted, timeless_events
from pydantic_ai_worker import child

from agentstream import AsyncClient, Client, Diverged

TEXT = "one two three four five six"


def test_a_streamed_run_is_the_same_to_the_piece_from_the_record() -> None:
    async def main() -> None:
        asked: list[str] = []
        agent = looker(scripted(calls_for(PEOPLE, "I look."), says(TEXT), asked=asked.append))
        async with AsyncClient("memory:") as client:
            session = client.session("s").with_options(run_id="one")
            live = [event async for event in stream_durable(agent, "go", session)]
            again = [event async for event in stream_durable(agent, "go", session)]
            assert timeless_events(again) == timeless_events(live)
            assert len([event for event in live if event.event_kind == "part_delta"]) > 12
            assert live[-1].result.output.split() == TEXT.split()
            assert asked == ["model:1", "model:2"]
            said = history(await session.state())
            assert len(said) == 4

    asyncio.run(main())


def test_tokens_arrive_at_the_caller_and_at_a_follower_while_the_model_still_speaks() -> None:
    async def main() -> None:
        go_on = asyncio.Event()

        async def speak(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
            yield "first "
            yield "second "
            await go_on.wait()
            yield "last"

        agent: Agent[None, str] = Agent(FunctionModel(stream_function=speak), name="a", capabilities=[Recorded()])
        async with AsyncClient("memory:") as client:
            session = client.session("s")
            seen: list[str] = []

            async def turn() -> str:
                async with agent.run_stream("go") as result:
                    async for text in result.stream_text(delta=True, debounce_by=None):
                        seen.append(text)
                    return await result.get_output()

            await session.append("custom", "begun")
            running = asyncio.ensure_future(session.run(turn))
            heard = ""
            async for event in session.follow():
                if event.type == "delta":
                    heard += event.value["text"]
                if heard == "first second ":
                    break
            assert seen == ["first ", "second "]
            (step,) = (await session.state()).steps
            assert step.outcome is None
            go_on.set()
            assert await running == "first second last"
            assert (await session.replay(turn)).identical
            assert seen == ["first ", "second ", "last"] * 2

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["events", "stream"])
def test_a_follower_in_another_process_sees_tokens(kind: str, tmp_path: Path) -> None:
    with Client(tmp_path) as client:
        client.session("s").append("custom", "begun")
        process = child(tmp_path, kind, "function")
        deltas = (event.value for event in client.session("s").follow() if event.type == "delta")
        delta = next(found for found in deltas if found["kind"] == "text")
        process.join(60)
        assert process.exitcode == 0
        message = client.session("s").state().messages[-1]
        assert delta["target"] == message["id"]
        assert delta["text"].split()[0] in message["parts"][0]["text"]


def test_with_live_a_plain_run_streams_for_its_followers_and_without_it_does_not() -> None:
    async def main() -> None:
        for live in (True, False):
            agent = looker(scripted(says(TEXT)), capabilities=[Recorded(live=live)])
            async with AsyncClient("memory:") as client:
                session = client.session("s")
                assert (await run_durable(agent, "go", session)).split() == TEXT.split()
                kinds = [event.type async for event in session.events()]
                assert ("delta" in kinds) is live
                assert (await session.replay(durable(agent))).identical

    asyncio.run(main())


def test_an_answer_that_was_left_is_what_was_read_and_reading_on_diverges() -> None:
    async def main() -> None:
        asked: list[str] = []
        agent = looker(scripted(says(TEXT), asked=asked.append))

        def reading(count: int) -> Any:
            async def turn() -> list[str]:
                found: list[str] = []
                async with agent.iter("go") as run:
                    async for node in run:
                        if Agent.is_model_request_node(node):
                            async with node.stream(run.ctx) as stream:
                                async for event in stream:
                                    if event.event_kind in ("part_start", "part_delta"):
                                        found.append(event.event_kind)
                                    if len(found) == count:
                                        return found
                return found

            return turn

        async with AsyncClient("memory:") as client:
            session = client.session("s")
            assert len(await session.run(reading(3))) == 3
            assert (await session.replay(reading(3))).identical
            report = await session.replay(reading(99))
            assert not report.identical
            assert report.divergence is not None
            assert report.divergence.kind == "different_args"
            assert asked == ["model:1"]

    asyncio.run(main())


def test_a_stream_that_breaks_is_asked_for_again_and_one_whose_error_was_seen_breaks_again() -> None:
    async def main() -> None:
        asked: list[int] = []

        async def speak(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
            asked.append(1)
            yield "half "
            if len(asked) == 1:
                raise ConnectionError("cut")
            yield "whole"

        agent: Agent[None, str] = Agent(FunctionModel(stream_function=speak), name="a", capabilities=[Recorded()])

        async def reads(prompt: str) -> str:
            async with agent.run_stream(prompt) as result:
                return await result.get_output()

        async def gives_up() -> str:
            return await reads("go")

        async def tries_twice() -> list[str]:
            found: list[str] = []
            try:
                await reads("go")
            except ConnectionError as error:
                found.append(str(error))
            return [*found, await reads("again")]

        async with AsyncClient("memory:") as client:
            session = client.session("s")
            with pytest.raises(ConnectionError):
                await session.run(gives_up)
            assert await session.run(gives_up) == "half whole"
            assert len(asked) == 2

            asked.clear()
            seen = client.session("t")
            assert await seen.run(tries_twice) == ["cut", "half whole"]
            report = await seen.replay(tries_twice)
            assert (report.identical, report.result) == (True, ["cut", "half whole"]), report
            assert len(asked) == 2

    asyncio.run(main())


def test_a_run_that_is_cancelled_in_a_stream_goes_on_with_that_call(tmp_path: Path) -> None:
    async def main() -> None:
        asked: list[int] = []
        stuck = asyncio.Event()

        async def speak(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
            asked.append(1)
            yield "half "
            if len(asked) == 1:
                stuck.set()
                await asyncio.Event().wait()
            yield "whole"

        agent: Agent[None, str] = Agent(FunctionModel(stream_function=speak), name="a", capabilities=[Recorded()])
        async with AsyncClient(tmp_path) as client:
            session = client.session("s")

            async def consume() -> list[Any]:
                return [event async for event in stream_durable(agent, "go", session)]

            running = asyncio.create_task(consume())
            await stuck.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert (await consume())[-1].result.output == "half whole"
            assert len(asked) == 2

    asyncio.run(main())


def test_leaving_a_streamed_run_interrupts_it_and_the_same_call_goes_on() -> None:
    async def main() -> None:
        asked: list[str] = []
        agent = looker(scripted(calls_for(["Ann"]), says(TEXT), asked=asked.append))
        async with AsyncClient("memory:") as client:
            session = client.session("s")
            stream = stream_durable(agent, "go", session)
            async for event in stream:
                if event.event_kind == "function_tool_result":
                    break
            await stream.aclose()
            events = [event async for event in stream_durable(agent, "go", session)]
            assert events[-1].result.output.split() == TEXT.split()
            assert asked.count("model:1") == 1

    asyncio.run(main())


def test_a_changed_conversation_diverges_before_any_tool_runs() -> None:
    async def main() -> None:
        called: list[str] = []
        async with AsyncClient("memory:") as client:
            session = client.session("s").with_options(run_id="one")
            agent = looker(scripted(calls_for(["Ann"]), says("done")), called.append)
            await run_durable(agent, "go", session)
            changed = looker(scripted(calls_for(["Ann"]), says("done")), called.append, instructions="Be brief.")
            report = await session.replay(durable(changed))
            assert report.divergence is not None
            assert "Be brief." in str(report.divergence)
            await session.rewind(at=8)
            with pytest.raises(Diverged):
                await run_durable(changed, "go", session)
            assert called == ["Ann"]

    asyncio.run(main())
