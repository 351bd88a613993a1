"""Forks: of every kind, on every store; what they share, what they refuse, whose they are."""

from __future__ import annotations

from typing import Any

import pytest
from hostile import HostileBackend
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import NAMES, STORES, raw_events

from agentstream import AgentStreamError, Client, NotFound, SessionExists, StoreError, agent, step
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.operations import Append, Create, Delete


@step
def double(number: int) -> int:
    return number * 2


@step
def fail(text: str) -> str:
    raise ValueError(text)


@agent
def adder(count: int) -> int:
    return sum(double(number) for number in range(count))


def noted(client: Client, id: str, count: int) -> Any:
    session = client.session(id)
    for n in range(count):
        session.append("note", n)
    return session


def test_a_fork_has_the_sources_events_and_leaves_them_alone(client: Client) -> None:
    source = noted(client, "s", 5)
    before = raw_events(source)
    for at in (0, 1, 3, 6, None):
        fork = source.fork(f"f{at}", at=at)
        count = 6 if at is None else at
        fork.append("note", "mine")
        assert raw_events(fork)[:count] == before[:count]
        events = list(fork.events())
        assert [event.index for event in events] == list(range(count + 2))
        assert [event.type for event in events[count:]] == ["session", "note"]
        lineage = fork.state().lineage
        assert lineage is not None
        assert (lineage.source, lineage.incarnation, lineage.count) == ("s", source.state().incarnation, count)
        assert fork.state().incarnation not in ("", source.state().incarnation)
    assert raw_events(source) == before
    assert source.state().lineage is None


@settings(max_examples=25)
@given(data=st.data(), store=st.sampled_from(NAMES[1:]))
def test_random_trees_of_forks_are_what_lists_are(data: st.DataObject, store: str) -> None:
    """Forks of forks of each kind, appends and deletions, against lists of notes in memory."""
    with Client(STORES[store](None)) as client:  # type: ignore[arg-type]
        grow_a_tree(client, data, native=store == "memory")


def grow_a_tree(client: Client, data: st.DataObject, *, native: bool) -> None:
    backend = client._core.backend
    noted(client, "0", 0).append("note", 0)
    model: dict[str, list[Any]] = {"0": [None, 0]}
    sources: dict[str, str] = {}
    for number in range(1, data.draw(st.integers(2, 9))):
        id = data.draw(st.sampled_from(sorted(model)))
        match data.draw(st.sampled_from(["fork", "fork", "copy", "append", "append", "delete"])):
            case "append":
                client.session(id).append("note", number)
                model[id].append(number)
            case "delete" if len(model) > 1 and (native or id not in sources.values()):
                client.session(id).delete()
                del model[id]
                sources.pop(id, None)
            case "fork" | "copy" as kind:
                cut = data.draw(st.integers(0, len(model[id])))
                at: Any = cut
                if cut and data.draw(st.booleans()):
                    event = list(client.session(id).events())[cut - 1]
                    at = data.draw(st.sampled_from([event, event.position]))
                # a client of its own has read nothing yet
                Client(backend).session(id).fork(str(number), at=at, copy=kind == "copy")
                model[str(number)] = [*model[id][:cut], None]
                if kind == "fork":
                    sources[str(number)] = id
            case _:
                pass
    for id, notes in model.items():
        for reader in (client, Client(backend)):
            events = list(reader.session(id).events())
            assert [None if event.type == "session" else event.value for event in events] == notes
            assert all(event.mark is None for event in events)
    backend.close()


def test_servers_fork_natively_where_they_can() -> None:
    backend = HostileBackend()
    source = noted(Client(backend), "s", 4)
    source.fork("f")
    source.delete()
    assert [event.value for event in Client(backend).session("f").events() if event.type == "note"] == [0, 1, 2, 3]


