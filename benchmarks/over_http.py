"""Our client beside the official Python client, against the same Node server, in turns.

The official client is looked for in $OFFICIAL_CLIENT (a folder that holds `durable_streams`:
`packages/client-py/src` of its repository), else among what is installed: the registry's 0.1.0 is older and has no
producer. Where there is none, our numbers stand alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from harness import Numbers, Row, main, median, ms, quantile
from node_server import NodeServer

from agentstream import AsyncClient, Client

if os.environ.get("OFFICIAL_CLIENT"):
    sys.path.insert(0, os.environ["OFFICIAL_CLIENT"])

VALUE = {"text": "a" * 86}
"""One message of 100 bytes. The official client takes its text, which its user makes."""

IN_TURN = 4
PAUSE = 0.01
ABOUT_100 = "appends of 100 bytes, one at a time"
JSON = "application/json"
OURS, THEIRS = "ours", "official"
Found = dict[str, float]


def text() -> str:
    return json.dumps(VALUE, separators=(",", ":"))


def official() -> Any:
    """The official client's package; None where it is not."""
    if importlib.util.find_spec("durable_streams") is None:
        return None
    import durable_streams

    return durable_streams


def rates(count: int, ways: dict[str, Callable[[], Any]]) -> Found:
    """How many a second, and the processor's seconds for one (`cpu`), of ways that take turns; the first warms up."""
    clocks: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(IN_TURN + 1):
        for name, way in ways.items():
            begun = time.perf_counter(), time.process_time()
            way()
            clocks[name].append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
    return _told(count, clocks)


async def async_rates(count: int, ways: dict[str, Callable[[], Awaitable[Any]]]) -> Found:
    """As `rates`."""
    clocks: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(IN_TURN + 1):
        for name, way in ways.items():
            begun = time.perf_counter(), time.process_time()
            await way()
            clocks[name].append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
    return _told(count, clocks)


def _told(count: int, clocks: dict[str, list[tuple[float, float]]]) -> Found:
    found: Found = {}
    for name, times in clocks.items():
        found[name] = count / median([wall for wall, _ in times[1:]])
        found[f"{name} cpu"] = median([cpu for _, cpu in times[1:]]) / count
    return found


def appends(root: str, count: int) -> Found:
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(Client(root)).stream("sync", content_type=JSON)
        stream.create()
        ways: dict[str, Callable[[], Any]] = {OURS: lambda: [stream.append(VALUE) for _ in range(count)]}
        if official() is not None:
            http_client = stack.enter_context(httpx.Client())
            theirs = official().DurableStream.create(f"{root}/theirs", content_type=JSON, client=http_client)
            ways[THEIRS] = lambda: [theirs.append(text()) for _ in range(count)]
        return rates(count, ways)


async def async_appends(root: str, count: int) -> Found:
    async with contextlib.AsyncExitStack() as stack:
        stream = (await stack.enter_async_context(AsyncClient(root))).stream("async", content_type=JSON)
        await stream.create()

        async def ours() -> None:
            for _ in range(count):
                await stream.append(VALUE)

        ways: dict[str, Callable[[], Awaitable[Any]]] = {OURS: ours}
        if official() is not None:
            http_client = await stack.enter_async_context(httpx.AsyncClient())
            handle = await official().AsyncDurableStream.create(
                f"{root}/atheirs", content_type=JSON, client=http_client
            )

            async def theirs() -> None:
                for _ in range(count):
                    await handle.append(text())

            ways[THEIRS] = theirs
        return await async_rates(count, ways)


async def batched(root: str, count: int) -> Found:
    """Appended through a producer with what it does by itself, and flushed; all of it there at the end."""
    async with contextlib.AsyncExitStack() as stack:
        stream = (await stack.enter_async_context(AsyncClient(root))).stream("batched", content_type=JSON)
        await stream.create()

        async def ours() -> None:
            async with stream.producer() as producer:
                for _ in range(count):
                    await producer.append(VALUE)
                await producer.flush()

        def in_threads() -> None:
            with Client(root).stream("batched", content_type=JSON).producer() as producer:
                for _ in range(count):
                    producer.append(VALUE)
                producer.flush()

        async def threaded() -> None:
            await asyncio.to_thread(in_threads)

        ways: dict[str, Callable[[], Awaitable[Any]]] = {OURS: ours, f"{OURS} sync": threaded}
        if hasattr(official(), "IdempotentProducer"):
            http_client = await stack.enter_async_context(httpx.AsyncClient())
            await official().AsyncDurableStream.create(f"{root}/btheirs", content_type=JSON, client=http_client)
            numbers = iter(range(1000))

            async def theirs() -> None:
                producer = official().IdempotentProducer(
                    f"{root}/btheirs", f"p{next(numbers)}", client=http_client, content_type=JSON
                )
                for _ in range(count):
                    producer.append(text())
                await producer.flush()
                await producer.close()

            ways[THEIRS] = theirs
        return await async_rates(count, ways)


