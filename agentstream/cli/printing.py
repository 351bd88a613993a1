"""Events on stdout, in every form that `show` and `tail` give them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from agentstream.cli.output import Output, Table, shortened, widths_of
from agentstream.cli.store import Opened
from agentstream.cli.text import clean, escaped_json
from agentstream.cli.values import resolved_value, stored_value, to_json
from agentstream.sessions.events import Event
from agentstream.sessions.views.rows import COLUMNS, Row, Rows, event_json

_STATUS, _MARK = COLUMNS.index("status"), COLUMNS.index("mark")
_RIGHT = frozenset(COLUMNS.index(name) for name in ("index", "ms", "tokens"))
_FOLLOWED_WIDTHS = (6, 9, 8, 6, 24, 10, 6, 11, 9, 0)
"""What comes cannot be measured before it comes."""
_line_breaks = re.compile(rb"\s*[\r\n]\s*")


@dataclass(frozen=True, slots=True)
class Choice:
    """Which events are shown."""

    kinds: frozenset[str] = frozenset()
    errors_only: bool = False
    names: frozenset[str] = frozenset()

    def takes(self, row: Row) -> bool:
        return (
            (not self.kinds or row.of_kind(self.kinds))
            and (not self.names or row.name in self.names)
            and (not self.errors_only or row.failed)
        )


class Printer:
    """Prints a session's events. `full`: whole values, references resolved; `max_chars`: at most so much of each."""

    def __init__(
        self,
        output: Output,
        opened: Opened,
        choice: Choice,
        *,
        full: bool = False,
        max_chars: int | None = None,
        raw: bool = False,
    ) -> None:
        self._output = output
        self._opened = opened
        self._choice = choice
        self._full = full
        self._most = max_chars
        self._raw = raw
        self._rows = Rows(opened.state)
        self._table: Table | None = None

    def print_range(self, first: int, last: int, *, reverse: bool = False) -> None:
        """The events between two cuts."""
        rows = self._chosen(first, last)
        if reverse:
            rows.reverse()
        if self._output.form == "json":
            self._document(rows)
            return
        if self._tabular:
            self._head()
            self._table = Table(
                self._output, COLUMNS, [*widths_of((row.cells() for row in rows), len(COLUMNS) - 1), 0], _RIGHT
            )
        for row in rows:
            self._print(row)

    def begin_following(self, first: int) -> None:
        """The events that are there from `first` on, before those that come are handed to `follow`."""
        if self._tabular:
            self._head()
            self._table = Table(self._output, COLUMNS, _FOLLOWED_WIDTHS, _RIGHT)
        for row in self._chosen(first, self._opened.state.index):
            self._print(row)
        self._output.flush()

    def follow(self, event: Event) -> None:
        """One event that came."""
        row = self._rows.follow(event)
        if self._choice.takes(row):
            self._print(row)
            self._output.flush()

    @property
    def _tabular(self) -> bool:
        return self._output.form == "text" and self._output.terminal and not self._raw

    def _chosen(self, first: int, last: int) -> list[Row]:
        rows = map(self._rows.row, self._opened.state.events[first:last])
        return [row for row in rows if self._choice.takes(row)]

    def _value(self, event: Event) -> Any:
        return resolved_value(event, self._rows.state.items) if self._full else stored_value(event)

    def _text(self, row: Row) -> str:
        text = self._rows.text(row, self._value(row.event))
        return f"{row.model}: {text}" if row.model not in ("", row.name) else text

    def _print(self, row: Row) -> None:
        event = row.event
        if self._raw:
            self._output.line(raw_line(event))
        elif self._output.form != "text":
            self._output.object(self._object(row))
        elif self._table is None:
            value = shortened(self._text(row), self._most)
            self._output.fields([*row.cells(), value], status=_STATUS)
        elif self._full or self._most is not None:
            self._table.row([*row.cells(), ""], status=_STATUS, dim=event.mark is not None)
            self._body(shortened(to_json(self._value(event), indent=2), self._most).splitlines())
        else:
            # no more is made of a long value than fits the line
            cells = [*row.cells(), self._text(row)]
            self._table.row(cells, status=_STATUS, dim=event.mark is not None)

    def _body(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._output.line("        " + line)

    def _object(self, row: Row) -> dict[str, Any]:
        """An event's JSON; a value that `--max-chars` cuts becomes the beginning of its text."""
        value = self._value(row.event)
        if self._most is not None:
            text = to_json(value)
            value = value if len(text) <= self._most else shortened(text, self._most)
        return event_json(row, value)

    def _document(self, rows: list[Row]) -> None:
        self._output.document(
            "events",
            {
                "session": self._opened.state.session,
                "status": self._opened.state.status,
                "sealed": self._opened.sealed,
                "size": self._opened.state.index,
                "events": [self._object(row) for row in rows],
            },
        )

    def _head(self) -> None:
        self._output.line(headline(self._output, self._opened))


def headline(output: Output, opened: Opened) -> str:
    """A session in one line, for a person."""
    state = opened.state
    parts = [output.paint(clean(state.session), "bold")]
    if state.status:
        parts.append(output.paint_status(state.status, state.status))
    parts.append(f"{state.index} events")
    if state.lineage is not None:
        parts.append(f"fork of {clean(state.lineage.source)}@{state.lineage.count}")
    if opened.sealed:
        parts.append(output.paint_status("sealed", "sealed"))
    if state.title:
        parts.append(clean(str(state.title)))
    return "  ".join(parts)


def raw_line(event: Event) -> str:
    """A stored message in one line: JSON may be broken between its tokens, never inside a string."""
    return escaped_json(_line_breaks.sub(b" ", event.raw).decode("utf-8", "backslashreplace"))
