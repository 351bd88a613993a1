"""What an agent does in a workspace, with the framework's own durable operations as steps."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from agentstream_pydantic_ai import AgentStreamDurability, durable
from pydantic_ai import Agent
from pydantic_ai.capabilities import AbstractCapability, LocalWorkspace
from pydantic_ai_kit import says, scripted

from agentstream import AsyncClient


def test_what_is_done_in_a_workspace_is_done_once(tmp_path: Path) -> None:
    async def main() -> None:
        read: list[bytes] = []

        class Copies(AbstractCapability[Any]):
            async def before_model_request(self, ctx: Any, request_context: Any) -> Any:
                read.append(await ctx.workspace.read_bytes("from.txt"))
                await ctx.workspace.write_bytes("to.txt", read[-1])
                return request_context

        capabilities: Any = [LocalWorkspace(str(tmp_path)), Copies(), AgentStreamDurability()]
        agent = Agent(scripted(says("done")), name="copier", capabilities=capabilities)
        (tmp_path / "from.txt").write_bytes(b"\xff\x00")
        async with AsyncClient("memory:") as client:
            session = client.session("s")
            assert await session.run(durable(agent), "go") == "done"
            for file in ("from.txt", "to.txt"):
                (tmp_path / file).unlink()
            assert (await session.replay(durable(agent))).identical
            assert read == [b"\xff\x00"] * 2
            assert not list(tmp_path.iterdir())
            done = [step.input["method"] for step in (await session.state()).steps if step.kind == "task"]
            assert done[-2:] == ["read_bytes", "write_bytes"]

    asyncio.run(main())
