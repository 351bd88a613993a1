"""A recorded run is run on with another model, another prompt and a tool that is mocked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agentstream_pydantic_ai import Recorded, durable, run_durable, stream_durable
from agentstream_pydantic_ai._running import streamed
from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelRequest, SystemPromptPart
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai_kit import calls_for, looker, says, scripted
from support.provider import Provider, traffic

from agentstream import AsyncClient


class City(BaseModel):
    city: str
    country: str


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_run_goes_on_with_another_model_and_prompt_and_a_mocked_tool(stream: bool) -> None:
    async def main() -> None:
        exchanges = traffic("openai-chat-stream-tools" if stream else "openai-chat-tools")
        question: Any = next(said for said in exchanges[0].request["messages"] if said["role"] == "user")["content"]
        tool = "get_capital" if stream else "get_user_country"
        called: list[str] = []

        def asks(url: str) -> Agent[None, Any]:
            provider = OpenAIProvider(openai_client=AsyncOpenAI(base_url=url, api_key="x", max_retries=0))
            model = WrapperModel(OpenAIChatModel("gpt-4o", provider=provider))
            said: Any = {"system_prompt": "Be kind.", "instructions": "And short."}
            output: Any = str if stream else City
            agent: Agent[None, Any] = Agent(model, name="asks", output_type=output, capabilities=[Recorded()], **said)

            @agent.tool_plain(name=tool)
            def look(country: str = "") -> str:
                called.append(country)
                return "London"

            return agent

        async with AsyncClient("memory:") as client:
            session = client.session("s")
            with Provider(exchanges) as provider:
                agent = asks(provider.url)
                if stream:
                    async for _ in stream_durable(agent, question, session):
                        pass
                else:
                    await run_durable(agent, question, session)
                before, tools = len(provider.asked), len(called)
                code: Any = streamed(agent) if stream else durable(agent)
                steered: Any = {"model": "gpt-4o-mini", "system": "Be loud."}
                report = await session.replay(code, live_from=0, mock={tool: "Paris"}, **steered)
                assert report.returned, report
                asked = [request for _, request in provider.asked]
                for request in asked[before:]:
                    systems = [said["content"] for said in request["messages"] if said["role"] == "system"]
                    assert (request["model"], systems) == ("gpt-4o-mini", ["Be loud."])
                assert "Paris" in str(asked[-1]["messages"])
                assert (len(asked), before, tools, len(called)) == (4, 2, 1, 1)
                assert report.fork is not None
                branch = client.session(report.fork)
                models = [step.input for step in (await branch.state()).steps if step.kind == "model"]
                assert [(each["model"], each["instructions"]) for each in models] == [("gpt-4o-mini", "Be loud.")] * 2
            again = await branch.replay(code)
            assert again.identical, again

    asyncio.run(main())


def test_only_the_steps_from_there_on_are_sent_otherwise_and_all_that_the_system_said_is_replaced() -> None:
    async def main() -> None:
        seen: list[tuple[Any, list[str], list[str | None]]] = []
        inner = scripted(calls_for(["Ann"]), says("done"))

        def answer(messages: list[ModelMessage], info: AgentInfo) -> Any:
            requests = [message for message in messages if isinstance(message, ModelRequest)]
            systems = [part.content for one in requests for part in one.parts if isinstance(part, SystemPromptPart)]
            seen.append((info.instructions, systems, [one.instructions for one in requests]))
            assert inner.function is not None
            return inner.function(messages, info)

        agent = looker(FunctionModel(answer), system_prompt="Be kind.", instructions="And short.")
        async with AsyncClient("memory:") as client:
            session = client.session("s")
            assert await run_durable(agent, "who is Ann?", session) == "done"
            assert [instructions for instructions, *_ in seen] == ["And short."] * 2
            seen.clear()
            report = await session.replay(durable(agent), live_from=2, system="Be loud.")
            assert report.result == "done", report
            assert seen == [("Be loud.", [], [None, "Be loud."])]

    asyncio.run(main())


def test_a_model_that_is_several_is_given_no_other_name_and_nothing_is_sent() -> None:
    async def main() -> None:
        asked: list[str] = []
        model = scripted(calls_for(["Ann"]), says("done"), asked=asked.append)
        agent = looker(FallbackModel(model, model))
        async with AsyncClient("memory:") as client:
            session = client.session("s")
            await run_durable(agent, "who is Ann?", session)
            asked.clear()
            report = await session.replay(durable(agent), live_from=0, model="other")
            assert "cannot be changed" in (report.refused or ""), report
            assert asked == []
            report = await session.replay(durable(agent), live_from=0, system="Be loud.")
            assert report.result == "done", report

    asyncio.run(main())


def test_a_name_that_begins_with_a_provider_is_that_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    from agentstream_pydantic_ai._sending import _named

    monkeypatch.setenv("ANTHROPIC_API_KEY", "x")
    model = scripted(says("hi"))
    names = [(other.system, other.model_name) for other in (_named(model, name) for name in NAMES)]
    assert names == [("function", "llama3:8b"), ("function", "f:2"), ("anthropic", "claude-haiku-4-5")]
    assert model.model_name != "f:2"


NAMES = ["llama3:8b", "function:f:2", "anthropic:claude-haiku-4-5"]
