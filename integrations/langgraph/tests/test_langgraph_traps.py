"""What the conformance suite does not see: each rule is a check, and each way to break it fails its check."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agentstream_langgraph import _index, _records, _steps
from agentstream_langgraph._index import Index
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME
from langgraph_kit import StreamSaver, chat, checkpoint, client_on, config, put, values
from stores import ALL, NAMES

from agentstream import Client


def metadata_is_merged(saver: Any) -> None:
    given = {**config(None, user="ann", langgraph_step=3, __secret="no"), "metadata": {"tag": "a\x00b"}}
    saver.put(given, checkpoint(), {"source": "input", "step": -1, "parents": {}, "note": "c\x00d"}, {})
    found = saver.get_tuple(config())
    assert found is not None
    assert found.metadata == {
        "source": "input",
        "step": -1,
        "parents": {},
        "note": "cd",
        "tag": "ab",
        "user": "ann",
    }


def the_config_names_the_checkpoint(saver: Any) -> None:
    made = put(saver, checkpoint())
    found = saver.get_tuple({"configurable": {"thread_id": "thread"}})
    assert found is not None
    assert found.config["configurable"] == {"thread_id": "thread", "checkpoint_ns": "", "checkpoint_id": made}


def writes_may_come_first(saver: Any) -> None:
    made = checkpoint()
    saver.put_writes(config(made["id"]), [("x", 1)], "task")
    put(saver, made)
    found = saver.get_tuple(config())
    assert found is not None
    assert found.pending_writes == [("task", "x", 1)]


def writes_are_sorted(saver: Any) -> None:
    made = put(saver, checkpoint())
    saver.put_writes(config(made), [("x", "second"), ("x", "third")], "a", "~2")
    saver.put_writes(config(made), [("x", "first")], "b", "~1")
    found = saver.get_tuple(config())
    assert found is not None
    assert [value for _, _, value in found.pending_writes or ()] == ["first", "second", "third"]


def the_first_write_of_a_place_counts(saver: Any) -> None:
    made = put(saver, checkpoint())
    saver.put_writes(config(made), [("x", "kept")], "task")
    saver.put_writes(config(made), [("x", "again"), ("y", "more")], "task")
    found = saver.get_tuple(config())
    assert found is not None
    assert found.pending_writes == [("task", "x", "kept"), ("task", "y", "more")]


def the_last_special_write_counts(saver: Any) -> None:
    made = put(saver, checkpoint())
    saver.put_writes(config(made), [(RESUME, ["A1"]), ("x", 1)], "task")
    saver.put_writes(config(made), [(RESUME, ["A1", "A2"]), ("x", 2)], "task")
    saver.put_writes(config(made), [(INTERRUPT, "ask"), (ERROR, "boom")], "task")
    found = saver.get_tuple(config())
    assert found is not None
    held = {channel: value for _, channel, value in found.pending_writes or ()}
    assert len(found.pending_writes or ()) == 4
    assert held == {RESUME: ["A1", "A2"], INTERRUPT: "ask", ERROR: "boom", "x": 1}


def versions_are_never_the_same_twice(saver: Any) -> None:
    first = saver.get_next_version(None, None)
    one, other = (saver.get_next_version(first, None) for _ in range(2))
    assert first < one
    assert first < other
    assert one != other
    ten = saver.get_next_version("9", None)
    assert ten < saver.get_next_version(ten, None)


def unchanged_channels_keep_their_value(saver: Any) -> None:
    first = put(saver, checkpoint({"a": "old", "b": 1}))
    second = put(saver, checkpoint({"a": "old", "b": 2}, b="2"), first, new=["b"])
    third = put(saver, checkpoint({"a": "old"}, b="3"), second, new=["b"])
    assert values(saver, second) == {"a": "old", "b": 2}
    assert values(saver, third) == {"a": "old"}
    other = StreamSaver(saver._client)
    assert values(other, second) == {"a": "old", "b": 2}
    assert values(other, third) == {"a": "old"}


def branches_with_equal_versions_are_apart(saver: Any) -> None:
    root = put(saver, checkpoint({"a": "root"}, a=1))
    left = put(saver, checkpoint({"a": "left"}, a=2), root)
    right = put(saver, checkpoint({"a": "right"}, a=2), root)
    below = put(saver, checkpoint({"a": "left", "b": 1}, a=2, b=1), left, new=["b"])
    assert saver.get_tuple(config(left)) is not None
    assert [values(StreamSaver(saver._client), id)["a"] for id in (left, right, below)] == ["left", "right", "left"]


def the_latest_has_the_highest_id(saver: Any) -> None:
    put(saver, checkpoint({"a": "new"}, id="2"))
    put(saver, checkpoint({"a": "old"}, id="1"))
    assert values(saver) == {"a": "new"}


def the_last_put_of_an_id_counts(saver: Any) -> None:
    put(saver, checkpoint({"a": 1}, id="1"))
    put(saver, checkpoint({"a": 2}, id="1"))
    assert values(saver) == {"a": 2}


def no_namespace_lists_all_and_an_empty_one_the_root(saver: Any) -> None:
    root = put(saver, checkpoint(id="1"))
    put(saver, checkpoint(id="2"), ns="sub:1", parents={"": root})
    assert [found.checkpoint["id"] for found in saver.list(config(ns=None))] == ["2", "1"]
    assert [found.checkpoint["id"] for found in saver.list(config(ns=""))] == ["1"]
    assert [found.checkpoint["id"] for found in saver.list(config(ns="sub:1"))] == ["2"]


def before_leaves_its_own_out(saver: Any) -> None:
    for id in "123":
        put(saver, checkpoint(id=id))
    assert [found.checkpoint["id"] for found in saver.list(config(), before=config("3"), limit=1)] == ["2"]


def a_thread_is_named_by_its_text(saver: Any) -> None:
    saver.put(config(thread=7), checkpoint({"a": 1}), {"source": "loop", "step": 0, "parents": {}}, {"a": "1"})
    assert saver.get_tuple(config(thread="7")) is not None


def _delta(saver: Any) -> tuple[str, Any]:
    """A fork: 9 → 5 (not in the order of ids), and 9 → 7; the channel's seed is at 9."""
    root = put(saver, checkpoint({"d": ["seed"]}, id="9"))
    saver.put_writes(config(root), [("d", "b")], "a", "~2")
    saver.put_writes(config(root), [("d", "a")], "b", "~1")
    other = put(saver, checkpoint(id="7", d="2"), root, source="fork")
    saver.put_writes(config(other), [("d", "other")], "t")
    middle = put(saver, checkpoint(id="5", d="2"), root)
    saver.put_writes(config(middle), [("d", "c")], "t")
    last = put(saver, checkpoint(id="6", d="3"), middle)
    saver.put_writes(config(last), [("d", "not yet")], "t")
    history = saver.get_delta_channel_history(config=config(last), channels=["d", "none"])
    return last, history


