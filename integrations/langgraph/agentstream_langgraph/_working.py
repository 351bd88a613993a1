"""Which node a task is, told by what a saver is given: its path, and the Sends that made it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME, TASKS

from agentstream_langgraph._people import error_of

START = "__start__"
"""What takes a graph's input: no node of anybody's."""

_PULL, _PUSH = "~__pregel_pull, ", "~__pregel_push, "
_PLACE = re.compile(r"\d{10}(?=, |$)")

REMEMBERED = 1000
"""Checkpoints whose Sends are kept in mind."""


class Sends:
    """The nodes that Sends are for: a task that comes of one is known by its place alone."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], list[str]] = {}
        self._lately: dict[str, tuple[str, set[str]]] = {}

    def held(self, ns: str, checkpoint: str, values: Mapping[str, Any]) -> None:
        """What a checkpoint holds, in the order of the tasks."""
        sends = values.get(TASKS)
        if isinstance(sends, (list, tuple)):
            self._of[ns, checkpoint] = [_node(send) for send in sends]
            while len(self._of) > REMEMBERED:
                del self._of[next(iter(self._of))]

    def written(self, ns: str, checkpoint: str, writes: Sequence[tuple[str, Any]]) -> None:
        """What a task wrote; the checkpoint that holds it may come later than what its tasks write."""
        names = {_node(value) for channel, value in writes if channel == TASKS}
        if names:
            before, known = self._lately.get(ns, ("", set()))
            self._lately[ns] = (checkpoint, known | names if before == checkpoint else names)
            while len(self._lately) > REMEMBERED:
                del self._lately[next(iter(self._lately))]

    def name(self, ns: str, checkpoint: str, place: int) -> str:
        """The node's name; "task" where it cannot be known."""
        held = self._of.get((ns, checkpoint), ())
        if place < len(held):
            return held[place]
        _, names = self._lately.get(ns, ("", set[str]()))
        return next(iter(names)) if len(names) == 1 else "task"


def step_of(
    sends: Sends, ns: str, checkpoint: str, writes: Sequence[tuple[str, Any]], path: str
) -> dict[str, Any] | None:
    """What a task's step says of it; None where it has not come to its end, or is none of the graph's."""
    channels = {channel for channel, _ in writes}
    if INTERRUPT in channels or channels <= {RESUME}:
        return None
    if path.startswith(_PULL):
        name = path[len(_PULL) :]
        if name == START:
            return None
    elif path.startswith(_PUSH):
        place = _PLACE.match(path, len(_PUSH))
        name = sends.name(ns, checkpoint, int(place[0])) if place is not None else "task"
    else:
        return None
    failed = next((error_of(value) for channel, value in writes if channel == ERROR), None)
    return {"kind": "node", "name": name, **({"error": failed} if failed is not None else {})}


def _node(send: Any) -> str:
    node = getattr(send, "node", None)
    return node if isinstance(node, str) else "task"
