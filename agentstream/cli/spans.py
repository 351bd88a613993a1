"""Spans of time as they are typed: `90s`, `45m`, `12h`, `30d`, `2w`."""

from __future__ import annotations

import re

from agentstream.cli.failures import UsageError

GRAMMAR = "a number and a unit: 90s, 45m, 12h, 30d, 2w"

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_FORM = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)([smhdw])", re.ASCII)


def seconds(text: str, option: str) -> float:
    """The span in seconds; an error that names the option where `text` is none."""
    found = _FORM.fullmatch(text)
    if found is None or not float(found[1]):
        raise UsageError(f"{option} {text!r} is no span of time", hint=f"a span is {GRAMMAR}")
    return float(found[1]) * _SECONDS[found[2]]
