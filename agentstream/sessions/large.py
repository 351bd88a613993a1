"""Large values out of events and back in: what takes more than `LIMIT` bytes stands in a blob (`blobs.py`).

Of a recorded value each text and each `bytes` of more than `LIMIT` becomes a reference, and so does any
other part that is still larger when its own large parts are out. A list whose elements are stored once
(`packing.py`) is looked at element by element: it is written as ranges, however long it is. All this
is done before packing, on the plain canonical form: to everything else a reference is a small value.

The fingerprint is that of the plain value, so it is the same wherever its parts are kept.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs

from agentstream.errors import BlobLost, NotSerializable
from agentstream.sessions import codec
from agentstream.sessions.attachments import Attachment, attachments_from
from agentstream.sessions.blobs import Address, Blobs, lost
from agentstream.sessions.events import OWN_TYPES, Event
from agentstream.sessions.items import map_dict, map_list
from agentstream.sessions.packing import worth_packing
from agentstream.sessions.references import ATTACHMENT, BLOB, BYTES, ENCODINGS, JSON, MARK, TEXT, Ref, ref_in, refs_in

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.births import Birth
    from agentstream.sessions.steps import Run, Step

LIMIT = 256 * 1024
"""Bytes of a value, as it would be written, from which on it is kept in a blob."""

FIELDS = {"run": "arguments", "step": "input", "outcome": "result"}
"""The packed field of a worker's events, which alone is looked at."""

WHOLE = frozenset(("message", "tool_call", "custom"))
"""Own types whose whole value is looked at; so are those of users' types. All others stay as they are."""

BY_REFERENCE = (MARK, b'"$items"', b'"$same"')
"""One of these stands in every message whose value is not all there."""

_RANGES = 64
"""What a list that is written as ranges is taken to need."""

_SCALAR = 24


class Large(msgspec.Struct, frozen=True):
    """Content to be kept. `content` is None for an attachment's, which is kept already; in another place, if there is
    a `source`: content that is sealed for one session must not end with it in another."""

    ref: Ref
    content: bytes | None = None
    source: Ref | None = None

    def keep(self, blobs: Blobs) -> Steps[None]:
        """Makes sure that it is durable. Raises StoreError, BlobLost for an attachment of another store."""
        if self.source is not None:
            yield from blobs.copy(self.source, self.ref)
        elif self.content is None:
            yield from blobs.rely(self.ref)
        else:
            content = self.content
            yield from blobs.save(self.ref, lambda place, size: content[place : place + size])


class _Found(list["Large"]):
    """What was taken out so far; `address` names where content of a SHA-256 is to be kept, `moved` where what was
    somewhere else is now, by its place to be."""

    def __init__(self, address: Address | None, moved: dict[str, Ref] | None = None) -> None:
        super().__init__()
        self.address = address
        self.moved: dict[str, Ref] = {} if moved is None else moved

    def place(self, digest: str) -> str | None:
        return self.address(digest) if self.address is not None else None


def taken_out(kind: str, value: dict[str, Any], address: Address | None = None) -> tuple[dict[str, Any], list[Large]]:
    """The value to write for an event, and what must be kept before that; mostly the same value, and nothing.

    `address` says where content is kept, by its SHA-256; None: under that.
    """
    name = FIELDS.get(kind)
    if name is not None:
        if name not in value:
            return value, []
        part, found = _taken_out(value[name], address, packed=True)
        return (value if part is value[name] else {**value, name: part}), found
    if kind in OWN_TYPES and kind not in WHOLE:
        return value, []
    if kind in ("message", "tool_call"):  # a form of its own, which stays to be seen: its fields, and each part
        found = []
        return map_dict(value, partial(_field, address=address, found=found)), found
    part, found = _taken_out(value.get("data"), address, packed=False)
    return ({**value, "data": part} if found else value), found


def _field(data: Any, address: Address | None, found: list[Large]) -> Any:
    if type(data) is list:
        return map_list(data, partial(_field, address=address, found=found))
    made, more = _taken_out(data, address, packed=False)
    found += more
    return made


