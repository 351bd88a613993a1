"""Random programs, recorded, cut anywhere, resumed: nothing finished is made again, nothing taken for a divergence."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from failing import FailingBackend
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from programs_world import Broken, Life, Program, outcomes_in, result_of, steps_of

from agentstream import AsyncClient, Client, Unavailable
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.operations import JSON, Create

STEP = st.tuples(
    st.just("step"),
    st.sampled_from(["repeat", "repeat", "once", "pure"]),
    st.sampled_from([0, 0, 0, 1, 2]),
    st.sampled_from([0, 1, 2]),
    st.booleans(),
).map(lambda drawn: (*drawn[:3], 0 if drawn[1] == "once" else drawn[3], drawn[4]))
CANCELLED = st.just(("cancelled",))


def programs(*instructions: st.SearchStrategy[Any]) -> st.SearchStrategy[Program]:
    def longer(shorter: st.SearchStrategy[Program]) -> st.SearchStrategy[Program]:
        lanes = st.tuples(st.just("lanes"), st.lists(shorter, min_size=1, max_size=4))
        child = st.tuples(st.just("child"), shorter)
        return st.lists(st.one_of(*instructions, lanes, child), min_size=1, max_size=4)

    return st.recursive(st.lists(st.one_of(*instructions), min_size=1, max_size=4), longer, max_leaves=6)


def one_life(backend: Any, life: Life, *, in_loop: bool, session: str = "s", verb: str = "run") -> Any:
    if not in_loop:
        return getattr(Client(backend).session(session).with_options(take_over=True), verb)(life.threads)

    async def live() -> Any:
        return await getattr(AsyncClient(backend).session(session).with_options(take_over=True), verb)(life.agent)

    return asyncio.run(live())


def messages(backend: Any, session: str) -> list[bytes]:
    return [event.raw for event in Client(backend).session(session).events()]


# --- cutting ----------------------------------------------------------------------------------------------------------

Cut = Callable[[Any, int], str]


def torn(backend: Any, at: int) -> str:
    """The stream ends there, as if what came after had never been written."""
    kept = tuple(messages(backend, "s")[:at])
    backend.execute(Create("torn", content_type=JSON, body=kept))
    return "torn"


def forked(backend: Any, at: int) -> str:
    """A branch goes on from there."""
    Client(backend).session("s").fork("branch", at)
    return "branch"


def rewound(backend: Any, at: int) -> str:
    """What came after is set aside."""
    Client(backend).session("s").rewind(at)
    return "s"


def go_on(backend: Any, program: Program, session: str, kept: list[bytes], *, in_loop: bool) -> None:
    """Resumes to the end, and holds what was made and served against the record that was kept."""
    served = outcomes_in(kept, inherited=session == "branch")
    handle = Client(backend).session(session)
    for unknown in handle.unresolved():
        label = unknown.input["label"]
        if unknown.input["fails"]:
            handle.resolve(unknown.key, error=Broken())
        else:
            handle.resolve(unknown.key, f"{label} done")
        served.append(label)
    life = Life(program)
    assert one_life(backend, life, in_loop=in_loop, session=session) == result_of(program)
    given = [label for label, made in life.order if not made]
    assert Counter(given) == Counter(served)
    if in_loop:
        assert given == served
    assert Counter(label for label, made in life.order if made) == steps_of(program) - Counter(served)
    again = Life(program)
    report = one_life(backend, again, in_loop=in_loop, session=session, verb="replay")
    assert report.identical, report
    if in_loop:
        assert [label for label, _ in again.order] == [label for label, _ in life.order]


def record_cut_and_go_on(program: Program, share: float, cut: Cut, *, in_loop: bool) -> None:
    backend = EmbeddedBackend(None)
    try:
        assert one_life(backend, Life(program), in_loop=in_loop) == result_of(program)
        record = messages(backend, "s")
        first = next(n for n, message in enumerate(record) if b'"type":"status"' in message) + 1
        at = first + round(share * (len(record) - 1 - first))
        go_on(backend, program, cut(backend, at), record[:at], in_loop=in_loop)
    finally:
        backend.close()


def bounded(examples: int) -> Any:
    return settings(max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow])


OPENED_FIRST: Program = [
    ("lanes", [[("step", "repeat", 0, 0, False)], [("cancelled",), ("cancelled",)]]),
    ("cancelled",),
    ("step", "repeat", 0, 0, False),
    ("cancelled",),
]
"""A lane opens another one before it has made a step: on the branch its own step comes first."""


@bounded(200)
@example(program=OPENED_FIRST, share=0.25, cut=forked)
@given(program=programs(STEP, CANCELLED), share=st.floats(0, 1), cut=st.sampled_from([torn, forked, rewound]))
def test_cut_in_an_event_loop(program: Program, share: float, cut: Cut) -> None:
    """What is served comes in the order of the log, and code that runs again sees every outcome come as it came."""
    record_cut_and_go_on(program, share, cut, in_loop=True)


@bounded(80)
@given(program=programs(STEP), share=st.floats(0, 1), cut=st.sampled_from([torn, forked, rewound]))
def test_cut_in_threads(program: Program, share: float, cut: Cut) -> None:
    record_cut_and_go_on(program, share, cut, in_loop=False)


@pytest.mark.parametrize("in_loop", [True, False])
@bounded(80)
@given(program=programs(STEP), after=st.integers(2, 30))
def test_crashed(program: Program, after: int, *, in_loop: bool) -> None:
    """The worker dies of an append: what a step returned before is in the record."""
    backend = EmbeddedBackend(None)
    try:
        life = Life(program)
        try:
            one_life(FailingBackend(backend, after=after), life, in_loop=in_loop)
        except Unavailable:
            record = messages(backend, "s")
            go_on(backend, program, torn(backend, len(record)), record, in_loop=in_loop)
    finally:
        backend.close()
