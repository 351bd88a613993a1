"""What is said again is stored once: always the same value back, from any cut of the log and after any worker."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorder_kit import Recorder

from agentstream import Client, agent, step
from agentstream.errors import NotFound
from agentstream.sessions import codec
from agentstream.sessions.events import Event
from agentstream.sessions.items import Items
from agentstream.sessions.repeats import SHORTEST, Sources

ANSWER = "The order was sent on Monday, and will be with you by Thursday at the latest; " + "thank you. " * 8
PROMPT = "You are the support desk of a shop that sells bicycles, and you answer in one sentence. " * 6
SCHEMA = {"type": "object", "properties": {f"field {n}": {"type": "string", "title": "t" * n} for n in range(9)}}


def message(text: str) -> dict[str, Any]:
    return {"role": "assistant", "parts": [{"type": "text", "text": text}]}


def place(*parts: str) -> dict[str, Any]:
    return {"$same": [*parts]}


# --- what is stored ---------------------------------------------------------------------------------------------------


def test_an_answer_that_is_sent_back_refers_to_its_message() -> None:
    recorder = Recorder()
    recorder.write("message", "m/1", message(ANSWER))
    asked = [{"role": "user", "content": "hello " * 40}, {"role": "assistant", "content": ANSWER}]
    stored = recorder.write("step", "r/0/0#1", {"input": asked}, "input")
    assert stored == {"$items": ["1.0-1"]}
    item = codec.loads(recorder.messages[-2])["value"]["items"][1]
    assert item == {"role": "assistant", "content": place("1", "message", "m/1", "/parts/0/text")}
    assert recorder.read(stored) == asked


def test_a_prompt_and_a_schema_are_stored_once() -> None:
    recorder = Recorder()
    asked = [{"instructions": PROMPT, "format": {"schema": SCHEMA}, "n": n} for n in range(3)]
    stored = [recorder.write("step", f"r/0/{n}#1", {"input": asked[n]}, "input") for n in range(3)]
    assert stored[0] == asked[0]
    for n in (1, 2):
        assert stored[n] == {
            "instructions": place("1", "step", "r/0/0#1", "/input/instructions"),
            "format": place("1", "step", "r/0/0#1", "/input/format"),
            "n": n,
        }
    assert [recorder.read(data) for data in stored] == asked


def test_an_input_that_is_asked_again_is_one_reference() -> None:
    recorder = Recorder()
    first, second = (recorder.write("step", f"r/0/0#{n}", {"input": {"q": PROMPT}}, "input") for n in (1, 2))
    assert second == place("1", "step", "r/0/0#1", "/input")
    assert recorder.read(second) == first


def test_what_is_referred_to_is_never_a_reference() -> None:
    recorder = Recorder()
    recorder.write("message", "m", message(ANSWER))
    for n in range(4):
        stored = recorder.write("outcome", f"r/0/{n}#1", {"result": {"of": ANSWER}}, "result")
        assert stored == {"of": place("1", "message", "m", "/parts/0/text")}


@pytest.mark.parametrize("key", ["a/b", "a~b", "~1", "", "0", "ü" * 3])
def test_names_are_escaped_in_pointers(key: str) -> None:
    recorder = Recorder()
    recorder.write("outcome", "o", {"result": {key: [{"deep": ANSWER}]}}, "result")
    stored = recorder.write("step", "r/0/0#1", {"input": ANSWER}, "input")
    assert stored["$same"][:3] == ["1", "outcome", "o"]
    assert recorder.read(stored) == ANSWER


def test_short_texts_stay_where_they_are() -> None:
    recorder = Recorder()
    recorder.write("message", "m", message("x" * (SHORTEST - 1)))
    assert recorder.write("outcome", "o", {"result": "x" * (SHORTEST - 1)}, "result") == "x" * (SHORTEST - 1)


def test_a_reference_that_would_be_longer_is_none() -> None:
    recorder = Recorder()
    recorder.write("message", "k" * 200, message(ANSWER[:SHORTEST]))
    assert recorder.write("outcome", "o", {"result": ANSWER[:SHORTEST]}, "result") == ANSWER[:SHORTEST]


def test_messages_are_written_as_they_are() -> None:
    recorder = Recorder()
    for n in range(2):
        recorder.write("message", f"m{n}", message(ANSWER))
        assert codec.loads(recorder.messages[-1])["value"] == {"claim": 1, **message(ANSWER)}


def test_a_text_is_not_what_it_looks_like() -> None:
    recorder = Recorder()
    text = codec.dumps(SCHEMA).decode()
    for n, asked in enumerate([SCHEMA, text, SCHEMA, text]):
        assert recorder.read(recorder.write("step", f"r/0/{n}#1", {"input": [asked]}, "input")) == [asked]


# --- which event is meant ---------------------------------------------------------------------------------------------


def test_of_two_messages_with_one_key_the_first_is_meant() -> None:
    recorder = Recorder()
    recorder.write("message", "m", message(PROMPT))
    recorder.write("message", "m", message(ANSWER))
    assert recorder.write("outcome", "o", {"result": ANSWER}, "result") == ANSWER
    recorder.take_over()
    stored = recorder.write("outcome", "p", {"result": PROMPT}, "result")
    assert stored == place("1", "message", "m", "/parts/0/text")
    assert recorder.read(stored) == PROMPT


def test_of_two_messages_with_one_key_the_first_is_meant_by_the_next_worker_too() -> None:
    recorder = Recorder()
    recorder.write("message", "m", message(PROMPT))
    recorder.write("message", "m", message(ANSWER))
    recorder.take_over()
    assert recorder.write("outcome", "o", {"result": ANSWER}, "result") == ANSWER


def test_a_superseded_worker_that_used_the_same_key_is_not_meant() -> None:
    recorder = Recorder()
    old = recorder.packer
    recorder.take_over()
    recorder.append("outcome", "r/0/0#1", {"result": PROMPT}, claim=old.claim)
    recorder.write("outcome", "r/0/0#1", {"result": ANSWER}, "result")
    stored = recorder.write("outcome", "r/0/1#1", {"result": ANSWER}, "result")
    assert stored == place("2", "outcome", "r/0/0#1", "/result")
    assert recorder.read(stored) == ANSWER


def test_what_a_user_said_before_the_run_is_referred_to() -> None:
    recorder = Recorder()
    recorder.append("message", "hello", message(PROMPT))
    recorder.take_over()
    recorder.append("message", "hello", message(ANSWER))
    stored = recorder.write("step", "r/0/0#1", {"input": [PROMPT]}, "input")
    assert stored == [place("0", "message", "hello", "/parts/0/text")]
    assert recorder.read(stored) == [PROMPT]


def test_a_users_message_that_took_the_place_of_a_rewound_one_is_not_referred_to() -> None:
    recorder = Recorder()
    recorder.append("message", "hello", message(PROMPT))
    recorder.take_over()
    recorder.write("rewind", "1.r", {"to": 1})
    recorder.append("message", "hello", message(ANSWER))
    assert recorder.state().messages == [message(ANSWER)]
    recorder.take_over()
    stored = recorder.write("outcome", "o", {"result": [ANSWER, PROMPT]}, "result")
    assert recorder.read(stored) == [ANSWER, PROMPT]


# --- who takes over ---------------------------------------------------------------------------------------------------


def test_a_worker_that_takes_over_repeats_nothing() -> None:
    recorder = Recorder()
    messages: list[Any] = [{"role": "user", "content": PROMPT}]
    for n in range(4):
        asked = {"instructions": PROMPT[::-1], "tools": [SCHEMA], "messages": messages}
        before = sum(map(len, recorder.messages))
        assert recorder.read(recorder.write("step", f"r/0/{n}#1", {"input": asked}, "input")) == asked
        if n > 1:  # the first worker's first request has all of it, and the second one's list is new
            assert sum(map(len, recorder.messages)) - before < 700
        recorder.write("message", f"r/0/{n}#1/1", message(f"{n} {ANSWER}"))
        messages = [*messages, {"role": "assistant", "content": f"{n} {ANSWER}"}]
        recorder.take_over()


@pytest.mark.parametrize(
    "value",
    [
        {"result": place("1", "message", "m", "/parts/0/text")},
        {"result": place("1", "outcome", "o", "/result")},
        {"result": {"$items": ["1.0-999999999999999"]}},
        {"result": {"$items": ["x"]}},
        {"items": [place("1", "item", "1.0", "/items/0")]},
        {"items": 3},
        {"parts": None},
        {"input": 3},
    ],
)
@pytest.mark.parametrize("kind", ["outcome", "item", "message", "step"])
def test_what_somebody_made_up_keeps_no_worker_from_taking_over(kind: str, value: dict[str, Any]) -> None:
    recorder = Recorder()
    for key in ("o", "1.0"):
        recorder.append(kind, key, value, claim=1)
    recorder.take_over()
    stored = recorder.write("step", "r/0/0#1", {"input": [PROMPT, ANSWER]}, "input")
    assert recorder.read(stored) == [PROMPT, ANSWER]


# --- what is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parts",
    [
        ("1", "message", "m", "/parts/1/text"),
        ("1", "message", "m", "/parts/0/other"),
        ("1", "message", "m", "/parts/-1/text"),
        ("1", "message", "m", "/role/0"),
        ("2", "message", "m", "/parts/0/text"),
        ("0", "message", "m", "/parts/0/text"),
        ("1", "custom", "m", "/parts/0/text"),
        ("1", "message", "n", ""),
    ],
)
def test_what_is_not_there_is_named(parts: tuple[str, ...]) -> None:
    recorder = Recorder()
    recorder.write("message", "m", message(ANSWER))
    with pytest.raises(NotFound, match=r"what stood at .* is not in this session"):
        recorder.read({"x": [place(*parts)]})


@pytest.mark.parametrize(
    "form",
    [
        place("x", "message", "m", ""),
        place("1", "message", "m"),
        {"$same": "1"},
        {"$same": ["1", "message", 3, ""]},
        {**place("1", "message", "m", ""), "more": 1},
        place("9" * 30, "message", "m", ""),
    ],
)
def test_what_is_no_reference_is_left_to_the_codec(form: Any) -> None:
    assert Recorder().read([form]) == [form]


def test_a_reference_to_itself_ends() -> None:
    recorder = Recorder()
    loop = place("1", "outcome", "o", "/result")
    recorder.append("outcome", "o", {"result": [loop]}, claim=1)
    assert recorder.read([loop]) == [[loop]]


def test_items_that_hold_themselves_end() -> None:
    recorder = Recorder()
    recorder.append("item", "1.0", {"items": [{"$items": ["1.0"]}]}, claim=1)
    assert recorder.read({"$items": ["1.0"]}) == [{"$items": ["1.0"]}]


def test_a_value_of_the_users_that_looks_like_a_reference_is_a_value() -> None:
    recorder = Recorder()
    recorder.write("message", "m", message(ANSWER))
    user = {"$same": ["1", "message", "m", "/parts/0/text"], "list": [place("1", "message", "m", "/parts/0/text")]}
    for value in (user, place("1", "message", "m", "/parts/0/text")):
        stored = recorder.write("outcome", "o", {"result": codec.encode(value).data}, "result")
        assert codec.decode(recorder.read(stored)) == value


# --- any sequence -----------------------------------------------------------------------------------------------------

texts = st.sampled_from([*("abc"[n] * 150 for n in range(3)), ANSWER, codec.dumps(SCHEMA).decode(), "short", ""])
names = st.sampled_from(["a", "b/~", "$same"])
values = st.recursive(
    texts | st.integers(0, 3) | st.just(SCHEMA),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
acts = st.one_of(
    st.tuples(st.sampled_from([("step", "input"), ("outcome", "result"), ("run", "arguments")]), values),
    st.tuples(st.just(("message", None)), texts),
    st.tuples(st.just(("said", None)), texts),
    st.tuples(st.just(("takes over", None)), st.none()),
)


@given(st.lists(acts, max_size=12), st.randoms(use_true_random=False))
def test_what_was_written_is_read_from_any_cut_of_the_log(sequence: list[Any], random: Any) -> None:
    recorder = Recorder()
    written: list[tuple[int, Any, Any]] = []
    for number, ((kind, packed), value) in enumerate(sequence):
        key = str(random.choice([number, 0]))
        if kind == "takes over":
            recorder.take_over()
        elif kind == "said":
            recorder.append("message", key, message(value))
        elif packed is None:
            recorder.write(kind, key, message(value))
        else:
            data = codec.encode(value).data
            stored = recorder.write(kind, f"r/0/{number}#1", {packed: data}, packed)
            written.append((len(recorder.messages), stored, data))
            assert len(codec.dumps(stored)) <= len(codec.dumps(data))
    for at, stored, data in written:
        assert codec.dumps(recorder.read(stored, at)) == codec.dumps(data)
        assert codec.dumps(recorder.read(stored)) == codec.dumps(data)


# --- in runs ----------------------------------------------------------------------------------------------------------


def size(session: Any) -> int:
    return sum(len(event.raw) for event in session.events())


def talk(turns: int) -> Any:
    @step(kind="model")
    def ask(instructions: str, messages: list[Any], schema: Any) -> str:
        return f"{len(messages)}: {ANSWER}"

    @agent
    def chat(question: str) -> list[Any]:
        messages: list[Any] = [{"role": "user", "content": question}]
        for turn in range(turns):
            messages.append({"role": "assistant", "content": ask(PROMPT, messages, SCHEMA)})
            messages.append({"role": "user", "content": f"{turn}? {ANSWER[::-1]}"})
        return messages

    return chat


def test_a_run_grows_by_what_is_new(client: Client) -> None:
    few, many = client.session("few"), client.session("many")
    few.run(talk(4), PROMPT[::-1])
    many.run(talk(24), PROMPT[::-1])
    new = len(ANSWER) * 2
    assert size(many) - size(few) < 20 * (new + 1060)


def test_every_fork_and_every_rewind_reads_what_it_shares(client: Client) -> None:
    session, chat = client.session("s"), talk(4)
    told = session.run(chat, PROMPT[::-1])
    last = session.state().index
    for at in range(4, last):
        fork = session.fork(f"f{at}", at=at)
        assert fork.run(chat, PROMPT[::-1]) == told
        assert fork.replay(chat).result == told
        assert fork.state().steps[-1].input == session.state().steps[-1].input
    for at in range(last, 4, -1):
        session.rewind(at=at)
        assert session.run(chat, PROMPT[::-1]) == told
        assert session.replay(chat).identical


def test_a_copy_reads_what_it_holds(client: Client) -> None:
    session, chat = client.session("s"), talk(3)
    told = session.run(chat, PROMPT)
    assert session.fork("copy", copy=True).replay(chat).result == told


def test_the_recorded_events_are_found_by_their_claim_type_and_key() -> None:
    events = [Event(0, "message", "m", claim=1, _value={"a": 1}), Event(1, "message", "m", claim=1, _value={"a": 2})]
    sources = Sources(events)
    assert sources((1, "message", "m")) == {"a": 1}
    assert sources((2, "message", "m")) is None
    assert Items(sources).resolve({"x": 1}) == {"x": 1}
