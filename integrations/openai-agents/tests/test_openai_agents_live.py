"""A recorded run is run on with another model, another prompt and a tool that is mocked; models known by their name."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from agents import Agent, Runner, function_tool
from agents.models import _openai_shared
from agents.testing import assistant_message, function_call
from agentstream_openai_agents import durable, instrument, run_durable, run_durable_streamed
from openai import AsyncOpenAI
from openai_agents_kit import ANSWER, QUESTION, Points, conversation, scripted, support
from support.provider import Provider, traffic

from agentstream import AsyncClient, agent


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_run_goes_on_with_another_model_and_prompt_and_a_mocked_tool(stream: bool, tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient(tmp_path / "store") as client:
            with Provider(conversation(stream=stream)) as provider:
                session, points = client.session("s"), Points(tmp_path / "log")
                asked = support(provider.url, points)
                if stream:
                    async for _ in run_durable_streamed(asked, QUESTION, session, hooks=points).stream_events():
                        pass
                else:
                    await run_durable(asked, QUESTION, session, hooks=points)
                steps = (await session.state()).steps
                second = [number for number, step in enumerate(steps) if step.kind == "model"][1]
                (tmp_path / "log").write_text("")

                code = durable(support(provider.url, points), hooks=points)
                report = await session.replay(
                    code, live_from=second, model="m-2", system="Be loud.", mock={"refund": "refunded nothing"}
                )
                assert report.returned, report
                assert report.result == ANSWER
                assert (tmp_path / "log").read_text() == ""
                told = [(request["model"], request["instructions"]) for _, request in provider.asked]
                assert told == [("m", "Be kind.")] * 3 + [("m-2", "Be loud.")] * 2
                assert provider.asked[-1][1]["input"][-1]["output"] == "refunded nothing"
                assert report.fork is not None
                branch = client.session(report.fork)
                models = [step.input for step in (await branch.state()).steps if step.kind == "model"]
                assert [(each["model"], each["instructions"]) for each in models] == [told[0], *told[-2:]]
            assert (await branch.replay(code)).identical

    asyncio.run(main())


def test_a_prompt_can_be_put_where_none_was_and_a_model_without_a_name_is_not_sent_another(tmp_path: Path) -> None:
    async def main() -> None:
        async with AsyncClient(tmp_path) as client:
            look = function_tool(lambda: "x", name_override="look")
            said: Any = [[function_call("look", {}, call_id="c")], [assistant_message("done")]]
            session = client.session("s")
            await run_durable(scripted(*said, tools=[look])[0], "hi", session)
            on, model = scripted(*said, tools=[look])
            report = await session.replay(durable(on), live_from=0, system="Be loud.")
            assert report.returned, report
            assert [call.system_instructions for call in model.calls] == ["Be loud."] * 2
            on, model = scripted(*said, tools=[look])
            report = await session.replay(durable(on), live_from=0, model="other")
            assert "cannot be changed" in (report.refused or "")
            assert model.calls == ()

    asyncio.run(main())


@pytest.mark.parametrize("stream", [False, True], ids=["run", "run_streamed"])
def test_a_named_model_is_recorded_in_a_run_of_ones_own(
    stream: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a run config, for who is instrumented; and nobody else is recorded."""

    def named(name: str) -> Agent[Any]:
        tool = function_tool(lambda country: "London", name_override="get_capital", strict_mode=False)
        return Agent(name=name, model="gpt-4o", tools=[tool])

    exchanges = traffic("openai-responses-stream-tools" if stream else "openai-responses-tool-call")
    question = exchanges[0].request["input"][0]["content"]

    async def main() -> None:
        agents = {"recorded": instrument(named("recorded")), "plain": named("plain")}

        @agent
        async def asks(which: str) -> None:
            if stream:
                async for _ in Runner.run_streamed(agents[which], question).stream_events():
                    pass
            else:
                await Runner.run(agents[which], question)

        async with AsyncClient(tmp_path) as client:
            with Provider(exchanges) as provider:
                openai = AsyncOpenAI(base_url=provider.url, api_key="x", max_retries=0)
                monkeypatch.setattr(_openai_shared, "_default_openai_client", openai)
                for which, kinds in (("recorded", ["model", "tool", "model"]), ("plain", [])):
                    session = client.session(which)
                    await session.run(asks, which)
                    assert [step.kind for step in (await session.state()).steps] == kinds
                assert len(provider.billed) == 4
                await openai.close()
            assert (await client.session("recorded").replay(asks)).identical

    asyncio.run(main())
