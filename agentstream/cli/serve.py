"""`agentstream serve`: the store as a Durable Streams server."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agentstream.cli.failures import CommandError, UsageError, refusing_arguments
from agentstream.cli.text import clean

if TYPE_CHECKING:
    from agentstream import Client


def serve(
    store: Annotated[
        str | None,
        typer.Option("--store", metavar="URL", help="A folder or memory:; else $AGENTSTREAM_URL, else .agentstream."),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Other than this machine's own takes tokens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 is any that is free.")] = 4437,
    long_poll_timeout: Annotated[
        float, typer.Option("--long-poll-timeout", metavar="S", help="Seconds that a long-poll waits at most.")
    ] = 30.0,
    token: Annotated[
        list[str] | None,
        typer.Option("--token", metavar="[read:|write:]SECRET[@PREFIX]", help="Bearer token, of streams below PREFIX."),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="Tokens, one a line; not seen by `ps`.")
    ] = None,
    origin: Annotated[
        list[str] | None, typer.Option("--origin", metavar="URL", help="Pages that may ask a server without tokens.")
    ] = None,
    url: Annotated[
        str | None, typer.Option("--public-url", metavar="URL", help="How it is reached from outside: for webhooks.")
    ] = None,
    max_body: Annotated[int, typer.Option("--max-body", min=1, metavar="BYTES", help="Of one request.")] = 32
    * 1024
    * 1024,
    local_webhooks: Annotated[
        bool | None, typer.Option("--local-webhooks/--no-local-webhooks", help="Webhooks may lead to this machine.")
    ] = None,
) -> None:
    """Serves the streams of a store to any Durable Streams client, below /v1/stream, and its sessions to front ends.

    AG-UI and Vercel's AI SDK look at a session at /v1/session/SESSION/ag-ui and …/ai-sdk.

    Several of them may serve one store. SIGTERM and Ctrl-C end live reads and then the server;
    readers come again and miss nothing. Tokens can also stand in $AGENTSTREAM_TOKENS, apart by spaces.
    """
    from agentstream import Client

    try:
        from agentstream.frontends.application import Mounted
        from agentstream.frontends.application import app as frontends
        from agentstream.server import app
        from agentstream.server._running import bind
        from agentstream.server._running import serve as run
        from agentstream.server.access import is_loopback_host
    except ModuleNotFoundError as missing:
        raise UsageError(f"{missing.name} is not installed", hint="pip install 'agentstream-sdk[server]'") from missing

    tokens = [*(token or ()), *_tokens_in(token_file), *os.environ.get("AGENTSTREAM_TOKENS", "").split()]
    if not tokens and not is_loopback_host(host):
        raise UsageError(f"--host {host} is reached from other machines and takes a --token", hint="--token SECRET")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    with refusing_arguments():
        client = Client(store)
    with client:
        _look_at(client)
        with refusing_arguments():
            application = app(
                client,
                tokens=tokens,
                origins=origin or (),
                url=url,
                long_poll_timeout=long_poll_timeout,
                largest_body=max_body,
                local_webhooks=local_webhooks,
            )
            both = Mounted(application, frontends(client, tokens=tokens, origins=origin or ()))
        try:
            listening = bind(host, port)
        except OSError as error:
            reason = (error.strerror or str(error)).partition(" (while ")[0]  # the place, which was said
            raise CommandError(f"cannot listen at {host}:{port}: {reason}") from error
        place = f"[{host}]" if ":" in host else host
        where = f"http://{place}:{listening.getsockname()[1]}{application.settings.root}"
        run(both, listening, lambda: _say(f"serving {client.name} at {where}"))


def _look_at(client: Client) -> None:
    """Has a store that cannot be served say so now, and not to each who asks."""
    from agentstream.protocol.errors import StreamGone, StreamNotFound
    from agentstream.protocol.operations import Head

    with suppress(StreamNotFound, StreamGone):
        client._core.backend.execute(Head("~k/server"))  # pyright: ignore[reportPrivateUsage]


def _tokens_in(file: Path | None) -> list[str]:
    if file is None:
        return []
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--token-file {file}: {error}") from error
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _say(text: str) -> None:
    from agentstream.cli.talk import is_quiet

    if not is_quiet():
        print(clean(text), file=sys.stderr, flush=True)