def test_a_stitched_fork_says_when_its_source_is_gone() -> None:
    client = Client(HostileBackend(forks="ignored"))
    source = noted(client, "s", 4)
    fork = source.fork("f", at=3)
    copy = source.fork("c", at=3, copy=True)
    client._core.backend.execute(Delete("s"))  # by other means than ours
    client._core.forget("s")
    noted(client, "s", 9)
    with pytest.raises(StoreError, match=r"stitched fork of 's'.*which is gone.*copy=True"):
        fork.events()
    assert [event.value for event in copy.events() if event.type == "note"] == [0, 1]


def test_a_session_that_a_stitched_fork_reads_from_is_not_deleted() -> None:
    """The server cannot know that the fork needs it."""
    client = Client(HostileBackend(forks="ignored"))
    source = noted(client, "s", 4)
    first, second = source.fork("f", at=3), source.fork("g", at=2)
    source.fork("empty", at=0)
    source.fork("c", at=3, copy=True)
    grandchild = first.fork("h", at=2)
    with pytest.raises(AgentStreamError, match=r"'s' has forks .*: f, g\. Delete those first"):
        source.delete()
    with pytest.raises(AgentStreamError, match=r"'f' has forks .*: h\."):
        first.delete()
    assert len(list(grandchild.events())) == 3
    for session in (grandchild, first, second, source):
        session.delete()
    noted(client, "s", 1).delete()  # of another life they are none


def test_a_stitched_fork_of_a_life_that_was_left_for_another_is_still_read() -> None:
    """The id points at another life now, and the one that was forked is kept where it was."""
    backend = HostileBackend(forks="ignored")
    for life in "ab":
        event = b'{"type":"session","key":"%s","value":{"incarnation":"%s"},"headers":{"operation":"insert"}}'
        backend.execute(Create(f"~s/{life}", (event.replace(b"%s", life.encode()),)))
    pointer = b'{"type":"session","key":"p","value":{"path":"~s/a"},"headers":{"operation":"insert"}}'
    backend.execute(Create("~at/s", (pointer,)))
    fork = noted(Client(backend), "s", 2).fork("f")
    backend.execute(Append("~at/s", (pointer.replace(b'~s/a"', b'~s/b","replaces":"~s/a"'),)))
    assert Client(backend).session("s").state().incarnation == "b"
    assert [event.value for event in fork.events() if event.type == "note"] == [0, 1]


def test_a_chain_of_stitched_forks_ends_before_it_cannot_be_read() -> None:
    client = Client(HostileBackend(forks="ignored"))
    noted(client, "0", 1)
    for number in range(63):
        client.session(str(number)).fork(str(number + 1))
    with pytest.raises(StoreError, match="64 stitched forks deep"):
        client.session("63").fork("64")
    assert len(list(client.session("63").events())) == 2 + 63


def test_a_fork_in_a_circle_is_an_error_and_no_recursion() -> None:
    backend = HostileBackend()
    for id, other in (("a", "b"), ("b", "a")):
        lineage = f'{{"source":"{other}","incarnation":"x","path":"{other}","count":1}}'
        value = f'{{"incarnation":"i{id}","lineage":{lineage}}}'
        event = f'{{"type":"session","key":"i{id}","value":{value},"headers":{{"operation":"insert"}}}}'
        backend.execute(Create(id, (event.encode(),)))
    with pytest.raises(StoreError, match="circle"):
        Client(backend).session("a").events()


def test_fork_needs_a_source_and_a_free_id(client: Client) -> None:
    with pytest.raises(NotFound, match="there is no session 'nothing'"):
        client.session("nothing").fork("f")
    source = noted(client, "s", 1)
    with pytest.raises(SessionExists, match="'s' is already there"):
        source.fork("s")
    for bad in ("", "~x", "a//b", "a\n"):
        with pytest.raises(ValueError, match="cannot be a session id"):
            source.fork(bad)


class Deletes(HostileBackend):
    """The source is deleted while it is forked."""

    deleted = False

    def execute(self, operation: Any) -> Any:
        if isinstance(operation, Create) and operation.path == "f" and not self.deleted:
            self.deleted = True
            super().execute(Delete("s"))
        return super().execute(operation)


