"""Where webhooks may lead: judged when they are named, and again at every connection."""

from __future__ import annotations

import asyncio

import httpcore
import httpx
import pytest
from server_kit import code_of, served
from webhook_kit import receiving

from agentstream.server.subscriptions import webhooks
from agentstream.server.subscriptions.webhooks import Poster, Rejected, check_url, is_public

INSIDE = [
    "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255",
    "224.0.0.1", "::1", "::", "fe80::1", "fc00::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1",
    "2002:a00:1::", "ff02::1", "192.0.2.1", "198.18.0.1",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_addresses_that_are_inside(address: str) -> None:
    assert not is_public(address)
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(Rejected):
        check_url(f"https://{host}/hook", local=True)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::808:808"])
def test_addresses_that_are_outside(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    ["", "x", "ftp://a.example/", "http://a.example/", "http://10.0.0.1/hook", "https://localhost/", "https://127.0.0.2/",
     "https://u:p@a.example/", "https://", "https://[::1", "https://a.example:99999/", "https://a.example/\r\nx: y",
     "file:///etc/passwd", "http://localhost.evil.example/", "http://[::1]:80/"],
)  # fmt: skip
def test_urls_that_are_rejected(url: str) -> None:
    with pytest.raises(Rejected):
        check_url(url, local=True)


def test_urls_of_this_machine_are_taken_where_that_is_allowed() -> None:
    for url in ("http://localhost:3000/hook", "http://127.0.0.1/hook"):
        check_url(url, local=True)
        with pytest.raises(Rejected):
            check_url(url, local=False)
    check_url("https://hooks.example/x?y=1", local=False)


def test_a_name_that_leads_inside_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the name was fine when it was named."""
    connected: list[str] = []
    found: list[str] = []

    async def connect(self: object, host: str, *rest: object) -> object:
        connected.append(host)
        raise httpcore.ConnectError("far enough")

    async def resolved(host: str, port: int) -> list[str]:
        return found

    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    monkeypatch.setattr(webhooks, "_resolved", resolved)

    async def run() -> None:
        poster = Poster(local=True)
        for url, addresses, to in (
            ("https://hooks.example/x", INSIDE, []),
            ("https://hooks.example/x", [*INSIDE, "8.8.8.8"], ["8.8.8.8"]),  # the very address that was judged
            ("http://localhost/x", ["10.0.0.1", "169.254.169.254"], []),  # localhost itself may be somewhere else
            ("http://localhost/x", ["10.0.0.1", "127.0.0.1"], ["127.0.0.1"]),
        ):
            found[:], connected[:] = addresses, []
            assert await poster.post(url, b"{}", "s", 10) is None
            assert connected == to
        await poster.close()

    asyncio.run(run())


def test_redirects_are_not_followed() -> None:
    async def run() -> None:
        with receiving(lambda number: (307, {"done": True})) as receiver:
            poster = Poster(local=True)
            assert await poster.post(receiver.url, b"{}", "s", 10) is None
            assert receiver.count == 1
            await poster.close()

    asyncio.run(run())


def test_with_tokens_webhooks_do_not_lead_to_this_machine() -> None:
    async def test(client: httpx.AsyncClient) -> None:
        asked = {"type": "webhook", "pattern": "a", "webhook": {"url": "http://localhost:3000/x"}}
        assert code_of(await client.put("__ds/subscriptions/s", json=asked)) == "webhook_url_rejected"

    served(test, tokens=["12345678"], headers={"authorization": "Bearer 12345678"})
