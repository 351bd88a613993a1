"""Full pages: a frame that does not fit what is left of a page is cut into two rows.

SQLite puts a row whole on a page, so rows of 1.4 KB would fill two thirds of each. Rows are
only ever added at the end of `frames`, hence the room left on the last page can be
reckoned. A wrong reckoning (after a delete) wastes room and does nothing else.
"""

from __future__ import annotations

import sqlite3
from itertools import pairwise
from zlib import crc32

from agentstream.backends.embedded.faults import Damaged
from agentstream.backends.embedded.schema import PAGE

Row = tuple[int, int, int, "int | None", "int | None", "int | None", bytes]

_ROOM = PAGE - 8
_LOCAL = PAGE - 35
"""The longest content of a row that stays on its page whole."""
_LARGEST = _LOCAL - 64
"""The longest first part: with the rest of its row it stays on its page."""
_SMALLEST = 128
"""No part is cut smaller: it would cost more in overhead than it fills."""


def checksum(stream: int, start: int, count: int, body: bytes) -> int:
    """The `crc` column: stands for the place as well as for the bytes."""
    return crc32(body, (stream * 2654435761 + start * 40503 + count) & 0xFFFFFFFF) - 0x80000000


class Packer:
    """Gives frames their ids and rows; knows the next id and how full the last page is."""

    def __init__(self, next_id: int = 1, used: int = 0) -> None:
        self.next_id = next_id
        self._used = used

    def rows(self, stream: int, start: int, count: int, at: int, body: bytes) -> list[Row]:
        """The rows of one frame."""
        crc = checksum(stream, start, count, body)
        first = self.next_id
        size = _taken(first, stream, start, count, at, crc, len(body))
        room = _ROOM - self._used
        if _whole(first, stream, start, count, at, crc, len(body)) <= room:
            self._used += size
            self.next_id = first + 1
            return [(first, stream, start, count, at, crc, body)]
        cut = min(2 * room - _whole(first, stream, start, None, None, None, room), _LARGEST, len(body) - _SMALLEST)
        if cut < _SMALLEST:
            self._used = size
            self.next_id = first + 1
            return [(first, stream, start, count, at, crc, body)]
        self._used = _taken(first + 1, stream, start, count, at, crc, len(body) - cut)
        self.next_id = first + 2
        return [
            (first, stream, start, None, None, None, body[:cut]),
            (first + 1, stream, start, count, at, crc, body[cut:]),
        ]


def resume(connection: sqlite3.Connection) -> Packer:
    """A packer that goes on where the stored frames end: the second row of a cut frame began its page."""
    columns = "id, stream, start, count, at, crc, length(body)"
    rows = connection.execute(f"SELECT {columns} FROM frames ORDER BY id DESC LIMIT 64").fetchall()
    if not rows:
        return Packer()
    if not all(isinstance(row[0], int) and isinstance(row[6], int) for row in rows):
        raise Damaged("the ids of frames are not what was written")
    used = 0
    for row, before in pairwise(rows):
        used += _taken(*row)
        if before[3] is None:
            break
    return Packer(rows[0][0] + 1, min(used, _ROOM))


def _taken(id: int, *columns: int | None) -> int:
    """What a row takes of a page. The last column is the length of the body.

    What of a row is beyond that overflows to pages of its own, and the row says where (SQLite's file format, §1.6).
    """
    whole = _whole(id, *columns)
    payload = _payload(*columns)
    if payload <= _LOCAL:
        return whole
    least = (PAGE - 12) * 32 // 255 - 23
    local = least + (payload - least) % (PAGE - 4)
    return whole - payload + (local if local <= _LOCAL else least) + 4


def _whole(id: int, *columns: int | None) -> int:
    """What a row would take of a page if nothing overflowed: its cell and the pointer to it (SQLite, §1.6)."""
    payload = _payload(*columns)
    return 2 + _varint(payload) + _varint(id) + payload


def _payload(*columns: int | None) -> int:
    """The bytes of a row's content (SQLite, §2.1)."""
    *numbers, length = columns
    size = length or 0
    return 7 + _varint(2 * size + 12) + sum(map(_integer, numbers)) + size


def _varint(number: int) -> int:
    return max(1, (number.bit_length() + 6) // 7)


_BYTES = (0, *(size for bits, size in ((8, 1), (8, 2), (8, 3), (8, 4), (16, 6), (16, 8)) for _ in range(bits)))
"""By the bits that a number has with its sign, the bytes that are stored of it."""


def _integer(number: int | None) -> int:
    """A number's bytes beyond its type: none for NULL, 0 and 1."""
    if not isinstance(number, int) or number in (0, 1):
        return 0
    return _BYTES[min(64, (number if number >= 0 else ~number).bit_length() + 1)]
