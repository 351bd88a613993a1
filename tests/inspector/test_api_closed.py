"""Sessions whose key is not here: what stands in clear is told, and of the rest why it is not."""

from __future__ import annotations

import base64
from pathlib import Path

from inspector_kit import Page, looked

from agentstream import AsyncClient, Client


def test_locked_and_erased_sessions_say_what_they_lack(store: Path) -> None:
    mine, another = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
    with Client(store, encrypt=mine) as client:
        for name in ("locked", "erased"):
            client.session(name).append("note", {"n": 1})
        client.session("erased").erase()

    async def refused(page: Page) -> None:
        for path in ("rows", "state", "events"):
            parameters = {"at": 1} if path == "events" else {}
            assert (await page.get(path, fails=410, session="erased", **parameters))["code"] == "erased"
        await said(page, "with a key that was not given")

    async def said(page: Page, why: str = "is encrypted; give") -> None:
        head, birth, note, _ = await page.rows("locked")  # what stands in clear is told
        closed = head["head"]["closed"]
        assert (closed["events"], closed["code"]) == (1, "locked")
        assert why in closed["message"]
        assert closed["command"].startswith("AGENTSTREAM_KEY=")
        assert (birth[4], note[1], note[4], note[16]) == ("", "note", "locked", "")
        detail = await page.event("locked", 1)
        assert why in detail["closed"]["message"]
        assert (detail["value"], detail["forkable"]["edits"]) == (None, [])
        assert (await page.get("value", fails=423, session="locked", at=1, path=""))["code"] == "locked"
        assert (await page.get("state", session="locked", at=1))["at"] == 1  # before the first that is closed
        assert (await page.get("state", fails=423, session="locked"))["code"] == "locked"
        assert (await page.get("compare", fails=423, left="locked", right="locked"))["code"] == "locked"
        assert (await page.rows("chat"))[0]["head"]["closed"] is None

    looked(AsyncClient(store, encrypt=another), refused)
    looked(store, said)


def test_a_run_that_goes_on_while_it_is_locked_is_followed(store: Path) -> None:
    with Client(store, encrypt=b"k" * 32) as client:
        client.session("secret").append("note", {"n": 1})

        async def test(page: Page) -> None:
            assert (await page.rows("secret"))[0]["head"]["closed"]["events"] == 1
            client.session("secret").append("note", {"n": 2})
            head, *rows, _ = await page.rows("secret")
            assert head["head"]["closed"]["events"] == 2
            assert [row[4] for row in rows] == ["", "locked", "locked"]

        looked(store, test)
