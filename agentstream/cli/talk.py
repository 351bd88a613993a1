"""What is said beside the answer, on stderr, and what a person is asked.

`--quiet` and `--no-input`, which every verb takes, decide about both.
"""

from __future__ import annotations

import sys

from agentstream.cli.failures import CommandError, UsageError
from agentstream.cli.text import clean

_quiet = _no_input = False


def begin() -> None:
    """One call of the command line begins: nothing is said yet of how it shall talk."""
    global _quiet, _no_input
    _quiet = _no_input = False


def heed(*, quiet: bool, no_input: bool) -> None:
    """What the options say. They may stand before the verb and after it."""
    global _quiet, _no_input
    _quiet, _no_input = _quiet or quiet, _no_input or no_input


def is_quiet() -> bool:
    """Whether only errors are said."""
    return _quiet


def note(text: str) -> None:
    """What is worth knowing and no part of the answer."""
    if not _quiet:
        print(f"note: {clean(text)}", file=sys.stderr)


def can_ask() -> bool:
    """Whether there is a person to be asked, who wants to be."""
    return not _no_input and sys.stdin.isatty()


def confirmed(question: str, *, otherwise: str, flag: str) -> bool:
    """Whether a person says yes. Where there is nobody to ask: a UsageError, of what it is (`otherwise`) and of the
    flag that says yes."""
    if not can_ask():
        raise UsageError(f"{otherwise}, and there is nobody to ask here", hint=flag)
    import typer

    return typer.confirm(question, err=True)


class Declined(CommandError):
    """A person was asked, and said no."""

    code = "declined"


def require_yes(question: str, *, otherwise: str, flag: str) -> None:
    """As `confirmed`; Declined where the answer is no."""
    if not confirmed(question, otherwise=otherwise, flag=flag):
        raise Declined("nothing was done")