def delta_history_follows_the_parents(saver: Any) -> None:
    last, history = _delta(saver)
    assert [value for _, _, value in history["d"]["writes"]] == ["a", "b", "c"]
    assert history["d"].get("seed") == ["seed"]
    assert history["none"] == {"writes": []}
    assert asyncio.run(saver.aget_delta_channel_history(config=config(last), channels=["d", "none"])) == history
    whole = BaseCheckpointSaver.get_delta_channel_history(saver, config=config(last), channels=["d", "none"])
    assert whole == history


def pruning_keeps_what_delta_channels_are_made_of(saver: Any) -> None:
    last, history = _delta(saver)
    saver.delete_for_runs(["nobody"])
    for old in ("5", "7"):
        saver._drive(
            saver._forget(saver._thread("thread"), [saver._thread("thread").index.checkpoints["", old]], False)
        )
    assert saver.get_tuple(config("5")) is None
    assert saver.get_delta_channel_history(config=config(last), channels=["d", "none"]) == history


def what_is_put_is_copied(saver: Any) -> None:
    made, metadata = checkpoint({"a": {"x": [1, 2]}, "b": [{"long": "x" * 300}, {}]}), {"source": "loop", "step": 1}
    saver.put(config(), made, metadata, made["channel_versions"])  # type: ignore[arg-type]
    made["channel_values"]["a"]["x"].append(3)
    made["channel_versions"]["a"] = "9"
    metadata["step"] = 99
    given = saver.get_tuple(config())
    assert given is not None
    given.checkpoint["channel_values"]["b"][1]["changed"] = True
    given.checkpoint["channel_versions"]["a"] = "8"
    found = saver.get_tuple(config())
    assert found is not None
    assert found.checkpoint["channel_values"] == {"a": {"x": [1, 2]}, "b": [{"long": "x" * 300}, {}]}
    assert found.checkpoint["channel_versions"]["a"] == "1"
    assert found.metadata["step"] == 1


