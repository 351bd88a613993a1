"""Watching a replay: where it stops on its way, and what is to be seen there.

A breakpoint is `KIND[:NAME][?EXPR]`: the steps of a kind (`tool`, `model`, …; `error` for
those that failed in the record, `*` for all), of a name, and for which a Python expression
is true. In it stand `args` (the call's input), `result` and `error` (as recorded), `kind`,
`name` and `step` (the number); members of mappings can be asked for by a dot.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterable
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from agentstream.agents.locations import calling_code, calling_frame
from agentstream.errors import ReplayOffline
from agentstream.sessions import codec
from agentstream.sessions.positions import Position

if TYPE_CHECKING:
    from agentstream.agents.calls import StepCall
    from agentstream.agents.worker import Worker
    from agentstream.sessions.state import State, Step

_FORM = re.compile(r"(?P<kind>[^:?\s]+)(?::(?P<name>[^?]+))?(?:\?(?P<expression>.+))?", re.DOTALL)
_SAFE = {
    each.__name__: each
    for each in (abs, all, any, bool, dict, float, int, isinstance, len, list, max, min, round, set, sorted, str, sum)
}

ANY, FAILED = "*", "error"


class Reached(Protocol):
    """What a breakpoint is asked of: a step's call, or what an engine calls."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def data(self) -> Any: ...


class Stopped(msgspec.Struct, frozen=True):
    """Where a replay stopped: just before the code gets the outcome of a step.

    `number` is the step's in the run, from 0; `input` what the code asks; `recorded` the step in
    the record (None where it holds no such step), `before` the cut just before it, `state` the session there.
    `code` is the place in the user's code, `why` what stopped it.
    """

    number: int
    kind: str
    name: str
    input: Any
    lane: str
    before: Position
    why: str
    code: str | None
    recorded: Step | None
    _session: State
    frame: FrameType | None = None

    @property
    def state(self) -> State:
        return self._session.cut(self.before.index)

    def __str__(self) -> str:
        at = f"   at {self.code}" if self.code else ""
        return f"stopped before step {self.number}: {self.kind} {self.name}{at} ({self.why})"


class Break(msgspec.Struct, frozen=True):
    """A breakpoint. Made by `read`."""

    text: str
    kind: str
    name: str | None = None
    expression: CodeType | None = None

    @classmethod
    def read(cls, text: str) -> Break:
        """The breakpoint that a text writes; ValueError where it writes none."""
        found = _FORM.fullmatch(text.strip()) if isinstance(text, str) else None
        if found is None:
            raise ValueError(f"break_={text!r} is no breakpoint: KIND[:NAME][?EXPR], as tool:refund?args.amount>100")
        code = None
        if found["expression"] is not None:
            try:
                code = compile(ast.parse(found["expression"].strip(), mode="eval"), f"break {text}", "eval")
            except (SyntaxError, ValueError) as error:
                raise ValueError(f"break_={text!r}: the expression cannot be read: {error}") from error
        return cls(text, found["kind"], found["name"], code)

    def holds(self, call: Reached, number: int, recorded: Step | None) -> bool:
        """Whether it is one for this call. Raises what the expression raises."""
        failed = recorded is not None and recorded.error is not None
        if not (self.kind in (ANY, call.kind) or (self.kind == FAILED and failed)):
            return False
        if self.name not in (None, ANY, call.name):
            return False
        if self.expression is None:
            return True
        names = {
            "args": _by_dots(codec.decode(call.data)),
            "result": _by_dots(recorded.result if recorded is not None else None),
            "error": _by_dots(recorded.error if recorded is not None else None),
            "kind": call.kind,
            "name": call.name,
            "step": number,
        }
        return bool(eval(self.expression, {"__builtins__": _SAFE}, names))


class _Dots(dict[str, Any]):
    """A mapping whose members can be asked for by a dot."""

    def __getattr__(self, name: str) -> Any:
        try:
            return _by_dots(self[name])
        except KeyError:
            raise AttributeError(name) from None


def _by_dots(value: Any) -> Any:
    if isinstance(value, dict):
        return _Dots({name: _by_dots(part) for name, part in value.items()})
    return [_by_dots(part) for part in value] if isinstance(value, list) else value


OnStop = Callable[[Stopped], "Literal['stop'] | None"]
"""Called where a breakpoint holds, in the code's own thread: "stop" ends the replay there, None goes on."""


class Watch:
    """What stops a replay before a step. `until`: before this one; else where a breakpoint holds."""

    def __init__(self, breaks: Iterable[Break] = (), until: int | None = None, on_break: OnStop | None = None) -> None:
        self.stopped: Stopped | None = None
        self.notes: list[str] = []
        self._breaks = tuple(breaks)
        self._until = until
        self._on_break = on_break
        self._unasked: dict[str, tuple[int, str]] = {}

    def reached(self, worker: Worker, call: StepCall) -> None:
        """The code has come to a step. Raises the stop where it is to end here."""
        number = self._number(worker, call)
        due = self._is_due(worker, call, number)
        if due is not None:
            self._stop(worker, self._seen(worker, call, number, due))
        recorded = call.entry.step if call.entry is not None else None
        for each in self._breaks:
            if self._holds(each, call, number, recorded):
                seen = self._seen(worker, call, number, f"break {each.text}")
                if self._on_break is None or self._on_break(seen) == "stop":
                    self._stop(worker, seen)
                return

    def end(self) -> None:
        """The replay is over: notes what a person should know of its breakpoints."""
        for text, (times, why) in self._unasked.items():
            self.notes.append(f"break {text} could not be asked of {times} steps: {why}")

    def _number(self, worker: Worker, call: StepCall) -> int:
        return worker.journal.index(call.entry)

    def _is_due(self, worker: Worker, call: StepCall, number: int) -> str | None:
        """Why the replay was to end here, if it was."""
        return f"before step {self._until}, as asked" if self._until is not None and number >= self._until else None

    def _holds(self, each: Break, call: Reached, number: int, recorded: Step | None) -> bool:
        try:
            return each.holds(call, number, recorded)
        except Exception as error:  # of other steps there may be nothing of that name
            times, _ = self._unasked.get(each.text, (0, ""))
            self._unasked[each.text] = (times + 1, f"{type(error).__name__}: {error}")
            return False

    def _seen(self, worker: Worker, call: StepCall, number: int, why: str) -> Stopped:
        return Stopped(
            number,
            call.kind,
            call.name,
            codec.decode(call.data),
            call.lane.id,
            worker.before(call.entry),
            why,
            calling_code(),
            call.entry.step if call.entry is not None else None,
            worker.state,
            calling_frame(sys._getframe(1)),
        )

    def _stop(self, worker: Worker, seen: Stopped) -> None:
        self.stopped = structs_without_frame(seen)
        raise worker.stop(ReplayOffline(f"session {worker.session!r}: the replay {seen}"))


def structs_without_frame(seen: Stopped) -> Stopped:
    """What outlives the code: its frame would keep everything in it alive."""
    return msgspec.structs.replace(seen, frame=None)
