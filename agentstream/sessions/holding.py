"""Texts that come in pieces: what might be the beginning of a secret is held back until more has come.

The last word is held always (credentials are one word), and what was opened and not closed: a
private key, a field of JSON that is taken out, digits of a card, the words before a credential
(`Bearer `). Of patterns of a user's own, which may match anything, the last `longest` characters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from agentstream.errors import NotSerializable
from agentstream.sessions import _shapes
from agentstream.sessions.secrets import Redacted, shown

if TYPE_CHECKING:
    from agentstream.sessions.redaction import Rules

LONG = 4096
"""Characters held from which on they are not looked at for each new piece, but when a quarter has come to them."""

_WORD = re.compile(r"[^\s,;{}\[\]()<>]*\Z")
_OPENED = re.compile(
    r"-----(?:B(?:E(?:G(?:I(?:N[A-Z0-9 -]*)?)?)?)?)?\Z"
    r"|bearer\s*\S*\Z"
    r"|authorization[\"']?\s*[:=]?\s*[\"']?(?:basic)?\s*\S*\Z"
    r"|(?:set-)?cookie:[^\r\n]*\Z"
    r"|aws_secret(?:_access)?_key[\"']?\s*[=:]?\s*[\"']?\S*\Z",
    re.IGNORECASE,
)
_DIGITS = re.compile(r"[0-9][0-9 -]*\Z")


class Holding:
    """One text that comes in pieces. `add` gives what can be written of it, `rest` what was held, at its end."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._held = ""
        self._look_at = 0
        redact = rules.redact
        names = "|".join(re.escape(name).replace("_", "[-_ ]") for name in redact.fields)
        self._field = re.compile(rf'\\?"(?:{names})\\?"\s*(?::\s*)?\Z', re.IGNORECASE) if names else None

    def add(self, text: str) -> str:
        self._held += text
        if len(self._held) < self._look_at:
            return ""
        spans = self._spans()
        cut = self._cut()
        given = self._without(self._held[:cut], [span for span in spans if span[1] <= cut])
        self._held = self._held[cut:]
        self._look_at = len(self._held) * 5 // 4 if len(self._held) > LONG else 0
        return given

    def rest(self) -> str:
        text, self._held = self._without(self._held, self._spans()), ""
        return text

    def _spans(self) -> list[_shapes.Span]:
        return self._rules.redact.patterns.spans(self._held)

    def _cut(self) -> int:
        """How many characters cannot be part of a secret that is still to come whole."""
        text, redact = self._held, self._rules.redact
        ends = [_WORD.search(text)]
        if redact.patterns.keys:
            ends.append(_OPENED.search(text))
        if redact.patterns.cards:
            ends.append(_DIGITS.search(text))
        if self._field is not None:
            ends.append(self._field.search(text))
        cut = min(match.start() for match in ends if match is not None)
        if redact.patterns.own:
            cut = min(cut, max(0, len(text) - redact.longest + 1))
        extents = redact.patterns.extents(text)
        while open_ones := [start for start, end in extents if start < cut and (cut < end or end == len(text))]:
            cut = min(open_ones)  # it may go on: it is written when it is whole, and what tells it from other text
        return cut

    def _without(self, text: str, spans: list[_shapes.Span]) -> str:
        rule = self._rules.redact.rule
        if rule is None or not text:
            return _shapes.without(text, spans)
        try:
            given: Any = rule("delta.text", text)
        except Exception as error:
            raise NotSerializable(f"the rule of redact= raised {type(error).__name__} for delta.text") from None
        if isinstance(given, Redacted):
            return shown(given.rule)
        if given == text:
            return _shapes.without(text, spans)
        return self._rules.text(str(given))
