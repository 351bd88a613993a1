"""Differences: applied they give the other value, and they read as a person would say them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentstream.sessions import codec
from agentstream.sessions.diff import diff, first_path

names = st.sampled_from(["a", "b", "a/b", "~", "~1", "", "é", "0"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(names, inner, max_size=4), max_leaves=20
)


def apply(document: Any, operations: list[dict[str, Any]]) -> Any:
    """RFC 6902, the three operations used; also checks what is said to have been there."""
    root = {"": copy.deepcopy(document)}
    for operation in operations:
        parts = [part.replace("~1", "/").replace("~0", "~") for part in ("" + operation["path"]).split("/")]
        assert operation["path"] == "" or parts[0] == ""
        parts = ["", *parts[1:]]
        target: Any = root
        for part in parts[:-1]:
            target = target[int(part)] if isinstance(target, list) else target[part]
        key: Any = int(parts[-1]) if isinstance(target, list) else parts[-1]
        if operation["op"] == "add":
            assert "was" not in operation
            if isinstance(target, list):
                assert key <= len(target)
                target.insert(key, operation["value"])
            else:
                assert key not in target
                target[key] = operation["value"]
        else:
            assert codec.canonical(target[key]) == codec.canonical(operation["was"])
            if operation["op"] == "remove":
                assert "value" not in operation
                del target[key]
            else:
                assert operation["op"] == "replace"
                target[key] = copy.deepcopy(operation["value"])
    return root[""]


@given(values, values)
def test_the_operations_make_one_of_the_other(before: Any, after: Any) -> None:
    operations = diff(before, after)
    assert codec.canonical(apply(before, operations)) == codec.canonical(after)
    assert (operations == []) == (codec.canonical(before) == codec.canonical(after))


@given(
    st.lists(values, max_size=6),
    st.lists(values, max_size=6),
    st.lists(values, max_size=3),
    st.lists(values, max_size=3),
)
def test_lists_with_something_in_common(start: list[Any], end: list[Any], old: list[Any], new: list[Any]) -> None:
    before, after = start + old + end, start + new + end
    operations = diff(before, after)
    assert codec.canonical(apply(before, operations)) == codec.canonical(after)
    assert all(int(operation["path"].split("/")[1]) >= len(start) for operation in operations)
    if not old or not new:  # only inserted, or only removed
        assert len(operations) == len(old) + len(new)


@pytest.mark.parametrize(
    ("before", "after", "operations", "path"),
    [
        ({"a": 1}, {"a": 1}, [], ""),
        (1, 2, [{"op": "replace", "path": "", "value": 2, "was": 1}], ""),
        (1, True, [{"op": "replace", "path": "", "value": True, "was": 1}], ""),
        ({"a": None}, {}, [{"op": "remove", "path": "/a", "was": None}], "a"),
        ({}, {"a": None}, [{"op": "add", "path": "/a", "value": None}], "a"),
        ([1], {"0": 1}, [{"op": "replace", "path": "", "value": {"0": 1}, "was": [1]}], ""),
        (
            {"args": {"amount": 5, "to": "x"}},
            {"args": {"to": "x", "amount": 7}},
            [{"op": "replace", "path": "/args/amount", "value": 7, "was": 5}],
            "args.amount",
        ),
        (
            {"messages": ["s", "u", {"content": "a"}, "end"]},
            {"messages": ["s", "u", {"content": "b"}, "end"]},
            [{"op": "replace", "path": "/messages/2/content", "value": "b", "was": "a"}],
            "messages[2].content",
        ),
        ([1, 2, 3], [1, 9, 2, 3], [{"op": "add", "path": "/1", "value": 9}], "[1]"),
        (
            [1, 2, 2, 3],
            [1, 3],
            [{"op": "remove", "path": "/1", "was": 2}, {"op": "remove", "path": "/1", "was": 2}],
            "[1]",
        ),
        (
            {"a/b": {"~": [0]}},
            {"a/b": {"~": []}},
            [{"op": "remove", "path": "/a~1b/~0/0", "was": 0}],
            "['a/b']['~'][0]",
        ),
    ],
)
def test_a_difference_reads_well(before: Any, after: Any, operations: list[dict[str, Any]], path: str) -> None:
    assert diff(before, after) == operations
    assert first_path(before, after) == path


@given(values, values)
def test_the_first_path_is_that_of_the_first_operation(before: Any, after: Any) -> None:
    whole = [operation["path"] for operation in diff(before, after)][:1] in ([], [""])
    assert (first_path(before, after) == "") == whole


def test_the_order_of_keys_is_no_difference() -> None:
    assert diff({"a": 1, "b": [{"x": 1, "y": 2}]}, {"b": [{"y": 2, "x": 1}], "a": 1}) == []


def test_the_deepest_forms_can_be_compared() -> None:
    def deep(leaf: int) -> Any:
        value: Any = leaf
        for _ in range(codec.DEEPEST):
            value = [value]
        return codec.encode(value).data

    assert diff(deep(1), deep(2)) == [{"op": "replace", "path": "/0" * codec.DEEPEST, "value": 2, "was": 1}]
