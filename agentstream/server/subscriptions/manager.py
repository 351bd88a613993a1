"""What clients ask of subscriptions, as the ledger decides it."""

from __future__ import annotations

import asyncio
import secrets
import time
from datetime import datetime, timezone
from typing import Any

from msgspec.structs import replace

from agentstream.backends.base import Backend
from agentstream.protocol.operations import START
from agentstream.server.subscriptions.keyring import KeyRing
from agentstream.server.subscriptions.ledger import Ledger
from agentstream.server.subscriptions.records import Change, Config, Link, Subscription, Wake, linked
from agentstream.server.subscriptions.refusals import Refusal, not_found
from agentstream.server.subscriptions.signing import Keys
from agentstream.server.subscriptions.tails import Info, infos_of, matching, tail_of, tails_of
from agentstream.server.subscriptions.waking import Waker
from agentstream.server.subscriptions.webhooks import Poster, Rejected, check_url


class Subscriptions:
    """The subscriptions of one store, for one worker."""

    def __init__(self, backend: Backend, *, local_webhooks: bool) -> None:
        self._backend = backend
        self.keys = KeyRing(backend)
        self._ledger = Ledger(backend)
        self._poster = Poster(local=local_webhooks)
        self._waker = Waker(backend, self._ledger, self.keys, self._poster)
        self._work = asyncio.create_task(self._waker.run())

    async def close(self) -> None:
        while not self._work.done():
            self._work.cancel()  # more than once: `wait_for` before Python 3.12 may lose a cancellation
            await asyncio.wait((self._work,), timeout=0.1)
        await self._waker.stop()
        await self._poster.close()

    async def create(self, id: str, asked: Config) -> tuple[Subscription, bool]:
        """Makes a subscription, or confirms the one that asks for the same. Streams are linked at their tails."""
        if asked.webhook is not None:
            try:
                check_url(asked.webhook, local=self._poster.local)
            except Rejected as rejected:
                raise Refusal("WEBHOOK_URL_REJECTED", str(rejected)) from None
        there = await self._ledger.get(id)
        if there is None:
            links = await self._first_links(asked)
            config = replace(asked, created_at=datetime.now(timezone.utc).isoformat(), nonce=secrets.token_hex(8))
            there, new = await self._ledger.create(id, Change(config=config, links=links))
            if new:
                self._waker.ring()
                return there, True
        if not there.config.same(asked):
            raise Refusal("SUBSCRIPTION_ALREADY_EXISTS", f"subscription {id!r} is there with another configuration")
        return there, False

    async def get(self, id: str) -> Subscription:
        state = await self._ledger.get(id)
        if state is None:
            raise not_found(id)
        return state

    async def remove(self, id: str) -> None:
        await self._ledger.remove(id)

    async def infos(self, state: Subscription) -> list[Info]:
        return await infos_of(self._backend, state)

    async def add_streams(self, id: str, paths: list[str]) -> None:
        tails = await tails_of(self._backend, paths)

        def added(state: Subscription) -> Change | None:
            links = {path: linked(state.links.get(path), tails[path] or START, explicit=True) for path in paths}
            return Change(links={path: link for path, link in links.items() if link != state.links.get(path)})

        await self._changed(id, added)

    async def remove_stream(self, id: str, path: str) -> None:
        def removed(state: Subscription) -> Change | None:
            link = state.links.get(path)
            if link is None or not link.explicit:
                return None
            return Change(links={path: replace(link, explicit=False)}) if link.matched else Change(unlinked=(path,))

        await self._changed(id, removed)

    async def claim(self, id: str, worker: str) -> dict[str, Any]:
        """The wake claim: whose it is holds the lease, and its token fences every earlier one (§7.3)."""
        infos = await self.infos(_pull(await self.get(id)))
        waiting = {info.path: info.tail_offset for info in infos if info.has_pending}

        def claimed(state: Subscription) -> Change:
            now, wake = time.time(), state.wake
            if wake is not None and wake.holder is not None and wake.until > now:
                raise Refusal(
                    "ALREADY_CLAIMED", f"{wake.holder} has claimed it",
                    current_holder=wake.holder, generation=wake.generation,
                )  # fmt: skip
            if not waiting:
                raise Refusal("NO_PENDING_WORK", "nothing was appended since what is acknowledged")
            if wake is None or wake.holder is not None:
                wake = Wake(f"w_{secrets.token_hex(12)}", state.generation + 1, 0, next(iter(waiting)), waiting)
            return Change(wake=replace(wake, holder=worker, until=now + state.lease))

        state = await self._changed(id, claimed)
        assert state.wake is not None
        return {
            "wake_id": state.wake.id,
            "generation": state.wake.generation,
            "token": (await self.keys.get()).token(state.subject, state.wake.generation),
            "streams": await self.infos(state),
            "lease_ttl_ms": state.config.lease_ttl_ms,
        }

    async def acknowledge(
        self, id: str, kind: str, token: str, wake_id: str, generation: int, acks: dict[str, str], *, done: bool
    ) -> bool:
        """Notes what was read and renews the lease, or ends the wake if that was all. Whether it is awake again."""
        tails, keys = await tails_of(self._backend, acks), await self.keys.get()

        def acknowledged(state: Subscription) -> Change:
            wake = _fenced(keys, state, kind, token, wake_id, generation)
            links = {path: _acked(state, path, offset, tails[path]) for path, offset in acks.items()}
            then = None if done else replace(wake, until=time.time() + state.lease, failing=False)
            return Change(links=links, wake=then)

        await self._changed(id, acknowledged)
        return done and await self._waker.consider(id)

    async def release(self, id: str, token: str, wake_id: str, generation: int) -> None:
        """Gives a wake claim back; what is still to be read wakes again."""
        keys = await self.keys.get()

        def released(state: Subscription) -> Change:
            _fenced(keys, state, "pull-wake", token, wake_id, generation)
            return Change(wake=None)

        await self._changed(id, released)
        await self._waker.consider(id)

    async def _changed(self, id: str, decide: Any) -> Subscription:
        state = await self._ledger.change(id, decide)
        if state is None:
            raise not_found(id)
        return state

    async def _first_links(self, config: Config) -> dict[str, Link]:
        links: dict[str, Link] = {}
        if config.pattern is not None:
            links = {
                path: Link(tail, matched=True) for path, tail in (await matching(self._backend, config.pattern)).items()
            }
        for path in config.streams:
            links[path] = linked(links.get(path), await tail_of(self._backend, path) or START, explicit=True)
        return links


