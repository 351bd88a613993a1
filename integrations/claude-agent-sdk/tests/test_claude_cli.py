"""The SDK with its own CLI, offline: mirrored as it works, resumed on another machine, killed, forked, followed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import Any
from uuid import uuid4

import claude_worker
import pytest
from agentstream_claude import StreamSessionStore
from claude_kit import LEAVES_STREAMS, Claude, asked, key_of, options, place
from sdk_kit import check_calls_were_named_live, programs_in, ran

from agentstream import Client

EXAMPLE = Path(__file__).parents[1] / "examples" / "followed.py"


pytestmark = LEAVES_STREAMS


@pytest.fixture
def provider() -> Iterator[Claude]:
    made = Claude()
    yield made
    made.close()


def test_a_session_goes_on_on_another_machine(provider: Claude, tmp_path: Path) -> None:
    """All the SDK mirrors is kept; nothing of the first machine but the store is there for the second."""
    work = tmp_path / "work"

    async def main() -> None:
        with Client(tmp_path / "store") as client:
            store = StreamSessionStore(client)
            first = await asked("sh: echo one", options(store, place(provider), tmp_path / "one", work))
            assert (first.result or "").startswith("it says: one")
            assert first.usage is not None
            key = key_of(first.session_id, work)
            session = client.session(store.session_id(key))
            state = session.state()
            assert [call["name"] for call in state.tool_calls] == ["Bash"]
            assert state.usage["output_tokens"] == first.usage["output_tokens"]
            lines = len(await store.load(key) or ())

        with Client(tmp_path / "store") as client:
            store = StreamSessionStore(client)
            again = options(store, place(provider), tmp_path / "two", work, resume=first.session_id)
            second = await asked("and now", again)
            assert second.session_id == first.session_id
            assert provider.told[-1] == [
                *(
                    "user: sh: echo one",
                    "assistant: Let me see.",
                    "call: Bash",
                    "result: one",
                    "assistant: it says: one",
                ),
                "user: and now",
            ]
            assert len(await store.load(key) or ()) > lines
            [listed] = await store.list_session_summaries(key["project_key"])
            assert listed["data"]["first_prompt"] == "sh: echo one"

    asyncio.run(main())


def test_subagents_have_sessions_below_and_come_along(provider: Claude, tmp_path: Path) -> None:
    work = tmp_path / "work"

    async def main() -> None:
        with Client(tmp_path / "store") as client:
            store = StreamSessionStore(client)
            first = await asked("agent: look around", options(store, place(provider), tmp_path / "one", work))
            key = key_of(first.session_id, work)
            subkeys = [
                below for below in await store.list_subkeys(key) if below.rpartition("/")[2].startswith("agent-")
            ]
            assert subkeys
            below = client.session(store.session_id(key_of(first.session_id, work, subpath=subkeys[0])))
            assert below.state().messages[0]["parts"] == [{"type": "text", "text": "look around"}]
            assert [found["session_id"] for found in await store.list_sessions(key["project_key"])] == [
                first.session_id
            ]
            branch = await store.fork(first.session_id, directory=work)
            assert subkeys[0] in await store.list_subkeys(key_of(branch, work))
            await store.delete(key)
            assert await store.list_subkeys(key) == []

    asyncio.run(main())


def test_a_killed_program_is_resumed_from_its_record(provider: Claude, tmp_path: Path) -> None:
    """Killed with SIGKILL inside a tool, machine and all: what was said before is there, and the talk goes on."""
    work, fifo, session_id = tmp_path / "work", tmp_path / "fifo", str(uuid4())
    os.mkfifo(fifo)
    command = [sys.executable, claude_worker.__file__, str(tmp_path / "store"), place(provider), str(tmp_path / "one")]
    command += [str(work), f"sh: echo begun; cat {fifo}", session_id]
    with Client(tmp_path / "store") as client:
        store = StreamSessionStore(client)
        session = client.session(store.session_id(key_of(session_id, work)))
        session.label(title="to be killed")  # so that it is there to be followed
        with subprocess.Popen(command) as process:
            seen: list[Any] = []
            for event in session.follow():
                seen.append(event)
                said = {found.value["kind"] for found in seen if found.type == "delta"}
                if "args" in said and "tool_call" in {found.type for found in seen}:
                    break
            process.send_signal(signal.SIGKILL)
            process.wait(60)
        writes = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        fifo.unlink()  # the tool, which outlives the program, finds it no more, or comes to its end
        os.close(writes)
        texts = [event.value["text"] for event in seen if event.type == "delta" and event.value["kind"] == "text"]
        assert "".join(texts).startswith("Let me see.")
        assert [event.type for event in seen].index("delta") < [event.type for event in seen].index("tool_call")
        check_calls_were_named_live(seen, session.state().messages)

        async def main() -> None:
            again = options(store, place(provider), tmp_path / "two", work, resume=session_id)
            result = await asked("what now?", again)
            assert (result.result or "").startswith("you said: what now?")
            told = provider.told[-1]
            assert told[0] == f"user: sh: echo begun; cat {fifo}"
            assert told[-1] == "user: what now?"

        asyncio.run(main())


def test_a_fork_at_a_message_goes_on_from_there(provider: Claude, tmp_path: Path) -> None:
    work = tmp_path / "work"

    async def main() -> None:
        with Client(tmp_path / "store") as client:
            store = StreamSessionStore(client)

            def ask(machine: str, **more: Any) -> Any:
                return options(store, place(provider), tmp_path / machine, work, **more)

            first = await asked("my name is Ada", ask("one"))
            await asked("forget it", ask("one", resume=first.session_id))
            key = key_of(first.session_id, work)
            before = await store.load(key)
            said: Any = next(line for line in before or () if line["type"] == "assistant")
            branch = await store.fork(first.session_id, at=said["uuid"], directory=work)
            result = await asked("who am I?", ask("two", resume=branch))
            assert result.session_id == branch
            assert provider.told[-1] == [
                *("user: my name is Ada", "assistant: you said: my name is Ada", "user: who am I?")
            ]
            assert await store.load(key) == before

    asyncio.run(main())


def test_the_readmes_program(provider: Claude, tmp_path: Path) -> None:
    program, *_ = programs_in(EXAMPLE.parents[1] / "README.md")
    program = f"import asyncio\nasync def main():\n{indent(program, '    ')}\nasyncio.run(main())"
    keys = options(StreamSessionStore(Client("memory:")), place(provider), tmp_path / "home", tmp_path).env
    assert "you said: What is in this folder?" in ran(program, tmp_path, **keys)
    with Client(tmp_path / ".agentstream") as client:
        [found] = [each for each in client.sessions() if each.id.startswith("claude/")]
        said = [message["role"] for message in client.session(found.id).state().messages]
    assert said == ["user", "assistant"]


def test_the_example(provider: Claude, tmp_path: Path) -> None:
    environment = {**os.environ, **options(StreamSessionStore(Client("memory:")), "", tmp_path, tmp_path).env}
    environment["ANTHROPIC_BASE_URL"] = place(provider)

    def ran(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, EXAMPLE, *arguments],
            env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    first = ran("my name is Ada")
    assert first.startswith("you said: my name is Ada")
    again = ran("who am I?", first.split()[-1])
    assert again.startswith("you said: who am I?")
    assert "user: my name is Ada" in provider.told[-1]
