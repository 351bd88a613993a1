"""Subscriptions of a server: found below its root, which a client's own root may lie below. Generators, no I/O.

What is asked again after a lost answer: everything. A wake claim whose answer was lost is
nobody's until its lease has run out, which costs that time and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from agentstream.backends.remote.exchange import Backoff, Send, exchanged
from agentstream.errors import SubscriptionError, Unavailable
from agentstream.protocol.problems import RETRIED, error_of
from agentstream.protocol.subscriptions import (
    AckWake,
    AddStreams,
    Control,
    Keys,
    Linked,
    Notification,
    Posted,
    ReleaseWake,
    RemoveStream,
    Subscribe,
    SubscriptionInfo,
    Woken,
    control_request,
    control_result,
    not_supported,
    notification_of,
)

if TYPE_CHECKING:
    from agentstream.backends.driving import Steps
    from agentstream.protocol.http import HttpResponse


class Subscriptions:
    """What one client asks of its server's subscriptions. Paths are relative to the client's `root`."""

    def __init__(self, root: str, name: str, backoff: Backoff) -> None:
        self._root = root
        self._name = name
        self._backoff = backoff
        self._base: str | None = None

    def steps(self, operation: Control | Posted) -> Steps[Any]:
        base = self._base if self._base is not None else (yield from self._found())
        below = self._root[len(base) :].lstrip("/")
        below = f"{below}/" if below else ""
        if isinstance(operation, Posted):
            return _inwards(notification_of(operation), below)
        asked = _outwards(operation, below)
        response, doubtful = yield from exchanged(Send(control_request(asked, base)), self._backoff, again=True)
        if response.status in RETRIED:
            raise Unavailable(f"{self._name}: subscriptions answered HTTP {response.status}")
        try:
            result = control_result(operation, response)
        except SubscriptionError as error:
            if doubtful and error.code == "FENCED" and _ends(operation):
                return False  # the try whose answer was lost has ended it
            raise
        return _inwards(result, below)

    def _found(self) -> Steps[str]:
        """The server's own root, where its keys are: the client's, or one above it. Asked by reading only, because a
        server without subscriptions would take a PUT there for a stream."""
        refused: HttpResponse | None = None
        parts = self._root.split("/")
        for count in range(len(parts), 0, -1):
            base = "/".join(parts[:count])
            request = Send(control_request(Keys(), base))
            response, _ = yield from exchanged(request, self._backoff, again=True)
            if response.status == 200:
                try:
                    control_result(Keys(), response)
                except Exception:  # some stream, or a page
                    continue
                self._base = base
                return base
            if response.status in (401, 403, 429) or response.status >= 500:
                refused = refused or response
        if refused is not None and refused.status != 501:
            raise error_of(refused, f"{self._name}: looking for subscriptions")
        raise not_supported(self._name)


def _ends(operation: Control) -> bool:
    return isinstance(operation, ReleaseWake) or (isinstance(operation, AckWake) and operation.done)


def _outwards(operation: Control, below: str) -> Control:
    """The operation with the paths that the server knows."""
    if isinstance(operation, Subscribe):
        return replace(
            operation,
            pattern=None if operation.pattern is None else below + operation.pattern,
            streams=tuple(_out(path, below) for path in operation.streams),
            wake_stream=None if operation.wake_stream is None else _out(operation.wake_stream, below),
        )
    if isinstance(operation, AddStreams):
        return replace(operation, streams=tuple(_out(path, below) for path in operation.streams))
    if isinstance(operation, RemoveStream):
        return replace(operation, path=_out(operation.path, below))
    if isinstance(operation, AckWake):
        return replace(operation, acks=tuple((_out(path, below), offset) for path, offset in operation.acks))
    return operation


def _inwards(result: Any, below: str) -> Any:
    """A result with the client's own paths; what lies elsewhere on the server keeps a slash in front."""
    if isinstance(result, tuple) and result and isinstance(result[0], SubscriptionInfo):
        return (_inwards(result[0], below), *result[1:])
    if isinstance(result, SubscriptionInfo):
        wakes = result.wake_stream
        return replace(
            result,
            pattern=None if result.pattern is None else _in(result.pattern, below),
            streams=_linked(result.streams, below),
            wake_stream=None if wakes is None else _in(wakes, below),
        )
    if isinstance(result, (Woken, Notification)):
        return replace(result, streams=_linked(result.streams, below))
    return result


def _linked(streams: tuple[Linked, ...], below: str) -> tuple[Linked, ...]:
    return tuple(replace(each, path=_in(each.path, below)) for each in streams)


def _out(path: str, below: str) -> str:
    return path[1:] if path.startswith("/") else below + path


def _in(path: str, below: str) -> str:
    return path[len(below) :] if path.startswith(below) else f"/{path}"
