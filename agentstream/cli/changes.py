"""What differs, operation by operation of a JSON Patch, as a person reads it."""

from __future__ import annotations

from typing import Any

from agentstream.cli.output import Output, shortened
from agentstream.cli.text import SIGN_COLOURS, clean
from agentstream.cli.values import compact


def print_change(output: Output, change: dict[str, Any], most: int | None) -> None:
    """One operation: its path, what was there and what is, at most `most` characters of each."""
    output.line(f"    {clean(change['path']) or '/'}")
    for sign, name in (("-", "was"), ("+", "value")):
        if name in change:
            text = f"      {sign} {clean(shortened(value_in(change, name), most))}"
            output.line(output.paint(text, SIGN_COLOURS[sign]))


def value_in(change: dict[str, Any], name: str) -> str:
    """One side of an operation, in one line; empty where it has none."""
    return compact(change[name]) if name in change else ""
