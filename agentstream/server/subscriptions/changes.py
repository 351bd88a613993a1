"""What happens to a subscription, as changes decided on its newest state (see `Ledger.change`)."""

from __future__ import annotations

import random
import time

from msgspec.structs import replace

from agentstream.protocol.operations import START
from agentstream.server.subscriptions.ledger import Decide
from agentstream.server.subscriptions.records import Change, Link, Subscription, Wake, linked, pending

_LONGEST_BACKOFF = 60.0


def matched(state: Subscription, path: str) -> bool:
    """Whether the pattern has nothing to add: the stream is linked by it, or not meant by it."""
    link = state.links.get(path)
    return link is not None and link.matched if state.matches(path) else True


def found(paths: list[str]) -> Decide:
    """Streams that the pattern matches, made after the subscription: nothing of them was read."""

    def decide(state: Subscription) -> Change | None:
        new = [path for path in paths if not matched(state, path)]
        links = {path: linked(state.links.get(path), START, matched=True) for path in new}
        return Change(links=links) if links else None

    return decide


def gone(path: str) -> Decide:
    """A stream that was deleted; one that was named is waited for again."""

    def decide(state: Subscription) -> Change | None:
        link = state.links.get(path)
        if link is None or (link.explicit and link.acked == START):
            return None
        return Change(links={path: Link(START, explicit=True)}) if link.explicit else Change(unlinked=(path,))

    return decide


def begun_again(path: str, tail: str) -> Decide:
    """A stream that was deleted and made anew: it ends before what was acknowledged."""

    def decide(state: Subscription) -> Change | None:
        link = state.links.get(path)
        if link is None or link.acked.encode() <= tail.encode():
            return None
        return Change(links={path: replace(link, acked=START)})

    return decide


def woken(wake_id: str, waiting: dict[str, str]) -> Decide:
    """A wake for what is still pending of `waiting` (path → tail), if there is none yet."""

    def decide(state: Subscription) -> Change | None:
        links = state.links
        still = {path: tail for path, tail in waiting.items() if path in links and pending(links[path], tail)}
        if state.wake is not None or not still:
            return None
        until = time.time() + state.lease
        return Change(wake=Wake(wake_id, state.generation + 1, until, next(iter(still)), still))

    return decide


def instead(wake: Wake, then: Wake | None) -> Decide:
    """Another wake, or none, in the place of exactly this one."""
    return lambda state: Change(wake=then) if state.wake == wake else None


def failed(wake: Wake) -> Decide:
    """A delivery that was not taken: the next is due after a pause that doubles."""

    def decide(state: Subscription) -> Change | None:
        now = state.wake
        if now is None or now.id != wake.id or now.failing:
            return None
        pause = min(_LONGEST_BACKOFF, 2.0 ** min(wake.attempt, 10)) * random.uniform(0.8, 1.2)
        return Change(wake=replace(now, failing=True, until=time.time() + pause))

    return decide


def done(wake: Wake) -> Decide:
    """All that the wake told of is acknowledged, and the wake over."""

    def decide(state: Subscription) -> Change | None:
        if state.wake is None or state.wake.id != wake.id:
            return None
        links = {
            path: replace(state.links[path], acked=tail)
            for path, tail in wake.snapshot.items()
            if path in state.links and pending(state.links[path], tail)
        }
        return Change(links=links, wake=None)

    return decide
