"""What the conformance suite does not see: each rule is a check, and each way to break it fails its check."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agentstream_langgraph import _index, _records, _steps
from agentstream_langgraph._index import Index
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.types import INTERRUPT
from langgraph_checks import (
    CHECKS,
    Check,
    a_crash_before_the_next_checkpoint_is_gone_on_from,
    a_task_is_not_run_again_when_it_resumes,
    a_thread_is_named_by_its_text,
    an_addressed_run_sees_whether_the_thread_moved_on,
    before_leaves_its_own_out,
    branches_with_equal_versions_are_apart,
    delta_history_follows_the_parents,
    metadata_is_merged,
    no_namespace_lists_all_and_an_empty_one_the_root,
    other_methods_may_be_called_while_listing,
    pruning_keeps_what_delta_channels_are_made_of,
    the_config_names_the_checkpoint,
    the_first_write_of_a_place_counts,
    the_last_put_of_an_id_counts,
    the_last_special_write_counts,
    the_latest_has_the_highest_id,
    the_same_run_goes_on,
    unchanged_channels_keep_their_value,
    versions_are_never_the_same_twice,
    what_is_put_is_copied,
    writes_are_sorted,
    writes_may_come_first,
)
from langgraph_kit import StreamSaver, client_on
from stores import ALL, NAMES

from agentstream import Client


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


def _keeps_the_first_put(self: Index, event: Any) -> None:
    before = dict(self.checkpoints)
    _checkpoint(self, event)
    for place, stored in before.items():
        self.checkpoints[place] = self.by_ns[place[0]][place[1]] = stored


_put, _put_writes, _get_tuple, _list = (
    StreamSaver.put,
    StreamSaver.put_writes,
    StreamSaver.get_tuple,
    StreamSaver.list,
)
_addressed_as, _checkpoint_of = _steps._addressed, _records.checkpoint_of


def _lists_with(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    return lambda self, given, **more: _list(self, {"configurable": change(given["configurable"])}, **more)


def _before(change: Callable[[str], str]) -> Any:
    def listed(self: Any, given: Any, *, before: Any = None, **more: Any) -> Any:
        id = before["configurable"]["checkpoint_id"]
        return _list(self, given, before={"configurable": {"checkpoint_id": change(id)}}, **more)

    return listed


def _puts_later(self: Any, *given: Any) -> Any:
    """Keeps references, and stores what they are when somebody asks."""
    self.get_tuple = lambda config: (_put(self, *given), _get_tuple(self, config))[1]


def _gives_its_own() -> Any:
    held: dict[Any, Any] = {}

    def given(stored: Any, decoder: Any, loads: Any) -> Any:
        return held.setdefault(stored.id, _checkpoint_of(stored, decoder, loads))

    return given


_LOCK = threading.Lock()
"""What a saver holds that hangs; here it says so."""


def _locks(self: Any, config: Any) -> Any:
    assert not _LOCK.locked(), "it hangs"
    return _get_tuple(self, config)


def _locks_list(self: Any, *given: Any, **more: Any) -> Any:
    with _LOCK:
        yield from _list(self, *given, **more)


def _never_latest(self: Any, config: Any) -> Any:
    """What is asked for without an id is what was asked for with one."""
    named = config["configurable"].get("checkpoint_id")
    self.named = named or getattr(self, "named", None)
    return _get_tuple(
        self,
        config
        if named or not self.named
        else {"configurable": {**config["configurable"], "checkpoint_id": self.named}},
    )


def _regular_writes_only(self: Any, config: Any, writes: Any, *task: Any) -> None:
    _put_writes(self, config, [write for write in writes if write[0] == INTERRUPT], *task)


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
    "first put of an id": (the_last_put_of_an_id_counts, _index._READERS, "checkpoint", _keeps_the_first_put),
    "lists the root only": (
        no_namespace_lists_all_and_an_empty_one_the_root,
        StreamSaver,
        "list",
        _lists_with(lambda named: {"checkpoint_ns": "", **named}),
    ),
    "an empty namespace is none": (
        no_namespace_lists_all_and_an_empty_one_the_root,
        StreamSaver,
        "list",
        _lists_with(lambda named: {name: part for name, part in named.items() if part}),
    ),
    "before and its own": (before_leaves_its_own_out, StreamSaver, "list", _before(lambda id: f"{id}~")),
    "before is after": (before_leaves_its_own_out, StreamSaver, "list", _before(lambda id: "")),
    "threads of any kind": (
        a_thread_is_named_by_its_text,
        _steps,
        "_addressed",
        lambda config: (repr(config["configurable"]["thread_id"]), *_addressed_as(config)[1:]),
    ),
    "keeps what is put": (what_is_put_is_copied, StreamSaver, "put", _puts_later),
    "gives what it keeps": (what_is_put_is_copied, _steps, "checkpoint_of", _gives_its_own()),
    "a lock while listing": (other_methods_may_be_called_while_listing, StreamSaver, "list", _locks_list),
    "runs what was consumed": (a_task_is_not_run_again_when_it_resumes, Index, "_forms", _never_gone),
    "never superseded": (an_addressed_run_sees_whether_the_thread_moved_on, StreamSaver, "get_tuple", _never_latest),
    "no run's metadata": (the_same_run_goes_on, _steps, "get_checkpoint_metadata", lambda config, metadata: metadata),
    "results later": (
        a_crash_before_the_next_checkpoint_is_gone_on_from,
        StreamSaver,
        "put_writes",
        _regular_writes_only,
    ),
    "pruned for good": (pruning_keeps_what_delta_channels_are_made_of, Index, "ancestors", _alive_ancestors),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_saver_that_breaks_the_rule_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check, target, attribute, wrong = MUTANTS[name]
    if isinstance(target, dict):
        monkeypatch.setitem(target, attribute, wrong)
    else:
        monkeypatch.setattr(target, attribute, wrong)
    if name == "a lock while listing":
        monkeypatch.setattr(StreamSaver, "get_tuple", _locks)
    with Client("memory:") as client, pytest.raises((AssertionError, KeyError, ValueError, TypeError)):
        check(StreamSaver(client))
