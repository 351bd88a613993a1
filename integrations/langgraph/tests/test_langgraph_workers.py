"""Two workers on one thread: the unit is a chain, the log decides, and branches made on purpose disturb nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from agentstream_langgraph._chains import Chains
from agentstream_langgraph._index import Index
from langgraph_kit import StreamSaver, chat, checkpoint, client_on, config, put, values

from agentstream import AsyncClient, Client, Fenced

Two = tuple[StreamSaver, StreamSaver]


@pytest.fixture(params=["memory", "disk"])
def two(request: Any, tmp_path: Path) -> Iterator[Two]:
    """Two savers: of one process (they share nothing but the store), or each with a client of its own."""
    with client_on("disk", tmp_path) as mine, client_on("disk", tmp_path) as theirs:
        yield StreamSaver(mine), StreamSaver(mine if request.param == "memory" else theirs)


def loaded(saver: StreamSaver, id: str | None = None) -> str | None:
    found = saver.get_tuple(config(id))
    return found.checkpoint["id"] if found is not None else None


def begun(saver: StreamSaver) -> str:
    loaded(saver)
    return put(saver, checkpoint({"a": 0}))


def test_of_two_that_go_on_from_one_checkpoint_the_second_is_fenced(two: Two) -> None:
    one, other = two
    tip = begun(one)
    assert loaded(one) == loaded(other) == tip
    won = put(one, checkpoint({"a": 1}, a="2"), tip)
    with pytest.raises(Fenced, match="taken over"):
        put(other, checkpoint({"a": 2}, a="2"), tip)
    assert put(one, checkpoint({"a": 3}, a="3"), won)
    assert values(StreamSaver(one._client)) == {"a": 3}
    assert len(list(one.list(config()))) == 3


def test_of_two_that_begin_a_thread_the_second_is_fenced(two: Two) -> None:
    one, other = two
    assert loaded(one) is None
    assert loaded(other) is None
    put(one, checkpoint({"a": 1}))
    with pytest.raises(Fenced):
        put(other, checkpoint({"a": 2}))


def test_writes_are_an_append_of_their_chain_too(two: Two) -> None:
    one, other = two
    tip = begun(one)
    assert loaded(one) == loaded(other) == tip
    put(one, checkpoint({"a": 1}, a="2"), tip)
    with pytest.raises(Fenced):
        other.put_writes(config(tip), [("x", 1)], "task")
    assert not [write for found in one.list(config()) for write in found.pending_writes or ()]


def test_a_chain_that_was_overtaken_is_fenced_and_stays_so(two: Two) -> None:
    one, other = two
    tip = begun(one)
    middle = put(one, checkpoint({"a": 1}, a="2"), tip)
    assert loaded(other) == middle
    other.put_writes(config(middle), [("x", 1)], "task")  # goes on from where `one` is, and is not done yet
    for _ in range(2):
        with pytest.raises(Fenced):
            put(one, checkpoint({"a": 2}, a="3"), middle)
    last = put(other, checkpoint({"a": 3}, a="3"), middle)
    assert loaded(one) == last
    assert put(one, checkpoint({"a": 4}, a="4"), last)  # loaded again, it goes on


def claimed(saver: StreamSaver, tip: str) -> None:
    """Takes the thread, to go on from a checkpoint that was loaded, and does not put anything yet."""
    thread = saver._thread("thread")
    said = {"tip": tip, "since": thread.chains._loaded[tip].size}
    saver._drive(thread._recorder.take(lambda log: said))


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("noticed", [False, True])
def test_looking_at_a_thread_revives_no_chain(two: Two, named: bool, noticed: bool) -> None:
    """Another worker has claimed and not put yet when somebody looks at the checkpoint that the chain here is at."""
    one, other = two
    first = begun(one)
    tip = put(one, checkpoint({"a": 1}, a="2"), first)
    assert loaded(other) == tip
    claimed(other, tip)
    if noticed:  # by what was put beside the chain
        put(one, checkpoint({"a": 9}, a="9"), first, source="update")
    assert loaded(one, tip if named else None) is not None
    with pytest.raises(Fenced):
        put(one, checkpoint({"a": 2}, a="3"), tip)
    assert loaded(one, tip) == tip
    last = put(other, checkpoint({"a": 3}, a="3"), tip)
    assert loaded(one) == last
    assert put(one, checkpoint({"a": 4}, a="4"), last)


def test_a_graph_that_begins_goes_on_from_what_it_loaded(two: Two) -> None:
    """Nobody who has only claimed keeps a thread from those who come later."""
    one, other = two
    thread: Any = {"configurable": {"thread_id": "thread"}}
    graphs = [chat(saver, 4, interrupt_before=["model"]) for saver in two]
    graphs[0].invoke({"messages": [("user", "hi")]}, thread)
    tip = ""
    for graph in graphs:
        tip = loaded(other) or ""
        claimed(other, tip)
        graph.invoke(None, thread)
    with pytest.raises(Fenced):
        put(other, checkpoint({"a": 3}, a="3"), tip)
    assert one.get_tuple(thread) is not None


def test_a_void_claim_fences_nobody(two: Two) -> None:
    """Both loaded the tip; one went on; the other claimed before it saw that, and was fenced by its own rule."""
    one, other = two
    tip = begun(one)
    assert loaded(one) == loaded(other) == tip
    won = put(one, checkpoint({"a": 1}, a="2"), tip)
    claimed(other, tip)
    assert put(one, checkpoint({"a": 2}, a="3"), won)


def test_time_travel_and_updates_are_branches_that_fence_nobody(two: Two) -> None:
    one, other = two
    tip = begun(one)
    middle = put(one, checkpoint({"a": 1}, a="2"), tip)
    assert loaded(other, tip) == tip  # by its id
    branch = put(other, checkpoint({"a": 9}, a="9"), tip)
    last = put(one, checkpoint({"a": 2}, a="3"), middle)
    further = put(other, checkpoint({"a": 10}, a="10"), branch)
    assert loaded(other) is not None
    put(other, checkpoint({"a": 11}, a="11"), tip, source="update")
    end = put(one, checkpoint({"a": 3}, a="4"), last)
    reader = StreamSaver(one._client)
    assert [values(reader, id)["a"] for id in (last, further, end)] == [2, 10, 3]


def test_an_update_beside_a_graph_at_work_is_no_chain(two: Two) -> None:
    """`update_state` writes to the checkpoint it loaded, also where the graph has gone on since."""
    one, other = two
    graph = chat(other, 3)
    tip = begun(one)
    get_tuple = other.get_tuple

    def overtaken(config: Any) -> Any:
        found = get_tuple(config)
        if found is not None and found.checkpoint["id"] == tip:
            put(one, checkpoint({"a": 1}, a="2"), tip)
        return found

    other.get_tuple = overtaken  # type: ignore[method-assign]
    graph.update_state(config(), {"messages": ["beside"]}, as_node="model")
    assert "messages" in graph.get_state(config()).values


def test_subgraphs_belong_to_the_chain_of_their_root(two: Two) -> None:
    one, other = two
    tip = begun(one)
    assert loaded(one) == loaded(other) == tip
    inner = put(one, checkpoint({"s": 1}), ns="sub:1", parents={"": tip})
    put(one, checkpoint({"a": 1}, a="2"), tip)
    one.put_writes(config(inner, ns="sub:1"), [("x", 1)], "late")
    with pytest.raises(Fenced):
        put(other, checkpoint({"s": 2}), ns="sub:2", parents={"": tip})


def test_late_writes_of_the_own_chain_are_taken(two: Two) -> None:
    one, _ = two
    tip = begun(one)
    assert loaded(one) == tip
    put(one, checkpoint({"a": 1}, a="2"), tip)
    one.put_writes(config(tip), [("x", 1)], "late")
    found = one.get_tuple(config(tip))
    assert found is not None
    assert found.pending_writes == [("late", "x", 1)]


def test_without_the_fence_both_go_on(tmp_path: Path) -> None:
    with client_on("disk", tmp_path) as mine, client_on("disk", tmp_path) as theirs:
        one, other = StreamSaver(mine, fence=False), StreamSaver(theirs, fence=False)
        tip = begun(one)
        assert loaded(one) == loaded(other) == tip
        tips = {who: put(saver, checkpoint({"a": who}, a="2" + who), tip) for who, saver in (("1", one), ("2", other))}
        for saver, who in ((one, "1"), (other, "2"), (one, "1")):
            tips[who] = put(saver, checkpoint({"a": who}, a=tips[who]), tips[who])
        assert len(list(one.list(config()))) == 6


def test_two_processes_invoke_one_graph(two: Two) -> None:
    """The history of a thread is one line, whatever was tried."""
    one, other = two
    thread: Any = {"configurable": {"thread_id": "t"}}
    graphs = [chat(saver, 3, interrupt_before=["model"]) for saver in (one, other)]
    graphs[0].invoke({"messages": [("user", "hi")]}, thread)
    graphs[1].invoke(None, thread)
    graphs[0].invoke(None, thread)
    history = [state.config["configurable"]["checkpoint_id"] for state in graphs[1].get_state_history(thread)]
    parents: list[Any] = [found.parent_config for found in one.list({"configurable": {"thread_id": "t"}})]
    assert [parent["configurable"]["checkpoint_id"] for parent in parents if parent is not None] == history[1:]


def test_a_deleted_thread_begins_anew(two: Two) -> None:
    one, other = two
    tip = begun(one)
    other.delete_thread("thread")
    with pytest.raises(Fenced, match="deleted"):
        put(one, checkpoint({"a": 1}, a="2"), tip)
    assert loaded(one) is None
    again = begun(one)
    assert loaded(other) == again


def test_a_loop_is_not_stopped_by_its_own_appends(tmp_path: Path) -> None:
    """Sync calls in the loop's own thread while async ones are in flight, the claim's included."""

    async def all_at_once(saver: StreamSaver) -> None:
        made = [checkpoint(id=str(number)) for number in range(10, 40)]
        told: Any = {"source": "update", "step": 1, "parents": {}}
        tasks = [asyncio.ensure_future(saver.aput(config(), one, told, {})) for one in made]
        await asyncio.sleep(0)
        for one in made:
            saver.put_writes(config(one["id"]), [("x", 1)], "sync")
            assert saver.get_tuple(config("none")) is None
        await asyncio.gather(*tasks)

    with client_on("disk", tmp_path) as client:
        saver = StreamSaver(client)
        asyncio.run(asyncio.wait_for(all_at_once(saver), 60))
        assert len([found for found in saver.list(config()) if found.pending_writes]) == 30


def test_it_is_the_fence_that_stops_the_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Chains, "judge", lambda chains, built, index: {"branch": True})
    with client_on("disk", tmp_path) as mine, client_on("disk", tmp_path) as theirs:
        for rule in (
            test_of_two_that_go_on_from_one_checkpoint_the_second_is_fenced,
            test_of_two_that_begin_a_thread_the_second_is_fenced,
            test_writes_are_an_append_of_their_chain_too,
        ):
            with pytest.raises((AssertionError, pytest.fail.Exception)):
                rule((StreamSaver(mine, prefix=rule.__name__), StreamSaver(theirs, prefix=rule.__name__)))


def test_both_clients_are_taken_in_both_ways() -> None:
    async def both() -> None:
        async with AsyncClient("memory:") as client:
            saver = StreamSaver(client)
            put(saver, checkpoint({"a": 1}))
            assert await saver.aget_tuple(config()) == saver.get_tuple(config())

    asyncio.run(both())
    wrong: Any = "memory:"
    with pytest.raises(TypeError, match="takes a Client"):
        StreamSaver(wrong)
    with Client("memory:") as client:
        with pytest.raises(ValueError, match="prefix"):
            StreamSaver(client, prefix="")
        with pytest.raises(ValueError, match="verify"):
            StreamSaver(client, verify=wrong)


@pytest.mark.parametrize("thread", ["plain", "", ".", "..", "a/b", "100%", "%", "~x", "ü 🙂", "new\nline", "2E"])
def test_any_text_names_a_thread(thread: str) -> None:
    with Client("memory:") as client:
        saver = StreamSaver(client)
        for name in (thread, "other"):
            told: Any = {"source": "loop", "step": 0, "parents": {}}
            saver.put(config(thread=name), checkpoint({"a": name}), told, {"a": "1"})
        named: Any = {found.config.get("configurable", {})["thread_id"] for found in saver.list(None)}
        assert named == {thread, "other"}
        saver.delete_thread("other")
        assert [found.checkpoint["channel_values"]["a"] for found in saver.list(None)] == [thread]


def test_readers_and_writers_of_one_thread_at_once(tmp_path: Path) -> None:
    """What a log grows by while it is folded is folded the next time; an older reading changes nothing."""
    with client_on("disk", tmp_path) as client:
        saver = StreamSaver(client)
        put(saver, checkpoint({"a": 0}, id="000"))

        def work(name: int) -> None:
            for number in range(25):
                ns = f"sub:{name}"
                id = put(saver, checkpoint({"a": number}, id=f"{number:03}"), ns=ns, parents={"": "000"})
                assert values(saver, ns=ns) == {"a": number}
                saver.put_writes(config(id, ns=ns), [("x", number)], "task")
                found = saver.get_tuple(config(id, ns=ns))
                assert found is not None
                assert found.pending_writes == [("task", "x", number)]

        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(work, name) for name in range(4)]:
                done.result()


def test_an_older_reading_of_the_log_changes_nothing() -> None:
    with Client("memory:") as client:
        saver = StreamSaver(client)
        put(saver, checkpoint({"a": 1}, id="1"))
        thread = saver._thread("thread")
        old: Any = saver._drive(client._core.open("langgraph/thread"))
        put(saver, checkpoint({"a": 2}, id="2"), "1")
        assert values(saver) == {"a": 2}
        hold, size = thread._recorder.hold, thread.index.size
        thread._add(old)
        assert (thread._recorder.hold, thread.index.size) == (hold, size)
        grown: Any = saver._drive(client._core.open("langgraph/thread"))

        class Growing(list[Any]):
            """A log that somebody else reads on in, in the middle of being looked at."""

            def __getitem__(self, part: Any) -> Any:
                found = list.__getitem__(self, part)
                while len(self) < len(grown.events):
                    self.append(grown.events[len(self)])
                return found

        other = Index()
        other.add(old)
        log = SimpleNamespace(incarnation=old.incarnation, events=Growing(old.events), size=len(old.events))
        other.add(log)
        other.add(log)
        assert other.find("", None) == thread.index.find("", None)
