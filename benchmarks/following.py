"""How soon a follower sees an event: from the moment `append` is called, so the fsync is in it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

from harness import Numbers, Row, main, ms, quantile

from agentstream import AsyncClient, Client, Session

PAUSE = 0.01
"""Seconds between appends, so that every follower is waiting again."""

READERS = 100


def now() -> int:
    """Nanoseconds of a clock that all processes share."""
    return time.monotonic_ns()


def send(session: Session, count: int) -> None:
    for _ in range(count):
        time.sleep(PAUSE)
        session.append("custom", {"at": now()})


def seen(session: Session, count: int, ready: threading.Event) -> list[float]:
    """The delays of `count` events; says when it has begun to follow, which the first event shows."""
    delays: list[float] = []
    for event in session.follow():
        if "at" in event.value:
            delays.append((now() - event.value["at"]) / 1e9)
        else:
            ready.set()
        if len(delays) == count:
            break
    return delays


def same_process(folder: Path, count: int) -> list[float]:
    delays: list[float] = []
    with Client(folder) as client:
        session = client.session("near")
        session.append("custom", {"begin": True})
        ready = threading.Event()
        reader = threading.Thread(target=lambda: delays.extend(seen(session, count, ready)))
        reader.start()
        ready.wait()
        send(session, count)
        reader.join()
    return delays


def other_process(folder: Path, count: int, readers: int) -> list[float]:
    with Client(folder) as client:
        session = client.session(f"far-{readers}")
        session.append("custom", {"begin": True})
        command = [sys.executable, __file__, "read", folder, session.id, count, readers]
        with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdout is not None
            reader.stdout.readline()  # it follows
            send(session, count)
            return json.loads(reader.stdout.readline())


def read(folder: str, id: str, count: str, readers: str) -> None:
    print(json.dumps(asyncio.run(_read(folder, id, int(count), int(readers)))), flush=True)


async def _read(folder: str, id: str, count: int, readers: int) -> list[float]:
    waiting = readers

    async def follower() -> list[float]:
        nonlocal waiting
        delays: list[float] = []
        async for event in client.session(id).follow():
            if "at" in event.value:
                delays.append((now() - event.value["at"]) / 1e9)
            elif "begin" in event.value:
                waiting -= 1
                if not waiting:
                    print("following", flush=True)
            if len(delays) == count:
                break
        return delays

    async with AsyncClient(folder) as client:
        return [delay for delays in await asyncio.gather(*(follower() for _ in range(readers))) for delay in delays]


def measure(folder: Path, quick: bool) -> dict[str, float]:
    count = 50 if quick else 200
    delays = {
        "same": same_process(folder / "store", count),
        "other": other_process(folder / "store", count, 1),
        "many": other_process(folder / "store", count, READERS),
    }
    found = {name: quantile(values, 0.5) for name, values in delays.items()}
    return found | {f"{name} p99": quantile(values, 0.99) for name, values in delays.items()}


def rows(numbers: Numbers) -> list[Row]:
    def row(what: str, name: str) -> Row:
        took, limit = numbers[name], 0.005
        return Row(what, ms(took), f"p99 {ms(numbers[f'{name} p99'])}", limit="≤ 5 ms", kept=took <= limit)

    return [
        row("follow: append to reader in the same process, p50", "same"),
        row("… in another process", "other"),
        row(f"… {READERS} readers in another process", "many"),
    ]


if __name__ == "__main__":
    main(measure, read=read)
