"""What our ASGI apps have in common: the lifespan, who is admitted, and an answer to whatever happens."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import suppress

from agentstream.protocol.http import HttpResponse
from agentstream.protocol.problems import problem
from agentstream.server.access import EVERYTHING, Refused, Token, check_local, identified, parse_token
from agentstream.server.exchange import Exchange, Gone, Receive, Scope, Send
from agentstream.server.settings import Settings

_log = logging.getLogger("agentstream.server")


class Shell(ABC):
    """An app that answers HTTP exchanges, for the event loop it is called in."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        self.begin()  # where nothing told that the server began: a mounted app is told nothing
        exchange = Exchange(scope, receive, send, self.settings)
        try:
            response = await self._answered(exchange)
        except (Gone, OSError):
            return  # nobody is there any more
        if response is not None and not exchange.begun:
            with suppress(OSError):
                await exchange.reply(response)

    def begin(self) -> None:  # noqa: B027 - nothing to begin is a beginning
        """Begins the app's own work, in the running event loop. More than once is once."""

    @abstractmethod
    async def close(self) -> None:
        """Ends the app's own work and its live reads. What it stands on stays open: that is whose it was."""

    @abstractmethod
    async def _answer(self, exchange: Exchange) -> HttpResponse | None:
        """The response; None where it was sent in parts."""

    @abstractmethod
    def _problem(self, exchange: Exchange, error: Exception) -> HttpResponse | None:
        """The response to an error of this app's own; None for any other."""

    def _admitted(self, exchange: Exchange) -> Token:
        """Who asks. Raises Refused."""
        if self.settings.tokens:
            return identified(exchange.headers, self.settings.tokens)
        if not self.settings.public:
            check_local(exchange.client, exchange.headers, self.settings.origins)
        return EVERYTHING

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self.close()
                await send({"type": "lifespan.shutdown.complete"})
                return
            self.begin()
            await send({"type": "lifespan.startup.complete"})

    async def _answered(self, exchange: Exchange) -> HttpResponse | None:
        try:
            return await self._answer(exchange)
        except (Gone, OSError):
            raise
        except Refused as refused:
            return refused.response
        except Exception as error:
            told = self._problem(exchange, error)
            if told is not None:
                return told
            _log.exception("%s %s failed", exchange.method, exchange.path)
            return problem(500, "internal_error", "the server failed; its log says more")


def parse_tokens(tokens: Iterable[Token | str]) -> tuple[Token, ...]:
    """Raises ValueError for a text that is no token."""
    return tuple(token if isinstance(token, Token) else parse_token(token) for token in tokens)


def check_root(root: str) -> None:
    if not root.startswith("/") or root.endswith("/"):
        raise ValueError(f"root is {root!r}; it begins with a slash and ends without one")
