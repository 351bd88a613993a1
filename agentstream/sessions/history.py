"""The events of a log whose first part is told by a snapshot: they are read from the store when somebody asks for them.

A `Head` stands for the first events of one incarnation. It knows of each its mark and a hash
of its type and key, and holds those that opening a session needs; of the others it reads
single ones, or all from one on, as they are asked for. What it reads is checked to be of the
same incarnation. `Events` is a head and the events after it: a sequence like any other.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from operator import itemgetter
from typing import TYPE_CHECKING, Any, overload

from agentstream.backends.driving import drive
from agentstream.sessions.events import with_mark

if TYPE_CHECKING:
    from agentstream.backends.base import Backend
    from agentstream.backends.driving import Steps
    from agentstream.sessions.events import Event

LEAST = 100
"""Events read at once, at least, when not a single one is asked for."""

SINGLES = 64
"""Events read one by one before all of them are read: who asks for so many asks for more."""

Mark = tuple[int, int, str]
"""The mark of a row of events: the index of the first, how many, and it."""

Span = tuple[int, int, int, int]
"""An `item` event: its index, its claim, the number of its first element, and how many it holds."""

Reader = Callable[[int, int], "Steps[tuple[int, list[Event]]]"]
"""Reads events between two indexes, unmarked; may begin earlier, and says where it did."""


def name_hash(kind: str, key: str) -> int:
    """What a type and key are known by; two may share one."""
    digest = blake2b(f"{kind}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def root_of(run: str) -> str:
    """The run that is nobody's child, of a run's or step's key."""
    return run.partition("/")[0].partition("#")[0]


class Part:
    """Hashes of some events' types and keys, sorted, and where each event stands."""

    def __init__(self, start: int, hashes: bytes, places: bytes) -> None:
        """`places` count from `start`."""
        self.start = start
        self.hashes = memoryview(hashes).cast("Q")
        self.places = memoryview(places).cast("I")

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((name, self.start + place) for name, place in zip(self.hashes, self.places, strict=True))


