"""Values on their way in and out: long lists and dicts as ranges of items, anything else as itself.

Going in, an element costs a look if it is where it was and unchanged; else it is serialized,
and stored only if the session does not hold those bytes. Coming out, an element is decoded
once a call, and shared between the values of that call as long as nobody changed it.
"""

from __future__ import annotations

from collections import deque
from hashlib import blake2b
from operator import is_
from typing import Any

from langchain_core.messages import BaseMessage

from agentstream.adapters import Change, encode, parse_range, write_ranges
from agentstream_langgraph._elements import Element, ItemId
from agentstream_langgraph._forms import Form, Typed, form_beside, form_of, typed_of
from agentstream_langgraph._index import Index, Stored
from agentstream_langgraph._readable import message_of, name_of, text_of
from agentstream_langgraph._serializing import Dumps, dumped

RECENT = 50
"""Elements at the end of a list that are looked at more closely: there they are changed in place."""

KEPT_LISTS = 4
"""Of each channel, lists whose elements are known by identity: those of its branches and readers."""

KEPT_CHECKPOINTS = 1000
"""Checkpoints put by this process that are known without having been read: as many as subgraphs run at once, say."""

FEWEST, SMALLEST = 2, 256
"""A list of fewer elements, or of less (bytes), is stored as it is."""

ITEMS, PAIRS = "$items", "$pairs"

_NUMBERS = frozenset((int, float, bool, type(None)))


