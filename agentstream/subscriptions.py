"""`Subscription` and `Wake`, sync and async: being woken by what is appended to sessions, by a server.

Handles do no I/O when they are made. Every method is one line that drives a generator.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentstream.backends.driving import adrive, drive
from agentstream.protocol.subscriptions import (
    AckWake,
    AddStreams,
    GetSubscription,
    Linked,
    Notification,
    ReleaseWake,
    RemoveStream,
    SubscriptionInfo,
    Unsubscribe,
    Woken,
)
from agentstream.sessions import wakes
from agentstream.sessions.ids import checked_id, path_of

if TYPE_CHECKING:
    from types import TracebackType

    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core


@dataclass(frozen=True)
class _Handle:
    """What both faces share."""

    _core: Core
    id: str

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def _one(self, operation: Any) -> Steps[Any]:
        wakes.needs_subscriptions(self._core)
        return (yield operation)


@dataclass(frozen=True)
class _Held:
    """What both faces of a wake share.

    `streams` are the subscription's streams as they were when it woke, `pending` those with something new.
    """

    _core: Core
    subscription: str
    id: str
    generation: int
    streams: tuple[Linked, ...]
    _token: str
    _webhook: bool = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.subscription!r}, {self.generation}, {[s.id for s in self.pending]})"

    @property
    def pending(self) -> tuple[Linked, ...]:
        return tuple(stream for stream in self.streams if stream.has_pending)

    def _ack(self, offsets: Mapping[str, str] | None, done: bool) -> Steps[bool]:
        if offsets is None:
            acks = tuple((each.path, each.tail) for each in self.pending if each.tail is not None)
            return (yield from wakes.acknowledged(self._acking(acks, done)))
        paths = {each.id: each.path for each in self.streams}
        return (yield self._acking(tuple((paths.get(id, path_of(id)), at) for id, at in offsets.items()), done))

    def _acking(self, acks: tuple[tuple[str, str], ...], done: bool) -> AckWake:
        return AckWake(self.subscription, self.id, self.generation, self._token, acks, done, self._webhook)

    def _release(self) -> Steps[None]:
        if self._webhook:  # has no release: it ends with nothing acknowledged
            yield self._acking((), True)
        else:
            yield ReleaseWake(self.subscription, self.id, self.generation, self._token)


class Wake(_Held):
    """A wake that is this process's, for as long as its lease is renewed: there is something new in `pending`.

    A context manager: leaving it acknowledges all of that and ends the wake; leaving it by an
    error gives it back, and it wakes again. All methods raise SubscriptionError, with the code
    FENCED once the lease has run out and somebody else may have the wake.
    """

    def ack(self, offsets: Mapping[str, str] | None = None, *, done: bool = False) -> bool:
        """Acknowledges up to an offset by session id (None: all that is pending), and renews the lease; `done` ends
        the wake. Whether there is a next one already."""
        return drive(self._ack(offsets, done), self._core.backend)

    def renew(self) -> None:
        """Renews the lease, and acknowledges nothing."""
        self.ack({})

    def release(self) -> None:
        """Gives the wake back: what is not acknowledged wakes again."""
        drive(self._release(), self._core.backend)

    def __enter__(self) -> Wake:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.ack(done=True)
        else:
            self.release()


class AsyncWake(_Held):
    """As `Wake`, with `await`."""

    async def ack(self, offsets: Mapping[str, str] | None = None, *, done: bool = False) -> bool:
        """As `Wake.ack`."""
        return await adrive(self._ack(offsets, done), self._core.backend)

    async def renew(self) -> None:
        """As `Wake.renew`."""
        await self.ack({})

    async def release(self) -> None:
        """As `Wake.release`."""
        await adrive(self._release(), self._core.backend)

    async def __aenter__(self) -> AsyncWake:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.ack(done=True)
        else:
            await self.release()


class Subscription(_Handle):
    """A subscription at a server, which need not be there yet. All methods raise SubscriptionError for what the server
    refuses (code NOT_SUPPORTED where it has no subscriptions) and NotFound where there is none."""

    def create(
        self,
        *,
        pattern: str | None = None,
        streams: Iterable[str] = (),
        webhook: str | None = None,
        wake_stream: str | None = None,
        lease: float = 30.0,
        description: str | None = None,
    ) -> SubscriptionInfo:
        """Makes it, or confirms the one that asks for the same. What is in a session already wakes nobody.

        - `pattern` of session ids (`*` is one whole segment, `**` any number), `streams`: ids; one or both;
        - `webhook`: the URL that the server posts to. Without it the subscription is pulled, by `claim`;
        - `lease`: seconds (1 to 600) that a wake is somebody's without a word from them;
        - `wake_stream`: the path of the stream that tells of wakes; by default one of the library's own, made here.

        Raises SubscriptionError (SUBSCRIPTION_ALREADY_EXISTS) for one of another configuration.
        """
        steps = wakes.subscribe(
            self._core, self.id, pattern=pattern, streams=streams, webhook=webhook, wake_stream=wake_stream,
            lease=lease, description=description,
        )  # fmt: skip
        return drive(steps, self._core.backend)

    def get(self) -> SubscriptionInfo:
        """What the server tells of it."""
        return drive(self._one(GetSubscription(self.id)), self._core.backend)

    def delete(self) -> None:
        """Removes it; one that is not there is no error."""
        drive(self._one(Unsubscribe(self.id)), self._core.backend)

    def add(self, *ids: str) -> None:
        """Names more sessions to wait for, from their ends on."""
        drive(self._one(AddStreams(self.id, _paths(ids))), self._core.backend)

    def remove(self, id: str) -> None:
        """Takes back that a session was named; one that the pattern matches stays."""
        drive(self._one(RemoveStream(self.id, _paths((id,))[0])), self._core.backend)

    def claim(self, worker: str | None = None, *, wait: float = 0.0) -> Wake | None:
        """The wake claim: what woke it, now this process's. None if nothing did within `wait` seconds, or if others
        have it. `worker` is what others read of who has it; by default machine and process."""
        steps = wakes.claimed(self._core, self.id, worker or wakes.own_name(), wait)
        woken = drive(steps, self._core.backend)
        return None if woken is None else Wake(self._core, self.id, *_told(woken))


class AsyncSubscription(_Handle):
    """As `Subscription`, with `await`."""

    async def create(
        self,
        *,
        pattern: str | None = None,
        streams: Iterable[str] = (),
        webhook: str | None = None,
        wake_stream: str | None = None,
        lease: float = 30.0,
        description: str | None = None,
    ) -> SubscriptionInfo:
        """As `Subscription.create`."""
        steps = wakes.subscribe(
            self._core, self.id, pattern=pattern, streams=streams, webhook=webhook, wake_stream=wake_stream,
            lease=lease, description=description,
        )  # fmt: skip
        return await adrive(steps, self._core.backend)

    async def get(self) -> SubscriptionInfo:
        """As `Subscription.get`."""
        return await adrive(self._one(GetSubscription(self.id)), self._core.backend)

    async def delete(self) -> None:
        """As `Subscription.delete`."""
        await adrive(self._one(Unsubscribe(self.id)), self._core.backend)

    async def add(self, *ids: str) -> None:
        """As `Subscription.add`."""
        await adrive(self._one(AddStreams(self.id, _paths(ids))), self._core.backend)

    async def remove(self, id: str) -> None:
        """As `Subscription.remove`."""
        await adrive(self._one(RemoveStream(self.id, _paths((id,))[0])), self._core.backend)

    async def claim(self, worker: str | None = None, *, wait: float = 0.0) -> AsyncWake | None:
        """As `Subscription.claim`."""
        steps = wakes.claimed(self._core, self.id, worker or wakes.own_name(), wait)
        woken = await adrive(steps, self._core.backend)
        return None if woken is None else AsyncWake(self._core, self.id, *_told(woken))


def webhook_wake(core: Core, body: bytes, signature: str | None) -> Wake:
    """The wake that a webhook was posted. See `Client.webhook`."""
    told = drive(wakes.notified(core, body, signature), core.backend)
    return Wake(core, told.subscription_id, *_told(told), True)


async def awebhook_wake(core: Core, body: bytes, signature: str | None) -> AsyncWake:
    """As `webhook_wake`."""
    told = await adrive(wakes.notified(core, body, signature), core.backend)
    return AsyncWake(core, told.subscription_id, *_told(told), True)


def _told(wake: Woken | Notification) -> tuple[str, int, tuple[Linked, ...], str]:
    token = wake.token if isinstance(wake, Woken) else wake.callback_token
    return wake.wake_id, wake.generation, wake.streams, token


def _paths(ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(path_of(checked_id(id)) for id in ids)
