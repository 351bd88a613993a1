"""The framework's own durable operations as steps: what `Recorded` does, and discovery of tools beside it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import agentstream_openai
import pytest
from agentstream_pydantic_ai import AgentStreamDurability, Recorded, durable, history, run_durable
from agentstream_pydantic_ai._model import RecordedModel
from openai import AsyncOpenAI
from pydantic_ai import Agent, ApprovalRequired, CallDeferred, DeferredToolRequests, FunctionToolset, ModelRetry
from pydantic_ai.capabilities import AbstractCapability, durable_operation
from pydantic_ai.exceptions import ToolFailed, UserError
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.models.openai import OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.tools import RunContext
from pydantic_ai.toolsets import DynamicToolset
from pydantic_ai_kit import PEOPLE, Asked, calls_for, down_once, looker, says, scripted
from support.provider import Provider, traffic

from agentstream import AsyncClient, OutcomeUnknown, RunWaiting, step


def asks(called: Asked = lambda which: None, *answers: Any, **options: Any) -> Agent[None, str]:
    """An agent with a tool, and nothing else that makes it durable."""
    model = scripted(*(answers or (calls_for(PEOPLE), says("Daisy is the youngest"))), asked=called)
    options.setdefault("capabilities", [AgentStreamDurability()])
    return looker(model, called, **options)


def finder(happened: list[str], lost: Asked = lambda which: None) -> Agent[None, str]:
    """An agent that is told which tools it has, each time anew; a server of tools is asked the same way."""

    class Found(FunctionToolset[None]):
        async def get_tools(self, ctx: RunContext[None]) -> Any:
            happened.append(f"tools {ctx.run_step}")
            return await super().get_tools(ctx)

    def look_up(name: str) -> str:
        happened.append(name)
        lost(name)
        return f"{name} is somebody"

    toolset: Any = DynamicToolset(lambda ctx: Found([look_up], id="found"), id="people")
    model = scripted(calls_for(["Ann"]), says("done"), asked=happened.append)
    engine: Any = AgentStreamDurability()
    return Agent(model, name="finder", toolsets=[toolset], capabilities=[engine])


def test_what_tools_there_are_is_asked_once_and_never_on_resume_or_replay() -> None:
    async def main() -> None:
        happened: list[str] = []
        agent = finder(happened, down_once())
        async with AsyncClient("memory:") as client:
            session = client.session("s")
            with pytest.raises(ConnectionError):
                await run_durable(agent, "go", session)
            call = ["tools 1", "Ann"]  # who is called is looked up in the call's own step
            assert happened == ["tools 1", "model:1", *call]
            assert await run_durable(agent, "go", session) == "done"
            assert happened[4:] == [*call, "tools 2", "model:2"]
            happened.clear()
            report = await session.replay(durable(agent))
            assert report.identical, report
            assert (report.result, happened) == ("done", [])
            state = await session.state()
            assert [(found.kind, found.name.rpartition("__")[2]) for found in state.steps] == [
                ("task", "people.get_tools"),
                ("model", "model.request"),
                ("tool", "people.call_tool:look_up"),
                ("task", "people.get_tools"),
                ("model", "model.request"),
                ("memory", "finder"),
            ]
            assert state.usage
            assert [message.kind for message in history(state)] == ["request", "response"] * 2

    asyncio.run(main())


def test_outside_a_run_the_agent_is_what_it_was() -> None:
    async def main() -> None:
        happened: list[str] = []
        assert (await finder(happened).run("go")).output == "done"
        assert {"Ann", "model:1", "model:2"} < set(happened)

    asyncio.run(main())


WISHES = [ModelRetry("not like this"), ToolFailed("it is gone"), ApprovalRequired({"why": 1}), CallDeferred({"job": 7})]


@pytest.mark.parametrize("raised", WISHES, ids=lambda raised: type(raised).__name__)
def test_what_a_tool_raises_to_have_its_way_is_an_outcome(raised: Exception) -> None:
    async def main() -> None:
        happened: list[str] = []
        seen: list[Any] = []
        turns = iter([raised, None])

        def called(which: str) -> None:
            happened.append(which)
            if not which.startswith("model:") and (wish := next(turns)) is not None:
                raise wish

        again = [calls_for(["Ann"])] if isinstance(raised, ModelRetry) else []
        answers = [calls_for(["Ann"]), *again, says("done")]
        engine: Any = AgentStreamDurability(ask=False)
        agent = asks(called, *answers, output_type=[str, DeferredToolRequests], capabilities=[engine])

        async def turn() -> Any:
            result = await agent.run("go")
            parts: list[Any] = [part for message in result.all_messages() for part in message.parts]
            seen.append([part.content for part in parts if part.part_kind in ("tool-return", "retry-prompt")])
            output = result.output
            return output if isinstance(output, str) else [output.approvals, output.calls, output.metadata]

        async with AsyncClient("memory:") as client:
            session = client.session("s")
            await session.run(turn)
            before = list(happened)
            report = await session.replay(turn)
            assert report.identical, report
            assert happened == before
            assert seen[0] == seen[1]
            tool = next(found for found in (await session.state()).steps if found.kind == "tool")
            assert isinstance(tool.result, dict), "it is no error"

    asyncio.run(main())


def test_a_call_that_needs_an_approval_waits_for_a_person_and_is_made_once() -> None:
    async def main() -> None:
        happened: list[str] = []

        def refund(name: str) -> str:
            happened.append(name)
            return "given back"

        toolset: Any = FunctionToolset(id="till")
        toolset.add_function(refund, name="look_up", requires_approval=True)
        model = scripted(calls_for(["Ann"]), says("settled"), asked=happened.append)
        agent: Any = Agent(model, name="clerk", toolsets=[toolset], capabilities=[AgentStreamDurability()])
        async with AsyncClient("memory:") as client:
            session = client.session("s")
            with pytest.raises(RunWaiting) as waiting:
                await run_durable(agent, "go", session)
            assert happened == ["model:1"]
            await session.answer(waiting.value.questions[0], True)
            assert await run_durable(agent, "go", session) == "settled"
            assert happened == ["model:1", "Ann", "model:2"]

    asyncio.run(main())


def test_a_streamed_run_resumes_and_its_handler_sees_each_event_once() -> None:
    async def main() -> None:
        happened: list[str] = []
        handled: list[str] = []

        async def handler(ctx: Any, events: Any) -> None:
            async for event in events:
                handled.append(event.event_kind)

        down = down_once()

        def called(which: str) -> None:
            happened.append(which)
            if which == "model:2":
                down(which)

        engine: Any = AgentStreamDurability(event_stream_handler=handler)
        agent = asks(called, calls_for(["Ann"]), says("all is well"), capabilities=[engine])

        async def turn() -> str:
            async with agent.run_stream("go") as result:
                return "".join([text async for text in result.stream_text(delta=True)])

        async with AsyncClient("memory:") as client:
            session = client.session("s")
            with pytest.raises(ConnectionError):
                await session.run(turn)
            assert (await session.run(turn)).strip() == "all is well"
            assert happened == ["model:1", "Ann", "model:2", "model:2"]
            assert handled.count("function_tool_call") == handled.count("function_tool_result") == 1
            assert handled.count("final_result") == 1
            before = list(handled)
            report = await session.replay(turn)
            assert report.identical, report
            assert (len(happened), handled) == (4, before)

    asyncio.run(main())


def test_a_changed_prompt_diverges_before_any_tool_runs() -> None:
    async def main() -> None:
        happened: list[str] = []
        async with AsyncClient("memory:") as client:
            session = client.session("s")
            await session.run(durable(asks()), "go")
            report = await session.replay(durable(asks(happened.append, instructions="Be brief.")))
            assert not report.identical
            assert report.divergence is not None
            assert "Be brief." in str(report.divergence)
            assert happened == []

    asyncio.run(main())


class Above(AbstractCapability[Any]):
    """Makes a step of each request to whatever model there is."""

    async def before_model_request(self, ctx: RunContext[Any], request_context: Any) -> Any:
        request_context.model = RecordedModel(request_context.model)
        return request_context


def test_nothing_below_or_beside_it_is_recorded_twice() -> None:
    """A recorded client in the provider, `Recorded` on the same agent, a recorded model, a step in a tool."""

    @step
    def inner(name: str) -> str:
        return f"{name} is somebody"

    async def below() -> None:
        first, last = traffic("openai-responses-tool-call")
        asked = {"input": [{"role": "user", "content": "Where is order A1?"}]}
        with Provider([replace(last, path=first.path, request=asked)]) as provider:
            openai = agentstream_openai.record(AsyncOpenAI(base_url=provider.url, api_key="x", max_retries=0))
            model = OpenAIResponsesModel("gpt-4o", provider=OpenAIProvider(openai_client=openai))
            agent = Agent(model, name="asks", capabilities=[AgentStreamDurability()])
            async with AsyncClient("memory:") as client:
                session = client.session("s")
                answer = await session.run(durable(agent), "Where is order A1?")
                assert [found.kind for found in (await session.state()).steps] == ["model", "memory"]
                provider.close()
                report = await session.replay(durable(agent))
                assert (report.identical, report.result) == (True, answer)

    async def beside(*capabilities: Any) -> None:
        happened: list[str] = []
        answers = calls_for(["Ann"]), says("done")
        agent = asks(lambda which: happened.append(inner(which)), *answers, capabilities=capabilities)
        async with AsyncClient("memory:") as client:
            session = client.session("s")
            await session.run(durable(agent), "go")
            assert [found.kind for found in (await session.state()).steps] == ["model", "tool", "model", "memory"]
            assert (await session.replay(durable(agent))).identical
            assert len(happened) == 3

    asyncio.run(below())
    asyncio.run(beside(AgentStreamDurability()))
    asyncio.run(beside(AgentStreamDurability(), Recorded()))
    asyncio.run(beside(Recorded(), AgentStreamDurability()))
    asyncio.run(beside(Above(), AgentStreamDurability()))


def test_a_tool_that_makes_steps_is_left_to_them() -> None:
    """One whose function is a `@step`, and one that runs another agent and is named in `through`."""

    async def main() -> None:
        happened: list[str] = []
        deep = asks(happened.append, says("it is known"))

        @step
        def known(name: str) -> str:
            happened.append(name)
            return f"{name} is somebody"

        async def research(name: str) -> str:
            return (await deep.run(name)).output

        toolset: Any = FunctionToolset(id="tools")
        toolset.add_function(research, name="look_up")
        toolset.add_function(known, name="known")
        both = calls_for(["Ann"])
        both = replace(both, parts=[*both.parts, ToolCallPart("known", {"name": "Bob"}, tool_call_id="c2")])
        model = scripted(both, says("done"), asked=happened.append)
        capability: Any = AgentStreamDurability(through={"look_up"})
        agent: Any = Agent(model, name="outer", toolsets=[toolset], capabilities=[capability])
        async with AsyncClient("memory:") as client:
            session = client.session("s")
            assert await session.run(durable(agent), "go") == "done"
            names = sorted(found.name for found in (await session.state()).steps if found.kind != "memory")
            assert names == ["known", "looker__model.request", *["outer__model.request"] * 2]
            assert sorted(happened) == ["Bob", "model:1", "model:1", "model:2"]
            assert (await session.replay(durable(agent))).identical
            assert len(happened) == 4

    asyncio.run(main())


def test_a_tool_that_must_not_happen_twice_stops_the_run_until_a_person_says_what_came_of_it(tmp_path: Path) -> None:
    def dies(name: str) -> None:
        if name in PEOPLE:
            raise KeyboardInterrupt

    def once(called: Asked) -> Any:
        return asks(called, calls_for(["Alice"]), says("done"), capabilities=[AgentStreamDurability(once={"look_up"})])

    async def first() -> None:
        async with AsyncClient(tmp_path) as client:
            await run_durable(once(dies), "go", client.session("s"))

    async def after() -> None:
        happened: list[str] = []
        async with AsyncClient(tmp_path) as client:
            session = client.session("s")
            with pytest.raises(OutcomeUnknown) as unknown:
                await run_durable(once(happened.append), "go", session)
            await session.resolve(unknown.value.step, "Alice is somebody")
            assert await run_durable(once(happened.append), "go", session) == "done"
            assert happened == ["model:2"]
            last = next(found for found in reversed((await session.state()).steps) if found.kind == "model")
            assert last.input["messages"][-1]["parts"][0]["content"] == "Alice is somebody"

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(first())
    asyncio.run(after())


def test_a_capabilitys_own_operation_is_a_step() -> None:
    async def main() -> None:
        happened: list[str] = []

        @dataclass
        class Notes(AbstractCapability[Any]):
            id: str | None = "notes"

            @durable_operation("fetch")
            async def fetched(self, ctx: RunContext[Any], topic: str) -> str:
                happened.append(topic)
                return f"much about {topic}"

            async def before_run(self, ctx: RunContext[Any]) -> None:
                happened.append(f"told {await self.fetched(ctx, 'ships')}")

        agent: Any = Agent(scripted(says("done")), name="noter", capabilities=[Notes(), AgentStreamDurability()])
        async with AsyncClient("memory:") as client:
            session = client.session("s")
            assert await session.run(durable(agent), "go") == "done"
            first = (await session.state()).steps[0]
            assert (first.kind, first.name, first.input) == (
                "task",
                "noter__capability__notes.fetch",
                {"topic": "ships"},
            )
            happened.clear()
            assert (await session.replay(durable(agent))).identical
            assert happened == ["told much about ships"]

    asyncio.run(main())


def test_what_lacks_a_name_is_told_when_the_agent_is_made() -> None:
    nameless: Any = [scripted(says("done"))]
    with pytest.raises(TypeError, match="by the names"):
        AgentStreamDurability(models=nameless)
    engine: Any = AgentStreamDurability()
    with pytest.raises(UserError, match=r"unique `name`.*agentstream"):
        Agent(scripted(says("done")), capabilities=[engine])
    with pytest.raises(UserError, match=r"unique `id`.*agentstream"):
        Agent(scripted(says("done")), name="looker", toolsets=[FunctionToolset()], capabilities=[engine])
    sets: Any = [FunctionToolset(id="one"), FunctionToolset(id="one")]
    with pytest.raises(UserError, match="same `id`"):
        Agent(scripted(says("done")), name="looker", toolsets=sets, capabilities=[engine])


def test_what_a_run_is_given_and_the_agent_was_not_made_with_is_refused() -> None:
    """It would be done again by each resume, unrecorded."""

    async def main() -> None:
        other = scripted(says("other"))
        known = asks(capabilities=[AgentStreamDurability(models={"other": other})])
        async with AsyncClient("memory:") as client:
            assert await client.session("a").run(durable(known, model=other), "go") == "other"
            with pytest.raises(UserError, match="regist"):
                await client.session("b").run(durable(known, model=scripted(says("new"))), "go")
            with pytest.raises(UserError, match="agentstream"):
                await client.session("c").run(durable(known, toolsets=[FunctionToolset(id="new")]), "go")

    asyncio.run(main())
