"""Random agents that live long: they ask, hear, sleep, spawn and throw, and a world that answers and kills them.

A program is a list of instructions, as plain tuples that hypothesis can draw and shrink:

    ("step", effect, fails)            a step; where it fails its error is caught
    ("ask", form)                      a question: plain, choices, int, or one that nobody answers before it expires
    ("approve", answer)                a step that a person approves, denies, or approves with another argument
    ("inbox", wait)                    reads the messages, or waits for one
    ("sleep", seconds)                 a durable sleep
    ("throw",)                         an exception of the agent's own, the first time that the code comes there
    ("lanes", [program, …])            the programs at once, each in a lane of its own
    ("child", program)                 a child run
    ("spawn", program, awaited, fork)  a child session

The code is written once, as generators of calls that are made or awaited.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

from agentstream import (
    Denied,
    QuestionExpired,
    aask,
    agent,
    ainbox,
    ask,
    asleep,
    aspawn,
    current_session,
    in_run,
    inbox,
    sleep,
    spawn,
    step,
)

Program = list[Any]
Code = Generator[Callable[[], Any], Any, Any]

PATIENT = 600.0
"""Seconds after which a question expires that nobody answers."""

_session: ContextVar[str] = ContextVar("session")


class Broken(Exception):
    """What steps and agents fail with."""


# --- what comes of a program, without any library ---------------------------------------------------------------------


def result_of(program: Program, place: str = "p") -> list[Any]:
    """What the program returns; `{"heard": …}` stands for whatever messages there were."""
    return [_result(instruction, f"{place}.{n}") for n, instruction in enumerate(program)]


def _result(instruction: Any, place: str) -> Any:
    kind = instruction[0]
    if kind == "step":
        return f"{place} broke" if instruction[2] else f"{place} done"
    if kind == "ask":
        return "nobody" if instruction[1] == "expires" else answer_to(place, instruction[1])
    if kind == "approve":
        return {"yes": f"{place} paid 3", "no": f"{place} denied", "edit": f"{place} paid 7"}[instruction[1]]
    if kind == "inbox":
        return {"heard": ...}
    if kind == "lanes":
        return [result_of(lane, f"{place}/{n}") for n, lane in enumerate(instruction[1])]
    if kind == "child" or (kind == "spawn" and instruction[2]):
        return result_of(instruction[1], place)
    return kind


def answer_to(place: str, form: str) -> Any:
    """The answer that the world has for a question."""
    return {"plain": f"{place} answered", "choices": f"{place} b", "int": len(place)}[form]


def same(result: Any, expected: Any, heard: list[str]) -> bool:
    """Whether a result is what was expected; adds the messages that were heard."""
    if isinstance(expected, dict):
        heard += result["heard"]
        return True
    if isinstance(expected, list):
        return len(result) == len(expected) and all(
            same(one, other, heard) for one, other in zip(result, expected, strict=True)
        )
    return result == expected


# --- the agents -------------------------------------------------------------------------------------------------------


class Life:
    """One life of a program in a process: what was made in it, and what came back to the code.

    `thrown` is the world's: where the code has thrown before it does not throw again.
    """

    def __init__(self, program: Program, *, in_loop: bool, thrown: set[str]) -> None:
        self.made: Counter[tuple[str, str]] = Counter()
        """How often a step acted, by session and place."""
        self.returned: set[tuple[str, str]] = set()
        """Steps that are durable when they return, and have."""
        self.in_loop = in_loop
        self.thrown = thrown
        self._works = {effect: self._work(effect) for effect in ("repeat", "once", "pure")}
        self._pay = self._paying()
        self.child, self.agent = self._agents(program)

    def _agents(self, program: Program) -> tuple[Any, Any]:
        def child(program: Any, place: str) -> Any:
            return _called(self._go(program, place))

        async def achild(program: Any, place: str) -> Any:
            return await _awaited(self._go(program, place))

        def whole() -> Any:
            return _called(self._go(program, "p"))

        async def awhole() -> Any:
            return await _awaited(self._go(program, "p"))

        kinds = (achild, awhole) if self.in_loop else (child, whole)
        return agent(name="child")(kinds[0]), agent(name="program")(kinds[1])

    def _work(self, effect: Any) -> Any:
        def work(label: str, fails: bool) -> str:
            self.made[_session.get(), label] += 1
            if fails:
                raise Broken
            return f"{label} done"

        async def awork(label: str, fails: bool) -> str:
            await asyncio.sleep(0)
            return work(label, fails)

        return step(name="work", effect=effect)(awork if self.in_loop else work)

    def _paying(self) -> Any:
        def pay(label: str, amount: int) -> str:
            self.made[_session.get(), label] += 1
            return f"{label} paid {amount}"

        async def apay(label: str, amount: int) -> str:
            return pay(label, amount)

        return step(name="pay", effect="once", approve=True)(apay if self.in_loop else pay)

    def _go(self, program: Program, place: str) -> Code:
        results = []
        for n, instruction in enumerate(program):
            do = getattr(self, f"_{instruction[0]}")
            results.append((yield from do(f"{place}.{n}", *instruction[1:])))
        return results

    def _step(self, place: str, effect: str, fails: bool) -> Code:
        _session.set(session := current_session().id)
        try:
            result = yield lambda: self._works[effect](place, fails)
        except Broken:
            return f"{place} broke"
        if effect != "pure":
            self.returned.add((session, place))
        return result

    def _approve(self, place: str, answer: str) -> Code:
        _session.set(session := current_session().id)
        try:
            result = yield lambda: self._pay(f"{place}:{answer}", 3)
        except Denied:
            return f"{place} denied"
        self.returned.add((session, f"{place}:{answer}"))
        return result.replace(f":{answer}", "")

    def _ask(self, place: str, form: str) -> Code:
        asked: Any = aask if self.in_loop else ask
        options: dict[str, Any] = {
            "plain": {},
            "choices": {"choices": [f"{place} a", f"{place} b"]},
            "int": {"schema": int},
            "expires": {"expires": PATIENT},
        }[form]
        try:
            return (yield lambda: asked(f"{form} {place}", **options))
        except QuestionExpired:
            return "nobody"

    def _inbox(self, place: str, wait: bool) -> Code:
        read: Any = ainbox if self.in_loop else inbox
        return {"heard": [message["text"] for message in (yield lambda: read(wait=wait))]}

    def _sleep(self, place: str, seconds: float) -> Code:
        yield lambda: (asleep if self.in_loop else sleep)(seconds)
        return "sleep"

    def _throw(self, place: str) -> Code:
        if place not in self.thrown:
            self.thrown.add(place)
            raise Broken
        return "throw"
        yield

    def _lanes(self, place: str, lanes: list[Program]) -> Code:
        return (yield lambda: self._together(lanes, place))

    def _together(self, lanes: list[Program], place: str) -> Any:
        each = [(lane, f"{place}/{n}") for n, lane in enumerate(lanes)]
        if self.in_loop:
            return _gathered([_awaited(self._go(*lane)) for lane in each])
        with ThreadPoolExecutor(len(each)) as pool:
            futures = [pool.submit(in_run(lambda lane=lane: _called(self._go(*lane)))) for lane in each]
            return [future.result() for future in futures]

    def _child(self, place: str, program: Program) -> Code:
        return (yield lambda: self.child(program, place))

    def _spawn(self, place: str, program: Program, awaited: bool, fork: bool) -> Code:
        begin: Any = aspawn if self.in_loop else spawn
        child = yield lambda: begin(self.child, program, place, fork=fork)
        return (yield child.result) if awaited else "spawn"


def _called(code: Code) -> Any:
    """Goes through code whose calls are made."""
    answer: Any = None
    error: Exception | None = None
    try:
        while True:
            call = code.throw(error) if error is not None else code.send(answer)
            try:
                answer, error = call(), None
            except Exception as raised:
                error = raised
    except StopIteration as end:
        return end.value


async def _awaited(code: Code) -> Any:
    """Goes through code whose calls are awaited."""
    answer: Any = None
    error: Exception | None = None
    try:
        while True:
            call = code.throw(error) if error is not None else code.send(answer)
            try:
                answer, error = await call(), None
            except Exception as raised:
                error = raised
    except StopIteration as end:
        return end.value


async def _gathered(lanes: list[Any]) -> list[Any]:
    return list(await asyncio.gather(*lanes))


# --- a record, read naively -------------------------------------------------------------------------------------------


def standing(messages: list[bytes]) -> list[dict[str, Any]]:
    """The events that no rewind took back."""
    cuts: list[list[dict[str, Any]]] = [[]]
    for message in messages:
        event = json.loads(message)
        before = cuts[event["value"]["to"]] if event["type"] == "rewind" else cuts[-1]
        cuts.append([*before, event])
    return cuts[-1]


def spawned(messages: list[bytes]) -> list[dict[str, str]]:
    """The child sessions that the record says were begun, and their runs."""
    events = standing(messages)
    steps = {event["key"] for event in events if event["type"] == "step" and event["value"]["kind"] == "spawn"}
    return [
        event["value"]["result"]
        for event in events
        if event["type"] == "outcome" and event["key"] in steps and "result" in event["value"]
    ]


def completed(messages: list[bytes]) -> set[str]:
    """The steps of `work` and `pay` that the record says have come to a result."""
    steps: dict[str, str] = {}
    done: set[str] = set()
    for event in standing(messages):
        if event["type"] == "step" and event["value"]["name"] in ("work", "pay"):
            steps[event["key"]] = event["value"]["input"]["label"]
        elif event["type"] == "outcome" and "result" in event["value"] and event["key"] in steps:
            done.add(steps[event["key"]])
    return done
