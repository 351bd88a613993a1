"""An agent that asks an MCP server over stdio; and a process of its own that is killed at a place."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import mcp_server
from agentstream_mcp import record
from mcp import Client, ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from agentstream import AsyncClient, agent

Here = Callable[[str], None]


def pass_by(place: str) -> None:
    """A place at which nothing happens."""


@asynccontextmanager
async def connected(folder: Path, here: Here, how: str, once: tuple[str, ...]) -> AsyncIterator[ClientSession | Client]:
    """A recorded session with the server of `mcp_server.py`: in a process of its own, or in this one."""
    if how == "memory":
        async with record(Client(mcp_server.server(folder, here)), once=once) as client:
            yield client
    else:
        server = StdioServerParameters(command=sys.executable, args=[mcp_server.__file__, str(folder)])
        async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            yield record(session, once=once)


def unconnected() -> Client:
    """A recorded client that has no server: what is asked of it can only come from the record."""
    return record(Client("http://127.0.0.1:9/nobody"))


def asker(session: ClientSession | Client, here: Here = pass_by) -> Any:
    @agent
    async def asks() -> dict[str, Any]:
        tools = [tool.name for tool in (await session.list_tools()).tools]
        seen: list[Any] = []

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            seen.append([progress, total, message])

        one = await session.call_tool("add", {"a": 1, "b": 2})
        here("one")
        counted: Any = await session.call_tool("count", {"to": 3, "gate": ""}, progress_callback=on_progress)
        here("two")
        failed: Any = await session.call_tool("fail", {"text": "no"})
        read: Any = await session.read_resource("numbers://one")
        prompt: Any = await session.get_prompt("ask", {"about": "it"})
        here("three")
        return {
            "tools": tools,
            "sum": one.structured_content,
            "counted": counted.content[0].text,
            "progress": seen,
            "failed": failed.is_error,
            "read": read.contents[0].text,
            "prompt": prompt.messages[0].content.text,
        }

    return asks


def child(folder: Path, place: str, *how: Any) -> Any:
    """A process that runs the agent and is killed at a place."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["mcp.server.mcpserver", "agentstream_mcp", "agentstream.client", "uvicorn"])
    process = context.Process(target=_live, args=(str(folder), place, *how))
    process.start()
    return process


def _live(folder: str, last: str, *how: Any) -> None:
    def here(place: str) -> None:
        if place == last:
            os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(worked(Path(folder), here, *how))


async def worked(folder: Path, here: Here = pass_by, how: str = "memory", once: tuple[str, ...] = ()) -> Any:
    """Runs the agent to its end; running again goes on."""
    async with AsyncClient(folder / "store") as client, connected(folder, here, how, once) as session:
        return await client.session("s").with_options(run_id="one").run(asker(session, here))
