"""A divergence as a test's report shows it: what was recorded and what the code does now, line beside line."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentstream.agents.divergence import Divergence

LONGEST = 60
"""Lines that are shown of one divergence."""
MOST = 5


def divergence_text(path: Path, divergences: list[Divergence]) -> str:
    """For a terminal."""
    lines = [f"the code does not go the way that {path.name} recorded"]
    for divergence in divergences[:MOST]:
        lines += ["", *_one(divergence)]
    if len(divergences) > MOST:
        lines += ["", f"… and {len(divergences) - MOST} more"]
    lines += ["", f"If that is meant, record it again: --agentstream-record=all (cassette {path})"]
    return "\n".join(lines)


def _one(divergence: Divergence) -> list[str]:
    where = f"step {divergence.step_index} of session {divergence.before.session!r}"
    lines = [f"{where}: {divergence.kind.replace('_', ' ')}"]
    if divergence.path:
        lines[0] += f" at {divergence.path}"
    for label, code in (("recorded at", divergence.recorded_code), ("now at", divergence.code)):
        if code:
            lines.append(f"  {label} {code}")
    then, now = _lines(divergence.recorded, "nothing"), _lines(divergence.actual, "nothing")
    changes = [*difflib.unified_diff(then, now, lineterm="", n=3)][2:]
    lines += [f"  {line}" for line in changes[:LONGEST]]
    if len(changes) > LONGEST:
        lines.append(f"  … and {len(changes) - LONGEST} more lines")
    return lines


def _lines(call: Any, otherwise: str) -> list[str]:
    if call is None:
        return [otherwise]
    if isinstance(call, dict) and call.keys() >= {"kind", "name", "input"}:
        return [f"{call['kind']} {call['name']}", *_json(call["input"])]
    return _json(call)


def _json(value: Any) -> list[str]:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str).splitlines()
