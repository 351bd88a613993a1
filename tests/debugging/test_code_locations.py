"""Each step says where in the user's code it was called, in the words of any machine."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from typing import Any

import openai_kit
import pytest
from support.provider import Provider

from agentstream import AsyncClient, Client, agent, in_run, recorded, step

HERE = "test_code_locations.py"

AGENTS = """
from agentstream import step

@step
def act(name):
    return name

def helper(name):
    return act(name)

def run(names):
    return [helper(name) for name in names]
"""


def codes(client: Client, session: str = "s") -> list[Any]:
    return [step.code for step in client.session(session).state().steps]


@step
def act(name: str) -> str:
    return name


@step
async def aact(name: str) -> str:
    return name


def line_of(function: Any, offset: int) -> int:
    return function.__code__.co_firstlineno + offset


def test_sync_steps_and_those_of_threads() -> None:
    def calls() -> None:
        act("a")
        recorded.now()
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as pool:
            pool.submit(in_run(lambda: act("b"))).result()

    with Client("memory:") as client:
        client.session("s").run(calls)
        first, second, third = codes(client)
        assert first.endswith(f"{HERE}:{line_of(calls, 1)} in calls")
        assert second.endswith(f"{HERE}:{line_of(calls, 2)} in calls")
        assert third.endswith(f"{HERE}:{line_of(calls, 6)} in <lambda>")


def test_async_steps_also_of_tasks_of_their_own() -> None:
    async def calls() -> None:
        await aact("a")
        await asyncio.gather(aact("b"), asyncio.create_task(aact("c")))

    async def main() -> None:
        async with AsyncClient("memory:") as client:
            await client.session("s").run(calls)
            places = codes(client.to_sync())
            assert [place.rpartition(":")[2] for place in places] == [
                f"{line_of(calls, offset)} in calls" for offset in (1, 2, 2)
            ]

    asyncio.run(main())


def test_calls_that_an_sdk_makes() -> None:
    with Provider(openai_kit.ALL) as provider, openai_kit.sync_client(provider) as openai, Client("memory:") as client:
        client.session("s").run(agent(lambda: openai_kit.chat_create(openai)))
        assert codes(client)[0].endswith(f"openai_kit.py:{line_of(openai_kit.chat_create, 1)} in chat_create")


@pytest.mark.parametrize(("name", "told"), [("pack.inner.agents", "pack/inner/agents.py"), ("agents", "agents.py")])
def test_a_file_is_told_from_its_package_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    file = tmp_path / "somewhere" / told
    file.parent.mkdir(parents=True)
    file.write_text(AGENTS)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    with Client("memory:") as client:
        client.session("s").run(module.run, ["a"])
        assert codes(client) == [f"{told}:9 in helper"]


def test_it_is_no_part_of_what_a_step_is_known_by() -> None:
    def first() -> list[str]:
        return [act("a")]

    def moved() -> list[str]:

        return [act("a")]

    def other() -> list[str]:
        return [act("b")]

    with Client("memory:") as client:
        session = client.session("s")
        session.run(first)
        assert session.replay(moved).identical
        divergence = session.replay(other).divergence
        assert divergence is not None
        assert divergence.recorded_code == codes(client)[0]
        assert divergence.code is not None
        assert divergence.code.endswith(f"{HERE}:{line_of(other, 1)} in other")
        assert f"at {divergence.recorded_code}" in str(divergence)