def kept(blobs: Blobs, kind: str, value: dict[str, Any], births: Sequence[tuple[int, Birth]]) -> Steps[dict[str, Any]]:
    """As `taken_out`, and what is taken out is durable when this returns. `births` are those of the session."""
    value, found = taken_out(kind, value, blobs.addresses(births))
    for large in found:
        yield from large.keep(blobs)
    return value


def _taken_out(data: Any, address: Address | None, *, packed: bool) -> tuple[Any, list[Large]]:
    kind = type(data)
    if kind is not str and kind is not dict and kind is not list:
        return data, []
    text = codec.dumps(data)
    if len(text) <= LIMIT and MARK not in text:
        return data, []  # most are small
    found = _Found(address)
    if MARK in text:
        data = _moved(data, found)
    made, _ = _part(data, len(text), packed, found)
    return made, found


def _moved(data: Any, found: _Found) -> Any:
    """A form whose attachments are where this session keeps its content."""
    kind = type(data)
    if kind is list:
        return map_list(data, partial(_moved, found=found))
    if kind is not dict:
        return data
    ref = ref_in(data)
    if ref is None:
        return map_dict(data, partial(_moved, found=found))
    own = structs.replace(ref, at=found.place(ref.sha256))
    if own.address == ref.address:
        return data
    found.moved[own.address] = ref
    return {BLOB: own.stored()}


def _part(data: Any, size: int, packed: bool, found: _Found) -> tuple[Any, int]:
    """A part of `size` bytes as it is to be written, and about how many bytes that will be."""
    kind = type(data)
    if kind is str:
        return (_reference(TEXT, data.encode(), found), _RANGES) if size > LIMIT else (data, size)
    if kind is not dict and kind is not list:
        return data, size
    ref = ref_in(data)
    if ref is not None:
        found.append(Large(ref, source=found.moved.get(ref.address)))
        return data, size
    if size <= LIMIT and MARK not in codec.dumps(data):
        return data, _written(data, size) if packed else size
    if kind is dict and len(data) == 1 and type(data.get("$bytes")) is str:
        return _bytes(data, size, found)
    inner = _Found(found.address, found.moved)
    made, left = _dict(data, packed, inner) if kind is dict else _list(data, packed, inner)
    if left <= LIMIT:
        found += inner
        return made, left
    attached = [large for large in inner if large.content is None]
    found += attached
    holds = tuple({BLOB: large.ref.stored()} for large in attached)
    return _reference(JSON, codec.dumps(data), found, holds), _RANGES


def _dict(data: dict[str, Any], packed: bool, found: _Found) -> tuple[dict[str, Any], int]:
    made, left = dict(data), 2
    for key, part in data.items():
        made[key], size = _part(part, _size(part), packed, found)
        left += size + len(key) + 4
    return made, left


def _list(data: list[Any], packed: bool, found: _Found) -> tuple[list[Any], int]:
    """In an element of a list that is packed no list is."""
    ranges = packed and worth_packing(data) is not None
    made, left = [], 2
    for part in data:
        done, size = _part(part, _size(part), packed and not ranges, found)
        made.append(done)
        left += size + 1
    return made, _RANGES if ranges and worth_packing(made) is not None else left


def _written(data: Any, size: int) -> int:
    """About how many bytes a part takes that stays as it is: a list as ranges, though it may be most of the value."""
    if type(data) is list:
        return min(size, _RANGES) if worth_packing(data) is not None else size
    return sum(_written(part, _size(part)) + len(key) + 4 for key, part in data.items()) if type(data) is dict else size


def _size(data: Any) -> int:
    return len(codec.dumps(data)) if type(data) in (str, dict, list) else _SCALAR


def _bytes(data: dict[str, Any], size: int, found: _Found) -> tuple[Any, int]:
    try:
        content = b64decode(data["$bytes"], validate=True)
    except ValueError:  # somebody else's, in our tag's clothes
        return data, size
    return _reference(BYTES, content, found), _RANGES


