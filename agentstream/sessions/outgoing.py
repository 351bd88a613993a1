"""Sessions as they leave the store under rules: the same events in their places, without what the rules find.

What leaves is a life of its own: its incarnations are others, its births say by which rules it was redacted, and a
call of which something was taken out is compared by what is left (`fingerprints.leaving`). References within a
session stay where they still lead to what they stand for, so it is no larger than it was; an element of a list is
without what the rules find at any place where the list is used. All of it is in memory meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from agentstream.errors import NotFound
from agentstream.sessions import codec
from agentstream.sessions.births import birth_of
from agentstream.sessions.encryption.form import Portable
from agentstream.sessions.events import OWN_TYPES, Event
from agentstream.sessions.fingerprints import leaving
from agentstream.sessions.items import ItemId, Items, map_dict, map_list, parse_range, ranges_in
from agentstream.sessions.log import missing, open_log, whole
from agentstream.sessions.openers import opened_result, opened_threads
from agentstream.sessions.outgoing_content import Content
from agentstream.sessions.outgoing_lives import Change, Lives
from agentstream.sessions.redaction import Rules
from agentstream.sessions.repeats import SOURCES, EventId, referred
from agentstream.sessions.secrets import Hidden, marker, replaced
from agentstream.sessions.state import holds_items

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.sessions.core import Core
    from agentstream.sessions.log import Log

PARTS: Mapping[str, Mapping[str, str]] = {
    "run": {"arguments": "arguments"},
    "step": {"input": "arguments", "result": "result", "error": "error"},
    "outcome": {"result": "result", "error": "error", "usage": "usage"},
    "error": {"text": "error", "args": "error", "fields": "error"},
    "session": {"title": "session", "tags": "session"},
    **{kind: {} for kind in ("delta", "item", "claim", "status", "rewind")},
}
"""Of types whose value is not all somebody's: the fields that are, and how paths into them begin."""

COMPARED = {"run": "arguments", "step": "input"}
"""What a fingerprint is of."""

SHORTEST = 8
"""Characters of a text that is taken out whole, from which on it is also taken out wherever else it stands: code hands
on what it is given, and of a session that was recorded under rules it would have been given the mark."""

Owner = tuple[tuple[str, int], int]
"""An element by the event that holds it (the incarnation that it was written in, and its index: the same in every
fork that shares it), and its number there."""


class Leaving(msgspec.Struct, frozen=True):
    """One session as it is written out. `content`: the large content that its messages refer to, by its SHA-256."""

    session: str
    sealed: bool
    messages: list[bytes]
    content: Mapping[str, bytes]


def without(core: Core, names: Sequence[str], rules: Rules, told: str) -> Steps[list[Leaving]]:
    """Sessions as they leave the store under rules that are called `told`; those of one family in one call.

    Raises NotFound, BlobLost, NotSerializable for what nobody here can look into.
    """
    logs: list[Log] = []
    for name in names:
        log = yield from open_log(name)
        if log is None:
            raise missing(name)
        yield from whole(log)
        logs.append(log)
        portable = Portable(name)
        for event in log.events:
            portable(event.raw)  # says what is locked or erased
        portable.check()
    written = yield from _written(core, [log.events for log in logs], rules)
    lives = Lives([change for changes, _ in written for change in changes], told)
    return [
        Leaving(log.session, log.closed, [lives.message(change) for change in changes], content.written)
        for log, (changes, content) in zip(logs, written, strict=True)
    ]


def changed(core: Core, events: Sequence[Event], rules: Rules) -> Steps[list[Change]]:
    """The messages of one session after the rules, to be read: it is the life that it was, and holds large values."""
    [(changes, _)] = yield from _written(core, [events], rules, inline=True)
    return changes


Written = list[tuple[list[Change], Content]]


def _written(core: Core, sessions: Sequence[Sequence[Event]], rules: Rules, *, inline: bool = False) -> Steps[Written]:
    """Twice, where texts were taken out whole: then it is known what code was handed, and may have handed on."""
    rules.taken = {}
    written = yield from _looked_at(core, sessions, rules, inline)
    handed_on = {text: name for text, name in rules.taken.items() if len(text) >= SHORTEST}
    if not handed_on:
        return written
    return (yield from _looked_at(core, sessions, Rules(rules.redact.wherever(handed_on), core.backend), inline))


