"""Values on their way in and out: long lists and dicts as ranges of items, anything else as itself.

Going in, an element costs a look if it is where it was and unchanged; else it is serialized,
and stored only if the session does not hold those bytes. Coming out, an element is decoded
once a call, and shared between the values of that call as long as nobody changed it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from hashlib import blake2b
from itertools import pairwise, repeat
from operator import is_
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage

from agentstream.adapters import Change, encode, parse_range, write_ranges
from agentstream_langgraph._elements import Element, ItemId, all_unchanged
from agentstream_langgraph._forms import ITEMS, PAIRS, Form, Typed, form_beside, form_of, typed_of
from agentstream_langgraph._index import Index, Stored
from agentstream_langgraph._readable import Words, message_of, name_of, words_of
from agentstream_langgraph._redacting import Place, redacted
from agentstream_langgraph._serializing import dumped

if TYPE_CHECKING:
    from langgraph.checkpoint.serde.base import SerializerProtocol

RECENT = 50
"""Elements at the end of a list that are looked at more closely: there they are changed in place."""

KEPT_LISTS = 4
"""Of each channel, lists whose elements are known by identity: those of its branches and readers."""

KEPT_CHECKPOINTS = 1000
"""Checkpoints put by this process that are known without having been read: as many as subgraphs run at once, say."""

FEWEST, SMALLEST = 2, 256
"""A list of fewer elements, or of less (bytes), is stored as it is."""

_NUMBERS = frozenset((int, float, bool, type(None)))


Span = tuple[int, int, int]
"""A claim, and the first and last number of items under it."""


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
        self.written: dict[int, bytes] = {}
        """By claim, what the write that came last was made of."""
        self.blocks: dict[tuple[int, str], str] = {}
        """By claim and block, the message that holds it."""
        self.holding: dict[tuple[str, str], dict[str, Any]] = {}
        """Of checkpoints put lately, which channels hold a value, and its version."""
        self._put: set[str] = set()
        self._learnt = 0
        self._lists: dict[tuple[str, str], deque[list[Element]]] = {}
        self.pairs: dict[tuple[str, str], dict[str, Element]] = {}
        """Of each channel, the entries of the dict that it held last."""

    def held_by(self, ns: str, id: str | None) -> dict[str, Any]:
        """Which channels of a checkpoint hold a value, and its version."""
        if id is None:
            return {}
        stored = self._index.checkpoints.get((ns, id))
        if stored is not None:
            return {channel: stored.versions.get(channel) for channel in stored.forms}
        return self.holding.get((ns, id), {})

    def is_new(self, ns: str, id: str) -> bool:
        """Whether the session can hold no checkpoint of this id: its event may have the id as its key then. (One that
        another process puts under the same id at the same time is the same checkpoint.)"""
        if ns or "#" in id or id in self._put or ("", id) in self._index.checkpoints:
            return False
        self._put.add(id)
        return True

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

    def __init__(
        self,
        known: Known,
        serde: SerializerProtocol,
        claim: int,
        first: int,
        *,
        full: bool = False,
        rules: Any = None,
    ) -> None:
        """`rules`: what is taken out of values, where the client has any."""
        self._known = known
        self._serde = serde
        self._rules = rules if rules is not None and rules.active else None
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

    def dumped(self, value: Any, where: str, place: Place, *, pair: bool = False) -> Typed:
        """What the serializer makes of a value that stands at `place`, after the client's rules."""
        typed = dumped(self._serde.dumps_typed, value, where)
        return typed if self._rules is None else redacted(typed, self._rules, place, pair=pair)

    def form(self, ns: str, channel: str, value: Any, where: str, place: Place) -> Form:
        """The form of a channel's value."""
        kind = type(value)
        if kind is list and _is_worth_it(value):
            return self._list(ns, channel, value, where, place)
        if kind is dict and len(value) >= FEWEST and all(type(name) is str for name in value):
            return self._dict(ns, channel, value, where, place)
        if isinstance(value, BaseMessage):
            typed = self.dumped(value, where, place)
            return {ITEMS: [_text(self._stored(value, typed))], "one": True}
        return form_of(self.dumped(value, where, place))

    def _list(self, ns: str, channel: str, values: list[Any], where: str, place: Place) -> Form:
        known = self._known.elements(ns, channel, values)
        if not known and not self._known.has(ns, channel):
            typed = self.dumped(values, where, place)
            if len(typed[1]) < SMALLEST and not _holds_messages(values):
                return form_of(typed)
        recent = len(values) - RECENT
        elements: list[Element] = []
        count = _common(known, values)
        for number, value in enumerate(values):
            if number < count:
                element = known[number]
                if element.unchanged(self._full or number >= recent):
                    elements.append(element)
                    continue
            typed = self.dumped(value, f"{where}[{number}]", (*place, number))
            elements.append(Element.of(value, self._stored(value, typed)))
        if channel:
            self._known.keep(ns, channel, elements, known)
        return {ITEMS: list(write_ranges(element.id for element in elements))}

    def _dict(self, ns: str, channel: str, values: dict[str, Any], where: str, place: Place) -> Form:
        known = self._known.pairs.get((ns, channel), {})
        if not known:
            typed = self.dumped(values, where, place)
            if len(typed[1]) < SMALLEST:
                return form_of(typed)
        recent = len(values) - RECENT
        elements: dict[str, Element] = {}
        for number, (name, value) in enumerate(values.items()):
            element = known.get(name)
            looked = self._full or number >= recent
            if element is None or element.value is not value or not element.unchanged(looked):
                typed = self.dumped((name, value), f"{where}[{name!r}]", place, pair=True)
                element = Element.of(value, self._stored(None, typed))
            elements[name] = element
        if channel:
            self._known.pairs[ns, channel] = elements
        return {PAIRS: list(write_ranges(element.id for element in elements.values()))}

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
            of, words = self._said_by(value, id, typed)
            if of != id:
                self._forms.append((id[1], form_of(typed, words, _text(of))))
        return id

    def _said_by(self, value: BaseMessage, id: ItemId, typed: Typed) -> tuple[ItemId, Words]:
        """Where the message stands for every reader, and its words. If that is a new event, it holds its form too."""
        found = self._serde.loads_typed(typed) if self._rules is not None else value
        said, calls = message_of(found if isinstance(found, BaseMessage) else value)
        message = encode(said, where="message").data
        words = words_of(message)
        name = message.pop("id", None)
        digest = blake2b(repr(message).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if name is not None:
            before = self._known.unnamed.pop(digest, None)
            if before is not None:
                return before, words
            message = {"id": name, **message}
        else:
            self._known.unnamed[digest] = id
        kept = form_beside(typed, words, name_of(message))
        same = self._known.blocks.setdefault((self._claim, repr(kept)), _text(id))
        message["kept"] = kept if same == _text(id) else same
        self._said.append(("message", _text(id), message))
        for place, call in enumerate(calls):
            self._said.append(("tool_call", f"{_text(id)}/{place}", encode(call, where="tool call").data))
        return id, words


def _is_worth_it(values: list[Any]) -> bool:
    if len(values) < FEWEST:
        return _holds_messages(values)
    return not _NUMBERS.issuperset(map(type, values))


def _holds_messages(values: list[Any]) -> bool:
    return any(isinstance(value, BaseMessage) for value in values)


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
        self._made: dict[int, dict[int, Element]] = {}
        """By claim and number."""
        self._used: list[Span] = []
        self._lists: dict[str, list[Element]] = {}
        self._pairs: dict[str, list[Element]] = {}

    def begin(self) -> None:
        """What follows is of another checkpoint. Within one, nothing is shared: equal elements are not the same."""
        self._used.clear()
        self._lists.clear()
        self._pairs.clear()

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
            elements = self.elements(pairs)
            if channel:
                self._pairs[channel] = elements
            return {element.value[0]: element.value[1] for element in elements}
        return self._loads(typed_of(form))

    def keep(self, known: Known, stored: Stored) -> None:
        """What was handed out of a checkpoint comes back with the next: its lists are known by identity then."""
        for channel, elements in self._lists.items():
            known.keep(stored.ns, channel, elements, [])
        for channel, elements in self._pairs.items():
            known.pairs[stored.ns, channel] = {
                element.value[0]: Element.of(element.value[1], element.id) for element in elements
            }

    def elements(self, ranges: list[str]) -> list[Element]:
        spans = [parse_range(text) for text in ranges]
        before = list(self._used)
        self._used += spans
        if _are_apart(self._used):
            found: list[Any] = []
            for claim, first, last in spans:
                found += map(self._made.get(claim, _NONE).get, range(first, last + 1))
            if all(found) and all_unchanged(found):
                return found
        return self._looked_at(spans, {id for span in before for id in _ids(span)})

    def _looked_at(self, spans: list[Span], used: set[ItemId]) -> list[Element]:
        """Elements one by one; those of `used` stand in this checkpoint already."""
        elements: list[Element] = []
        for span in spans:
            made = self._made.setdefault(span[0], {})
            for id in _ids(span):
                again = id in used
                element = made.get(id[1]) if not again else None
                if element is None or not element.unchanged(True):
                    element = Element.of(self._loads(self._index.item(id)), id)
                    if not again:
                        made[id[1]] = element
                used.add(id)
                elements.append(element)
        return elements


_NONE: dict[int, Element] = {}


def _ids(span: Span) -> Iterator[ItemId]:
    claim, first, last = span
    return zip(repeat(claim), range(first, last + 1), strict=False)


def _are_apart(spans: list[Span]) -> bool:
    """Whether no id is in two of them."""
    if len(spans) < 2:
        return True
    in_order = sorted(spans)
    return all(claim != above or last < first for (claim, _, last), (above, first, _) in pairwise(in_order))
