"""Subscriptions (§6, §7) as operations on values, and their one translation to HTTP and back: a client's half.

Paths and patterns are relative to the root of the server's streams, percent-encoded. What
carries a `Wake`'s token speaks for that wake only, and not for who asks.
"""

from __future__ import annotations

from typing import Any, Literal, get_args
from urllib.parse import quote, unquote

import msgspec

from agentstream.errors import AgentStreamError, NotFound, StoreError, SubscriptionError
from agentstream.protocol.errors import BadReply
from agentstream.protocol.http import CONTENT_TYPE, HttpRequest, HttpResponse
from agentstream.protocol.operations import JSON
from agentstream.protocol.problems import error_of

CONTROL = "__ds"

Kind = Literal["webhook", "pull-wake"]


class Linked(msgspec.Struct, frozen=True):
    """A stream that a subscription reads: `acked` is the offset up to which that was acknowledged (`-1`: nothing).

    Of a wake also its `tail`, and whether there is something between the two.
    """

    path: str
    acked: str = msgspec.field(name="acked_offset")
    link: Literal["glob", "explicit"] = msgspec.field(name="link_type", default="glob")
    tail: str | None = msgspec.field(name="tail_offset", default=None)
    has_pending: bool = False

    @property
    def id(self) -> str:
        """The id of the session whose stream it is."""
        return unquote(self.path)


class _Signing(msgspec.Struct, frozen=True):
    kid: str = ""


class _Webhook(msgspec.Struct, frozen=True):
    url: str
    signing: _Signing | None = None


class SubscriptionInfo(msgspec.Struct, frozen=True):
    """A subscription as its server tells of it. `status` is "active", or "failed" while deliveries fail."""

    id: str
    type: Kind
    lease_ttl_ms: int
    streams: tuple[Linked, ...] = ()
    pattern: str | None = None
    wake_stream: str | None = None
    webhook: _Webhook | None = None
    description: str | None = None
    created_at: str = ""
    status: str = "active"

    @property
    def lease(self) -> float:
        """Seconds that a wake is somebody's without a word from them."""
        return self.lease_ttl_ms / 1000


class Woken(msgspec.Struct, frozen=True):
    """A wake that somebody holds: its number among those of the subscription, and the token that speaks for it."""

    wake_id: str
    generation: int
    token: str
    streams: tuple[Linked, ...] = ()
    lease_ttl_ms: int = 30_000


class Notification(msgspec.Struct, frozen=True):
    """What a webhook is posted."""

    subscription_id: str
    wake_id: str
    generation: int
    callback_token: str
    streams: tuple[Linked, ...] = ()
    callback_url: str = ""


class Key(msgspec.Struct, frozen=True):
    """A public key of the server's, as a JSON Web Key (RFC 8037)."""

    kid: str
    kty: str = ""
    crv: str = ""
    x: str = ""


# --- operations ------------------------------------------------------------------------------------------------------


class Subscribe(msgspec.Struct, frozen=True, omit_defaults=True):
    """Makes a subscription, or confirms the one that asks for the same. Result: (SubscriptionInfo, whether it is new).

    `lease_ttl_ms`: 1,000 to 600,000.
    """

    id: str
    type: Kind
    pattern: str | None = None
    streams: tuple[str, ...] = ()
    webhook: str | None = None
    wake_stream: str | None = None
    lease_ttl_ms: int = 30_000
    description: str | None = None


class GetSubscription(msgspec.Struct, frozen=True):
    """Result: SubscriptionInfo."""

    id: str


class Unsubscribe(msgspec.Struct, frozen=True):
    """Removes a subscription; one that is not there is no error. Result: None."""

    id: str


class AddStreams(msgspec.Struct, frozen=True):
    """Names more streams to read, from their tails on. Result: None."""

    id: str
    streams: tuple[str, ...]


class RemoveStream(msgspec.Struct, frozen=True):
    """Takes back that a stream was named; one that the pattern matches stays. Result: None."""

    id: str
    path: str


class ClaimWake(msgspec.Struct, frozen=True):
    """The wake claim: takes what woke a pull-wake subscription, as `worker`. Result: Woken."""

    id: str
    worker: str


class AckWake(msgspec.Struct, frozen=True):
    """Acknowledges offsets by path and renews the lease; `done` ends the wake. Result: whether it is awake again.

    `webhook`: of a wake that came by a webhook.
    """

    id: str
    wake_id: str
    generation: int
    token: str
    acks: tuple[tuple[str, str], ...] = ()
    done: bool = False
    webhook: bool = False


class ReleaseWake(msgspec.Struct, frozen=True):
    """Gives a wake back; what is still to be read wakes again. Result: None."""

    id: str
    wake_id: str
    generation: int
    token: str


class Keys(msgspec.Struct, frozen=True):
    """Asks for the public keys that webhooks are signed with. Result: a tuple of Key."""


