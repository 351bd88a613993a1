"""An MCP server over stdio; writes down what is asked of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

try:
    from mcp.server import MCPServer as Server
except ImportError:
    from mcp.server.fastmcp import FastMCP as Server  # type: ignore[no-redef]

server: Any = Server("shelf")


def fetch(title: str) -> str:
    """Fetches a book."""
    with Path(sys.argv[1]).open("a") as file:
        file.write(f"{title}\n")
    return f"{title}, 300 pages"


server.tool()(fetch)

if __name__ == "__main__":
    server.run()
