"""`agentstream label`: a session's title, tags and time to live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentstream.cli.failures import UsageError, refusing_arguments
from agentstream.cli.options import answers

if TYPE_CHECKING:
    from agentstream import Session
    from agentstream.cli.output import Output


@answers()
def label(
    output: Output,
    url: str | None,
    session: Annotated[str, typer.Argument(metavar="SESSION", show_default=False)],
    title: Annotated[str | None, typer.Option("--title", metavar="TEXT")] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="NAME[=VALUE]", help="Sets a tag; several times.")
    ] = None,
    untag: Annotated[list[str] | None, typer.Option("--untag", metavar="NAME", help="Takes a tag away.")] = None,
    ttl: Annotated[
        str | None,
        typer.Option("--ttl", metavar="SPAN", help="gc removes it so long after its last event: 12h, 30d; or never."),
    ] = None,
) -> None:
    """Labels a session, so that list finds it and gc knows how long it is wanted. In a pipe: id, title, tags."""
    from agentstream.cli.spans import seconds
    from agentstream.cli.store import find_session, opened_client

    tags = _tags(tag or [], untag or [])
    if title is None and not tags and ttl is None:
        raise UsageError("there is nothing to label", hint="--title, --tag, --untag or --ttl")
    span = seconds(ttl, "--ttl") if ttl not in (None, "never") else None
    with opened_client(url) as client:
        found = find_session(client, session)
        with refusing_arguments():
            if title is not None or tags:
                found.label(title, tags or None)
            if ttl is not None:
                found.set_ttl(span)
        data = _labels(found)
    if output.form == "json":
        output.document("label", data)
    else:
        output.fields([data["id"], data["title"] or "", *(f"{name}={value}" for name, value in data["tags"].items())])


def _tags(set_: list[str], unset: list[str]) -> dict[str, str | bool | None]:
    tags: dict[str, str | bool | None] = dict.fromkeys(unset)
    for text in set_:
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError(f"--tag {text!r} has no name", hint="for example --tag customer=42")
        tags[name] = value if equals else True
    return tags


def _labels(session: Session) -> dict[str, Any]:
    from agentstream.sessions.summaries import ttl_of

    state = session.state()
    return {"id": session.id, "title": state.title, "tags": state.tags, "ttl": ttl_of(state)}
