"""`record(client)`: puts the recording transport where the client's own was."""

from __future__ import annotations

from typing import TypeVar

from anthropic._base_client import AsyncAPIClient, SyncAPIClient

from agentstream.adapters.http import described, record_http
from agentstream_anthropic._sdk import ANTHROPIC

AnyAnthropic = TypeVar("AnyAnthropic", bound="SyncAPIClient | AsyncAPIClient")


def record(client: AnyAnthropic) -> AnyAnthropic:
    """Makes every call of `client` that is made inside a run a step of it; outside a run nothing changes.

    Takes `Anthropic` and `AsyncAnthropic`, and the SDK's clients for other clouds. Works in place and returns the same
    client: clients made from it with `with_options()` are recorded too (they share its HTTP client), and so is any
    other client made with the same `http_client=`. Recording twice is recording once. Raises TypeError for what is no
    client of the anthropic SDK.
    """
    if not isinstance(client, (SyncAPIClient, AsyncAPIClient)):
        raise TypeError(f"record() takes an anthropic.Anthropic or AsyncAnthropic client, not {described(client)}")
    record_http(client._client, ANTHROPIC, is_async=isinstance(client, AsyncAPIClient))
    return client
