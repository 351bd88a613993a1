"""What is a matter of one SDK in recording its calls, and `record_http()`, which puts the recorder in its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentstream.adapters.http.exchange import RecordingTransport
from agentstream.adapters.http.ports import library_of

if TYPE_CHECKING:
    import re
    from collections.abc import Callable

    from agentstream.adapters.http.body import Dictionaries
    from agentstream.adapters.http.watching import Decoder
    from agentstream.errors import AgentStreamError


def _as_it_is(path: str, body: Any) -> Any:
    return body


@dataclass(frozen=True, slots=True)
class Sdk:
    """One SDK, as far as the recorder has to know it."""

    name: str
    not_recorded: type[AgentStreamError]
    """What is raised to the SDK for an error of agentstream: a class that is the SDK's own too, where it hands on only
    its own errors without a retry."""
    dictionaries: Dictionaries
    header_prefixes: tuple[str, ...]
    """How the names of the provider's own headers begin that are harmless, and so are stored."""
    model_calls: re.Pattern[str]
    """The paths whose POST is a step of kind `model`; every other call is of kind `http`."""
    decoders: tuple[tuple[re.Pattern[str], Callable[[], Decoder]], ...]
    """By path: what reads the answers."""
    usage: Callable[[Any, str], dict[str, Any] | None]
    """Reads the `usage` of any other answer, given the model's name."""
    volatile: frozenset[str] = frozenset()
    """Names in a request's body that are no part of the question: stored, never compared."""
    without_credentials: Callable[[str, Any], Any] = _as_it_is
    """Given a path and a request's body: that body without what it lets somebody in with."""


def record_http(http: Any, sdk: Sdk, *, is_async: bool) -> None:
    """Puts a recording transport where the transports of an HTTP client were, its proxies' too. Twice is once.

    Raises TypeError for what is no client of httpx or httpx2.
    """
    library = library_of(type(http))
    if library is None:
        raise TypeError(f"the client's http_client is no httpx or httpx2 client but {described(http)}")

    def recorded(transport: Any) -> Any:
        if transport is None or isinstance(transport, RecordingTransport):
            return transport
        return RecordingTransport(transport, library, sdk, is_async=is_async)

    # Private, and the one way in that leaves the client its type, its proxies and its connection pool.
    http._transport = recorded(http._transport)
    http._mounts = {pattern: recorded(transport) for pattern, transport in http._mounts.items()}


def described(value: object) -> str:
    """What a value is, for an error message."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"{type(value).__module__}.{type(value).__name__}"
