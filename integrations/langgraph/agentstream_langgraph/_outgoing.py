"""A thread as it leaves its store under rules (`session.export(redact=…)`): what the saver wrote, looked into.

Everything is where it was: the same events, ids and versions. What is changed is written without a reference to texts,
so that whatever was taken out of a message's event is missing in nothing else.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import ormsgpack

from agentstream import NotSerializable
from agentstream.adapters import STEP_ITEMS, Opener, parse_range, value_of
from agentstream_langgraph._elements import ItemId
from agentstream_langgraph._forms import ITEMS, PAIRS, Form, Typed, squeezed, typed_of
from agentstream_langgraph._index import Index
from agentstream_langgraph._records import RETURN, is_node
from agentstream_langgraph._records import _packed as packed  # pyright: ignore[reportPrivateUsage]
from agentstream_langgraph._records import _unpacked as unpacked  # pyright: ignore[reportPrivateUsage]
from agentstream_langgraph._redacting import redacted

Place = tuple["str | int", ...]


def opened(events: Sequence[Any], rules: Any) -> dict[int, dict[str, Any]]:
    """The values of all events that a saver wrote in forms of its own, after the rules, by index."""
    thread = _Thread(rules)
    for event in events:
        thread.read(event)
    return {event.index: value for event in events if (value := thread.written(event)) is not None}


def result_of(value: Any, looked: Any) -> Any:
    """A step's result that the `Recorded` middleware wrote, after the rules; None for another."""
    kept = value.get("kept") if isinstance(value, dict) else None
    if not isinstance(kept, dict) or not kept.keys() & {"t", "v"}:
        return None
    try:
        typed = typed_of(kept)
    except ValueError:
        return None
    made = _without(typed, looked.rules, ("result",))
    return value if made is typed else {**value, "kept": _bare(made)}


OPENER = Opener(result=result_of, thread=opened)


