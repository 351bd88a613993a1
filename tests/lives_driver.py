"""The world around a random agent: it answers, speaks, moves the clock, kills, rewinds and forks, and looks on.

After every life it holds the record against what it saw: nothing that had come to a result was
made again, everything that returned is there, and history was only ever extended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from itertools import chain, repeat
from typing import Any
from unittest.mock import patch

import pytest
from crashing import CrashingBackend
from hostile import HostileBackend
from lives_world import PATIENT, Broken, Life, Program, answer_to, completed, result_of, same, spawned, standing
from people_kit import answer_plain
from stores import raw_events

from agentstream import (
    AnswerRefused,
    AsyncClient,
    Client,
    NotFound,
    OutcomeUnknown,
    RunWaiting,
    Session,
    State,
    StoreError,
    Worker,
)
from agentstream.agents.offspring import children_at_work
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.sessions import events, moments

LIVES = 120
"""Lives after which a program must have come to its end."""

INVALID, DOUBLE, SPOKEN, PLAIN = 1, 2, 4, 8
"""What the world does besides: a wrong answer first, a second one, a message more, an answer without the library."""

Turn = tuple[str, float]


class Clock:
    """The time of events and of whoever asks for it, moved forward at will."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def time(self) -> float:
        return time.time() + self.ahead

    @contextmanager
    def ticking(self) -> Iterator[None]:
        with patch.object(moments, "time", self), patch.object(events, "time", self):
            yield


