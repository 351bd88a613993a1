"""A tool of an MCP server is called in a run; then the server is gone, and its answer comes from the record."""

from __future__ import annotations

import asyncio
from typing import Any

from agentstream_mcp import record
from mcp import Client as McpClient
from mcp.server.mcpserver import MCPServer

from agentstream import AsyncClient, agent

server = MCPServer("shop")


@server.tool()
def price(item: str) -> dict[str, Any]:
    """What an item costs."""
    print(f"the tool runs: {item}")
    return {"item": item, "euros": 12}


def shopper(tools: McpClient) -> Any:
    @agent
    async def shops(item: str) -> str:
        found = await tools.call_tool("price", {"item": item})
        return f"{item}: {found.structured_content}"

    return shops


async def main() -> None:
    async with AsyncClient("memory:") as client:
        session = client.session("shopping").with_options(run_id="first")
        async with record(McpClient(server)) as tools:
            print(await session.run(shopper(tools), "tea"))
            print(await session.run(shopper(tools), "tea"))
        gone = record(McpClient("http://127.0.0.1:9/mcp"))
        print("replayed:", (await session.replay(shopper(gone))).identical)


if __name__ == "__main__":
    asyncio.run(main())
