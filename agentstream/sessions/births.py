"""Births: the events that begin an incarnation, and what a fork's birth says of its lineage.

A session's first event is its birth. A fork's is the event after what it shares with its
source, and says so; every birth before it is inherited with the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
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
    unfinished steps are made of (they stay the same), and the outcomes that a fork had put in."""

    incarnation: str
    first: str
    identity: tuple[str, str]
    replaced: tuple[str, ...] = ()


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
    encrypted, erased = value.get("encrypted"), value.get("erased")
    return Birth(
        incarnation,
        lineage,
        session if isinstance(session, str) else None,
        encrypted if isinstance(encrypted, str) else None,
        erased if isinstance(erased, str) else None,
        _compacted(value.get("compacted")),
    )


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
        tuple(key for key in replaced if isinstance(key, str)) if isinstance(replaced, list) else (),
        told.get("copied") is True,
    )
