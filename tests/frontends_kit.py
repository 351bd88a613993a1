"""Sessions for front ends to look at, and the front ends' own code (Node) to look at them."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from shutil import copy
from tempfile import mkdtemp
from typing import Any

import node

from agentstream import RunWaiting, Session, adapters, agent, ask, current_session, delta, emit, step

PROGRAM = Path(__file__).parent / "frontends" / "peers.mjs"
SYSTEM = "a prompt that is nobody's business"


@cache
def _program() -> Path:
    """Where it finds the packages."""
    folder = Path(mkdtemp(prefix="agentstream-peers-"))
    (folder / "node_modules").symlink_to(node.packages() / "node_modules")
    return Path(copy(PROGRAM, folder))


def peers(mode: str, *given: str, stdin: Any = None) -> list[Any]:
    """What the front ends' own code makes of it; one answer a line. AssertionError with what it says is wrong."""
    done = subprocess.run(
        [node.node(), _program(), mode, *given],
        input=None if stdin is None else json.dumps(stdin),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "WorkflowChatTransport" not in done.stderr, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def call_model(number: int, messages: Any, *parts: Any, error: bool = False) -> None:
    """A model call as an integration makes one: deltas, the message, usage."""
    made = adapters.open_step("model", "gpt", {"body": {"messages": messages}})
    if made.served is not None:
        return
    id = f"m{number}.{made.key.rpartition('#')[2]}"
    for part in parts:
        if part["type"] in ("text", "reasoning"):
            for piece in part["text"].split(" "):
                made.feed(id, f"{piece} ", part["type"])
        elif part["type"] == "tool_call":
            for piece in (part["arguments"][:7], part["arguments"][7:]):
                made.feed(part["id"], piece, "args", part["name"], id)
    if error:
        made.fail(ConnectionError("cut"))
        raise ConnectionError("cut")
    whole = [{**part, "text": f"{part['text']} "} if "text" in part else part for part in parts]
    made.emit("message", {"id": id, "role": "assistant", "parts": whole})
    for part in parts:
        if part["type"] == "tool_call":
            made.emit("tool_call", {name: part[name] for name in ("id", "name", "arguments")})
    made.finish({"ok": True}, usage={"input_tokens": 3, "output_tokens": 2, "model": "gpt"})


@step
def look_up(order: str) -> dict[str, Any]:
    return {"order": order, "at": "home"}


@step(approve=True)
def refund(order: str) -> str:
    return f"{order} refunded"


def said(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def everything(session: Session, *, approve: bool = True) -> None:
    """A session with all that happens in one: questions, approvals, failed attempts, a crash, two runs, a rewind."""
    failing = [True, True]

    @agent
    def support(question: str) -> str:
        delta("One moment. ")
        asked: list[Any] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
        thought = {"type": "reasoning", "text": "which order"}
        call = {"type": "tool_call", "id": "c1", "name": "look_up", "arguments": '{"order": "A1"}'}
        if failing[0]:
            failing[0] = False
            call_model(1, asked, said("a broken answer"), {**call, "id": "c0"}, error=True)
        call_model(1, asked, thought, said("let me look"), call)
        look_up("A1")
        function = {"name": "look_up", "arguments": '{"order": "A1"}'}
        calls = [{"id": "c1", "type": "function", "function": function}]
        asked.append({"role": "assistant", "content": "let me look", "tool_calls": calls})
        asked.append({"role": "tool", "tool_call_id": "c1", "content": "at home"})
        emit("custom", {"seen": 1})
        emit("progress", {"percent": 50, "raw": b"x"})
        call_model(2, asked, said("it is at home"))
        sure = ask("Refund it?", choices=["yes", "no"])
        try:
            done = refund("A1")
        except Exception as error:
            done = str(error)
        if failing[1]:
            failing[1] = False
            raise RuntimeError("lost the line")
        return f"{sure}: {done}"

    session.append("message", {"role": "user", "content": "Where is A1?"})
    for _ in range(6):
        try:
            session.run(support, "Where is A1?")
            break
        except RunWaiting:
            [question] = session.questions()
            session.answer(question, approve if question.kind == "approval" else "yes")
        except (RuntimeError, ConnectionError):
            continue
    session.append("message", {"role": "user", "content": "Thanks"})

    @agent
    def polite(text: str) -> str:
        call_model(3, [{"role": "user", "content": text}], said("you are welcome"))
        current_session()
        return "bye"

    session.run(polite, "Thanks")
