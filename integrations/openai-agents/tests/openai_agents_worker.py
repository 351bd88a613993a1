"""A process that forks one child a case, so that the SDK is imported once; a child may kill itself at a point.

Reads cases as lines of JSON, `{"store", "url", "mode", "point", "log"}`, and answers each with a line: how the child
ended, and what it got.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    here = Path(__file__).parents[3]
    sys.path[:0] = [str(here / "examples"), str(here / "tests")]

from agents import Agent, function_tool, set_tracing_disabled
from agents.testing import ScriptedModel, assistant_message, function_call
from agentstream_openai_agents import run_durable, run_durable_streamed, run_durable_sync
from openai_agents_kit import QUESTION, Points, model, support

from agentstream import AsyncClient, Client, RunWaiting


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def whole(store: str, url: str, points: Points) -> Any:
    async with AsyncClient(store) as client:
        session = client.session("s").with_options(run_id="one")
        return (await run_durable(support(url, points), QUESTION, session, hooks=points)).final_output


async def streamed(store: str, url: str, points: Points) -> Any:
    async with AsyncClient(store) as client:
        session = client.session("s").with_options(run_id="one")
        result = run_durable_streamed(support(url, points), QUESTION, session, hooks=points)
        async for _ in result.stream_events():
            pass
        return result.final_output


def sync(store: str, url: str, points: Points) -> Any:
    with Client(store) as client:
        session = client.session("s").with_options(run_id="one")
        return run_durable_sync(support(url, points), QUESTION, session, hooks=points).final_output


async def said_live(store: str, url: str, log: str) -> Any:
    """Writes what comes to a file as it comes."""
    agent = Agent(name="live", model=model(url))
    async with AsyncClient(store) as client:
        result = run_durable_streamed(agent, QUESTION, client.session("s"))
        with Path(log).open("a") as file:
            async for event in result.stream_events():
                if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                    file.write(event.data.delta)
                    file.flush()
        return result.final_output


async def paying(store: str, log: str) -> Any:
    """An agent that has to ask before it pays; says what is asked, or what came of it."""

    @function_tool(needs_approval=True)
    def pay(amount: int) -> str:
        """Pays."""
        with Path(log).open("a") as file:
            file.write(f"paid {amount}\n")
        return f"paid {amount}"

    async with AsyncClient(store) as client:
        begun = await client.sessions()
        steps: Any = [] if begun else [[function_call("pay", {"amount": 5}, call_id="p")]]
        agent = Agent(name="payer", model=ScriptedModel([*steps, [assistant_message("done")]]), tools=[pay])
        try:
            return (await run_durable(agent, "pay", client.session("s"))).final_output
        except RunWaiting as waiting:
            return [waiting.questions[0].key, waiting.questions[0].step, waiting.questions[0].arguments]


def worked(case: dict[str, Any]) -> Any:
    set_tracing_disabled(True)
    mode, store, url, log = case["mode"], case["store"], case.get("url", ""), case["log"]
    if mode == "live":
        return asyncio.run(said_live(store, url, log))
    if mode == "paying":
        return asyncio.run(paying(store, log))
    points = Points(Path(log), case.get("point"), die=die)
    if mode == "sync":
        return sync(store, url, points)
    return asyncio.run((whole if mode == "whole" else streamed)(store, url, points))


def serve() -> None:
    for line in sys.stdin:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            code = 1
            try:
                os.write(writer, json.dumps(worked(json.loads(line))).encode())
                code = 0
            finally:
                os._exit(code)
        os.close(writer)
        with os.fdopen(reader) as file:
            got = file.read()
        status = os.waitpid(child, 0)[1]
        sys.stdout.write(json.dumps([os.waitstatus_to_exitcode(status), json.loads(got) if got else None]) + "\n")
        sys.stdout.flush()


class Workers:
    """The serving process, from a test's side."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def begin(self, **case: Any) -> None:
        """Starts a case; `end` waits for it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()

    def end(self) -> tuple[int, Any]:
        """How the case ended, and what it got."""
        assert self._process.stdout is not None
        code, got = json.loads(self._process.stdout.readline())
        return code, got

    def run(self, **case: Any) -> tuple[int, Any]:
        self.begin(**case)
        return self.end()


@contextmanager
def workers() -> Iterator[Workers]:
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Workers(process)
        assert process.stdin is not None
        process.stdin.close()


if __name__ == "__main__":
    serve()
