"""The fold of what was said: every reader has the same text, wherever it began and whatever was taken back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hostile import HostileBackend
from hypothesis import example, given
from hypothesis import strategies as st

from agentstream import Client, Output, agent, delta, step
from agentstream.sessions.output import Change

TARGETS = ("a", "b")

said = st.tuples(st.just("say"), st.sampled_from(TARGETS), st.sampled_from(("text", "reasoning")), st.text(max_size=3))
stepped = st.tuples(st.just("step"), st.lists(said, max_size=3), st.integers(0, 2))
programs = st.lists(said | stepped | st.just(("yield",)), max_size=8)
happenings = st.lists(
    st.tuples(st.sampled_from(("go", "leave", "fail", "rewind", "fork")), st.integers(0, 1000)), min_size=1, max_size=5
)


class Broken(Exception):
    pass


class Program:
    """An agent made of what it says and the steps it makes; a step fails as often as it is told to, and the agent where
    it would yield for the `fail`th time."""

    fail: int | None = None

    def __init__(self, parts: list[Any]) -> None:
        failures = {place: part[2] for place, part in enumerate(parts) if part[0] == "step"}

        @step(retries=2)
        def speak(place: int) -> int:
            for _, target, kind, text in parts[place][1]:
                delta(text, target=target, kind=kind)
            if failures[place]:
                failures[place] -= 1
                raise OSError
            return place

        @agent
        def program() -> Iterator[int]:
            for place, part in enumerate(parts):
                if part[0] == "say":
                    delta(part[3], target=part[1], kind=part[2])
                elif part[0] == "step":
                    speak(place)
                elif self.fail == 0:
                    raise Broken
                else:
                    self.fail = self.fail - 1 if self.fail is not None else None
                    yield place

        self.agent = program
        self.whole = {
            target: "".join(
                text
                for part in parts
                for _, told, kind, text in ([part] if part[0] == "say" else part[1] if part[0] == "step" else [])
                if told == target and kind == "text"
            )
            for target in TARGETS
        }


def shown(changes: list[Change], page: dict[tuple[str, str], str]) -> None:
    """What a page that shows the changes has."""
    for change in changes:
        name = (change.target, change.kind)
        page[name] = change.text if change.replaces else page.get(name, "") + change.text


def standing(output: Output) -> dict[tuple[str, str], str]:
    found = {(target, kind): text for kind in ("text", "reasoning") for target, text in output.of_kind(kind).items()}
    return {name: text for name, text in found.items() if text}


def check_readers(session: Any) -> Output:
    """Readers that begin at every cut, with the output up to there, have what one has who read it all."""
    events = list(session.events())
    whole = Output(events)
    for cut in range(len(events) + 1):
        output = session.output(at=cut)
        page = standing(output)
        for event in events[cut:]:
            shown(output.add(event), page)
            assert standing(output) == {name: text for name, text in page.items() if text}
        assert standing(output) == standing(whole)
        assert [(p.text, p.void, p.source) for p in output.pieces] == [(p.text, p.void, p.source) for p in whole.pieces]
    return whole


@given(programs, happenings)
@example([("say", "a", "text", "0"), ("step", [], 1)], [("go", 0), ("fork", 56)])
@example([("say", "a", "text", "0"), ("step", [], 0), ("yield",)], [("fail", 0), ("go", 0)])
def test_every_reader_has_the_same_text(parts: list[Any], happenings: list[tuple[str, int]]) -> None:
    program = Program(parts)
    client = Client("memory:")
    session = client.session("s")
    session.append("custom", {})
    for number, (what, choice) in enumerate(happenings):
        size = session.state().index
        if what == "rewind":
            session.rewind(at=1 + choice % size)
        elif what == "fork":
            parent = session
            session = parent.fork(f"s{number}", at=1 + choice % size)
            cut = session.state().inherited
            output = parent.output(at=cut)
            for event in session.events(start=output.index):  # who read the parent goes on with the branch
                output.add(event)
            assert standing(output) == standing(session.output())
        else:
            run = session.state().run
            if run is not None and not run.open:
                session.rewind(at=run.start.index)
            program.fail = choice % 3 if what == "fail" else None
            stream = session.stream(program.agent)
            with suppress(Broken):
                for _ in range(choice % 3 if what == "leave" else 1000):
                    next(stream, None)
            stream.close()
            program.fail = None
    check_readers(session)
    run = session.state().run
    if run is not None and not run.open:
        session.rewind(at=run.start.index)
    list(session.stream(program.agent))
    assert {target: check_readers(session).texts.get(target, "") for target in TARGETS} == program.whole
    client.close()


def test_a_fork_within_a_step_voids_what_it_had_said() -> None:
    client = Client(HostileBackend())
    session = client.session("s")

    @step
    def speak() -> None:
        delta("half")

    @agent
    def once() -> None:
        delta("I say ")
        speak()

    session.run(once)
    (spoken,) = [event for event in session.events() if event.type == "delta" and event.value["text"] == "half"]
    branch = session.fork("branch", at=spoken)
    assert session.output(at=spoken).text == "I say half"
    assert branch.output().text == "I say "
    branch.run(once)
    assert branch.output().text == session.output().text == "I say half"


def test_every_event_in_order() -> None:
    session = Client("memory:").session("s")
    session.append("custom", {})
    session.append("custom", {})
    output = session.output(at=1)
    with pytest.raises(ValueError, match="the next is 1, not 0"):
        output.add(next(session.events()))
    assert output.add(list(session.events())[1]) == []
    assert output.index == 2


def test_followed_live() -> None:
    session = Client("memory:").session("s")

    @agent
    def speak() -> None:
        delta("one ")
        delta("two")

    session.run(speak)
    session.seal()
    output = Output()
    page: dict[tuple[str, str], str] = {}
    for event in session.follow(output.position):
        shown(output.add(event), page)
    assert list(page.values()) == ["one two"]
    assert output.index == len(list(session.events()))


def test_events_of_others_in_our_types_do_no_harm() -> None:
    from agentstream.sessions.events import read_event

    output = Output()
    for index, value in enumerate(
        (b"1", b"{}", b'{"text":3}', b'{"text":"x"}', b'{"text":"y","target":"t"}', b'{"run":4}', b'{"to":"x"}')
    ):
        for place, kind in enumerate((b"delta", b"claim", b"rewind", b"outcome", b"step", b"run", b"session")):
            message = b'{"type":"%s","key":"k","value":%s,"headers":{"operation":"insert"}}' % (kind, value)
            output.add(read_event(message, index * 7 + place))
    assert isinstance(output.text, str)
