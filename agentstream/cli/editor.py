"""A person's own editor, on a value that was recorded."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentstream.cli.failures import UsageError


@contextmanager
def edited(text: str, suffix: str, *, otherwise: str) -> Iterator[tuple[str, Path]]:
    """What `$VISUAL` or `$EDITOR` made of `text`, and the file that it is in, which is gone afterwards.

    A UsageError inside leaves that file: nobody writes a thing twice because of a comma. UsageError where there is no
    editor, nobody to edit (`otherwise` says what to do then), where it failed, and where nothing was changed.
    """
    from agentstream.cli.talk import can_ask

    command = _command()
    if not can_ask():
        raise UsageError("--edit opens an editor, and there is no terminal for it here", hint=otherwise)
    handle, name = tempfile.mkstemp(suffix, "agentstream-")  # nobody else may read it
    file, kept = Path(name), False
    try:
        with os.fdopen(handle, "wb") as written:  # bytes: an end of a line stays what it is
            written.write((text if text.endswith("\n") else f"{text}\n").encode("utf-8", "surrogatepass"))
        _run([*command, name])
        given = _read(file)
        if not text.endswith("\n"):
            given = given.removesuffix("\n")  # an editor ends the last line
        if given == text:
            raise UsageError("nothing was changed, so nothing is made", hint="without --edit it is forked as it is")
        try:
            yield given, file
        except UsageError:
            kept = True
            raise
    finally:
        if not kept:
            file.unlink(missing_ok=True)


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8", "surrogatepass")
    except (OSError, ValueError) as error:
        raise UsageError(f"what the editor left cannot be read: {error}") from error


def _command() -> list[str]:
    named = os.environ.get("VISUAL") or os.environ.get("EDITOR") or ""
    try:
        command = shlex.split(named)
    except ValueError as error:
        raise UsageError(f"{named!r} is no command for an editor: {error}") from error
    if not command:
        hint = "EDITOR=nano agentstream fork …"
        raise UsageError("--edit needs an editor: neither $VISUAL nor $EDITOR names one", hint=hint)
    return command


def _run(command: list[str]) -> None:
    """The editor, on the terminal; also where our own output goes elsewhere."""
    try:
        done = subprocess.run(command, stdout=None if sys.stdout.isatty() else sys.stderr, check=False)
    except OSError as error:
        raise UsageError(f"the editor {command[0]!r} cannot be started: {error.strerror or error}") from error
    if done.returncode:
        raise UsageError(f"the editor ended with {done.returncode}, so nothing is made")
