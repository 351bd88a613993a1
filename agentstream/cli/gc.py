"""`agentstream gc`: removes sessions by age, and what nobody refers to any more."""

from __future__ import annotations

from datetime import timezone
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentstream.cli.options import answers

if TYPE_CHECKING:
    from agentstream.cli.output import Output
    from agentstream.sessions.retention import GcReport


@answers()
def gc(
    output: Output,
    url: str | None,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="SPAN", help="Since the last event: 90s, 45m, 12h, 30d, 2w."),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="PATTERN", help="Ids that stay, as 'support/*'; several times."),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Removes. Without it: only says what would be.")] = False,
) -> None:
    """Removes old sessions, and the library's own streams that lead nowhere. Without --delete: only says what.

    A session with a time to live (`label --ttl`) goes by that. What waits for a person, what a
    worker is at and what forks need always stays. In a pipe: `remove`, id, last event, events
    and bytes; `keep`, id and reason; `stream` and path.
    """
    from agentstream.cli.spans import seconds
    from agentstream.cli.store import opened_client
    from agentstream.cli.working import working

    span = seconds(older_than, "--older-than") if older_than is not None else None
    with opened_client(url) as client, working("looking at every session"):
        report = client.gc(older_than=span, dry_run=not delete, keep=keep or ())
    if output.form == "json":
        output.document("gc", _as_json(report))
    else:
        _print(output, report)


def _print(output: Output, report: GcReport) -> None:
    for gone in report.removed:
        output.fields(["remove", gone.id, gone.last.isoformat(timespec="seconds"), str(gone.events), str(gone.bytes)])
    for kept in report.kept:
        output.fields(["keep", kept.id, kept.reason])
    for path in report.streams:
        output.fields(["stream", path])
    if output.terminal:
        would = "would be removed; --delete does it" if report.dry_run else "removed"
        output.line(output.paint(f"{len(report.removed)} sessions, {report.bytes} bytes {would}", "bold"))


def _as_json(report: GcReport) -> dict[str, Any]:
    return {
        "dry_run": report.dry_run,
        "removed": [
            {
                "id": gone.id,
                "last": gone.last.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "events": gone.events,
                "bytes": gone.bytes,
            }
            for gone in report.removed
        ],
        "kept": [{"id": kept.id, "reason": kept.reason} for kept in report.kept],
        "streams": list(report.streams),
        "leases": report.leases,
        "bytes": report.bytes,
    }
