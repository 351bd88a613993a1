"""A position: a cut between two events of one session."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

import msgspec

_FORM = re.compile(r"([^@]*)@([0-9]{1,18}):([^:@]*):([^:@+]*)\+([0-9]{1,18})")


class Position(msgspec.Struct, frozen=True):
    """A cut between two events: what is before it is kept (`at=`), what is after it is read (`start=`).

    `index` counts the events before the cut. `offset` is a token minted by the stream's
    keeper and `skip` the messages past it; an empty offset means that only the index is
    known. `str()` gives a form that `Position.parse` reads back.
    """

    session: str
    incarnation: str
    index: int
    offset: str = ""
    skip: int = 0

    def __str__(self) -> str:
        incarnation, offset = quote(self.incarnation, safe=""), quote(self.offset, safe="")
        return f"{quote(self.session, safe='/')}@{self.index}:{incarnation}:{offset}+{self.skip}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The position that `str()` wrote as `text`; ValueError for anything else."""
        found = _FORM.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise ValueError(
                f"{text!r} is not a position: expected SESSION@INDEX:INCARNATION:OFFSET+SKIP, as str() gives it"
            )
        session, index, incarnation, offset, skip = found.groups()
        return cls(unquote(session), unquote(incarnation), int(index), unquote(offset), int(skip))
