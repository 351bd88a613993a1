"""A session of another SDK continued by Claude Code, and a transcript continued by another SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from agentstream_claude import StreamSessionStore
from claude_agent_sdk import get_session_messages_from_store, list_sessions_from_store
from claude_kit import LEAVES_STREAMS, MODEL, Claude, asked, key_of, options, place

from agentstream import Client, Messages, SessionExists

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
IMAGE: Any = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
CALL: Any = {"type": "tool_use", "id": "toolu_01", "name": "look_up", "input": {"order": "Ä1"}}
RESULT: Any = {"type": "tool_result", "tool_use_id": "toolu_01", "content": [{"type": "text", "text": "sent"}, IMAGE]}
THOUGHT: Any = {"type": "thinking", "thinking": "Hm ä.", "signature": "c2ln"}
HIDDEN: Any = {"type": "redacted_thinking", "data": "cmVk"}
TALK: list[Any] = [
    {"role": "user", "content": [{"type": "text", "text": "Where is Ä1?"}, IMAGE]},
    {"role": "assistant", "content": [THOUGHT, HIDDEN, {"type": "text", "text": "I look."}, CALL]},
    {"role": "user", "content": [RESULT]},
    {"role": "assistant", "content": [{"type": "text", "text": "It was sent."}]},
]
"""A conversation with Claude, in the form of its API."""

pytestmark = LEAVES_STREAMS


@pytest.fixture
def provider() -> Iterator[Claude]:
    made = Claude()
    yield made
    made.close()


def recorded(client: Client, name: str, said: Messages) -> Messages:
    session = client.session(name)
    for each in said:
        session.append("message", each)
    return session.state().messages


async def said_in(store: StreamSessionStore, session_id: str, directory: Path) -> list[Any]:
    """A transcript's messages, as the SDK's own reader finds them."""
    found: Any = await get_session_messages_from_store(store, session_id, directory=str(directory))
    return [{"role": each.message["role"], "content": each.message["content"]} for each in found]


@pytest.mark.parametrize("sdk", ["openai_chat", "openai_responses", "anthropic", "langchain", "pydantic_ai"])
def test_what_any_sdk_recorded_is_a_transcript_and_comes_back(sdk: str, tmp_path: Path) -> None:
    """Calls with their results, one that has none closed, thoughts and images; from the transcript the same again."""

    async def main() -> None:
        with Client(tmp_path / "store") as client:
            store = StreamSessionStore(client)
            whole = Messages.from_anthropic([*TALK, {"role": "assistant", "content": [{**CALL, "id": "toolu_02"}]}])
            kept: Any = getattr(whole, f"as_{sdk}")(close=False)
            kept = (kept["messages"],) if sdk == "anthropic" else (kept,)
            messages = recorded(client, "other", getattr(Messages, f"from_{sdk}")(*kept))
            asked_for = messages.as_anthropic()["messages"]
            assert asked_for[-1]["content"][0]["is_error"] is True
            assert [block["id"] for said in asked_for for block in said["content"] if block["type"] == "tool_use"] == [
                *("toolu_01", "toolu_02")
            ]

            session_id = await store.continue_from(messages, directory=tmp_path)
            assert await said_in(store, session_id, tmp_path) == asked_for
            [listed] = await list_sessions_from_store(store, directory=str(tmp_path))
            assert (listed.session_id, listed.first_prompt) == (session_id, "Where is Ä1?")
            back = client.session(store.session_id(key_of(session_id, tmp_path))).state().messages
            assert back.as_anthropic()["messages"] == asked_for
            assert back.as_openai_chat() == messages.as_openai_chat()

    asyncio.run(main())


def test_the_cli_goes_on_with_it_and_another_sdk_with_what_it_made_of_it(provider: Claude, tmp_path: Path) -> None:
    """What the model is asked has every block as it was, signed thoughts too; a branch that was left is left out."""
    work = tmp_path / "work"
    requests: list[Any] = []
    take = provider.take

    def took(path: str, headers: dict[str, str], request: Any) -> Any:
        requests.append(request)
        return take(path, headers, request)

    provider.take = took  # pyright: ignore[reportAttributeAccessIssue]

    async def main() -> None:
        with Client(tmp_path / "store") as client:
            store = StreamSessionStore(client)
            messages = Messages({**said, "model": MODEL} for said in Messages.from_anthropic(TALK))
            session_id = await store.continue_from(recorded(client, "other", messages), directory=work)
            first = await asked("and now?", options(store, place(provider), tmp_path / "one", work, resume=session_id))
            assert first.session_id == session_id
            assert [_own(said) for said in requests[-1]["messages"][: len(TALK)]] == TALK
            assert provider.told[-1][-1] == "user: and now?"

            answer = (await said_lines(store, session_id, work))[3]["uuid"]
            again = options(store, place(provider), tmp_path / "two", work, resume=session_id)
            again.extra_args = {"resume-session-at": answer}
            await asked("or else?", again)
            back = client.session(store.session_id(key_of(session_id, work))).state().messages.as_anthropic()
            assert back["messages"][: len(TALK)] == TALK
            assert [block["text"].strip() for said in back["messages"][len(TALK) :] for block in said["content"]] == [
                *("or else?", "you said: or else?")
            ]

    asyncio.run(main())


def _own(said: Any) -> Any:
    """A message without what the CLI adds to it."""
    blocks = [{name: value for name, value in block.items() if name != "cache_control"} for block in said["content"]]
    return {**said, "content": [each for each in blocks if not each.get("text", "").startswith("<system-reminder>")]}


async def said_lines(store: StreamSessionStore, session_id: str, work: Path) -> list[Any]:
    lines: Any = await store.load(key_of(session_id, work))
    return [line for line in lines if line["type"] in ("user", "assistant")]


def line(uuid: str, parent: str | None, role: str, *content: Any, **more: Any) -> Any:
    return {
        "type": role,
        "uuid": uuid,
        "parentUuid": parent,
        "message": {"role": role, "content": list(content)},
        **more,
    }


def test_a_message_in_several_lines_is_one_and_parallel_results_are_no_branches(tmp_path: Path) -> None:
    def text(said: str) -> Any:
        return {"type": "text", "text": said}

    two = {**CALL, "id": "toolu_02"}
    lines: list[Any] = [
        line("u1", None, "user", text("look both up")),
        {"type": "attachment", "uuid": "x1", "parentUuid": "u1"},
        line("a1", "x1", "assistant", text("Both.")),
        line("a2", "a1", "assistant", CALL),
        line("a3", "a2", "assistant", two),
        line("r1", "a2", "user", {**RESULT, "content": "one"}),
        line("s1", "a2", "assistant", text("a subagent"), isSidechain=True),
        line("r2", "a3", "user", {**RESULT, "tool_use_id": "toolu_02", "content": "two"}),
        line("a4", "r2", "assistant", text("one, two")),
        line("u2", "a4", "user", text("left")),
        line("a5", "u2", "assistant", text("left too")),
        line("u3", "a4", "user", text("instead")),
    ]
    for each in lines:
        if each["uuid"] in ("a1", "a2", "a3"):
            each["message"]["id"] = "msg_1"

    async def main() -> None:
        with Client(tmp_path) as client:
            store = StreamSessionStore(client)
            key = key_of("s", tmp_path)
            await store.append(key, lines)
            said = client.session(store.session_id(key)).state().messages.as_anthropic()["messages"]
            assert said == [
                {"role": "user", "content": [text("look both up")]},
                {"role": "assistant", "content": [text("Both."), CALL, two]},
                {
                    "role": "user",
                    "content": [
                        {**RESULT, "content": "one"},
                        {**RESULT, "tool_use_id": "toolu_02", "content": "two"},
                    ],
                },
                {"role": "assistant", "content": [text("one, two")]},
                {"role": "user", "content": [text("instead")]},
            ]
            below = key_of("s", tmp_path, subpath="subagents/agent-1")
            await store.append(below, [line("b1", None, "user", text("look"), isSidechain=True), lines[1]])
            assert client.session(store.session_id(below)).state().messages.as_openai_chat() == [
                {"role": "user", "content": "look"}
            ]

    asyncio.run(main())


def test_what_cannot_be_continued_is_said(tmp_path: Path) -> None:
    async def main() -> None:
        with Client(tmp_path) as client:
            store, messages = StreamSessionStore(client), Messages.from_openai_chat([{"role": "user", "content": "hi"}])
            with pytest.raises(ValueError, match="say nothing"):
                await store.continue_from(Messages())
            for wrong in (3, [{"role": "user", "content": "hi"}]):
                other: Any = wrong
                with pytest.raises(TypeError, match=r"session\.state\(\)\.messages"):
                    await store.continue_from(other)
            taken = await store.continue_from(messages, str(uuid4()), project_key="p")
            with pytest.raises(SessionExists, match="give another new_id"):
                await store.continue_from(messages, taken, project_key="p")

    asyncio.run(main())