def other_methods_may_be_called_while_listing(saver: Any) -> None:
    for id in "123":
        put(saver, checkpoint({"a": id}, id=id))

    async def both() -> None:
        async for found in saver.alist(config()):
            assert await saver.aget_tuple(found.config) == saver.get_tuple(found.config) == found
            await saver.aput_writes(found.config, [("x", 1)], "task")
            saver.put_writes(found.config, [("x", 1)], "other")

    asyncio.run(both())
    for found in saver.list(config()):
        assert saver.get_tuple(found.config) == found


def a_task_is_not_run_again_when_it_resumes(saver: Any) -> None:
    graph = chat(saver, 3, interrupt_before=["model"])
    thread = {"configurable": {"thread_id": "c"}}
    graph.invoke({"messages": [("user", "hi")]}, thread)
    for _ in range(3):
        graph.invoke(None, thread)
    assert [message.content for message in graph.get_state(thread).values["messages"]] == ["hi", "1", "2"]
    assert graph.get_state(thread).next == ()


Check = Callable[[Any], None]
CHECKS: list[Check] = [
    metadata_is_merged,
    the_config_names_the_checkpoint,
    writes_may_come_first,
    writes_are_sorted,
    the_first_write_of_a_place_counts,
    the_last_special_write_counts,
    versions_are_never_the_same_twice,
    unchanged_channels_keep_their_value,
    branches_with_equal_versions_are_apart,
    the_latest_has_the_highest_id,
    the_last_put_of_an_id_counts,
    no_namespace_lists_all_and_an_empty_one_the_root,
    before_leaves_its_own_out,
    a_thread_is_named_by_its_text,
    delta_history_follows_the_parents,
    pruning_keeps_what_delta_channels_are_made_of,
    what_is_put_is_copied,
    other_methods_may_be_called_while_listing,
    a_task_is_not_run_again_when_it_resumes,
]


