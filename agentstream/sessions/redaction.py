"""`Redact`: what is taken out of a value before it is recorded, compared or handed to code.

Rules work on the leaves of the canonical form, after encoding and before everything else, so
that a secret is in no event, no item, no block and no snapshot, and code gets the same value
on the first run as on every later one. What is taken out whole is recorded as
`{"$redacted": "<rule>"}`; a part of a longer text is replaced by `[redacted: <rule>]`.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from agentstream.errors import NotSerializable
from agentstream.sessions import _paths, _shapes, codec
from agentstream.sessions.fingerprints import Fingerprint, Key, plain
from agentstream.sessions.secrets import TAG, Hidden, Redacted, marker, replaced, shown

if TYPE_CHECKING:
    from agentstream.backends.base import Backend
    from agentstream.sessions.holding import Holding

Rule = Callable[[str, Any], Any]

PLAIN_TEXTS = frozenset(("message", "tool_call", "answer", "session", "question", "error", "delta"))
"""What other programs read as it stands: there a text stays a text, and what is taken out is shown in it."""

_WITH_ARGUMENTS = frozenset(("question", "tool_call"))
_TEXTS = frozenset(("$str", "$path"))
_NUMBERS = frozenset(("$int", "$float", "$decimal"))


class Redact:
    """What is never recorded: `Client(redact=Redact(fields=["password"], paths=["result.token"]))`.

    - `keys`: what looks like a credential, wherever it stands in a text: API keys and tokens of the
      usual providers, JSON web tokens, private keys, bearer values, credentials in URLs, cookies.
    - `cards`: credit card numbers (13 to 19 digits that pass Luhn's check).
    - `fields`: names, in any spelling (`api-key` is `API_KEY`); what stands under one at any depth is
      taken out whole, also where JSON stands in a text.
    - `paths`: where a value stands: `arguments.card.number`, `result[*].token`, `message.parts[*].text`,
      `**.ssn`; what is there is taken out whole.
    - `patterns`: names and regular expressions; of a match the group `secret` is taken out, if there
      is one. `longest` is how many characters a match of them may have in text that comes in pieces.
    - `rule`: a function of the path and the value of each leaf; it returns the value, another one, or
      `Redacted("why")`. It is called again for equal values and gives the same each time.

    ValueError for a path or a pattern that is none.
    """

    def __init__(
        self,
        *,
        keys: bool = True,
        cards: bool = False,
        fields: Iterable[str] = (),
        paths: Iterable[str] = (),
        patterns: Mapping[str, str | re.Pattern[str]] | None = None,
        rule: Rule | None = None,
        longest: int = 256,
    ) -> None:
        if isinstance(fields, str) or isinstance(paths, str):
            raise TypeError("fields= and paths= are lists of texts, not one text")
        if rule is not None and not callable(rule):
            raise TypeError(f"rule= is a function of a path and a value, not {rule!r}")
        if isinstance(longest, bool) or not isinstance(longest, int) or longest < 1:
            raise ValueError(f"longest= is a number of characters, at least 1, not {longest!r}")
        names = [*fields]
        if not all(isinstance(name, str) and name for name in names):
            raise ValueError(f"fields= are names, not {names!r}")
        self.fields = {_shapes.field_name(name): name for name in names}
        self.paths = [(_paths.parse(path), path) for path in paths]
        self.rule = rule
        self.longest = longest
        self.keys = bool(keys)
        self.patterns = _shapes.Patterns(
            self.keys, bool(cards), _shapes.compiled(patterns or {}), _shapes.json_fields(self.fields)
        )

    def __repr__(self) -> str:
        return f"Redact({len(self.fields)} fields, {len(self.paths)} paths, {len(self.patterns.own)} patterns)"

    def wherever(self, taken: Mapping[str, str]) -> Redact:
        """The same rules, which find these texts wherever they stand too, each under the name that it is given."""
        texts: dict[str, list[str]] = {}
        for text, name in taken.items():
            texts.setdefault(name, []).append(re.escape(text))
        own = tuple((name, re.compile("|".join(sorted(each, key=len, reverse=True)))) for name, each in texts.items())
        made = copy(self)
        made.patterns = replace(self.patterns, own=(*self.patterns.own, *own))
        return made

    def field(self, name: str, form: Any) -> str | None:
        """The name of the rule that takes out what stands under this field name, None if none does."""
        if not self.fields and not self.keys:
            return None
        plain = _shapes.field_name(name)
        if plain in self.fields:
            return self.fields[plain]
        return name if self.keys and plain in _shapes.KEY_FIELDS and isinstance(form, str) else None

    def path(self, place: list[str | int], paths: list[tuple[tuple[Any, ...], str]]) -> str | None:
        return next((path for steps, path in paths if _paths.matches(steps, place)), None)


NOTHING = Redact(keys=False)


class Rules:
    """What one client takes out of what it writes, and the key by which that is compared. One per core."""

    def __init__(self, redact: Redact | bool | None, backend: Backend) -> None:
        if isinstance(redact, bool):
            redact = Redact() if redact else None
        if redact is not None and not isinstance(redact, Redact):
            raise TypeError(f"redact= is a Redact, True or None, not {redact!r}")
        self.redact = redact or NOTHING
        self.key = Key(backend)
        self.active = redact is not None
        self.taken: dict[str, str] | None = None
        """Where it is one: the texts that were taken out whole, with their rules' names."""

    # --- what is compared --------------------------------------------------------------------------------------------

    def encode(self, value: object, *, where: str, at: str | None) -> codec.Encoded:
        """The canonical form without what is not to be recorded; `at` is how paths begin (None: with what is in it).

        Raises NotSerializable.
        """
        try:
            return self.applied(codec.encode(value, where=where), at)
        except NotSerializable as error:
            if self.active and (told := self.text(str(error))) != str(error):
                raise NotSerializable(told) from None
            raise

    def applied(self, encoded: codec.Encoded, at: str | None) -> codec.Encoded:
        """A form that was encoded, after the rules."""
        if not self.active:
            return encoded
        marked = self._marked(encoded.data if encoded.marked is None else encoded.marked, at)
        if marked is encoded.data:
            return encoded
        return codec.Encoded(replaced(marked, "stored"), encoded.typed, marked)

    def fingerprint(self, encoded: codec.Encoded) -> Fingerprint | str:
        """What a call is compared by."""
        if encoded.marked is None:
            return plain(encoded.data)
        return self.key.fingerprint(encoded.marked)

    # --- what is only written ----------------------------------------------------------------------------------------

    def form(self, data: Any, at: str) -> Any:
        """A form that is written, and compared by nobody."""
        marked = self._marked(data, at) if self.active else data
        return data if marked is data else replaced(marked, "stored")

    def within(self, data: Any, place: Sequence[str | int]) -> Any:
        """A form that stands at `place` in what is written, of which the first is how paths begin."""
        marked = self.marked_within(data, place)
        return data if marked is data else replaced(marked, "stored")

    def marked(self, data: Any, at: str | None) -> Any:
        """A form in which what the rules find is `Hidden`; the form itself where they find nothing."""
        return self._marked(data, at) if self.active else data

    def marked_within(self, data: Any, place: Sequence[str | int]) -> Any:
        """As `marked`, of a form that stands at `place`."""
        if not self.active:
            return data
        walk = _Pass(self.redact, str(place[0]), taken=self.taken)
        walk.place = [*place]
        name = next((rule for part in place[1:] if (rule := self.redact.field(str(part), data)) is not None), None)
        return walk.form(data) if name is None else walk.hidden(name, data)

    def event(self, kind: str, value: dict[str, Any]) -> dict[str, Any]:
        """The stored value of an event that somebody appends or emits: a path to what is in it begins with its type."""
        if not self.active:
            return value
        if value.keys() == {"data"}:
            return {"data": self.form(value["data"], kind)}
        if kind in _WITH_ARGUMENTS and "arguments" in value:  # the same as those of the step that they are for
            value = {**value, "arguments": self.form(value["arguments"], "arguments")}
        return self.form(value, kind)

    def overwritten(self, data: Any) -> Any:
        """A form whose parts refer to each other by length: what the patterns find is written over, byte for byte."""
        marked = _Pass(Redact(keys=False), None, over=self.redact.patterns).form(data) if self.active else data
        return data if marked is data else replaced(marked, "stored")

    def text(self, text: str) -> str:
        """A text for logs and messages."""
        patterns = self.redact.patterns
        return _shapes.without(text, patterns.spans(text)) if self.active and patterns else text

    def delta(self, text: str) -> str:
        """A text that could come in pieces and came whole."""
        holding = self.holding()
        return text if holding is None else holding.add(text) + holding.rest()

    def pieces(self, pieces: list[str]) -> list[str]:
        """The pieces of one text, as many: what stands for a part of it is in the piece in which that began."""
        spans = self.redact.patterns.spans("".join(pieces)) if self.active else []
        return _shapes.without_in(pieces, spans) if spans else pieces

    def holding(self) -> Holding | None:
        """What looks at a text that comes in pieces; None where nothing is looked for in texts."""
        if not self.active or not (self.redact.patterns or self.redact.rule):
            return None
        from agentstream.sessions.holding import Holding

        return Holding(self)

    def _marked(self, data: Any, at: str | None) -> Any:
        return _Pass(self.redact, at, taken=self.taken).form(data)


class Held:
    """The texts that come in pieces from one source, by their target and kind."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._texts: dict[tuple[str, str], Holding] = {}

    def add(self, target: str, kind: str, text: str) -> str:
        """What can be written now."""
        holding = self._texts.get((target, kind)) or self._rules.holding()
        if holding is None:
            return text
        self._texts[target, kind] = holding
        return holding.add(text)

    def rest(self) -> Iterator[tuple[str, str, str]]:
        """What was held, at the end of all of them: target, kind, text."""
        texts, self._texts = self._texts, {}
        return ((*name, text) for name, holding in texts.items() if (text := holding.rest()))


class _Pass:
    """One walk over a form. Gives the form itself where nothing is taken out of it, else one that holds `Hidden`s."""

    def __init__(
        self,
        redact: Redact,
        at: str | None,
        *,
        over: _shapes.Patterns | None = None,
        taken: dict[str, str] | None = None,
    ) -> None:
        self.redact = redact
        self.taken = taken
        self.over = over
        self.patterns = redact.patterns if over is None else over
        self.plain = at in PLAIN_TEXTS
        self.place: list[str | int] = [at] if at is not None else []
        self.paths = [path for path in redact.paths if at is None or path[0][0] in (at, None, _paths.Deep)]

    def form(self, data: Any) -> Any:
        kind = type(data)
        if self.paths and (path := self.redact.path(self.place, self.paths)) is not None:
            return self.hidden(path, data)
        if kind is str:
            return self.leaf(data) if self.redact.rule is not None else self.text(data)
        if kind is list:
            return self.elements(data)
        if kind is dict:
            return self.mapping(data)
        if kind is Hidden:
            if data.stored != marker(data.name):
                return data  # what stands in its place is known already
            return Hidden(data.name, data.form, shown(data.name) if self.plain else None)
        return data if data is None or kind is bool else self.leaf(data)

    def hidden(self, name: str, data: Any) -> Any:
        """`data` taken out whole, unless it says nothing or is out already."""
        if data is None or data == "" or (type(data) is dict and data.keys() == {TAG}):
            return data
        if self.taken is not None and type(data) is str:
            self.taken.setdefault(data, name)
        return Hidden(name, replaced(data, "form"), shown(name) if self.plain else marker(name))

    # --- containers --------------------------------------------------------------------------------------------------

    def elements(self, data: list[Any]) -> list[Any]:
        made: list[Any] | None = None
        self.place.append(0)
        for number, item in enumerate(data):
            self.place[-1] = number
            form = self.form(item)
            if form is not item:
                made = data.copy() if made is None else made
                made[number] = form
        self.place.pop()
        return data if made is None else made

    def mapping(self, data: dict[str, Any]) -> Any:
        if len(data) == 1:
            (tag,) = data
            if tag[:1] == "$":
                return self.tagged(tag, data[tag], data)
        changed, renamed, made = False, False, {}
        for key, item in data.items():
            form = self.under(key, item)
            name = self.name(key, made)
            changed, renamed = changed or form is not item, renamed or name != key
            made[name] = form
        if renamed:  # a key cannot be hidden by itself: the whole stands for its comparison
            return Hidden("key", replaced(data, "form"), replaced(made, "stored"), replaced(made, "shape"))
        return made if changed else data

    def under(self, key: str, item: Any) -> Any:
        rule = self.redact.field(key, item)
        if rule is not None and type(item) is not bool:
            return self.hidden(rule, item)
        self.place.append(key)
        form = self.form(item)
        self.place.pop()
        return form

    def name(self, key: str, taken: Mapping[str, Any]) -> str:
        """A key without what is secret in it; of two that become the same the second is numbered."""
        name = _shapes.without(key, self.patterns.spans(key)) if self.patterns else key
        while name != key and name in taken:
            name += "'"
        return name

    def tagged(self, tag: str, content: Any, data: dict[str, Any]) -> Any:
        if tag == TAG:
            return data
        if tag == "$map" and type(content) is list:
            made = [self.entry(pair) for pair in content]
            return data if all(new is old for new, old in zip(made, content, strict=True)) else {tag: made}
        if type(content) is not str:
            form = self.form(content)
            if form is not content and tag == "$set":
                return _set(data, form)
            return data if form is content else {tag: form}
        if self.redact.rule is not None:
            return self.leaf(data)
        return self.tagged_text(tag, content, data)

    def tagged_text(self, tag: str, content: str, data: dict[str, Any]) -> Any:
        """A tag whose content is a text: what the text says is looked at, and stays in the tag."""
        if tag in _TEXTS:
            value = codec.decode(data)
            return self.within(str(value) if tag == "$path" else value, data, lambda text: {tag: text})
        if tag == "$bytes":
            value = codec.decode(data)
            if not isinstance(value, bytes):
                return data
            text = _text_in(value)
            return self.binary(value, data) if text is None else self.within(text, data, _as_bytes)
        return self.text(content, data) if tag in _NUMBERS else data

    def entry(self, pair: Any) -> Any:
        """One entry of a `$map`: its key, which may be anything, and what stands under it."""
        if type(pair) is not list or len(pair) != 2:
            return self.form(pair)
        key, item = pair
        value = self.under(key if type(key) is str else "", item)
        name = self.text(key) if type(key) is str else self.form(key)
        return pair if value is item and name is key else [name, value]

    # --- leaves ------------------------------------------------------------------------------------------------------

    def text(self, text: str, data: Any = None) -> Any:
        """A text after the patterns; `data` is its form, where that is another."""
        return self.within(text, text if data is None else data, lambda rest: rest)

    def within(self, text: str, data: Any, form: Callable[[str], Any]) -> Any:
        spans = self.patterns.spans(text) if self.patterns else []
        if not spans:
            return data
        if self.over is not None:
            return Hidden(spans[0][2], data, form(_shapes.over(text, spans)))
        whole = spans[0][:2] == (0, len(text)) and not self.plain
        stored = marker(spans[0][2]) if whole else form(_shapes.without(text, spans))
        return Hidden(spans[0][2], data, stored, {TAG: [] if whole else _shapes.pieces(text, spans)})

    def binary(self, value: bytes, data: Any) -> Any:
        """What is found in data that is no text is written over: whatever says how long it is stays right."""
        spans = self.patterns.spans(value.decode("latin-1"))
        if not spans:
            return data
        left = bytearray(value)
        for start, end, _ in spans:
            left[start:end] = b"*" * (end - start)
        stored = {"$bytes": b64encode(left).decode("ascii")}
        return Hidden(spans[0][2], data, stored, stored)

    def leaf(self, data: Any) -> Any:
        """A leaf after the user's own rule, and then the patterns."""
        rule = self.redact.rule
        if rule is None:
            return self.number(data)
        value = codec.decode(data)
        place = _paths.text_of(self.place)
        try:
            given = rule(place, value)
        except Exception as error:  # its text may hold what it was to hide
            raise NotSerializable(
                f"the rule of redact= raised {type(error).__name__} for {place}; nothing is recorded unless it returns"
            ) from None
        if isinstance(given, Redacted):
            return self.hidden(given.rule, data)
        if given is not value and not (type(given) is type(value) and given == value):
            form = codec.encode(given, where=f"what the rule of redact= gives for {place}").data
            after = self.text(form) if type(form) is str else form
            return Hidden("rule", data, replaced(after, "stored"), {TAG: [replaced(after, "shape")]})
        if type(data) is dict:
            ((tag, content),) = data.items()
            return self.tagged_text(tag, content, data)
        return self.text(data) if type(data) is str else self.number(data)

    def number(self, data: Any) -> Any:
        if self.patterns.cards and type(data) is int and _shapes.is_card(str(data)):
            return self.hidden("card", data)
        return data


def _set(data: Any, members: list[Any]) -> Hidden:
    """A set as it is read and written again: members that became the same are one, and their order says nothing."""
    kept = {codec.canonical(member): member for member in replaced(members, "stored")}
    stored = {"$set": [kept[text] for text in sorted(kept)]}
    return Hidden("set", replaced(data, "form"), stored, {"$set": replaced(members, "shape")})


def _as_bytes(text: str) -> dict[str, str]:
    return {"$bytes": b64encode(text.encode()).decode("ascii")}


def _text_in(value: bytes) -> str | None:
    """The text that bytes are; None for binary data."""
    if b"\0" in value:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
