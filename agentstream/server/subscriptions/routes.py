"""The requests below `__ds` (§6, §7): from HTTP to the subscriptions, and back."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import unquote

import msgspec

from agentstream.protocol.errors import InvalidRequest, StreamNotFound
from agentstream.protocol.http import CACHE_CONTROL, CONTENT_TYPE, HttpResponse
from agentstream.protocol.operations import JSON
from agentstream.protocol.problems import problem
from agentstream.protocol.serving import stream_path
from agentstream.server.access import Refused, Token
from agentstream.server.exchange import Exchange
from agentstream.server.subscriptions.manager import Subscriptions
from agentstream.server.subscriptions.records import Config, Subscription
from agentstream.server.subscriptions.refusals import Refusal

LARGEST = 1024 * 1024
LONGEST_ID = 200

WAKES = "~wake/"
"""Below here clients of this library keep streams that tell of wakes."""

_BY_TOKEN_OF_WAKE = ("callback", "ack", "release")

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
Names = Annotated[list[Name], msgspec.Meta(max_length=10_000)]


class _Webhook(msgspec.Struct):
    url: Name


class _Create(msgspec.Struct):
    type: Literal["webhook", "pull-wake"]
    pattern: Name | None = None
    streams: Names = []
    webhook: _Webhook | None = None
    wake_stream: Name | None = None
    lease_ttl_ms: Annotated[int, msgspec.Meta(ge=1000, le=600_000)] = 30_000
    description: str | None = None


class _Streams(msgspec.Struct):
    streams: Annotated[list[Name], msgspec.Meta(min_length=1, max_length=10_000)]


class _Claim(msgspec.Struct):
    worker: Name


class _Acked(msgspec.Struct):
    offset: Name
    stream: str | None = None
    path: str | None = None


class _Ack(msgspec.Struct):
    wake_id: str
    generation: int
    acks: Annotated[list[_Acked], msgspec.Meta(max_length=10_000)] = []
    done: bool = False


def needs_no_token(method: str, below: str) -> bool:
    """Whether a request shows a wake's own token in place of the server's, or asks for what is public."""
    parts = below.split("/")
    if method == "GET" and parts == ["jwks.json"]:
        return True
    return len(parts) == 3 and parts[0] == "subscriptions" and parts[2] in _BY_TOKEN_OF_WAKE


async def answer(subscriptions: Subscriptions, exchange: Exchange, below: str, token: Token, root: str) -> HttpResponse:
    """The answer to a request for `below`, the raw path under `__ds/`."""
    try:
        return await _Route(subscriptions, exchange, token, root).answer(below)
    except Refusal as refusal:
        return refusal.response()
    except (InvalidRequest, StreamNotFound) as error:
        return Refusal("INVALID_REQUEST", str(error)).response()


class _Route:
    def __init__(self, subscriptions: Subscriptions, exchange: Exchange, token: Token, root: str) -> None:
        self._subscriptions = subscriptions
        self._exchange = exchange
        self._token = token
        self._root = root

    async def answer(self, below: str) -> HttpResponse:
        parts = below.split("/")
        method = self._exchange.method
        if parts == ["jwks.json"]:
            self._only(method, "GET")
            headers = {CONTENT_TYPE: "application/jwk-set+json", CACHE_CONTROL: "public, max-age=300"}
            return HttpResponse(200, headers, msgspec.json.encode((await self._subscriptions.keys.get()).jwks()))
        if parts[0] != "subscriptions" or len(parts) < 2:
            raise Refusal("SUBSCRIPTION_NOT_FOUND", f"there is nothing at __ds/{below[:200]}")
        id = _id(parts[1])
        if len(parts) == 2:
            return await self._base(id, method)
        if parts[2] == "streams":
            return await self._streams(id, method, parts[3:])
        if len(parts) == 3 and parts[2] == "claim":
            self._only(method, "POST")
            claim = await self._body(_Claim)
            self._permit(await self._subscriptions.get(id), writes=True)
            return _json(200, await self._subscriptions.claim(id, claim.worker))
        if len(parts) == 3 and parts[2] in _BY_TOKEN_OF_WAKE:
            self._only(method, "POST")
            return await self._acknowledged(id, parts[2])
        raise Refusal("SUBSCRIPTION_NOT_FOUND", f"there is nothing at __ds/{below[:200]}")

    async def _base(self, id: str, method: str) -> HttpResponse:
        self._only(method, "GET", "PUT", "DELETE")
        if method == "PUT":
            config = self._config(await self._body(_Create))
            self._permit_config(config, writes=True)
            state, new = await self._subscriptions.create(id, config)
            return _json(201 if new else 200, await self._told(state))
        if method == "GET":
            state = await self._subscriptions.get(id)
            self._permit(state, writes=False)
            return _json(200, await self._told(state))
        try:
            self._permit(await self._subscriptions.get(id), writes=True)
        except Refusal:
            return HttpResponse(204)
        await self._subscriptions.remove(id)
        return HttpResponse(204)

    async def _streams(self, id: str, method: str, rest: list[str]) -> HttpResponse:
        if rest:
            self._only(method, "DELETE")
            path = self._path(unquote("/".join(rest)))
            self._permit(await self._subscriptions.get(id), writes=True)
            await self._subscriptions.remove_stream(id, path)
        else:
            self._only(method, "POST")
            paths = [self._path(name) for name in (await self._body(_Streams)).streams]
            self._permit(await self._subscriptions.get(id), writes=True)
            self._permit_paths(paths)
            await self._subscriptions.add_streams(id, paths)
        return HttpResponse(204)

    async def _acknowledged(self, id: str, action: str) -> HttpResponse:
        kind, _, token = self._exchange.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise Refusal("TOKEN_INVALID", "the token of the wake is missing: Authorization: Bearer …")
        asked = await self._body(_Ack)
        if action == "release":
            await self._subscriptions.release(id, token, asked.wake_id, asked.generation)
            return HttpResponse(204)
        acks = {self._path(ack.stream or ack.path or ""): ack.offset for ack in asked.acks}
        type = "webhook" if action == "callback" else "pull-wake"
        next_wake = await self._subscriptions.acknowledge(
            id, type, token, asked.wake_id, asked.generation, acks, done=asked.done
        )
        return _json(200, {"ok": True, "next_wake": next_wake})

    # --- what is asked -----------------------------------------------------------------------------

    async def _body(self, kind: type[Any]) -> Any:
        body = await self._exchange.body(largest=LARGEST)
        try:
            return msgspec.json.decode(body or b"{}", type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refusal("INVALID_REQUEST", f"the body is not what is asked for: {error}") from None

    def _config(self, asked: _Create) -> Config:
        if asked.pattern is None and not asked.streams:
            raise Refusal("INVALID_REQUEST", "give a pattern, or streams, or both")
        if asked.type == "webhook" and asked.webhook is None:
            raise Refusal("INVALID_REQUEST", "a webhook subscription needs webhook.url")
        if asked.type == "pull-wake" and asked.wake_stream is None:
            raise Refusal("INVALID_REQUEST", "a pull-wake subscription needs a wake_stream")
        return Config(
            asked.type,
            asked.lease_ttl_ms,
            None if asked.pattern is None else self._pattern(asked.pattern),
            tuple(dict.fromkeys(self._path(name) for name in asked.streams)),
            asked.webhook.url if asked.webhook and asked.type == "webhook" else None,
            self._wakes_path(asked.wake_stream) if asked.wake_stream and asked.type == "pull-wake" else None,
            asked.description,
            base=self._exchange.url(self._root),
        )

    def _path(self, name: str) -> str:
        path = stream_path(f"{self._root}/{name.strip('/')}", self._root)
        if path.startswith(("~", "__ds/")) or path == "__ds":
            raise Refusal("INVALID_REQUEST", f"{name[:200]!r} is no stream that can be subscribed to")
        return path

    def _wakes_path(self, name: str) -> str:
        """A wake stream may be one that the library keeps apart from sessions."""
        name = name.strip("/")
        if not name.startswith(WAKES):
            return self._path(name)
        return stream_path(f"{self._root}/{name}", self._root)

    def _pattern(self, pattern: str) -> str:
        segments = pattern.strip("/").split("/")
        return "/".join(one if one in ("*", "**") else self._path(one) for one in segments)

    # --- who may -----------------------------------------------------------------------------------

    def _permit(self, state: Subscription, *, writes: bool) -> None:
        self._permit_config(state.config, writes=writes)

    def _permit_config(self, config: Config, *, writes: bool) -> None:
        if writes and not self._token.write:
            raise Refused(problem(403, "read_only", "this token reads and does not write"))
        self._permit_paths([*config.streams, *([config.wake_stream] if config.wake_stream else [])])
        if config.pattern is not None and not self._token.covers_pattern(config.pattern):
            raise Refused(problem(403, "forbidden", f"this token is for streams below {self._token.prefix!r}"))

    def _permit_paths(self, paths: list[str]) -> None:
        if not all(self._token.covers(path) for path in paths):
            raise Refused(problem(403, "forbidden", f"this token is for streams below {self._token.prefix!r}"))

    # --- what is told ------------------------------------------------------------------------------

    async def _told(self, state: Subscription) -> dict[str, Any]:
        config = state.config
        told: dict[str, Any] = {
            "id": state.id, "subscription_id": state.id, "type": config.type, "pattern": config.pattern,
            "streams": [
                {"path": path, "link_type": "explicit" if link.explicit else "glob", "acked_offset": link.acked}
                for path, link in state.links.items()
            ],
            "wake_stream": config.wake_stream, "lease_ttl_ms": config.lease_ttl_ms, "created_at": config.created_at,
            "status": "failed" if state.wake is not None and state.wake.failing else "active",
            "description": config.description,
        }  # fmt: skip
        if config.webhook is not None:
            kid = (await self._subscriptions.keys.get()).kid
            signing = {"alg": "ed25519", "kid": kid, "jwks_url": f"{config.base}/__ds/jwks.json"}
            told["webhook"] = {"url": config.webhook, "signing": signing}
        return {name: value for name, value in told.items() if value is not None}

    def _only(self, method: str, *allowed: str) -> None:
        if method not in allowed:
            raise Refused(
                problem(
                    405, "method_not_allowed", f"this is asked by {', '.join(allowed)}", {"allow": ", ".join(allowed)}
                )
            )


def _id(segment: str) -> str:
    try:
        id = unquote(segment, errors="strict")
    except UnicodeDecodeError:
        id = ""
    if not id or len(id) > LONGEST_ID or not id.isprintable():
        raise Refusal("INVALID_REQUEST", f"a subscription's id is printable text of at most {LONGEST_ID} characters")
    return id


def _json(status: int, body: Any) -> HttpResponse:
    return HttpResponse(status, {CONTENT_TYPE: JSON, CACHE_CONTROL: "no-store"}, msgspec.json.encode(body))