class Known:
    """What this process knows the session to hold. Forgotten as a whole when an append failed."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self.reset()

    def reset(self) -> None:
        self._ids: dict[bytes, ItemId] = {}
        self.unnamed: dict[bytes, ItemId] = {}
        """Messages that were written before the graph gave them an id; a little later they come again with one."""
        self.last: dict[tuple[int, str], tuple[str, bytes]] = {}
        """By claim and namespace, the checkpoint that was put last, and its head: what goes without saying."""
        self.holding: dict[tuple[str, str], dict[str, Any]] = {}
        """Of checkpoints put lately, which channels hold a value, and its version."""
        self._learnt = 0
        self._lists: dict[tuple[str, str], deque[list[Element]]] = {}

    def held_by(self, ns: str, id: str | None) -> dict[str, Any]:
        """Which channels of a checkpoint hold a value, and its version."""
        if id is None:
            return {}
        stored = self._index.checkpoints.get((ns, id))
        if stored is not None:
            return {channel: stored.versions.get(channel) for channel in stored.forms}
        return self.holding.get((ns, id), {})

    def hold(self, ns: str, id: str, versions: dict[str, Any]) -> None:
        self.holding[ns, id] = versions
        while len(self.holding) > KEPT_CHECKPOINTS:
            del self.holding[next(iter(self.holding))]
        while len(self.last) > KEPT_CHECKPOINTS:
            del self.last[next(iter(self.last))]

    def id_of(self, digest: bytes) -> ItemId | None:
        found = self._ids.get(digest)
        if found is None and self._learnt < len(self._index.items):
            for id in list(self._index.items)[self._learnt :]:
                self._ids.setdefault(digest_of(self._index.item(id)), id)
            self._learnt = len(self._index.items)
            found = self._ids.get(digest)
        return found

    def note(self, digest: bytes, id: ItemId) -> None:
        self._ids[digest] = id

    def elements(self, ns: str, channel: str, values: list[Any]) -> list[Element]:
        """The known list that begins as `values` does."""
        for elements in self._lists.get((ns, channel), ()):
            if elements and values and elements[0].value is values[0]:
                return elements
        return []

    def has(self, ns: str, channel: str) -> bool:
        return (ns, channel) in self._lists

    def keep(self, ns: str, channel: str, elements: list[Element], instead: list[Element]) -> None:
        held = self._lists.setdefault((ns, channel), deque(maxlen=KEPT_LISTS))
        for place, other in enumerate(held):
            if other is instead and other:
                held[place] = elements
                return
        held.appendleft(elements)


class Encoder:
    """One call's values on their way in. `changes` are the events that must be written before what refers to them."""

    def __init__(self, known: Known, dumps: Dumps, claim: int, first: int, *, full: bool = False) -> None:
        self._known = known
        self._dumps = dumps
        self._claim = claim
        self._full = full
        self.next = first
        self._forms: list[tuple[int, Form]] = []
        self._said: list[Change] = []

    @property
    def claim(self) -> int:
        return self._claim

    def changes(self) -> list[Change]:
        items: list[Change] = []
        following = -1
        for number, form in self._forms:
            if number != following:
                items.append(("item", f"{self._claim}.{number}", {"items": []}))
            items[-1][2]["items"].append(form)
            following = number + 1
        return [*self._said, *items]

    def form(self, ns: str, channel: str, value: Any, where: str) -> Form:
        """The form of a channel's value."""
        kind = type(value)
        if kind is list and _is_worth_it(value):
            return self._list(ns, channel, value, value, where, ITEMS)
        if kind is dict and len(value) >= FEWEST and all(type(name) is str for name in value):
            return self._list(ns, channel, value, list(value.items()), where, PAIRS)
        if isinstance(value, BaseMessage):
            typed = dumped(self._dumps, value, where)
            return {ITEMS: [_text(self._stored(value, typed))], "one": True}
        return form_of(dumped(self._dumps, value, where))

    def _list(self, ns: str, channel: str, whole: Any, values: list[Any], where: str, tag: str) -> Form:
        known = self._known.elements(ns, channel, values) if tag == ITEMS else []
        if not known and not self._known.has(ns, channel):
            typed = dumped(self._dumps, whole, where)
            if len(typed[1]) < SMALLEST and not _holds_messages(values):
                return form_of(typed)
        recent = len(values) - RECENT
        elements: list[Element] = []
        count = _common(known, values)
        for place, value in enumerate(values):
            if place < count:
                element = known[place]
                if element.unchanged(self._full or place >= recent):
                    elements.append(element)
                    continue
            # one dict entry's pair is made anew each time: known by its bytes alone
            typed = dumped(self._dumps, value, f"{where}[{place}]" if tag == ITEMS else f"{where}[{value[0]!r}]")
            elements.append(Element.of(value, self._stored(value, typed)) if tag == ITEMS else _pair(self, typed))
        if tag == ITEMS and channel:
            self._known.keep(ns, channel, elements, known)
        return {tag: list(write_ranges(element.id for element in elements))}

    def _stored(self, value: Any, typed: Typed) -> ItemId:
        """The id of an element, which is written if the session does not hold it."""
        digest = digest_of(typed)
        id = self._known.id_of(digest)
        if id is not None:
            return id
        id = (self._claim, self.next)
        self.next += 1
        self._known.note(digest, id)
        # what a serializer encrypts is not said in clear
        if typed[0] != "msgpack" or not isinstance(value, BaseMessage):
            self._forms.append((id[1], form_of(typed)))
        else:
            of, text = self._said_by(value, id, typed)
            if of != id:
                self._forms.append((id[1], form_of(typed, text, _text(of))))
        return id

    def _said_by(self, value: BaseMessage, id: ItemId, typed: Typed) -> tuple[ItemId, bytes]:
        """Where the message stands for every reader, and its text. If that is a new event, it holds its form too."""
        said, calls = message_of(value)
        message = encode(said, where="message").data
        text = text_of(message).encode()
        name = message.pop("id", None)
        digest = blake2b(repr(message).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if name is not None:
            before = self._known.unnamed.pop(digest, None)
            if before is not None:
                return before, text
            message = {"id": name, **message}
        else:
            self._known.unnamed[digest] = id
        message["kept"] = form_beside(typed, text + name_of(message))
        self._said.append(("message", _text(id), message))
        for place, call in enumerate(calls):
            self._said.append(("tool_call", f"{_text(id)}/{place}", encode(call, where="tool call").data))
        return id, text


def _is_worth_it(values: list[Any]) -> bool:
    if len(values) < FEWEST:
        return _holds_messages(values)
    return not _NUMBERS.issuperset(map(type, values))


def _holds_messages(values: list[Any]) -> bool:
    return any(isinstance(value, BaseMessage) for value in values)


def _pair(encoder: Encoder, typed: Typed) -> Element:
    return Element(None, encoder._stored(None, typed), None, True)


def _common(known: list[Element], values: list[Any]) -> int:
    """How many elements at the start are the same objects."""
    count = 0
    for element, value in zip(known, values, strict=False):
        if not is_(element.value, value):
            break
        count += 1
    return count


def digest_of(typed: Typed) -> bytes:
    return blake2b(typed[1], digest_size=16, key=typed[0].encode()[:64]).digest()


def _text(id: ItemId) -> str:
    return f"{id[0]}.{id[1]}"


class Decoder:
    """One call's values on their way out."""

    def __init__(self, index: Index, loads: Any) -> None:
        self._index = index
        self._loads = loads
        self._made: dict[ItemId, Element] = {}
        self._used: set[ItemId] = set()
        self._lists: dict[str, list[Element]] = {}

    def begin(self) -> None:
        """What follows is of another checkpoint. Within one, nothing is shared: equal elements are not the same."""
        self._used.clear()
        self._lists.clear()

    def value(self, form: Form, channel: str = "") -> Any:
        """`channel`: whose value it is, if it may come back in the next checkpoint."""
        ranges = form.get(ITEMS)
        if ranges is not None:
            elements = self.elements(ranges)
            if channel:
                self._lists[channel] = elements
            values = [element.value for element in elements]
            return values[0] if form.get("one") else values
        pairs = form.get(PAIRS)
        if pairs is not None:
            return {pair[0]: pair[1] for pair in (self._loads(self._index.item(id)) for id in _ids(pairs))}
        return self._loads(typed_of(form))

    def keep(self, known: Known, stored: Stored) -> None:
        """What was handed out of a checkpoint comes back with the next: its lists are known by identity then."""
        for channel, elements in self._lists.items():
            known.keep(stored.ns, channel, elements, [])

    def elements(self, ranges: list[str]) -> list[Element]:
        made = self._made
        elements: list[Element] = []
        for id in _ids(ranges):
            again = id in self._used
            element = made.get(id) if not again else None
            if element is None or not element.unchanged(True):
                element = Element.of(self._loads(self._index.item(id)), id)
                if not again:
                    made[id] = element
            self._used.add(id)
            elements.append(element)
        return elements


def _ids(ranges: list[str]) -> list[ItemId]:
    found: list[ItemId] = []
    for text in ranges:
        claim, first, last = parse_range(text)
        found.extend((claim, number) for number in range(first, last + 1))
    return found
