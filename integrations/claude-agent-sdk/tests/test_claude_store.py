"""The store by itself: the SDK's own contracts, and what holds beyond them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from agentstream_claude import StreamSessionStore
from anyio import create_task_group
from anyio.lowlevel import checkpoint
from claude_agent_sdk.testing import run_session_store_conformance
from hypothesis import given
from hypothesis import strategies as st
from stores import STORES

from agentstream import AsyncClient, Client, NotFound, Redact, SessionExists

KEY: Any = {"project_key": "proj", "session_id": "sess"}
NUMBERS = iter(range(10**9))


def said(uuid: str, content: Any, role: str = "user", **more: Any) -> Any:
    message = {"role": role, "content": content, **more}
    return {"type": role, "uuid": uuid, "parentUuid": None, "sessionId": "sess", "message": message}


def answer(uuid: str, *blocks: Any, id: str = "msg_1", reason: str | None = "end_turn") -> Any:
    usage = {"input_tokens": 5, "cache_read_input_tokens": 7, "output_tokens": 2, "service_tier": "standard"}
    return said(uuid, list(blocks), "assistant", id=id, model="claude", stop_reason=reason, usage=usage)


TOOL = {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls"}}
RESULT = {
    "type": "tool_result",
    "tool_use_id": "toolu_1",
    "content": [{"type": "text", "text": "a"}],
    "is_error": False,
}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
HIDDEN = {"type": "redacted_thinking", "data": "Z29uZQ=="}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
TALK: list[Any] = [
    said("u1", "what is here?"),
    answer("a1", THOUGHT, reason="tool_use"),
    answer("a2", TOOL, reason="tool_use"),
    said("u2", [RESULT]),
    {"type": "attachment", "uuid": "x1", "attachment": {"n": 2**60, "f": 1.0}},
    answer("a3", {"type": "text", "text": "a file"}, HIDDEN, IMAGE, id="msg_2"),
    {"type": "custom-title", "customTitle": "Files", "sessionId": "sess"},
]


@pytest.mark.parametrize("place", ["disk", "memory", "server"])
def test_the_sdks_own_contracts_hold(place: str, tmp_path: Path) -> None:
    def make() -> StreamSessionStore:
        return StreamSessionStore(AsyncClient(STORES[place](tmp_path / str(next(NUMBERS)))))

    asyncio.run(run_session_store_conformance(make))


def test_the_sdk_may_run_under_trio(tmp_path: Path) -> None:
    """Its contracts hold, calls at once are written in their order, and two writers that overtake each other wait."""

    async def main() -> None:
        with Client(tmp_path) as client, Client(tmp_path) as another:
            numbers = iter(range(10**9))
            await run_session_store_conformance(lambda: StreamSessionStore(client, prefix=f"p{next(numbers)}"))
            stores = [StreamSessionStore(client), StreamSessionStore(another)]
            lines = [said(str(number), "hi") for number in range(10)]
            async with create_task_group() as tasks:
                for line in lines:
                    tasks.start_soon(stores[0].append, KEY, [line])
                    await checkpoint()
                tasks.start_soon(stores[1].append, KEY, [said("other", "hi")])
            loaded: Any = await stores[1].load(KEY)
            assert [line["uuid"] for line in loaded if line["uuid"] != "other"] == [line["uuid"] for line in lines]
            assert len(loaded) == 11
            branch = await stores[0].fork("sess", "branch", at="4", project_key="proj")
            assert await stores[0].load({"project_key": "proj", "session_id": branch}) == [
                {**line, "sessionId": "branch"} for line in loaded[: loaded.index(lines[4]) + 1]
            ]

    trio.run(main)


def test_every_line_comes_back_as_it_was_and_is_written_once(tmp_path: Path) -> None:
    async def main() -> None:
        with Client(tmp_path) as client:
            store = StreamSessionStore(client)
            await store.append(KEY, TALK)
            await store.append(KEY, TALK[:6])
            await StreamSessionStore(client).append(KEY, TALK[:6])
            assert await store.load(KEY) == TALK
            state = client.session("claude/proj/sess").state()
            assert [message["role"] for message in state.messages] == [
                "user",
                "assistant",
                "assistant",
                "user",
                "assistant",
            ]
            assert [part["type"] for message in state.messages for part in message["parts"]] == [
                *("text", "reasoning", "tool_call", "tool_result", "text", "reasoning", "data")
            ]
            assert state.tool_calls == [{"id": "toolu_1", "name": "Bash", "arguments": {"command": "ls"}}]
            assert state.usage == {"input_tokens": 24, "cached_tokens": 14, "output_tokens": 4}
            assert [found.name for found in state.steps] == ["claude", "claude"]
            assert state.title == "Files"
            assert client.sessions(title="File")[0].id == "claude/proj/sess"

    asyncio.run(main())


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
BLOCK = st.sampled_from([TOOL, RESULT, THOUGHT, HIDDEN, IMAGE]) | st.dictionaries(
    st.sampled_from(["type", "text", "id", "tool_use_id", "data", "redacted", "input", "arguments"]),
    st.sampled_from(["text", "tool_use", "tool_result", "thinking", "redacted_thinking", "data", "reasoning", 3]),
)
LINE = st.fixed_dictionaries(
    {"type": st.sampled_from(["user", "assistant", "system"])},
    optional={
        "uuid": st.uuids().map(str),
        "message": ANY | st.fixed_dictionaries(
            {
                "role": st.sampled_from(["user", "assistant", "other"]),
                "content": st.text(max_size=5) | st.lists(BLOCK, max_size=3),
            },
            optional={"id": st.text(max_size=4), "model": ANY, "text": ANY, "stop_reason": ANY, "usage": ANY},
        ),
        "claude": ANY,
        "data": ANY,
        "$int": ANY,
    },
)  # fmt: skip


@given(lines=st.lists(LINE, min_size=1, max_size=4, unique_by=lambda line: line.get("uuid", id(line))))
def test_lines_of_any_form_come_back(lines: list[Any]) -> None:
    async def main() -> None:
        with Client("memory:") as client:
            store = StreamSessionStore(client)
            await store.append(KEY, lines)
            assert await store.load(KEY) == lines

    asyncio.run(main())


def test_a_large_line_is_kept_and_secrets_are_not(tmp_path: Path) -> None:
    async def main() -> None:
        with Client(tmp_path, redact=Redact(patterns={"password": "hunter[0-9]+"}, fields=["token"])) as client:
            store = StreamSessionStore(client)
            large = said("u1", "x" * 2_000_000)
            told: Any = {"type": "attachment", "uuid": "x", "token": "t0p", "n": "hunter2"}
            await store.append(KEY, [large, said("u2", [{"type": "text", "text": "it is hunter2"}]), told])
            loaded: Any = await StreamSessionStore(client).load(KEY)
            assert loaded[0] == large
            assert json.loads(json.dumps(loaded[1:])) == [
                said("u2", [{"type": "text", "text": "it is [redacted: password]"}]),
                {**told, "token": "[redacted: token]", "n": "[redacted: password]"},
            ]

    asyncio.run(main())


def test_a_fork_shares_its_lines_and_goes_its_own_way(tmp_path: Path) -> None:
    async def main() -> None:
        with Client(tmp_path) as client:
            store = StreamSessionStore(client)
            await store.append(KEY, TALK)
            subagent: Any = {**KEY, "subpath": "subagents/agent-1"}
            await store.append(subagent, [said("s1", "look")])
            before = [event.raw for event in client.session("claude/proj/sess").events()]
            assert await store.fork("sess", "branch", at="a2", project_key="proj") == "branch"
            branch: Any = {"project_key": "proj", "session_id": "branch"}
            shared = [{**line, "sessionId": "branch"} for line in TALK[:3]]
            assert await store.load(branch) == shared
            assert [call["id"] for call in client.session("claude/proj/branch").state().tool_calls] == ["toolu_1"]
            assert await store.list_subkeys(branch) == ["subagents/agent-1"]
            await store.append(branch, [said("u9", "another way")])
            assert await store.load(branch) == [*shared, said("u9", "another way")]
            assert [event.raw for event in client.session("claude/proj/sess").events()] == before
            assert len(
                await store.load({"project_key": "proj", "session_id": await store.fork("sess", project_key="proj")})
                or ()
            ) == len(TALK)
            await store.delete(KEY)
            assert await store.load(branch) == [*shared, said("u9", "another way")]
            with pytest.raises(SessionExists):
                await store.fork("branch", "branch", project_key="proj")
            with pytest.raises(NotFound, match="nowhere"):
                await store.fork("branch", at="nowhere", project_key="proj")

    asyncio.run(main())


def test_two_that_mirror_one_transcript_lose_nothing(tmp_path: Path) -> None:
    """Each overtakes the other's claim again and again; every line is there once, in each writer's order."""

    async def main() -> None:
        with Client(tmp_path) as one, Client(tmp_path) as other:
            stores = [StreamSessionStore(one), StreamSessionStore(other)]

            async def write(number: int) -> None:
                for count in range(15):
                    await stores[number].append(KEY, [said(f"{number}-{count}", "hi"), said(f"both-{count}", "hi")])

            await asyncio.gather(write(0), write(1))
            loaded: Any = await stores[0].load(KEY)
            uuids = [line["uuid"] for line in loaded]
        assert len(uuids) == len(set(uuids)) == 45
        for number in (0, 1):
            own = [uuid for uuid in uuids if uuid.startswith(f"{number}-")]
            assert own == [f"{number}-{count}" for count in range(15)]

    asyncio.run(main())


def test_calls_at_once_are_written_in_their_order(tmp_path: Path) -> None:
    async def main() -> None:
        with Client(tmp_path) as client:
            store = StreamSessionStore(client)
            lines = [said(str(number), "hi") for number in range(20)]
            await asyncio.gather(*(store.append(KEY, [line]) for line in lines))
            assert await store.load(KEY) == lines

    asyncio.run(main())


def test_a_hundred_turns_are_linear(tmp_path: Path) -> None:
    """What a turn adds is the turn: the last as much as the first, and all less than half more than the lines."""

    def turn(number: int) -> list[Any]:
        text = {"type": "text", "text": f"{number:04} " + "word " * 200}
        call = {**TOOL, "id": f"toolu_{number:04}"}
        result = said(f"r{number:04}", [{**RESULT, "tool_use_id": call["id"], "content": "out " * 100}])
        return [said(f"q{number:04}", "go on " * 50), answer(f"t{number:04}", text, call, id=f"m{number:04}"), result]

    async def main() -> None:
        with Client(tmp_path) as client:
            store, session, sizes = StreamSessionStore(client), client.session("claude/proj/sess"), [0]
            for number in range(100):
                await store.append(KEY, turn(number))
                if number in (0, 1, 98, 99):
                    sizes.append(sum(len(event.raw) for event in session.events()))
            assert abs((sizes[-1] - sizes[-2]) - (sizes[2] - sizes[1])) < 20
            lines = sum(len(json.dumps(line, separators=(",", ":"))) for number in range(100) for line in turn(number))
            assert sizes[-1] < 1.5 * lines

    asyncio.run(main())


@pytest.mark.parametrize("face", [Client, AsyncClient])
def test_keys_that_look_like_paths_are_kept_apart(face: Callable[[str], Any]) -> None:
    async def main() -> None:
        store = StreamSessionStore(face("memory:"))
        one: Any = {"project_key": "a/b", "session_id": "c%2F.."}
        other: Any = {"project_key": "a", "session_id": "b", "subpath": "c"}
        await store.append(one, [said("1", "one")])
        await store.append(other, [said("2", "other")])
        assert await store.load(one) == [said("1", "one")]
        assert await store.load(other) == [said("2", "other")]
        assert [found["session_id"] for found in await store.list_sessions("a/b")] == ["c%2F.."]
        assert await store.list_sessions("a") == []
        with pytest.raises(ValueError, match="cannot be a session id"):
            await store.append({"project_key": "", "session_id": "x"}, [said("3", "no")])

    asyncio.run(main())