def _looked_at(core: Core, sessions: Sequence[Sequence[Event]], rules: Rules, inline: bool) -> Steps[Written]:
    family = _Family(rules)
    found: list[_Session] = []
    for events in sessions:
        content = Content(core.blobs, rules, inline=inline)
        yield from content.read(events)
        found.append(_Session(family, list(events), content))
    return [(session.written(), session.content) for session in found]


class _Family:
    """What sessions that share a history have in common: the elements of lists, with what is taken out of them."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.elements: dict[Owner, Any] = {}
        self._names: dict[bytes, str] = {}
        self.filled: dict[tuple[Owner, str], Any] = {}
        """Elements in one of their forms (`replaced`), once all of them were looked at."""
        self._changed: dict[Owner, bool] = {}
        self.alike = not rules.redact.paths and rules.redact.rule is None
        self._seen: set[tuple[Owner, tuple[Any, ...]]] = set()

    def stored(self, hidden: Hidden) -> Any:
        """What stands in the place of what is hidden: of a value that code hands on the mark that it was first given,
        which is what that code has."""
        if hidden.stored != marker(hidden.name):
            return hidden.stored
        value = codec.canonical(replaced(hidden.form, "form"))
        return marker(self._names.setdefault(value, hidden.name))

    def hold(self, owner: Owner, element: Any) -> None:
        """What the rules find in an element wherever it stands."""
        if owner not in self.elements:
            self.elements[owner] = self.rules.marked(element, "item")

    def stands(self, owner: Owner, place: Sequence[Any]) -> None:
        """The element stands at `place` too, where paths and functions may find more."""
        if (seen := (owner, tuple(place))) not in self._seen:
            self._seen.add(seen)
            marked = self.elements[owner]
            self.elements[owner] = _both(marked, self.rules.marked_within(replaced(marked, "form"), place))

    def changed(self, owner: Owner) -> bool:
        """Whether anything is taken out of the element; asked when all of them were looked at."""
        if owner not in self._changed:
            self._changed[owner] = _holds_hidden(self.elements[owner])
        return self._changed[owner]

    def hide(self, owner: Owner, name: str) -> None:
        """What holds the element is taken out whole."""
        self.elements[owner] = Hidden(name, replaced(self.elements[owner], "form"))


def _both(one: Any, other: Any) -> Any:
    """What is taken out of a form in two places where it stands."""
    hidden = [each for each in (one, other) if type(each) is Hidden]
    if hidden:
        whole = [each for each in hidden if each.stored == marker(each.name)] or hidden
        same = all(each.stored == whole[0].stored for each in whole)
        return whole[0] if same or len(whole) == 1 else Hidden("several", replaced(one, "form"))
    if type(one) is dict:
        return {name: _both(part, other[name]) for name, part in one.items()}
    return [_both(*parts) for parts in zip(one, other, strict=True)] if type(one) is list else one


def _holds_hidden(form: Any) -> bool:
    if type(form) is dict or type(form) is list:
        return any(map(_holds_hidden, form.values() if type(form) is dict else form))
    return type(form) is Hidden


class _Range(list[Any]):
    """A list of elements in the place where it stands. Rules see each element by itself; empty, it says nothing."""

    def __init__(self, ids: Sequence[ItemId]) -> None:
        super().__init__()
        self.ids = ids


class _Session:
    """One session: looked at when it is made, written when all of its family are."""

    def __init__(self, family: _Family, events: list[Event], content: Content) -> None:
        self.content = content
        self._family, self._rules, self._events = family, family.rules, events
        self._lives = list(_lives(events))
        self._opened = opened_threads(events, family.rules)
        self._pieces = _pieces(events, family.rules)
        self._first: dict[EventId, Event] = {}
        for event in events:
            if event.type in SOURCES:
                self._first.setdefault((event.claim or 0, event.type, event.key), event)
        self._items = Items(self._find)
        self._owners: dict[ItemId, Owner] = {}
        self._after: dict[EventId, Any] = {}
        self._items_after = Items(self._after.get)
        for event in events:
            if holds_items(event) and event.index not in self._opened:
                with suppress(NotFound):
                    self._take(event)
        self._marked: dict[tuple[int, str], Any] = {}
        for event in events:
            parts = PARTS.get(event.type)  # of other types the value may be in a blob, and is read elsewhere
            if parts and event.index not in self._opened and isinstance(event.value, dict):
                for name, at in parts.items():
                    if name in event.value:
                        marked = self._look(event.value[name], at)
                        if name == "input" and event.value.get("kind") == "attach":
                            marked = self.content.attaching(marked)
                        self._marked[event.index, name] = marked

    def _find(self, source: EventId) -> Any:
        event = self._first.get(source)
        return event.value if event is not None else None

    # --- looking -----------------------------------------------------------------------------------------------------

    def _take(self, event: Event) -> None:
        """Elements of lists, as far as they can be looked at where they stand. Raises NotFound for what is no id."""
        claim, first, _ = parse_range(event.key)
        items = event.value["items"]
        self._items.add(event.key, items)
        for number, element in enumerate(items if type(items) is list else ()):
            owner = (self._lives[event.index], number)
            self._owners.setdefault((claim, first + number), owner)
            self._family.hold(owner, self._whole(element))

    def _look(self, stored: Any, at: str) -> Any:
        """A part with what is taken out of it marked."""
        before = self._whole(stored)
        marked = opened_result(before, self._rules) if at == "result" else None
        if marked is None:
            marked = self._rules.marked(before, at)
        self._use(before, marked, [at])
        return marked

    def _use(self, before: Any, marked: Any, place: list[Any]) -> None:
        """Tells elements where they stand, and whether what holds them is hidden."""
        if type(before) is _Range:
            if marked is before and self._family.alike:
                return
            for number, id in enumerate(before.ids):
                owner = self._owners.get(self._items.origin(id))
                if owner is not None and marked is not before:
                    self._family.hide(owner, marked.name if type(marked) is Hidden else "several")
                elif owner is not None:
                    self._family.stands(owner, [*place, number])
        elif type(before) is dict or type(before) is list:
            same = type(marked) is type(before) and len(marked) == len(before)
            for name, part in before.items() if type(before) is dict else enumerate(before):
                after = marked[name] if same and (type(before) is list or name in marked) else marked
                self._use(part, after, [*place, name])

    def _whole(self, stored: Any) -> Any:
        """A stored part with what it refers to in its place: texts, parts of other events, large content."""
        try:
            return self.content.put_in(self._resolved(stored))
        except NotFound:
            return stored  # its record is incomplete, and stays so

    def _resolved(self, data: Any) -> Any:
        if type(data) is list:
            return map_list(data, self._resolved)
        if type(data) is not dict:
            return data
        ranges = ranges_in(data)
        if ranges is not None:
            return _Range([(claim, n) for claim, a, b in map(parse_range, ranges) for n in range(a, b + 1)])
        return self._items.resolve_same(data) if referred(data) is not None else map_dict(data, self._resolved)

    # --- writing -----------------------------------------------------------------------------------------------------

    def written(self) -> list[Change]:
        return [Change(life, self._written(event)) for event, life in zip(self._events, self._lives, strict=True)]

    def _written(self, event: Event) -> Any:
        """The message of an event, as JSON."""
        try:
            stored = codec.loads(event.raw)
        except ValueError:
            return marker("unreadable")
        if not event.type or not isinstance(stored.get("value"), dict):
            return self._rules.form(stored, event.type or "event")
        value = self._value(event, stored["value"])
        if self._first.get(source := (event.claim or 0, event.type, event.key)) is event:
            self._after[source] = {name: part for name, part in value.items() if name != "claim"}
        if holds_items(event) and event.index not in self._opened:
            with suppress(NotFound):
                self._items_after.add(event.key, value["items"])
        if isinstance(stored.get("headers"), dict):
            stored["headers"].pop("offset", None)  # added by some servers; it says nothing elsewhere
        return {**stored, "value": value}

    def _value(self, event: Event, value: dict[str, Any]) -> dict[str, Any]:
        if event.index in self._opened:
            return self._opened[event.index]
        if event.type == "delta":
            return {**value, "text": self._pieces[event.index]} if event.index in self._pieces else value
        if event.type not in PARTS:
            return self._whole_value(event.type, value)
        made = {name: part for name, part in value.items() if name != "idempotency_key"}
        for name in PARTS[event.type]:
            marked = self._marked.get((event.index, name))
            if (event.index, name) in self._marked:
                made[name] = self._kept(value[name], marked)
                if COMPARED.get(event.type) == name and isinstance(value.get("fingerprint"), str):
                    made["fingerprint"] = self._fingerprint(value["fingerprint"], marked)
        if event.type == "item" and type(value.get("items")) is list:
            life = self._lives[event.index]
            made["items"] = [self._element((life, number), part) for number, part in enumerate(value["items"])]
        return made

    def _element(self, owner: Owner, stored: Any) -> Any:
        marked = self._family.elements.get(owner)
        return self._kept(stored, self._rules.marked(stored, "item") if marked is None else marked)

    def _whole_value(self, kind: str, value: dict[str, Any]) -> dict[str, Any]:
        """The value of a type that is all somebody's: it holds no references but to large content."""
        claim = {"claim": value["claim"]} if type(value.get("claim")) is int else {}
        rest = self.content.put_in({name: part for name, part in value.items() if name not in claim})
        if kind in OWN_TYPES or rest.keys() == {"data"}:
            made = self._rules.event(kind, rest)
        else:
            made = self._rules.form(rest, kind)
        return {**claim, **self._kept({name: value[name] for name in rest}, made)}

    def _filled(self, form: Any, part: str) -> Any:
        """A marked form in one of its forms (`replaced`), its lists whole."""
        if type(form) is _Range:
            owners = (self._owners.get(self._items.origin(id)) for id in form.ids)
            return [self._filled_element(owner, part) if owner is not None else None for owner in owners]
        if type(form) is Hidden:
            return self._family.stored(form) if part == "stored" else self._filled(replaced(form, part), part)
        change = partial(self._filled, part=part)
        return map_dict(form, change) if type(form) is dict else map_list(form, change) if type(form) is list else form

    def _filled_element(self, owner: Owner, part: str) -> Any:
        made = self._family.filled
        if (owner, part) not in made:
            made[owner, part] = self._filled(self._family.elements[owner], part)
        return made[owner, part]

    def _kept(self, stored: Any, marked: Any) -> Any:
        """What is written in the place of `stored`: its references stay where they lead to what is to stand there."""
        if type(marked) is _Range:
            return stored
        if type(stored) is dict and type(marked) is not Hidden and referred(stored) is not None:
            after = self._filled(marked, "stored")
            return stored if self._leads_to(stored, after) else self.content.keep(None, after)
        if self.content.is_large(stored):
            return self.content.keep(stored, self._filled(marked, "stored"))
        if type(stored) is dict and type(marked) is dict and stored.keys() == marked.keys():
            return {name: self._kept(part, marked[name]) for name, part in stored.items()}
        if type(stored) is list and type(marked) is list and len(stored) == len(marked):
            return [self._kept(*parts) for parts in zip(stored, marked, strict=True)]
        return self.content.keep(None, self._filled(marked, "stored"))

    def _leads_to(self, reference: Any, after: Any) -> bool:
        try:
            return self.content.put_in_written(self._items_after.resolve(reference)) == after
        except NotFound:
            return False

    def _fingerprint(self, recorded: str, marked: Any) -> str:
        if not self._is_changed(marked):
            return recorded
        return leaving(recorded, *(self._filled(marked, part) for part in ("form", "shape", "stored")))

    def _is_changed(self, marked: Any) -> bool:
        if type(marked) is _Range:
            owners = (self._owners.get(self._items.origin(id)) for id in marked.ids)
            return any(owner is not None and self._family.changed(owner) for owner in owners)
        if type(marked) is dict or type(marked) is list:
            return any(map(self._is_changed, marked.values() if type(marked) is dict else marked))
        return type(marked) is Hidden


def _lives(events: Sequence[Event]) -> Iterator[tuple[str, int]]:
    """Of each event the incarnation that it was written in, and its index."""
    incarnation = ""
    for event in events:
        birth = birth_of(event)
        incarnation = incarnation if birth is None else birth.incarnation
        yield incarnation, event.index


def _pieces(events: Sequence[Event], rules: Rules) -> dict[int, str]:
    """The texts of deltas, by index: a secret may stand in several of them that were one text."""
    texts: dict[tuple[str, str], dict[int, str]] = {}
    for event in events:
        value = event.value if event.type == "delta" and isinstance(event.value, dict) else {}
        if isinstance(value.get("text"), str):
            said = (str(value.get("target")), str(value.get("kind")))
            texts.setdefault(said, {})[event.index] = value["text"]
    return {
        index: text
        for said in texts.values()
        for index, text in zip(said, rules.pieces(list(said.values())), strict=True)
    }
