"""Two sessions beside each other: aligned, in a line each, and whole where one is looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agentstream.inspector.documents.cutting import SHOWN, Cut, Cutter, Limits, brief
from agentstream.inspector.documents.rows import TEXT
from agentstream.sessions.comparing import Pair, Said, compare_messages, compare_steps
from agentstream.sessions.diff import diff
from agentstream.sessions.state import State
from agentstream.sessions.views.folded import comparable
from agentstream.sessions.views.values import message_text

Compare = Callable[[State, State], dict[str, Any]]


def steps_document(left: State, right: State) -> dict[str, Any]:
    """The steps of two sessions, aligned."""
    pairs = compare_steps(left, right).pairs
    rows = [
        [
            pair.kind,
            pair.left_number,
            pair.right_number,
            pair.left.last.start.index if pair.left is not None else None,
            pair.right.last.start.index if pair.right is not None else None,
            pair.step.kind,
            pair.step.name[:TEXT],
            pair.path if pair.kind != "same" else "",
        ]
        for pair in pairs
    ]
    return _aligned(left, right, rows)


def messages_document(left: State, right: State) -> dict[str, Any]:
    """The messages of two sessions, aligned."""
    ours, theirs = ([event.index for event in state.of_type("message")] for state in (left, right))
    rows: list[list[Any]] = []
    for said in compare_messages(left, right):
        shown = said.left or said.right or {}
        a, b = said.left_number, said.right_number
        places = [a, b, ours[a] if a is not None else None, theirs[b] if b is not None else None]
        rows.append([said.kind, *places, str(shown.get("role", ""))[:TEXT], _line(said.left), _line(said.right)])
    return _aligned(left, right, rows)


def state_document(left: State, right: State) -> dict[str, Any]:
    """What differs between what two sessions amount to."""
    found = diff(comparable(left), comparable(right))
    shown, cuts = Cutter().cut(found, "/differences")
    return {**_sides(left, right), "identical": not found, "differences": shown, "cuts": cuts}


BY: Mapping[str, Compare] = {"steps": steps_document, "messages": messages_document, "state": state_document}


def pair_document(left: State, right: State, by: str, number: int, limits: Limits = SHOWN) -> dict[str, Any]:
    """One pair, whole. IndexError where there is none."""
    if by == "messages":
        said = compare_messages(left, right)[number]
        return _whole(said.left, said.right, said, limits)
    pair = compare_steps(left, right).pairs[number]
    return _whole(*pair.sides, pair, limits)


def _whole(left: Any, right: Any, pair: Pair | Said, limits: Limits) -> dict[str, Any]:
    cutter, cuts, document = Cutter(limits), list[Cut](), dict[str, Any]()
    for name, value in (("diff", pair.changes), ("left", left), ("right", right)):
        document[name], found = cutter.cut(value, f"/{name}")
        cuts += found
    return {**document, "kind": pair.kind, "cuts": cuts}


def _aligned(left: State, right: State, rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    same = sum(row[0] == "same" for row in rows)
    return {
        **_sides(left, right),
        "identical": same == len(rows),
        "first": next((number for number, row in enumerate(rows) if row[0] != "same"), None),
        "same": same,
        "differ": len(rows) - same,
        "pairs": rows,
    }


def _sides(left: State, right: State) -> dict[str, Any]:
    return {
        side: {"session": state.session, "at": state.index, "title": state.title}
        for side, state in (("left", left), ("right", right))
    }


def _line(message: dict[str, Any] | None) -> str:
    return message_text(brief(message, TEXT * 2))[:TEXT] if message is not None else ""