def catch_up(root: str, count: int) -> Found:
    """Every message of a long stream as a value."""
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(Client(root)).stream("long", content_type=JSON)
        stream.create()
        for begin in range(0, count, 100):
            stream.extend({"n": number, "text": "a" * 72} for number in range(begin, begin + 100))

        def ours() -> None:
            values = [item.value for item in stream.read()]
            assert len(values) == count

        url = urlsplit(f"{root}/long")
        connection = stack.enter_context(contextlib.closing(http.client.HTTPConnection(url.hostname or "", url.port)))

        def bare() -> None:
            connection.request("GET", url.path)
            connection.getresponse().read()

        ways: dict[str, Callable[[], Any]] = {OURS: ours, "bare": bare}
        if official() is not None:
            http_client = stack.enter_context(httpx.Client())

            def theirs() -> None:
                with official().stream(f"{root}/long", client=http_client, live=False) as found:
                    values = list(found.iter_json())
                assert len(values) == count

            ways[THEIRS] = theirs
        return rates(count, ways)


# --- live -------------------------------------------------------------------------------------------------------------


def delivery(root: str, count: int) -> Found:
    """From just before the append in one process to the value in another; both clients follow the same stream."""
    client = Client(root)
    client.stream("live", content_type=JSON).create()
    names = [OURS, THEIRS] if official() is not None else [OURS]
    readers = [
        subprocess.Popen(
            [sys.executable, __file__, "follow", name, f"{root}/live", str(count)], stdout=subprocess.PIPE, text=True
        )
        for name in names
    ]
    try:
        url = urlsplit(f"{root}/live")
        connection = http.client.HTTPConnection(url.hostname or "", url.port)

        def append(value: Any) -> None:
            connection.request("POST", url.path, json.dumps(value), {"content-type": JSON})
            connection.getresponse().read()

        for _ in range(30):  # the readers are there when they have seen one of these
            append({})
            time.sleep(0.1)
        for _ in range(count):
            time.sleep(PAUSE)
            append({"at": time.monotonic_ns()})
        connection.close()
        found: Found = {}
        for name, reader in zip(names, readers, strict=True):
            delays = json.loads(reader.communicate(timeout=120)[0])
            found |= {name: quantile(delays, 0.5), f"{name} p99": quantile(delays, 0.99)}
        return found
    finally:
        client.close()
        for reader in readers:
            reader.kill()


def follow(name: str, url: str, count: str) -> None:
    """Follows until it has seen `count` stamped values, and prints how old each was."""
    delays: list[float] = []

    def saw(value: dict[str, int]) -> bool:
        if "at" in value:
            delays.append((time.monotonic_ns() - value["at"]) / 1e9)
        return len(delays) == int(count)

    root, _, path = url.rpartition("/")
    if name == OURS:
        with Client(root) as client, client.stream(path, content_type=JSON).follow() as items:
            for item in items:
                if saw(item.value):
                    break
    else:
        with official().stream(url, live="sse", offset="-1") as found:
            for value in found.iter_json():
                if saw(value):
                    break
    print(json.dumps(delays), flush=True)


# --- the table --------------------------------------------------------------------------------------------------------


def measure(folder: Path, quick: bool) -> dict[str, float]:
    server = NodeServer()
    try:
        found = {
            "append": appends(server.place(), 100 if quick else 1000),
            "async": asyncio.run(async_appends(server.place(), 100 if quick else 1000)),
            "batched": asyncio.run(batched(server.place(), 5_000 if quick else 50_000)),
            "catch-up": catch_up(server.place(), 5_000 if quick else 100_000),
            "live": delivery(server.place(), 50 if quick else 500),
        }
    finally:
        server.close()
    return {f"{what} {name}": value for what, numbers in found.items() for name, value in numbers.items()}


def rows(numbers: Numbers) -> list[Row]:
    def row(what: str, name: str, unit: str, ours: str = OURS) -> Row:
        rate, beside = numbers[f"{name} {ours}"], numbers.get(f"{name} {THEIRS}")
        said = f"{rate:,.0f} {unit}/s, its processor time {micro(f'{name} {ours}')}"
        if beside is None:
            return Row(what, said, "the official client is not here", limit="≥ 2×")
        theirs = f"official {beside:,.0f}/s, {micro(f'{name} {THEIRS}')}"
        return Row(what, said, theirs, rate / beside, limit="≥ 2×", kept=rate / beside >= 2)

    def micro(name: str) -> str:
        return f"{numbers[f'{name} cpu'] * 1e6:.3g} µs"

    def bare() -> Row:
        theirs = numbers.get(f"catch-up {THEIRS}")
        most = numbers["catch-up bare"] / theirs if theirs else None
        return Row("… the bytes alone, as `http.client` reads them", f"{numbers['catch-up bare']:,.0f} messages/s",
                   "what no client can pass", most)  # fmt: skip

    def live() -> Row:
        p50, p99 = numbers[f"live {OURS}"], numbers[f"live {OURS} p99"]
        beside = numbers.get(f"live {THEIRS}")
        said = "" if beside is None else f"official {ms(beside)}, p99 {ms(numbers[f'live {THEIRS} p99'])}"
        return Row("SSE: append to a reader in another process, p50", f"{ms(p50)}, p99 {ms(p99)}", said,
                   p50 / beside if beside else None, limit="≤ 5 ms", kept=p50 <= 0.005)  # fmt: skip

    return [
        row(f"over HTTP: {ABOUT_100}", "append", "appends"),
        row("… async", "async", "appends"),
        row("… batched by a producer, async", "batched", "messages"),
        row("… batched by a producer, sync", "batched", "messages", f"{OURS} sync"),
        row("catch-up of 100,000 messages of 95 bytes", "catch-up", "messages"),
        bare(),
        live(),
    ]


if __name__ == "__main__":
    main(measure, follow=follow)
