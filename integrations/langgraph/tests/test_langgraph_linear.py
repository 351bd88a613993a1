"""Lists are stored once, whoever makes them and however they change; what was changed in place is seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from agentstream_langgraph._elements import Element
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph_kit import StreamSaver, chat, checkpoint, client_on, config, put, values

from agentstream import Client

THREAD: Any = {"configurable": {"thread_id": "thread"}, "recursion_limit": 1000}


def stored(client: Client) -> int:
    return sum(len(event.raw) for event in client.session("langgraph/thread").events())


def said(client: Client) -> list[str]:
    events = client.session("langgraph/thread").events()
    return [event.value["parts"][0]["text"] for event in events if event.type == "message"]


def spoken(number: int) -> str:
    return f"{number} " + "".join(chr(97 + (number * place * 7919 + place) % 26) for place in range(1000))


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_conversation_is_stored_once(durability: Any) -> None:
    sizes: list[int] = []
    for turns in (50, 100):
        with Client("memory:") as client:
            saver = StreamSaver(client)
            state = chat(saver, turns, spoken).invoke({"messages": []}, THREAD, durability=durability)
            sizes.append(stored(client))
            payload = sum(len(saver.serde.dumps_typed(message)[1]) for message in state["messages"])
            assert sizes[-1] < 1.75 * payload
            assert sorted(said(client)) == sorted(map(spoken, range(turns)))
    assert sizes[1] < 2.1 * sizes[0]


def test_a_fresh_process_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    messages: list[AnyMessage] = []
    parent = None
    for turn in range(20):
        with client_on("disk", tmp_path) as client:
            saver = StreamSaver(client)
            if parent is not None:
                messages = values(saver)["m"]
            messages = [*messages, HumanMessage(spoken(turn), id=str(turn))]
            parent = put(saver, checkpoint({"m": messages}, m=str(turn)), parent)
            assert said(client) == [spoken(number) for number in range(turn + 1)]


def test_branches_and_other_orders_share_their_elements() -> None:
    messages = [HumanMessage(spoken(number), id=str(number)) for number in range(40)]
    with Client("memory:") as client:
        saver = StreamSaver(client)
        root = put(saver, checkpoint({"m": messages[:20]}))
        size = stored(client)
        for number, other in enumerate((messages[19::-1], messages[5:15], [*messages[:10], *messages[15:20]])):
            put(saver, checkpoint({"m": other}, id=str(number), m=str(number)), root, source="fork")
            assert values(StreamSaver(client), str(number))["m"] == other
        assert stored(client) < size + 4000


def test_a_dict_is_stored_entry_by_entry() -> None:
    with Client("memory:") as client:
        saver, files, parent = StreamSaver(client), dict[str, str](), None
        for number in range(30):
            files = {**files, f"file {number}": spoken(number)}
            parent = put(saver, checkpoint({"f": files}, f=str(number)), parent)
        files = {**files, "file 3": "other"}
        put(saver, checkpoint({"f": files}, f="last"), parent)
        assert list(values(StreamSaver(client))["f"].items()) == list(files.items())
        assert stored(client) < 2 * 30 * 1000 * 1.4


class Counting(JsonPlusSerializer):
    """How much was serialized."""

    size = 0

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        typed = super().dumps_typed(obj)
        self.size += len(typed[1])
        return typed


def test_entries_of_a_dict_that_did_not_change_are_not_serialized_again() -> None:
    files: dict[str, Any] = {f"file {number}": {"text": spoken(number)} for number in range(100)}
    with Client("memory:") as client:
        saver = StreamSaver(client, serde=Counting())
        parent = put(saver, checkpoint({"f": files}))
        counts = cast(Any, saver.serde)
        for number in range(20):
            counts.size = 0
            files = {**files, f"file {number}": {"text": "new"}}
            parent = put(saver, checkpoint({"f": files}, f=str(number)), parent)
            assert counts.size < 2000
        files["file 50"]["text"] = "changed in place"
        parent = put(saver, checkpoint({"f": files}, f="in place"), parent)
        assert values(StreamSaver(client))["f"] == files
        fresh = StreamSaver(client, serde=Counting())
        files = {**values(fresh)["f"], "one": "more"}
        cast(Any, fresh.serde).size = 0
        put(fresh, checkpoint({"f": files}, f="read"), parent)
        assert cast(Any, fresh.serde).size < 2000
        assert values(StreamSaver(client))["f"] == files


def test_callers_cannot_corrupt_the_dicts_that_others_are_given() -> None:
    files = {f"file {number}": {"lines": ["x" * 50, number]} for number in range(10)}
    with Client("memory:") as client:
        saver = StreamSaver(client)
        first = put(saver, checkpoint({"f": files}))
        put(saver, checkpoint({"f": files, "n": 1}, n="1"), first, new=["n"])
        for found in saver.list(config()):
            given = found.checkpoint["channel_values"]["f"]
            assert given == files
            given["file 3"]["lines"].append("changed")
            del given["file 4"]
        assert values(saver) == {"f": files, "n": 1}


def changeable(number: int) -> AIMessage:
    return AIMessage(f"message {number}", additional_kwargs={"deep": {"list": []}}, id=str(number))


def changed_in_place(message: Any, way: str) -> None:
    if way == "field":
        message.content = "changed"
    elif way == "inside":
        message.additional_kwargs["deep"]["list"].append("changed")
    else:
        message.extra = "changed"


WAYS = ["field", "inside", "extra"]


@pytest.mark.parametrize("place", [0, 60, 119])
@pytest.mark.parametrize("way", WAYS)
def test_what_is_changed_in_place_is_seen_anywhere(way: str, place: int) -> None:
    messages = [
        AIMessage(f"message {number}", additional_kwargs={"deep": {"list": []}}, id=str(number))
        for number in range(120)
    ]
    with Client("memory:") as client:
        saver = StreamSaver(client)
        first = put(saver, checkpoint({"m": messages}))
        before = values(StreamSaver(client))["m"]
        changed_in_place(messages[place], way)
        put(saver, checkpoint({"m": [*messages]}, m="2"), first)
        assert values(StreamSaver(client))["m"] == messages
        assert values(StreamSaver(client), first)["m"] == before != messages


def test_the_look_at_what_an_element_holds_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Element, "unchanged", lambda element, exactly: True)
    with pytest.raises(AssertionError):
        test_what_is_changed_in_place_is_seen_anywhere("inside", 60)


class Opaque(AIMessage):
    """Holds what is no plain data."""

    held: Any = None


@pytest.mark.parametrize(
    ("place", "verify", "seen"), [(119, "recent", True), (10, "full", True), (10, "recent", False)]
)
def test_what_cannot_be_looked_into_is_written_again_where_it_may_have_changed(
    place: int, verify: Any, seen: bool
) -> None:
    messages = [Opaque(content=f"message {number}", id=str(number), held=HumanMessage("in")) for number in range(120)]
    with Client("memory:") as client:
        saver = StreamSaver(client, verify=verify)
        first = put(saver, checkpoint({"m": messages}))
        messages[place].held.content = "changed"
        put(saver, checkpoint({"m": [*messages]}, m="2"), first)
        held: Any = values(StreamSaver(client))["m"][place].held
        content = held["content"] if isinstance(held, dict) else held.content
        assert (content == "changed") == seen


@pytest.mark.parametrize("way", WAYS)
def test_callers_cannot_corrupt_what_others_are_given(way: str) -> None:
    messages = [changeable(number) for number in range(5)]
    with Client("memory:") as client:
        saver = StreamSaver(client)
        first = put(saver, checkpoint({"m": messages}))
        put(saver, checkpoint({"m": messages, "n": 1}, m="1", n="1"), first)
        for found in saver.list(config()):
            given = found.checkpoint["channel_values"]["m"]
            assert given == messages
            changed_in_place(given[2], way)
            given.clear()
        assert values(saver)["m"] == messages == values(saver, first)["m"]
        third = put(saver, checkpoint({"m": messages}, m="2"), first, source="fork")
        assert values(StreamSaver(client), third)["m"] == messages


@pytest.mark.parametrize("made", [lambda: {"same": "x" * 200}, lambda: HumanMessage("x" * 200, id="1")])
def test_unchanged_elements_are_shared_between_entries_and_never_within_one(made: Callable[[], Any]) -> None:
    twice = [made(), made()]
    with Client("memory:") as client:
        saver = StreamSaver(client)
        first = put(saver, checkpoint({"m": twice}))
        second = put(saver, checkpoint({"m": twice, "n": 1}, n="1"), first, new=["n"])
        put(saver, checkpoint({"m": twice, "o": [*twice, made()], "n": 1}), second, new=["o"])
        found = [found.checkpoint["channel_values"] for found in saver.list(config())]
        assert [one["m"] for one in found] == [twice] * 3
        latest = {id(each) for each in (*found[0]["m"], *found[0]["o"])}
        assert len(latest) == 5
        assert all(one["m"][0] is not one["m"][1] for one in found)
        assert found[1]["m"][0] is found[2]["m"][0]
        assert id(found[1]["m"][0]) in latest


def test_a_large_value_that_does_not_change_is_written_once() -> None:
    with Client("memory:") as client:
        saver = StreamSaver(client)
        parent = put(saver, checkpoint({"big": spoken(1) * 50, "n": 0}))
        for number in range(30):
            parent = put(saver, checkpoint({"big": spoken(1) * 50, "n": number}, n=str(number)), parent, new=["n"])
        assert stored(client) < 80_000
        assert values(StreamSaver(client), parent)["big"] == spoken(1) * 50


def test_a_reader_of_another_kind_sees_the_conversation() -> None:
    call = {"name": "search", "args": {"q": "x"}, "id": "c1", "type": "tool_call"}
    with Client("memory:") as client:
        put(StreamSaver(client), checkpoint({"m": [HumanMessage("hi"), AIMessage("hm", tool_calls=[call])]}))
        state = client.session("langgraph/thread").state()
        assert [message["role"] for message in state.messages] == ["user", "assistant"]
        assert state.tool_calls == [{"id": "c1", "name": "search", "arguments": {"q": "x"}}]
        assert not [event for event in state.events if event.mark is not None]
