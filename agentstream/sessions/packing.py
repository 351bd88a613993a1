"""Packing: what a worker writes, with references in the place of what the session holds already.

Lists become ranges of items (`items.py`), long texts and repeated parts of inputs point at where they stand
(`repeats.py`). What is packed is the canonical form; a thing is equal to another only if its JSON is, key order
included, so that what comes back is to the byte what was put in. Not knowing what the session holds costs space and
nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from itertools import accumulate, islice, pairwise
from threading import RLock
from typing import TYPE_CHECKING, Any

from agentstream.errors import NotFound
from agentstream.sessions.codec import dumps
from agentstream.sessions.items import (
    ItemId,
    Items,
    count_of,
    joined,
    map_dict,
    map_list,
    parse_range,
    ranges_in,
    write_ranges,
)
from agentstream.sessions.repeats import (
    ITEMS,
    SHORTEST,
    SOURCES,
    WITH_TEXTS,
    EventId,
    Place,
    Sources,
    long_texts,
    parts_with_texts,
    plain_parts,
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

LARGEST = 1 << 16
"""Bytes of a dict or list beyond which it is not looked for as a whole: what is in it is."""

LARGEST_BLOCK = 1 << 18
"""Bytes of elements that one event holds: a list may begin longer than a message should be."""

MOST = 12
"""Ranges of one list, beyond which neighbours among them get ids in a row if half as many stood so before: a
conversation of many runs, or one that another interrupts time and again, would name more of them each time."""

RECALLED = 2000
"""A worker that takes a session over knows what its last events hold and refer to: opening costs what the tail does."""

NAMED_BY_USERS = frozenset(("message", "tool_call"))
"""Types whose keys a user may choose, and so choose twice."""

Change = tuple[str, str, dict[str, Any]]
"""An event to be written: type, key and value."""

Block = tuple[str, Any]
"""Elements that get ids: the id of the first, and a list of new ones or an `$items` object of known ones."""


class Packer:
    """Packs what one claim writes; safe to share between threads.

    What is referred to must come before what refers to it, in the log and in any cut of it. So hold `lock` around
    `events` (or `pack`) and the handing over of what it gave to the session's writer, in its order. If that append
    fails, the packer knows what the log does not: end the claim.
    """

    def __init__(self, claim: int, first: int = 0) -> None:
        """`first`: the number of its first item, where others number theirs under the same claim."""
        self.claim = claim
        self.known: dict[bytes, ItemId] = {}
        self.lock = RLock()
        self._digests: dict[ItemId, bytes] = {}
        self._origins: dict[ItemId, ItemId] = {}
        self._after: dict[ItemId, ItemId] = {}
        """By the end of a range, the beginning of the one that came after it in a list."""
        self._places: dict[bytes, Place] = {}
        self._noted: set[tuple[str, str]] = set()
        self._next = first

    # --- what the session holds --------------------------------------------------------------------------------------

    def recall(self, events: Sequence[Event], items: Items, sources: Sources) -> None:
        """Takes in what the last of a session's marked `events` hold and refer to."""
        learnt: set[ItemId] = set()
        with self.lock:
            for event in reversed(events[-RECALLED:]):  # the last list is most often the longest: the others are in it
                if event.type not in SOURCES or not isinstance(event.value, dict):
                    continue
                with suppress(NotFound, RecursionError):  # made up by somebody: it says nothing then
                    self._recall_parts(event, items, sources)
                    before: ItemId | None = None
                    for text in _ranges_of(event):
                        claim, first, last = parse_range(text)
                        if before is not None:
                            self._after.setdefault(before, (claim, first))
                        before = (claim, last)
                        ends = {(claim, first), (claim, last)}
                        if not ends <= learnt:  # else it is within one that is known, or nearly
                            self.learn(text, items.range(text))
                            self._learn_origins(claim, range(first, last + 1), items)
                            learnt |= ends
                            learnt |= {(claim, number) for number in range(first, last + 1)}

    def _recall_parts(self, event: Event, items: Items, sources: Sources) -> None:
        source = (event.claim or 0, event.type, event.key)
        refers = b'"$same"' in event.raw
        # of what was written under a claim, what counts is the first of its key
        if event.mark is None and (event.claim is not None or sources.first(source) is event):
            whole = items.resolve_same(event.value) if refers and event.type == WITH_TEXTS else event.value
            self._note_parts(source, event.value, whole)
        for part in _objects_of_one(event.value) if refers else ():
            place = referred(part)
            if place is not None:
                self._places.setdefault(_digest(dumps(items.resolve_same(part))), place)

    def learn(self, first_id: str, items: Iterable[Any]) -> None:
        """Takes in elements by the id of the first; what is known keeps its id. Raises NotFound for a bad id."""
        claim, first, _ = parse_range(first_id)
        with self.lock:
            for number, item in enumerate(items, first):
                digest = self._digests[claim, number] = _digest(dumps(item))
                self.known.setdefault(digest, (claim, number))
                if claim == self.claim:
                    self._next = max(self._next, number + 1)

    def _learn_origins(self, claim: int, numbers: Iterable[int], items: Items) -> None:
        for number in numbers:
            origin = items.origin((claim, number))
            if origin != (claim, number):
                self._origins[claim, number] = origin

    def _note(self, kind: str, key: str, value: dict[str, Any], whole: dict[str, Any]) -> None:
        """An event is written: what it says can be referred to from now on. `whole` is it without references."""
        if kind not in SOURCES or (kind, key) in self._noted:  # of two with one key the first is meant
            return
        if kind in NAMED_BY_USERS:
            self._noted.add((kind, key))
        self._note_parts((self.claim, kind, key), value, whole)

    def _note_parts(self, source: EventId, value: dict[str, Any], whole: dict[str, Any]) -> None:
        for pointer, text in long_texts(value, ""):
            self._places.setdefault(_digest(dumps(text)), (source, pointer))
        parts: list[tuple[str, Any]] = []
        if source[1] == "step":
            parts = plain_parts(value.get("input"), "/input")
        elif source[1] == WITH_TEXTS:
            parts = parts_with_texts(value.get("result"), whole.get("result"), "/result")
        for pointer, part in parts:
            text = dumps(part)
            if SHORTEST <= len(text) <= LARGEST:
                self._places.setdefault(_digest(text), (source, pointer))

    # --- what is written ---------------------------------------------------------------------------------------------

    def events(self, kind: str, key: str, value: dict[str, Any], packed: str | None = None) -> list[Change]:
        """What to write for an event whose field `packed` may be packed: it, and before it the items it needs."""
        if packed is not None and len(dumps(value.get(packed))) < SHORTEST:
            return [(kind, key, value)]  # most are small
        with self.lock:
            whole = value
            changes: list[Change] = []
            if packed is not None and packed in value:
                data, blocks = self.pack(value[packed], parts=kind == "step")
                value = {**value, packed: data}
                for block in blocks:
                    changes += _item_events(*block)
            changes.append((kind, key, value))
            for change in changes:
                self._note(*change, whole if change[2] is value else change[2])
            return changes

    def pack(self, data: Any, *, parts: bool = False) -> tuple[Any, list[Block]]:
        """`data` with its long lists as ranges, and what must be written before it.

        Outermost lists first; no list inside an element of a packed list is packed. Known texts become references, and
        in elements (with `parts`, everywhere) dicts and lists that an earlier input or outcome has. `data` is not
        changed, and shares what was not replaced with the result.
        """
        with self.lock:
            new: list[Block] = []
            return self._short(self._packed(data, new), parts=parts), new

    def _packed(self, data: Any, new: list[Block]) -> Any:
        if type(data) is dict:
            return map_dict(data, lambda value: self._packed(value, new))
        if type(data) is not list:
            return data
        texts = worth_packing(data)
        ranges = self._ranges(data, texts, new) if texts is not None else None
        return map_list(data, lambda value: self._packed(value, new)) if ranges is None else ranges

    def _ranges(self, data: list[Any], texts: list[bytes], new: list[Block]) -> Any:
        """The list as ranges; as it is if they would take more."""
        ids: list[ItemId] = []
        fresh: dict[bytes, ItemId] = {}
        unseen: list[Any] = []
        following: ItemId | None = None
        for item, text in zip(data, texts, strict=True):
            digest = _digest(text)
            if following is not None and self._digests.get(following) == digest:
                known = following  # one that is there twice: the one that goes on where the last ended
            else:
                known = self.known.get(digest) or fresh.get(digest)
            if known is None:
                known = fresh[digest] = (self.claim, self._next + len(fresh))
                unseen.append(item)
            ids.append(known)
            following = (known[0], known[1] + 1)
        packed = {ITEMS: list(write_ranges(ids))}
        if len(dumps(packed)) >= sum(map(len, texts)):
            return data
        for digest, id in fresh.items():
            self._keep(digest, id)
        if unseen:
            self._put(new, [self._short(item, parts=True) for item in unseen], len(unseen))
        if len(packed[ITEMS]) > MOST:
            packed = {ITEMS: list(write_ranges(self._in_a_row(ids, new)))}
        return packed

    def _keep(self, digest: bytes, id: ItemId) -> None:
        self.known[digest] = id
        self._digests[id] = digest

    def _put(self, new: list[Block], items: Any, count: int) -> None:
        """Gives the next ids to so many elements."""
        last = new[-1][1] if new else None
        if type(last) is list and type(items) is list:
            last += items
        else:
            new.append((f"{self.claim}.{self._next}", items))
        self._next += count

    def _in_a_row(self, ids: list[ItemId], new: list[Block]) -> list[ItemId]:
        """The list by fewer ranges: some neighbours get ids in a row, which later lists have in common with this one.

        What was said last is taken together at each time, and with it what is not much more than that: so an element
        is written about again only when there are twice as many.
        """
        runs = list(joined(ids))
        seen = 0
        for (at, _, end), (follower, begin, _) in pairwise(runs):
            seen += self._after.get((at, end)) == (follower, begin)
            self._after[at, end] = (follower, begin)
        if seen < MOST // 2:
            return ids  # a list like no other
        origins = [self._origins.get(id, id) for id in ids]
        ends = list(accumulate(last - first + 1 for _, first, last in runs))
        begins = [0, *ends[:-1]]
        weights = [sum(1 for _ in joined(origins[begin:end])) for begin, end in zip(begins, ends, strict=True)]
        heavier = 0
        while heavier < len(runs) - MOST // 2 and weights[heavier] > sum(weights[heavier + 1 :]):
            heavier += 1
        begin = begins[heavier]
        first = self._next
        self._put(new, {ITEMS: list(write_ranges(origins[begin:]))}, len(ids) - begin)
        made = [(self.claim, number) for number in range(first, self._next)]
        for id, made_id, origin in zip(ids[begin:], made, origins[begin:], strict=True):
            self._keep(self._digests[id], made_id)
            self._origins[made_id] = origin
        return [*ids[:begin], *made]

    def _short(self, data: Any, *, parts: bool = False) -> Any:
        """`data` with references in the place of what the session holds."""
        kind = type(data)
        if kind is str:
            return self._placed(data, dumps(data)) if len(data) >= SHORTEST else data
        if kind is not dict and kind is not list:
            return data
        if parts:
            text = dumps(data)
            if len(text) < SHORTEST:
                return data
            placed = self._placed(data, text) if len(text) <= LARGEST else data
            if placed is not data:
                return placed
        change = partial(self._short, parts=parts)
        return map_dict(data, change) if kind is dict else map_list(data, change)

    def _placed(self, data: Any, text: bytes) -> Any:
        place = self._places.get(_digest(text))
        if place is None:
            return data
        short = reference(place)
        return short if len(dumps(short)) < len(text) else data


