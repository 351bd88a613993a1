"""Rules by name: what `$AGENTSTREAM_REDACT` and `agentstream worker --redact` say."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from agentstream.sessions.redaction import Redact

VARIABLE = "AGENTSTREAM_REDACT"
READY = "keys"


def rules_of_environment() -> Redact | None:
    """What `$AGENTSTREAM_REDACT` names, None where it is not set or empty. Raises as `rules_named`."""
    named = os.environ.get(VARIABLE)
    return rules_named(named) if named else None


def rules_named(named: str) -> Redact:
    """The ready rules for `keys`, else the `Redact` that `MODULE:NAME` is. ValueError for what names none."""
    if named == READY:
        return Redact()
    module, colon, path = named.partition(":")
    if not (module and colon and path):
        raise ValueError(f"{named!r} names no rules: it is {READY!r}, or MODULE:NAME of a Redact")
    try:
        found: Any = import_module(module)
    except Exception as error:  # whatever the module raises
        raise ValueError(f"{module}, which {named!r} names, cannot be imported: {type(error).__name__}") from error
    for name in path.split("."):
        found = getattr(found, name, None)
    if not isinstance(found, Redact):
        raise ValueError(f"{named!r} is no Redact, but {type(found).__name__}")
    return found
