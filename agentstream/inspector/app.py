"""The inspector as an ASGI app: the page, and what it reads and asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agentstream import frontends
from agentstream.inspector.access import POLICY, Denied, check_place, check_token
from agentstream.inspector.failures import failure
from agentstream.inspector.files import file_at
from agentstream.inspector.requests import Failed, Request
from agentstream.inspector.routes import ROUTES
from agentstream.server.exchange import Gone, Receive, Scope, Send
from agentstream.server.settings import Settings

if TYPE_CHECKING:
    from agentstream.inspector.service import Inspector


class Application:
    """The app of one inspector, for the event loop it is called in. `token` opens it."""

    def __init__(self, inspector: Inspector, token: str) -> None:
        self.inspector = inspector
        self._token = token
        self._settings = Settings()
        # as `agentstream serve` has them, with this run's token
        self._frontends = frontends.app(inspector.client, tokens=[f"read:{token}"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"the inspector takes HTTP alone, no {scope['type']}")
        request = Request(scope, receive, send, self._settings)
        try:
            try:
                check_place(request.client, request.headers)
                if self._frontends.serves(request.path):
                    await self._frontends(scope, receive, send)
                else:
                    await self._answer(request)
            except (Gone, OSError):
                raise
            except Exception as error:
                if request.begun:
                    raise
                status, body = failure(error)
                await request.answer(body, status=status)
        except (Gone, OSError):
            pass  # nobody is there any more

    def begin(self) -> None:
        """For who runs it; there is nothing to begin."""

    async def close(self) -> None:
        """Ends what is read live, and the jobs."""
        await self._frontends.close()
        await self.inspector.close()

    # --- answering ---------------------------------------------------------------------------------------------------

    async def _answer(self, request: Request) -> None:
        if not request.path.startswith("/api/"):
            await self._file(request)
            return
        check_token(request.headers, self._token)
        routes = ROUTES.get(request.path.removeprefix("/api/"))
        if routes is None:
            raise Failed(404, "not_found", f"there is no {request.path[:200]}")
        handler = routes.get(request.method)
        if handler is None:
            raise Failed(405, "invalid", f"{request.path} takes {' and '.join(routes)}")
        if request.method == "POST" and self.inspector.read_only:
            raise Denied(403, "read_only", "this inspector only reads; begin it without --read-only")
        await handler(self.inspector, request)

    async def _file(self, request: Request) -> None:
        if request.method not in ("GET", "HEAD"):
            raise Failed(405, "invalid", "the page is only read")
        found = file_at(request.path)
        if found is None:
            raise Failed(404, "not_found", f"there is no {request.path[:200]}")
        kind, content = found
        await request.send_whole(
            200, {"content-type": kind, "content-security-policy": POLICY, "cache-control": "no-cache"}, content
        )
