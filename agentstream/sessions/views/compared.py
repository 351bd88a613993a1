"""Comparisons of two sessions as documents."""

from __future__ import annotations

from typing import Any

from agentstream.errors import NotFound
from agentstream.sessions.comparing import Pair, Said
from agentstream.sessions.state import State


def step_json(pair: Pair) -> dict[str, Any]:
    """A pair as `--json` gives it."""
    return {
        "difference": pair.kind,
        "left": pair.left_number,
        "right": pair.right_number,
        "kind": pair.step.kind,
        "name": pair.step.name,
        "path": pair.path,
        "diff": pair.changes,
    }


def said_json(said: Said) -> dict[str, Any]:
    """Two messages in the same place as `--json` gives them."""
    return {
        "difference": said.kind,
        "left": said.left_number,
        "right": said.right_number,
        "messages": [said.left, said.right],
        "diff": said.changes,
    }


def check_source(source: State, branch: State) -> None:
    """NotFound if what goes by the name of the session that a branch was forked from is another one now."""
    lineage = branch.lineage
    if lineage is not None and all(birth.incarnation != lineage.incarnation for _, birth in source.births):
        raise NotFound(
            f"the session {lineage.source!r} that {branch.session!r} was forked from was deleted; "
            "the id is another session's now"
        )
