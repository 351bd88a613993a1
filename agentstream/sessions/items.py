"""Lists stored once: a list in a record is a few ranges of items that the session holds already.

A model request repeats the whole conversation, so a log of requests would grow with the square of the turns. Here an
element of a list is written once, in an `item` event, and every list with it says only where it is:
`{"$items": ["3.0-17", "5.2"]}` is items 0 to 17 of claim 3 and item 2 of claim 5. An id never changes and names its
element by itself, so there is no chain to walk: forks, parallel lanes and lists that were cut or reordered are alike.

The codec escapes dicts of the user's whose keys begin with `$`, so an `$items` object in a record is always ours.
What is packed here is the canonical form; an element is equal to another only if its text is, key order included,
so that what comes back is to the byte what was put in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from threading import RLock
from typing import Any

from agentstream.errors import NotFound
from agentstream.sessions.codec import dumps

FEWEST = 2
SMALLEST = 256
"""A list of fewer elements, or of less text (bytes), is not worth an `item` event. Two, because a conversation that is
kept whole until it is longer is written whole at each of its first turns; not one, because a list of one thing is most
often a wrapper (a reply's choices, a batch of one conversation), and what grows is inside."""

SMALLEST_MEAN = 32
"""Nor is one whose elements are hardly longer than an id: the numbers of an embedding stay where they are."""

_TAG = "$items"
_RANGE = re.compile(r"(\d{1,18})\.(\d{1,18})(?:-(\d{1,18}))?", re.ASCII)

_Id = tuple[int, int]


class Packer:
    """Replaces lists by ranges, for one claim; safe to share between threads.

    An item must never come after what refers to it, in the log or in a cut of it. So hold `lock` around `pack` and the
    handing over of what it gave to the session's writer, and write the new block before, or in one append with, the
    packed data. If that append fails, the packer knows items that the log does not: end the claim.
    """

    def __init__(self, claim: int) -> None:
        self.claim = claim
        self.known: dict[bytes, _Id] = {}
        self.lock = RLock()
        self._next = 0

    def learn(self, first_id: str, items: Sequence[Any]) -> None:
        """Takes in a recorded `item` event; of equal elements the first keeps its id. Raises NotFound for a bad id."""
        claim, first, _ = _parse(first_id)
        with self.lock:
            for number, item in enumerate(items, first):
                self.known.setdefault(_digest(dumps(item)), (claim, number))
            if claim == self.claim:
                self._next = max(self._next, first + len(items))

    def pack(self, data: Any) -> tuple[Any, tuple[str, list[Any]] | None]:
        """`data` with its long lists as ranges, and the block of elements that are new: its id and the elements.

        Outermost lists first; what is inside an element of a packed list stays as it is. `data` is not changed, and
        shares what was not replaced with the result.
        """
        with self.lock:
            first = self._next
            new: list[Any] = []
            packed = self._packed(data, new)
            return packed, (f"{self.claim}.{first}", new) if new else None

    def _packed(self, data: Any, new: list[Any]) -> Any:
        if type(data) is dict:
            return _map_dict(data, lambda value: self._packed(value, new))
        if type(data) is not list:
            return data
        texts = _worth_packing(data)
        if texts is None:
            return _map_list(data, lambda value: self._packed(value, new))
        return self._ranges(data, texts, new)

    def _ranges(self, data: list[Any], texts: list[bytes], new: list[Any]) -> Any:
        ids: list[_Id] = []
        fresh: dict[bytes, _Id] = {}
        unseen: list[Any] = []
        for item, text in zip(data, texts, strict=True):
            digest = _digest(text)
            known = self.known.get(digest) or fresh.get(digest)
            if known is None:
                known = fresh[digest] = (self.claim, self._next + len(fresh))
                unseen.append(item)
            ids.append(known)
        packed = {_TAG: list(_write_ranges(ids))}
        if len(dumps(packed)) >= sum(map(len, texts)):
            return data
        self.known |= fresh
        self._next += len(fresh)
        new += unseen
        return packed


class Items:
    """The items of a session as read from its log, in whatever order they come."""

    def __init__(self) -> None:
        self._claims: dict[int, dict[int, Any]] = {}

    def add(self, first_id: str, items: Iterable[Any]) -> None:
        """Takes in one `item` event; an id keeps its first element. Raises NotFound for a malformed id."""
        claim, first, _ = _parse(first_id)
        held = self._claims.setdefault(claim, {})
        for number, item in enumerate(items, first):
            held.setdefault(number, item)

    def resolve(self, data: Any) -> Any:
        """`data` with every list of ranges as the list it stands for.

        The lists are new, their elements are shared with the record: decode, do not change them. Raises NotFound for an
        item that is not in the session.
        """
        if type(data) is dict:
            ranges = data.get(_TAG) if len(data) == 1 else None
            if type(ranges) is list and all(type(part) is str for part in ranges):
                return [item for part in ranges for item in self._range(part)]
            return _map_dict(data, self.resolve)
        return _map_list(data, self.resolve) if type(data) is list else data

    def _range(self, text: str) -> Iterator[Any]:
        claim, first, last = _parse(text)
        held = self._claims.get(claim, {})
        for number in range(first, last + 1):
            if number not in held:  # also ends a range without end in a record that somebody made up
                raise NotFound(f"item {claim}.{number} (of {text}) is not in this session: its record is incomplete")
            yield held[number]


def _worth_packing(data: list[Any]) -> list[bytes] | None:
    """The texts of the elements, if the list is long enough to be stored once."""
    if len(data) < FEWEST or not any(type(item) in (dict, list, str) for item in islice(data, FEWEST)):
        return None
    texts = [dumps(item) for item in data]
    size = sum(map(len, texts))
    return texts if size >= max(SMALLEST, SMALLEST_MEAN * len(data)) else None


def _digest(text: bytes) -> bytes:
    return blake2b(text, digest_size=16).digest()


def _write_ranges(ids: Iterable[_Id]) -> Iterator[str]:
    """`3.0-17`, `5.2`: neighbours joined."""
    claim = first = last = -1
    for at, number in ids:
        if at == claim and number == last + 1:
            last = number
            continue
        if claim >= 0:
            yield _range_text(claim, first, last)
        claim, first, last = at, number, number
    if claim >= 0:
        yield _range_text(claim, first, last)


def _range_text(claim: int, first: int, last: int) -> str:
    return f"{claim}.{first}" if first == last else f"{claim}.{first}-{last}"


def _parse(text: str) -> tuple[int, int, int]:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise NotFound(f"{text[:60]!r} is no item id: it would be <claim>.<number> or <claim>.<first>-<last>")
    claim, first, last = match.groups()
    return int(claim), int(first), int(last or first)


def _map_dict(data: dict[str, Any], change: Any) -> dict[str, Any]:
    """`data` with each value changed; the same object if none was."""
    made: dict[str, Any] | None = None
    for key, value in data.items():
        changed = change(value)
        if changed is not value:
            made = dict(data) if made is None else made
            made[key] = changed
    return data if made is None else made


def _map_list(data: list[Any], change: Any) -> list[Any]:
    made: list[Any] | None = None
    for at, value in enumerate(data):
        changed = change(value)
        if changed is not value:
            made = list(data) if made is None else made
            made[at] = changed
    return data if made is None else made
