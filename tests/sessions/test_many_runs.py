"""A conversation of many runs: as few ranges in the last one as in the first, and each element one step away."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorder_kit import Recorder

from agentstream import Client, adapters, agent
from agentstream.errors import NotFound
from agentstream.sessions import codec, packing
from agentstream.sessions.conversions import requests
from agentstream.sessions.items import Items, count_of, parse_range
from agentstream.sessions.packing import MOST

RUNS = 60


def message(of: object, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": f"{of} " + "word " * 30}


def sizes(recorder: Recorder, start: int) -> int:
    return sum(map(len, recorder.messages[start:]))


def ask(recorder: Recorder, key: object, said: list[Any]) -> Any:
    return recorder.write("step", f"r/0/{key}#1", {"input": {"messages": list(said)}}, "input")["messages"]


def named(recorder: Recorder) -> list[list[str]]:
    """The ranges of the `item` events that hold no element themselves."""
    values = [codec.loads(message)["value"] for message in recorder.messages]
    return [value["items"]["$items"] for value in values if isinstance(value.get("items"), dict)]


Grown = tuple[Recorder, list[int], list[tuple[Any, list[Any]]]]


@pytest.fixture(scope="module")
def grown() -> Grown:
    """A conversation of many runs; what each took, and what each asked."""
    recorder, said = Recorder(), [message("hello")]
    took: list[int] = []
    asked: list[tuple[Any, list[Any]]] = []
    for run in range(RUNS):
        start = len(recorder.messages)
        recorder.take_over()
        for role in ("user", "assistant"):
            said.append(message((run, role), role))
            asked.append((ask(recorder, f"{run}{role}", said), list(said)))
        took.append(sizes(recorder, start))
    return recorder, took, asked


def test_the_last_of_many_runs_takes_what_the_first_did(grown: Grown) -> None:
    recorder, took, asked = grown
    tenth = RUNS // 10
    assert sum(took[-tenth:]) <= 1.1 * sum(took[tenth : 2 * tenth])
    items = recorder.state().items
    for stored, said in asked:
        assert items.resolve(stored) == said
        assert len(stored["$items"]) <= MOST + 1
    assert named(recorder)


def test_every_name_is_one_step_from_its_element(grown: Grown) -> None:
    recorder, _, _ = grown
    held: set[tuple[Any, int]] = set()
    for event in recorder.state().events:
        if event.type == "item" and isinstance(event.value["items"], list):
            first = parse_range(event.key)[1]
            held |= {(event.claim, first + n) for n in range(len(event.value["items"]))}
    for ranges in named(recorder):
        for claim, first, last in map(parse_range, ranges):
            assert all((claim, number) in held for number in range(first, last + 1))


def test_two_conversations_in_one_run_stay_a_few_ranges() -> None:
    recorder = Recorder()
    talks: list[list[Any]] = [[message("hello")], [message("hi")]]
    took: list[int] = []
    stored: Any = None
    for turn in range(RUNS):
        start = len(recorder.messages)
        for n, said in enumerate(talks):
            said.append(message((turn, n)))
            stored = ask(recorder, f"{turn}{n}", said)
            assert len(stored["$items"]) <= MOST + 1
        took.append(sizes(recorder, start))
    assert recorder.read(stored) == talks[1]
    tenth = RUNS // 10
    assert sum(took[-tenth:]) <= 1.1 * sum(took[tenth : 2 * tenth])


def test_what_is_said_again_in_a_conversation_breaks_no_range() -> None:
    recorder = Recorder()
    said: list[Any] = []
    stored: Any = None
    for turn in range(RUNS):
        said += [message(turn), message("yes")]
        stored = ask(recorder, turn, said)
        assert len(stored["$items"]) <= MOST + 2
    assert recorder.read(stored) == said


def test_lists_like_no_other_get_no_names() -> None:
    recorder, drawn = Recorder(), random.Random(1)
    known = [message(n) for n in range(60)]
    for turn in range(20):
        drawn.shuffle(known)
        assert recorder.read(ask(recorder, turn, known)) == known
    assert not named(recorder)


acts = st.lists(
    st.one_of(
        st.tuples(st.just("says"), st.integers(0, 30)),
        st.tuples(st.just("cut"), st.integers(0, 20)),
        st.tuples(st.just("forgets"), st.integers(0, 20)),
        st.tuples(st.just("other"), st.integers(0, 2)),
        st.tuples(st.just("run"), st.just(0)),
    ),
    min_size=10,
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(acts)
def test_any_conversations_over_any_runs_come_back(sequence: list[tuple[str, int]]) -> None:
    """With names given all the time: from the cut at which each was asked, and from the end."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(packing, "MOST", 2)
        recorder, talks, at = Recorder(), [[message("begin"), message("and")] for _ in range(3)], 0
        asked: list[tuple[int, Any, list[Any]]] = []
        for number, (act, n) in enumerate(sequence):
            said = talks[at]
            if act == "run":
                recorder.take_over()
            elif act == "other":
                at = n
            elif act == "cut":
                del said[2 + n :]
            elif act == "forgets":
                del said[1 : 1 + min(n, len(said) - 2)]
            else:
                said.append(message(n))
            stored = ask(recorder, number, said)
            asked.append((len(recorder.messages), stored, list(said)))
        items = recorder.state().items
        for cut, stored, said in asked:
            assert recorder.read(stored, cut) == said
            assert codec.dumps(items.resolve(stored)) == codec.dumps(said)


