"""Edits that are another question, found before any tool runs; and edits that are not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from agents_kit import Way
from failing import FailingBackend

from agentstream import Client, Diverged, Unavailable, step

pytestmark = pytest.mark.usefixtures("unhurried")

Names = list[tuple[str, Any]]

RECORDED: Names = [("look", {"id": 1, "of": "a"}), ("look", {"id": 2}), ("tell", {"text": "hi"}), ("look", {"id": 3})]


class Tools:
    def __init__(self, way: Way) -> None:
        self.ran: Names = []
        self.way = way

    def agent(self, calls: Names, *, catch: bool = False) -> Callable[..., Any]:
        """An agent that makes these calls; with `catch` it catches whatever comes, and says that all is well."""
        steps: dict[str, Any] = {}

        def tool(name: str) -> Any:
            def run(asked: Any) -> str:
                self.ran.append((name, asked))
                return f"{name} {asked}"

            return step(name=name)(self.way.of(run))

        def talk() -> Any:
            results: list[str] = []
            for name, asked in calls:
                call = steps.setdefault(name, tool(name))
                try:
                    results.append((yield lambda call=call, asked=asked: call(asked)))
                except BaseException:
                    if not catch:
                        raise
            return results

        return self.way.agent(talk)


def crashed(backend: Any, way: Way, calls: Names = RECORDED) -> None:
    """A run of these calls that was crashed after the last of them."""
    with pytest.raises(Unavailable):
        way.run(FailingBackend(backend, after=2 + len(calls)), Tools(way).agent(calls))


EDITS: dict[str, tuple[Names, str, int]] = {
    "changed": ([RECORDED[0], ("look", {"id": 7}), *RECORDED[2:]], "different_args", 1),
    "inserted": ([("tell", {"text": "new"}), *RECORDED], "different_call", 0),
    "removed": ([RECORDED[0], *RECORDED[2:]], "different_call", 1),
    "removed alike": (RECORDED[1:], "different_args", 0),
    "renamed": ([*RECORDED[:2], ("say", {"text": "hi"}), RECORDED[3]], "different_call", 2),
    "swapped": ([RECORDED[1], RECORDED[0], *RECORDED[2:]], "different_args", 0),
    "last removed": (RECORDED[:3], "missing_call", 3),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("catch", [False, True])
def test_edits_that_diverge(backend: Any, way: Way, edit: str, catch: bool) -> None:
    calls, kind, index = EDITS[edit]
    crashed(backend, way)
    before = [event.raw for event in Client(backend).session("s").events()]
    tools = Tools(way)
    with pytest.raises(Diverged) as caught:
        way.run(backend, tools.agent(calls, catch=catch))
    assert tools.ran == []
    found = caught.value.divergence
    assert (found.kind, found.step_index, found.lane) == (kind, index, "0")
    assert found.recorded["name"] == RECORDED[index][0]
    assert "session.rewind(at=" in str(caught.value)
    if kind == "missing_call":
        assert found.actual is None
    else:
        assert found.actual["name"] == calls[index][0]
        assert found.diff
        assert "agents_kit.py" in found.code or "test_diverge.py" in found.code
    after = list(Client(backend).session("s").events())[len(before) :]
    assert {event.type for event in after} <= {"claim"}
    # and so does a replay, without a claim
    size = len(list(Client(backend).session("s").events()))
    report = way.replay(backend, tools.agent(calls, catch=catch))
    assert report.divergence.kind == kind
    assert report.divergence.step_index == index
    assert len(list(Client(backend).session("s").events())) == size
    # the way on: back to the cut that the divergence names
    Client(backend).session("s").rewind(found.before)
    assert way.run(backend, tools.agent(calls)) == [f"{name} {asked}" for name, asked in calls]
    assert tools.ran == calls[index:]


@pytest.mark.parametrize("extra", [1, 2])
def test_an_extra_call_of_a_finished_run(backend: Any, way: Way, extra: int) -> None:
    way.run(backend, Tools(way).agent(RECORDED))
    tools = Tools(way)
    report = way.replay(backend, tools.agent([*RECORDED, *[("tell", {"text": "more"})] * extra]))
    assert report.divergence.kind == "extra_call"
    assert report.divergence.recorded is None
    assert report.divergence.actual == {"kind": "function", "name": "tell", "input": {"asked": {"text": "more"}}}
    assert report.steps == len(RECORDED)
    assert tools.ran == []


def test_edits_that_do_not_diverge(backend: Any, way: Way) -> None:
    crashed(backend, way)
    tools = Tools(way)
    reordered: Names = [("look", {"of": "a", "id": 1}), *RECORDED[1:]]

    def a_function_on_another_line(name: str) -> Any:
        def renamed_local(asked: Any) -> str:
            tools.ran.append((name, asked))
            return "never"

        return step(name=name)(way.of(renamed_local))

    def talk() -> Any:
        made = {name: a_function_on_another_line(name) for name in ("tell", "look")}
        answers: list[str] = []
        for title, question in reordered:
            answers.append((yield lambda title=title, question=question: made[title](asked=question)))
        return answers

    assert way.run(backend, way.agent(talk)) == [f"{name} {asked}" for name, asked in RECORDED]
    assert tools.ran == []


def test_another_process_asks_the_same(tmp_path: Any) -> None:
    """Sets, dicts and hashes: the order of nothing that has none counts."""
    program = """
import sys
from agentstream import Client, agent, step
@step
def ask(tags, options): print("asked"); return len(tags)
@agent
def go(): return ask({"a", "b", "c", "d"}, {str(n): n for n in set("xyz" + "abcdef")} if False else
    {name: name for name in {"one", "two", "three", "four"}})
session = Client(sys.argv[1]).session("s")
print(session.run(go), session.replay(go).identical)
"""
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", program, str(tmp_path)]
        if seed == "1":
            command[2] = program.replace(
                "print(session.run", "session.with_options(run_id='r').run(go)\nprint(session.run"
            )
        output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        assert output.endswith("4 True\n")
    events = Client(tmp_path).session("s").state()
    assert len({found.fingerprint for found in events.steps}) == 1


def test_a_step_that_was_recorded_twice_is_one_lane(backend: Any, way: Way) -> None:
    """Equal calls stay apart by their place."""
    counter = iter(range(10))

    @step
    @way.of
    def count() -> int:
        return next(counter)

    def body() -> Any:
        first = yield count
        second = yield count
        return [first, second]

    agent = way.agent(body)
    with pytest.raises(Unavailable):
        way.run(FailingBackend(backend, after=3), agent)
    assert way.run(backend, agent) == [0, 2]
