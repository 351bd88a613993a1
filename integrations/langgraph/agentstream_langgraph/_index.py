"""A thread's events folded: which checkpoints there are, where the value of each channel stands, which writes wait.

Three types of events restore a thread, each under a key that is used once (a second insert of one key does not count):

- `item`, key `<claim>.<number>`: forms of elements (`_forms.py`), numbered on from there; of an element that is a
  message its `message` event holds the form (`kept`), under the same number;
- `checkpoint`, key `<checkpoint id>` (of a subgraph, or put again, `<checkpoint id>#<claim>.<number>`): everything but
  the values that did not change; or, with `forget`, checkpoints that are there no more;
- `write`, key `<claim>.w<number>`: what one task wrote, for a checkpoint that may not be there yet; of a node or
  `@task` that came to its end it is a `step`, key `g<claim>/0/<number>#1`, with its outcome.

A parent, or the checkpoint of a write, that is not named is the one that came last in the namespace under that claim; a
head with such a parent is compressed against the parent's, and a write against the one before it under the claim.

The last event of a checkpoint counts. Of writes with one (task, idx) the first does, of
special ones (idx < 0) the last.
"""

from __future__ import annotations

from typing import Any

import msgspec

from agentstream.adapters import STEP_ITEMS, parse_range, value_of
from agentstream_langgraph._elements import ItemId
from agentstream_langgraph._forms import NO_WORDS, Form, Typed, typed_of, unsqueezed
from agentstream_langgraph._readable import LONGEST, Words, name_of, words_of
from agentstream_langgraph._records import head_of, is_node, written_of

Place = tuple[str, str]
"""A namespace and a checkpoint's id."""

BRANCHES = ("update", "fork")
"""Sources of checkpoints that somebody put beside the graph's own."""


class Write(msgspec.Struct, frozen=True):
    """One pending write. `order` is LangGraph's `writes_sort_key`."""

    order: tuple[str, str, int]
    channel: str
    form: Form

    @property
    def task(self) -> str:
        return self.order[1]


class Stored(msgspec.Struct, frozen=True):
    """One checkpoint. `forms` has every channel that holds a value; `head` is what else it says, decoded when asked."""

    index: int
    claim: int
    ns: str
    id: str
    parent: str | None
    head: dict[str, Any]
    versions: dict[str, Any]
    forms: dict[str, Form]
    delta: tuple[str, ...] = ()
    """Channels whose value has to be made from ancestors' writes."""

    @property
    def place(self) -> Place:
        return self.ns, self.id