def _item_events(first_id: str, items: Any) -> Iterator[Change]:
    """A block as events of about `LARGEST_BLOCK` at most, at least one element each."""
    if type(items) is dict:
        yield "item", first_id, {"items": items}
        return
    claim, first, _ = parse_range(first_id)
    held: list[Any] = []
    size = 0
    for number, item in enumerate(items, first):
        more = len(dumps(item))
        if held and size + more > LARGEST_BLOCK:
            yield "item", f"{claim}.{number - len(held)}", {"items": held}
            held, size = [], 0
        held.append(item)
        size += more
    yield "item", f"{claim}.{first + len(items) - len(held)}", {"items": held}


def worth_packing(data: list[Any]) -> list[bytes] | None:
    """The texts of the elements, if the list is long enough to be stored once."""
    if len(data) < FEWEST or not any(type(item) in (dict, list, str) for item in islice(data, FEWEST)):
        return None
    texts = [dumps(item) for item in data]
    size = sum(map(len, texts))
    return texts if size >= max(SMALLEST, SMALLEST_MEAN * len(data)) else None


def _ranges_of(event: Event) -> Iterator[str]:
    """The ranges that an event refers to; of an item event, the one it holds."""
    if event.type != "item":
        for part in _objects_of_one(event.value) if b'"$items"' in event.raw else ():
            yield from ranges_in(part) or ()
        return
    claim, first, _ = parse_range(event.key)
    count = count_of(event.value.get("items"))
    if claim == event.claim and count:
        yield f"{claim}.{first}-{first + count - 1}"


def _objects_of_one(value: Any) -> Iterator[dict[str, Any]]:
    """The objects of one key in a stored value: those that may be references."""
    if type(value) is dict and len(value) == 1:
        yield value
    for part in value.values() if type(value) is dict else value:
        if type(part) in (dict, list):
            yield from _objects_of_one(part)


def _digest(text: bytes) -> bytes:
    """By its JSON a thing is known: a text is never taken for what it looks like."""
    return blake2b(text, digest_size=16).digest()
