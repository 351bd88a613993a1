"""What tools give, and how they fail: the agent sees on resume and replay what it saw."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from agentstream_pydantic_ai import Recorded, durable, history, run_durable
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, ImageUrl, ModelRetry, RunContext, ToolReturn, UnexpectedModelBehavior
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai_kit import calls_for, down_once, looker, says, scripted

from agentstream import AgentStreamError, AsyncClient, NotSerializable, OutcomeUnknown, current_step, step


class Person(BaseModel):
    name: str
    age: int


@dataclass
class Place:
    city: str


PICTURE = BinaryContent.narrow_type(BinaryContent(b"\x89PNG\xff", media_type="image/png"))


def gives(value: Any, annotation: Any = Any) -> tuple[Agent[None, str], list[list[ModelMessage]]]:
    """An agent whose tool gives that, and the conversations that its model saw."""
    seen: list[list[ModelMessage]] = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.append(list(messages))
        if isinstance(messages[-1], ModelRequest) and isinstance(messages[-1].parts[0], ToolReturnPart):
            return says("done")
        return ModelResponse(parts=[ToolCallPart("give", {}, tool_call_id="c1")])

    agent: Agent[None, str] = Agent(FunctionModel(answer), name="gives", capabilities=[Recorded()])

    def give() -> Any:
        if isinstance(value, Exception):
            raise value
        return value

    give.__annotations__["return"] = annotation
    agent.tool_plain(give)
    return agent, seen


VALUES = [
    ("text", str),
    (None, Any),
    ({"a": [1, 2.5, None, True]}, dict),
    ({"pydantic_ai": "mine"}, dict),
    (b"\xff\xfe", bytes),
    (Person(name="Ann", age=3), Person),
    ([Person(name="Ann", age=3)], list[Person]),
    (Place("Rome"), Place),
    (PICTURE, Any),
    ([ImageUrl("https://example.com/a.png"), "and", PICTURE], list),
    (ToolReturn("short", content=["see", PICTURE], metadata={"trace": 7}, tools=["other"]), ToolReturn),
]


@pytest.mark.parametrize(("value", "annotation"), VALUES, ids=lambda value: type(value).__name__)
def test_a_replayed_agent_sees_the_same_result(value: Any, annotation: Any) -> None:
    async def main() -> None:
        agent, seen = gives(value, annotation)
        async with AsyncClient("memory:") as client:
            session = client.session("s")
            assert await run_durable(agent, "go", session) == "done"
            (live,) = (part for part in seen[1][-1].parts if isinstance(part, ToolReturnPart))
            expected = value.return_value if isinstance(value, ToolReturn) else value
            assert live.content == expected
            messages: list[Any] = []

            async def turn() -> str:
                result = await agent.run("go")
                messages.extend(result.all_messages())
                return result.output

            again = client.session("t")
            await again.run(turn)
            first = list(messages)
            messages.clear()
            report = await again.replay(turn)
            assert report.identical, report
            assert timeless(messages) == timeless(first)
            assert len(seen) == 4

    asyncio.run(main())


def timeless(messages: list[Any]) -> list[Any]:
    """What the messages say, without when and in which run."""
    return [
        (type(message), [{**vars(part), "timestamp": None} for part in message.parts], getattr(message, "usage", None))
        for message in messages
    ]


@pytest.mark.parametrize("raised", [ModelRetry("not like this"), ToolFailed("it is gone")], ids=["retry", "failed"])
def test_a_tools_wish_is_an_outcome_and_is_shown_to_the_model_as_it_was(raised: Exception, tmp_path: Path) -> None:
    async def main() -> None:
        called: list[int] = []

        def build() -> tuple[Any, list[Any]]:
            seen: list[Any] = []

            def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
                seen.append(timeless(messages))
                number = sum(isinstance(message, ModelResponse) for message in messages)
                if number < 2:
                    return ModelResponse(parts=[ToolCallPart("act", {}, tool_call_id=f"c{number}")])
                return says("done")

            agent: Agent[None, str] = Agent(FunctionModel(answer), name="a", capabilities=[Recorded()], retries=3)

            @agent.tool_plain
            def act() -> str:
                called.append(1)
                if len(called) == 1:
                    raise raised
                return "acted"

            async def turn(crash: bool = True) -> str:
                result = await agent.run("go")
                if crash and len(called) == 2 and not crashed:
                    crashed.append(1)
                    raise ConnectionError("as if it were killed")
                return result.output

            return turn, seen

        crashed: list[int] = []
        async with AsyncClient(tmp_path) as client:
            session = client.session("s")
            turn, seen = build()
            with pytest.raises(ConnectionError):
                await session.run(turn)
            assert len(seen) == 3
            resumed, seen_again = build()
            assert await session.run(resumed) == "done"
            assert (len(called), len(seen_again)) == (2, 0)
            report = await session.replay(resumed)
            assert report.identical, report

    asyncio.run(main())


def test_retries_are_counted_on_resume_as_they_were() -> None:
    """A tool that always wants another try comes to its end on replay too, without being called."""

    async def main() -> None:
        called: list[int] = []
        model = scripted(calls_for(["Ann"]), calls_for(["Bob"]), calls_for(["Cid"]), says("never"))
        agent: Agent[None, str] = Agent(model, name="a", capabilities=[Recorded()], retries=1)

        @agent.tool_plain
        def look_up(name: str) -> str:
            called.append(1)
            raise ModelRetry(f"who is {name}?")

        async def turn() -> str:
            try:
                return (await agent.run("go")).output
            except UnexpectedModelBehavior as error:
                return str(error)

        async with AsyncClient("memory:") as client:
            session = client.session("s")
            said = await session.run(turn)
            assert "max" in said.lower()
            assert len(called) == 2
            report = await session.replay(turn)
            assert (report.identical, report.result, len(called)) == (True, said, 2), report

    asyncio.run(main())


def test_an_output_that_is_refused_is_asked_for_again_and_that_is_replayed() -> None:
    async def main() -> None:
        refused: list[str] = []
        agent: Agent[None, str] = Agent(scripted(says("bad"), says("good")), name="a", capabilities=[Recorded()])

        @agent.output_validator
        def check(output: str) -> str:
            if output == "bad":
                refused.append(output)
                raise ModelRetry("better, please")
            return output

        async with AsyncClient("memory:") as client:
            session = client.session("s")
            assert await run_durable(agent, "go", session) == "good"
            report = await session.replay(durable(agent))
            assert report.identical, report
            assert refused == ["bad", "bad"]

    asyncio.run(main())


def test_an_error_of_a_tool_is_tried_again_where_nobody_saw_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient(tmp_path) as client:
            session = client.session("s")
            asked: list[str] = []
            agent = looker(scripted(calls_for(["Ann"]), says("done"), asked=asked.append), down_once())
            with pytest.raises(ConnectionError):
                await run_durable(agent, "go", session)
            assert await run_durable(agent, "go", session) == "done"
            assert asked == ["model:1", "model:2"]
            (tool,) = [found for found in (await session.state()).steps if found.kind == "tool"]
            assert len(tool.attempts) == 2

    asyncio.run(main())


def test_calls_that_ask_the_same_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    """The second was recorded first, and the first failed: when the run goes on each has its own result."""

    async def main() -> None:
        drew: list[str] = []
        recorded = asyncio.Event()

        class InOrder(AbstractCapability[Any]):
            async def before_tool_execute(self, ctx: Any, *, call: Any, tool_def: Any, args: Any) -> Any:
                if call.tool_call_id == "c1":
                    await recorded.wait()
                return args

            async def after_tool_execute(self, ctx: Any, *, call: Any, tool_def: Any, args: Any, result: Any) -> Any:
                recorded.set()
                return result

        twice = ModelResponse(parts=[ToolCallPart("draw", {}, tool_call_id=id) for id in ("c1", "c2")])
        player = Agent(scripted(twice, says("done")), name="player", capabilities=[Recorded(), InOrder()])

        @player.tool
        async def draw(ctx: RunContext[Any]) -> str:
            drew.append(str(ctx.tool_call_id))
            if drew == ["c2", "c1"]:
                raise ConnectionError("the cards fell down")
            return f"{ctx.tool_call_id} drew"

        async with AsyncClient(tmp_path) as client:
            session = client.session("s")
            with pytest.raises(ConnectionError):
                await run_durable(player, "go", session)
            assert await run_durable(player, "go", session) == "done"
            told = [part for message in history(await session.state()) for part in message.parts]
            given = {part.tool_call_id: part.content for part in told if isinstance(part, ToolReturnPart)}
            assert given == {"c1": "c1 drew", "c2": "c2 drew"}
            assert drew == ["c2", "c1", "c1"]

    asyncio.run(main())


def test_a_result_without_a_form_is_told_and_the_tool_is_not_called_again() -> None:
    async def main() -> None:
        agent, _ = gives(object())
        async with AsyncClient("memory:") as client:
            with pytest.raises(NotSerializable, match="result of give"):
                await run_durable(agent, "go", client.session("s"))

    asyncio.run(main())


def test_a_tool_that_must_not_happen_twice_stops_the_run_where_a_crash_hides_whether_it_did(tmp_path: Path) -> None:
    async def main() -> None:
        def build(called: Any) -> Agent[None, str]:
            return looker(scripted(calls_for(["Ann"]), says("done")), called, capabilities=[Recorded(once={"look_up"})])

        def dies(name: str) -> None:
            raise KeyboardInterrupt

        async with AsyncClient(tmp_path) as client:
            session = client.session("s")

            async def first() -> None:
                await run_durable(build(dies), "go", session)

            with pytest.raises(KeyboardInterrupt):
                await asyncio.create_task(first())

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())

    async def after() -> None:
        async with AsyncClient(tmp_path) as client:
            session = client.session("s")
            agent = looker(scripted(calls_for(["Ann"]), says("done")), capabilities=[Recorded(once={"look_up"})])
            with pytest.raises(OutcomeUnknown) as unknown:
                await run_durable(agent, "go", session)
            await session.resolve(unknown.value.step, "Ann is somebody")
            assert await run_durable(agent, "go", session) == "done"

    asyncio.run(after())


def test_a_tools_code_knows_its_step_and_a_step_as_a_tool_records_itself() -> None:
    async def main() -> None:
        keys: list[Any] = []

        @step(effect="once")
        def look_up(name: str) -> str:
            return f"{name} is known"

        def note(name: str) -> str:
            """Notes."""
            keys.append(current_step())
            return "noted"

        model = scripted(
            ModelResponse(
                parts=[
                    ToolCallPart("look_up", {"name": "Ann"}, tool_call_id="c1"),
                    ToolCallPart("note", {"name": "Ann"}, tool_call_id="c2"),
                ]
            ),
            says("done"),
        )
        agent: Agent[None, str] = Agent(model, name="a", tools=[look_up, note], capabilities=[Recorded()])
        async with AsyncClient("memory:") as client:
            session = client.session("s")
            assert await run_durable(agent, "go", session) == "done"
            tools = {found.name: found for found in (await session.state()).steps if found.kind in ("tool", "function")}
            noted = tools["note"]
            assert (keys[0].name, keys[0].attempt, keys[0].key) == ("note", 1, noted.key)
            kinds = [(found.kind, found.name) for found in (await session.state()).steps]
            assert ("tool", "look_up") not in kinds
            assert "look_up" in {name for _, name in kinds}

    asyncio.run(main())


@pytest.mark.parametrize(("through", "models"), [((), 4), (("research",), 3)], ids=["whole", "through"])
def test_a_tool_that_runs_another_agent_is_resumed_inside(through: Any, models: int, tmp_path: Path) -> None:
    """With `through`, the inner agent's calls are steps of their own; without, the tool is one step as a whole."""

    async def main() -> None:
        asked: list[str] = []
        inner = looker(scripted(calls_for(["Ann"]), says("found"), asked=asked.append), down_once())
        model = scripted(
            ModelResponse(parts=[ToolCallPart("research", {}, tool_call_id="c1")]), says("done"), asked=asked.append
        )
        outer: Agent[None, str] = Agent(model, name="outer", capabilities=[Recorded(through=through)])

        @outer.tool_plain
        async def research() -> str:
            return (await inner.run("who is Ann?")).output

        async with AsyncClient(tmp_path) as client:
            session = client.session("s")
            with pytest.raises(ConnectionError):
                await run_durable(outer, "go", session)
            assert await run_durable(outer, "go", session) == "done"
            report = await session.replay(durable(outer))
            assert report.identical, report
            assert len(asked) == models + 1
            assert text_of(history(await session.state())) == ["done"]

    asyncio.run(main())