def test_a_source_that_is_deleted_while_it_is_forked_is_not_found() -> None:
    backend = Deletes()
    source = noted(Client(backend), "s", 2)
    with pytest.raises(NotFound, match="'s'"):
        source.fork("f")
    with pytest.raises(NotFound):
        Client(backend).session("f").events()


class Meddler(HostileBackend):
    """Somebody else makes the session a moment before each `Create` on its path."""

    meddling = True

    def _create(self, operation: Create) -> Any:
        if self.meddling and operation.path == "f":
            self.meddling = False
            event = b'{"type":"session","key":"other","value":{"incarnation":"other"},"headers":{"operation":"insert"}}'
            # with the same configuration, so that the server answers 200 and not 409
            super()._create(Create("f", (event,), fork=operation.fork) if self.same else Create("f", (event,)))
        return super()._create(operation)

    same = True


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize("forks", ["native", "ignored"])
def test_of_two_that_fork_to_one_id_one_is_told(same: bool, copy: bool, forks: Any) -> None:
    backend = Meddler(forks=forks)
    backend.same = same
    source = noted(Client(backend), "s", 2)
    with pytest.raises(SessionExists):
        source.fork("f", copy=copy)
    assert [event.key for event in Client(backend).session("f").events()][-1] == "other"


def test_two_forks_to_one_id_on_the_embedded_store() -> None:
    backend = EmbeddedBackend(None)
    source = noted(Client(backend), "s", 2)
    source.fork("f")
    for copy in (False, True):
        with pytest.raises(SessionExists):
            source.fork("f", copy=copy)


def test_lost_replies_make_one_fork() -> None:
    for forks in ("native", "ignored", "empty"):
        for copy in (False, True):
            seen: set[int] = set()

            def first_time(operation: Any, seen: set[int] = seen) -> bool:
                lost = isinstance(operation, (Create, Delete)) and id(operation) not in seen
                seen.add(id(operation))
                return lost

            backend = HostileBackend(forks=forks)  # type: ignore[arg-type]
            source = noted(Client(backend), "s", 3)
            backend.drop_replies = first_time
            fork = source.fork("f", copy=copy)
            assert [event.type for event in fork.events()] == ["session", "note", "note", "note", "session"]


# --- other outcomes ---------------------------------------------------------------------------------------------------


def test_another_outcome_is_served_to_the_branch(client: Client) -> None:
    session = client.session("s")
    assert session.run(adder, 4) == 12
    steps = session.state().steps
    before = raw_events(session)
    for named in (steps[1].key, steps[1].key.partition("#")[0], steps[1], steps[1].outcome, steps[1].last.start):
        fork = session.fork("f", replace={named: 100})
        assert fork.state().steps[1].result == 100
        assert fork.state().steps[1].attempt == 2
        assert fork.run(adder, 4) == 12 - 2 + 100
        fork.delete()
    assert raw_events(session) == before


def test_the_cut_is_before_the_earliest_of_the_replaced(client: Client) -> None:
    session = client.session("s")
    session.run(adder, 4)
    steps = session.state().steps
    outcome = steps[1].outcome
    assert outcome is not None
    fork = session.fork("f", replace={steps[3].key: 7, steps[1].key: 5})
    lineage = fork.state().lineage
    assert lineage is not None
    assert lineage.count == outcome.index
    assert set(lineage.replaced) == {step.key.replace("#1", "#2") for step in (steps[1], steps[3])}
    early = session.fork("g", at=4, replace={steps[3].key: 7})
    assert early.state().inherited == 4
    assert early.run(adder, 4) == 0 + 2 + 4 + 7


def test_an_exception_in_place_of_an_outcome_is_raised_as_its_class(client: Client) -> None:
    @agent
    def careful(count: int) -> str:
        try:
            return str(double(count))
        except ValueError as error:
            double(count + 1)
            return f"caught {error}"

    session = client.session("s")
    session.run(careful, 3)
    fork = session.fork("f", replace={session.state().steps[0].key: ValueError("no")})
    assert fork.state().steps[0].error == {"name": "ValueError", "text": "no", "module": "builtins"}
    assert fork.state().steps[0].status == "failed"


