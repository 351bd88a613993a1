"""Packing: what a worker writes, with lists and long texts that the session holds already as references.

Lists become ranges of items (`items.py`), long texts point at where they stand (`texts.py`). What is packed is the
canonical form; an element is equal to another only if its text is, key order included, so that what comes back is to
the byte what was put in. Not knowing what the session holds costs space and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from itertools import islice
from threading import RLock
from typing import TYPE_CHECKING, Any

from agentstream.errors import NotFound
from agentstream.sessions.codec import dumps
from agentstream.sessions.items import ItemId, Items, map_dict, map_list, parse_range, ranges_in, write_ranges
from agentstream.sessions.texts import (
    ITEMS,
    SHORTEST,
    SOURCES,
    EventId,
    Sources,
    long_texts,
    reference,
    referred,
)

if TYPE_CHECKING:
    from agentstream.sessions.events import Event

FEWEST = 2
SMALLEST = 256
"""A list of fewer elements, or of less text (bytes), is not worth an `item` event. Two, because a conversation that is
kept whole until it is longer is written whole at each of its first turns; not one, because a list of one thing is most
often a wrapper (a reply's choices, a batch of one conversation), and what grows is inside."""

SMALLEST_MEAN = 32
"""Nor is one whose elements are hardly longer than an id: the numbers of an embedding stay where they are."""

RECALLED = 2000
"""A worker that takes a session over knows what its last events hold and refer to: opening costs what the tail does."""

Change = tuple[str, str, dict[str, Any]]
"""An event to be written: type, key and value."""


class Packer:
    """Packs what one claim writes; safe to share between threads.

    What is referred to must come before what refers to it, in the log and in any cut of it. So hold `lock` around
    `events` (or `pack`) and the handing over of what it gave to the session's writer, in its order. If that append
    fails, the packer knows what the log does not: end the claim.
    """

    def __init__(self, claim: int) -> None:
        self.claim = claim
        self.known: dict[bytes, ItemId] = {}
        self.lock = RLock()
        self._texts: dict[bytes, tuple[EventId, str]] = {}
        self._noted: set[tuple[str, str]] = set()
        self._next = 0

    # --- what the session holds --------------------------------------------------------------------------------------

    def recall(self, events: Sequence[Event], items: Items, sources: Sources) -> None:
        """Takes in what the last of a session's marked `events` hold and refer to."""
        recalled: dict[int, list[tuple[int, int]]] = {}
        with self.lock:
            for event in reversed(events[-RECALLED:]):  # the last list is the longest, and has the others in it
                if event.type not in SOURCES or not isinstance(event.value, dict):
                    continue
                with suppress(NotFound, RecursionError):  # made up by somebody: nothing is known of it then
                    source = (event.claim or 0, event.type, event.key)
                    if event.mark is None and (event.claim is not None or sources.first(source) is event):
                        self._note(source, event.value)
                    for text in (event.key,) if event.type == "item" else _ranges_within(event.value):
                        self._recall(text, event.value if event.type == "item" else None, items, recalled)
                    for place in _references_within(event.value):
                        self._texts.setdefault(_digest_of_text(items.text(*place)), place)
