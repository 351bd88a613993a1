"""A text is found in all that events say, not only in what a row shows of it."""

from __future__ import annotations

from pathlib import Path

import worlds
from inspector_kit import Page, looked
from worlds import said

from agentstream import Client
from agentstream.inspector.finding import AT_LEAST, find
from agentstream.inspector.held import Told


def test_a_text_is_found_wherever_an_event_says_it(store: Path) -> None:
    deep = {"items": [{"order_id": 4711, "text": f"{'x' * 5000} Straße \n“so” \\ Ende"}]}
    with Client(store) as client:
        session = client.session("long")
        for n in range(30):
            session.append("message", said("user", f"nothing {n}"))
        session.append("found", deep)
        worlds.write(client, "long", [b'{"no": "event of ours"}', b'{"type": "odd", "key": "k", "value": "\\u00e4"}'])

    async def test(page: Page) -> None:
        async def hits(text: str, after: int = 0) -> list[int]:
            found = await page.get("find", session="long", q=text, after=after)
            assert (found["next"], found["size"]) == (None, 34)
            return found["hits"]

        assert await hits("STRASSE") == [31]
        assert await hits("“so” \\ ende") == [31]
        assert await hits("4711") == [31]
        assert await hits("order_id") == [31]
        assert await hits("EVENT of ours") == [32]
        assert await hits("ä") == [33]
        assert await hits("nothing") == list(range(1, 31))
        assert await hits("nothing", 29) == [29, 30]
        assert await hits("parts") == []  # what a message's members are called is not said by anybody
        for text in ("", "x" * 1001):
            assert (await page.get("find", fails=400, session="long", q=text))["code"] == "invalid"

    looked(store, test)


def test_a_long_search_goes_on_where_it_ended(store: Path) -> None:
    with Client(store) as client:
        worlds.long(1_000)(client)
        told = Told(client.session("long/1000").state(), {})
    found: list[int] = []
    after: int | None = 0
    answers = 0
    while after is not None:
        answer = find(told, "it says this", after, within=-1)
        found, after, answers = found + answer["hits"], answer["next"], answers + 1
    assert found == find(told, "it says this", 0, within=60)["hits"] != []
    assert answers == -(-told.size // AT_LEAST)
