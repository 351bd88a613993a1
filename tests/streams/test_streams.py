"""A stream by its typed client: what is read is what was appended, and each position is exact, on every store."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from node_server import node_server

from agentstream import (
    Client,
    InvalidRequest,
    NotFound,
    NotSerializable,
    SequenceConflict,
    StreamClosed,
    StreamConflict,
    StreamPosition,
)

VALUES: list[Any] = [{"a": 1}, [1, [2]], "text", None, True, 7, {"deep": {"er": "ü\u2028"}}, [], {}, 1.5]


def filled(client: Any, path: str = "a/b") -> Any:
    stream = client.stream(path)
    assert stream.create().new
    stream.append(VALUES[0])
    stream.extend(VALUES[1:7])
    for value in VALUES[7:]:
        stream.append(value)
    return stream


def test_values_come_back_in_order(client: Any) -> None:
    assert [item.value for item in filled(client).read()] == VALUES


def test_reading_goes_on_after_each_item(client: Any) -> None:
    stream = filled(client)
    items = list(stream.read())
    for number, item in enumerate(items):
        rest = list(stream.read(item.position))
        assert [each.value for each in rest] == VALUES[number + 1 :]
        again = StreamPosition.parse(str(item.position))
        assert again == item.position
        # positions that were read from a position are exact too
        for count, each in enumerate(rest):
            assert [one.value for one in stream.read(str(each.position))] == VALUES[number + count + 2 :]


def test_an_append_returns_the_position_after_it(client: Any) -> None:
    stream = client.stream("s")
    stream.create()
    positions = [stream.append(number) for number in range(4)] + [stream.extend([4, 5])]
    assert [[item.value for item in stream.read(position)] for position in positions] == [
        [1, 2, 3, 4, 5], [2, 3, 4, 5], [3, 4, 5], [4, 5], [],
    ]  # fmt: skip


def test_positions_in_bytes(client: Any) -> None:
    stream = client.stream("bytes")
    stream.create("application/octet-stream")
    stream.append(b"\x00\xff123")
    stream.append("text")
    whole = b"\x00\xff123text"
    assert b"".join(item.data for item in stream.read()) == whole
    for cut in range(len(whole)):
        found = stream.read(StreamPosition("-1", cut))
        assert b"".join(item.value for item in found) == whole[cut:]
        seen = b""
        for item in stream.read(StreamPosition("-1", cut)):
            seen += item.data
            assert b"".join(each.data for each in stream.read(item.position)) == whole[cut + len(seen) :]


def test_now_is_the_tail(client: Any) -> None:
    stream = filled(client)
    items = stream.read("now")
    assert list(items) == []
    assert items.up_to_date
    stream.append("later")
    assert [item.value for item in stream.read(items.position)] == ["later"]


@pytest.mark.parametrize("live", [None, "long-poll"])
def test_following_ends_when_it_is_sealed_and_says_so(client: Any, live: Any) -> None:
    stream = filled(client)
    end = stream.seal("last")
    items = stream.follow(live=live)
    assert not items.closed
    assert [item.value for item in items] == [*VALUES, "last"]
    assert items.closed
    assert items.position == end
    tail = stream.follow(end, live=live)
    assert list(tail) == []
    assert tail.closed


@pytest.mark.parametrize("live", [None, "long-poll"])
def test_following_ends_also_after_waiting_and_says_that_it_is_not_the_end(client: Any, live: Any) -> None:
    stream = filled(client)
    items = stream.follow(live=live, wait=0.1)
    assert [item.value for item in items] == VALUES
    assert not items.closed
    stream.append("more")
    more = stream.follow(items.position, live=live, wait=0.1)
    assert [item.value for item in more] == ["more"]


@pytest.mark.parametrize("live", [None, "long-poll"])
def test_following_from_inside_a_batch(client: Any, live: Any) -> None:
    stream = filled(client)
    positions = [item.position for item in stream.read()]
    stream.seal()
    for number, position in enumerate(positions):
        items = list(stream.follow(position, live=live))
        assert [item.value for item in items] == VALUES[number + 1 :]
        if items:
            assert [item.value for item in stream.read(items[0].position)] == VALUES[number + 2 :]


def test_reading_says_where_it_is(client: Any) -> None:
    stream = filled(client)
    items = stream.read()
    for number, item in enumerate(items):
        assert items.position == item.position
        if number == 3:
            break
    items.close()
    assert [item.value for item in stream.read(items.position)] == VALUES[4:]


def test_pages_are_what_came_at_once(client: Any) -> None:
    stream = filled(client)
    pages = list(stream.read().pages())
    assert [item.value for page in pages for item in page] == VALUES
    assert pages[-1].up_to_date


def test_a_fork_at_every_position(client: Any) -> None:
    stream = filled(client)
    for number, item in enumerate(list(stream.read())):
        fork = stream.fork(f"fork/{number}", at=item.position)
        assert [each.value for each in fork.read()] == VALUES[: number + 1]
        fork.append("of the fork")
        assert [each.value for each in fork.read()] == [*VALUES[: number + 1], "of the fork"]
    assert [item.value for item in stream.read()] == VALUES
    beginning = stream.fork("fork/none", at="-1")
    assert list(beginning.read()) == []
    assert [item.value for item in stream.fork("fork/all").read()] == VALUES


def test_a_fork_within_bytes(client: Any) -> None:
    stream = client.stream("s")
    stream.create("text/plain", values=["abc", "defg"])
    stream.append("hi")
    for cut in (0, 1, 4, 8, 9):
        fork = stream.fork(f"f{cut}", at=StreamPosition("-1", cut))
        assert b"".join(item.data for item in fork.read()) == b"abcdefghi"[:cut]


def test_a_fork_never_takes_what_is_there(client: Any) -> None:
    stream = filled(client)
    other = client.stream("other")
    other.create(values=["mine"])
    with pytest.raises(StreamConflict):
        stream.fork("other")
    assert [item.value for item in other.read()] == ["mine"]


def test_a_sealed_stream_takes_no_more(client: Any) -> None:
    stream = filled(client)
    end = stream.seal()
    assert stream.seal() == end
    assert stream.head().closed
    for refused in (lambda: stream.append(1), lambda: stream.seal("more")):
        with pytest.raises(StreamClosed):
            refused()


def test_what_is_said_of_a_stream(remote: Any, face: Any) -> None:
    for client in (remote, face.client("memory:")):
        stream = client.stream("s")
        assert stream.create("text/plain", ttl=timedelta(hours=1)).new
        assert not stream.create("text/plain", ttl=3600).new
        with pytest.raises(StreamConflict):
            stream.create("text/plain")
        head = stream.head()
        assert (head.content_type, head.ttl, head.closed) == ("text/plain", 3600, False)
        expiring = client.stream("expiring")
        expiring.create(expires_at=datetime(2999, 1, 1, tzinfo=timezone.utc))
        assert expiring.head().expires_at.startswith("2999-01-01T00:00:00")
        made = client.stream("closed").create(values=[1, 2], closed=True)
        assert made.closed
        for wrong in ({"ttl": -1}, {"ttl": 1.5}, {"expires_at": datetime(2999, 1, 1)}):
            with pytest.raises(ValueError, match=r"ttl=|expires_at="):
                client.stream("wrong").create(**wrong)


def test_a_stream_that_is_not_there(client: Any) -> None:
    stream = client.stream("nothing")
    with pytest.raises(NotFound, match="nothing"):
        stream.append(1)
    with pytest.raises(NotFound):
        stream.head()
    with pytest.raises(NotFound):
        list(stream.read())
    with pytest.raises(NotFound):
        list(stream.follow())
    with pytest.raises(NotFound):
        stream.delete()
    filled(client, "nothing")
    stream.append(1)
    stream.delete()
    with pytest.raises(NotFound):
        stream.append(1)


def test_what_cannot_be_appended(client: Any) -> None:
    stream = client.stream("s")
    stream.create()
    for wrong in (math.nan, {"a": [math.inf]}, object(), {1: b"\xff", "a": object()}, msgspec.Raw(b"{broken")):
        with pytest.raises(NotSerializable):
            stream.append(wrong)
    with pytest.raises(InvalidRequest):
        stream.extend([])
    stream.append(msgspec.Raw(b' {"as": "it stands"}'))
    text = client.stream("text")
    text.create("text/plain")
    with pytest.raises(InvalidRequest):
        text.append("")
    with pytest.raises(NotSerializable):
        text.append({"no": "text"})
    assert [item.value for item in stream.read()] == [{"as": "it stands"}]


def test_stream_seq(client: Any) -> None:
    stream = client.stream("s")
    stream.create()
    stream.append(1, seq="001")
    with pytest.raises(SequenceConflict):
        stream.append(2, seq="001")
    stream.append(3, seq="002")
    assert [item.value for item in stream.read()] == [1, 3]


def test_a_json_value_is_one_message(client: Any) -> None:
    stream = client.stream("s")
    stream.create(values=[[1, 2], []])
    stream.append([3, 4])
    assert [item.value for item in stream.read()] == [[1, 2], [], [3, 4]]


@pytest.mark.parametrize("wrong", ["", "/", "a//b", "a/../b", "~at/x", "a\x00", 7])
def test_what_names_no_stream(wrong: Any) -> None:
    with Client("memory:") as client, pytest.raises((ValueError, TypeError)):
        client.stream(wrong)


def test_a_stream_by_its_url() -> None:
    place = node_server().place()
    with Client(place) as client:
        client.stream("a b/ü").create(values=[1])
        assert [item.value for item in client.stream(f"{place}/a%20b/%C3%BC").read()] == [1]
        assert client.stream(f"{place}/x").path == "x"
        for wrong in (place, "http://elsewhere/v1/stream/x", f"{place}/x?offset=1", f"{place}x/y"):
            with pytest.raises(ValueError, match="no stream of"):
                client.stream(wrong)
    with Client("memory:") as client, pytest.raises(ValueError, match="no stream of"):
        client.stream(f"{place}/x")


@pytest.mark.parametrize("wrong", ["", ",", "1,", "1,x", "1,-1", ",3"])
def test_what_is_no_position(wrong: str) -> None:
    with pytest.raises(ValueError, match="no position"):
        StreamPosition.parse(wrong)


def test_a_session_is_a_stream_too() -> None:
    with Client("memory:") as client:
        client.session("talk").append("message", {"role": "user", "parts": []})
        kinds = [item.value["type"] for item in client.stream("talk").read()]
        assert kinds[0] == "session"
        assert "message" in kinds
