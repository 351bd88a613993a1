"""What the tests of the command line share: an agent that leaves hostile text, and what a command answered."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agentstream import agent, step

EVIL = "hi \x1b[2J\x1b]0;owned\x07\tthere\r\nline \u202etxt.exe \x9b31m 日本"


@step
def lookup(number: int) -> dict[str, Any]:
    return {"number": number, "said": EVIL}


@step
def refused(number: int) -> None:
    raise ValueError(f"no order {number} {EVIL}")


@agent
def support(orders: int) -> int:
    for number in range(orders):
        lookup(number)
    with contextlib.suppress(ValueError):
        refused(99)
    return orders


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        return [line.split("\t") for line in self.out.splitlines()]

    @property
    def data(self) -> Any:
        document = json.loads(self.out)
        assert document["schema"] == "agentstream/cli/1"
        return document["data"]

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.err)["error"]


Cli = Callable[..., Answer]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "agentstream.cli", *arguments]


def environment(**changes: str) -> dict[str, str]:
    """This process's, without what would decide about colours and pagers."""
    kept = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "PAGER", "LESS")
    }
    return {**kept, "TERM": "xterm", "PAGER": "", **changes}
