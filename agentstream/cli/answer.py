"""`agentstream answer`: what a session asks people, and an answer to it."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentstream.cli.failures import Ambiguous, Missing, UsageError, refusing_arguments
from agentstream.cli.options import answers

if TYPE_CHECKING:
    from agentstream.cli.output import Output
    from agentstream.sessions.questions import Question
    from agentstream.sessions.state import State

COLUMNS = ("step", "expires", "question", "answer")

YES = frozenset(("yes", "y", "approve", "true"))
NO = frozenset(("no", "n", "deny", "false"))


@answers()
def answer(
    output: Output,
    url: str | None,
    session: Annotated[str, typer.Argument(metavar="SESSION", show_default=False)],
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[QUESTION] [VALUE]",
            help="QUESTION is a key, the beginning of one, or step:N; it may be left out where only one is open. "
            "VALUE is JSON, bare text, or @FILE; yes or no for an approval; after -- where it begins with -.",
            show_default=False,
        ),
    ] = None,
    by: Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who answers.")] = None,
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why an approval is denied.")] = None,
    set_argument: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="Approves with another value of this argument; several times."
        ),
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="VALUE is text, whatever it looks like.")] = False,
) -> None:
    """Answers a question of a session; without VALUE, lists those that are open.

    In a pipe the list has key, step, kind, asked, expires, prompt and what can be answered (choices,
    schema, or an approval's arguments as JSON), separated by tabs; an answer prints the question's key
    and the value. An answer that does not count ends with 10 (invalid: another form than asked
    for), 11 (late: the run does not wait for it any more), 12 (double: it was answered) or 13 (expired).
    """
    from agentstream.cli.store import find_session, opened_client

    with opened_client(url) as client:
        found = find_session(client, session)
        state = found.state()
        question, value = _understood(state, words or [])
        if value is None:
            if by is not None or reason is not None or set_argument or text:
                raise UsageError("there is no VALUE to answer with", hint="agentstream answer SESSION [QUESTION] VALUE")
            _print_open(output, state, question)
            return
        question = question or _only_open(state)
        given = _edited(read_value(value, question, text=text), question, reason, set_argument or [])
        with refusing_arguments():
            event = found.answer(question.key, given, by=by)
    if output.form == "json":
        data = {"session": found.id, "question": question.key, "value": given, "by": by, "index": event.index}
        output.document("answer", data)
    else:
        from agentstream.cli.values import compact

        output.fields([question.key, compact(given)])


# --- which question --------------------------------------------------------------------------------------------------


def _understood(state: State, words: list[str]) -> tuple[Question | None, str | None]:
    """The question and the value that the words say; a lone word is a question only where it names one in full."""
    if len(words) > 2:
        raise UsageError("there is more than a QUESTION and a VALUE", hint="a value with blanks needs quotes")
    if len(words) == 2:
        return _named(state, words[0]), words[1]
    if not words:
        return None, None
    question = state.questions.get(words[0])
    return (question, None) if question is not None else (None, words[0])


def _named(state: State, name: str) -> Question:
    """By key, by the beginning of one, or by the number of its step."""
    from agentstream.cli.positions import read_place, step_at

    place = read_place(name)
    if place is not None and place.kind == "step":
        name = step_at(place.number, state).key
    if name in state.questions:
        return state.questions[name]
    found = [question for key, question in state.questions.items() if name and key.startswith(name)]
    if len(found) > 1:
        keys = ", ".join(question.key for question in found)
        raise Ambiguous(f"{name!r} is the beginning of several questions: {keys}", hint="give more of the key")
    if not found:
        raise Missing(f"session {state.session!r} has no question {name!r}", hint=f"agentstream answer {state.session}")
    return found[0]


def _only_open(state: State) -> Question:
    from agentstream.sessions.answering import open_questions

    found = open_questions(state)
    if len(found) > 1:
        keys = ", ".join(question.key for question in found)
        raise Ambiguous(f"session {state.session!r} asks several questions: {keys}", hint="say which, before the value")
    if not found:
        raise Missing(f"session {state.session!r} has no open question", hint=_last_answered(state))
    return found[0]


def _last_answered(state: State) -> str | None:
    answers = [given for question in state.questions.values() if (given := question.answer) is not None]
    if not answers:
        return None
    last = max(answers, key=lambda given: given.event.index)
    return f"the last one was answered{f' by {last.by}' if last.by else ''}, {last.event.timestamp}"


# --- the value -------------------------------------------------------------------------------------------------------


def read_value(typed: str, question: Question, *, text: bool = False) -> Any:
    """What was typed, in the form that the question asks for: JSON where that fits, else the text as it stands."""
    if text:
        return typed
    if question.kind == "approval" and typed.lower() in YES | NO:
        return typed.lower() in YES
    where = "VALUE"
    if typed.startswith("@"):
        where, typed = typed[1:], _of_file(typed[1:])
    try:
        value = json_module.loads(typed, parse_constant=_refused)
    except (ValueError, RecursionError):
        if where != "VALUE" and question.misfit(typed) is not None:
            raise UsageError(f"{where} is not JSON, which the question asks for") from None
        return typed
    return value if question.misfit(value) is None or question.misfit(typed) is not None else typed


def _of_file(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"the file cannot be read: {error}", hint="--text takes a VALUE that begins with @ as it is"
        ) from error


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _edited(value: Any, question: Question, reason: str | None, assigned: list[str]) -> Any:
    """An approval's answer with the reason and the arguments that options gave."""
    if reason is None and not assigned:
        return value
    if question.kind != "approval" or not isinstance(value, bool):
        raise UsageError("--reason and --set go with yes or no to an approval")
    if assigned and not value:
        raise UsageError("--set approves with other arguments, and the answer is no")
    arguments = dict(map(_assignment, assigned))
    return {
        "approved": value,
        **({"reason": reason} if reason is not None else {}),
        **({"arguments": arguments} if arguments else {}),
    }


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(f"--set {text!r} is not NAME=VALUE", hint="for example --set amount=5")
    try:
        return name, json_module.loads(value, parse_constant=_refused)
    except (ValueError, RecursionError):
        return name, value


# --- the open ones ---------------------------------------------------------------------------------------------------


def _print_open(output: Output, state: State, only: Question | None) -> None:
    from agentstream.sessions.answering import open_questions

    found = [only] if only is not None else open_questions(state)
    numbers = {step.key: f"step:{number}" for number, step in enumerate(state.steps)}
    if output.form == "json":
        output.document("questions", [_as_json(question, numbers) for question in found])
    elif output.terminal:
        _print_table(output, found, numbers)
    else:
        for question in found:
            shown = _as_json(question, numbers)
            wanted = _wanted(question)
            cells = [question.key, shown["step"], question.kind, shown["asked"], shown["expires"], question.prompt]
            output.fields([*(cell or "" for cell in cells), wanted])


def _print_table(output: Output, found: list[Question], numbers: dict[str, str]) -> None:
    from agentstream.cli.output import Table, widths_of
    from agentstream.sessions import moments

    if not found:
        output.line(output.paint("nothing is asked", "dim"))
        return
    rows = [
        [
            numbers.get(question.key, question.key),
            moments.text(question.expires) if question.expires is not None else "",
            question.prompt,
            _wanted(question),
        ]
        for question in found
    ]
    table = Table(output, COLUMNS, widths_of(rows, len(COLUMNS)))
    for cells in rows:
        table.row(cells)


def _wanted(question: Question) -> str:
    """What can be answered, in a line."""
    from agentstream.cli.values import compact

    if question.kind == "approval":
        return compact(question.arguments)
    if question.choices is not None:
        return compact(question.choices)
    return compact(question.schema) if question.schema is not None else ""


def _as_json(question: Question, numbers: dict[str, str]) -> dict[str, Any]:
    from agentstream.sessions import moments

    return {
        "key": question.key,
        "step": numbers.get(question.key),
        "kind": question.kind,
        "prompt": question.prompt,
        "asked": moments.text(question.asked) if question.asked is not None else None,
        "expires": moments.text(question.expires) if question.expires is not None else None,
        "status": question.status,
        "choices": question.choices,
        "schema": question.schema,
        "of": question.step,
        "arguments": question.arguments,
    }
