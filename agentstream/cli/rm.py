"""`agentstream rm`: deletes sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agentstream.cli.failures import CONFLICT, CommandError
from agentstream.cli.options import answers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentstream import Client, Session
    from agentstream.cli.output import Output


class InUse(CommandError):
    """A session that somebody still needs."""

    code, exit_code = "in_use", CONFLICT


@answers()
def rm(
    output: Output,
    url: str | None,
    sessions: Annotated[list[str], typer.Argument(metavar="SESSION…", help="Whole ids.", show_default=False)],
    force: Annotated[
        bool, typer.Option("--force", help="Also what a worker is at, or what waits for a person.")
    ] = False,
    forks: Annotated[
        bool, typer.Option("--with-forks", "--forks", help="Also all that go on from their history; asks first.")
    ] = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Does not ask.")] = False,
) -> None:
    """Deletes sessions: all that are named, or none. Their forks stay readable, unless --with-forks.

    In a pipe: the ids, one a line.
    """
    from agentstream.cli.store import opened_client

    with opened_client(url) as client:
        found = {name: _deletable(client, name, force) for name in sessions}
        if forks:
            found = {name: _deletable(client, name, force) for name in _with_forks(client, found)}
            if not yes:
                _require_yes(list(found))
        for session in reversed(found.values()):  # a fork before what it goes on from
            session.delete()
    if output.form == "json":
        output.document("rm", list(found))
    else:
        for name in found:
            output.fields([name])


def _with_forks(client: Client, names: Iterable[str]) -> list[str]:
    """The sessions and all that go on from them, each after what it goes on from."""
    from agentstream.backends.driving import drive
    from agentstream.sessions.summaries import with_forks

    families = (drive(with_forks(client._core, name), client._core.backend) for name in names)
    every = {entry.id: len(entry.births) for family in families for entry in family}
    return sorted(every, key=lambda name: every[name])


def _require_yes(names: list[str]) -> None:
    from agentstream.cli.talk import require_yes
    from agentstream.cli.text import clean

    what = f"session {names[0]!r}" if len(names) == 1 else f"{len(names)} sessions"
    lines = "".join(f"  {clean(name)}\n" for name in names)
    require_yes(f"{lines}Delete {what}?", otherwise=f"this deletes {what}: {', '.join(names)}", flag="-y")


def _deletable(client: Client, name: str, force: bool) -> Session:
    from agentstream import Erased
    from agentstream.cli.store import exact_session

    session = exact_session(client, name)
    try:
        status = session.status()
    except Erased:
        return session
    if not force and status in ("running", "waiting"):
        why = "a worker is at it" if status == "running" else "it waits for a person"
        raise InUse(f"session {name!r} is {status}: {why}", hint="--force deletes it all the same")
    return session
