"""`agentstream erase` and `agentstream rotate`: what is done with the keys of encrypted sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agentstream.cli.options import answers

if TYPE_CHECKING:
    from agentstream.cli.output import Output


@answers()
def erase(
    output: Output,
    url: str | None,
    session: Annotated[str, typer.Argument(metavar="SESSION", help="The whole id.", show_default=False)],
    forks: Annotated[bool, typer.Option("--forks", help="Also every session that goes on from its history.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Does not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also what a worker is at: it is stopped.")] = False,
) -> None:
    """Makes an encrypted session unreadable for ever, by forgetting its key. Nobody can undo it.

    Its forks read on what they share with it, unless --forks: then they are erased too. It is
    listed as erased until `agentstream rm` or gc removes it. In a pipe: the ids, one a line.
    """
    from agentstream.cli.store import exact_session, opened_client

    with opened_client(url) as client:
        handle = exact_session(client, session).with_options(take_over=force)
        if not yes:
            _require_yes(session, forks)
        erased = handle.erase(forks=forks)
    if output.form == "json":
        output.document("erase", erased)
    else:
        for id in erased:
            output.fields([id])


def _require_yes(session: str, forks: bool) -> None:
    from agentstream.cli.talk import require_yes

    what = f"session {session!r}" + (" and its forks" if forks else "")
    require_yes(f"Make {what} unreadable for ever?", otherwise="erasing cannot be undone", flag="--yes")


@answers()
def rotate(output: Output, url: str | None) -> None:
    """Wraps the keys of all encrypted sessions with the first key of $AGENTSTREAM_KEY: "NEW,OLD".

    Afterwards NEW alone opens everything. No event is touched. In a pipe: how many were wrapped.
    """
    from agentstream.cli.store import opened_client
    from agentstream.cli.working import working

    with opened_client(url) as client, working("wrapping keys"):
        wrapped = client.rotate_keys()
    if output.form == "json":
        output.document("rotate", {"wrapped": wrapped})
    else:
        output.fields([str(wrapped)])
