"""`agentstream doctor`: whether everything is there and works, said line by line."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentstream.cli.failures import FAILED
from agentstream.cli.options import answers

if TYPE_CHECKING:
    from agentstream import Client
    from agentstream.cli.output import Output

_EXTRAS = {
    "cli": ("typer", "rich"),
    "server": ("uvicorn", "httptools"),
    "encryption": ("cryptography",),
    "otel": ("opentelemetry-api",),
    "pytest": ("pytest",),
}
_NARROWEST = 12
"""Cells of the column that says what was looked at."""
_COLOURS = {"ok": "green", "note": "yellow", "wrong": "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `ok`, `note` (works, but know this) or `wrong`."""

    what: str
    state: str
    said: str


@answers()
def doctor(
    output: Output,
    url: str | None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Writes no session of its own to try whether that works.")
    ] = False,
) -> None:
    """Looks whether agentstream and its store work: versions, extras, what the store can do, sessions that need you.

    It writes a session, replays and forks it, and deletes both. Exit code 1: something is wrong.
    In a pipe: what, ok/note/wrong, and what is to be said of it, separated by tabs.
    """
    installed = list(_installed())
    width = max(_NARROWEST, *(len(finding.what) for finding in installed))
    found: list[Finding] = []
    for finding in chain(installed, _store(url, read_only=read_only)):
        found.append(finding)
        if output.form == "text":
            _print(output, finding, width)
    if output.form == "json":
        output.document("doctor", [{"what": one.what, "state": one.state, "said": one.said} for one in found])
    if any(finding.state == "wrong" for finding in found):
        raise typer.Exit(FAILED)


def _print(output: Output, finding: Finding, width: int) -> None:
    from agentstream.cli.text import clean

    if output.terminal:
        state = output.paint(f"{finding.state:5}", _COLOURS[finding.state])
        output.line(f"{state}  {finding.what:{width}}  {clean(finding.said)}")
    else:
        output.fields([finding.what, finding.state, finding.said])
    output.flush()  # what comes next may take a while


def _installed() -> Iterator[Finding]:
    from agentstream import __version__

    yield Finding("agentstream", "ok", f"{__version__}, Python {platform.python_version()} on {sys.platform}")
    yield from _extras()
    yield from _integrations()


def _extras() -> Iterator[Finding]:
    for extra, packages in _EXTRAS.items():
        missing = [name for name in packages if _version(name) is None]
        if missing:
            yield Finding(extra, "note", f"not installed; if you need it: pip install 'agentstream-sdk[{extra}]'")
        else:
            yield Finding(extra, "ok", ", ".join(f"{name} {_version(name)}" for name in packages))


def _integrations() -> Iterator[Finding]:
    from importlib import metadata

    from agentstream import __version__

    names = sorted({str(each.metadata["Name"]) for each in metadata.distributions() if each.metadata["Name"]})
    for name in names:
        if name.startswith("agentstream-") and name != "agentstream-sdk":
            version = _version(name)
            same = version == __version__
            yield Finding(name, "ok" if same else "note", f"{version}" + ("" if same else f", beside {__version__}"))


def _version(package: str) -> str | None:
    from importlib import metadata  # slow to import, and every command imports this module

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _store(url: str | None, *, read_only: bool) -> Iterator[Finding]:
    from agentstream.cli.failures import describe
    from agentstream.cli.store import opened_client

    try:
        with opened_client(url) as client:
            yield Finding("store", "ok", client.name)
            yield from _can(client)
            yield from _sessions(client)
            if not read_only:
                yield from _tried(client)
    except Exception as error:
        failure = describe(error)
        yield Finding("store", "wrong", failure.message + (f" ({failure.hint})" if failure.hint else ""))


def _can(client: Client) -> Iterator[Finding]:
    traits = client._core.backend.traits
    lists = traits.lists or traits.catalogs
    yield Finding("list", "ok" if lists else "note", "lists sessions" if lists else "cannot list: name sessions by id")
    forks = "at any event, by the store itself" if traits.exact_forks else "as the server can; stitched where it cannot"
    yield Finding("fork", "ok", forks)


def _sessions(client: Client) -> Iterator[Finding]:
    traits = client._core.backend.traits
    if not (traits.lists or traits.catalogs):
        return
    found = client.sessions()
    yield Finding("sessions", "ok", str(len(found)))
    about = {
        "unreadable": ("wrong", "cannot be read: agentstream show"),
        "abandoned": ("note", "were left by their worker; agentstream resume goes on"),
        "exhausted": ("note", "were begun again and again for nothing; look at their last events"),
    }
    for status, (state, what) in about.items():
        ids = [each.id for each in found if each.status == status]
        if ids:
            more = ", …" if len(ids) > 5 else ""
            yield Finding(status, state, f"{len(ids)} {what} ({', '.join(ids[:5])}{more})")


def _tried(client: Client) -> Iterator[Finding]:
    from agentstream import step
    from agentstream.sessions.ids import fresh_id

    probe = step(name="probe")(lambda number: number + 1)

    def agent() -> int:
        return probe(1)

    name = f"doctor-{fresh_id()}"
    session, branch = client.session(name), client.session(f"{name}-fork")
    try:
        session.run(agent)
        state = session.state()
        kept = next(each.last.start.index for each in state.steps)
        session.fork(branch.id, kept)
        report = session.replay(agent)
        fine = state.status == "finished" and branch.state().inherited == kept and report.identical
        said = "a session was written, read, replayed and forked"
        yield Finding(
            "write", "ok" if fine else "wrong", said if fine else f"what was written reads otherwise: {report}"
        )
    finally:
        _deleted(branch)
        _deleted(session)


def _deleted(session: Any) -> None:
    from agentstream import NotFound

    with suppress(NotFound):  # it may not have come to that
        session.delete()
