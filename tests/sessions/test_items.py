"""Lists stored once: always the same value back, and a log that grows with what is new."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentstream.errors import NotFound
from agentstream.sessions import codec
from agentstream.sessions.items import Items
from agentstream.sessions.packing import FEWEST, Packer


def message(number: int, size: int = 100) -> dict[str, Any]:
    return {"role": "user" if number % 2 else "assistant", "content": f"{number} " + "word " * (size // 5)}


def packed_into(items: Items, packer: Packer, value: Any) -> Any:
    """`value` as a worker records it: the block first, then what refers to it. Through bytes, as a store keeps them."""
    data, blocks = packer.pack(value)
    for first, elements in blocks:
        items.add(first, codec.loads(codec.dumps(elements)))
    return codec.loads(codec.dumps(data))


elements = (
    st.integers(0, 12).map(message)
    | st.text(max_size=60)
    | st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.dictionaries(st.sampled_from("abc"), st.integers(0, 3) | st.lists(st.integers(0, 9).map(message), max_size=6))
    | st.lists(st.integers(0, 5).map(message), max_size=8)
)
fields = st.sampled_from(["model", "messages", "$items", "$x"])
values = st.recursive(
    st.lists(elements, max_size=12),
    lambda inner: st.dictionaries(fields, inner, max_size=3) | st.lists(inner, max_size=5),
    max_leaves=6,
).map(lambda value: codec.encode(value).data)


@given(st.lists(st.tuples(st.booleans(), values), max_size=8))
def test_what_was_packed_comes_back_to_the_byte(sequence: list[tuple[bool, Any]]) -> None:
    items, packers = Items(), (Packer(3), Packer(4))
    records = [(packed_into(items, packers[second], value), value) for second, value in sequence]
    for record, value in records:
        assert codec.dumps(items.resolve(record)) == codec.dumps(value)
        assert len(codec.dumps(record)) <= len(codec.dumps(value))


@given(st.lists(values, min_size=1, max_size=6), st.randoms())
def test_blocks_may_be_read_in_any_order(sequence: list[Any], random: Any) -> None:
    packer, items = Packer(1), Items()
    blocks, records = [], []
    for value in sequence:
        data, new = packer.pack(value)
        records.append(data)
        blocks += new
    random.shuffle(blocks)
    for block in blocks:
        items.add(*block)
    assert [items.resolve(record) for record in records] == sequence


def test_a_conversation_is_one_range_and_its_new_messages() -> None:
    packer, history = Packer(3), [message(n) for n in range(6)]
    assert packer.pack({"model": "m", "input": history}) == (
        {"model": "m", "input": {"$items": ["3.0-5"]}},
        [("3.0", history)],
    )
    longer = [*history, message(6), message(7)]
    assert packer.pack(longer) == ({"$items": ["3.0-7"]}, [("3.6", [message(6), message(7)])])
    assert packer.pack(longer) == ({"$items": ["3.0-7"]}, [])
    cut = [message(99), *longer[3:5], longer[0], longer[7]]
    assert packer.pack(cut) == ({"$items": ["3.8", "3.3-4", "3.0", "3.7"]}, [("3.8", [message(99)])])


def test_two_lists_of_one_value_share_one_block() -> None:
    one, other = [message(n) for n in range(4)], [message(n) for n in range(2, 8)]
    data, new = Packer(0).pack({"a": one, "b": [other]})
    assert data == {"a": {"$items": ["0.0-3"]}, "b": [{"$items": ["0.2-7"]}]}
    assert new == [("0.0", [message(n) for n in range(8)])]


def test_an_element_that_is_there_twice_is_stored_once() -> None:
    data, new = Packer(0).pack([message(1)] * 5)
    assert data == {"$items": ["0.0"] * 5}
    assert new == [("0.0", [message(1)])]


def test_inside_an_element_of_a_packed_list_nothing_is_packed() -> None:
    inner = [message(n) for n in range(9)]
    data, new = Packer(0).pack([{"parts": inner}, *inner])
    assert data == {"$items": ["0.0-9"]}
    assert new == [("0.0", [{"parts": inner}, *inner])]


@pytest.mark.parametrize(
    "value",
    [
        [message(n, 500) for n in range(FEWEST - 1)],
        ["short", "list", "of", "words"],
        [0.123456789 + n for n in range(2000)],
        ["w" * 20] * 100,
        "word " * 1000,
        {"messages": []},
        None,
    ],
)
def test_what_is_not_worth_it_stays_where_it_is(value: Any) -> None:
    data, new = Packer(0).pack(value)
    assert data is value
    assert new == []


def test_equal_to_python_is_not_equal_in_json() -> None:
    packer, items = Packer(0), Items()
    pad = "x" * 80
    lists = [
        [{"v": value, "pad": pad} for value in values]
        for values in ([1, 0, 1, 0], [True, False, True, False], ["1", "0", "1", "0"])
    ]
    lists.append([{"pad": pad, "v": value} for value in (1, 0, 1, 0)])
    records = [packed_into(items, packer, value) for value in lists]
    assert [codec.dumps(items.resolve(record)) for record in records] == [codec.dumps(value) for value in lists]


def test_a_worker_that_takes_over_goes_on_from_the_record() -> None:
    history = [message(n) for n in range(6)]
    _, [block] = Packer(3).pack(history)
    next_packer, items = Packer(5), Items()
    next_packer.learn(*block)
    items.add(*block)
    longer = [*history, message(6)]
    data, new = next_packer.pack(longer)
    assert (data, new) == ({"$items": ["3.0-5", "5.0"]}, [("5.0", [message(6)])])
    items.add("5.0", [message(6)])
    assert items.resolve(data) == longer


def test_a_packer_that_learns_blocks_of_its_own_claim_goes_on_after_them() -> None:
    packer = Packer(3)
    packer.learn("3.4", [message(1), message(2)])
    _, new = packer.pack([message(n) for n in range(4)])
    assert new == [("3.6", [message(0), message(3)])]


def test_an_id_keeps_its_first_element() -> None:
    items = Items()
    items.add("1.0", ["first"])
    items.add("1.0", ["second", "next"])
    assert items.resolve({"$items": ["1.0-1"]}) == ["first", "next"]


def test_a_value_of_the_users_that_looks_like_ranges_is_a_value() -> None:
    value = {"$items": ["1.0-3"], "list": [{"$items": ["1.0"], "pad": "x" * 100}] * 5}
    for user in (value, {"$items": ["1.0-3"]}, [{"$items": ["1.0-3"]}] * 50):
        items = Items()
        items.add("1.0", ["wrong"] * 4)
        record = packed_into(items, Packer(2), codec.encode(user).data)
        assert codec.decode(items.resolve(record)) == user


def test_resolved_lists_are_new() -> None:
    items, value = Items(), {"messages": [message(n) for n in range(5)]}
    record = packed_into(items, Packer(0), value)
    items.resolve(record)["messages"].clear()
    assert items.resolve(record) == value


def test_a_record_without_ranges_is_not_copied() -> None:
    record = {"a": [1, {"b": [2]}]}
    assert Items().resolve(record) is record


@pytest.mark.parametrize("text", ["1.4", "1.0-4", "2.0", "1.2-999999999999999999", "0.0"])
def test_an_item_that_is_not_there_is_named(text: str) -> None:
    items = Items()
    items.add("1.0", list(range(4)))
    with pytest.raises(NotFound, match=r"item \d+\.\d+ \(of .*\) is not in this session"):
        items.resolve({"x": [{"$items": [text]}]})


@pytest.mark.parametrize("text", ["", "1", "1.", ".1", "-1.0", "1.0-", "a.b", "1.0 ", "1.0\n", "१.0", "9" * 99 + ".0"])
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(NotFound, match="is no item id"):
        Items().resolve({"$items": [text]})
    with pytest.raises(NotFound, match="is no item id"):
        Items().add(text, [])
    with pytest.raises(NotFound, match="is no item id"):
        Packer(0).learn(text, [])


@pytest.mark.parametrize("form", [{"$items": "1.0"}, {"$items": [1]}, {"$items": ["1.0"], "more": 1}, {"$items": None}])
def test_what_is_no_list_of_ranges_is_left_to_the_codec(form: Any) -> None:
    assert Items().resolve(form) == form


def test_a_range_that_runs_backwards_holds_nothing() -> None:
    items = Items()
    items.add("1.0", list(range(4)))
    assert items.resolve({"$items": ["1.3-1"]}) == []


def test_growing_conversations_are_stored_in_the_size_of_what_is_new() -> None:
    packer, stored, fresh = Packer(1), 0, 0
    for conversation in range(100):
        messages: list[Any] = []
        for turn in range(30):
            messages.append({**message(turn, 600), "id": f"{conversation}/{turn}"})
            fresh += len(codec.dumps(messages[-1]))
            data, new = packer.pack({"model": "m", "messages": messages})
            stored += len(codec.dumps(data)) + (len(codec.dumps(new)) if new else 0)
    assert stored <= 1.2 * fresh + 4096


def test_threads_share_a_packer() -> None:
    packer, items, log_lock = Packer(7), Items(), threading.Lock()
    shared = [message(n) for n in range(20)]
    records: list[tuple[Any, Any]] = []
    start = threading.Barrier(4)

    def lane(number: int) -> None:
        start.wait()
        conversation = list(shared)
        for turn in range(50):
            conversation.append({**message(turn), "lane": number})
            data, new = packer.pack(list(conversation))
            with log_lock:
                records.append((data, list(conversation)))
                for block in new:
                    items.add(*block)

    lanes = [threading.Thread(target=lane, args=(number,)) for number in range(4)]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join()
    assert len(records) == 200
    assert all(items.resolve(data) == value for data, value in records)
    assert len(packer.known) == len(shared) + 200
