"""A run that was recorded without rules leaves its store under them, the pieces of streamed answers included."""

from __future__ import annotations

import asyncio
import zlib
from pathlib import Path

import pytest
from pydantic_ai_kit import looker, says, scripted

from agentstream import AsyncClient, Redact

HIDDEN = "sk-live-42-in-here"


@pytest.mark.parametrize("hidden", [HIDDEN, "nothing"])
def test_pieces_go_where_something_is_taken_out_and_stay_elsewhere(hidden: str, tmp_path: Path) -> None:
    async def main() -> None:
        agent = looker(scripted(says(f"I keep {hidden} to myself")))

        async def turn() -> list[str]:
            async with agent.run_stream_events(f"mine is {hidden}") as events:
                return [event.result.output async for event in events if event.event_kind == "agent_run_result"]

        async with AsyncClient("memory:") as client:
            await client.session("s").run(turn)
            await client.session("s").export(tmp_path / "s.jsonl", redact=Redact(patterns={"key": r"sk-live-[\w-]+"}))
        assert HIDDEN.encode() not in (tmp_path / "s.jsonl").read_bytes()
        async with AsyncClient("memory:", redact=Redact(patterns={"key": r"sk-live-[\w-]+"})) as client:
            [session] = await client.import_(tmp_path / "s.jsonl")
            [answer] = [step.result for step in (await session.state()).steps if step.kind == "model"]
            assert ("events" in answer) == (hidden != HIDDEN)
            assert HIDDEN.encode() not in zlib.decompress(answer.get("events", zlib.compress(b"")))
            report = await session.replay(turn)
            assert report.identical, report
            kept = "[redacted: key]" if hidden == HIDDEN else hidden
            assert [text.strip() for text in report.result] == [f"I keep {kept} to myself"]

    asyncio.run(main())
