"""Rows as they come: what a page that follows a session is sent."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from inspector_kit import Page, looked, looking, ui

from agentstream import Client, agent, step
from agentstream.inspector.live import live_rows
from agentstream.inspector.sessions import Sessions


class Following:
    """The lines that a page reads."""

    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        self._lines = lines
        self._held: list[Any] = []

    async def next(self, wanted: Callable[[Any], bool] = lambda line: True) -> Any:
        """The next line that is wanted; beats and the others are passed over."""
        while True:
            while self._held:
                line = self._held.pop(0)
                if not (isinstance(line, dict) and "beat" in line) and wanted(line):
                    return line
            part = await asyncio.wait_for(anext(self._lines), 60)
            self._held += [json.loads(each) for each in part.splitlines()]


@asynccontextmanager
async def following(sessions: Sessions, session: str, after: int = 0) -> AsyncIterator[Following]:
    lines = live_rows(sessions, session, after, None)
    try:
        yield Following(lines)
    finally:
        await lines.aclose()


def is_row(line: Any) -> bool:
    return isinstance(line, list)


gates = [threading.Event() for _ in range(3)]


@step
def work(number: int) -> int:
    assert gates[number].wait(60)
    return number


@agent
def worker(count: int) -> int:
    return sum(work(number) for number in range(count))


def test_what_is_appended_comes(store: Path) -> None:
    async def test(page: Page) -> None:
        async with following(page.inspector.sessions, "chat") as lines:
            ready = await lines.next(lambda line: "ready" in line)
            for number in range(3):
                event = await page.client.session("chat").append("note", {"n": number})
                row = await lines.next(is_row)
                assert (row[0], row[1]) == (event.index, "note")
                assert event.index == ready["ready"] + number

    looked(store, test)


def test_two_readers_share_a_follower_and_one_may_leave(store: Path) -> None:
    async def test(page: Page) -> None:
        sessions = page.inspector.sessions
        async with following(sessions, "chat") as first:
            async with following(sessions, "chat") as second:
                await first.next(lambda line: "ready" in line)
                await second.next(lambda line: "ready" in line)
                await page.client.session("chat").append("note", 1)
                assert await first.next(is_row) == await second.next(is_row)
            await page.client.session("chat").append("note", 2)
            assert (await first.next(is_row))[16] == "2"
        await page.client.session("chat").append("note", 3)
        assert (await page.rows("chat"))[-2][16] == "3"

    looked(store, test)


def test_a_run_is_seen_step_by_step(store: Path) -> None:
    """Every row at the end is what a page has that took each line as it came; and so is what is told of each event."""

    async def detail(page: Page, index: int) -> Any:
        told = await page.event("live", index)
        del told["position"]  # which names the page that the event was read with
        return told

    async def test(page: Page) -> None:
        await page.client.session("live").append("session", {"title": "live"})
        async with following(page.inspector.sessions, "live") as lines:
            await lines.next(lambda line: "ready" in line)
            running = asyncio.create_task(asyncio.to_thread(_run, store))
            rows: dict[int, Any] = {0: None, 1: None}
            heads: list[Any] = []
            while not (heads and heads[-1]["status"] == "finished" and len(rows) == heads[-1]["events"]):
                line = await lines.next()
                if is_row(line):
                    rows[line[0]] = line
                    await page.event("live", line[0])  # has the steps folded, which then follow what comes
                    if line[1] == "step" and line[4] == "running":
                        gates[line[5]].set()  # so each step is seen while it runs, and told again when it has ended
                else:
                    heads.append(line["head"])
            await running
            details = [await detail(page, index) for index in range(len(rows))]
        async with looking(store) as another:  # which has read nothing before
            fresh = await another.rows("live")
            assert details == [await detail(another, index) for index in range(len(rows))]
        assert [row for index, row in sorted(rows.items()) if index > 1] == fresh[3:-1]
        assert heads[-1] == fresh[0]["head"]

    looked(store, test)


def _run(store: Path) -> None:
    with Client(store) as client:
        client.session("live").run(worker, 3)


def test_a_question_is_told_again_when_it_is_answered(store: Path) -> None:
    async def test(page: Page) -> None:
        (question,) = (await page.get("state", session="support/43"))["open"]
        async with following(page.inspector.sessions, "support/43") as lines:
            asked = await lines.next(lambda line: is_row(line) and line[1] == "question")
            assert (asked[4], asked[16]) == ("open", "Refund 12.50 USD for order B2?")
            await lines.next(lambda line: "ready" in line)
            await page.post("answer", {"session": "support/43", "question": question, "value": "yes"})
            again = await lines.next(lambda line: is_row(line) and line[0] == asked[0])
            assert again[4] == "answered"

    looked(store, test)


def test_a_rewind_changes_the_rows_before_it(store: Path) -> None:
    async def test(page: Page) -> None:
        async with following(page.inspector.sessions, "support/42") as lines:
            ready = (await lines.next(lambda line: "ready" in line))["ready"]
            await page.client.session("support/42").rewind(at=10)
            changed = await lines.next(lambda line: is_row(line) and line[14] is not None)
            assert (changed[14], changed[0] < ready) == ("rewound", True)
        assert [row[14] for row in (await page.rows("support/42"))[11:16]] != [None] * 5

    looked(store, test)


def test_a_session_that_is_sealed_ends_what_is_read_of_it(store: Path) -> None:
    async def test(page: Page) -> None:
        async with following(page.inspector.sessions, "chat") as lines:
            await lines.next(lambda line: "ready" in line)
            await page.client.session("chat").seal()
            assert await lines.next(lambda line: "sealed" in line) == {"sealed": True}
            with pytest.raises(StopAsyncIteration):
                await lines.next()
        assert (await page.rows("chat"))[0]["head"]["sealed"] is True

    looked(store, test)


def test_a_session_that_is_deleted_is_said_to_be_gone(store: Path) -> None:
    async def test(page: Page) -> None:
        async with following(page.inspector.sessions, "crawler") as lines:
            await lines.next(lambda line: "ready" in line)
            await page.client.session("crawler").delete()
            assert (await lines.next(lambda line: "gone" in line))["gone"]["code"] == "not_found"
        await page.get("events", session="crawler", at=0, fails=404)

    looked(store, test)


def test_an_id_that_is_used_again_is_another_session(store: Path) -> None:
    async def test(page: Page) -> None:
        before = await page.rows("crawler")
        await page.client.session("crawler").delete()
        await page.client.session("crawler").append("note", "another life")
        name, size = before[0]["head"]["incarnation"], len(before) - 2
        after = await page.rows("crawler", after=size, incarnation=name)
        assert after[1] == {"reset": 0}
        assert after[-2][16] == '"another life"'

    looked(store, test)


@contextmanager
def lines_of(origin: str, token: str, session: str) -> Iterator[Iterator[Any]]:
    headers = {"authorization": f"Bearer {token}"}
    parameters = {"session": session, "live": "1"}
    with (
        httpx.Client(base_url=origin, headers=headers, timeout=60) as http,
        http.stream("GET", "/api/rows", params=parameters) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("application/x-ndjson")
        yield map(json.loads, response.iter_lines())


def test_another_process_is_followed_over_http(store: Path) -> None:
    with (
        ui(folder=store.parent) as (origin, token, _),
        Client(store) as client,
        lines_of(origin, token, "chat") as lines,
    ):
        ready = next(line for line in lines if "ready" in line)["ready"]
        client.session("chat").append("note", {"said": "by another process"})
        row = next(line for line in lines if is_row(line))
        assert (row[0], row[1]) == (ready, "note")
