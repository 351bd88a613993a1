"""Pydantic AI's messages, there and back."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from conversations_kit import PIXEL, assistant, call, contents, conversations, of, result, thoughts_in, user
from hypothesis import given, settings
from pydantic_ai import Agent
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    ThinkingPart,
    ToolReturnPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel

from agentstream import Client, Messages
from agentstream.sessions.conversions.turns import INTERRUPTED


@settings(max_examples=300 if os.environ.get("AGENTSTREAM_TEST_ALL") else 30)
@given(conversations)
def test_there_and_back_nothing_is_lost(messages: Any) -> None:
    said = of(*messages)
    made = said.as_pydantic_ai()
    back = Messages.from_pydantic_ai(made)
    assert contents(back) == contents(messages)
    assert thoughts_in(back) == thoughts_in(messages)
    assert Messages.from_pydantic_ai(ModelMessagesTypeAdapter.dump_python(made, mode="json")) == back
    assert said.as_pydantic_ai() == made  # the same each time, times too


def test_a_run_goes_on_from_a_session() -> None:
    seen: list[list[ModelMessage]] = []

    def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.append(messages)
        return ModelResponse(parts=[TextPart("There.")])

    with Client("memory:") as client:
        session = client.session("s")
        for message in (user("Where is A1?"), assistant(call("c1", "look_up", '{"order": "A1"}'), call("c2"))):
            session.append("message", message)
        session.append("message", result("c1", {"at": "home"}))
        history = session.state().messages.as_pydantic_ai()
        answer = asyncio.run(Agent(FunctionModel(model)).run("And now?", message_history=history))
        for message in Messages.from_pydantic_ai(answer.new_messages()):
            session.append("message", message)
        [messages] = seen
        returned = [part for each in messages for part in each.parts if isinstance(part, ToolReturnPart)]
        assert [(part.content, part.outcome) for part in returned] == [
            ({"at": "home"}, "success"),
            (INTERRUPTED, "interrupted"),
        ]
        assert [each["role"] for each in session.state().messages.whole] == [
            "user",
            "assistant",
            "tool",
            "user",
            "assistant",
        ]


def test_open_calls_are_made_by_the_framework() -> None:
    with Client("memory:") as client:
        session = client.session("s")
        session.append("message", user("q"))
        session.append("message", assistant(call("c1", "look_up", '{"order": "A1"}')))
        runner = Agent(FunctionModel(lambda messages, info: ModelResponse(parts=[TextPart("done")])))
        made: list[str] = []

        @runner.tool_plain
        def look_up(order: str) -> str:
            made.append(order)
            return "found"

        asyncio.run(runner.run(message_history=session.state().messages.as_pydantic_ai(close=False)))
        assert made == ["A1"]


def test_thinking_names_its_provider() -> None:
    thoughts: list[Any] = [
        {"type": "reasoning", "text": "hm", "signature": "s"},
        {"type": "reasoning", "text": "", "redacted": "r"},
        {"type": "reasoning", "text": "sum", "id": "rs_1", "encrypted": "e"},
        {"type": "reasoning", "text": "g", "signature": "t", "provider": "google"},
    ]
    said = of(assistant(*thoughts, "x"))
    [response] = said.as_pydantic_ai()
    parts = [part for part in response.parts if isinstance(part, ThinkingPart)]
    assert [(part.provider_name, part.signature, part.id) for part in parts] == [
        ("anthropic", "s", None),
        ("anthropic", "r", "redacted_thinking"),
        ("openai", "e", "rs_1"),
        ("google", "t", None),
    ]
    assert Messages.from_pydantic_ai([response])[0]["parts"][:4] == thoughts


def test_files_and_prompts() -> None:
    image = {"type": "file", "data": PIXEL, "media_type": "image/png"}
    linked = {"type": "file", "url": "https://example.com/a.pdf"}
    said = of({"role": "system", "content": "Be kind."}, user("look", image, linked))
    made = said.as_pydantic_ai()
    assert len(made) == 1
    assert isinstance(made[0], ModelRequest)
    assert [part.part_kind for part in made[0].parts] == ["system-prompt", "user-prompt"]
    assert [getattr(each, "kind", each) for each in made[0].parts[1].content] == ["look", "binary", "document-url"]  # type: ignore[union-attr]
    back = Messages.from_pydantic_ai(made)
    assert back[1]["parts"][1] == image
    assert back[1]["parts"][2]["url"] == linked["url"]
