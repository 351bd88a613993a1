"""A run that was recorded without rules leaves its store under them, streams included."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from agents import function_tool
from agents.testing import assistant_message, function_call
from agentstream_openai_agents import run_durable, run_durable_streamed
from agentstream_openai_agents._tape import events_in
from openai_agents_kit import scripted

from agentstream import AsyncClient, Client, Redact

HIDDEN = "sk-hidden-in-here"


@pytest.mark.parametrize("stream", [False, True], ids=["run", "streamed"])
def test_what_was_said_and_streamed_is_looked_into(stream: bool, tmp_path: Path) -> None:
    async def main() -> None:
        steps: Any = [[function_call("find", {}, call_id="c")], [assistant_message(f"it is {HIDDEN}, I think")]]

        @function_tool
        def find() -> str:
            """Finds it."""
            return HIDDEN

        async with AsyncClient("memory:") as client:
            made, _ = scripted(*steps, tools=[find])
            if stream:
                result: Any = run_durable_streamed(made, f"hi {HIDDEN}", client.session("s"))
                assert [event async for event in result.stream_events()]
            else:
                await run_durable(made, f"hi {HIDDEN}", client.session("s"))
            await client.session("s").export(tmp_path / "s.jsonl", redact=Redact(patterns={"key": r"sk-[\w-]+"}))

    asyncio.run(main())
    assert HIDDEN.encode() not in (tmp_path / "s.jsonl").read_bytes()
    with Client("memory:") as client:
        [session] = client.import_(tmp_path / "s.jsonl")
        answers = [step.result for step in session.state().steps if step.kind == "model"]
        assert len(answers) == 2
        assert HIDDEN not in repr(answers)
        if stream:
            told = [json.dumps([event.model_dump() for event in events_in(each)], default=str) for each in answers]
            assert HIDDEN not in repr(told)
            assert "[redacted: key]" in told[1]
