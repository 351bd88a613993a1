"""A divergence: the first place where code and journal disagree, told so that a person sees it."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from agentstream.sessions.diff import diff, first_path
from agentstream.sessions.positions import Position

LONGEST = 200


class Divergence(msgspec.Struct, frozen=True):
    """Where and how code and journal disagree.

    `before` is the cut just before the recorded step (cut a fork there to go on with the new
    code), `step_index` the step's number in the run, from 0. `kind` is different_args,
    different_call, extra_call, missing_call, different_output, raised or did_not_raise;
    `recorded` and `actual` are `{kind, name, input}` (None where there is none), `path` the
    first difference inside them and `diff` RFC 6902 operations from recorded to actual.
    `code` is the place in the user's code that makes the call now, `recorded_code` the one that made the recorded
    call: the file from its package's folder on.
    """

    before: Position
    step_index: int
    lane: str
    kind: str
    path: str
    recorded: Any
    actual: Any
    diff: list[dict[str, Any]] = msgspec.field(default_factory=list)
    code: str | None = None
    recorded_code: str | None = None

    def __str__(self) -> str:
        lines = [f"step {self.step_index} (lane {self.lane}): {self.kind.replace('_', ' ')}"]
        lines.append(f"  recorded  {_shown(self.recorded)}{_at(self.recorded_code)}")
        lines.append(f"  now       {_shown(self.actual)}{_at(self.code)}")
        for change in self.diff[:8]:
            was, value = _brief(change.get("was")), _brief(change.get("value"))
            lines.append(f"  {change['op']:8}{change['path']}: {was} -> {value}")
        if len(self.diff) > 8:
            lines.append(f"  … and {len(self.diff) - 8} more differences")
        return "\n".join(lines)


def compare(
    before: Position,
    step_index: int,
    lane: str,
    kind: str,
    recorded: Any,
    actual: Any,
    code: str | None = None,
    recorded_code: str | None = None,
) -> Divergence:
    """The divergence between a recorded and an actual call (both `{kind, name, input}`) or output."""
    path, changes = "", []
    if recorded is not None and actual is not None:
        path, changes = first_path(recorded, actual), diff(recorded, actual)
    return Divergence(before, step_index, lane, kind, path, recorded, actual, changes, code, recorded_code)


def _at(code: str | None) -> str:
    return f"   at {code}" if code else ""


def _shown(call: Any) -> str:
    if call is None:
        return "nothing"
    if isinstance(call, dict) and call.keys() >= {"kind", "name", "input"}:
        return f"{call['kind']} {call['name']}({_brief(call['input'])})"
    return _brief(call)


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"
