"""Random programs that ask, hear, sleep, spawn and throw, killed, rewound and forked anywhere, live to their end."""

from __future__ import annotations

from typing import Any

import pytest
from hostile import HostileBackend
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lives_driver import Turn, World
from lives_world import Program

from agentstream.backends.embedded import EmbeddedBackend

STEP = st.tuples(st.just("step"), st.sampled_from(["repeat", "repeat", "once", "pure"]), st.booleans())
ASK = st.tuples(st.just("ask"), st.sampled_from(["plain", "choices", "int", "expires"]))
APPROVE = st.tuples(st.just("approve"), st.sampled_from(["yes", "no", "edit"]))
INBOX = st.tuples(st.just("inbox"), st.booleans())
SLEEP = st.tuples(st.just("sleep"), st.sampled_from([0.001, 3600.0]))
THROW = st.just(("throw",))

LEAF = st.one_of(STEP, ASK, APPROVE, INBOX, SLEEP)


def programs(*, spawned: bool) -> st.SearchStrategy[Program]:
    def longer(shorter: st.SearchStrategy[Program]) -> st.SearchStrategy[Program]:
        lanes = st.tuples(st.just("lanes"), st.lists(shorter, min_size=1, max_size=3))
        child = st.tuples(st.just("child"), shorter)
        spawn = st.tuples(st.just("spawn"), shorter, st.booleans(), st.booleans())
        return st.lists(st.one_of(LEAF, lanes, child, *([spawn] if spawned else [])), min_size=1, max_size=3)

    inner = st.recursive(st.lists(LEAF, min_size=1, max_size=3), longer, max_leaves=5)
    return st.tuples(inner, st.booleans()).map(lambda drawn: [*drawn[0], *([("throw",)] if drawn[1] else [])])


CRASHES = st.lists(st.one_of(st.none(), st.integers(0, 25)), max_size=4)
TURNS: st.SearchStrategy[list[Turn]] = st.lists(
    st.one_of(st.just(("none", 0.0)), st.tuples(st.sampled_from(["rewind", "fork"]), st.floats(0, 1))), max_size=2
).map(lambda turns: [None if turn[0] == "none" else turn for turn in turns])  # type: ignore[misc]
NOISE = st.lists(st.integers(0, 15), max_size=4)


def bounded(examples: int) -> Any:
    return settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def told_apart(program: Program) -> Program:
    """With a step of its own at the beginning of each lane: threads that begin alike race for who is who."""
    return [_told_apart(instruction) for instruction in program]


def _told_apart(instruction: Any) -> Any:
    kind = instruction[0]
    if kind == "lanes":
        return (kind, [[("step", "repeat", False), *told_apart(lane)] for lane in instruction[1]])
    if kind in ("child", "spawn"):
        return (kind, told_apart(instruction[1]), *instruction[2:])
    return instruction


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for lanes that may still move: what they did unrecorded, they do again."""
    monkeypatch.setattr("agentstream.agents.waiting.QUIET", 0.02)
    monkeypatch.setattr("agentstream.agents.offspring.ELSEWHERE", 0.05)
    monkeypatch.setattr("agentstream.sessions.patience.RETRIES", ())


@pytest.mark.parametrize("in_loop", [True, False])
@bounded(40)
@given(program=programs(spawned=True), crashes=CRASHES, turns=TURNS, noise=NOISE)
def test_lives(program: Program, crashes: Any, turns: Any, noise: list[int], *, in_loop: bool) -> None:
    store = EmbeddedBackend(None)
    program = program if in_loop else told_apart(program)
    try:
        World(store, program, in_loop=in_loop, crashes=crashes, turns=turns, noise=noise).live_through()
    finally:
        store.close()


@pytest.mark.parametrize("in_loop", [True, False])
@bounded(20)
@given(program=programs(spawned=False), crashes=CRASHES, turns=TURNS, noise=NOISE)
def test_lives_on_a_hostile_server(
    program: Program, crashes: Any, turns: Any, noise: list[int], *, in_loop: bool
) -> None:
    program = program if in_loop else told_apart(program)
    World(HostileBackend(), program, in_loop=in_loop, crashes=crashes, turns=turns, noise=noise).live_through()
