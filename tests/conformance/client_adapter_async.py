"""Speaks the official client suite's protocol (a JSON object a line, on stdin and stdout) for `AsyncClient`."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from typing import Any

from client_commands import Adapter

from agentstream import AsyncClient


async def advance(pages: Any) -> Any:
    return await anext(pages, None)


async def main() -> None:
    adapter = Adapter(AsyncClient, advance)
    while line := await asyncio.to_thread(sys.stdin.readline):
        command = json.loads(line)
        steps = adapter.answer(command)
        step: Any = steps.send
        value: Any = None
        try:
            while True:
                value, step = step(value), steps.send
                try:
                    value = await value if inspect.isawaitable(value) else value
                except Exception as error:
                    value, step = error, steps.throw
        except StopIteration as stop:
            sys.stdout.write(json.dumps(stop.value) + "\n")
            sys.stdout.flush()
        if command["type"] == "shutdown":
            return


if __name__ == "__main__":
    asyncio.run(main())
