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

NAMED_BY_USERS = frozenset(("message", "tool_call"))
"""Types whose keys a user may choose, and so choose twice."""

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
        self._learnt: set[ItemId] = set()
        self._texts: dict[bytes, tuple[EventId, str]] = {}
        self._noted: set[tuple[str, str]] = set()
        self._next = 0

    # --- what the session holds --------------------------------------------------------------------------------------

    def recall(self, events: Sequence[Event], items: Items, sources: Sources) -> None:
        """Takes in what the last of a session's marked `events` hold and refer to."""
        with self.lock:
            for event in reversed(events[-RECALLED:]):  # the last list is most often the longest: the others are in it
                if event.type in SOURCES and isinstance(event.value, dict):
                    with suppress(NotFound, RecursionError):  # made up by somebody: it says nothing then
                        self._recall(event, items, sources)

    def _recall(self, event: Event, items: Items, sources: Sources) -> None:
        source = (event.claim or 0, event.type, event.key)
        # of what was written under a claim, what counts is the first of its key
        if event.mark is None and (event.claim is not None or sources.first(source) is event):
            self._note_texts(source, event.value)
        for part in _references_in(event.value):
            place = referred(part)
            if place is not None:
                self._texts.setdefault(_digest(items.resolve_texts(part)), place)
            for text in ranges_in(part) or ():
                self._recall_range(text, items)
        held = event.value.get("items") if event.type == "item" else None
        claim, first, _ = parse_range(event.key) if isinstance(held, list) and held else (None, 0, 0)
        if claim is not None and claim == event.claim:
            self._recall_range(f"{claim}.{first}-{first + len(held) - 1}", items)

    def _recall_range(self, text: str, items: Items) -> None:
        claim, first, last = parse_range(text)
        if not {(claim, first), (claim, last)} <= self._learnt:  # else it is within one that is known, or nearly
            self.learn(text, items.range(text))

    def learn(self, first_id: str, items: Iterable[Any]) -> None:
        """Takes in elements by the id of the first; of equal ones the first keeps its id. Raises NotFound for a bad id."""
        claim, first, _ = parse_range(first_id)
        with self.lock:
            for number, item in enumerate(items, first):
                self._learnt.add((claim, number))
                self.known.setdefault(_digest(dumps(item)), (claim, number))
                if claim == self.claim:
                    self._next = max(self._next, number + 1)

    def _note(self, kind: str, key: str, value: dict[str, Any]) -> None:
        """An event is written: its texts can be referred to from now on."""
        if kind not in SOURCES or (kind, key) in self._noted:  # of two with one key the first is meant
            return
        if kind in NAMED_BY_USERS:
            self._noted.add((kind, key))
        self._note_texts((self.claim, kind, key), value)

    def _note_texts(self, source: EventId, value: Any) -> None:
        for pointer, text in long_texts(value):
            self._texts.setdefault(_digest(text), (source, pointer))

    # --- what is written ---------------------------------------------------------------------------------------------

    def events(self, kind: str, key: str, value: dict[str, Any], packed: str | None = None) -> list[Change]:
        """What to write for an event whose field `packed` may be packed: it, and before it the items it needs."""
        with self.lock:
            changes: list[Change] = []
            if packed in value:
                data, block = self.pack(value[packed])
                value = {**value, packed: data}
                if block is not None:
                    changes.append(("item", block[0], {"items": block[1]}))
            changes.append((kind, key, value))
            for change in changes:
                self._note(*change)
            return changes

    def pack(self, data: Any) -> tuple[Any, tuple[str, list[Any]] | None]:
        """`data` with its long lists as ranges and known texts as references, and the block of elements that are new:
        its id and the elements.

        Outermost lists first; no list inside an element of a packed list is packed. `data` is not changed, and shares
        what was not replaced with the result.
        """
        with self.lock:
            first = self._next
            new: list[Any] = []
            packed = self._packed(data, new)
            return packed, (f"{self.claim}.{first}", new) if new else None

    def _packed(self, data: Any, new: list[Any]) -> Any:
        kind = type(data)
        if kind is dict:
            return map_dict(data, lambda value: self._packed(value, new))
        if kind is not list:
            return self._short(data)
        texts = _worth_packing(data)
        ranges = self._ranges(data, texts, new) if texts is not None else None
        return map_list(data, lambda value: self._packed(value, new)) if ranges is None else ranges

    def _ranges(self, data: list[Any], texts: list[bytes], new: list[Any]) -> Any:
        """The list as ranges; None if they would take more than it does."""
        ids: list[ItemId] = []
        fresh: dict[bytes, ItemId] = {}
        unseen: list[Any] = []
        for item, text in zip(data, texts, strict=True):
            digest = _digest(text)
            known = self.known.get(digest) or fresh.get(digest)
            if known is None:
                known = fresh[digest] = (self.claim, self._next + len(fresh))
                unseen.append(item)
            ids.append(known)
        packed = {ITEMS: list(write_ranges(ids))}
        if len(dumps(packed)) >= sum(map(len, texts)):
            return None
        self.known |= fresh
        self._next += len(fresh)
        new += map(self._short, unseen)
        return packed

    def _short(self, data: Any) -> Any:
        """`data` with the texts that the session holds as references."""
        kind = type(data)
        if kind is dict:
            return map_dict(data, self._short)
        if kind is list:
            return map_list(data, self._short)
        if kind is not str or len(data) < SHORTEST:
            return data
        place = self._texts.get(_digest(data))
        if place is None:
            return data
        short = reference(*place)
        return short if len(dumps(short)) < len(dumps(data)) else data


def _worth_packing(data: list[Any]) -> list[bytes] | None:
    """The texts of the elements, if the list is long enough to be stored once."""
    if len(data) < FEWEST or not any(type(item) in (dict, list, str) for item in islice(data, FEWEST)):
        return None
    texts = [dumps(item) for item in data]
    size = sum(map(len, texts))
    return texts if size >= max(SMALLEST, SMALLEST_MEAN * len(data)) else None


def _references_in(value: Any) -> Iterator[dict[str, Any]]:
    """The objects of one key in a stored value that may be references."""
    if type(value) is dict:
        if len(value) == 1:
            yield value
        for part in value.values():
            if type(part) in (dict, list):
                yield from _references_in(part)
    elif type(value) is list:
        for part in value:
            if type(part) in (dict, list):
                yield from _references_in(part)


def _digest(text: bytes | str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text, digest_size=16).digest()
