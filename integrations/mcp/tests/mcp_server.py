"""An MCP server: `mcp_server.py FOLDER` over stdio, or `serve` over HTTP with its events in FOLDER/store.

Its tools write what they do into FOLDER/effects, one line each.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel

NEVER = "never"
"""A gate that is not opened."""


class Sum(BaseModel):
    sum: int


def server(folder: Path, here: Callable[[str], None] = lambda place: None) -> MCPServer:
    """The server; `here` is told where its tools are."""
    made = MCPServer("numbers")

    def note(line: str) -> None:
        with (folder / "effects").open("a") as file:
            file.write(f"{line}\n")
        here(f"in:{line}")

    @made.tool()
    def add(a: int, b: int) -> Sum:
        """Adds."""
        note(f"add {a} {b}")
        return Sum(sum=a + b)

    @made.tool()
    async def count(to: int, gate: str, ctx: Context[Any, Any]) -> str:
        """Counts, and waits at the gate before the last number."""
        note(f"count {to}")
        for number in range(1, to + 1):
            if number == to and gate == NEVER:
                await anyio.sleep_forever()
            elif number == to and gate:
                await anyio.to_thread.run_sync(Path(gate).read_text)
            await ctx.report_progress(number, to, f"at {number}")
        return f"counted to {to}"

    @made.tool()
    def fail(text: str) -> str:
        """Fails."""
        note(f"fail {text}")
        raise ToolError(text)

    @made.tool()
    async def announce(ctx: Context[Any, Any]) -> str:
        """Says to the client that the tools have changed."""
        await ctx.session.send_tool_list_changed()
        return "said"

    @made.resource("numbers://one")
    def one() -> str:
        """A number."""
        note("one")
        return "1"

    @made.prompt()
    def ask(about: str) -> str:
        """A question."""
        note(f"ask {about}")
        return f"What is {about}?"

    return made


def app(folder: Path, **options: Any) -> Any:
    from agentstream_mcp import StreamEventStore

    from agentstream import Client

    store = StreamEventStore(Client(folder / "store"), **options)
    return store.resumable(server(folder).streamable_http_app(event_store=store, retry_interval=20))


def serve(folder: str, port: int) -> None:
    import uvicorn

    uvicorn.run(app(Path(folder), lease=1), port=port, log_level="warning", ws="none")


if __name__ == "__main__":
    server(Path(sys.argv[1])).run("stdio")
