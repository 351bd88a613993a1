"""Lists stored once: a list in a record is a few ranges of items that the session holds already.

A model request repeats the whole conversation, so a log of requests would grow with the square of the turns. Here an
element of a list is written once, in an `item` event, and every list with it says only where it is:
`{"$items": ["3.0-17", "5.2"]}` is items 0 to 17 of claim 3 and item 2 of claim 5. An id never changes and names its
element by itself, so there is no chain to walk: forks, parallel lanes and lists that were cut or reordered are alike.
In an element, as anywhere in a record, a long text may be a reference (`repeats.py`); a list in it is whole.

Each run numbers its items anew, so a conversation of many runs is many ranges. Where they become too many for one list,
an `item` event gives neighbours among them ids in a row: its `items` are ranges, of elements alone and never of such
ids, so an element is found in one step more, however often it was given another id.

The codec escapes dicts of the user's whose keys begin with `$`, so an `$items` object in a record is always ours.
`packing.py` writes what is read here.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from agentstream.errors import NotFound
from agentstream.sessions.repeats import ITEMS, WITH_TEXTS, EventId, Find, referred, standing_at

_RANGE = re.compile(r"(\d{1,18})\.(\d{1,18})(?:-(\d{1,18}))?", re.ASCII)

ItemId = tuple[int, int]
"""A claim, and a number under it."""


def _no_sources(source: EventId) -> None:
    return None


Earlier = Callable[[int, int], "tuple[str, Any] | None"]
"""The `item` event that holds an element (claim, number), where it is not here: its key and its elements."""

LONGEST = 1 << 53
"""Elements beyond which an `item` event was made up by somebody."""


def _nothing_earlier(claim: int, number: int) -> None:
    return None


class Items:
    """The items of a session as read from its log, in whatever order they come."""

    def __init__(self, find: Find = _no_sources, earlier: Earlier = _nothing_earlier) -> None:
        """`find` gives the values of the events that references point into; `earlier` the `item` event, by key and
        elements, that holds an element and came before all that are added."""
        self._find = find
        self._earlier = earlier
        self._claims: dict[int, dict[int, Any]] = {}
        self._whole: dict[int, dict[int, Any]] = {}
        self._renamed: dict[int, list[tuple[int, int, int, int]]] = {}
        self._origins: dict[ItemId, ItemId] = {}
        self._looked: set[str] = set()

    def add(self, first_id: str, items: Any) -> None:
        """Takes in one `item` event, its elements or ranges of others; an id keeps its first element.

        Raises NotFound for a malformed id.
        """
        claim, first, _ = parse_range(first_id)
        if type(items) is dict:
            self._add_renamed(claim, first, items)
            return
        held = self._claims.setdefault(claim, {})
        for number, item in enumerate(items, first):
            held.setdefault(number, item)

    def _add_renamed(self, claim: int, number: int, items: dict[str, Any]) -> None:
        renamed = self._renamed.setdefault(claim, [])
        for text in ranges_in(items) or ():
            other, first, last = parse_range(text)
            renamed.append((number, number + last - first, other, first))
            number += max(0, last - first + 1)
        renamed.sort()

    def resolve(self, data: Any) -> Any:
        """`data` with every list of ranges as the list it stands for, and every reference as what it points at.

        The lists are new, their elements are shared with the record: decode, do not change them. Raises NotFound for
        what is not in the session.
        """
        if type(data) is dict:
            ranges = ranges_in(data)
            if ranges is not None:
                return [item for part in ranges for item in self.range(part)]
            return self._put_in(data, self.resolve)
        return map_list(data, self.resolve) if type(data) is list else data

    def range(self, text: str) -> Iterator[Any]:
        """The elements of one range. Raises NotFound for one that is malformed or not in the session."""
        claim, first, last = parse_range(text)
        for number in range(first, last + 1):
            at, place = self.origin((claim, number))
            whole = self._whole.setdefault(at, {})
            if place not in whole:
                if (at, place) != (claim, number):
                    self._look_back(at, place)
                held = self._claims.get(at, {})
                if place not in held:  # also ends a range without end in a record that somebody made up
                    raise NotFound(
                        f"item {claim}.{number} (of {text}) is not in this session: its record is incomplete"
                    )
                whole[place] = self.resolve_same(held[place])
            yield whole[place]

    def origin(self, id: ItemId) -> ItemId:
        """The id under which an element was written, of any of its ids; `id` itself where the session has none such."""
        found = self._origins.get(id)
        if found is not None:
            return found
        claim, number = id
        self._look_back(claim, number)
        found = id if number in self._claims.get(claim, ()) else self._renamed_from(claim, number)
        if found is not None:
            self._origins[id] = found
        return found or id

    def _renamed_from(self, claim: int, number: int) -> ItemId | None:
        renamed = self._renamed.get(claim, ())
        place = bisect_right(renamed, (number, LONGEST)) - 1
        if place < 0 or renamed[place][1] < number:
            return None
        first, _, other, begin = renamed[place]
        return other, begin + number - first

    def _look_back(self, claim: int, number: int) -> None:
        before = self._earlier(claim, number) if number not in self._whole.get(claim, ()) else None
        if before is not None and before[0] not in self._looked:
            self._looked.add(before[0])
            self._add_earlier(*before)

    def _add_earlier(self, first_id: str, items: Any) -> None:
        if type(items) is dict:
            self.add(first_id, items)
            return
        claim, first, _ = parse_range(first_id)
        held, whole = self._claims.setdefault(claim, {}), self._whole.setdefault(claim, {})
        for number, item in enumerate(items, first):
            if number not in whole:
                held[number] = item

    def resolve_same(self, data: Any) -> Any:
        """`data` with every reference as what it points at. What looks like ranges is left: no element holds any."""
        if type(data) is dict:
            return self._put_in(data, self.resolve_same)
        return map_list(data, self.resolve_same) if type(data) is list else data

    def _put_in(self, data: dict[str, Any], inside: Callable[[Any], Any]) -> Any:
        place = referred(data)
        if place is None:
            return map_dict(data, inside)
        found = standing_at(place, self._find)
        return self._with_texts(found) if place[0][1] == WITH_TEXTS else found

    def _with_texts(self, data: Any) -> Any:
        """What stands in an outcome: its references are to texts, which is as far as they go."""
        if type(data) is list:
            return map_list(data, self._with_texts)
        if type(data) is not dict:
            return data
        place = referred(data)
        if place is None:
            return map_dict(data, self._with_texts)
        found = standing_at(place, self._find)
        return found if type(found) is str else data  # which nobody but somebody else wrote there


def ranges_in(data: dict[str, Any]) -> list[str] | None:
    """The ranges of the list that `data` stands for; None where it is something else."""
    ranges = data.get(ITEMS) if len(data) == 1 else None
    return ranges if type(ranges) is list and all(type(part) is str for part in ranges) else None


def count_of(items: Any) -> int | None:
    """How many elements the `items` of an `item` event are; None where they are none of ours."""
    if type(items) is list:
        return len(items)
    ranges = ranges_in(items) if type(items) is dict else None
    if ranges is None:
        return None
    try:
        count = sum(max(0, last - first + 1) for _, first, last in map(parse_range, ranges))
    except NotFound:
        return None
    return count if count <= LONGEST else None


def write_ranges(ids: Iterable[ItemId]) -> Iterator[str]:
    """`3.0-17`, `5.2`: neighbours joined."""
    return (_range_text(*run) for run in joined(ids))


def joined(ids: Iterable[ItemId]) -> Iterator[tuple[int, int, int]]:
    """The same as values: claim, first and last number."""
    claim = first = last = -1
    for at, number in ids:
        if at == claim and number == last + 1:
            last = number
            continue
        if claim >= 0:
            yield claim, first, last
        claim, first, last = at, number, number
    if claim >= 0:
        yield claim, first, last


def _range_text(claim: int, first: int, last: int) -> str:
    return f"{claim}.{first}" if first == last else f"{claim}.{first}-{last}"


def parse_range(text: str) -> tuple[int, int, int]:
    """Claim, first and last number. Raises NotFound for what is no range."""
    match = _RANGE.fullmatch(text)
    if match is None:
        raise NotFound(f"{text[:60]!r} is no item id: it would be <claim>.<number> or <claim>.<first>-<last>")
    claim, first, last = match.groups()
    return int(claim), int(first), int(last or first)


def map_dict(data: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """`data` with each value changed; the same object if none was."""
    made: dict[str, Any] | None = None
    for key, value in data.items():
        changed = change(value)
        if changed is not value:
            made = dict(data) if made is None else made
            made[key] = changed
    return data if made is None else made


def map_list(data: list[Any], change: Callable[[Any], Any]) -> list[Any]:
    """The same for a list."""
    made: list[Any] | None = None
    for at, value in enumerate(data):
        changed = change(value)
        if changed is not value:
            made = list(data) if made is None else made
            made[at] = changed
    return data if made is None else made
