"""Values over the limit: kept in blobs, and nobody who asks for them sees a difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from agents_kit import Way
from crashing import CrashingBackend
from hypothesis import given, settings
from hypothesis import strategies as st
from large_kit import OVER, is_whole, refs_of_session, replace_blob

from agentstream import AgentStreamError, BlobLost, Client, StoreError, step
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.sessions import codec, large, packing
from agentstream.sessions.blobs import Blobs
from agentstream.sessions.references import BYTES, ENCODINGS, JSON, TEXT

TEXT_VALUE = "ü" * OVER
BYTES_VALUE = bytes(range(256)) * 2048
MESSAGE = '{"role":"user","content":"' + "x" * 900 + '"},'
MANY = {str(number): number for number in range(40_000)}
VALUES: list[tuple[Any, str]] = [(TEXT_VALUE, TEXT), (BYTES_VALUE, BYTES), (MANY, JSON)]


@step
def give(number: int) -> Any:
    return {"said": VALUES[number][0], "number": number}


@step
def take(value: Any) -> int:
    return len(value)


def going_through(way: Way, calls: list[str]) -> Any:
    """An agent that passes large values on, and counts what it really calls."""

    @step
    def made(number: int) -> Any:
        calls.append(f"made {number}")
        return VALUES[number][0]

    @step
    def taken(value: Any) -> int:
        calls.append("taken")
        return len(value)

    @step
    def last() -> None:
        calls.append("last")
        if calls.count("last") == 1:
            raise RuntimeError("not yet")

    give_one, take_one, end = way.of(made), way.of(taken), way.of(last)
    if way.is_async:
        give_one, take_one, end = step(give_one), step(take_one), step(end)

    def body(argument: Any) -> Any:
        total = len(argument)
        for number in range(len(VALUES)):
            value = yield lambda number=number: give_one(number)
            assert value == VALUES[number][0]
            total += yield lambda value=value: take_one(value)
        yield lambda: end()
        return {"argument": argument, "total": total}

    return way.agent(body)


def test_a_run_that_passes_large_values_on_is_resumed_and_replayed(backend: Any, way: Way):
    calls: list[str] = []
    agent = going_through(way, calls)
    with pytest.raises(RuntimeError, match="not yet"):
        way.run(backend, agent, TEXT_VALUE)
    result = way.run(backend, agent, TEXT_VALUE)
    assert result["argument"] == TEXT_VALUE
    assert calls.count("taken") == len(VALUES), "what is recorded is served, large or not"
    report = way.replay(backend, agent)
    assert report.identical, str(report)
    assert report.result == result
    session = Client(backend).session("s")
    assert max(len(event.raw) for event in session.events()) < 2000
    state = session.state()
    assert [each.result for each in state.steps if each.name.endswith("made")] == [value for value, _ in VALUES]
    assert state.run is not None
    assert (state.run.arguments["argument"], state.run.result) == (TEXT_VALUE, result)


@pytest.mark.parametrize(("value", "encoding"), VALUES, ids=[encoding for _, encoding in VALUES])
def test_each_kind_is_referred_to_with_what_it_is(backend: Any, value: Any, encoding: str):
    Client(backend).session("s").append("note", {"kept": value})
    (ref,) = refs_of_session(backend)
    assert (ref.encoding, ref.type) == (encoding, ENCODINGS[encoding])
    assert is_whole(backend, ref)
    assert next(e.value for e in Client(backend).session("s").events() if e.type == "note") == {"kept": value}


def test_what_is_not_over_the_limit_stays_where_it_is(backend: Any):
    session = Client(backend).session("s")
    session.append("note", "x" * (large.LIMIT - 2))  # two quotes are written too
    assert refs_of_session(backend) == []
    session.append("note", "x" * (large.LIMIT - 1))
    assert len(refs_of_session(backend)) == 1


def test_messages_and_tool_calls_too(backend: Any, way: Way):
    from agentstream import emit

    def body() -> Any:
        emit("message", {"role": "assistant", "parts": [{"type": "text", "text": TEXT_VALUE}]})
        emit("tool_call", {"id": "1", "name": "f", "arguments": {"text": TEXT_VALUE}})
        yield step(name="done")(way.of(lambda: None))

    Client(backend).session("s").append("message", {"role": "user", "parts": [{"type": "text", "text": TEXT_VALUE}]})
    way.run(backend, way.agent(body))
    state = Client(backend).session("s").state()
    assert [message["parts"][0]["text"] for message in state.messages] == [TEXT_VALUE] * 2
    assert state.tool_calls[0]["arguments"] == {"text": TEXT_VALUE}
    assert len({ref.sha256 for ref in refs_of_session(backend)}) == 1


def test_sessions_and_forks_share_one_blob(tmp_path: Path):
    from large_kit import blob_streams

    with Client(tmp_path) as client:
        first, second = client.session("a"), client.session("b")
        first.append("note", TEXT_VALUE)
        second.append("note", TEXT_VALUE)
        fork = first.fork("a2")
        first.delete()
        assert [event.value for event in fork.events() if event.type == "note"] == [TEXT_VALUE]
        assert len(blob_streams(tmp_path)) == 1


def test_an_outcome_given_by_a_person_may_be_large(backend: Any):
    client = Client(backend)

    def agent() -> Any:
        return give(0)

    client.session("s").run(agent)
    (recorded,) = client.session("s").state().steps
    fork = client.session("s").fork("f", replace={recorded.key: BYTES_VALUE})
    assert fork.state().steps[0].result == BYTES_VALUE
    assert fork.run(agent) == BYTES_VALUE
    assert max(len(event.raw) for event in fork.events()) < 2000

    @step(effect="once")
    def act() -> str:
        raise KeyboardInterrupt

    def acting() -> Any:
        return act()

    with pytest.raises(KeyboardInterrupt):
        client.session("u").run(acting)
    (unknown,) = client.session("u").unresolved()
    client.session("u").resolve(unknown, TEXT_VALUE)
    assert client.session("u").run(acting) == TEXT_VALUE
    assert max(len(event.raw) for event in client.session("u").events()) < 2000


def test_identity_does_not_depend_on_where_a_value_is_kept(backend: Any, monkeypatch: pytest.MonkeyPatch):
    """A session that was recorded when everything stood in its events goes on."""
    calls: list[int] = []

    @step
    def shout(text: str) -> str:
        calls.append(len(text))
        return text.upper()

    def agent(text: str, fails: list[bool]) -> int:
        loud = shout(text)
        if calls and not refs_of_session(backend):
            raise RuntimeError("stop here")
        return len(loud)

    with monkeypatch.context() as patch:
        patch.setattr(large, "LIMIT", 1 << 30)
        with pytest.raises(RuntimeError, match="stop here"):
            Client(backend).session("s").run(agent, "a" * OVER, [])
    assert refs_of_session(backend) == []
    with pytest.raises(RuntimeError, match="stop here"):
        Client(backend).session("s").run(agent, "a" * OVER, [])
    assert calls == [OVER], "the step was served: the same call has the same identity"


def test_a_conversation_with_large_elements_stays_linear(backend: Any):
    @step(kind="model", name="ask")
    def ask(messages: list[dict[str, Any]]) -> str:
        return f"answer {len(messages)}"

    image = {"role": "user", "content": [{"type": "image", "data": "A" * (OVER + 1000)}]}
    rows = {"role": "tool", "rows": [[number, str(number)] for number in range(20_000)]}

    def agent() -> int:
        messages: list[dict[str, Any]] = [image, rows]
        for turn in range(8):
            answer = ask(messages)
            messages += [{"role": "assistant", "content": answer}, {"role": "user", "content": f"and {turn}?"}]
        return len(messages)

    client = Client(backend)
    client.session("s").run(agent)
    assert sum(len(event.raw) for event in client.session("s").events()) < 40_000
    assert len({ref.sha256 for ref in refs_of_session(backend)}) == 2
    assert client.session("s").state().steps[-1].input["messages"][:2] == [image, rows]
    assert client.session("s").replay(agent).identical


def test_a_list_that_begins_long_is_kept_in_events_of_a_bounded_size(backend: Any):
    messages = [{"role": "user", "content": f"{number} " * 400} for number in range(600)]

    def agent() -> int:
        return take(messages)

    client = Client(backend)
    client.session("s").run(agent)
    events = list(client.session("s").events())
    assert max(len(event.raw) for event in events) < packing.LARGEST_BLOCK + 10_000
    assert sum(len(event.raw) for event in events) > 900_000
    assert client.session("s").state().steps[0].input == {"value": messages}


# --- what is lost ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["gone", "other", "half", "open"])
def test_lost_content_is_an_error_that_names_the_event_and_only_when_it_is_asked_for(
    backend: Any, way: Way, damage: str
):
    calls: list[str] = []
    agent = going_through(way, calls)
    with pytest.raises(RuntimeError, match="not yet"):
        way.run(backend, agent, "small")
    session = Client(backend).session("s")
    outcome = next(e for e in session.events() if e.type == "outcome" and b'"text"' in e.raw and b"$blob" in e.raw)
    digest = next(ref.sha256 for ref in refs_of_session(backend) if ref.encoding == TEXT)
    content = TEXT_VALUE.encode()
    damaged = {"gone": None, "other": content[::-1], "half": content[: OVER // 2], "open": content}[damage]
    replace_blob(backend, digest, damaged, closed=damage != "open")

    state = session.state()  # nothing is asked for yet
    assert (state.status, len(state.steps)) == ("failed", 7)
    first = state.steps[0]
    assert first.name.endswith("made")
    for ask in (lambda: first.result, lambda: way.run(backend, agent, "small"), lambda: way.replay(backend, agent)):
        with pytest.raises(BlobLost) as caught:
            ask()
        assert isinstance(caught.value, StoreError)
        assert (caught.value.session, caught.value.index, caught.value.sha256) == ("s", outcome.index, digest)
        assert "session 's'" in str(caught.value)
    assert state.steps[2].result == BYTES_VALUE, "the rest is as it was"
    replace_blob(backend, digest, content)
    assert way.run(backend, agent, "small")["argument"] == "small"


def test_code_cannot_swallow_lost_content(backend: Any):
    def agent(again: bool) -> str:
        try:
            give(0)
        except Exception:
            return "swallowed"
        raise RuntimeError("first")

    client = Client(backend)
    with pytest.raises(RuntimeError, match="first"):
        client.session("s").run(agent, True)
    replace_blob(backend, refs_of_session(backend)[0].sha256, None)
    with pytest.raises(BlobLost):
        Client(backend).session("s").run(agent, True)
    assert Client(backend).session("s").state().status != "finished"
    with pytest.raises(BlobLost):
        Client(backend).session("s").replay(agent)


# --- crashes ---------------------------------------------------------------------------------------------------------


def test_crashed_after_each_append_no_event_refers_to_what_is_not_there(tmp_path: Path, way: Way):
    """Durable before referred to, at every cut; and the run goes on to its end."""
    big = ["a" * (3 << 20), "b" * OVER]

    def body() -> Any:
        sizes: list[int] = []
        for text in big:
            made = step(name="make")(way.of(lambda text=text: text))
            sizes.append(len((yield made)))
        return sizes

    agent = way.agent(body)
    for after in range(200):
        inner = EmbeddedBackend(None)
        crashing = CrashingBackend(inner, after=after)
        try:
            way.run(crashing, agent)
        except AgentStreamError:
            crashing.let_go()
        found = Client(inner).session("s").state() if crashing.appends else None
        assert all(is_whole(inner, ref) for ref in (refs_of_session(inner) if found is not None else []))
        assert way.run(inner, agent, options={"run_id": None}) == [3 << 20, OVER]
        finished = not crashing.dead
        inner.close()
        if finished:
            break
    else:
        raise AssertionError("it never came to its end")
    assert after > 6


@pytest.mark.parametrize("size", range(-2, 3))
def test_a_conversation_is_never_kept_as_a_whole(size: int) -> None:
    """Its list is written as ranges, also where it is most of a value that is just over the limit."""
    said = [{"role": "user", "content": "x" * 900} for _ in range((large.LIMIT + size * 100) // len(MESSAGE))]
    for body in ({"model": "m" * 500, "messages": said}, {"body": {"messages": said, "model": "m" * 500}}):
        value = {"input": body}
        assert large.taken_out("step", value) == (value, [])
    assert large.taken_out("outcome", {"result": {"text": "x" * large.LIMIT}})[1]


# --- the form --------------------------------------------------------------------------------------------------------

leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=60), st.binary(max_size=60))
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner, max_size=6), st.dictionaries(st.text(max_size=5), inner, max_size=5)),
    max_leaves=25,
)


@settings(max_examples=150, deadline=None)
@given(value=values, kind=st.sampled_from(["run", "step", "outcome", "message", "custom", "note"]))
def test_taken_out_and_put_back_is_the_same(value: Any, kind: str):
    field = large.FIELDS.get(kind, "part" if kind == "message" else "data")
    data = codec.encode(value).data
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large, "LIMIT", 40)
        out, found = large.taken_out(kind, {field: data})
        backend = EmbeddedBackend(None)
        blobs = Blobs(backend)
        from agentstream.backends.driving import drive

        for each in found:
            drive(each.keep(blobs), backend)
        back = large._put_back(out, blobs)  # pyright: ignore[reportPrivateUsage]
        assert codec.canonical(back) == codec.canonical({field: data})
        if kind not in large.FIELDS and kind != "message":
            assert len(codec.dumps(out[field])) < 60 or found
        backend.close()
