"""Noticing what subscriptions wait for, and waking who reads it; leases that run out, deliveries that failed.

Every worker of a server watches the whole store. All of them may find that a subscription is
to be woken, and the ledger lets one do it. What a worker that died had begun, another ends when
the lease of that wake has run out.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from agentstream.backends.base import Backend, Watch, Watched
from agentstream.errors import AgentStreamError
from agentstream.protocol.errors import ProtocolError
from agentstream.protocol.operations import JSON, Append, Producer
from agentstream.server.subscriptions import changes
from agentstream.server.subscriptions.keyring import KeyRing
from agentstream.server.subscriptions.ledger import FOLDER, Decide, Ledger, id_of
from agentstream.server.subscriptions.records import Subscription, Wake, pending
from agentstream.server.subscriptions.tails import infos_of, matching, tail_of, tails_of
from agentstream.server.subscriptions.webhooks import Poster

_log = logging.getLogger("agentstream.server")

_IDLE_SECONDS = 1.0
"""How often it is looked for the first subscription, which another worker may have made."""
_LONGEST_WATCH = 20.0


class Waker:
    """The work that subscriptions make for one worker."""

    def __init__(self, backend: Backend, ledger: Ledger, keys: KeyRing, poster: Poster) -> None:
        self._backend = backend
        self._ledger = ledger
        self._keys = keys
        self._poster = poster
        self._states: dict[str, Subscription] = {}
        self._repeated: dict[str, str] = {}
        self._bell = asyncio.Event()
        self._deliveries: set[asyncio.Task[None]] = set()

    def ring(self) -> None:
        """Tells that there is a subscription now."""
        self._bell.set()

    async def run(self) -> None:
        """Works until it is cancelled."""
        while True:
            try:
                await self._work()
            except AgentStreamError as error:
                _log.error("subscriptions: %s; going on in a second", error)
            except Exception:
                _log.exception("subscriptions: going on in a second")
            await asyncio.sleep(1)

    async def stop(self) -> None:
        """Ends deliveries that are under way: their leases run out, and another worker makes them again."""
        for task in self._deliveries:
            task.cancel()
        await asyncio.gather(*self._deliveries, return_exceptions=True)

    async def _work(self) -> None:
        cursor: str | None = None
        while True:
            if not self._states:
                cursor = None
            if cursor is None:
                now: Watched = await self._backend.aexecute(Watch("", None, wait=0))
                cursor = now.cursor  # before the survey: what comes meanwhile is seen twice rather than never
                await self._survey(await self._ledger.ids())
                if not self._states:
                    await self._first()
                    continue
            watched: Watched = await self._backend.aexecute(Watch("", cursor, wait=self._patience()))
            cursor = watched.cursor
            await self._noticed(watched.paths)
            await self._time_passed()

    async def _first(self) -> None:
        """Waits until there may be a subscription."""
        rung = asyncio.ensure_future(self._bell.wait())
        try:
            await asyncio.wait((rung,), timeout=_IDLE_SECONDS)
        finally:
            rung.cancel()
        self._bell.clear()

    # --- what changed ------------------------------------------------------------------------------

    async def _survey(self, ids: Iterable[str]) -> None:
        """Looks at subscriptions from scratch: what came while nobody watched is found, also streams of a pattern."""
        for id in ids:
            state = await self._ledger.get(id)
            if state is None:
                self._states.pop(id, None)
                continue
            self._states[id] = state
            if state.config.pattern is not None:
                paths = await matching(self._backend, state.config.pattern)
                # those that were there when it was made are linked already, at their tails of then
                await self._change(id, changes.found(list(paths)))
            await self.consider(id)

    async def _noticed(self, paths: Iterable[str]) -> None:
        streams: list[str] = []
        new: list[str] = []
        for path in paths:
            if path.startswith(FOLDER):
                id = id_of(path)
                state = await self._ledger.get(id)
                if state is None:
                    self._states.pop(id, None)
                elif id in self._states:
                    self._states[id] = state
                elif id not in new:
                    new.append(id)
            elif not path.startswith("~"):
                streams.append(path)
        for path in streams:
            await self._changed(path)
        await self._survey(new)

    async def _changed(self, path: str) -> None:
        about = [id for id, state in self._states.items() if path in state.links or state.matches(path)]
        if not about:
            return
        tail = await tail_of(self._backend, path)
        for id in about:
            state = self._states[id]
            if tail is None:
                await self._change(id, changes.gone(path))
                continue
            if not changes.matched(state, path):
                await self._change(id, changes.found([path]))
            elif tail.encode() < state.links[path].acked.encode():
                await self._change(id, changes.begun_again(path, tail))
            if self._states[id].wake is None:
                await self.consider(id, path)

    async def _change(self, id: str, decide: Decide) -> Subscription | None:
        state = await self._ledger.change(id, decide)
        if state is not None:
            self._states[id] = state
        return state

    # --- waking ------------------------------------------------------------------------------------

    async def consider(self, id: str, path: str | None = None) -> bool:
        """Wakes the subscription if it has something to do and is not awake. Whether it is awake now."""
        state = await self._ledger.get(id)
        if state is None:
            return False
        self._states[id] = state
        if state.wake is not None:
            return True
        paths = list(state.links) if path is None else [path] * (path in state.links)
        tails = await tails_of(self._backend, paths)
        waiting = {place: tail for place, tail in tails.items() if tail and pending(state.links[place], tail)}
        if not waiting:
            return False
        wake_id = f"w_{secrets.token_hex(12)}"
        state = await self._change(id, changes.woken(wake_id, waiting))
        if state is None or state.wake is None:
            return False
        if state.wake.id == wake_id:
            await self._tell(state, state.wake)
        return True

    async def _tell(self, state: Subscription, wake: Wake) -> None:
        if state.config.type == "webhook":
            task = asyncio.create_task(self._deliver(state.id, wake))
            self._deliveries.add(task)
            task.add_done_callback(self._deliveries.discard)
            return
        event = {
            "type": "wake", "subscription_id": state.id, "stream": wake.stream, "generation": wake.generation,
            "ts": int(time.time() * 1000),
        }  # fmt: skip
        # whoever tells it again, it stands there once
        producer = Producer(f"~ds/{state.id}/{state.config.nonce}", wake.generation, 0)
        try:
            body = (msgspec.json.encode(event),)
            await self._backend.aexecute(Append(state.config.wake_stream or "", body, JSON, producer))
        except ProtocolError as error:
            _log.warning("subscription %s: its wake stream takes no event: %s", state.id, error)

    async def _deliver(self, id: str, wake: Wake) -> None:
        try:
            state = await self._ledger.get(id)
            if state is None or state.wake is None or state.wake.id != wake.id or state.config.webhook is None:
                return
            keys = await self._keys.get()
            body = msgspec.json.encode({
                "subscription_id": id,
                "wake_id": wake.id,
                "generation": wake.generation,
                "streams": await infos_of(self._backend, state),
                "callback_url": state.url("callback"),
                "callback_token": keys.token(state.subject, wake.generation),
            })  # fmt: skip
            done = await self._poster.post(
                state.config.webhook, body, keys.signature(body, time.time()), max(state.lease, 1.0)
            )
            if done is None:
                await self._change(id, changes.failed(wake))
            elif done:
                await self._change(id, changes.done(wake))
                await self.consider(id)
        except Exception:
            _log.exception("subscription %s: nothing could be delivered; its lease will run out", id)

    # --- time --------------------------------------------------------------------------------------

    def _patience(self) -> float:
        now = time.time()
        due = [state.wake.until - now for state in self._states.values() if state.wake and self._waits(state)]
        return max(0.0, min([_LONGEST_WATCH, *due]))

    def _waits(self, state: Subscription) -> bool:
        """Whether something is to be done when its wake's time is over."""
        assert state.wake is not None
        return self._repeated.get(state.id) != state.wake.id

    async def _time_passed(self) -> None:
        now = time.time()
        for state in list(self._states.values()):
            wake = state.wake
            if wake is None or wake.until > now or not self._waits(state):
                continue
            if state.config.type == "pull-wake" and wake.holder is None:
                self._repeated[state.id] = wake.id  # its teller may have died before it told
                await self._tell(state, wake)
            elif wake.failing:
                tried = replace(wake, failing=False, attempt=wake.attempt + 1, until=now + state.lease)
                after = await self._change(state.id, changes.instead(wake, tried))
                if after is not None and after.wake == tried:
                    await self._tell(after, tried)
            else:
                await self._change(state.id, changes.instead(wake, None))
                await self.consider(state.id)
