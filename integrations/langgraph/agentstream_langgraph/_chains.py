"""Which worker a thread belongs to, where nobody says when one begins or ends: the rule of chains.

A chain is a line of root checkpoints, each put on the one that the chain last put or loaded.
Its first append claims the session, and says in the claim what it was built on: the tip, and
how many events there were when it was loaded. If another chain put a child of that tip since,
the claim is void, and its maker is fenced. Whoever is overtaken reads the claims that came
after its own: by one that goes on from a checkpoint of its chain it is fenced; void ones, and
those of other branches (time travel, `update_state`), are nothing to it, and it claims again.

A load may be that of a graph that begins to work, which its config tells, or of somebody who
looks (`get_state`). Where a chain of this process may be at a checkpoint, looking at it changes
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from agentstream import Fenced
from agentstream.adapters import value_of
from agentstream_langgraph._index import BRANCHES, Index, Place, Stored

REMEMBERED = 256
"""Tips of one thread that are kept in mind."""


class Loaded(NamedTuple):
    """When a checkpoint was last loaded: after so many events, and own puts. `named`: somebody asked for it by id.
    `runs`: it was a graph that began to work."""

    size: int
    tick: int
    named: bool
    runs: bool


class Built(NamedTuple):
    """What an append is built on: the root checkpoint `tip` ("" before the first), by a `put` of `id` or by a write."""

    tip: str
    put: str | None
    branch: bool
    place: Place | None = None
    """The checkpoint that it puts, in whichever namespace."""


class Chains:
    """The chains of one thread that this process knows of. Its owner has a lock."""

    def __init__(self, thread: str, *, fence: bool) -> None:
        self._thread = thread
        self._fence = fence
        self.forget()

    def forget(self) -> None:
        self._tick = 0
        self._loaded: dict[str, Loaded] = {}
        self._children: dict[str, tuple[int, str]] = {}
        """Of tips, the last child that this process put: when, and its id."""
        self._touched: dict[str, None] = {}
        """The tips that were built on, and made, under the claim in use; the last of them."""
        self._made: dict[str, None] = {}
        """The checkpoints that this process put last."""
        self._dead: dict[str, bool] = {}
        """Tips of chains that were overtaken, and whether they were told."""
        self._claims: set[int] = set()

    def loaded(self, tip: str, size: int, *, named: bool, runs: bool) -> None:
        if not runs and self._is_worked_on(tip):
            return
        self._dead.pop(tip, None)
        _remember(self._loaded, tip, Loaded(size, self._tick, named, runs))

    def _is_worked_on(self, tip: str) -> bool:
        """Whether a chain of this process may be at a checkpoint, and was not told that it is at an end."""
        if tip in self._dead:
            return not self._dead[tip]
        held, (tick, _) = self._loaded.get(tip), self._children.get(tip, (-1, ""))
        return tip in self._made or tip in self._touched or (held is not None and held.runs and tick <= held.tick)

    def judge(self, built: Built, index: Index) -> dict[str, Any]:
        """Raises Fenced if another chain was faster; what a claim for this append says, if it is not."""
        if built.branch or not self._fence:
            return {"branch": True}
        if built.tip in self._dead:
            self._dead[built.tip] = True
            raise self.fenced(built.tip)
        loaded = self._loaded.get(built.tip)
        if loaded is None or loaded.named:
            return {"branch": True} if loaded is not None else {"tip": built.tip, "since": index.size}
        tick, child = self._children.get(built.tip, (-1, ""))
        if built.put is not None and tick > loaded.tick and child != built.put:
            raise self.fenced(built.tip)
        if any(
            other.index >= loaded.size and other.claim not in self._claims and other.id != built.put
            for other in _continuing(index.children.get(("", built.tip), ()))
        ):
            raise self.fenced(built.tip)
        return {"tip": built.tip, "since": loaded.size}

    def note(self, built: Built, claim: int) -> None:
        """The append is on its way, under this claim."""
        self._claims.add(claim)
        if built.branch:
            return
        _remember(self._touched, built.tip, None)
        if built.put is not None:
            self._tick += 1
            _remember(self._children, built.tip, (self._tick, built.put))
            _remember(self._touched, built.put, None)
            _remember(self._made, built.put, None)

    def dropped(self) -> None:
        """The claim in use is used no more."""
        self._touched = {}

    def overtaken(self, built: Built, index: Index, claims: Iterable[Any]) -> bool:
        """Whether one of these claims goes on from where the chain of `built` is.

        The chains under the claim in use from which one goes on are at an end. One that loaded its
        tip after that is another chain.
        """
        going_on = [event for event in claims if self._fence and self._fences(event, index)]
        loaded = self._loaded.get(built.tip)
        mine = [event for event in going_on if loaded is None or event.index >= loaded.size]
        if going_on:
            self.ended()
        if not mine and loaded is not None:
            self._dead.pop(built.tip, None)
        elif mine and built.tip in self._dead:
            self._dead[built.tip] = True
        return bool(mine) and not built.branch

    def ended(self) -> None:
        """All chains under the claim in use are at an end."""
        for tip in self._touched:
            _remember(self._dead, tip, False)

    def _fences(self, event: Any, index: Index) -> bool:
        said = value_of(event)
        if said.get("branch") is True:
            return False
        tip, since = said.get("tip"), said.get("since")
        if not isinstance(tip, str) or not isinstance(since, int):
            return True  # a worker of another kind
        void = any(since <= child.index < event.index for child in _continuing(index.children.get(("", tip), ())))
        return tip in self._touched and not void

    def fenced(self, tip: str) -> Fenced:
        where = f"checkpoint {tip}" if tip else "its beginning"
        return Fenced(
            f"thread {self._thread!r} was taken over: another worker went on from {where}, and what this one did since "
            "is not part of the thread. Invoke the graph again: it goes on from the latest checkpoint. (To go on "
            "from an older one on purpose name its checkpoint_id)"
        )


def _continuing(children: Iterable[Stored]) -> Iterable[Stored]:
    return (child for child in children if child.head.get("source") not in BRANCHES)


def _remember(into: dict[str, Any], tip: str, what: Any) -> None:
    into.pop(tip, None)
    into[tip] = what
    while len(into) > REMEMBERED:
        del into[next(iter(into))]
