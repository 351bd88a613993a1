"""Real models of OpenAI and Anthropic against recorded traffic: crashes, replay without the provider, nothing twice."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import agentstream_anthropic
import agentstream_openai
import pytest
from agentstream_pydantic_ai import Recorded, durable, run_durable, stream_durable
from anthropic import AsyncAnthropic
from anthropic_kit import serving, streamed
from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent, ModelHTTPError
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai_kit import timeless_events
from pydantic_ai_worker import child, lines, worked
from sdk_kit import check_calls_were_named_live
from support.provider import Behaviour, Provider, traffic

from agentstream import AsyncClient

CONVERSATIONS = {
    "chat": traffic("openai-chat-tools"),
    "chat streamed": traffic("openai-chat-stream-tools"),
    "responses": traffic("openai-responses-tool-call"),
    "responses streamed": traffic("openai-responses-stream-tools"),
    "anthropic": traffic("anthropic-parallel-tools"),
    "anthropic streamed": [streamed(exchange) for exchange in traffic("anthropic-parallel-tools")],
    "anthropic thinking": traffic("anthropic-thinking-tool"),
}


def provider_of(name: str) -> Provider:
    exchanges = CONVERSATIONS[name]
    return serving(exchanges) if name.startswith("anthropic") else Provider(exchanges)


def question_of(name: str) -> str:
    request = CONVERSATIONS[name][0].request
    said: Any = (request.get("messages") or request.get("input"))[0]["content"]
    return said if isinstance(said, str) else said[0]["text"]


def model_at(name: str, url: str) -> Any:
    """The model, on a client that records by itself too."""
    if name.startswith("anthropic"):
        client = agentstream_anthropic.record(AsyncAnthropic(base_url=url, api_key="x", max_retries=0))
        # beyond some length an answer is streamed to the SDK in any case
        settings: Any = {"max_tokens": 1024}
        provider = AnthropicProvider(anthropic_client=client)
        return AnthropicModel("claude-haiku-4-5", provider=provider, settings=settings)
    openai = agentstream_openai.record(AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0))
    model = OpenAIResponsesModel if name.startswith("responses") else OpenAIChatModel
    settings: Any = {"temperature": 0} if "streamed" in name else None
    return model("gpt-4o", provider=OpenAIProvider(openai_client=openai), settings=settings)


class City(BaseModel):
    city: str
    country: str


def asker(model: Any, called: list[str]) -> Agent[None, Any]:
    """The recorded chat has a class as its output, the others a text."""
    output: Any = City if type(model) is OpenAIChatModel and not model.settings else str
    agent: Agent[None, Any] = Agent(model, name="asks", output_type=output, capabilities=[Recorded()])

    @agent.tool_plain
    def get_capital(country: str) -> str:
        called.append(country)
        return {"UK": "London", "France": "Paris"}.get(country, "Potato City")

    @agent.tool_plain
    def get_user_country() -> str:
        called.append("country")
        return "Mexico"

    @agent.tool_plain
    def retrieve_entity_info(name: str) -> str:
        called.append(name)
        return f"{name} is somebody"

    return agent


def address(provider: Provider) -> str:
    return provider.url.removesuffix("/v1")


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_a_real_conversation_is_recorded_once_and_replayed_with_the_provider_gone(name: str, tmp_path: Path) -> None:
    async def main() -> None:
        called: list[str] = []
        with provider_of(name) as provider:
            async with AsyncClient(tmp_path) as client:
                session = client.session("s").with_options(run_id="one")
                agent = asker(model_at(name, address(provider)), called)

                async def turn() -> list[Any]:
                    if "streamed" in name:
                        return [event async for event in stream_durable(agent, question_of(name), session)]
                    return [await run_durable(agent, question_of(name), session)]

                first = await turn()
                assert len(provider.billed) == 2
                tools = list(called)
                assert tools
                provider.close()
                again = await turn()
                if "streamed" in name:
                    assert timeless_events(again) == timeless_events(first)
                    assert len([event for event in first if event.event_kind == "part_delta"]) > 5
                else:
                    assert again == first
                    report = await session.replay(durable(agent))
                    assert report.identical, report
                assert called == tools
                state = await session.state()
                kinds = [step.kind for step in state.steps]
                assert sorted(kinds) == ["memory", "model", "model", *["tool"] * len(tools)]
                assert all(message["parts"] for message in state.messages)
                usage = [step.outcome.value["usage"] for step in state.steps if step.kind == "model" and step.outcome]
                assert all(count["input_tokens"] > 0 for count in usage)
                events = [event async for event in session.events()]
                assert ("delta" in {event.type for event in events}) is ("streamed" in name)
                if "streamed" in name:
                    check_calls_were_named_live(events, state.messages)

    asyncio.run(main())


@pytest.mark.parametrize(("model", "kind"), [("responses", "events"), ("anthropic", "run")])
def test_killed_in_a_tool_a_real_conversation_pays_no_answer_twice(model: str, kind: str, tmp_path: Path) -> None:
    name = "responses streamed" if model == "responses" else model
    with provider_of(name) as provider:
        asked = f"{model} {address(provider)} {question_of(name)}"
        last = "France" if model == "responses" else "Daisy"
        killed = child(tmp_path, kind, asked, f"in:{last}")
        killed.join(60)
        assert killed.exitcode == -signal.SIGKILL
        assert len(provider.billed) == 1
        answer = worked(str(tmp_path), kind, asked)
        assert len(provider.billed) == 2
        assert lines(tmp_path / "effects.txt").count(last) == 2
        provider.close()
        report = worked(str(tmp_path), kind, asked, replayed=True)
        assert (report.identical, report.result) == (True, answer), report


def test_an_error_of_the_provider_that_nobody_saw_is_tried_again(tmp_path: Path) -> None:
    async def main() -> None:
        with provider_of("chat") as provider:
            provider.next.append(Behaviour(status=500))
            async with AsyncClient(tmp_path) as client:
                session = client.session("s")
                agent = asker(model_at("chat", address(provider)), [])
                with pytest.raises(ModelHTTPError):
                    await run_durable(agent, question_of("chat"), session)
                assert await run_durable(agent, question_of("chat"), session) == City(
                    city="Mexico City", country="Mexico"
                )
                first = (await session.state()).steps[0]
                assert len(first.attempts) == 2

    asyncio.run(main())


def test_a_signed_thought_comes_back_to_the_byte() -> None:
    async def main() -> None:
        name = "anthropic thinking"
        with provider_of(name) as provider:
            async with AsyncClient("memory:") as client:
                session = client.session("s")
                await run_durable(asker(model_at(name, address(provider)), []), question_of(name), session)
                (thought,) = [
                    part for part in (await session.state()).messages[0]["parts"] if part["type"] == "reasoning"
                ]
                sent = provider.billed[1]["messages"][1]["content"][0]
                assert (sent["thinking"], sent["signature"]) == (thought["text"], thought["signature"])

    asyncio.run(main())
