"""What these tests share: a Claude that answers by rule, for the SDK's own CLI, which runs offline against it.

It answers the last thing it was told: `sh: COMMAND` by calling the Bash tool, `agent: PROMPT` by calling a subagent, a
tool's result by saying it, and anything else by saying that.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agentstream_claude import StreamSessionStore
from claude_agent_sdk import ClaudeAgentOptions, ResultMessage, project_key_for_directory, query
from support.provider import Behaviour, Exchange, Provider

MODEL = "claude-sonnet-4-5"

LEAVES_STREAMS = pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning")
"""For tests of the CLI: the oldest releases leave their streams to the garbage collector (see `collected`)."""


class Claude(Provider):
    """`told` are the conversations it was asked to go on with, as what was said in them."""

    def __init__(self) -> None:
        super().__init__(piece=4096)
        self.told: list[list[str]] = []

    def take(self, path: str, headers: dict[str, str], request: Any) -> tuple[Behaviour, Exchange]:
        if not path.startswith("/v1/messages") or "count_tokens" in path:
            return Behaviour(), Exchange(path, request, 404, "application/json", "{}")
        with self._lock:
            self.told.append(texts_of(request["messages"]))
            answer = f"msg_{len(self.told)}"
        blocks, reason = _answer(request["messages"], len(request["messages"]))
        return Behaviour(), Exchange(path, request, 200, "text/event-stream", _streamed(answer, blocks, reason))


def texts_of(messages: list[Any]) -> list[str]:
    """What was said in a conversation, without what the CLI adds for the model alone."""
    return [f"{kind}: {text}" for kind, text in _said(messages)]


def _said(messages: list[Any]) -> Iterator[tuple[str, str]]:
    for message in messages:
        for block in _blocks(message["content"]):
            if block["type"] == "tool_use":
                yield "call", block["name"]
            elif block["type"] == "tool_result":
                yield "result", "".join(_own(part.get("text", "")) for part in _blocks(block["content"]))
            elif block["type"] == "text" and message["role"] in ("user", "assistant") and _own(block["text"]):
                yield message["role"], _own(block["text"])


def _blocks(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _own(text: str) -> str:
    """A text without the CLI's reminders."""
    return text.partition("<system-reminder>")[0].strip()


def _answer(messages: list[Any], place: int) -> tuple[list[Any], str]:
    last, asked = next(told for told in reversed(list(_said(messages))) if told[0] in ("user", "result"))
    if last == "result":
        return [{"type": "text", "text": f"it says: {asked}"}], "end_turn"
    kind, _, what = asked.partition(": ")
    call: dict[str, Any] = {"type": "tool_use", "id": f"toolu_{place}"}
    if kind == "sh":
        return [
            {"type": "text", "text": "Let me see."},
            {**call, "name": "Bash", "input": {"command": what}},
        ], "tool_use"
    if kind == "agent":
        task = {"description": "a part of it", "prompt": what, "subagent_type": "general-purpose"}
        return [{**call, "name": "Task", "input": task}], "tool_use"
    return [{"type": "text", "text": f"you said: {asked}"}], "end_turn"


def _streamed(id: str, blocks: list[Any], reason: str) -> str:
    usage = {"input_tokens": 11, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 5, "output_tokens": 1}
    begun: dict[str, Any] = {"id": id, "type": "message", "role": "assistant", "model": MODEL, "content": []}
    begun.update(stop_reason=None, stop_sequence=None, usage=usage)
    events: list[Any] = [{"type": "message_start", "message": begun}]
    for index, block in enumerate(blocks):
        empty: Any = {**block, "text": ""} if block["type"] == "text" else {**block, "input": {}}
        pieces = [{"type": "text_delta", "text": word + " "} for word in block.get("text", "").split(" ")]
        if block["type"] == "tool_use":
            pieces = [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
        events.append({"type": "content_block_start", "index": index, "content_block": empty})
        events += [{"type": "content_block_delta", "index": index, "delta": piece} for piece in pieces]
        events.append({"type": "content_block_stop", "index": index})
    events.append({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 17}})
    events.append({"type": "message_stop"})
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


def options(store: StreamSessionStore, url: str, machine: Path, work: Path, **more: Any) -> ClaudeAgentOptions:
    """How the CLI is run: `machine` is what a machine of its own would keep (its home), `work` where the project is."""
    machine.mkdir(parents=True, exist_ok=True)
    work.mkdir(parents=True, exist_ok=True)
    env = {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "sk-ant-none",
        "HOME": str(machine),
        "CLAUDE_CONFIG_DIR": str(machine / ".claude"),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "IS_SANDBOX": "1",  # root may let all tools run
    }
    return ClaudeAgentOptions(
        cwd=work, model=MODEL, permission_mode="bypassPermissions", setting_sources=[], env=env, session_store=store,
        session_store_flush="eager", stderr=print, **more,
    )  # fmt: skip


def place(provider: Provider) -> str:
    """Where that provider is, as the CLI is told it."""
    return provider.url.removesuffix("/v1")


async def asked(prompt: str, options: ClaudeAgentOptions) -> ResultMessage:
    """What came of one prompt."""
    last: Any = None
    async for message in query(prompt=prompt, options=options):
        last = message
    assert isinstance(last, ResultMessage), last
    return last


def key_of(session_id: str, work: Path, **more: Any) -> Any:
    """What the SDK calls a transcript."""
    return {"project_key": project_key_for_directory(work), "session_id": session_id, **more}
