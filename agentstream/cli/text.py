"""Recorded text as a terminal may see it (`sessions/views/text.py`), and colours."""

from __future__ import annotations

from agentstream.sessions.views.text import clean as clean
from agentstream.sessions.views.text import escaped_json as escaped_json

_SGR = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
}

STATUS_COLOURS = {
    "finished": "green",
    "running": "blue",
    "waiting": "yellow",
    "failed": "red",
    "exhausted": "red",
    "abandoned": "magenta",
    "unknown": "magenta",
    "unfinished": "magenta",
    "cancelled": "dim",
    "sealed": "dim",
    "fenced": "dim",
    "duplicate": "dim",
    "rewound": "dim",
    "malformed": "red",
    "unreadable": "red",
}

SIGN_COLOURS = {"-": "red", "+": "green", "~": "yellow"}
"""Of what was there, what is there, and what differs."""


def coloured(text: str, colour: str | None) -> str:
    """`text` in a colour; as it is where that is None."""
    return f"\x1b[{_SGR[colour]}m{text}\x1b[0m" if colour and text else text
