"""Parents and children: sessions that the run of another session began.

A child names its parent in its birth; the parent has the call among its steps. So each is
found from the other, and the whole tree by reading sessions, never by listing them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.errors import NotFound, SessionExists
from agentstream.sessions import moments
from agentstream.sessions.claims import under_claim
from agentstream.sessions.events import run_key
from agentstream.sessions.forking import fork
from agentstream.sessions.log import missing
from agentstream.sessions.questions import questions_of
from agentstream.sessions.reading import state as read_state
from agentstream.sessions.state import State, fold
from agentstream.sessions.steps import Run
from agentstream.sessions.waits import Waits, has_come, waits_of
from agentstream.sessions.writing import create

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core
    from agentstream.sessions.steps import Step

SPAWN = "spawn"
"""The kind of the step that begins a child."""

DEEPEST = 64
"""Children of children that are followed, at most: a guard against births that name each other."""


class Parent(msgspec.Struct, frozen=True):
    """What a child's birth says: the session, incarnation, run and step that began it.

    `key` is that step's alone (equal across its attempts, another one after a rewind or in a
    fork), and the id of the child's run.
    """

    session: str
    incarnation: str
    run: str
    step: str
    key: str

    def told(self) -> dict[str, Any]:
        """The field of the birth."""
        return {"parent": msgspec.to_builtins(self)}


class Spawned(msgspec.Struct, frozen=True):
    """A child as its parent's step tells it: the session, its run, and the recorded call."""

    session: str
    run: str
    caller: str
    step: str
    agent: str
    arguments: Any
    fingerprint: str
    typed: bool = False


