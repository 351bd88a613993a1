"""The README's programs, as they stand but for the port and a tool: one serves, the other asks it once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from textwrap import indent

from mcp_kit import free_port, listening
from sdk_kit import programs_in, ran

README = Path(__file__).parents[1] / "README.md"
TOOL = """
@server.tool()
def add(a: int, b: int) -> dict[str, int]:
    open("effects", "a").write("add")
    return {"sum": a + b}
"""


def test_the_readmes_programs(tmp_path: Path) -> None:
    serves, asks = programs_in(README)
    port = free_port()
    serves = serves.replace("store = ", f"{TOOL}\nstore = ").replace("uvicorn.run(", f"uvicorn.run(port={port}, app=")
    named, asked = asks.replace(":8000", f":{port}").split("async with ")
    asks = f"{named}async def main():\n    global tools\n{indent('async with ' + asked, '    ')}\n"
    with subprocess.Popen([sys.executable, "-c", serves], cwd=tmp_path, stderr=subprocess.DEVNULL) as server:
        try:
            listening(port, lambda: server.poll() is None)
            for _ in range(2):
                assert ran(f"import asyncio\n{asks}asyncio.run(main())", tmp_path) == "3\n"
        finally:
            server.send_signal(signal.SIGKILL)
    assert (tmp_path / "effects").read_text() == "add"
