"""What the tests of the saver share: savers on every store, checkpoints made by hand, a graph that chats."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from agentstream_langgraph import StreamSaver
from langchain_core.messages import AIMessage, AnyMessage
from langgraph.checkpoint.base.id import uuid6
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from stores import STORES

from agentstream import Client

T = "thread"

IN_CONTEXT = sys.version_info >= (3, 11)
in_context = pytest.mark.skipif(
    not IN_CONTEXT, reason="LangGraph hands its context to nodes in an event loop from Python 3.11 on"
)


def config(id: str | None = None, *, ns: str | None = "", thread: Any = T, **more: Any) -> Any:
    named: dict[str, Any] = {"thread_id": thread, **more}
    if ns is not None:
        named["checkpoint_ns"] = ns
    if id is not None:
        named["checkpoint_id"] = id
    return {"configurable": named}


def checkpoint(values: dict[str, Any] | None = None, *, id: str | None = None, **versions: Any) -> Any:
    """A checkpoint as the graph makes them; the versions of channels are "1" unless told."""
    values = values or {}
    return {
        "v": 4,
        "id": id or str(uuid6()),
        "ts": "2026-01-02T03:04:05.000006+00:00",
        "channel_values": values,
        "channel_versions": {**dict.fromkeys(values, "1"), **versions},
        "versions_seen": {"node": dict.fromkeys(values, "1")},
        "updated_channels": None,
    }


def put(saver: Any, made: Any, parent: str | None = None, *, new: Any = None, ns: str = "", **metadata: Any) -> str:
    """Puts a checkpoint (all its channels are new unless `new` names them) and returns its id."""
    versions = made["channel_versions"]
    told = {"source": "loop", "step": 1, "parents": {}, **metadata}
    changed = versions if new is None else {name: versions[name] for name in new}
    saver.put(config(parent, ns=ns), made, told, changed)
    return made["id"]


def values(saver: Any, id: str | None = None, ns: str = "") -> Any:
    found = saver.get_tuple(config(id, ns=ns))
    assert found is not None
    return found.checkpoint["channel_values"]


@contextmanager
def client_on(store: str, folder: Path) -> Iterator[Client]:
    with Client(STORES[store](folder)) as client:
        yield client


class Xor:
    """A cipher that never gives the same twice, as real ones do."""

    def __init__(self) -> None:
        self.count = 0

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        self.count += 1
        key = self.count % 255 + 1
        return "xor", bytes((key, *(byte ^ key for byte in plaintext)))

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        assert ciphername == "xor"
        return bytes(byte ^ ciphertext[0] for byte in ciphertext[1:])


class Chat(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


def chat(saver: Any, turns: int, say: Callable[[int], str] = str, **compiling: Any) -> Any:
    """A graph that says something until there are so many messages."""

    def model(state: Chat) -> Any:
        return {"messages": [AIMessage(say(len(state["messages"])))]}

    def on(state: Chat) -> str:
        return "model" if len(state["messages"]) < turns else END

    builder = StateGraph(Chat)
    builder.add_node("model", model)
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", on, ["model", END])
    return builder.compile(checkpointer=saver, **compiling)


__all__ = ["Chat", "StreamSaver", "Xor", "chat", "checkpoint", "client_on", "config", "put", "values"]