class Index:
    """What a log holds of one thread. Not safe to share: its owner has a lock."""

    def __init__(self) -> None:
        self.reset("")

    def reset(self, incarnation: str) -> None:
        self.incarnation = incarnation
        self.size = 0
        """How many events were looked at."""
        self.checkpoints: dict[Place, Stored] = {}
        self.by_ns: dict[str, dict[str, Stored]] = {}
        """Those that are there, without the forgotten."""
        self.children: dict[Place, list[Stored]] = {}
        """By parent; of those without one, by the id "" ."""
        self.last: dict[tuple[int, str], tuple[str, bytes]] = {}
        """By claim and namespace, the checkpoint that came last, and its head."""
        self.written: dict[int, bytes] = {}
        """By claim, what the write that came last was made of."""
        self.writes: dict[Place, dict[tuple[str, int], Write]] = {}
        self.told: dict[tuple[Place, str], int] = {}
        """Where a task last said what came of it."""
        self.items: dict[ItemId, Form] = {}
        self.words: dict[ItemId, Words] = {}
        self.names: dict[ItemId, bytes] = {}
        """Of messages that hold their form themselves, their ids."""
        self.typed: dict[ItemId, Typed] = {}
        """Of items, what the serializer is given."""
        self.lives: list[Any] = []
        """The `session` and `rewind` events."""
        self.stepped: set[str] = set()
        """The tasks that made steps, by the key these are recorded under."""
        self.asked: dict[tuple[Place, str], list[str]] = {}
        """The questions of a task, by their keys, in the order in which it asked them."""
        self.answered: set[str] = set()
        self._values: dict[tuple[str, str, Any], Form] = {}

    def add(self, log: Any) -> bool:
        """Takes in what came since; True if what was known before was no more so."""
        anew = log.incarnation != self.incarnation
        coming = [] if anew else log.events[self.size :]  # one look: others read on in the same log meanwhile
        if any(event.type == "rewind" for event in coming):
            anew = True
        if anew:
            self.reset(log.incarnation)
            coming = log.events[:]
        for event in coming:
            if event.type == "step" and not is_node(event):
                self.stepped.add(event.key.rsplit("/", 2)[0])
            elif event.mark is None:
                reader = _READERS.get(event.type)
                if reader is not None:
                    reader(self, event)
        self.size += len(coming)
        return anew

    # --- reading events ----------------------------------------------------------------------------------------------

    def _life(self, event: Any) -> None:
        self.lives.append(event)

    def _question(self, event: Any) -> None:
        value = value_of(event)
        place = (value.get("ns", ""), value.get("checkpoint", ""))
        asked = self.asked.setdefault((place, value.get("task", "")), [])
        if event.key not in asked:
            asked.append(event.key)

    def _answer(self, event: Any) -> None:
        self.answered.add(value_of(event).get("question", ""))

    def _item(self, event: Any) -> None:
        claim, first, _ = parse_range(event.key)
        if first >= STEP_ITEMS:
            return
        for number, form in enumerate(value_of(event).get("items") or (), first):
            self.items.setdefault((claim, number), form)

    def _message(self, event: Any) -> None:
        if event.claim is None or not event.key.startswith(f"{event.claim}."):
            return
        number = event.key.partition(".")[2]
        if number.isdecimal():
            value, id = value_of(event), (event.claim, int(number))
            self.words[id] = words_of(value, short=len(event.raw) <= LONGEST)
            kept = value.get("kept")
            if kept is not None:
                self.items.setdefault(id, self._same(kept) if isinstance(kept, str) else kept)
                self.names[id] = name_of(value)

    def _same(self, key: str) -> Form:
        claim, number, _ = parse_range(key)
        return self.items[claim, number]

    def _write(self, event: Any) -> None:
        value = value_of(event)
        ns = value.get("ns", "")
        if "kept" in value:
            text = self.written[event.claim] = unsqueezed(value["kept"], self.written.get(event.claim, b""))
            checkpoint, task, path, writes = written_of(text, value)
        else:  # as they were once
            checkpoint, task = value.get("checkpoint"), value["task"]
            path, writes = value.get("path", ""), value["writes"]
        place = (ns, self.last[event.claim, ns][0] if checkpoint is None else checkpoint)
        held = self.writes.setdefault(place, {})
        self.told[place, task] = event.index
        for number, channel, form in writes:
            if number < 0 or (task, number) not in held:
                held[task, number] = Write((path, task, number), channel, form)

    def _checkpoint(self, event: Any) -> None:
        value = value_of(event)
        if "forget" in value:
            for ns, id in value["forget"]:
                self.by_ns.get(ns, {}).pop(id, None)
            return
        ns, id = value.get("ns", ""), event.key.rpartition("#")[0] or event.key
        parent, before = value.get("parent"), b""
        if "parent" not in value and (event.claim, ns) in self.last:
            parent, before = self.last[event.claim, ns]
        text = unsqueezed(value["head"], before)
        self.last[event.claim, ns] = (id, text)
        head, versions = head_of(text)
        own = {**head.pop("values", {}), **(value.get("values") or {})}
        forms = self._forms(ns, parent, versions, own, head["gone"])
        delta = tuple(value.get("delta") or ())
        stored = Stored(event.index, event.claim, ns, id, parent, head, versions, forms, delta)
        self.checkpoints[ns, id] = stored
        self.by_ns.setdefault(ns, {})[id] = stored
        self.children.setdefault((ns, parent or ""), []).append(stored)

    def _forms(
        self, ns: str, parent: str | None, versions: dict[str, Any], own: dict[str, Form], gone: Any
    ) -> dict[str, Form]:
        """Where each channel's value stands: here, or where it stood for the parent."""
        above = self.checkpoints.get((ns, parent)) if parent is not None else None
        forms: dict[str, Form] = {}
        for channel, version in versions.items():
            form = own.get(channel)
            if form is not None:
                self._values[ns, channel, version] = form
            elif channel in gone:
                continue
            elif above is not None and above.versions.get(channel) == version:
                form = above.forms.get(channel)
            else:
                form = self._values.get((ns, channel, version))
            if form is not None:
                forms[channel] = form
        return {**own, **forms}

    # --- asking ------------------------------------------------------------------------------------------------------

    def find(self, ns: str, id: str | None) -> Stored | None:
        """A checkpoint that is there; the latest of the namespace (the highest id) where `id` is None."""
        here = self.by_ns.get(ns)
        if not here:
            return None
        return here[max(here)] if id is None else here.get(id)

    def pending(self, place: Place) -> list[Write]:
        """The writes that wait at a checkpoint, in the order in which they are applied."""
        return sorted(self.writes.get(place, {}).values(), key=_order)

    def item(self, id: ItemId) -> Typed:
        """What the serializer is given for an element."""
        typed = self.typed.get(id)
        if typed is None:
            form = self.items[id]
            of, words, name = form.get("of"), NO_WORDS, b""
            if of is not None:
                claim, number, _ = parse_range(of)
                words = self.words[claim, number]
            elif id in self.names:
                words, name = self.words[id], self.names[id]
            typed = self.typed[id] = typed_of(form, words, name)
        return typed

    def ancestors(self, stored: Stored) -> list[Stored]:
        """From its parent to the root; forgotten ones too."""
        found: list[Stored] = []
        seen = {stored.id}
        while stored.parent is not None and stored.parent not in seen:
            above = self.checkpoints.get((stored.ns, stored.parent))
            if above is None:
                break
            seen.add(above.id)
            found.append(above)
            stored = above
        return found


_READERS = {
    "session": Index._life,
    "rewind": Index._life,
    "question": Index._question,
    "answer": Index._answer,
    "item": Index._item,
    "message": Index._message,
    "write": Index._write,
    "step": Index._write,
    "checkpoint": Index._checkpoint,
}


def _order(write: Write) -> tuple[str, str, int]:
    return write.order
