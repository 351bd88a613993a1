"""A subscription as values: what is stored of it, and what its records come to.

A subscription's log is one record a change; the whole of it is a fold. So every worker of a
server, and the next one after a restart, knows the same.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

Offset = str


class Config(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was asked for (§6). `nonce` tells this life of the id from earlier ones; `base` is the server's own URL."""

    type: Literal["webhook", "pull-wake"]
    lease_ttl_ms: int
    pattern: str | None = None
    streams: tuple[str, ...] = ()
    webhook: str | None = None
    wake_stream: str | None = None
    description: str | None = None
    created_at: str = ""
    nonce: str = ""
    base: str = ""

    def same(self, other: Config) -> bool:
        """Whether it asks for the same thing."""
        mine, its = (replace(one, created_at="", nonce="", base="", streams=()) for one in (self, other))
        return mine == its and set(self.streams) == set(other.streams)


class Link(msgspec.Struct, frozen=True, array_like=True):
    """One stream of a subscription: read up to `acked`; `START` before anything of it was."""

    acked: Offset
    explicit: bool = False
    matched: bool = False


class Wake(msgspec.Struct, frozen=True, omit_defaults=True):
    """One wake, from when there was something to do until it is done.

    `until` (seconds since the epoch) is when its lease ends, or, after a failed delivery, when the
    next is due; `snapshot` is the tails of what was pending; `stream` is what woke.
    """

    id: str
    generation: int
    until: float
    stream: str = ""
    snapshot: dict[str, Offset] = {}
    holder: str | None = None
    attempt: int = 0
    failing: bool = False


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record. What is unset stays as it was; `wake` None ends a wake. `by` is whose record it is."""

    by: str = ""
    config: Config | None = None
    links: dict[str, Link] = {}
    unlinked: tuple[str, ...] = ()
    wake: Wake | msgspec.UnsetType | None = msgspec.UNSET
    generation: int | None = None
    removed: bool = False


class Subscription(msgspec.Struct, frozen=True):
    """What the records come to."""

    id: str
    config: Config
    links: dict[str, Link] = {}
    wake: Wake | None = None
    generation: int = 0
    removed: bool = False

    def with_change(self, change: Change) -> Subscription:
        links = {**self.links, **change.links} if change.links else self.links
        if change.unlinked:
            links = {path: link for path, link in links.items() if path not in change.unlinked}
        wake = self.wake if change.wake is msgspec.UNSET else change.wake
        generation = self.generation if change.generation is None else change.generation
        if wake is not None:
            generation = max(generation, wake.generation)
        return Subscription(self.id, change.config or self.config, links, wake, generation, change.removed)

    def whole(self) -> Change:
        """The one record that says all of it: the beginning of a new log."""
        return Change(config=self.config, links=self.links, wake=self.wake, generation=self.generation)

    def matches(self, path: str) -> bool:
        return self.config.pattern is not None and glob_matches(self.config.pattern, path)

    @property
    def lease(self) -> float:
        return self.config.lease_ttl_ms / 1000

    @property
    def subject(self) -> str:
        """What tokens are for: this life of the id."""
        return f"{self.id}/{self.config.nonce}"

    def url(self, action: str) -> str:
        """Where receivers answer."""
        return f"{self.config.base}/__ds/subscriptions/{quote(self.id, safe='')}/{action}"


def linked(existing: Link | None, acked: Offset, *, explicit: bool = False, matched: bool = False) -> Link:
    """A link made, or one that is there for one reason more; what was acknowledged stays."""
    if existing is None:
        return Link(acked, explicit, matched)
    return replace(existing, explicit=existing.explicit or explicit, matched=existing.matched or matched)


def pending(link: Link, tail: Offset | None) -> bool:
    """Whether something was appended after what was acknowledged. Offsets are compared as text (§4)."""
    return tail is not None and tail.encode() > link.acked.encode()


def glob_matches(pattern: str, path: str) -> bool:
    """`*` is one segment, `**` any number of them, none included. Costs segments × segments, whatever the pattern."""
    reached = {0}
    parts = pattern.split("/")
    for segment in path.split("/"):
        reached = _after(parts, reached, segment)
        if not reached:
            return False
    return len(parts) in _spread(parts, reached)


def _after(parts: list[str], reached: set[int], segment: str) -> set[int]:
    found: set[int] = set()
    for place in _spread(parts, reached):
        if place < len(parts):
            if parts[place] == "**":
                found.add(place)
            elif parts[place] in ("*", segment):
                found.add(place + 1)
    return found


def _spread(parts: list[str], reached: set[int]) -> set[int]:
    """The places reached, and those beyond each `**`, which may stand for nothing."""
    found: set[int] = set()
    for place in reached:
        found.add(place)
        while place < len(parts) and parts[place] == "**":
            place += 1
            found.add(place)
    return found