class World:
    """`crashes`: appends after which each life is killed, none for the lives that follow; `turns`: what is done to the
    session between two lives, `noise` what people do besides answering."""

    def __init__(
        self,
        store: Any,
        program: Program,
        *,
        in_loop: bool,
        crashes: list[int | None] | tuple[()] = (),
        turns: list[Turn] | tuple[()] = (),
        noise: list[int] | tuple[()] = (),
    ) -> None:
        self.store, self.program, self.in_loop = store, program, in_loop
        self.client = Client(store)
        self.session = "main"
        self.thrown: set[str] = set()
        self.clock = Clock()
        self._crashes = chain(crashes, repeat(None))
        self._turns, self._noise = chain(turns, repeat(None)), chain(noise, repeat(0))
        self._said = 0
        self._left: set[str] = set()
        """Sessions that a fork was made of: they are as they were."""
        self._seen: dict[str, list[bytes]] = {}

    # --- one life after the other ------------------------------------------------------------------------------------

    def live_through(self) -> None:
        """To the end, and past it: what is left of the children, what readers see, what a replay says."""
        with self.clock.ticking():
            self._say(self.session)  # before the run: none of its messages
            for _ in range(LIVES):
                ended, result = self._live(next(self._crashes))
                if ended:
                    break
                self._take_turn()
                self._act()
            else:
                raise AssertionError("it never came to its end")
            self._check_result(result)
            if self.store.traits.lists:
                self._end_children()
            for id in self._sessions():
                readers_agree(self.store, id)
            self._check_replay(self.client, result)
            with_copy(self.client.session(self.session), lambda copy: self._check_replay(copy, result))

    def _live(self, crash: int | None) -> tuple[bool, Any]:
        """One process: whether the run came to its end in it, and the result."""
        backend = CrashingBackend(self.store, after=crash) if crash is not None else self.store
        life = Life(self.program, in_loop=self.in_loop, thrown=self.thrown)
        before = self._done()
        try:
            return True, self._run(backend, life)
        except (RunWaiting, OutcomeUnknown, Broken):
            return False, None
        except StoreError:
            assert isinstance(backend, CrashingBackend)
            assert backend.dead
            return False, None
        finally:
            if isinstance(backend, CrashingBackend):
                backend.let_go()
            if crash is not None and isinstance(self.store, HostileBackend):
                self.store.restart()
            self._check_life(life, before)

    def _run(self, backend: Any, life: Life) -> Any:
        if self.in_loop:

            async def alive() -> Any:
                return await AsyncClient(backend).session(self.session).with_options(max_attempts=99).run(life.agent)

            return asyncio.run(alive())
        client = Client(backend)
        try:
            return client.session(self.session).with_options(max_attempts=99).run(life.agent)
        finally:
            while children_at_work(client._core):  # threads that the process would take along
                time.sleep(0.001)

    def _end_children(self) -> None:
        """A worker goes on with the children that nobody waited for."""
        for _ in range(LIVES):
            if all(map(self._is_finished, self._children())):
                return
            self._act()
            life = Life(self.program, in_loop=self.in_loop, thrown=self.thrown)
            before = self._done()
            Worker(self.client, life.child, first_pause=0.001).run(once=True)
            self._check_life(life, before)
        raise AssertionError("the children never came to their end")

    def _children(self) -> Iterator[dict[str, str]]:
        """The children that the records name, which no rewind took back."""
        self._look()
        for id, record in self._seen.items():
            if id not in self._left:
                yield from spawned(record)

    def _is_finished(self, child: dict[str, str]) -> bool:
        run = self.client.session(child["session"]).state().runs.get(child["run"])
        return run is not None and run.status == "finished"

    # --- what the world does -----------------------------------------------------------------------------------------

    def _sessions(self) -> list[str]:
        if not self.store.traits.lists:
            return [*self._left, self.session]
        return [summary.id for summary in self.client.sessions()]

    def _states(self) -> list[tuple[str, State]]:
        return [(id, self.client.session(id).state()) for id in self._sessions() if id not in self._left]

    def _take_turn(self) -> None:
        turn = next(self._turns)
        if turn is None:
            return
        kind, share = turn
        session = self.client.session(self.session)
        record = [event.type for event in session.events()]
        if "status" not in record:
            return  # the crash was before it began
        first = record.index("status") + 1
        at = first + round(share * (len(record) - first))
        if kind == "rewind":
            session.rewind(at)
        else:
            self._left.add(self.session)
            self.session = f"branch-{len(self._left)}"
            session.fork(self.session, at)
        self._look()

    def _act(self) -> None:
        """Everything that the sessions wait for comes, and now and then something more."""
        ahead = 0.0
        for id, state in self._states():
            session = self.client.session(id)
            for step in session.unresolved():
                _resolve(session, step)
            noise = next(self._noise)
            for question in session.questions():
                self._answer(session, question, noise)
            waits = [event.value for event in state.of_type("status")][-1:]
            if noise & SPOKEN or any("inbox" in value for value in waits):
                self._say(id)
            if any("until" in value for value in waits):
                ahead = PATIENT * 10
        self.clock.ahead += ahead

    def _say(self, id: str) -> None:
        self._said += 1
        self.client.session(id).append("message", {"role": "user", "text": f"{self._said}"})

    def _answer(self, session: Session, question: Any, noise: int) -> None:
        value = _answer_to(question)
        if value is ...:
            return
        if noise & INVALID and (question.schema or question.choices):
            refused(session, question.key, {"no": "such form"}, "invalid")
            answer_plain(self.store, session.id, question.key, {"no": "such form"}, key=f"{question.key}?")
        if noise & PLAIN:
            answer_plain(self.store, session.id, question.key, value, key=f"{question.key}!")
        else:
            session.answer(question, value, by="world")
        if noise & DOUBLE:
            refused(session, question.key, value, "double")

    # --- what must hold ----------------------------------------------------------------------------------------------

    def _done(self) -> dict[str, set[str]]:
        self._look()
        return {id: completed(record) for id, record in self._seen.items()}

    def _look(self) -> None:
        """History was only extended, and not at all where a fork was made."""
        with suppress(NotFound):
            for id in self._sessions():
                record, before = raw_events(self.client.session(id)), self._seen.get(id, [])
                assert record[: len(before)] == before, f"{id} is another than it was"
                if id in self._left and before:
                    assert record == before, f"{id} was written to"
                self._seen[id] = record

    def _check_life(self, life: Life, before: dict[str, set[str]]) -> None:
        after = self._done()
        for (session, label), count in life.made.items():
            assert label not in before.get(session, ()), f"{label} was done in {session}, and was done again"
            assert count == 1, f"{label} was done {count} times in one life"
        for session, label in life.returned:
            assert label in after[session], f"{label} returned in {session}, and is not in the record"

    def _check_result(self, result: Any) -> None:
        heard: list[str] = []
        assert same(result, result_of(self.program), heard), (result, result_of(self.program))
        assert len(set(heard)) == len(heard), "a message was read twice"
        for id, state in self._states():
            runs = [run for run in state.runs.values() if run.parent is None]
            if not runs:
                continue
            record = standing(self._seen[id])
            began = next(n for n, event in enumerate(record) if event["value"].get("run") == runs[-1].key)
            said = [event["value"]["text"] for event in record[began:] if event["type"] == "message"]
            mine = [text for text in heard if text in said]
            assert sorted(mine) == sorted(said[: len(mine)]), "a message was left out"

    def _check_replay(self, client: Client, result: Any) -> None:
        life = Life(self.program, in_loop=self.in_loop, thrown=self.thrown)
        if self.in_loop:
            report = asyncio.run(_replayed(client, self.session, life))
        else:
            report = client.session(self.session).replay(life.agent)
        assert report.identical, report
        assert report.result == result
        assert not life.made


