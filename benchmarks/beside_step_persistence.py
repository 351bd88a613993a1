"""Beside pydantic-ai-harness's StepPersistence: turns of a conversation, a model call, a tool and a model call each.

It asks for exactly one version of pydantic-ai, so both are measured in an environment of their own
(`tools/setup.py bench-harness`), over the provider of `sdks.py`. What it keeps is a snapshot of the messages at each
settled step, a trail of events, and which tools were begun: after a crash the code around it goes on from the last
snapshot. It is told every turn the messages that were said before, as ours is by its record.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from harness import Numbers, Row, kb, main, ms, on_disk
from sdks import Turn, provider, turns, words

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv-bench-harness" / ("Scripts" if os.name == "nt" else "bin") / "python"


def measure(folder: Path, quick: bool) -> dict[str, float]:
    if not PYTHON.exists():
        raise SystemExit("its environment is not there: make bench makes it, or tools/setup.py bench-harness")
    command = [PYTHON, __file__, "round", folder, "10" if quick else "50"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def round(folder: str, count: str) -> None:
    """Both, in that environment."""
    try:
        import pydantic_ai_harness  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ModuleNotFoundError:  # it is for Python 3.11 and newer
        print("{}")
        return
    with provider() as url:
        print(json.dumps(asyncio.run(conversations(url, Path(folder), int(count)))))


async def conversations(url: str, folder: Path, count: int) -> dict[str, float]:
    from agentstream_pydantic_ai import Recorded, run_durable
    from openai import AsyncOpenAI
    from pydantic_ai import Agent
    from pydantic_ai.messages import ModelMessagesTypeAdapter
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider
    from pydantic_ai_harness.step_persistence import FileStepStore, SqliteStepStore, StepPersistence

    from agentstream import AsyncClient

    said: dict[str, list[Any]] = {}

    def agent(*capabilities: Any) -> Any:
        model = OpenAIChatModel("gpt-4o", provider=OpenAIProvider(openai_client=openai))
        made = Agent(model, name="support", capabilities=list(capabilities))

        @made.tool_plain
        def look_up(name: str) -> str:
            """Says who somebody is."""
            return words(20, name)

        return made

    def kept(name: str, *capabilities: Any) -> Turn:
        to = agent(*capabilities)

        async def turn(prompt: str) -> None:
            before = said.get(name, [])
            said[name] = (await to.run(prompt, message_history=before, conversation_id="chat")).all_messages()

        return turn

    found: dict[str, float] = {"turns": count}
    async with AsyncOpenAI(api_key="none", base_url=f"{url}/v1") as openai, AsyncClient(folder / "ours") as client:
        (folder / "sqlite").mkdir(parents=True)
        durable, session = agent(Recorded()), client.session("chat")
        sqlite = SqliteStepStore(database=folder / "sqlite" / "steps.db")
        ways: dict[str, Turn] = {
            "bare": kept("bare"),
            "sqlite": kept("sqlite", StepPersistence(store=sqlite)),
            "files": kept("files", StepPersistence(store=FileStepStore(folder / "files"))),
            "ours": lambda prompt: run_durable(durable, prompt, session),
        }
        for name, way in ways.items():
            found[name], found[f"{name} last"] = await turns(way, count)
    found["messages"] = len(ModelMessagesTypeAdapter.dump_json(said["bare"]))
    return found | {f"{name} disk": on_disk(folder / name) for name in ways if name != "bare"}


def rows(numbers: Numbers) -> list[Row]:
    if not numbers:
        return [Row("beside StepPersistence", "not measured", "it is for Python 3.11 and newer")]
    found: list[Row] = []
    bare, messages = numbers["bare"], numbers["messages"]
    for name, what in (
        ("ours", "pydantic-ai, durable"),
        ("sqlite", "… StepPersistence in SQLite"),
        ("files", "… StepPersistence in files"),
    ):
        took, last, disk = numbers[name], numbers[f"{name} last"], numbers[f"{name} disk"]
        found.append(Row(f"{what}: a turn, p50", ms(took), f"bare {ms(bare)}; the last ones {ms(last)}", took / bare))
        found.append(
            Row(f"… {numbers['turns']:.0f} turns: disk", kb(disk), f"messages {kb(messages)}", disk / messages)
        )
    return found


if __name__ == "__main__":
    main(measure, round=round)
