"""Where an answer goes and in which form: aligned and coloured for a person, tab-separated or JSON for a program."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, Any, Literal

from agentstream.cli.options import Colour
from agentstream.cli.text import STATUS_COLOURS, clean, coloured
from agentstream.cli.values import to_json

SCHEMA = "agentstream/cli/1"
Form = Literal["text", "json", "jsonl"]

_SMALLEST_LAST = 16
"""Cells that the last column gets on a terminal however narrow."""
_WIDEST = 32
"""Cells of a column of a table on a terminal, but for the first and the last."""


@dataclass
class Output:
    """Stdout as this command writes to it. `terminal`: a person reads it."""

    form: Form
    terminal: bool
    colour: bool
    pager: bool
    width: int
    _sink: IO[str] = field(default_factory=lambda: sys.stdout)

    @classmethod
    def made(cls, *, json: bool, jsonl: bool, color: Colour, pager: bool = False) -> Output:
        terminal = sys.stdout.isatty()
        form: Form = "jsonl" if jsonl else "json" if json else "text"
        width = shutil.get_terminal_size((100, 24)).columns
        return cls(form, terminal, _wants_colour(color, terminal), pager and terminal and form == "text", width)

    def line(self, text: str) -> None:
        self._sink.write(text + "\n")

    def flush(self) -> None:
        self._sink.flush()

    def document(self, kind: str, data: Any) -> None:
        """The one JSON document of an answer."""
        self.line(to_json({"schema": SCHEMA, "kind": kind, "data": data}, indent=2 if self.terminal else None))

    def object(self, data: Any) -> None:
        """One line of JSON."""
        self.line(to_json(data))

    def paint(self, text: str, colour: str | None) -> str:
        return coloured(text, colour) if self.colour else text

    def paint_status(self, text: str, status: str) -> str:
        return self.paint(text, STATUS_COLOURS.get(status))

    def fields(self, cells: Sequence[str], *, status: int | None = None) -> None:
        """One tab-separated line, nothing cut. `status` is the column to colour, where that is asked for."""
        texts = list(map(clean, cells))
        if status is not None:
            texts[status] = self.paint_status(texts[status], cells[status])
        self.line("\t".join(texts))

    @contextmanager
    def paged(self) -> Iterator[None]:
        """What is written inside goes through the user's pager where there is one and a person reads."""
        command = _pager() if self.pager else None
        if command is None:
            yield
            return
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="backslashreplace",
            env={"LESS": "FRX", "LESSCHARSET": "utf-8", **os.environ},
        )
        assert process.stdin is not None
        self._sink = process.stdin
        try:
            yield
        except BrokenPipeError:
            pass  # they have seen enough
        finally:
            self._sink = sys.stdout
            _wait(process, process.stdin)


class Table:
    """Rows on a terminal, in columns whose width is known from the start. Columns that are all empty are left out."""

    def __init__(
        self, output: Output, heads: Sequence[str], widths: Sequence[int], right: frozenset[int] = frozenset()
    ):
        """`widths` in cells, 0 for a column to leave out; the last column takes what is left of the line."""
        self._output = output
        shown = [n for n, width in enumerate(widths) if width or n == len(widths) - 1]
        self._last = shown[-1]
        self._right = right
        self._widths = {n: max(widths[n], len(heads[n])) for n in shown[:-1]}
        taken = sum(width + 2 for width in self._widths.values())
        self.room = max(output.width - taken, _SMALLEST_LAST)
        output.line(self._laid_out(heads, None))

    def row(self, cells: Sequence[str], *, status: int | None = None, dim: bool = False) -> None:
        """One line. `status` is the column to colour by what it says."""
        text = self._laid_out(cells, None if dim else status)
        self._output.line(self._output.paint(text, "dim") if dim else text)

    def _laid_out(self, cells: Sequence[str], status: int | None) -> str:
        parts: list[str] = []
        for n, width in self._widths.items():
            text = cut(clean(cells[n]), width)
            gap = " " * (width - cell_len(text))
            if n == status:
                text = self._output.paint_status(text, cells[n])
            parts.append(gap + text if n in self._right else text + gap)
        last = cut(clean(cells[self._last][: self.room + 1]), self.room)
        return "  ".join([*parts, last]).rstrip()


def widths_of(rows: Iterable[Sequence[str]], columns: int) -> list[int]:
    """The width of each column over all rows, kept within reason."""
    widths = [0] * columns
    for cells in rows:
        for n, text in enumerate(cells):
            if len(text) > widths[n] or not text.isascii():
                widths[n] = max(widths[n], cell_len(clean(text)))
    return [widths[0], *(min(width, _WIDEST) for width in widths[1:])]


def cell_len(text: str) -> int:
    """Terminal cells that a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len as measured

    return measured(text)


def cut(text: str, width: int) -> str:
    """`text` in at most `width` cells; one that was cut ends in an ellipsis."""
    if cell_len(text) <= width:
        return text
    if text.isascii():
        return text[: width - 1] + "…"
    from rich.cells import set_cell_size

    return set_cell_size(text, width - 1) + "…"


def shortened(text: str, most: int | None) -> str:
    """The first `most` characters, and how many more there are."""
    if most is None or len(text) <= most:
        return text
    return f"{text[:most]}… (+{len(text) - most} characters)"


def _wants_colour(asked: Colour, terminal: bool) -> bool:
    if asked is not Colour.auto:
        return asked is Colour.always
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
        return True
    return terminal and os.environ.get("TERM") != "dumb"


def _pager() -> list[str] | None:
    """The pager's command: $PAGER, else less; none where that is empty, `cat` or not there."""
    try:
        command = shlex.split(os.environ.get("PAGER", "less"))
    except ValueError:
        return None
    return command if command and command != ["cat"] and shutil.which(command[0]) else None


def _wait(process: subprocess.Popen[str], sink: IO[str]) -> None:
    _patiently(lambda: _close(sink))
    _patiently(process.wait)


def _close(sink: IO[str]) -> None:
    with suppress(BrokenPipeError):
        sink.close()


def _patiently(action: Callable[[], object]) -> None:
    """Ctrl-C is the pager's while it runs; it ends when its reader says so."""
    while True:
        try:
            action()
            return
        except KeyboardInterrupt:
            continue
