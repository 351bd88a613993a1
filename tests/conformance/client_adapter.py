"""Speaks the official client suite's protocol (a JSON object a line, on stdin and stdout) for `Client`."""

from __future__ import annotations

import json
import sys
from typing import Any

from client_commands import Adapter

from agentstream import Client


def advance(pages: Any) -> Any:
    return next(pages, None)


def main() -> None:
    adapter = Adapter(Client, advance)
    for line in sys.stdin:
        command = json.loads(line)
        steps, value = adapter.answer(command), None
        step = steps.send
        try:
            while True:
                # what was yielded is the value already: the library has returned it, or raised in place
                value = step(value)
        except StopIteration as stop:
            sys.stdout.write(json.dumps(stop.value) + "\n")
            sys.stdout.flush()
        if command["type"] == "shutdown":
            return


if __name__ == "__main__":
    main()