@pytest.mark.parametrize("through", [(), ("research",)], ids=["whole", "through"])
def test_what_an_agent_within_a_tool_uses_is_counted_again_where_its_own_calls_are_the_steps(through: Any) -> None:
    async def main() -> None:
        inner = looker(scripted(says("found")))
        model = scripted(ModelResponse(parts=[ToolCallPart("research", {}, tool_call_id="c1")]), says("done"))
        outer: Agent[Any, str] = Agent(model, name="outer", capabilities=[Recorded(through=through)])

        @outer.tool
        async def research(ctx: RunContext[Any]) -> str:
            return (await inner.run("who is Ann?", usage=ctx.usage)).output

        requests: list[int] = []

        async def turn() -> str:
            result = await outer.run("go")
            usage: Any = result.usage
            requests.append((usage() if inspect.ismethod(usage) else usage).requests)
            return result.output

        async with AsyncClient("memory:") as client:
            session = client.session("s")
            await session.run(turn)
            assert (await session.replay(turn)).identical
            assert requests == ([3, 3] if through else [3, 2])

    asyncio.run(main())


def test_outside_a_run_nothing_is_recorded_and_nothing_is_in_the_way() -> None:
    async def main() -> None:
        assert (await looker(scripted(calls_for(["Ann"]), says("done"))).run("go")).output == "done"
        async with AsyncClient("memory:") as client:
            agent = looker(scripted(calls_for(["Ann"]), says("done")))
            with pytest.raises(AgentStreamError, match="outside a run"):
                await durable(agent)("go")
            assert not await client.sessions()

    asyncio.run(main())


def text_of(messages: list[ModelMessage]) -> list[str]:
    return [part.content for message in messages for part in message.parts if isinstance(part, TextPart)]
