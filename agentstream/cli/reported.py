"""A replay's report, for people and for programs."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentstream.cli.output import Output, shortened
from agentstream.cli.text import clean
from agentstream.cli.values import compact
from agentstream.sessions.views.folded import cost_json

if TYPE_CHECKING:
    from agentstream import Divergence, Report
    from agentstream.sessions.state import State

_SHOWN = 8
"""Differences of one divergence that a person is shown."""


@dataclass(frozen=True, slots=True)
class Told:
    """A report, and what it is of: the session and its state, the code by its name, the file if it is from one."""

    session: str
    function: str
    state: State
    report: Report
    file: str | None = None


def verdict(report: Report) -> str:
    """A report in one word."""
    if report.refused is not None:
        return "refused"
    if report.divergence is not None:
        return "diverged"
    if report.stopped is not None:
        return "stopped"
    if report.fork is not None:
        return "same" if report.identical else "otherwise" if report.returned else "unfinished"
    return "identical" if report.identical else "diverged"


def print_report(output: Output, told: Told) -> None:
    """For a person."""
    session, state, report = told.session, told.state, told.report
    word = verdict(report)
    colour = {"identical": "green", "same": "green", "stopped": "blue"}.get(word, "yellow" if report.fork else "red")
    output.line(f"{output.paint(word, colour)}  {_summary(report)}")
    for divergence in _divergences(report):
        print_divergence(output, session, state, divergence)
    for drift in report.drifts:
        print_divergence(output, session, state, drift, served=True)
    for number, each in enumerate(report.tries, 1):
        where = f"  {clean(each.fork)}" if each.fork else ""
        output.line(f"  try {number}: {verdict(each)}{where}  {clean(shortened(_result(each), 200))}")
    for note in (*report.notes, *((report.refused,) if report.refused else ())):
        output.line(clean(note))
    if report.error is not None and report.divergence is None:
        output.line(clean(f"the agent raised {type(report.error).__name__}: {report.error}"))
    elif report.returned and not report.tries:
        output.line(f"result  {clean(shortened(_result(report), 2000))}")
    for command in commands(told):
        output.line(f"{output.paint('next:', 'dim')} {clean(command)}")


def _summary(report: Report) -> str:
    of = f" of {report.recorded}" if report.recorded else ""  # of a graph it is not known before it has run
    text = f"{report.steps}{of} recorded steps served"
    if report.fork is not None:
        text += f", {report.made} made in {clean(report.fork)}"
    if report.passed is not None:
        text += f"; {report.passed} of {len(report.tries)} passed"
    return text


def print_divergence(
    output: Output, session: str, state: State, divergence: Divergence, *, served: bool = False
) -> None:
    """One disagreement, for a person."""
    room = max(output.width - 14, 40)
    about = divergence.kind.replace("_", " ") + (", served in spite of it" if served else "")
    place = step_name(state, divergence)
    head = f"{place}, event {divergence.before.index}, lane {divergence.lane}: {about}"
    output.line(output.paint(clean(head), "yellow" if served else "red"))
    output.line(f"  recorded  {clean(shortened(_shown(divergence.recorded), room))}")
    output.line(f"  now       {clean(shortened(_shown(divergence.actual), room))}")
    for label, code in (("was at", divergence.recorded_code), ("at", divergence.code)):
        if code:
            output.line(f"  {label:<8}  {clean(code)}")
    for change in divergence.diff[:_SHOWN]:
        output.line(f"  {clean(change['path']) or '/'}")
        for sign, name, colour in (("-", "was", "red"), ("+", "value", "green")):
            if name in change:
                output.line("    " + output.paint(f"{sign} {clean(shortened(compact(change[name]), room))}", colour))
    if len(divergence.diff) > _SHOWN:
        output.line(f"  … and {len(divergence.diff) - _SHOWN} more differences")


def print_fields(output: Output, state: State, report: Report) -> None:
    """For a pipe: what, and its parts, separated by tabs."""
    output.fields([verdict(report), str(report.steps), str(report.recorded), report.fork or "", _result(report)])
    for label, found in (("divergence", _divergences(report)), ("drift", report.drifts)):
        for each in found:
            sides = [_shown(each.recorded), _shown(each.actual)]
            cells = [each.kind, step_name(state, each), str(each.before.index), each.path, *sides, each.code or ""]
            output.fields([label, *cells])
    for number, each in enumerate(report.tries, 1):
        output.fields(["try", str(number), verdict(each), each.fork or "", _result(each)])
    for note in (*report.notes, *((report.refused,) if report.refused else ())):
        output.fields(["note", note])
    if report.error is not None:
        output.fields(["raised", type(report.error).__name__, str(report.error)])


def as_json(told: Told) -> dict[str, Any]:
    """For a program."""
    state, report = told.state, told.report
    return {
        "session": told.session,
        "file": told.file,
        "function": told.function,
        "verdict": verdict(report),
        "identical": report.identical,
        "steps": report.steps,
        "recorded": report.recorded,
        "returned": report.returned,
        "result": _data(report),
        "error": None if report.error is None else {"name": type(report.error).__name__, "text": str(report.error)},
        "divergence": None if report.divergence is None else divergence_json(state, report.divergence),
        "divergences": [divergence_json(state, each) for each in _divergences(report)],
        "drifts": [divergence_json(state, each) for each in report.drifts],
        "stopped": None
        if report.stopped is None
        else {
            "step": report.stopped.number,
            "kind": report.stopped.kind,
            "name": report.stopped.name,
            "at": report.stopped.before.index,
            "code": report.stopped.code,
            "why": report.stopped.why,
        },
        "fork": report.fork,
        "made": report.made,
        "estimate": None if report.estimate is None else cost_json(report.estimate),
        "refused": report.refused,
        "tries": [
            {"verdict": verdict(each), "fork": each.fork, "returned": each.returned, "result": _data(each)}
            for each in report.tries
        ],
        "passed": report.passed,
        "notes": list(report.notes),
        "next": commands(told),
    }


def divergence_json(state: State, divergence: Divergence) -> dict[str, Any]:
    return {
        "step": divergence.step_index,
        "session_step": _number(state, divergence),
        "at": divergence.before.index,
        "lane": divergence.lane,
        "kind": divergence.kind,
        "path": divergence.path,
        "recorded": divergence.recorded,
        "actual": divergence.actual,
        "diff": divergence.diff,
        "code": divergence.code,
        "recorded_code": divergence.recorded_code,
    }


def commands(told: Told) -> list[str]:
    """What a person may want to do next, as it is typed."""
    session, function, report = told.session, told.function, told.report
    name = shlex.quote(session)
    if report.fork is not None:
        fork = shlex.quote(report.fork)
        again = [f"agentstream resume {fork} {function}"] if not report.returned else []
        return [f"agentstream diff {fork}", *again]
    if report.divergence is None:
        return []
    at, branch = report.divergence.before.index, shlex.quote(f"{session}-branch")
    if told.file is not None:
        file = shlex.quote(told.file)
        return [f"agentstream replay {file} {function} --keep-going", f"agentstream import {file}"]
    return [
        f"agentstream fork {name}@{at} --as {branch} --run {function}",
        f"agentstream replay {name} {function} --keep-going",
        f"agentstream show {name}@{at}",
    ]


def step_name(state: State, divergence: Divergence) -> str:
    """`step:N` as `show` prints it; the end of the run where no step was recorded."""
    number = _number(state, divergence)
    return "the end" if number is None else f"step:{number}"


def _number(state: State, divergence: Divergence) -> int | None:
    if divergence.recorded is None:
        return None
    at = divergence.before.index
    return next((n for n, step in enumerate(state.steps) if step.attempts[0].start.index == at), None)


def _divergences(report: Report) -> tuple[Divergence, ...]:
    return report.divergences or ((report.divergence,) if report.divergence is not None else ())


def _shown(call: Any) -> str:
    if call is None:
        return "nothing"
    if isinstance(call, dict) and call.keys() >= {"kind", "name", "input"}:
        return f"{call['kind']} {call['name']}({compact(call['input'])})"
    return compact(call)


def _data(report: Report) -> Any:
    from agentstream.errors import NotSerializable
    from agentstream.sessions import codec

    try:
        return codec.encode(report.result).data
    except NotSerializable:
        return repr(report.result)


def _result(report: Report) -> str:
    return compact(_data(report)) if report.returned else ""
