"""How soon a worker goes on with what waited: from the call of `answer` or `append` to the agent's next line of code.

The fsync of the answer is in it, and the claim of the run. Each session is new to the
worker's process, one is answered at a time, and the worker is idle before.
"""

from __future__ import annotations

import queue
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import Numbers, Row, main, median, ms, quantile

from agentstream import Client, RunWaiting, Session, Worker, agent, ask

PAUSE = 0.03
"""Seconds between two answers, so that the worker waits again."""

IDLE = 5.0
"""Seconds for which a worker with nothing to do is watched."""

delays: queue.Queue[float] = queue.Queue()
printed = False
"""Whether delays are printed, for another process; else they go into the queue."""


def told(delay: float) -> None:
    print(delay, flush=True) if printed else delays.put(delay)


def now() -> int:
    """Nanoseconds of a clock that all processes share."""
    return time.monotonic_ns()


@agent
def asks() -> None:
    """Waits for an answer that says when it was given."""
    at = ask("When?", schema=int)
    told((now() - at) / 1e9)


@agent
def hears(text: str) -> None:
    """Is run for a message that says when it was appended."""
    told((now() - int(text)) / 1e9)


def waiting(client: Client, name: str) -> Session:
    """A session that waits for an answer."""
    session = client.session(name)
    try:
        session.run(asks)
    except RunWaiting:
        return session
    raise AssertionError("it did not wait")


def answer(session: Session) -> None:
    (question,) = session.questions()
    session.answer(question, now())


def speak(session: Session) -> None:
    session.append("message", {"role": "user", "text": str(now())})


# --- the worker -------------------------------------------------------------------------------------------------------


@contextmanager
def near(folder: Path) -> Iterator[Callable[[], float]]:
    """A worker in this process; gives what waits for the next delay."""
    with Client(folder) as client:
        worker = Worker(client, [hears, asks], on_message=True)
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            yield delays.get
        finally:
            worker.stop()
            thread.join()


class Far:
    """A worker in a process of its own, which prints the delays and on request the processor seconds it has had."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, __file__, "work", str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def delay(self) -> float:
        assert self.process.stdout is not None
        return float(self.process.stdout.readline())

    def used(self) -> tuple[float, float]:
        """Its processor seconds, and its memory in bytes."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("used\n")
        self.process.stdin.flush()
        seconds, size = self.process.stdout.readline().split()
        return float(seconds), float(size)

    def __enter__(self) -> Far:
        return self

    def __exit__(self, *_: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def work(folder: str) -> None:
    global printed
    printed = True
    with Client(folder) as client:
        worker = Worker(client, [hears, asks], on_message=True)
        thread = threading.Thread(target=worker.run)
        thread.start()
        for _ in sys.stdin:
            size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(time.process_time(), size, flush=True)
        worker.stop()
        thread.join()


# --- the rounds -------------------------------------------------------------------------------------------------------


def delays_of(folder: Path, next_delay: Callable[[], float], count: int, verb: str) -> list[float]:
    """The delays of so many sessions, one after the other."""
    found: list[float] = []
    with Client(folder) as client:
        sessions = [client.session(f"{verb}/{n}") for n in range(count)]
        if verb == "answer":
            sessions = [waiting(client, session.id) for session in sessions]
        for session in sessions:
            time.sleep(PAUSE)
            answer(session) if verb == "answer" else speak(session)
            found.append(next_delay())
    return found


def crowd(folder: Path, count: int) -> dict[str, float]:
    """A store of so many sessions that wait: a worker's start, its idling, and how soon it wakes one."""
    with Client(folder) as client:
        sessions = [waiting(client, f"crowd/{n}") for n in range(count)]
        spread = sessions[:: max(1, count // 20)][:20]
        answer(spread[0])
        begun = time.perf_counter()
        with Far(folder) as worker:
            worker.delay()
            found = {"start": time.perf_counter() - begun}
            time.sleep(1.0)
            before, _ = worker.used()
            time.sleep(IDLE)
            after, size = worker.used()
            woken: list[float] = []
            for session in spread[1:]:
                time.sleep(PAUSE)
                answer(session)
                woken.append(worker.delay())
        return found | {"idle": (after - before) / IDLE, "memory": size, "wake": median(woken), "slowest": max(woken)}


def measure(folder: Path, quick: bool) -> dict[str, float]:
    count, many = (30, 300) if quick else (200, 10_000)
    found: dict[str, float] = {"many": many}
    for verb in ("answer", "message"):
        with near(folder / f"near-{verb}") as next_delay:
            each = delays_of(folder / f"near-{verb}", next_delay, count, verb)
        with Far(folder / f"far-{verb}") as worker:
            other = delays_of(folder / f"far-{verb}", worker.delay, count, verb)
        for where, values in (("near", each), ("far", other)):
            found[f"{where} {verb}"] = median(values)
            found[f"{where} {verb} p99"] = quantile(values, 0.99)
    few = crowd(folder / "few", 10)
    return found | {f"few {name}": value for name, value in few.items()} | crowd(folder / "many", many)


def rows(numbers: Numbers) -> list[Row]:
    def woken(what: str, name: str) -> Row:
        return Row(what, ms(numbers[name]), f"p99 {ms(numbers[f'{name} p99'])}")

    many = f"{numbers['many']:,.0f} waiting sessions in one store"
    idle = f"{numbers['idle']:.2%} of a core, {numbers['memory'] / 1e6:,.0f} MB"
    few_idle = f"with 10: {numbers['few idle']:.2%}, {numbers['few memory'] / 1e6:,.0f} MB"
    start, wake = numbers["start"], numbers["wake"]
    return [
        woken("a worker: from `answer` to the agent's code, same process, p50", "near answer"),
        woken("… in another process", "far answer"),
        woken("… from a message to the agent's code, same process", "near message"),
        woken("… in another process", "far message"),
        Row(f"{many}: a worker's start, to the first of them", ms(start), f"with 10: {ms(numbers['few start'])}"),
        Row("… the worker while nothing happens", idle, few_idle),
        Row(
            "… from `answer` to the agent's code, p50",
            f"{ms(wake)}, slowest of 19 {ms(numbers['slowest'])}",
            f"with 10: {ms(numbers['few wake'])}",
            wake / numbers["few wake"],
        ),
    ]


if __name__ == "__main__":
    main(measure, work=work)
