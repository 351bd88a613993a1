"""Which events count: against a second, naive implementation, and rule by rule; whatever foreigners append."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hostile import HostileBackend
from hypothesis import given, settings
from hypothesis import strategies as st

from agentstream import Client
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.operations import Append, Batch
from agentstream.sessions.counting import counted, prefix
from agentstream.sessions.events import OWN_TYPES, Event, Origin, read_event
from agentstream.sessions.log import Log
from agentstream.sessions.state import fold


def change(type: str, key: str, value: Any, operation: str = "insert") -> bytes:
    return json.dumps({"type": type, "key": key, "value": value, "headers": {"operation": operation}}).encode()


def birth(name: str, count: int | None = None, claim: int = 0) -> bytes:
    lineage = {"source": "s", "incarnation": "i", "count": count, "claim": claim}
    return change("session", name, {"incarnation": name, **({"lineage": lineage} if count is not None else {})})


def claim(number: int) -> bytes:
    return change("claim", f"{number}.n", {"claim": number, "nonce": "n"})


def said(number: int, key: str, type: str = "message") -> bytes:
    return change(type, key, {"claim": number})


def rewind(number: int, to: int) -> bytes:
    return change("rewind", f"r{number}.{to}", {"claim": number, "to": to})


def marks(messages: list[bytes]) -> list[str | None]:
    return [event.mark for event in counted(read_event(message, n) for n, message in enumerate(messages)).events]


# --- rule by rule -----------------------------------------------------------------------------------------------------


def test_a_worker_counts_while_its_claim_is_the_highest() -> None:
    log = [birth("a"), said(1, "x"), claim(1), said(1, "x"), claim(2), said(1, "y"), said(2, "z"), claim(2), claim(1)]
    assert marks(log) == [None, "fenced", None, None, None, "fenced", None, "fenced", "fenced"]


def test_anyone_may_say_what_needs_no_claim_and_nothing_else() -> None:
    log = [birth("a"), *(change(type, "k", {}) for type in sorted(OWN_TYPES)), change("own", "k", 1)]
    free = {"session", "message", "answer", "custom"}
    assert marks(log)[1:] == [
        *(None if type in free else "malformed" if type == "claim" else "fenced" for type in sorted(OWN_TYPES)),
        None,
    ]


def test_a_second_insert_of_a_key_is_a_duplicate_of_one_that_counts() -> None:
    log = [birth("a"), claim(2), said(1, "x"), said(2, "x"), said(2, "x"), said(2, "x", "tool_call")]
    assert marks(log) == [None, None, "fenced", None, "duplicate", None]


def test_a_rewind_frees_the_keys_it_takes_back() -> None:
    log = [birth("a"), claim(1), said(1, "x"), rewind(1, 2), said(1, "x"), said(1, "x")]
    assert marks(log) == [None, None, "rewound", None, None, "duplicate"]


def test_a_rewind_of_a_rewind_brings_back_what_that_took() -> None:
    log = [birth("a"), claim(1), said(1, "x"), rewind(1, 2), said(1, "x"), said(1, "y"), rewind(1, 3), said(1, "x")]
    assert marks(log) == [None, None, None, "rewound", "rewound", "rewound", None, "duplicate"]


def test_births_and_claims_are_never_rewound() -> None:
    log = [birth("a"), claim(1), said(1, "x"), birth("b", 3), claim(2), said(2, "y"), rewind(2, 0)]
    assert marks(log) == [None, None, "rewound", None, None, "rewound", None]


def test_a_fork_voids_the_claims_that_it_inherits() -> None:
    log = [birth("a"), claim(3), birth("b", 2, 5), said(3, "x"), said(5, "x"), claim(5), claim(6), said(6, "x")]
    assert marks(log) == [None, None, None, "fenced", "fenced", "fenced", None, None]


def test_a_rewind_to_what_is_no_place_takes_nothing() -> None:
    for to in (-1, 99, True, "1", None):
        log = [birth("a"), claim(1), said(1, "x"), change("rewind", "r", {"claim": 1, "to": to})]
        assert marks(log) == [None] * 4


def test_a_birth_stands_where_it_says() -> None:
    lineage = {"source": "s", "incarnation": "i", "count": 4}
    other = change("session", "not the incarnation", {"incarnation": "z", "lineage": lineage})
    log = [birth("a"), claim(1), birth("b"), birth("c", 1), other, said(1, "x")]
    assert marks(log) == [None] * 6  # labels, and no births: the claim is in force
    assert [made.incarnation for _, made in counted(read_event(m, n) for n, m in enumerate(log)).births] == ["a"]


def test_only_statuses_are_updated() -> None:
    log = [birth("a"), claim(1)]
    log += [change(type, "k", {"claim": 1}, "update") for type in ("status", "message", "step")]
    log += [change("own", "k", 1, "update"), change("own", "k", 1, "delete"), change("message", "k", {}, "delete")]
    assert marks(log)[2:] == [None, "malformed", "malformed", None, None, "malformed"]


# --- a second implementation ------------------------------------------------------------------------------------------


def naive(messages: list[bytes]) -> list[str | None]:
    """The rules again, with whole lists copied at every step."""
    found: list[str | None] = []
    histories: list[list[tuple[int, str, str]]] = [[]]
    stays: set[int] = set()
    highest, held = 0, False
    for n, message in enumerate(messages):
        raw = json.loads(message)
        kind, key, value = raw["type"], raw["key"], raw["value"]
        history = histories[-1]
        mark = None
        if kind == "claim":
            if value["claim"] > highest:
                highest, held = value["claim"], True
            else:
                mark = "fenced"
            stays.add(n)
        elif kind == "session" and value["incarnation"] == key and value.get("lineage", {}).get("count", 0) == n:
            if "lineage" in value:
                highest, held = max(highest, value["lineage"]["claim"]), False
            stays.add(n)
        elif ("claim" in value and (value["claim"] != highest or not held)) or (
            "claim" not in value and kind == "step"
        ):
            mark = "fenced"
        elif (kind, key) in [name[1:] for name in history]:
            mark = "duplicate"
        elif kind == "rewind":
            history = [*histories[min(value["to"], n)], (n, kind, key)]
        else:
            history = [*history, (n, kind, key)]
        found.append(mark)
        histories.append(history)
    lasting = {n for n, _, _ in histories[-1]} | stays
    return [mark if mark is not None or n in lasting else "rewound" for n, mark in enumerate(found)]


@st.composite
def logs(draw: st.DrawFn) -> list[bytes]:
    messages = [birth("a")]
    highest = 0
    for _ in range(draw(st.integers(0, 30))):
        number, key = max(1, highest - draw(st.sampled_from([0, 0, 0, 0, 1]))), draw(st.sampled_from("xyz"))
        match draw(
            st.sampled_from(["claim", "claim", "own", "own", "own", "free", "free", "rewind", "rewind", "fork", "none"])
        ):
            case "claim":
                highest = max(highest, new := max(1, highest + draw(st.sampled_from([1, 1, 1, 0, -1, 3]))))
                messages.append(claim(new))
            case "own":
                messages.append(said(number, key))
            case "free":
                messages.append(change("message", key, {}))
            case "rewind":
                made = json.loads(rewind(number, draw(st.integers(0, len(messages) + 1))))
                messages.append(json.dumps({**made, "key": f"r{len(messages)}"}).encode())
            case "fork":
                messages.append(birth(f"b{len(messages)}", len(messages), highest))
            case _:
                messages.append(change("step", key, {}))
    return messages


@settings(max_examples=300)
@given(logs())
def test_marks_are_what_a_naive_implementation_says(messages: list[bytes]) -> None:
    assert marks(messages) == naive(messages)


@settings(max_examples=60)
@given(logs(), st.data())
def test_a_prefix_is_marked_as_it_was_then(messages: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(messages)))
    whole = counted(read_event(message, n) for n, message in enumerate(messages)).events
    assert [event.mark for event in prefix(whole, at)] == naive(messages[:at])


@settings(max_examples=60)
@given(logs(), st.data())
def test_pages_and_copies_change_nothing(messages: list[bytes], data: st.DataObject) -> None:
    """A log read in pages, and a copy of it that goes on alone, is marked as one read at once."""
    cut = data.draw(st.integers(0, len(messages)))
    log = Log("s", "s", Origin("s"))
    log.add(Batch(tuple(messages[:cut]), "1", False))
    copy = log.copy()
    copy.add(Batch(tuple(messages[cut:]), "2", True))
    assert [event.mark for event in copy.events] == naive(messages)
    assert [event.mark for event in log.events] == naive(messages[:cut])
    log.add(Batch(tuple(messages[cut:]), "2", True))
    assert log.events == copy.events
    assert log.incarnation == copy.incarnation


# --- whatever is appended ---------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    *("claim", "incarnation", "lineage", "source", "count", "status", "run", "agent", "arguments", "parent", "to"),
    *("result", "error", "usage", "items", "replaced", "title", "tags", "data", "kind", "name", "input", "effect"),
    *("fingerprint", "path", "schema", "moved", "prompt", "question", "nonce", "text"),
]
VALUE = JSON | st.dictionaries(st.sampled_from(FIELDS), JSON | st.just(1) | st.just("i"), max_size=6)
KEY = st.sampled_from(["", "1.0", "r", "r/0/0#1", "r/0/0#2", "r/0/x", "i", "1.n"])
EVENT = st.fixed_dictionaries(
    {"type": st.sampled_from([*sorted(OWN_TYPES), "own", ""]), "key": KEY | JSON, "value": VALUE},
    optional={"headers": st.sampled_from([{"operation": name} for name in ("insert", "update", "delete")]) | JSON},
)


def look_at_everything(state: Any) -> None:
    for name in (
        *("title", "tags", "schema", "lineage", "inherited", "claim", "highest_claim", "last_rewind", "run", "status"),
        *("runs", "steps", "attempts", "messages", "tool_calls", "usage", "items", "questions"),
    ):
        getattr(state, name)
    for run in state.runs.values():
        _ = run.open, run.arguments, run.fingerprint, run.error, repr(run)
    for step in state.steps:
        _ = step.status, step.kind, step.name, step.effect, step.usage, step.error, step.fingerprint, repr(step)


@settings(max_examples=300)
@given(st.lists(EVENT | JSON, max_size=12))
def test_no_message_is_fatal_and_none_is_dropped(values: list[Any]) -> None:
    messages = [birth("i"), claim(1), said(1, "r", "run"), *(json.dumps(value).encode() for value in values)]
    log = Log("s", "s", Origin("s"))
    log.add(Batch(tuple(messages), "1", True))
    look_at_everything(fold(log))
    assert [event.raw for event in log.events] == messages
    for event in log.events:
        _ = repr(event), event.position, hash(event)


@pytest.mark.parametrize(
    "message",
    [
        b'{"type":"own","key":"k","value":{"data":%s},"headers":{"operation":"insert"}}' % (b"9" * 5000),
        b'{"type":"message","key":"k","value":{"a":1e999},"headers":{"operation":"insert"}}',
        b'{"type":"own","key":"k","value":"\xff","headers":{"operation":"insert"}}',
        b'{"type":"own","key":"k","value":{"a":"\xff"},"headers":{"operation":"insert"}}',
        b'{"type":"own","key":"k","value":{"claim":%d},"headers":{"operation":"insert"}}' % 2**70,
        b"[" * 3000 + b"]" * 3000,
        b"nonsense",
        b"",
    ],
)
def test_unreadable_messages_are_shown_as_they_are(message: bytes) -> None:
    log = Log("s", "s", Origin("s"))
    log.add(Batch((birth("i"), message), "1", True))
    look_at_everything(fold(log))
    event = log.events[1]
    assert event.raw == message
    assert event.value is not None
    repr(event)


@pytest.mark.parametrize("make", [lambda: EmbeddedBackend(None), HostileBackend])
def test_a_session_goes_on_beside_what_foreigners_appended(make: Any) -> None:
    backend = make()
    session = Client(backend).session("s")
    session.append("note", 1)
    junk = [b"5", b'"x"', b"null", b"[[1]]", b'{"type":5}', b'{"type":"run","key":"r","value":{}}']
    junk += [b'{"headers":{"control":"snapshot-start"}}', change("item", "no id", {"claim": 1, "items": [1]})]
    junk += [change("session", "x", {"title": 5, "tags": [], "lineage": 7}), change("future", "k", {"a": 1})]
    backend.execute(Append("s", tuple(junk)))
    session.append("note", 2)
    session.rewind(at=2)
    events = list(Client(backend).session("s").events())
    assert len(events) == 3 + len(junk) + 2
    assert events[2].value == 5
    look_at_everything(session.state())


def test_events_are_values() -> None:
    message = said(1, "x")
    one, other = read_event(message, 3), read_event(message, 3)
    assert one == other
    assert len({one, other}) == 1
    assert one != read_event(message, 4)
    assert one != "something else"
    with pytest.raises(AttributeError):
        one.mark = "fenced"  # type: ignore[misc]
    assert isinstance(one, Event)
