"""Finding a text in everything that the events of a session say, however long they are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.errors import AgentStreamError
from agentstream.sessions import codec
from agentstream.sessions.attachments import Attachment
from agentstream.sessions.references import JSON, MARK, TEXT, Ref, refs_in

if TYPE_CHECKING:
    from agentstream.inspector.held import Told
    from agentstream.sessions.blobs import Blobs
    from agentstream.sessions.events import Event

WITHIN = 0.25
"""Seconds for which one answer looks; it says where the next goes on."""
AT_LEAST = 200
"""Events that are looked at however long that takes."""
MOST = 5_000
"""Events that are told in one answer."""
LONGEST = 1_000
"""Characters that are looked for, at most."""


LARGEST = 16 * 1024 * 1024
"""Bytes of content kept apart that is looked at."""


class _Stored(msgspec.Struct):
    value: msgspec.Raw


_stored = msgspec.json.Decoder(_Stored).decode


def find(told: Told, text: str, after: int, *, within: float = WITHIN) -> dict[str, Any]:
    """The events from `after` on that say `text`, in any case of letters: texts, numbers, and names of members.

    `next` is the event from which to ask on, null where all were looked at. The packed body of a stream is not looked
    at (what it said stands in its message), nor content that is kept apart and larger than `LARGEST`, or no text.
    """
    wanted = text.casefold()
    until = time.monotonic() + within
    hits: list[int] = []
    index, size = after, told.size
    while index < size:
        event = told.events[index]
        apart = MARK in event.raw
        if index not in told.refused and (says(event.raw, wanted) or (apart and _says_apart(event, wanted))):
            hits.append(index)
        index += 1
        if len(hits) >= MOST or ((apart or (index - after) % AT_LEAST == 0) and time.monotonic() > until):
            break
    return {"hits": hits, "next": index if index < size else None, "size": size}


def says(message: bytes, wanted: str) -> bool:
    """Whether an event's value says a text, which is casefolded."""
    try:
        stored = bytes(_stored(message).value)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        stored = message  # no event of ours: all of it is what it says
    # mostly the text is not there, as it would be written: then nothing is decoded
    if b"\\u" not in stored and _written(wanted) not in stored.decode("utf-8", "replace").casefold():
        return False
    try:
        value = codec.loads(stored)
        own = {name: part for name, part in value.items() if name != "claim"} if isinstance(value, dict) else value
        return _holds(own, wanted, named=False)
    except (ValueError, RecursionError):
        return wanted in stored.decode("utf-8", "replace").casefold()


def _says_apart(event: Event, wanted: str) -> bool:
    """Whether what an event refers to (it is kept in streams of its own) says a text."""
    return event.blobs is not None and any(_content_says(ref, event.blobs, wanted) for ref in refs_in(event.raw))


def _content_says(ref: Ref, blobs: Blobs, wanted: str) -> bool:
    if ref.encoding not in (TEXT, JSON) or ref.size > LARGEST:
        return False
    try:
        text = Attachment(ref, blobs).read().decode("utf-8", "replace").casefold()
    except AgentStreamError:
        return False  # whoever opens the event is told why it cannot be had
    return (wanted if ref.encoding == TEXT else _written(wanted)) in text


def _written(wanted: str) -> str:
    """As a JSON text has it."""
    return codec.dumps(wanted).decode()[1:-1].casefold()


def _holds(value: Any, wanted: str, *, named: bool = True) -> bool:
    """`named`: names of members count. Those of an event's value are mostly ours; below it they are the user's."""
    if isinstance(value, str):
        return wanted in value.casefold()
    if isinstance(value, dict):
        return any((named and wanted in name.casefold()) or _holds(part, wanted) for name, part in value.items())
    if isinstance(value, list):
        return any(_holds(part, wanted) for part in value)
    return value is not None and wanted in str(value).casefold()
