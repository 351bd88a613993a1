"""A program that asks Claude something: `claude_worker.py STORE URL MACHINE WORK PROMPT [SESSION]`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3] / "examples"))

from agentstream_claude import StreamSessionStore
from claude_agent_sdk import query
from claude_kit import options

from agentstream import Client


async def main(folder: str, url: str, machine: str, work: str, prompt: str, *session: str) -> None:
    with Client(folder) as client:
        store = StreamSessionStore(client)
        asked = options(store, url, Path(machine), Path(work), include_partial_messages=True, session_id=session[0])
        async for _ in store.publish(query(prompt=prompt, options=asked), directory=work):
            pass


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
