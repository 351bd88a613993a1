"""Many sessions that stream tokens at once, durable, in one process: how long from a token to the disk.

Every session has a run with an open model call; one task feeds all of them, a twentieth
every millisecond. A token is on disk when the append that holds it is answered: appends of
one session in ten are watched at the backend, so that watching costs little.
"""

from __future__ import annotations

import asyncio
import functools
import time
from array import array
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from harness import Numbers, Row, main, ms, quantile

from agentstream import AsyncClient, adapters, agent
from agentstream.backends.driving import Done
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.operations import Append

RATE = 50
"""Tokens a second and session."""

GROUPS = 20
WATCHED = 10
"""One session in so many."""

TOKEN = 5
"""Bytes of a token: four digits, its number, and a space."""

SETTLED = 1.0
"""Seconds after the last token before the runs end: thousands of runs that end at once are another load."""

_TEXT = b'"text":"'


class Watching:
    """A backend that notes when the appends of some sessions were answered."""

    def __init__(self, inner: EmbeddedBackend) -> None:
        self._inner = inner
        self.name = inner.name
        self.traits = inner.traits
        self.when = array("d")
        self.paths: list[str] = []
        self.bodies: list[tuple[bytes, ...]] = []
        self.appends = 0
        self.watched: set[str] = set()

    def execute(self, operation: Any) -> Any:
        return self._inner.execute(operation)

    async def aexecute(self, operation: Any) -> Any:
        return await self._inner.aexecute(operation)

    def submit(self, operation: Any) -> Future[Any]:
        return self._inner.submit(operation)

    def start(self, operation: Append, done: Done) -> None:
        self.appends += 1
        if operation.path in self.watched:
            done = functools.partial(self._answered, operation, done)
        self._inner.start(operation, done)

    def close(self) -> None:
        self._inner.close()

    def _answered(self, operation: Append, done: Done, result: Any, error: BaseException | None) -> None:
        done(result, error)
        self.when.append(time.perf_counter())
        self.paths.append(operation.path)
        self.bodies.append(operation.body)


class Load:
    """The sessions, and when each of their tokens was fed."""

    def __init__(self, sessions: int, seconds: float) -> None:
        self.sessions = sessions
        self.ticks = int(seconds * RATE)
        self.calls: list[adapters.StepCall] = []
        self.ready = asyncio.Event()
        self.done = asyncio.Event()
        self.fed = [array("d") for _ in range(GROUPS)]

    async def model_call(self, n: int) -> str:
        call = await adapters.aopen_step("model", "stream", {"n": n})
        self.calls.append(call)
        if len(self.calls) == self.sessions:
            self.ready.set()
        await self.done.wait()
        return await call.afinish("done")

    async def feed(self) -> float:
        """Feeds all sessions at the rate, as far as the machine lets it; returns the seconds it took."""
        begun = time.perf_counter()
        for turn in range(self.ticks * GROUPS):
            due = begun + turn / (RATE * GROUPS)
            wait = due - time.perf_counter()
            await asyncio.sleep(max(wait, 0))
            tick, group = divmod(turn, GROUPS)
            token = f"{tick:04d} "
            self.fed[group].append(time.perf_counter())
            for call in self.calls[group::GROUPS]:
                call.feed("message", token)
        return time.perf_counter() - begun


async def load(folder: Path, sessions: int, seconds: float) -> dict[str, float]:
    backend = Watching(EmbeddedBackend(folder))
    work = Load(sessions, seconds)

    @agent
    async def talk(n: int) -> str:
        return await work.model_call(n)

    async with AsyncClient(backend) as client:
        runs = asyncio.gather(*(client.session(f"s{n}").run(talk, n) for n in range(sessions)))
        begun = time.perf_counter()
        await asyncio.wait([runs, asyncio.ensure_future(work.ready.wait())], return_when=asyncio.FIRST_COMPLETED)
        opened = time.perf_counter() - begun
        if runs.done():
            await runs
        group_of = {call.worker.session: n % GROUPS for n, call in enumerate(work.calls)}
        backend.watched = {path for path in group_of if int(path[1:]) % WATCHED == 0}
        appends, cpu = backend.appends, time.process_time()
        took = await work.feed()
        cpu = time.process_time() - cpu
        appends = backend.appends - appends
        await asyncio.sleep(SETTLED)
        work.done.set()
        await runs
    delays = sorted(delays_of(backend, group_of, work.fed))
    expected = len(backend.watched) * work.ticks
    return {
        "sessions": sessions,
        "opened": opened,
        "rate": sessions * work.ticks / took,
        "appends": appends / took,
        "cpu": cpu / took,
        "p50": quantile(delays, 0.5),
        "p99": quantile(delays, 0.99),
        "worst": delays[-1],
        "missing": expected - len(delays),
    }


def delays_of(backend: Watching, group_of: dict[str, int], fed: list[array[float]]) -> list[float]:
    """Seconds from feed to disk of every token of the watched sessions."""
    delays: list[float] = []
    for when, path, body in zip(backend.when, backend.paths, backend.bodies, strict=True):
        times = fed[group_of[path]]
        for message in body:
            begin = message.find(_TEXT) + len(_TEXT)
            if b'"type":"delta"' in message:
                count = (message.index(b'"', begin) - begin) // TOKEN
                first = int(message[begin : begin + TOKEN - 1])
                delays += [when - fed_at for fed_at in times[first : first + count]]
    return delays


def measure(folder: Path, quick: bool) -> dict[str, float]:
    return asyncio.run(load(folder / "store", 200 if quick else 2000, 2 if quick else 6))


def rows(numbers: Numbers) -> list[Row]:
    sessions, p99 = numbers["sessions"], numbers["p99"]
    rate = f"{numbers['rate']:,.0f} of {sessions * RATE:,.0f} tokens/s in {numbers['appends']:,.0f} appends/s"
    kept = p99 <= 0.15 and numbers["rate"] >= 0.95 * sessions * RATE
    what = f"{sessions:,.0f} sessions × {RATE} tokens/s: from token to disk, p99"
    return [
        Row(what, ms(p99), rate, limit="≤ 150 ms", kept=kept),
        Row("… p50", ms(numbers["p50"]), f"worst {ms(numbers['worst'])}; lost {numbers['missing']:.0f}"),
        Row("… CPU, in cores", f"{numbers['cpu']:.2f}", f"opening all of them took {numbers['opened']:.1f} s"),
    ]


if __name__ == "__main__":
    main(measure)
