"""Pydantic AI's own adapters for AG-UI and the Vercel AI SDK work on top: a durable run gives the same chunks again."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from ag_ui.core import RunAgentInput, UserMessage
from pydantic_ai.ui.ag_ui import AGUIAdapter
from pydantic_ai.ui.vercel_ai import VercelAIAdapter
from pydantic_ai_kit import calls_for, looker, says, scripted

from agentstream import AsyncClient

RUN_INPUT = RunAgentInput(
    thread_id="t", run_id="r", state={}, messages=[UserMessage(id="u1", role="user", content="who is Ann?")],
    tools=[], context=[], forwarded_props={},
)  # fmt: skip
SUBMITTED = {
    "trigger": "submit-message", "id": "chat",
    "messages": [{"id": "u1", "role": "user", "parts": [{"type": "text", "text": "who is Ann?"}]}],
}  # fmt: skip


def ag_ui(agent: Any) -> Any:
    return AGUIAdapter(agent=agent, run_input=RUN_INPUT, accept="text/event-stream")


def vercel(agent: Any) -> Any:
    run_input = VercelAIAdapter.build_run_input(json.dumps(SUBMITTED).encode())
    return VercelAIAdapter(agent=agent, run_input=run_input, accept="text/event-stream")


def without_chance(chunks: list[str]) -> list[str]:
    """Ids of messages, which the adapters draw at random, by the order in which they come, and no times."""
    drawn: dict[str, str] = {}
    pattern = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}")

    def numbered(found: re.Match[str]) -> str:
        return drawn.setdefault(found[0], f"#{len(drawn)}")

    return [re.sub(r'"timestamp":[^,}]*', "", pattern.sub(numbered, chunk)) for chunk in chunks]


@pytest.mark.parametrize(
    ("adapter", "told"),
    [
        (ag_ui, ["RUN_STARTED", "TOOL_CALL_START", "TOOL_CALL_RESULT", "TEXT_MESSAGE_CONTENT", "RUN_FINISHED"]),
        (vercel, ["start", "tool-input-available", "tool-output-available", "text-delta", "finish"]),
    ],
)
def test_the_frameworks_front_ends_get_the_same_chunks_from_the_record(adapter: Any, told: list[str]) -> None:
    async def main() -> None:
        asked: list[str] = []
        agent = looker(scripted(calls_for(["Ann"]), says("she is somebody"), asked=asked.append))

        async def chat() -> AsyncGenerator[str]:
            one = adapter(agent)
            async for chunk in one.encode_stream(one.run_stream()):
                yield chunk

        async with AsyncClient("memory:") as client:
            session = client.session("s").with_options(run_id="one")
            live = [chunk async for chunk in session.stream(chat)]
            kinds = [json.loads(line)["type"] for chunk in live for line in re.findall(r"data: (\{.*\})", chunk)]
            assert [kind for kind in dict.fromkeys(kinds) if kind in told] == told
            again = [chunk async for chunk in session.stream(chat)]
            assert without_chance(again) == without_chance(live)
            assert asked == ["model:1", "model:2"]

    asyncio.run(main())
