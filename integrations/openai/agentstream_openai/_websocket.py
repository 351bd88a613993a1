"""A WebSocket carries calls past the transport, so inside a run it is refused: an unrecorded call would be paid twice.

The SDK's `connect()` methods are found by what they make, `…ConnectionManager` objects, in whichever of its modules
are loaded: they are loaded when first used, and loading them all would cost half a second.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

from openai._resource import AsyncAPIResource, SyncAPIResource

from agentstream import adapters
from agentstream.adapters.http import RecordingTransport
from agentstream_openai._sdk import NotRecorded

_seen: set[str] = set()


def guard() -> None:
    """Makes every `connect()` of the SDK refuse a recorded client inside a run. Once a process."""
    for name in [name for name in sys.modules if name.startswith("openai.resources.")]:
        _guard_module(name)
    for resource in (SyncAPIResource, AsyncAPIResource):
        if not hasattr(resource.__init__, "_agentstream"):
            resource.__init__ = _marked(resource.__init__, _guarding)


def _marked(init: Any, wrap: Any) -> Any:
    wrapped: Any = functools.wraps(init)(wrap(init))
    wrapped._agentstream = True
    return wrapped


def _guarding(init: Any) -> Any:
    """A resource's constructor that guards the module which the resource is of."""

    def __init__(self: Any, client: Any) -> None:
        _guard_module(type(self).__module__)
        init(self, client)

    return __init__


def _guard_module(name: str) -> None:
    if name in _seen:
        return
    _seen.add(name)
    for manager in vars(sys.modules[name]).values():
        is_manager = isinstance(manager, type) and manager.__name__.endswith("ConnectionManager")
        if is_manager and not hasattr(manager.__init__, "_agentstream"):
            manager.__init__ = _marked(manager.__init__, _refusing)


def _refusing(init: Any) -> Any:
    """A connection's constructor that refuses a recorded client inside a run."""

    def __init__(self: Any, *args: Any, client: Any, **options: Any) -> None:
        if isinstance(client._client._transport, RecordingTransport) and adapters.recording():
            raise NotRecorded(
                "a WebSocket connection inside a run cannot be recorded, so its calls would be made again on every "
                "resume. Use client.responses.create(..., stream=True); or, where it need not be recorded, open the "
                "connection within `with agentstream.outside_run():`"
            )
        init(self, *args, client=client, **options)

    return __init__