class Posted(msgspec.Struct, frozen=True):
    """What a webhook was posted, already verified: asks no server, but has its paths as the others. Result:
    Notification."""

    body: bytes


_OfWake = ClaimWake | AckWake | ReleaseWake
Control = Subscribe | GetSubscription | Unsubscribe | AddStreams | RemoveStream | _OfWake | Keys

CONTROLS: tuple[type[Any], ...] = (*get_args(Control), Posted)


def notification_of(posted: Posted) -> Notification:
    """Raises SubscriptionError for a body that is none."""
    try:
        return msgspec.json.decode(posted.body, type=Notification)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SubscriptionError(f"a webhook's body is no notification: {error}", code="INVALID_REQUEST") from None


# --- as HTTP ---------------------------------------------------------------------------------------------------------


def control_request(operation: Control, root: str) -> HttpRequest:
    """The request that asks for it; `root` is the path that all of the server's streams lie below."""
    if isinstance(operation, Keys):
        return HttpRequest("GET", f"{root}/{CONTROL}/jwks.json")
    path = f"{root}/{CONTROL}/subscriptions/{quote(operation.id, safe='')}"
    if isinstance(operation, Subscribe):
        return _json("PUT", path, _config(operation))
    if isinstance(operation, GetSubscription):
        return HttpRequest("GET", path)
    if isinstance(operation, Unsubscribe):
        return HttpRequest("DELETE", path)
    if isinstance(operation, AddStreams):
        return _json("POST", f"{path}/streams", {"streams": operation.streams})
    if isinstance(operation, RemoveStream):
        # the path is one value here: a server takes one level of quoting off it
        return HttpRequest("DELETE", f"{path}/streams/{quote(operation.path, safe='/')}")
    if isinstance(operation, ClaimWake):
        return _json("POST", f"{path}/claim", {"worker": operation.worker})
    asked: dict[str, Any] = {"wake_id": operation.wake_id, "generation": operation.generation}
    action = "release"
    if isinstance(operation, AckWake):
        action = "callback" if operation.webhook else "ack"
        asked["acks"] = [{"stream": stream, "offset": offset} for stream, offset in operation.acks]
        asked["done"] = operation.done
    return _json("POST", f"{path}/{action}", asked, authorization=f"Bearer {operation.token}")


def control_result(operation: Control, response: HttpResponse) -> Any:
    """What came of it. Raises NotFound, SubscriptionError, or what any other response means."""
    if response.status not in (200, 201, 204):
        raise _refusal(operation, response)
    if isinstance(operation, Subscribe):
        return _read(response, SubscriptionInfo), response.status == 201
    if isinstance(operation, GetSubscription):
        return _read(response, SubscriptionInfo)
    if isinstance(operation, ClaimWake):
        return _read(response, Woken)
    if isinstance(operation, AckWake):
        return _read(response, _Acked).next_wake
    if isinstance(operation, Keys):
        return _read(response, _KeySet).keys
    return None


class _Acked(msgspec.Struct):
    next_wake: bool = False


class _KeySet(msgspec.Struct):
    keys: tuple[Key, ...]


class _Error(msgspec.Struct):
    code: str
    message: str = ""
    current_holder: str | None = None
    generation: int | None = None


class _Refusal(msgspec.Struct):
    error: _Error


def _config(operation: Subscribe) -> dict[str, Any]:
    asked = msgspec.to_builtins(operation)
    del asked["id"]
    if operation.webhook is not None:
        asked["webhook"] = {"url": operation.webhook}
    return asked


def _json(method: str, path: str, body: Any, **headers: str) -> HttpRequest:
    return HttpRequest(method, path, headers={CONTENT_TYPE: JSON, **headers}, body=msgspec.json.encode(body))


def _read(response: HttpResponse, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(response.body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadReply(f"the answer is no {kind.__name__.strip('_')}: {error}") from None


def _refusal(operation: Control, response: HttpResponse) -> AgentStreamError:
    where = f"subscription {operation.id!r}" if not isinstance(operation, Keys) else "the server's keys"
    try:
        told = msgspec.json.decode(response.body, type=_Refusal).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if response.status in (404, 405, 501):
            return not_supported(where)
        other = error_of(response, where)
        return other if isinstance(other, StoreError) else SubscriptionError(str(other), code="INVALID_REQUEST")
    if told.code == "SUBSCRIPTION_NOT_FOUND":
        return NotFound(f"{where}: {told.message or 'there is none'}; create() makes it")
    holder = f", held by {told.current_holder!r}" if told.current_holder is not None else ""
    message = f"{where}: {told.message or told.code}{holder}"
    return SubscriptionError(message, code=told.code, holder=told.current_holder)


def not_supported(where: str) -> SubscriptionError:
    return SubscriptionError(f"{where}: this server has no subscriptions", code="NOT_SUPPORTED")
