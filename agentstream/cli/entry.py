"""Which code a verb runs where none is named: the function that the record says its run was made with.

A record may come from anybody, and name anything that can be imported: a person, or `--yes`, has to agree to it.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from agentstream.cli.failures import UsageError
from agentstream.cli.talk import note, require_yes
from agentstream.cli.text import clean

if TYPE_CHECKING:
    from agentstream.sessions.state import State


def recorded_code(
    state: State, run: str | None, verb: str, *, yes: bool, quiet: bool = False, file: str | None = None
) -> tuple[str, Any]:
    """`MODULE:AGENT` as the record says it, and what that is now; says on stderr which it took, unless `quiet`.

    Asks before it is imported, unless `yes`. `run` is a run's id; None: the last. `file`: the export that it was read
    from. Raises UsageError where it is not recorded, cannot be imported, or nobody agrees to it; Declined.
    """
    from agentstream.cli.code import imported_thing

    hint = f"agentstream {verb} {shlex.quote(file or state.session)} MODULE:AGENT"
    runs = [each for each in state.runs.values() if each.parent is None and run in (None, each.id)]
    entry = runs[-1].entry if runs else None
    if entry is None:
        which = f"run {run!r}" if run is not None else "run of an agent (a graph's thread has none)"
        what = "does not say which function was run" if runs else f"has no {which}"
        raise UsageError(f"session {state.session!r} {what}: name the code", hint=hint)
    module, _, name = entry.partition(":")
    if module == "__main__":
        raise UsageError(f"{name} was in the program itself (__main__), and cannot be imported: name it", hint=hint)
    if "<locals>" in name:
        raise UsageError(f"{entry} was made inside a function, and cannot be imported: name the code", hint=hint)
    if not yes:
        require_yes(
            f"The record names {clean(entry)}. Import and run it?",
            otherwise=f"the record names {clean(entry)}, which may be anybody's choice",
            flag=f"name it, {hint.replace('MODULE:AGENT', shlex.quote(clean(entry)))}, or agree with -y",
        )
    try:
        found = imported_thing(entry)
    except UsageError as error:
        raise UsageError(f"the recorded code, {entry}, is not there: {error}", hint=hint) from error
    if not quiet:
        note(f"{entry}, as it was recorded")
    return entry, found
