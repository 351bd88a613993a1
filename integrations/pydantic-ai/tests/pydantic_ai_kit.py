"""What the tests of Pydantic AI share: offline models that say what they are told to, and agents with a tool."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timezone
from typing import Any

import pydantic_ai
from agentstream_pydantic_ai import Recorded
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

VERSION = tuple(int(number) for number in pydantic_ai.__version__.split(".")[:2])
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
PEOPLE = ["Alice", "Bob", "Charlie", "Daisy"]

Asked = Callable[[str], None]


def calls_for(names: Sequence[str], text: str = "") -> ModelResponse:
    """A call of the tool for each name, after a text if there is one."""
    called = [ToolCallPart("look_up", {"name": name}, tool_call_id=f"call_{name}") for name in names]
    return ModelResponse(parts=[*([TextPart(text)] if text else []), *called])


def says(text: str) -> ModelResponse:
    return ModelResponse(parts=[TextPart(text)])


def scripted(*answers: ModelResponse | Exception, asked: Asked = lambda which: None) -> FunctionModel:
    """A model that gives `answers` in turn, by how many are in the conversation already; token by token, too."""

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        number = sum(isinstance(message, ModelResponse) for message in messages)
        asked(f"model:{number + 1}")
        given = answers[number % len(answers)]
        if isinstance(given, Exception):
            raise given
        return given

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        for index, part in enumerate(answer(messages, info).parts):
            if isinstance(part, TextPart):
                for word in part.content.split(" "):
                    yield f"{word} "
            elif isinstance(part, ToolCallPart):
                yield {index: DeltaToolCall(part.tool_name, tool_call_id=part.tool_call_id)}
                for piece in part.args_as_json_str().split(":"):
                    yield {index: DeltaToolCall(json_args=piece if piece.endswith("}") else f"{piece}:")}

    return FunctionModel(answer, stream_function=stream)


def looker(model: Any, called: Asked = lambda which: None, **options: Any) -> Agent[None, str]:
    """An agent with a tool that says who somebody is."""
    options.setdefault("capabilities", [Recorded()])
    agent: Agent[None, str] = Agent(model, name="looker", **options)

    @agent.tool_plain
    async def look_up(name: str) -> str:
        called(name)
        return f"{name} is somebody"

    return agent


def down_once() -> Asked:
    """What a tool asks that is not there the first time."""
    troubles = [ConnectionError("down")]

    def called(which: str) -> None:
        if troubles:
            raise troubles.pop()

    return called


def timeless_events(events: Sequence[Any]) -> list[Any]:
    """What the events of a run say, without when they did: the framework's own clock times what tools gave."""
    found: list[Any] = []
    for event in events:
        part = getattr(event, "part", None)
        if part is not None and hasattr(part, "timestamp"):
            event = dataclasses.replace(event, part=dataclasses.replace(part, timestamp=EPOCH))
        found.append(event.result.output if event.event_kind == "agent_run_result" else event)
    return found
