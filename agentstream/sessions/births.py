"""Births: the events that begin an incarnation, and what a fork's birth says of its lineage.

A session's first event is its birth. A fork's is the event after what it shares with its
source, and says so; every birth before it is inherited with the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agentstream.sessions.events import Event


class Lineage(msgspec.Struct, frozen=True):
    """Where a fork comes from: the first `count` events are those of `source`.

    `incarnation` and `path` say which life of the source it was and where that was kept,
    `claim` is the highest claim number among what is shared, `replaced` the keys of the
    outcomes (and their steps) that were put in place of recorded ones.
    """

    source: str
    incarnation: str
    count: int
    path: str | None = None
    claim: int = 0
    replaced: tuple[str, ...] = ()
    copied: bool = False


class Compacted(msgspec.Struct, frozen=True):
    """The life that an incarnation goes on from: its name, that of the first in the row, what the identities of
    unfinished steps are made of (they stay the same), the outcomes that a fork had put in, and every earlier life of
    the row with the id of its key."""

    incarnation: str
    first: str
    identity: tuple[str, str]
    replaced: tuple[str, ...] = ()
    lives: tuple[tuple[str, str | None], ...] = ()


class Birth(msgspec.Struct, frozen=True):
    """What a birth says. `session` is the id that the incarnation was made under, where it is told."""

    incarnation: str
    lineage: Lineage | None = None
    session: str | None = None
    encrypted: str | None = None
    """The id of the key that seals what the session says."""
    erased: str | None = None
    """When that key was forgotten, where whoever read the birth found it so."""
    compacted: Compacted | None = None
    keys: tuple[str, ...] = ()
    """The ids of keys of other lives and sessions that seal content which its events refer to: it holds copies of those
    events, and the content is where it was."""
    redacted: str | None = None
    """By which rules something was taken out of what came before, when it left the store that it was recorded in."""

    @property
    def own_keys(self) -> frozenset[str]:
        """The ids of the keys that seal this session's life and the earlier ones that it goes on from."""
        return frozenset(key for key in (self.encrypted, *(key for _, key in earlier_lives(self))) if key is not None)


def earlier_lives(birth: Birth) -> list[tuple[str, str | None]]:
    """The lives that one goes on from, the last at the end, each with the id of its key."""
    return list(birth.compacted.lives) if birth.compacted is not None else []


def first_key(births: Sequence[tuple[int, Birth]]) -> str | None:
    """The id of the key that a session's first events are sealed with."""
    return births[0][1].encrypted if births else None


def keys_of(births: Iterable[Birth]) -> frozenset[str]:
    """The ids of all keys that events of a session with these births, or what they refer to, may be sealed with."""
    return frozenset(key for birth in births for key in (*birth.own_keys, *birth.keys))


def birth_of(event: Event) -> Birth | None:
    """What `event` says if it is a birth that stands where it says it does; None for any other event."""
    if event.type != "session":
        return None
    birth = declared_birth(event)
    if birth is None or event.index != (birth.lineage.count if birth.lineage is not None else 0):
        return None
    return birth


def declared_birth(event: Event) -> Birth | None:
    """As `birth_of`, wherever the event stands: a stitched fork's stream begins with what is not its first event."""
    value = event.value
    if event.type != "session" or event.operation != "insert" or event.claim is not None or not isinstance(value, dict):
        return None
    incarnation, told = value.get("incarnation"), value.get("lineage")
    if not isinstance(incarnation, str) or not incarnation or event.key != incarnation:
        return None
    lineage = _lineage(told) if told is not None else None
    if told is not None and lineage is None:
        return None
    session = value.get("session")
    encrypted, erased, redacted = value.get("encrypted"), value.get("erased"), value.get("redacted")
    return Birth(
        incarnation,
        lineage,
        session if isinstance(session, str) else None,
        encrypted if isinstance(encrypted, str) else None,
        erased if isinstance(erased, str) else None,
        _compacted(value.get("compacted")),
        _texts(value.get("keys")),
        redacted if isinstance(redacted, str) else None,
    )


def _texts(told: object) -> tuple[str, ...]:
    return tuple(text for text in told if isinstance(text, str)) if isinstance(told, list) else ()


def _compacted(told: object) -> Compacted | None:
    try:
        return msgspec.convert(told, Compacted) if told is not None else None
    except msgspec.ValidationError:
        return None


def _lineage(told: object) -> Lineage | None:
    if not isinstance(told, dict):
        return None
    source, incarnation, count = told.get("source"), told.get("incarnation"), told.get("count")
    if not isinstance(source, str) or not isinstance(incarnation, str) or type(count) is not int or count < 0:
        return None
    path, claim, replaced = told.get("path"), told.get("claim"), told.get("replaced")
    return Lineage(
        source,
        incarnation,
        count,
        path if isinstance(path, str) else None,
        claim if type(claim) is int else 0,
        _texts(replaced),
        told.get("copied") is True,
    )