@pytest.mark.parametrize("store", NAMES if ALL else ["memory", "server"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_rule_is_kept(check: Check, store: str, tmp_path: Path) -> None:
    with client_on(store, tmp_path) as client:
        check(StreamSaver(client))


# --- savers that are wrong in one thing -------------------------------------------------------------------------------

_checkpoint, _write, _forms, _find = Index._checkpoint, Index._write, Index._forms, Index.find


def _clears_writes(self: Index, event: Any) -> None:
    _checkpoint(self, event)
    for place in [place for place in self.writes if place[1] == event.key.partition("#")[0]]:
        del self.writes[place]


def _drops_early_writes(self: Index, event: Any) -> None:
    before = {place: dict(held) for place, held in self.writes.items()}
    _write(self, event)
    for place in set(self.writes) - set(self.checkpoints):
        self.writes[place] = before.get(place, {})


def _keeps_the_first(self: Index, event: Any) -> None:
    before = {place: dict(held) for place, held in self.writes.items()}
    _write(self, event)
    for place, held in before.items():
        self.writes[place].update(held)


def _keeps_the_last(self: Index, event: Any) -> None:
    before = {place: dict(held) for place, held in self.writes.items()}
    self.writes.clear()
    _write(self, event)
    for place, held in before.items():
        self.writes[place] = {**held, **self.writes.get(place, {})}


def _keeps_all(self: Index, event: Any) -> None:
    before = {place: dict(held) for place, held in self.writes.items()}
    self.writes.clear()
    _write(self, event)
    for place, held in [*self.writes.items()]:
        self.writes[place] = {(task, 1000 * event.index + number): write for (task, number), write in held.items()}
    for place, held in before.items():
        self.writes[place] = {**held, **self.writes.get(place, {})}


def _only_own(self: Index, ns: str, parent: Any, versions: Any, own: Any, gone: Any) -> Any:
    return dict(own)


def _by_version(self: Index, ns: str, parent: Any, versions: Any, own: Any, gone: Any) -> Any:
    for channel, form in own.items():
        self._values[ns, channel, versions.get(channel)] = form
    found = {channel: self._values.get((ns, channel, version)) for channel, version in versions.items()}
    return {channel: form for channel, form in found.items() if form is not None}


def _never_gone(self: Index, ns: str, parent: Any, versions: Any, own: Any, gone: Any) -> Any:
    above = self.checkpoints.get((ns, parent))
    return {**(above.forms if above is not None else {}), **own}


def _last_appended(self: Index, ns: str, id: Any) -> Any:
    here = self.by_ns.get(ns) or {}
    return _find(self, ns, id) if id is not None else (list(here.values())[-1] if here else None)


def _by_id(self: Index, stored: Any) -> Any:
    return sorted((one for one in self.by_ns[""].values() if one.id < stored.id), key=lambda one: one.id, reverse=True)


def _alive_ancestors(self: Index, stored: Any) -> Any:
    found: list[Any] = []
    while stored.parent is not None and stored.parent in self.by_ns[stored.ns]:
        stored = self.by_ns[stored.ns][stored.parent]
        found.append(stored)
    return found


MUTANTS: dict[str, tuple[Check, Any, str, Any]] = {
    "merges no metadata": (metadata_is_merged, _steps, "get_checkpoint_metadata", lambda config, metadata: metadata),
    "answers without an id": (
        the_config_names_the_checkpoint,
        _steps,
        "_config",
        lambda thread, ns, id: {"configurable": {"thread_id": thread, "checkpoint_ns": ns}},
    ),
    "clears writes in put": (writes_may_come_first, _index._READERS, "checkpoint", _clears_writes),
    "drops early writes": (writes_may_come_first, _index._READERS, "write", _drops_early_writes),
    "sorts by task": (writes_are_sorted, _index, "_order", lambda write: write.order[1:]),
    "does not sort": (writes_are_sorted, _index, "_order", lambda write: 0),
    "last regular write": (the_first_write_of_a_place_counts, _index._READERS, "write", _keeps_the_last),
    "first special write": (the_last_special_write_counts, _index._READERS, "write", _keeps_the_first),
    "no dedupe": (the_first_write_of_a_place_counts, _index._READERS, "write", _keeps_all),
    "special by place": (the_last_special_write_counts, _records, "WRITES_IDX_MAP", {}),
    "int versions": (
        versions_are_never_the_same_twice,
        StreamSaver,
        "get_next_version",
        BaseCheckpointSaver.get_next_version,
    ),
    "only changed channels": (unchanged_channels_keep_their_value, Index, "_forms", _only_own),
    "nothing is consumed": (unchanged_channels_keep_their_value, Index, "_forms", _never_gone),
    "values by version": (branches_with_equal_versions_are_apart, Index, "_forms", _by_version),
    "last appended": (the_latest_has_the_highest_id, Index, "find", _last_appended),
    "delta by id": (delta_history_follows_the_parents, Index, "ancestors", _by_id),
    "delta unsorted": (delta_history_follows_the_parents, _index, "_order", lambda write: write.order[1:]),
    "pruned for good": (pruning_keeps_what_delta_channels_are_made_of, Index, "ancestors", _alive_ancestors),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_saver_that_breaks_the_rule_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check, target, attribute, wrong = MUTANTS[name]
    if isinstance(target, dict):
        monkeypatch.setitem(target, attribute, wrong)
    else:
        monkeypatch.setattr(target, attribute, wrong)
    with Client("memory:") as client, pytest.raises((AssertionError, KeyError, ValueError, TypeError)):
        check(StreamSaver(client))