# --- what a model answered --------------------------------------------------------------------------------------------


def test_an_answer_that_is_asked_with_again_stands_in_its_outcome() -> None:
    """Its long text in the `message`, the rest of it in the outcome, and in the next request that it is there."""
    recorder = Recorder()
    text = "an answer of some length " * 20
    answer = {"id": "msg_1" + "0" * 40, "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    recorder.write("message", "m", {"role": "assistant", "parts": [{"type": "text", "text": text}]})
    kept = recorder.write("outcome", "r/0/0#1", {"result": {"output": [answer]}}, "result")
    assert text not in str(kept)
    for _ in range(2):
        stored = ask(recorder, "1", [message("go on"), answer])
        item = codec.loads(recorder.messages[-2])["value"]["items"]
        assert item[-1] == {"$same": ["1", "outcome", "r/0/0#1", "/result/output/0"]}
        assert recorder.read(stored) == [message("go on"), answer]
        recorder = _after(recorder, 3)


def _after(recorder: Recorder, size: int) -> Recorder:
    """Another worker, after the first events of the log."""
    other = Recorder()
    other.messages = recorder.messages[:size]
    other.packer.claim = 1
    other.take_over()
    return other


# --- what somebody made up --------------------------------------------------------------------------------------------


def test_a_name_of_a_name_leads_nowhere() -> None:
    items = Items()
    items.add("1.0", ["a", "b"])
    items.add("2.0", {"$items": ["1.0-1"]})
    items.add("3.0", {"$items": ["2.0-1"]})
    assert items.resolve({"$items": ["2.1", "1.0"]}) == ["b", "a"]
    with pytest.raises(NotFound, match=r"item 3\.0 \(of 3\.0\) is not in this session"):
        items.resolve({"$items": ["3.0"]})


@pytest.mark.parametrize("ranges", [["1.0-999999999999999"], ["2.0-1"], ["9.9"], []])
def test_names_of_what_is_not_there_end(ranges: list[str]) -> None:
    items = Items()
    items.add("1.0", ["a"])
    items.add("2.0", {"$items": ranges})
    with pytest.raises(NotFound, match="is not in this session"):
        items.resolve({"$items": ["2.0-1"]})


@pytest.mark.parametrize("items", [{"$items": ["1.0-999999999999999999"]}, {"$items": "1.0"}, {"$items": ["x"]}, {}, 3])
def test_what_holds_no_items(items: Any) -> None:
    assert count_of(items) is None
    recorder = Recorder()
    recorder.append("item", "1.0", {"items": items}, claim=1)
    recorder.take_over()
    assert recorder.read(ask(recorder, 0, [message(0), message(1)])) == [message(0), message(1)]


# --- in runs ----------------------------------------------------------------------------------------------------------


def test_forks_copies_and_new_lives_of_many_runs(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """With names given often: each fork reads what it shares, and so does a session that was compacted."""
    monkeypatch.setattr(packing, "MOST", 3)

    def model(messages: list[Any]) -> dict[str, Any]:
        call = adapters.open_step("model", "m", {"messages": messages})
        if call.served is not None:
            return call.served.value()
        answer = message(("answer", len(messages)), "assistant")
        call.emit("message", {"role": "assistant", "parts": [{"type": "text", "text": answer["content"]}]})
        return call.finish(answer)

    @agent
    def turn(said: list[Any], question: str) -> list[Any]:
        asked = [*said, message(question)]
        return [*asked, model(asked)]

    session = client.session("s")
    said: list[Any] = []
    ends: list[tuple[int, int]] = []
    for n in range(14):
        said = session.run(turn, said, str(n))
        ends.append((session.state().index, len(said)))
    events = list(session.events())
    assert any(event.type == "item" and isinstance(event.value["items"], dict) for event in events)
    assert [step.input["messages"] for step in session.state().steps] == [said[: 2 * n + 1] for n in range(14)]
    read: list[Any] = []
    original = requests.read_element
    monkeypatch.setattr(requests, "read_element", lambda *given: read.append(given) or original(*given))
    told = session.state().messages.as_openai_chat()
    assert len(read) <= len(said), "an element is known by whichever of its ids"
    assert [each["content"] for each in told] == [each["content"] for each in said], "each message once"
    for at, size in ends[::4]:
        fork = session.fork(f"f{at}", at=at)
        more = fork.run(turn, said[:size], "on")
        assert more[:size] == said[:size]
        assert fork.state().steps[-1].input["messages"] == more[:-1]
        assert fork.replay(turn).identical
    copy = session.fork("copy", copy=True)
    assert copy.state().steps[-1].input["messages"] == said[:-1]
    session.compact()
    assert session.run(turn, said, "after")[:-2] == said
