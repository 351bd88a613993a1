"""`record(client)`: puts the recording transport where the client's own was."""

from __future__ import annotations

from typing import Any, TypeVar

from openai import AsyncOpenAI, OpenAI

from agentstream_openai import _websocket
from agentstream_openai._exchange import RecordingTransport
from agentstream_openai._ports import library_of

AnyOpenAI = TypeVar("AnyOpenAI", OpenAI, AsyncOpenAI)


def record(client: AnyOpenAI) -> AnyOpenAI:
    """Makes every call of `client` that is made inside a run a step of it; outside a run nothing changes.

    Works in place and returns the same client: clients made from it with `with_options()` are recorded too (they
    share its HTTP client), and so is any other client made with the same `http_client=`. Recording twice is
    recording once. Raises TypeError for what is no client of the openai SDK (version 2 or 3).
    """
    if not isinstance(client, (OpenAI, AsyncOpenAI)):
        raise TypeError(f"record() takes an openai.OpenAI or AsyncOpenAI client, not {_described(client)}")
    http: Any = client._client
    library = library_of(type(http))
    if library is None:
        raise TypeError(f"the client's http_client is no httpx or httpx2 client but {_described(http)}")
    is_async = isinstance(client, AsyncOpenAI)

    def recorded(transport: Any) -> Any:
        if transport is None or isinstance(transport, RecordingTransport):
            return transport
        return RecordingTransport(transport, library, is_async=is_async)

    # Private, and the one way in that leaves the client its type, its proxies and its connection pool.
    http._transport = recorded(http._transport)
    http._mounts = {pattern: recorded(transport) for pattern, transport in http._mounts.items()}
    _websocket.guard()
    return client


def _described(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"{type(value).__module__}.{type(value).__name__}"
