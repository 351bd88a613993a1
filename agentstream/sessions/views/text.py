"""Recorded text as a terminal may see it.

A session holds what models, tools and strangers wrote. Control characters in it could move
the cursor, set a title or make text read otherwise than it is: they are shown escaped,
everywhere and always, in a pipe too, where a tab or line break would break the columns.
"""

from __future__ import annotations

import re

_UNSAFE = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
"""DEL and C1 (terminals take some for escapes), line separators, marks that turn the direction of text, surrogates."""

_control = re.compile(f"[\x00-\x1f{_UNSAFE}]")
_control_in_json = re.compile(f"[{_UNSAFE}]")
_NAMES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\e"}


def clean(text: str) -> str:
    """`text` in one line, with every control character escaped as `\\n`, `\\x07` or `\\u202e`."""
    return _control.sub(_escape, text) if not text.isprintable() else text


def _escape(found: re.Match[str]) -> str:
    char = found[0]
    return _NAMES.get(char) or (f"\\x{ord(char):02x}" if ord(char) < 0x100 else f"\\u{ord(char):04x}")


def escaped_json(text: str) -> str:
    """JSON text that says the same and holds nothing a terminal would obey."""
    return _control_in_json.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