def test_what_cannot_be_replaced(client: Client) -> None:
    @agent
    def failing() -> None:
        fail("x")

    session = client.session("s")
    session.run(adder, 2)
    steps = session.state().steps
    for named, error in (
        ("nothing", ValueError),
        ("a/0/7", NotFound),
        (steps[0].key.replace("#1", "#9"), ValueError),
        (next(iter(session.events())), ValueError),
        (5, ValueError),
    ):
        with pytest.raises(error):
            session.fork("f", replace={named: 1})
    with pytest.raises(ValueError, match="leave at= out"):
        session.fork("f", at=steps[1].outcome, replace={steps[0].key: 1})
    with pytest.raises(ValueError, match="twice"):
        session.fork("f", replace={steps[0].key: 1, steps[0].outcome: 2})
    other = client.session("t")
    other.run(adder, 2)
    with pytest.raises(ValueError, match="is not in the history"):
        session.fork("f", at=list(other.events())[1], replace={steps[0].key: 1})
    with pytest.raises(NotFound):
        client.session("f").events()


def test_a_replaced_step_keeps_its_input_though_the_cut_is_before_the_items(client: Client) -> None:
    texts = [f"{n} " + "long enough to be stored once " * 4 for n in range(6)]

    @step
    def count(texts: list[str]) -> int:
        return len(texts)

    @agent
    def counter() -> int:
        return count(texts)

    session = client.session("s")
    session.run(counter)
    assert any(event.type == "item" for event in session.events())
    fork = session.fork("f", at=4, replace={session.state().steps[0].key: 60})
    assert fork.state().steps[0].input == session.state().steps[0].input
    assert fork.run(counter) == 60


def test_nobody_else_can_say_outcomes_in_a_fork(client: Client) -> None:
    session = client.session("s")
    session.run(adder, 2)
    key = session.state().steps[0].key
    fork = session.fork("f", replace={key: 1})
    forged = b'{"type":"outcome","key":"%s","value":{"result":9},"headers":{"operation":"insert"}}'
    backend = fork._core.backend
    backend.execute(Append("f", (forged % key.replace("#1", "#2").encode(), forged % key.replace("#1", "#3").encode())))
    assert [event.mark for event in fork.events()][-2:] == ["duplicate", "fenced"]
    assert fork.state().steps[0].result == 1


def test_claims_go_on_from_the_highest_that_is_shared(client: Client) -> None:
    session = client.session("s")
    for _ in range(3):
        session.run(adder, 1)
    fork = session.fork("f")
    copied = session.fork("c", copy=True)
    shorter = session.fork("g", at=next(e.index + 1 for e in session.events() if e.claim == 2))
    for branch, highest in ((fork, 3), (copied, 3), (shorter, 2)):
        assert branch.state().claim is None
        assert branch.state().highest_claim == highest
        branch.rewind(at=1)
        assert branch.state().highest_claim == highest + 1
    assert session.state().highest_claim == 3


def test_what_an_inherited_worker_writes_in_a_fork_does_not_count(client: Client) -> None:
    session = client.session("s")
    session.run(adder, 1)
    fork = session.fork("f")
    late = b'{"type":"message","key":"m","value":{"claim":1,"role":"assistant"},"headers":{"operation":"insert"}}'
    fork._core.backend.execute(Append("f", (late,)))
    assert list(fork.events())[-1].mark == "fenced"


def test_a_fork_of_a_sealed_session_is_open(client: Client) -> None:
    session = noted(client, "s", 2)
    session.seal()
    fork = session.fork("f")
    fork.append("note", 2)
    assert [event.type for event in fork.events()][3:] == ["claim", "session", "note"]
    with pytest.raises(AgentStreamError, match="sealed"):
        session.append("note", 3)
