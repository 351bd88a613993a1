"""`agentstream attachment`: the files beside a session, listed or written out."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from agentstream.cli.failures import Ambiguous, Missing, UsageError
from agentstream.cli.options import answers

if TYPE_CHECKING:
    from agentstream import Attachment
    from agentstream.cli.output import Output


@answers()
def attachment(
    output: Output,
    url: str | None,
    session: Annotated[str, typer.Argument(metavar="SESSION", show_default=False)],
    named: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Its name, or the beginning of its SHA-256.", show_default=False),
    ] = None,
    out: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="Where to; - is stdout, if that is no terminal.")
    ] = "-",
) -> None:
    """Writes an attachment to a file, or lists them. In a pipe the list is: SHA-256, bytes, media type and name."""
    from agentstream.cli.store import find_session, opened_client

    with opened_client(url) as client:
        found = find_session(client, session).attachments()
        if named is None:
            _list(output, found)
            return
        wanted = _wanted(found, named, session)
        if out == "-":
            if sys.stdout.isatty():
                raise UsageError("an attachment goes into a file or a pipe, not to a terminal", hint="-o FILE")
            for piece in wanted.chunks():
                sys.stdout.buffer.write(piece)
        else:
            wanted.save(out)
            if output.form == "json":
                output.document("attachment", {"file": out, **_as_json(wanted)})


def _wanted(found: list[Attachment], named: str, session: str) -> Attachment:
    """The attachment of this name (of several, the last) or hash."""
    by_name = [each for each in found if each.name == named]
    if by_name:
        return by_name[-1]
    by_hash = {each.sha256: each for each in found if len(named) >= 4 and each.sha256.startswith(named)}
    if len(by_hash) > 1:
        raise Ambiguous(
            f"{named!r} begins several attachments of {session!r}", hint=f"agentstream attachment {session}"
        )
    if not by_hash:
        raise Missing(f"there is no attachment {named!r} in {session!r}", hint=f"agentstream attachment {session}")
    return next(iter(by_hash.values()))


def _list(output: Output, found: list[Attachment]) -> None:
    from agentstream.cli.text import clean
    from agentstream.cli.values import size_text

    if output.form == "json":
        output.document("attachments", [_as_json(each) for each in found])
    elif output.terminal:
        for each in found:
            size = size_text(each.size)
            output.line(f"{each.sha256[:12]}  {size:>9}  {clean(each.media_type)}  {clean(each.name or '')}")
    else:
        for each in found:
            output.fields([each.sha256, str(each.size), each.media_type, each.name or ""])


def _as_json(each: Attachment) -> dict[str, object]:
    return {"sha256": each.sha256, "size": each.size, "media_type": each.media_type, "name": each.name}
