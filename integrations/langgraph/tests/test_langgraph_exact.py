"""What was put comes back equal, as LangGraph's own saver in memory gives it; what cannot be put says where."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import logging
import uuid
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import pydantic
import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.types import Interrupt, Send
from langgraph_kit import StreamSaver, Xor, checkpoint, client_on, config, put, values

from agentstream import NotSerializable


class Point(NamedTuple):
    x: int
    y: int


class Colour(enum.Enum):
    RED = "red"


class Model(pydantic.BaseModel):
    name: str
    inner: list[int] = []


@dataclasses.dataclass
class Data:
    name: str
    parts: list[Any]


@dataclasses.dataclass(slots=True)
class Slotted:
    name: str


CALL: Any = {"name": "search", "args": {"query": "x", "n": 1.0}, "id": "call_1", "type": "tool_call"}
USAGE: Any = dict.fromkeys(("input_tokens", "output_tokens", "total_tokens"), 3)
VALUES: dict[str, Any] = {
    "none": None,
    "empty": [[], {}, "", b""],
    "numbers": [0, -1, 2**53, 2**63 - 1, 1.0, -0.0, 0.1, float("inf"), True],
    "text": ["", "NUL \x00 in it", "🙂 ü", "x" * 5000],
    "bytes": b"\x00\xff" * 100,
    "bytearray": bytearray(b"abc"),
    "tuple": (1, (2, [3])),
    "keys": {1: "int", "1": "text", None: 0, ("a", 1): 2},
    "dollars": {"$items": ["1.0"], "$bytes": "x", "one": True},
    "dict": {f"key {number}": {"text": "long " * 20, "n": number} for number in range(20)},
    "sets": [{1, 2}, frozenset((3,)), deque([4])],
    "classes": [Point(1, 2), Colour.RED, Model(name="m", inner=[1]), Data("d", [{"a": 1}]), Slotted("s")],
    "times": [datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc), datetime.date(2026, 1, 2)],
    "more": [uuid.UUID(int=7), decimal.Decimal("1.10"), Path("/x"), Send("node", {"a": 1}), Interrupt("ask", id="i")],
    "messages": [
        SystemMessage("you are"),
        HumanMessage("hi", id="1"),
        AIMessage("calling", id="2", tool_calls=[CALL], usage_metadata=USAGE),
        ToolMessage("found " * 50, tool_call_id="call_1", artifact={"raw": [1, 2]}),
        AIMessage([{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "done"}, "or not"]),
        HumanMessage([{"type": "image_url", "image_url": {"url": "data:,"}}]),
    ],
    "message": AIMessage("alone " * 30),
    "documents": [Document("page", metadata={"n": 1}), Document("page", metadata={"n": 1})],
    "nested": [[["deep", {"a": [1, (2,)]}]], [{"b": {3}}]],
    "snapshot": _DeltaSnapshot([HumanMessage("kept", id="k")]),
}


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "langgraph.checkpoint.serde.jsonplus")


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("store", ["memory", "hostile"])
def test_a_value_comes_back_as_from_memory(store: str, name: str, tmp_path: Path) -> None:
    value = VALUES[name]
    theirs = InMemorySaver()
    put(theirs, checkpoint({name: value}))
    theirs.put_writes(config(values_id(theirs)), [(name, value)], "task")
    with client_on(store, tmp_path) as client:
        ours = StreamSaver(client)
        put(ours, checkpoint({name: value}))
        ours.put_writes(config(values_id(ours)), [(name, value)], "task")
        for saver in (ours, StreamSaver(client)):
            assert repr(values(saver)) == repr(values(theirs))
            assert values(saver) == values(theirs)
            found, expected = saver.get_tuple(config()), theirs.get_tuple(config())
            assert found is not None
            assert expected is not None
            assert repr(found.pending_writes) == repr(expected.pending_writes)
        put(ours, checkpoint({name: values(ours)[name]}, **{name: "2"}), values_id(ours))
        assert repr(values(StreamSaver(client))) == repr(values(theirs))


def values_id(saver: Any) -> str:
    return saver.get_tuple(config()).checkpoint["id"]


def test_a_checkpoint_comes_back_whole(tmp_path: Path) -> None:
    made = checkpoint({"a": 1})
    made.update(updated_channels=["a"], pending_sends=[Send("n", 1)], versions_seen={"n": {"a": 1.5}, "__input__": {}})
    made["channel_versions"] = {"a": f"{7:032}.0.25", "b": 3, "c": 1.5, "d": "7~25", "e": f"{7:031}.0.25"}
    with client_on("memory", tmp_path) as client:
        put(StreamSaver(client), made)
        found = StreamSaver(client).get_tuple(config())
        assert found is not None
        assert found.checkpoint == made


def test_what_cannot_be_written_names_its_path(tmp_path: Path) -> None:
    class Odd:
        pass

    with client_on("memory", tmp_path) as client:
        saver = StreamSaver(client)
        for value, path in (
            ({"x": [1, {"y": Odd()}]}, r"channel 'a'\['x'\]\[1\]\['y'\] cannot be written.*Odd"),
            (
                [HumanMessage("m"), AIMessage("n", additional_kwargs={"z": Odd()})],
                r"'a'\[1\]\.additional_kwargs\['z'\]",
            ),
        ):
            with pytest.raises(NotSerializable, match=path):
                put(saver, checkpoint({"a": value}))
        with pytest.raises(NotSerializable, match=r"write to 'x'\.?"):
            saver.put_writes(config("1"), [("x", Odd())], "task")
        assert saver.get_tuple(config()) is None
        put(saver, checkpoint({"a": [HumanMessage("m"), AIMessage("n")]}))  # nothing is thought to be there that is not
        assert [message.content for message in values(StreamSaver(client))["a"]] == ["m", "n"]


def test_strict_mode_is_the_serializers(tmp_path: Path) -> None:
    with client_on("memory", tmp_path) as client:
        put(StreamSaver(client), checkpoint({"a": [Model(name="m"), Model(name="n")]}))
        strict = StreamSaver(client, serde=JsonPlusSerializer(allowed_msgpack_modules=None))
        assert values(strict)["a"][0] == {"name": "m", "inner": []}
        allowed = strict.with_allowlist([(Model.__module__, "Model")])
        assert isinstance(allowed, StreamSaver)
        assert values(allowed)["a"][0] == Model(name="m")
        assert allowed._threads is strict._threads


def test_what_is_encrypted_is_nowhere_in_clear(tmp_path: Path) -> None:
    secret = [HumanMessage(f"the secret {number} " * 20, id=str(number)) for number in range(30)]
    with client_on("disk", tmp_path) as client:
        saver = StreamSaver(client, serde=EncryptedSerializer(Xor()))
        first = put(saver, checkpoint({"m": secret}))
        saver.put_writes(config(first), [("m", [secret[0]])], "task")
        other = StreamSaver(client, serde=EncryptedSerializer(Xor()))
        put(other, checkpoint({"m": [*values(other)["m"], HumanMessage("the secret end")]}, m="2"), first)
        assert values(other, first)["m"] == secret
        events = list(client.session("langgraph/thread").events())
        assert not [event for event in events if b"secret" in event.raw or event.type == "message"]
        items = [event for event in events if event.type == "item"]
        assert sum(len(event.value["items"]) for event in items) == len(secret) + 2  # and the write, and the end