def _reference(encoding: str, content: bytes, found: _Found, holds: tuple[Any, ...] = ()) -> dict[str, Any]:
    digest = sha256(content).hexdigest()
    ref = Ref(digest, len(content), ENCODINGS[encoding], encoding, None, holds, found.place(digest))
    found.append(Large(ref, content))
    return {BLOB: ref.stored()}


# --- and back --------------------------------------------------------------------------------------------------------


def put_back(data: Any, event: Event | None) -> Any:
    """A part of an event's value with what is kept in blobs in its place again; attachments stay as they are.

    Its lists are not to be changed. Reads the blobs now; raises BlobLost, which names session and event.
    """
    blobs = event.blobs if event is not None else None
    if event is None or blobs is None or not any(mark in event.raw for mark in BY_REFERENCE):
        return data
    try:
        return _put_back(data, blobs)
    except BlobLost as error:
        raise named(error, event) from error


def decoded(data: Any, event: Event | None) -> Any:
    """The value of a form that an event holds; its attachments know where to read from."""
    with attachments_from(event.blobs if event is not None else None):
        return codec.decode(data)


def whole_value(event: Event) -> Any:
    """The value of an event of an own type, decoded. Reads what is kept in blobs; raises BlobLost."""
    return decoded(put_back(event.value, event), event)


def _put_back(data: Any, blobs: Blobs) -> Any:
    if type(data) is dict:
        ref = _value_in(data)
        return (
            map_dict(data, partial(_put_back, blobs=blobs)) if ref is None else blobs.value(ref, partial(formed, ref))
        )
    return map_list(data, partial(_put_back, blobs=blobs)) if type(data) is list else data


def attachments_in(events: Iterable[Event]) -> list[Attachment]:
    """The attachments that events refer to, each once, in their order."""
    found: dict[Attachment, None] = {}
    for event in events:
        for ref in refs_in(event.raw):
            if ref.encoding == ATTACHMENT:
                found.setdefault(Attachment(ref, event.blobs))
    return list(found)


def fetch(told: Step | Run) -> Steps[None]:
    """Reads what the result of a step or run has in blobs, so that it is there at once when it is asked for.

    Raises BlobLost.
    """
    return _fetched(told.outcome, lambda: told.stored_result)


def fetch_call(run: Run) -> Steps[None]:
    """As `fetch`, what the arguments of a run have in blobs."""
    return _fetched(run.start, lambda: run.stored_arguments)


def _fetched(event: Event | None, data: Callable[[], Any]) -> Steps[None]:
    blobs = event.blobs if event is not None else None
    if event is None or blobs is None or not any(mark in event.raw for mark in BY_REFERENCE):
        return
    try:
        for ref in _values_in(data()):
            yield from blobs.fetched(ref, partial(formed, ref))
    except BlobLost as error:
        raise named(error, event) from error


def named(error: BlobLost, event: Event) -> BlobLost:
    """The same, saying which event refers to it."""
    session = event.session
    where = f"session {session!r}, event {event.index} ({event.type} {event.key})"
    return BlobLost(f"{where}: {error}", sha256=error.sha256, session=session, index=event.index)


def _value_in(data: dict[str, Any]) -> Ref | None:
    ref = ref_in(data)
    return ref if ref is not None and ref.encoding != ATTACHMENT else None


def _values_in(data: Any) -> list[Ref]:
    found: list[Ref] = []
    waiting = [data]
    while waiting:
        part = waiting.pop()
        if type(part) is dict:
            ref = _value_in(part)
            if ref is None:
                waiting.extend(part.values())
            else:
                found.append(ref)
        elif type(part) is list:
            waiting.extend(part)
    return found


def formed(ref: Ref, content: bytes) -> Any:
    """The canonical form that the content of a blob is."""
    try:
        if ref.encoding == TEXT:
            return content.decode()
        return codec.loads(content) if ref.encoding == JSON else {"$bytes": b64encode(content).decode("ascii")}
    except (ValueError, NotSerializable):
        raise lost(ref, f"is not what its reference says ({ref.encoding})") from None