async def _replayed(client: Client, session: str, life: Life) -> Any:
    return await client.to_async().session(session).replay(life.agent)


def _resolve(session: Session, step: Any) -> None:
    label = step.input["label"]
    if step.input.get("fails"):
        session.resolve(step.key, error=Broken())
    else:
        session.resolve(step.key, f"{label} paid {step.input['amount']}" if "amount" in step.input else f"{label} done")


def _answer_to(question: Any) -> Any:
    """The world's answer; an ellipsis where it has none."""
    if question.kind == "approval":
        label = question.arguments["label"]
        edited = {"approved": True, "arguments": {"amount": 7}}
        return {"yes": True, "no": False, "edit": edited}[label.rpartition(":")[2]]
    form, place = question.prompt.split()
    return ... if form == "expires" else answer_to(place, form)


def refused(session: Session, question: str, value: Any, reason: str) -> None:
    """An answer that does not count, and says why."""
    with pytest.raises(AnswerRefused) as caught:
        session.answer(question, value)
    assert caught.value.reason == reason


# --- readers ----------------------------------------------------------------------------------------------------------


def readers_agree(store: Any, id: str) -> None:
    """Whoever reads a session, from wherever, live or later, here or from a copy, reads the same."""
    session = Client(store).session(id)
    whole = list(session.events())
    folded = digest(session.state())
    assert folded == digest(asyncio.run(_state(store, id)))
    for event in whole[:: max(1, len(whole) // 8)]:
        assert _told(session.events(event.position)) == _told(whole[event.index + 1 :])
    followed = []
    for event in Client(store).session(id).follow():
        followed.append(event)
        if len(followed) == len(whole):
            break
    assert _told(followed) == _told(whole)
    with_copy(session, lambda copy: _same(digest(copy.session(id).state()), folded))


def with_copy(session: Session, look: Any) -> None:
    """A look at what an export brings into another store."""
    file = BytesIO()
    session.export(file)
    file.seek(0)
    other = EmbeddedBackend(None)
    try:
        copy = Client(other)
        copy.import_(file)
        look(copy)
    finally:
        other.close()


async def _state(store: Any, id: str) -> State:
    return await AsyncClient(store).session(id).state()


def _same(one: Any, other: Any) -> None:
    assert one == other


def _told(events: Any) -> list[Any]:
    return [(event.index, event.type, event.key, event.value) for event in events]


def digest(state: State) -> list[Any]:
    """What a session amounts to, comparable."""
    return [
        [(event.index, event.type, event.key, event.value, event.mark) for event in state.events],
        [(run.id, run.agent, run.status, run.arguments, run.result) for run in state.runs.values()],
        [(step.key, step.name, step.status, step.input, step.result, step.error) for step in state.steps],
        [
            (question.key, question.status, [(answer.value, answer.reason) for answer in question.answers])
            for question in state.questions.values()
        ],
        state.messages,
    ]