def _fenced(keys: Keys, state: Subscription, kind: str, token: str, wake_id: str, generation: int) -> Wake:
    """The wake that a request speaks for; refuses who speaks for another one."""
    if state.config.type != kind:
        raise Refusal("INVALID_REQUEST", f"subscription {state.id!r} is {state.config.type}, not {kind}")
    told = keys.read_token(token, state.subject)
    if isinstance(told, str):
        raise Refusal(told, "the token is not of this subscription" if told == "TOKEN_INVALID" else "the token expired")
    wake = state.wake
    if wake is None or not told == generation == wake.generation or wake_id != wake.id:
        raise Refusal("FENCED", "this wake is over; a later one has taken its place, or none is needed")
    return wake


def _pull(state: Subscription) -> Subscription:
    if state.config.type != "pull-wake":
        raise Refusal("INVALID_REQUEST", f"subscription {state.id!r} is {state.config.type}; only pull-wake is claimed")
    return state


def _acked(state: Subscription, path: str, offset: str, tail: str | None) -> Link:
    link = state.links.get(path)
    if link is None:
        raise Refusal("INVALID_OFFSET", f"{path!r} is no stream of subscription {state.id!r}")
    if (
        offset in (START, "now")
        or offset.encode() < link.acked.encode()
        or tail is None
        or offset.encode() > tail.encode()
    ):
        raise Refusal("INVALID_OFFSET", f"{offset!r} is not between what was acknowledged of {path!r} and its tail")
    return replace(link, acked=offset)
