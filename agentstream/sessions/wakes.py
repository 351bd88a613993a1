"""Subscriptions of sessions: making one, waiting until it wakes, and knowing a server's webhooks from others.

Written over the operations of `protocol/subscriptions.py`; patterns and streams are session
ids here, as users know them.
"""

from __future__ import annotations

import base64
import os
import re
import socket
import time
import weakref
from typing import TYPE_CHECKING
from urllib.parse import quote

from msgspec.structs import replace

from agentstream.errors import AgentStreamError, SubscriptionError
from agentstream.protocol.errors import StreamGone, StreamNotFound
from agentstream.protocol.operations import Create, Head, Read
from agentstream.protocol.subscriptions import (
    AckWake,
    ClaimWake,
    GetSubscription,
    Key,
    Keys,
    Notification,
    Posted,
    Subscribe,
    SubscriptionInfo,
    Woken,
)
from agentstream.sessions.ids import checked_id, path_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core

WAKES = "~wake/"
"""Below here are the streams that tell of wakes."""

TOLERANCE = 300.0
"""Seconds that a webhook's time may be away from ours: an old one posted again by somebody else is refused."""

KEYS_AGAIN = 10.0
"""Seconds before keys are asked for again because of one that is not known."""

NOTHING_NOW = frozenset({"NO_PENDING_WORK", "ALREADY_CLAIMED"})
"""Codes with which a server says that there is nothing to claim."""


def own_name() -> str:
    """What others read of who holds a wake, where nothing better is said: machine and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def needs_subscriptions(core: Core) -> None:
    """Raises SubscriptionError for a store that cannot have any."""
    if not core.backend.traits.subscribes:
        raise SubscriptionError(
            f"{core.backend.name} is a store and no server, and has no subscriptions: `agentstream serve` makes it one",
            code="NOT_SUPPORTED",
        )


def pattern_path(pattern: str) -> str:
    """A pattern of session ids as a server knows it: segments, of which `*` is any one and `**` any number."""
    segments = pattern.split("/") if isinstance(pattern, str) else []
    for segment in segments:
        if not segment or segment in (".", "..") or ("*" in segment and segment not in ("*", "**")):
            segments = []
    if not segments or segments[0].startswith("~"):
        raise ValueError(f"pattern= is segments of a session id, whole ones of which may be * or **, not {pattern!r}")
    return "/".join(quote(segment, safe="*") for segment in segments)


def subscribe(
    core: Core,
    id: str,
    *,
    pattern: str | None,
    streams: Iterable[str],
    webhook: str | None,
    wake_stream: str | None,
    lease: float,
    description: str | None,
) -> Steps[SubscriptionInfo]:
    """Makes the subscription, and the stream that tells of its wakes where nobody posts them."""
    needs_subscriptions(core)
    wakes = None if webhook is not None else wake_stream or f"{WAKES}{quote(id, safe='')}"
    asked = Subscribe(
        id,
        "webhook" if webhook is not None else "pull-wake",
        None if pattern is None else pattern_path(pattern),
        tuple(path_of(checked_id(stream)) for stream in streams),
        webhook,
        wakes,
        round(lease * 1000),
        description,
    )
    if wakes is not None:
        yield Create(wakes)
    info, _ = yield asked
    return info


def claimed(core: Core, id: str, worker: str, wait: float) -> Steps[Woken | None]:
    """What woke the subscription, now this worker's; None if nothing did within `wait` seconds, or others have it."""
    needs_subscriptions(core)
    deadline = time.monotonic() + wait
    waker: Waker | None = None
    while True:
        try:
            return (yield ClaimWake(id, worker))
        except SubscriptionError as error:
            if error.code not in NOTHING_NOW:
                raise
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        if waker is None:
            info = yield GetSubscription(id)
            waker = Waker(info)
            yield from waker.begin()  # and asked once more: it may have woken just before
        else:
            yield from waker.rest(left)


def acknowledged(ack: AckWake) -> Steps[bool]:
    """Acknowledges what a wake told of; streams that were deleted since are left out. Whether there is a next wake."""
    try:
        return (yield ack)
    except SubscriptionError as error:
        if error.code != "INVALID_OFFSET" or not ack.acks:
            raise
    for one in ack.acks:  # a server takes all or none of them
        try:
            yield replace(ack, acks=(one,), done=False)
        except SubscriptionError as error:
            if error.code != "INVALID_OFFSET":
                raise
    return (yield replace(ack, acks=()))


class Waker:
    """Waits for wake events. A hint: whoever was woken claims, and whoever was not claims from time to time."""

    def __init__(self, info: SubscriptionInfo) -> None:
        assert info.wake_stream is not None
        self._path = info.wake_stream
        self._lease = info.lease
        self._offset: str | None = None

    def begin(self) -> Steps[None]:
        """What is told from now on counts."""
        try:
            self._offset = (yield Head(self._path)).offset
        except (StreamNotFound, StreamGone):
            raise AgentStreamError(
                f"stream {self._path!r}, which tells of wakes, is gone; delete the subscription and create it again"
            ) from None

    def rest(self, longest: float) -> Steps[None]:
        """Until there is an event, at most `longest` seconds, and a lease's: one that is left lapses after that."""
        assert self._offset is not None
        page = yield Read(self._path, self._offset, wait=min(longest, self._lease))
        self._offset = page.offset


# --- webhooks --------------------------------------------------------------------------------------------------------


class _Known:
    """A server's keys, as they were last."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}
        self.asked = -KEYS_AGAIN


_known: weakref.WeakKeyDictionary[Core, _Known] = weakref.WeakKeyDictionary()

_SIGNATURE = re.compile(r"t=(\d{1,15}),kid=([^,]+),ed25519=([A-Za-z0-9_-]+)", re.ASCII)


def notified(core: Core, body: bytes, signature: str | None) -> Steps[Notification]:
    """What a webhook was posted, if the server signed it, and lately. SubscriptionError if not: SIGNATURE_INVALID."""
    needs_subscriptions(core)
    found = _SIGNATURE.fullmatch(signature or "")
    if found is None:
        raise _unsigned("it carries no Webhook-Signature as the protocol has it")
    if abs(time.time() - int(found[1])) > TOLERANCE:
        raise _unsigned(f"its time is more than {TOLERANCE:.0f} seconds from this machine's")
    key = yield from _key(core, found[2])
    if key is None or not _signed_with(key, found[1].encode() + b"." + body, found[3]):
        raise _unsigned(f"{core.backend.name} has not signed it")
    return (yield Posted(body))


def _key(core: Core, kid: str) -> Steps[Key | None]:
    known = _known.setdefault(core, _Known())
    if kid not in known.keys and time.monotonic() - known.asked >= KEYS_AGAIN:
        known.keys = {key.kid: key for key in (yield Keys())}
        known.asked = time.monotonic()
    return known.keys.get(kid)


def _signed_with(key: Key, signed: bytes, signature: str) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ModuleNotFoundError:
        raise AgentStreamError(
            "to verify webhooks needs the package cryptography: install agentstream-sdk[encryption]"
        ) from None
    try:
        if (key.kty, key.crv) != ("OKP", "Ed25519"):
            return False
        Ed25519PublicKey.from_public_bytes(_bytes(key.x)).verify(_bytes(signature), signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _unsigned(why: str) -> SubscriptionError:
    return SubscriptionError(f"a webhook is refused: {why}", code="SIGNATURE_INVALID")
