"""How a command ends when it does not end well: one line of what and one of what to do, and an exit code to act on."""

from __future__ import annotations

import json
import os
import shlex
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from agentstream.cli.text import clean, escaped_json

if TYPE_CHECKING:
    from agentstream import RunWaiting

FAILED, USAGE, NOT_FOUND, AUTH, STORE, CONFLICT, INTERRUPTED, PIPE_CLOSED = 1, 2, 3, 4, 5, 6, 130, 141
REFUSED, RAISED, WAITS = 7, 8, 9


class CommandError(Exception):
    """What a command itself found wrong. `code` is its name in JSON, `exit_code` the process's, `hint` what to do."""

    code, exit_code = "failed", FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(CommandError):
    """Arguments that mean nothing."""

    code, exit_code = "usage", USAGE


class Ambiguous(CommandError):
    """The beginning of several ids."""

    code, exit_code = "ambiguous", USAGE


class Missing(CommandError):
    """No such store, session or position."""

    code, exit_code = "not_found", NOT_FOUND


class Refused(CommandError):
    """A call to the outside that was not allowed."""

    code, exit_code = "refused", REFUSED


class AgentRaised(CommandError):
    """The agent's own code raised."""

    code, exit_code = "raised", RAISED

    @classmethod
    def of(cls, error: BaseException) -> AgentRaised:
        """The error, with the place in the user's code that raised it."""
        from agentstream.agents.locations import raised_at

        place = raised_at(error)
        return cls(f"the agent raised {type(error).__name__}: {error}" + (f" ({place})" if place else ""))


class Waits(CommandError):
    """The run waits for somebody."""

    code, exit_code = "waiting", WAITS

    @classmethod
    def of(cls, session: str, error: RunWaiting) -> Waits:
        """The error, with what is typed in place of what is called."""
        ways = [f"agentstream answer {shlex.quote(each.session or session)}" for each in error.questions]
        going_on = f"agentstream resume {shlex.quote(session)}"
        said = str(error).rpartition(". ")[0] or str(error)  # the last sentence is for who writes Python
        return cls(said, hint=", then ".join(dict.fromkeys([*ways, going_on])))


@dataclass(frozen=True, slots=True)
class Failure:
    """What is said of an error."""

    code: str
    exit_code: int
    message: str
    hint: str | None = None


@contextmanager
def refusing_arguments() -> Iterator[None]:
    """Around library calls with what the user typed: there a ValueError or TypeError says what is wrong with that."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise UsageError(str(error)) from error


def report(error: BaseException, *, as_json: bool, path: str = "agentstream") -> int:
    """Says on stderr what went wrong and returns the exit code. `path` is what was called: `agentstream show`."""
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        _write_nowhere()
        return PIPE_CLOSED
    failure = describe(error, path)
    try:
        sys.stdout.flush()  # what was found before comes before
    except OSError:
        _write_nowhere()
    if as_json:
        body = {"code": failure.code, "message": failure.message, "hint": failure.hint}
        print(escaped_json(json.dumps({"error": body}, ensure_ascii=False)), file=sys.stderr)
    elif failure.exit_code != INTERRUPTED:
        print(f"error: {clean(failure.message)}", file=sys.stderr)
        if failure.hint:
            print(f"hint: {clean(failure.hint)}", file=sys.stderr)
    return failure.exit_code


def describe(error: BaseException, path: str = "agentstream") -> Failure:
    """Which failure an error is."""
    if isinstance(error, CommandError):
        return Failure(error.code, error.exit_code, str(error), error.hint)
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return Failure("interrupted", INTERRUPTED, "interrupted")
    parsing = getattr(error, "format_message", None)  # click's, or the copy of click that typer carries
    if callable(parsing):
        said = str(parsing()).replace("Value error, ", "")  # how pydantic begins
        return Failure("usage", USAGE, said, f"{path} --help")
    if isinstance(error, OSError):
        return Failure("failed", FAILED, str(error))
    return _of_library(error) or _of_bug(error)


ANSWERS = {"invalid": 10, "late": 11, "double": 12, "expired": 13}
"""Why an answer does not count, each with an exit code of its own."""


def _of_library(error: BaseException) -> Failure | None:
    from agentstream import errors
    from agentstream.protocol.errors import SequenceConflict, StreamClosed, StreamConflict, StreamGone, StreamNotFound

    table: tuple[tuple[type[BaseException], str, int], ...] = (
        (errors.NotFound, "not_found", NOT_FOUND),
        (StreamNotFound, "not_found", NOT_FOUND),
        (StreamGone, "not_found", NOT_FOUND),
        (errors.SessionExists, "session_exists", CONFLICT),
        (errors.SessionBusy, "session_busy", CONFLICT),
        (errors.RunPending, "run_pending", CONFLICT),
        (errors.Fenced, "fenced", CONFLICT),
        (errors.RunCancelled, "run_cancelled", CONFLICT),
        (errors.RunExhausted, "run_exhausted", CONFLICT),
        (errors.OutcomeUnknown, "outcome_unknown", CONFLICT),
        (errors.RunWaiting, "waiting", WAITS),
        (errors.ReplayOffline, "refused", REFUSED),
        (errors.Diverged, "diverged", FAILED),
        (StreamConflict, "conflict", CONFLICT),
        (StreamClosed, "conflict", CONFLICT),
        (SequenceConflict, "conflict", CONFLICT),
        (errors.Unauthorized, "unauthorized", AUTH),
        (errors.Unavailable, "unavailable", STORE),
        (errors.StoreError, "store", STORE),
        (errors.NotSerializable, "usage", USAGE),
        (errors.Locked, "locked", FAILED),
        (errors.InvalidExport, "invalid_export", FAILED),
        (errors.AgentStreamError, "failed", FAILED),
    )
    if isinstance(error, errors.AnswerRefused):
        return Failure(f"answer_{error.reason}", ANSWERS.get(error.reason, FAILED), str(error))
    for kind, code, exit_code in table:
        if isinstance(error, kind):
            hint = "give its token as $AGENTSTREAM_AUTH" if exit_code == AUTH else None
            return Failure(code, exit_code, str(error), hint)
    return None


def _of_bug(error: BaseException) -> Failure:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return Failure(
        "internal",
        FAILED,
        f"this is a mistake in agentstream: {type(error).__name__}: {error}{place}",
        "please report it, with the command and this line",
    )


def _write_nowhere() -> None:
    """Whoever read our output left: what the interpreter still flushes at its end must not fail again."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        pass  # no file behind stdout, so nothing that could fail
