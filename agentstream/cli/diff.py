"""`agentstream diff`: what differs between two sessions, or a branch and what it was forked from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentstream.cli.failures import FAILED, Missing, UsageError
from agentstream.cli.options import Full, SessionAt, answers
from agentstream.cli.text import SIGN_COLOURS

if TYPE_CHECKING:
    from agentstream import Client
    from agentstream.cli.output import Output
    from agentstream.sessions.comparing import Pair, Said
    from agentstream.sessions.state import State

Changes = list[dict[str, Any]]

_WORDS = {
    "different_args": "asked otherwise",
    "different_output": "came out otherwise",
    "missing_call": "only on the left",
    "extra_call": "only on the right",
    "changed": "changed",
    "removed": "only on the left",
    "added": "only on the right",
}
_SIGNS = {"same": " ", "missing_call": "-", "removed": "-", "extra_call": "+", "added": "+"}


@answers(jsonl=True, pager=True)
def diff(
    output: Output,
    url: str | None,
    left: SessionAt,
    right: Annotated[
        str | None, typer.Argument(metavar="[SESSION[@POS]]", help="By default what the first was forked from.")
    ] = None,
    parent: Annotated[bool, typer.Option("--parent", help="Against what it was forked from.")] = False,
    steps: Annotated[bool, typer.Option("--steps", help="By steps, aligned; so it is by default.")] = False,
    messages: Annotated[bool, typer.Option("--messages", help="By what was said.")] = False,
    state: Annotated[bool, typer.Option("--state", help="By what the events amount to, as JSON Patch.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="What is the same, too.")] = False,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="PATH", help="What differs only there is the same: input.order, /usage."),
    ] = None,
    full: Full = False,
) -> None:
    """Compares two sessions. Exit code 0: they are the same; 1: they differ.

    In a pipe, by steps: kind of the difference, step on the left, step on the right, kind, name, path of the
    first difference, value on the left, value on the right, separated by tabs.
    """
    from agentstream.cli.store import opened_client

    if sum((steps, messages, state)) > 1:
        raise UsageError("--steps, --messages and --state do not go together")
    if ignore and messages:
        raise UsageError("--ignore names paths of steps or of the state; messages have none")
    if parent and right is not None:
        raise UsageError("--parent and a second session do not go together")
    with opened_client(url) as client:
        one, other = _sides(client, left, right)
        with output.paged():
            printer = _Printer(output, one, other, everything=everything, full=full, ignored=ignore or ())
            differ = printer.messages() if messages else printer.state() if state else printer.steps()
    if differ:
        raise typer.Exit(FAILED)


def _sides(client: Client, left: str, right: str | None) -> tuple[State, State]:
    """The states to compare. A branch stands on the right of what it was forked from."""
    from agentstream.cli.store import state_at
    from agentstream.sessions.views.compared import check_source

    one = state_at(client, left)
    if right is not None:
        return one, state_at(client, right)
    if one.lineage is None:
        raise Missing(f"session {one.session!r} is no fork", hint="give a second session to compare it with")
    source = client.session(one.lineage.source).state()
    check_source(source, one)
    return source, one


class _Printer:
    def __init__(
        self, output: Output, left: State, right: State, *, everything: bool, full: bool, ignored: Sequence[str]
    ) -> None:
        self._output = output
        self._left, self._right = left, right
        self._everything = everything
        self._ignored = [_pointer(path) for path in ignored]
        self._most = None if full or not output.terminal else max(output.width - 30, 40)

    def steps(self) -> bool:
        from agentstream.sessions.comparing import compare_steps
        from agentstream.sessions.views.compared import step_json

        pairs = [self._as_asked(pair) for pair in compare_steps(self._left, self._right).pairs]
        shown = [pair for pair in pairs if self._everything or pair.kind != "same"]
        same = sum(pair.kind == "same" for pair in pairs)
        if not self._structured("steps", [step_json(pair) for pair in shown], same == len(pairs)):
            self._head(f"{same} steps the same, {len(pairs) - same} not")
            for pair in shown:
                self._step(pair)
        return same < len(pairs)

    def _as_asked(self, pair: Pair) -> Pair:
        """The same, where all that differs is ignored."""
        differs = pair.kind in ("different_args", "different_output")
        if not (self._ignored and differs) or self._counting(pair.changes):
            return pair
        from msgspec.structs import replace

        return replace(pair, kind="same")

    def _counting(self, changes: Changes) -> Changes:
        """The changes that are not to be ignored."""
        below = tuple(f"{path}/" for path in self._ignored)
        return [change for change in changes if not f"{change['path']}/".startswith(below or ("\0",))]

    def messages(self) -> bool:
        from agentstream.sessions.comparing import compare_messages
        from agentstream.sessions.views.compared import said_json

        found = compare_messages(self._left, self._right)
        shown = [said for said in found if self._everything or said.kind != "same"]
        same = sum(said.kind == "same" for said in found)
        if not self._structured("messages", [said_json(said) for said in shown], same == len(found)):
            self._head(f"{same} messages the same, {len(found) - same} not")
            for said in shown:
                self._said(said)
        return same < len(found)

    def state(self) -> bool:
        from agentstream.cli.changes import print_change, value_in
        from agentstream.sessions.diff import diff as json_diff
        from agentstream.sessions.views.folded import comparable

        changes = self._counting(json_diff(comparable(self._left), comparable(self._right)))
        if not self._structured("state", changes, not changes):
            self._head(f"{len(changes)} differences" if changes else "the same")
            for change in changes:
                if self._output.terminal:
                    print_change(self._output, change, self._most)
                else:
                    cells = [change["op"], change["path"], value_in(change, "was"), value_in(change, "value")]
                    self._output.fields(cells)
        return bool(changes)

    def _structured(self, by: str, found: list[dict[str, Any]], identical: bool) -> bool:
        """Prints it as JSON where that is asked for."""
        if self._output.form == "json":
            sides = {"left": self._left.session, "right": self._right.session}
            self._output.document("diff", {**sides, "by": by, "identical": identical, "differences": found})
        elif self._output.form == "jsonl":
            for each in found:
                self._output.object(each)
        return self._output.form != "text"

    def _head(self, summary: str) -> None:
        from agentstream.cli.text import clean

        if self._output.terminal:
            names = f"{clean(self._left.session)} → {clean(self._right.session)}"
            self._output.line(f"{self._output.paint(names, 'bold')}  {summary}")

    def _step(self, pair: Pair) -> None:
        from agentstream.cli.changes import print_change
        from agentstream.cli.text import clean

        step = pair.step
        if not self._output.terminal:
            changes = self._counting(pair.changes)
            path = changes[0]["path"] if self._ignored and changes else pair.path
            self._output.fields([*_step_cells(pair), step.kind, step.name, path, *_ends(pair, changes)])
            return
        sign = _SIGNS.get(pair.kind, "~")
        numbers = " → ".join(f"step:{n}" for n in dict.fromkeys((pair.left_number, pair.right_number)) if n is not None)
        line = f"{sign} {numbers}  {clean(step.kind)} {clean(step.name)}"
        about = _WORDS.get(pair.kind, "")
        self._output.line(self._output.paint(line, SIGN_COLOURS.get(sign)) + (f"  {about}" if about else ""))
        if sign in "+-":
            from agentstream.cli.values import compact

            self._output.line(f"    {self._brief(compact(step.stored_input))}")
        for change in self._counting(pair.changes):
            print_change(self._output, change, self._most)

    def _said(self, said: Said) -> None:
        from agentstream.cli.text import clean
        from agentstream.cli.values import compact

        message = said.right if said.right is not None else said.left or {}
        role = str(message.get("role", ""))
        if not self._output.terminal:
            numbers = ["" if n is None else str(n) for n in (said.left_number, said.right_number)]
            sides = ["" if side is None else compact(side) for side in (said.left, said.right)]
            self._output.fields([said.kind, *numbers, role, *sides])
            return
        sign = _SIGNS.get(said.kind, "~")
        for mark, side, number in (("-", said.left, said.left_number), ("+", said.right, said.right_number)):
            if side is not None and (sign != " " or mark == "+"):
                shown = sign if sign == " " else mark
                line = f"{shown} {number}  {clean(role)}  {self._brief(_spoken(side))}"
                self._output.line(self._output.paint(line, SIGN_COLOURS.get(shown)))

    def _brief(self, text: str) -> str:
        from agentstream.cli.output import shortened
        from agentstream.cli.text import clean

        return clean(shortened(text, self._most))


def _pointer(path: str) -> str:
    """`input.messages[3]` and `/input/messages/3` in the form that changes have."""
    if path.startswith("/"):
        return path.rstrip("/")
    return "/" + path.replace("[", ".").replace("]", "").replace(".", "/")


def _spoken(message: dict[str, Any]) -> str:
    from agentstream.cli.values import message_text

    return message_text(message)


def _step_cells(pair: Pair) -> list[str]:
    numbers = ["" if n is None else f"step:{n}" for n in (pair.left_number, pair.right_number)]
    return [pair.kind, *numbers]


def _ends(pair: Pair, changes: Changes) -> list[str]:
    """What stands on the left and on the right at the first difference; of a step without a partner, its input."""
    from agentstream.cli.changes import value_in
    from agentstream.cli.values import compact

    if pair.kind == "same":
        return ["", ""]
    if pair.kind in ("missing_call", "extra_call"):
        asked = compact(pair.step.stored_input)
        return [asked, ""] if pair.kind == "missing_call" else ["", asked]
    return [value_in(changes[0], "was"), value_in(changes[0], "value")] if changes else ["", ""]
