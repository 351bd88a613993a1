"""`MODULE:FUNCTION` as it is typed: the user's own code, imported from where the command is called."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agentstream.cli import collecting
from agentstream.cli.failures import UsageError


def imported(named: str, what: str = "agent") -> Callable[..., Any]:
    """The function; a UsageError that says why where there is none. `what` it is, in the words of that."""
    found = imported_thing(named, what)
    if not callable(found):
        raise UsageError(f"{named} is no function", hint="a compiled graph can be replayed; your code goes on with it")
    return found


def imported_thing(named: str, what: str = "agent") -> Any:
    """As `imported`, for what need not be a function: a compiled graph."""
    module, colon, path = named.partition(":")
    if not (module and colon and path):
        raise UsageError(f"{named!r} names no {what}", hint=f"MODULE:{what.upper()}, as support.agents:answer")
    if module.endswith(".py"):
        name = module[:-3].replace("/", ".")
        raise UsageError(f"{module} is a file, and a module is named without .py", hint=f"{name}:{path}")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    collecting.as_usual()
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:  # whatever the user's module raises
        raise UsageError(
            f"{module} cannot be imported: {type(error).__name__}: {error}", hint=f"python -c 'import {module}'"
        ) from error
    for name in path.split("."):
        found = getattr(found, name, None)
    if found is None:
        raise UsageError(f"{module} has no function {path!r}")
    return found
