"""`agentstream replay --pdb`: asks a person what to do at each stop of a replay."""

from __future__ import annotations

import pdb
import shlex
import sys
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from agentstream.cli.output import Output, shortened
from agentstream.cli.reported import print_divergence
from agentstream.cli.text import clean
from agentstream.cli.values import compact, to_json

if TYPE_CHECKING:
    from types import FrameType

    from agentstream import Report, Session
    from agentstream.agents.replay_watch import Stopped

Replayed = Callable[[dict[str, Any]], "Report"]
Next = Literal["stop"] | None

EVERY = "*"

HELP = """\
n, next        to the next step (an empty line too)
p, previous    back to the step before
c, continue    to the next breakpoint, or to the end
a, args        what the code asks
r, result      what the record says came of it
s, state       the session at this place
d, diff        what changed in the session since the stop before
w, where       the code's own lines that lead here
e EXPR         a Python expression in the code's frame
py             Python's debugger in the code's frame; c there goes on
f, fork ID     a branch of the session, cut here
q, quit        ends"""


class Stepper:
    """One debugging of one session: prints to stdout, reads commands from stdin, the end of which quits."""

    def __init__(
        self,
        output: Output,
        session: Session,
        function: str,
        breaks: list[str],
        until: Any,
        *,
        file: str | None = None,
    ) -> None:
        """`file`: the export that the session is from, where it is not in the store."""
        self._output = output
        self._session = session
        self._function = function
        self._breaks = breaks
        self._until = until
        self._file = file
        self._stepping = not breaks and until is None
        self._goal: int | None = None
        """The stop to ask at next, after going back."""
        self._stops = 0
        """How many steps the code has come to."""
        self._asked = 0
        """Which of them was asked at last."""
        self._here: Stopped | None = None
        self._last: Stopped | None = None
        self._again = self._left = False

    def run(self, replayed: Replayed) -> Report:
        """Replays, again each time somebody goes back; returns the report of the last time. `replayed` takes options
        of `session.replay`."""
        options = {"on_break": self.stopped, "break_": [*self._breaks, EVERY], "until": None}
        while True:
            self._again, self._stops = False, 0
            report = replayed(options)
            if not (self._again or self._left or self._here is None):
                self._at_end(report)
            if not self._again:
                return report

    # --- where it stops ----------------------------------------------------------------------------------------------

    def stopped(self, seen: Stopped) -> Next:
        """The code has come to a step: asks, if it is one to ask at."""
        self._stops += 1
        if not self._is_asked(seen):
            return None
        from agentstream import outside_run

        self._goal = None
        self._asked = self._stops
        self._last, self._here = self._here, seen
        self._output.line(clean(str(seen)))
        self._brief_call(seen)
        with outside_run():  # what is asked for here is none of the run's
            return self._ask(seen)

    def _is_asked(self, seen: Stopped) -> bool:
        if self._goal is not None:
            return self._stops >= self._goal
        if self._stepping or seen.why != f"break {EVERY}":
            return True
        return self._until is not None and seen.before.index >= self._until.index and not self._passed_until()

    def _passed_until(self) -> bool:
        return self._here is not None and self._here.before.index >= self._until.index

    def _ask(self, seen: Stopped) -> Next:
        while True:
            word, rest = self._command()
            if word in ("n", "next", ""):
                self._stepping = True
                return None
            if word in ("c", "continue"):
                self._stepping = False
                return None
            if word in ("p", "previous", "prev"):
                if self._asked == 1:
                    self._output.line("this is the first step")
                    continue
                self._back_to(self._asked - 1)
                return "stop"
            if word in ("q", "quit", "exit"):
                self._left = True
                return "stop"
            if word == "py":
                if seen.frame is None:
                    self._output.line("there is no code of yours here")
                    continue
                _debug(seen.frame)
                return None
            self._look(seen, word, rest)

    def _at_end(self, report: Report) -> None:
        """The code has ended, or diverged: what is to be seen from there."""
        if report.divergence is not None:
            print_divergence(self._output, self._session.id, self._session.state(), report.divergence)
        else:
            self._output.line("the code has come to its end")
        here = self._here
        while here is not None:
            word, rest = self._command()
            if word in ("q", "quit", "exit", "c", "continue", "n", "next", ""):
                self._left = True
                return
            if word in ("p", "previous", "prev"):
                self._back_to(self._asked)
                return
            if word in ("py", "e"):
                self._output.line("the code is not running any more; p goes back into it")
            else:
                self._look(here, word, rest)

    def _back_to(self, number: int) -> None:
        self._goal, self._again, self._here = number, True, None

    def _command(self) -> tuple[str, str]:
        try:
            line = input("(agentstream) ")
        except EOFError:
            self._output.line("")
            return "q", ""
        word, _, rest = line.strip().partition(" ")
        return word, rest.strip()

    # --- what is to be seen ------------------------------------------------------------------------------------------

    def _look(self, seen: Stopped, word: str, rest: str) -> None:
        looks: dict[str, Callable[[], None]] = {
            "a": lambda: self._value(seen.input),
            "r": lambda: self._recorded(seen),
            "s": lambda: self._state(seen),
            "d": lambda: self._diff(seen),
            "w": lambda: self._where(seen.frame),
            "e": lambda: self._evaluate(seen.frame, rest),
            "f": lambda: self._fork(seen, rest),
            "h": lambda: self._output.line(HELP),
        }
        words = ("args", "result", "state", "diff", "where", "fork", "help")
        word = word[0] if word in words else "h" if word == "?" else word
        look = looks.get(word)
        if look is None:
            self._output.line(f"{clean(word)}: no such command; h tells them")
        else:
            look()

    def _brief_call(self, seen: Stopped) -> None:
        self._output.line(f"  {clean(shortened(compact(_form(seen.input)), max(self._output.width - 8, 60)))}")

    def _value(self, value: Any) -> None:
        self._output.line(to_json(_form(value), indent=2))

    def _recorded(self, seen: Stopped) -> None:
        step = seen.recorded
        if step is None:
            self._output.line("the record holds no such step")
        elif step.error is not None:
            self._value(step.error)
        elif step.outcome is None:
            self._output.line("the record does not say what came of it")
        else:
            self._value(step.result)

    def _state(self, seen: Stopped) -> None:
        from agentstream.cli.folded import print_state
        from agentstream.cli.store import Opened

        state = seen.state
        print_state(self._output, Opened(self._session, state, sealed=False), state.index, None, full=False)

    def _diff(self, seen: Stopped) -> None:
        from agentstream.cli.folded import comparable
        from agentstream.sessions.diff import diff

        before = self._last.state if self._last is not None else seen.state.cut(0)
        changes = diff(comparable(before), comparable(seen.state))
        if not changes:
            self._output.line("nothing")
        for change in changes:
            parts = [compact(change[name]) for name in ("was", "value") if name in change]
            self._output.line(clean(f"{change['op']} {change['path']}: {shortened(' -> '.join(parts), 400)}"))

    def _where(self, frame: FrameType | None) -> None:
        from agentstream.agents.locations import calling_frame

        lines: list[str] = []
        frame = calling_frame(frame)
        while frame is not None:
            summary = traceback.extract_stack(frame, limit=1)[0]
            if summary.filename != sys.argv[0]:  # the program that this command is
                lines.append(f"{summary.filename}:{summary.lineno} in {summary.name}: {summary.line}")
            frame = calling_frame(frame.f_back)
        for line in reversed(lines or ["there is no code of yours here"]):
            self._output.line(clean(line))

    def _evaluate(self, frame: FrameType | None, expression: str) -> None:
        if frame is None or not expression:
            self._output.line("e EXPR: a Python expression in the code's frame")
            return
        try:
            text = repr(eval(expression, frame.f_globals, frame.f_locals))
        except Exception as error:  # whatever it raises is the answer
            text = f"{type(error).__name__}: {error}"
        self._output.line(clean(shortened(text, 5000)))

    def _fork(self, seen: Stopped, new_id: str) -> None:
        from agentstream import AgentStreamError

        if not new_id:
            self._output.line("f ID: the new session's id")
            return
        if self._file is not None:
            self._output.line(clean(f"a fork stands in a store: agentstream import {shlex.quote(self._file)} first"))
            return
        try:
            self._session.fork(new_id, seen.before.index)
        except (AgentStreamError, ValueError) as error:
            self._output.line(clean(f"error: {error}"))
            return
        self._output.line(clean(f"{new_id}  fork of {self._session.id}@{seen.before.index}"))
        self._output.line(clean(f"next: agentstream resume {shlex.quote(new_id)} {self._function}"))


def _form(value: Any) -> Any:
    from agentstream.errors import NotSerializable
    from agentstream.sessions import codec

    try:
        return codec.encode(value).data
    except NotSerializable:
        return repr(value)


def _debug(frame: FrameType) -> None:
    """Python's debugger, from the next line of this frame on: not in the library's own, through which it is reached."""
    debugger = pdb.Pdb(nosigint=True)
    debugger.reset()
    each: FrameType | None = frame
    while each is not None:
        each.f_trace = debugger.trace_dispatch
        debugger.botframe = each
        each = each.f_back
    debugger.set_next(frame)
    sys.settrace(debugger.trace_dispatch)
