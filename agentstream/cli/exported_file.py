"""A session in a file that `export` wrote: it is opened in memory, and nothing is written beside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from agentstream.cli.failures import Missing
from agentstream.cli.positions import read_place
from agentstream.cli.talk import note

if TYPE_CHECKING:
    from agentstream import Session
    from agentstream.cli.positions import Place


class Target(NamedTuple):
    """What was named: a session, a place in it if one was given, and the file that it is from, if it is from one."""

    session: Session
    place: Place | None
    file: str | None


@contextmanager
def opened_target(url: str | None, text: str) -> Iterator[Target]:
    """`SESSION[@POS]` of the store, or `FILE.jsonl[@POS]`: the first session of an export.

    Raises InvalidExport for a file that is none.
    """
    from agentstream.cli.store import find_target, opened_client

    named = _file_in(text)
    if named is None:
        with ExitStack() as opened:
            try:
                target = find_target(opened.enter_context(opened_client(url)), text)
            except Missing as error:
                if ".jsonl" not in text:
                    raise
                raise Missing(f"there is no file {text!r}, and {error}", hint=error.hint) from error
            yield Target(*target, None)
        return
    from agentstream import Client

    file, place = named
    with Client("memory:") as client:
        found = client.import_(file)
        if len(found) > 1:
            others = f"{len(found)} sessions are in {file}, and this is the first, {found[0].id!r}"
            note(f"{others}; for another, import the file")
        yield Target(found[0], place, file)


def _file_in(text: str) -> tuple[str, Place | None] | None:
    """The file that `text` names, and the place after it; None where it names a session."""
    head, _, tail = text.rpartition("@")
    place = read_place(tail) if head.endswith(".jsonl") else None
    file = head if place is not None and not Path(text).is_file() else text
    if not file.endswith(".jsonl") or not Path(file).is_file():
        return None
    return file, place if file == head else None
