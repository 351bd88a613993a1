"""Threads that an older version wrote are read, and gone on with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentstream_langgraph import StreamSaver
from langchain_core.messages import AIMessage
from langgraph_kit import checkpoint, put

from agentstream import Client

GOLDEN = Path(__file__).with_name("golden")
SAID = ["hi", "said " * 30, "that one"]


def test_a_thread_of_the_first_form_is_read() -> None:
    with Client("memory:") as client:
        client.import_(GOLDEN / "thread-v1.jsonl")
        saver = StreamSaver(client)
        history = list(saver.list({"configurable": {"thread_id": "golden"}}))
        told: list[Any] = [found.checkpoint["channel_values"] for found in history]
        assert [message.content for message in told[0]["messages"]] == SAID
        assert [len(values.get("messages", ())) for values in told] == [3, 3, 2, 1, 0]
        assert told[0]["files"] == {f"f{number}": "text " * 40 for number in range(3)}
        assert [values.get("last") for values in told] == ["edited", [1, {"a": 2.5}], [1, {"a": 2.5}], None, None]
        assert history[0].checkpoint["ts"] == "2026-11-23T09:49:14.490016+00:00"
        version = history[0].checkpoint["channel_versions"]["messages"]
        assert isinstance(version, str)
        assert len(version.split(".")[0]) == 32
        assert [name for _, name, _ in history[2].pending_writes or ()][:1] == ["__resume__"]

        longer = [*told[0]["messages"], AIMessage("and on", id="a3")]
        made = checkpoint({**told[0], "messages": longer})
        parent: Any = history[0].config
        saver.put(parent, made, {"source": "loop", "step": 4, "parents": {}}, {"messages": "1"})
        found: Any = StreamSaver(client).get_tuple(
            {"configurable": {"thread_id": "golden", "checkpoint_id": made["id"]}}
        )
        assert [message.content for message in found.checkpoint["channel_values"]["messages"]] == [*SAID, "and on"]
        texts = [event for event in client.session("langgraph/golden").events() if event.type == "message"]
        assert len(texts) == 4
        assert put(saver, checkpoint({"a": 1}))
