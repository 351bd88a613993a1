"""A divergence: the first place where code and journal disagree, told so that a person sees it."""

from __future__ import annotations

import json
import sys
from types import FrameType
from typing import Any

import msgspec

from agentstream.sessions.diff import diff, first_path
from agentstream.sessions.positions import Position

LONGEST = 200

NOT_THE_USERS = frozenset(
    ("agentstream", "asyncio", "contextlib", "contextvars", "concurrent", "threading", "functools")
)


class Divergence(msgspec.Struct, frozen=True):
    """Where and how code and journal disagree.

    `before` is the cut just before the recorded step (cut a fork there to go on with the new
    code), `step_index` the step's number in the run, from 0. `kind` is different_args,
    different_call, extra_call, missing_call, different_output, raised or did_not_raise;
    `recorded` and `actual` are `{kind, name, input}` (None where there is none), `path` the
    first difference inside them and `diff` RFC 6902 operations from recorded to actual.
    `code` is the place in the user's code that made the call.
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

    def __str__(self) -> str:
        lines = [f"step {self.step_index} (lane {self.lane}): {self.kind.replace('_', ' ')}"]
        lines.append(f"  recorded  {_shown(self.recorded)}")
        lines.append(f"  now       {_shown(self.actual)}" + (f"   at {self.code}" if self.code else ""))
        for change in self.diff[:8]:
            was, value = _brief(change.get("was")), _brief(change.get("value"))
            lines.append(f"  {change['op']:8}{change['path']}: {was} -> {value}")
        if len(self.diff) > 8:
            lines.append(f"  … and {len(self.diff) - 8} more differences")
        return "\n".join(lines)


def compare(
    before: Position, step_index: int, lane: str, kind: str, recorded: Any, actual: Any, code: str | None = None
) -> Divergence:
    """The divergence between a recorded and an actual call (both `{kind, name, input}`) or output."""
    if recorded is None or actual is None:
        return Divergence(before, step_index, lane, kind, "", recorded, actual, [], code)
    return Divergence(
        before, step_index, lane, kind, first_path(recorded, actual), recorded, actual, diff(recorded, actual), code
    )


def calling_code() -> str | None:
    """`file:line in function` of the innermost frame that is not of this library or an integration."""
    frame = calling_frame(sys._getframe(1))
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}" if frame is not None else None


def calling_frame(frame: FrameType | None) -> FrameType | None:
    """The innermost frame from this one outwards that is the user's."""
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        installed = _installed(frame.f_code.co_filename)
        if package not in NOT_THE_USERS and not package.startswith("agentstream_") and not installed:
            return frame
        frame = frame.f_back
    return None


def raised_at(error: BaseException) -> str | None:
    """`file:line in function` of the innermost frame of an error's trace that is not of this library."""
    trace = error.__traceback__
    place = None
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", ""))
        if not name.startswith("agentstream"):
            place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno} in {trace.tb_frame.f_code.co_name}"
        trace = trace.tb_next
    return place


def _installed(file: str) -> bool:
    return any(part in file for part in ("site-packages", "dist-packages", "<frozen"))


def _shown(call: Any) -> str:
    if call is None:
        return "nothing"
    if isinstance(call, dict) and call.keys() >= {"kind", "name", "input"}:
        return f"{call['kind']} {call['name']}({_brief(call['input'])})"
    return _brief(call)


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text)} characters)"
