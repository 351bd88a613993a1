"""`record(client)`: puts the recording transport where the client's own was."""

from __future__ import annotations

from typing import TypeVar

from openai import AsyncOpenAI, OpenAI

from agentstream.adapters.http import described, record_http
from agentstream_openai import _websocket
from agentstream_openai._sdk import OPENAI

AnyOpenAI = TypeVar("AnyOpenAI", OpenAI, AsyncOpenAI)


def record(client: AnyOpenAI) -> AnyOpenAI:
    """Makes every call of `client` that is made inside a run a step of it; outside a run nothing changes.

    Works in place and returns the same client: clients made from it with `with_options()` are recorded too (they
    share its HTTP client), and so is any other client made with the same `http_client=`. Recording twice is
    recording once. Raises TypeError for what is no client of the openai SDK (version 2 or 3).
    """
    if not isinstance(client, (OpenAI, AsyncOpenAI)):
        raise TypeError(f"record() takes an openai.OpenAI or AsyncOpenAI client, not {described(client)}")
    record_http(client._client, OPENAI, is_async=isinstance(client, AsyncOpenAI))
    _websocket.guard()
    return client
