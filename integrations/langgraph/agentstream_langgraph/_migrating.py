"""`migrate`: threads from one saver to another, history and pending writes included.

What is done is a generator of calls, which a sync and an async shell make: the savers' own
interface is all that is used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable
from typing import Any, NamedTuple

from agentstream import AgentStreamError

Progress = Callable[[int, int, str], object]
"""Told of each thread when it is done: how many are, of how many, and its id."""

Ask = tuple[bool, str, tuple[Any, ...]]
"""A call to make: whether of the target, the method, its arguments. `list` is answered with a list of `_Place`s."""


class Migrated(NamedTuple):
    """What a migration has done. `present` threads were whole in the target before."""

    threads: int
    present: int
    checkpoints: int
    writes: int


class _Place(NamedTuple):
    """A checkpoint, without what it holds."""

    thread: str
    ns: str
    id: str
    parent: str | None
    versions: dict[str, Any]


def migrate(
    from_saver: Any, to_saver: Any, *, threads: Iterable[str] | None = None, progress: bool | Progress = True
) -> Migrated:
    """Copies threads (all of them, or the ones named), each checkpoint under its own id, and compares what the target
    then gives with what the source does.

    A migration that was broken off goes on when it is called again. `progress` shows a bar on a terminal, or is told.
    Nobody should be at work in the threads meanwhile. Raises AgentStreamError where a thread of the target has
    checkpoints that the source has not, or where what comes back differs; it names thread and checkpoint.
    """
    steps = _migrating(_teller(progress), threads)
    answer: Any = None
    while True:
        try:
            of_target, method, arguments = steps.send(answer)
        except StopIteration as stop:
            return stop.value
        answer = getattr(to_saver if of_target else from_saver, method)(*arguments)
        if method == "list":
            answer = [_place(found) for found in answer]


async def amigrate(
    from_saver: Any, to_saver: Any, *, threads: Iterable[str] | None = None, progress: bool | Progress = True
) -> Migrated:
    """As `migrate`, by the savers' async methods."""
    steps = _migrating(_teller(progress), threads)
    answer: Any = None
    while True:
        try:
            of_target, method, arguments = steps.send(answer)
        except StopIteration as stop:
            return stop.value
        called = getattr(to_saver if of_target else from_saver, f"a{method}")(*arguments)
        answer = [_place(found) async for found in called] if method == "list" else await called


def _migrating(tell: Progress, threads: Iterable[str] | None) -> Generator[Ask, Any, Migrated]:
    by_thread: dict[str, list[_Place]] = {}
    if threads is None:
        for place in (yield False, "list", (None,)):
            by_thread.setdefault(place.thread, []).append(place)
    else:
        for thread in dict.fromkeys(map(str, threads)):
            by_thread[thread] = yield False, "list", (_named(thread),)
    done = Migrated(len(by_thread), 0, 0, 0)
    for number, (thread, places) in enumerate(by_thread.items(), 1):
        done = yield from _thread(thread, places, done)
        tell(number, len(by_thread), thread)
    return done


def _thread(thread: str, places: list[_Place], done: Migrated) -> Generator[Ask, Any, Migrated]:
    there = {(place.ns, place.id) for place in (yield True, "list", (_named(thread),))}
    strange = there - {(place.ns, place.id) for place in places}
    if strange:
        raise AgentStreamError(
            f"thread {thread!r} of the target has a checkpoint that the source has not, {min(strange)[1]}: "
            "it has a life of its own. Delete it there, or leave it out (threads=[…])"
        )
    if len(there) == len(places):
        return done._replace(present=done.present + 1)
    versions = {(place.ns, place.id): place.versions for place in places}
    for place in sorted(places, key=lambda place: place.id):
        source = yield False, "get_tuple", (_named(thread, place.ns, place.id),)
        writes = _by_task(source.pending_writes or ())
        if (place.ns, place.id) not in there:
            before = versions.get((place.ns, place.parent or ""), {})
            new = {name: version for name, version in place.versions.items() if before.get(name) != version}
            above = _named(thread, place.ns, place.parent)
            yield True, "put", (above, source.checkpoint, source.metadata, new)
            done = done._replace(checkpoints=done.checkpoints + 1)
        for order, (task, written) in enumerate(writes.items()):
            # of its path only the place among the others is known
            yield True, "put_writes", (_named(thread, place.ns, place.id), written, task, f"{order:010}")
            done = done._replace(writes=done.writes + len(written))
        target = yield True, "get_tuple", (_named(thread, place.ns, place.id),)
        _compare(thread, place, source, target)
    return done


def _by_task(writes: Iterable[tuple[str, str, Any]]) -> dict[str, list[tuple[str, Any]]]:
    found: dict[str, list[tuple[str, Any]]] = {}
    for task, channel, value in writes:
        found.setdefault(task, []).append((channel, value))
    return found


def _compare(thread: str, place: _Place, source: Any, target: Any) -> None:
    for what, mine, theirs in (
        ("values", source.checkpoint["channel_values"], target and target.checkpoint["channel_values"]),
        ("versions", source.checkpoint["channel_versions"], target and target.checkpoint["channel_versions"]),
        ("parent", place.parent, target and _place(target).parent),
        ("writes", _by_task(source.pending_writes or ()), target and _by_task(target.pending_writes or ())),
    ):
        if not _same(mine, theirs):
            raise AgentStreamError(
                f"thread {thread!r}: the {what} of checkpoint {place.id} are not in the target what they are in the "
                f"source: {str(theirs)[:200]} for {str(mine)[:200]}"
            )


def _same(mine: Any, theirs: Any) -> bool:
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    try:
        if mine == theirs:
            return True
    except (TypeError, ValueError):  # arrays, which say of each element whether it is equal
        pass
    dumps = JsonPlusSerializer().dumps_typed
    return dumps(mine) == dumps(theirs)


def _place(found: Any) -> _Place:
    named, above = found.config["configurable"], (found.parent_config or {}).get("configurable") or {}
    ns = named.get("checkpoint_ns") or ""
    versions = dict(found.checkpoint["channel_versions"])
    return _Place(str(named["thread_id"]), ns, named["checkpoint_id"], above.get("checkpoint_id"), versions)


def _named(thread: str, ns: str | None = None, id: str | None = None) -> Any:
    named = {"thread_id": thread, "checkpoint_ns": ns, "checkpoint_id": id}
    return {"configurable": {name: value for name, value in named.items() if value is not None}}


def _teller(progress: bool | Progress) -> Progress:
    if not isinstance(progress, bool):
        return progress
    return _bar if progress and sys.stderr.isatty() else lambda done, whole, thread: None


def _bar(done: int, whole: int, thread: str) -> None:
    filled = 40 * done // whole
    end = "\n" if done == whole else ""
    sys.stderr.write(f"\r[{'#' * filled}{'.' * (40 - filled)}] {done}/{whole} threads{end}")
    sys.stderr.flush()