class Node(msgspec.Struct, frozen=True):
    """One session of a tree. `status` is its run's, None where that has not begun or the session is gone."""

    id: str
    status: str | None
    agent: str | None
    children: tuple[Node, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def walk(self) -> Iterator[Node]:
        """This node and all below it."""
        yield self
        for child in self.children:
            yield from child.walk()

    def _lines(self, indent: str = "") -> Iterator[str]:
        yield f"{indent}{self.id}  {self.status or 'not begun'}" + (f"  {self.agent}" if self.agent else "")
        for child in self.children:
            yield from child._lines(indent + "  ")


# --- who belongs to whom ---------------------------------------------------------------------------------------------


def parent_of(state: State) -> Parent | None:
    """Who began the session; None for one that nobody spawned (a fork of a child is none's child)."""
    births = state._births
    told = state.events[births[-1][0]].value.get("parent") if births else None
    try:
        return msgspec.convert(told, Parent) if told is not None else None
    except msgspec.ValidationError:
        return None


def spawned_by(state: State) -> list[Spawned]:
    """The children that this session itself began, in order; those of what it shares with a source are the source's."""
    found = (spawned_in(step) for step in state.steps if step.kind == SPAWN)
    own = (child for child in found if child is not None)
    return [child for child in own if (event := state.find("outcome", child.step)) and event.index >= state.inherited]


def spawned_in(step: Step) -> Spawned | None:
    """The child that a step began; None where it did not come to that."""
    told, input = step.result, step.encoded_input
    if step.kind != SPAWN or step.status != "finished" or not isinstance(told, dict) or not isinstance(input, dict):
        return None
    session, run = told.get("session"), told.get("run")
    if not isinstance(session, str) or not isinstance(run, str):
        return None
    fingerprint, typed = told.get("fingerprint"), told.get("typed") is True
    return Spawned(session, run, step.run, step.key, step.name, input.get("arguments"), str(fingerprint), typed)


def call_of(core: Core, parent: Parent) -> Steps[Spawned | None]:
    """How a child was called, as its parent's record says; None if that is gone or does not say so."""
    log = yield from core.refresh(parent.session)
    if log is None or (state := fold(log)).first_life != parent.incarnation:
        return None
    return next((child for child in spawned_by(state) if child.run == parent.key), None)


def own_runs(state: State) -> list[Run]:
    """The runs of a session itself: a child that shares its parent's history leaves the parent's to it."""
    return _own(state, state.runs.values())


def own_open_runs(state: State) -> list[Run]:
    """Those of them that can go on."""
    return _own(state, state.open_runs)


def _own(state: State, runs: Iterable[Run]) -> list[Run]:
    shared = state.inherited if parent_of(state) is not None else 0
    return [run for run in runs if run.start.index >= shared]


# --- making a child --------------------------------------------------------------------------------------------------


def make_child(core: Core, named: str | None, parent: Parent, ordinal: int, *, shared: int | None) -> Steps[str]:
    """Makes the child that a step begins, or finds the one that an earlier attempt of it made; returns its id.

    Without a name it is `<parent>/<ordinal>`, or that with the first free number behind it.
    `shared`: how much of the parent's history it shares, None for none. Raises SessionExists
    where the name is taken.
    """
    for number in range(1, 1 << 30):
        ordinary = f"{parent.session}/{ordinal}" + (f"-{number}" if number > 1 else "")
        session = named if named is not None else ordinary
        log = yield from core.refresh(session)
        if log is None:
            try:
                if shared is not None:
                    yield from fork(core, parent.session, session, shared, parent=parent.told())
                else:
                    yield from create(session, parent=parent.told())
            except SessionExists:
                pass  # made by somebody else just now: whose it is, is read back
            log = yield from core.refresh(session)
        if log is None:
            raise missing(session)
        present = parent_of(fold(log))
        if present is not None and (present.incarnation, present.key) == (parent.incarnation, parent.key):
            return session
        if named is not None:
            raise SessionExists(f"session {named!r} is there, and is no child of this step; spawn under another id")
    raise AssertionError("there are not so many sessions")


# --- whether a child can go on ---------------------------------------------------------------------------------------


def can_go_on(core: Core, state: State, run: Run, seen: set[str] | None = None) -> Steps[bool]:
    """Whether what a waiting run waits for has come; of its children, whether one of them can go on or has ended.

    `seen` takes the ids of the sessions that were looked at.
    """
    waits = waits_of(state, run)
    alone = Waits(waits.questions, waits.until, waits.inbox)
    if (alone != Waits() or not waits.children) and has_come(
        state, alone, questions_of(state, state.first_of(run.key)), moments.now()
    ):
        return True
    for child in waits.children:
        if (yield from is_ready(core, child, seen)):
            return True
    return False


def is_ready(core: Core, session: str, seen: set[str] | None = None) -> Steps[bool]:
    """Whether there is a reason to look at a child again: it is gone, it ended, or its run can go on."""
    seen = set() if seen is None else seen
    if session in seen or len(seen) > DEEPEST * DEEPEST:
        return False
    seen.add(session)
    log = yield from core.refresh(session)
    if log is None:
        return True
    state = fold(log)
    parent = parent_of(state)
    run = state.find_run(parent.key) if parent is not None else state.run
    if run is None or run.status != "waiting":
        return True
    return (yield from can_go_on(core, state, run, seen))


# --- ending children -------------------------------------------------------------------------------------------------


def cancel_children(core: Core, session: str) -> Steps[None]:
    """Ends the children of the session's cancelled runs, and theirs."""
    log = yield from core.refresh(session)
    if log is None:
        return
    state = fold(log)
    over = {run.key for run in own_runs(state) if run.status == "cancelled"}
    for child in spawned_by(state):
        if any(child.caller == run or child.caller.startswith(run + "/") for run in over):
            yield from cancel_child(core, state.first_life, child)


def cancel_child(core: Core, incarnation: str, child: Spawned) -> Steps[bool]:
    """Ends a child's run, whoever is at it, and its own children; False if it had ended already.

    One that has not begun gets a run that is cancelled, so that nobody begins it.
    """

    def build(state: State) -> list[dict[str, Any]] | None:
        parent = parent_of(state)
        if parent is None or (parent.incarnation, parent.key) != (incarnation, child.run):
            return None  # another session of the same name
        run, key = state.find_run(child.run), run_key(child.run)
        if run is not None and not run.open:
            return None
        operation = "insert" if run is None else "update"
        ended = {"kind": "status", "key": key, "value": {"status": "cancelled"}, "operation": operation}
        return [ended] if run is not None else [_begun(child, key), ended]

    try:
        done = yield from under_claim(core, child.session, build, take_over=True)
        yield from cancel_children(core, child.session)
    except NotFound:
        return False
    return done is not None


def _begun(child: Spawned, key: str) -> dict[str, Any]:
    value = {"agent": child.agent, "arguments": child.arguments, "fingerprint": str(child.fingerprint)}
    return {"kind": "run", "key": key, "value": {**value, **({"typed": True} if child.typed else {})}}


# --- the tree --------------------------------------------------------------------------------------------------------


def tree(core: Core, session: str) -> Steps[Node]:
    """The session and all that were spawned from it. Raises NotFound if it is not there."""
    state = yield from read_state(core, session, None)
    run = state.run
    children = yield from _children(core, state, 0)
    return Node(session, state.status, run.agent if run is not None else None, children)


def _children(core: Core, state: State, depth: int) -> Steps[tuple[Node, ...]]:
    nodes: list[Node] = []
    for child in spawned_by(state) if depth < DEEPEST else ():
        nodes.append((yield from _node(core, state.first_life, child, depth)))
    return tuple(nodes)


def _node(core: Core, incarnation: str, child: Spawned, depth: int) -> Steps[Node]:
    try:
        state = yield from read_state(core, child.session, None)
    except NotFound:
        return Node(child.session, None, child.agent)
    parent = parent_of(state)
    if parent is None or (parent.incarnation, parent.key) != (incarnation, child.run):
        return Node(child.session, None, child.agent)
    run = state.find_run(child.run)
    below = yield from _children(core, state, depth + 1)
    return Node(child.session, run.status if run is not None else None, child.agent, below)
