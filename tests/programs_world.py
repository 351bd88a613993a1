"""Random agents: programs of lanes, steps and child runs, and what a record of one must come to.

A program is a list of instructions, as plain tuples that hypothesis can draw and shrink:

    ("step", effect, fails, retries, shared)   a step; its first `fails` attempts raise, and its error is caught
    ("lanes", [program, …])                    the programs at once, each in a lane of its own
    ("child", program)                         a child run
    ("cancelled",)                             a step that never ends, cancelled by the program

What is said of a record here (`outcomes_in`) is read from its plain JSON by rules written down anew and as simply
as they can be, to be held against the library's own.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

from agentstream import agent, in_run, step

Program = list[tuple[Any, ...]]

_tried: ContextVar[list[int]] = ContextVar("tried")


class Broken(Exception):
    """What steps fail with."""


def label_of(place: str, instruction: tuple[Any, ...]) -> str:
    """What a step is asked: its place in the program, but for those that are to be like others."""
    return "the same" if instruction[0] == "step" and instruction[4] else place


def result_of(program: Program, place: str = "p") -> list[Any]:
    """What the program returns, without any library."""
    return [_result(instruction, f"{place}.{n}") for n, instruction in enumerate(program)]


def _result(instruction: tuple[Any, ...], place: str) -> Any:
    if instruction[0] == "step":
        label = label_of(place, instruction)
        return f"{label} broke" if instruction[2] > instruction[3] else f"{label} done"
    if instruction[0] == "lanes":
        return [result_of(lane, f"{place}/{n}") for n, lane in enumerate(instruction[1])]
    return result_of(instruction[1], place) if instruction[0] == "child" else "cancelled"


def steps_of(program: Program, place: str = "p") -> Counter[str]:
    """How often the program asks what, of steps that come to their end."""
    asked: Counter[str] = Counter()
    for n, instruction in enumerate(program):
        inner = f"{place}.{n}"
        if instruction[0] == "lanes":
            for number, lane in enumerate(instruction[1]):
                asked += steps_of(lane, f"{inner}/{number}")
        elif instruction[0] == "child":
            asked += steps_of(instruction[1], inner)
        else:
            asked[label_of(inner, instruction) if instruction[0] == "step" else f"{inner} beside"] += 1
    return asked


class Life:
    """One life of a program: what was made in it, and in which order outcomes reached the code."""

    def __init__(self, program: Program) -> None:
        self.made: Counter[str] = Counter()
        self.order: list[tuple[str, bool]] = []
        """What was asked, and whether it was made (else it was served)."""
        life = self

        def body(fails: int) -> None:
            tried = _tried.get()
            tried.append(1)
            if len(tried) <= fails:
                raise Broken

        def made(effect: Any, retries: int) -> tuple[Any, Any]:
            @step(name="work", effect=effect, retries=retries)
            def work(label: str, fails: int) -> str:
                body(fails)
                return f"{label} done"

            @step(name="work", effect=effect, retries=retries)
            async def awork(label: str, fails: int) -> str:
                await asyncio.sleep(0)
                body(fails)
                return f"{label} done"

            return work, awork

        self._works = {
            (effect, retries): made(effect, retries)
            for effect in ("repeat", "once", "pure")
            for retries in ((0,) if effect == "once" else (0, 1, 2))
        }

        @step(name="forever")
        async def forever(label: str) -> None:
            life.made[label] += 1
            await asyncio.get_running_loop().create_future()

        self._forever = forever

        @agent(name="child")
        async def achild(program: Any, place: str) -> Any:
            return await life.ago(program, place)

        @agent(name="child")
        def child(program: Any, place: str) -> Any:
            return life.go(program, place)

        self._child, self._achild = child, achild

        @agent(name="program")
        async def aprogram() -> Any:
            return await life.ago(program, "p")

        @agent(name="program")
        def threads() -> Any:
            return life.go(program, "p")

        self.agent, self.threads = aprogram, threads

    def _reached(self, label: str, tried: list[int]) -> None:
        self.made[label] += bool(tried)
        self.order.append((label, bool(tried)))

    # --- in an event loop --------------------------------------------------------------------------------------------

    async def ago(self, program: Any, place: str) -> list[Any]:
        return [await self._ado(instruction, f"{place}.{n}") for n, instruction in enumerate(program)]

    async def _ado(self, instruction: Any, place: str) -> Any:
        if instruction[0] == "step":
            return await self._astep(label_of(place, instruction), *instruction[1:4])
        if instruction[0] == "lanes":
            lanes = [self.ago(lane, f"{place}/{n}") for n, lane in enumerate(instruction[1])]
            return list(await asyncio.gather(*lanes))
        if instruction[0] == "child":
            return await self._achild(instruction[1], place)
        task = asyncio.ensure_future(self._forever(place))
        for _ in range(3):
            await asyncio.sleep(0)  # it has begun
        await self._astep(f"{place} beside", "repeat", 0, 0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return "cancelled"

    async def _astep(self, label: str, effect: str, fails: int, retries: int) -> str:
        tried: list[int] = []
        _tried.set(tried)
        try:
            result = await self._works[effect, retries][1](label, fails)
        except Broken:
            result = f"{label} broke"
        self._reached(label, tried)
        return result

    # --- in threads --------------------------------------------------------------------------------------------------

    def go(self, program: Any, place: str) -> list[Any]:
        return [self._do(instruction, f"{place}.{n}") for n, instruction in enumerate(program)]

    def _do(self, instruction: Any, place: str) -> Any:
        if instruction[0] == "lanes":
            lanes = [(lane, f"{place}/{n}") for n, lane in enumerate(instruction[1])]
            with ThreadPoolExecutor(len(lanes)) as pool:
                return [made.result() for made in [pool.submit(in_run(self.go), *lane) for lane in lanes]]
        if instruction[0] == "child":
            return self._child(instruction[1], place)
        label = label_of(place, instruction)
        tried: list[int] = []
        _tried.set(tried)
        try:
            result = self._works[instruction[1], instruction[3]][0](label, instruction[2])
        except Broken:
            result = f"{label} broke"
        self._reached(label, tried)
        return result


# --- a record, read naively -------------------------------------------------------------------------------------------


def outcomes_in(messages: list[bytes], *, inherited: bool = False) -> list[str]:
    """What was asked of the steps whose outcome a run that goes on after these messages is served, in their order.

    What a branch inherited unfinished was never begun.
    """
    events = [json.loads(message) for message in messages]
    ended = {event["key"] for event in events if event["type"] == "outcome"}
    steps: dict[str, dict[str, Any]] = {}
    begun: list[tuple[int, str]] = []
    """Where in the log which lane made a step or called a child."""
    opened: dict[str, int] = {}
    seen: set[str] = set()
    children: set[str] = set()
    """Those that have ended well: what they return says what they made of their errors."""
    for index, event in enumerate(events):
        kind, key, value = event["type"], event["key"], event["value"]
        if kind == "status" and "#" in key and value["status"] in ("finished", "cancelled"):
            children.add(key)
        if inherited and kind == "step" and key not in ended:
            continue
        if kind == "step" or (kind == "run" and "parent" in value):
            place = key.rpartition("#")[0]
            lane = place.rpartition("/")[0]
            if place not in seen:
                seen.add(place)
                begun.append((index, lane))
                opened.setdefault(lane, index)
            if kind == "step":
                steps[place] = {"label": value["input"]["label"], "lane": lane, "key": key, "outcome": None, "at": -1}
        elif kind == "outcome" and (found := steps.get(key.rpartition("#")[0])) is not None and found["key"] == key:
            found["outcome"], found["at"] = value, index
    served = []
    for found in steps.values():
        outcome, at = found["outcome"], found["at"]
        if outcome is None or outcome.get("cancelled"):
            continue
        above = {found["lane"], *_above(found["lane"])}
        told = any(index > at and (lane in above or opened[lane] > at) for index, lane in begun) or any(
            lane.rpartition("/")[0] in children for lane in above
        )
        if "error" not in outcome or (told and not outcome.get("retried")):
            served.append((at, found["label"]))
    return [label for _, label in sorted(served)]


def _above(lane: str) -> Iterator[str]:
    """The lanes that one was opened from, `<run>/<lane>` each: of `r/0.1/2#1/0.3` `r/0.1/2#1/0`, `r/0.1` and `r/0`."""
    run, _, number = lane.rpartition("/")
    while "." in number:
        number = number.rpartition(".")[0]
        yield f"{run}/{number}"
    if "/" in run:
        caller = run.rpartition("/")[0]
        yield caller
        yield from _above(caller)