class _Thread:
    """All events are read, then each is written."""

    def __init__(self, rules: Any) -> None:
        self._rules = rules
        self._index = Index()
        self._log = SimpleNamespace(incarnation="thread", events=[])
        self._index.reset("thread")
        self._places: dict[ItemId, tuple[Place, bool]] = {}
        self._texts: dict[int, bytes] = {}
        """Of checkpoints and writes, by index, what their compressed part says."""
        self._before: dict[tuple[Any, ...], bytes] = {}
        self._said: set[str] = set()
        """Messages whose event says something else now."""

    def read(self, event: Any) -> None:
        self._log.events.append(event)
        self._index.add(self._log)
        if event.mark is not None:
            return
        value = value_of(event)
        if event.type == "checkpoint" and "head" in value:
            _, self._texts[event.index] = self._index.last[event.claim, value.get("ns", "")]
            head = unpacked(self._texts[event.index])
            for channel, form in {**head.get("values", {}), **(value.get("values") or {})}.items():
                self._stands(form, ("state", channel))
        elif _is_write(event, value):
            self._texts[event.index] = self._index.written[event.claim]
            for number, (_, channel, form) in enumerate(unpacked(self._texts[event.index])["writes"]):
                told = (value.get("values") or {}).get(str(number))
                self._stands(form or told or {}, ("result",) if channel == RETURN else ("state", channel))
        elif event.type == "message" and self._told(value) != _told_as(value):
            self._said.add(event.key)

    def _stands(self, form: Form, place: Place) -> None:
        for number, id in enumerate(_ids(form.get(ITEMS) or ())):
            self._places.setdefault(id, (place if form.get("one") else (*place, number), False))
        for id in _ids(form.get(PAIRS) or ()):
            self._places.setdefault(id, (place, True))

    def _told(self, value: dict[str, Any]) -> dict[str, Any]:
        return self._rules.event("message", _told_as(value))

    # --- and each after the rules ------------------------------------------------------------------------------------

    def written(self, event: Any) -> dict[str, Any] | None:
        value = value_of(event)
        if not isinstance(value, dict) or event.claim is None:
            return None
        made = self._written(event, value)
        return None if made is None else {"claim": event.claim, **made}

    def _written(self, event: Any, value: dict[str, Any]) -> dict[str, Any] | None:
        if event.type == "checkpoint":
            return value if event.index not in self._texts else self._checkpoint(event, value)
        if event.index in self._texts:
            return self._write(event, value)
        if event.type == "item":
            claim, first, _ = parse_range(event.key)
            items = value.get("items")
            if first >= STEP_ITEMS or not isinstance(items, list):
                return None
            return {**value, "items": [self._item((claim, first + n), form) for n, form in enumerate(items)]}
        if event.type == "message" and "kept" in value:
            claim, number, _ = parse_range(event.key)
            return {**self._told(value), "kept": self._item((claim, number), value["kept"])}
        return None

    def _item(self, id: ItemId, form: Any) -> Any:
        place, pair = self._places.get(id, (("state",), False))
        typed = self._index.item(id)
        made = _without(typed, self._rules, place, pair=pair)
        of = form if isinstance(form, str) else form.get("of")
        own = f"{id[0]}.{id[1]}"
        return form if made is typed and own not in self._said and of not in self._said else _bare(made)

    def _checkpoint(self, event: Any, value: dict[str, Any]) -> dict[str, Any]:
        chain = (event.claim, "head", value.get("ns", ""))
        head = unpacked(self._texts[event.index])
        for name, place in (("more", "checkpoint"), ("metadata", "metadata")):
            if head.get(name) is not None:
                head[name] = self._form(head[name], (place,))
        text = packed(head, "checkpoint")
        before = self._before.get(chain, b"") if "parent" not in value else b""
        self._before[chain] = text
        values = {
            channel: self._form(form, ("state", channel)) for channel, form in (value.get("values") or {}).items()
        }
        return {**value, "head": squeezed(text, before), **({"values": values} if values else {})}

    def _write(self, event: Any, value: dict[str, Any]) -> dict[str, Any]:
        text = self._texts[event.index]
        channels = [channel for _, channel, _ in unpacked(text)["writes"]]
        made = {**value, "kept": squeezed(text, self._before.get((event.claim, "write"), b""))}
        self._before[event.claim, "write"] = text
        values = {
            number: self._form(
                form, ("result",) if channels[int(number)] == RETURN else ("state", channels[int(number)])
            )
            for number, form in (value.get("values") or {}).items()
        }
        for name, at in (("input", "arguments"), ("result", "result"), ("error", "error")):
            if name in value:
                made[name] = self._rules.form(value[name], at)
        return {**made, **({"values": values} if values else {})}

    def _form(self, form: Form, place: Place) -> Form:
        if ITEMS in form or PAIRS in form:
            return form
        of = form.get("of")
        typed = typed_of(form) if of is None else self._index.item(parse_range(of)[:2])
        made = _without(typed, self._rules, place)
        return form if made is typed else _bare(made)


def _without(typed: Typed, rules: Any, place: Place, *, pair: bool = False) -> Typed:
    """What the serializer is given, after the rules; what nobody can look into is left out."""
    try:
        return redacted(typed, rules, place, pair=pair)
    except NotSerializable:
        left = f"[redacted: {typed[0]}]"
        return "msgpack", ormsgpack.packb([left, left] if pair else left)


def _bare(typed: Typed) -> Form:
    """The form of a value that leans on nothing else."""
    kind, data = typed
    return {"t": kind, "b": b64encode(data).decode()} if data else {"t": kind}


def _told_as(value: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in value.items() if name != "kept"}


def _is_write(event: Any, value: dict[str, Any]) -> bool:
    return (event.type == "write" or (event.type == "step" and is_node(event))) and "kept" in value


def _ids(ranges: Sequence[str]) -> Iterator[ItemId]:
    for text in ranges:
        claim, first, last = parse_range(text)
        yield from ((claim, number) for number in range(first, last + 1))