class Names:
    """The hashes of a head's events, by which one is found again."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts

    def places(self, name: int) -> list[int]:
        """The indexes at which a name stands."""
        found: list[int] = []
        for part in self.parts:
            at = bisect_left(part.hashes, name)
            while at < len(part.hashes) and part.hashes[at] == name:
                found.append(part.start + part.places[at])
                at += 1
        return found


class Head:
    """The first `size` events of an incarnation. Shared by all who opened it; safe to use from any thread."""

    def __init__(
        self,
        size: int,
        *,
        kept: Iterable[Event],
        names: Names,
        others: Names,
        marks: list[Mark],
        spans: list[Span],
        roots: frozenset[int],
        firsts: dict[str, int],
        usage: dict[str, Any],
        reader: Reader,
        backend: Backend,
    ) -> None:
        """`names`: of events whose key is taken; `others`: of all that are marked. `roots`: hashes of the runs there
        are; `firsts`: where those begin that can go on."""
        self.size = size
        self.kept = sorted(kept, key=lambda event: event.index)
        self.names = names
        self.others = others
        self.marks = marks
        self.spans = spans
        self.roots = roots
        self.firsts = firsts
        self.usage = usage
        self._reader = reader
        self._backend = backend
        self._events: list[Event] = []
        self._start = size
        self._single = {event.index: event for event in self.kept}
        self._singles = 0
        self._lock = threading.Lock()
        self._spans: dict[int, list[Span]] | None = None

    # --- what it knows without reading -------------------------------------------------------------------------------

    def mark(self, index: int) -> str | None:
        place = bisect_right(self.marks, index, key=itemgetter(0)) - 1
        if place < 0:
            return None
        first, count, mark = self.marks[place]
        return mark if index < first + count else None

    def first_of(self, run: str) -> int:
        """An index before which nothing stands that belongs to a run; `size` if nothing does at all."""
        root = root_of(run)
        if root in self.firsts:
            return self.firsts[root]
        return 0 if name_hash("~root", root) in self.roots else self.size

    def span(self, claim: int, number: int) -> int | None:
        """The index of the first `item` event that holds an element."""
        if self._spans is None:
            self._spans = {}
            for span in self.spans:
                self._spans.setdefault(span[1], []).append(span)
        held = self._spans.get(claim, ())
        return next((index for index, _, first, count in held if first <= number < first + count), None)

    # --- what it reads -----------------------------------------------------------------------------------------------

    def find(self, kind: str, key: str) -> Event | None:
        """The event with this type and key that counts and was inserted."""
        return next((e for e in self._named(self.names, kind, key) if e.mark is None), None)

    def all_named(self, kind: str, key: str) -> list[Event]:
        """Every inserted event with this type and key, whether it counts or not, in order."""
        found = {event.index: event for names in (self.names, self.others) for event in self._named(names, kind, key)}
        return [found[index] for index in sorted(found)]

    def _named(self, names: Names, kind: str, key: str) -> Iterator[Event]:
        for index in names.places(name_hash(kind, key)):
            event = self.event(index)
            if event.type == kind and event.key == key:
                yield event

    def event(self, index: int) -> Event:
        """One event; reads it in place if it is not here."""
        return drive(self.reading_one(index), self._backend)

    def since(self, start: int) -> list[Event]:
        """The events from an index on; reads them in place if they are not here."""
        if start < self._start:
            drive(self.reading(start), self._backend)
        return self._here(start)

    def _here(self, start: int) -> list[Event]:
        with self._lock:
            return self._events[max(0, start - self._start) :]

    def reading(self, start: int) -> Steps[None]:
        """Makes sure that the events from an index on are here."""
        while start < (end := self._start):
            wanted = max(0, min(start, end - LEAST))
            first, events = yield from self._reader(wanted, end)
            with self._lock:
                if self._start == end:  # else somebody else was faster
                    self._events[:0] = [with_mark(each, self.mark(first + n)) for n, each in enumerate(events)]
                    self._start = first

    def reading_one(self, index: int) -> Steps[Event]:
        """One event, read if it is not here."""
        if index >= self._start:
            with self._lock:
                return self._events[index - self._start]
        known = self._single.get(index)
        if known is not None:
            return known
        self._singles += 1
        if self._singles > SINGLES:
            yield from self.reading(0)
            return self._events[index]
        first, events = yield from self._reader(index, index + 1)
        found = with_mark(events[index - first], self.mark(index))
        self._single[index] = found
        return found


class Events(Sequence["Event"]):
    """A log's events: those that its head stands for, and the `tail`, which is here."""

    def __init__(self, head: Head, tail: list[Event]) -> None:
        self.head = head
        self.tail = tail

    def __len__(self) -> int:
        return self.head.size + len(self.tail)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        size = self.head.size
        if isinstance(index, slice):
            places = range(*index.indices(len(self)))
            low = min(places[0], places[-1]) if places else 0
            here = self.since(low) if places else []
            return [here[place - low] for place in places]
        place = range(len(self))[index]
        return self.head.event(place) if place < size else self.tail[place - size]

    def __iter__(self) -> Iterator[Event]:
        return iter(self.since(0))

    def __reversed__(self) -> Iterator[Event]:
        yield from reversed(self.tail)
        yield from reversed(self.head.since(0))

    def since(self, start: int) -> list[Event]:
        """The events from an index on."""
        size = self.head.size
        return self.tail[start - size :] if start >= size else self.head.since(start) + self.tail


def since(events: Sequence[Event], start: int) -> Sequence[Event]:
    """The events from an index on, of a log that has a head or has none."""
    return events.since(start) if isinstance(events, Events) else events[start:] if start else events


def reading(events: Sequence[Event], start: int) -> Steps[None]:
    """Makes sure that the events from an index on are here: nobody then waits for them in an event loop."""
    if isinstance(events, Events) and start < events.head.size:
        yield from events.head.reading(max(0, start))


def head_of(events: Sequence[Event]) -> Head | None:
    """What stands for the first of the events; None where all are here."""
    return events.head if isinstance(events, Events) else None
