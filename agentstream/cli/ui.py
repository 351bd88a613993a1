"""`agentstream ui`: the inspector, a page in the browser over the store."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from agentstream.cli.failures import CommandError, UsageError, refusing_arguments
from agentstream.cli.options import Prices, Url

if TYPE_CHECKING:
    from agentstream import Client
    from agentstream.inspector.service import Start


def ui(
    session: Annotated[
        str | None, typer.Argument(metavar="[SESSION[@POS]]", help="Where it begins.", show_default=False)
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 is any that is free.")] = 0,
    host: Annotated[str, typer.Option("--host", help="An address of this machine itself.")] = "127.0.0.1",
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Opens none; the URL is printed.")] = False,
    read_only: Annotated[bool, typer.Option("--read-only", help="Forks, answers and runs nothing.")] = False,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="EXPORT", help="Looks at a jsonl export and not at a store.")
    ] = None,
    prices: Prices = None,
    url: Url = None,
) -> None:
    """Opens the inspector: sessions, steps and their state, live; compares, forks and replays them.

    Prints one URL, which holds a token of this run and is reached from this machine only. Ctrl-C ends it.
    """
    try:
        from agentstream.inspector.app import Application
        from agentstream.server._running import bind
        from agentstream.server._running import serve as run
        from agentstream.server.access import is_loopback_host
    except ModuleNotFoundError as missing:
        raise UsageError(
            f"{missing.name} is not installed", hint="pip install 'agentstream-sdk[cli,server]'"
        ) from missing
    from agentstream.cli.tree import price_table
    from agentstream.inspector.access import fresh_token
    from agentstream.inspector.service import Inspector

    if not is_loopback_host(host):
        raise UsageError(
            f"--host {host} is reached from other machines, and the inspector shows and runs what this one has",
            hint="from elsewhere, forward a port: ssh -L 4438:127.0.0.1:4438 HOST",
        )
    if file is not None and url is not None:
        raise UsageError("--file and --url do not go together")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    with _opened(url, file) as client:
        start = _start(client, session)
        inspector = Inspector(
            client.to_async(),
            read_only=read_only or file is not None,
            start=start,
            file=str(file) if file is not None else None,
            prices=price_table(prices),
            url=url,
        )
        token = fresh_token()
        gc.set_threshold(50_000, 20, 50)  # rows by the ten thousand, and no cycles: looking for those takes a quarter
        try:
            listening = bind(host, port)
        except OSError as error:
            reason = (error.strerror or str(error)).partition(" (while ")[0]
            raise CommandError(f"cannot listen at {host}:{port}: {reason}") from error
        place = f"[{host}]" if ":" in host else host
        address = f"http://{place}:{listening.getsockname()[1]}/#/{_path(start)}?token={token}"
        run(Application(inspector, token), listening, lambda: _say(address, no_browser=no_browser))


@contextmanager
def _opened(url: str | None, file: Path | None) -> Iterator[Client]:
    """The store, or one in memory that holds what a file exported."""
    from agentstream import Client
    from agentstream.cli.store import opened_client

    if file is None:
        with opened_client(url) as client:
            yield client
        return
    with refusing_arguments(), Client("memory:", encrypt=False) as client:
        if not file.is_file():
            raise UsageError(f"--file {file}: there is no such file", hint="agentstream export SESSION -o FILE")
        client.import_(file)
        yield client


def _start(client: Client, session: str | None) -> Start | None:
    from agentstream.cli.positions import index_of
    from agentstream.cli.store import find_target, open_session
    from agentstream.inspector.service import Start

    if session is None:
        return None
    found, place = find_target(client, session)
    return Start(found.id, None if place is None else index_of(place, open_session(found).state))


def _path(start: Start | None) -> str:
    if start is None:
        return ""
    return f"s/{quote(start.session, safe='')}" + ("" if start.at is None else f"@{start.at}")


def _say(address: str, *, no_browser: bool) -> None:
    print(address, flush=True)
    if not no_browser:
        import webbrowser

        webbrowser.open(address)
