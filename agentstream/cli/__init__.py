"""The command line: `agentstream list`, `show`, `tail`, `fork`, `answer`, …

An answer goes to stdout, talk to stderr, and the exit code is an answer too (`failures.py`).
It needs typer and rich, the extra `cli`; nothing here is imported before a command needs it,
so that help comes at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from agentstream.cli import collecting

_NEEDED = ("typer", "rich", "click")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line with `argv` (the process's own by default) and returns the exit code."""
    if argv is not None:
        return _called(list(argv))
    collecting.seldom()
    code = _called(sys.argv[1:])
    collecting.never_again()
    return code


def _called(arguments: list[str]) -> int:
    try:
        from agentstream.cli.app import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        print(
            f"error: the command line needs {error.name}, which is not installed\n"
            'hint: pip install "agentstream-sdk[cli]"',
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        return 130
    return run(arguments)
