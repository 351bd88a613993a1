"""A child process that runs an agent and dies at a given point, for tests of what is paid twice.

    python openai_worker.py STORE URL sync|async POINT

POINT counts places at which the agent would not notice that anything is recorded: after each event of a stream, after
each call and after each tool. At the POINT-th of them the process is gone, without a word.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    root = Path(__file__).parents[3]
    sys.path[:0] = [str(root / "examples"), str(root / "tests")]

from agentstream_openai import record
from openai import AsyncOpenAI, OpenAI
from openai_kit import CHAT_STREAM, RESPONSE, RESPONSE_STREAM_ANSWER

from agentstream import AsyncClient, Client, agent, step


class Points:
    """Counts the places, and ends the process at one of them."""

    def __init__(self, last: int | None = None) -> None:
        self.passed = 0
        self.last = last

    def here(self) -> None:
        self.passed += 1
        if self.passed == self.last:
            os._exit(9)


@step
def tool(name: str) -> str:
    return name.upper()


def work(store: str, url: str, points: Points) -> list[Any]:
    with OpenAI(base_url=url, api_key="x", max_retries=0) as openai, Client(store) as client:
        record(openai)

        @agent
        def asks() -> list[Any]:
            done: list[Any] = []
            for event in openai.responses.create(**RESPONSE_STREAM_ANSWER.request):
                done.append(event.type)
                points.here()
            done.append(tool("one"))
            points.here()
            done.append(openai.responses.create(**RESPONSE.request).id)
            points.here()
            for chunk in openai.chat.completions.create(**CHAT_STREAM.request):
                done.append(chunk.id)
                points.here()
            done.append(tool("two"))
            points.here()
            return done

        return client.session("s").with_options(run_id="one").run(asks)


async def awork(store: str, url: str, points: Points) -> list[Any]:
    async with AsyncOpenAI(base_url=url, api_key="x", max_retries=0) as openai, AsyncClient(store) as client:
        record(openai)

        @agent
        async def asks() -> list[Any]:
            done: list[Any] = []
            async for event in await openai.responses.create(**RESPONSE_STREAM_ANSWER.request):
                done.append(event.type)
                points.here()
            done.append(tool("one"))
            points.here()
            done.append((await openai.responses.create(**RESPONSE.request)).id)
            points.here()
            async for chunk in await openai.chat.completions.create(**CHAT_STREAM.request):
                done.append(chunk.id)
                points.here()
            done.append(tool("two"))
            points.here()
            return done

        return await client.session("s").with_options(run_id="one").run(asks)


def worked(kind: str, store: str, url: str, points: Points) -> list[Any]:
    return asyncio.run(awork(store, url, points)) if kind == "async" else work(store, url, points)


if __name__ == "__main__":
    worked(sys.argv[3], sys.argv[1], sys.argv[2], Points(int(sys.argv[4])))
