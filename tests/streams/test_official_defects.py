"""What is known to be wrong in the official Python client, each as a test of ours."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest
from fault_proxy import FaultProxy
from node_server import node_server

from agentstream import Client, NotFound, ProducerConflict, StreamClosed, StreamConflict, Unavailable
from agentstream.backends.remote.sending import Sender


def never(number: int, method: str, path: str) -> None:
    return None


def values(stream: Any) -> list[Any]:
    return [item.value for item in stream.read()]


def test_values_are_encoded_once(remote: Any) -> None:
    stream = remote.client.stream("s") if hasattr(remote, "client") else remote.stream("s")
    stream.create(values=[{"first": 0}])
    stream.append({"m": 2})
    stream.append('{"m": 2}')
    assert values(stream) == [{"first": 0}, {"m": 2}, '{"m": 2}']


@pytest.mark.parametrize("live", ["long-poll", "sse"])
def test_following_a_sealed_stream_asks_once_or_twice(face: Any, proxied: Any, live: Any) -> None:
    proxy: FaultProxy = proxied(never)
    stream = face.client(proxy.url).stream("s")
    stream.create(values=[1], closed=True)
    count = len(proxy.requests)
    assert [item.value for item in stream.follow(live=live)] == [1]
    assert len(proxy.requests) <= count + 2


def append_soon(place: str, *appends: Any) -> threading.Thread:
    """Appends from a thread of its own, then seals."""

    def append() -> None:
        with Client(place) as client:
            stream = client.stream("s")
            for value in appends:
                stream.append(value)
            stream.seal()

    thread = threading.Thread(target=append)
    thread.start()
    return thread


def test_a_stream_sealed_while_it_is_followed_says_so(face: Any, proxied: Any) -> None:
    proxy = proxied(never)
    stream = face.client(proxy.url).stream("s")
    stream.create(values=["old"])
    items = stream.follow()
    assert next(iter(items)).value == "old"
    assert not items.closed
    thread = append_soon(proxy.url, 1, 2, 3)
    # also every live batch comes, not the first alone, and each item says where reading goes on after it
    positions = [(item.value, item.position) for item in items]
    thread.join()
    assert [value for value, _ in positions] == [1, 2, 3]
    assert items.closed
    assert [[item.value for item in stream.read(position)] for _, position in positions] == [[2, 3], [3], []]


def test_a_dropped_connection_is_not_the_end(face: Any, proxied: Any) -> None:
    proxy: FaultProxy = proxied(lambda number, method, path: ("cut", 200) if "live=sse" in path else None)
    stream = face.client(proxy.url).stream("s")
    stream.create(values=[1])
    items = stream.follow()
    assert next(iter(items)).value == 1
    proxy.plan = never
    append_soon(proxy.url, 2).join()
    assert [item.value for item in items] == [2]
    assert items.closed
    assert sum("live=sse" in path for _, path, _ in proxy.requests) > 1


@pytest.mark.parametrize("left", ["break", "close", "stream"])
def test_leaving_a_live_read_releases_its_connection(left: str) -> None:
    with httpx.Client() as http, Client(node_server().place(), http_client=http) as client:
        stream = client.stream("s")
        stream.create(values=[1])
        items = stream.follow()
        pool: Any = http._transport._pool  # type: ignore[attr-defined]
        if left == "break":
            with items:
                for _ in items:
                    break
        else:
            next(items)
            assert [each.is_idle() for each in pool.connections].count(False) == 1
            (items if left == "close" else stream).close()
        assert all(each.is_idle() or each.is_closed() for each in pool.connections)


def test_one_503_does_not_wedge_a_producer(face: Any, proxied: Any) -> None:
    proxy: FaultProxy = proxied(never)
    stream = face.client(proxy.url).stream("s")
    stream.create()
    with stream.producer(linger=0, max_batch_items=1) as producer:
        producer.append(0)
        producer.flush()
        for fault in (503, 429, 500, "drop"):
            first = len(proxy.requests)
            proxy.plan = lambda number, method, path, first=first, fault=fault: (
                fault if number < first + 8 and number % 2 else None
            )
            producer.append(str(fault))
            producer.append(f"after {fault}")
            producer.flush()
    assert values(stream) == [0, "503", "after 503", "429", "after 429", "500", "after 500", "drop", "after drop"]


@pytest.mark.parametrize("told_by", ["flush", "close"])
def test_what_failed_before_a_flush_is_told_by_it(remote: Any, told_by: str) -> None:
    stream = remote.stream("s")
    stream.create()
    producer = stream.producer(linger=0)
    producer.append(1)
    producer.flush()
    stream.delete()
    lost = producer.append(2)
    with pytest.raises(NotFound):
        lost.position(60)
    with pytest.raises(NotFound):
        producer.flush() if told_by == "flush" else producer.close()
    producer.close()


def test_bodies_stay_within_their_bytes_under_load(face: Any, proxied: Any) -> None:
    proxy: FaultProxy = proxied(never)
    stream = face.client(proxy.url).stream("s")
    stream.create()
    with stream.producer(max_batch_bytes=1000, max_in_flight=2) as producer:
        for _ in range(500):
            producer.append("x" * 98)
    sizes = [int(headers["content-length"]) for method, _, headers in proxy.requests if method == "POST"]
    assert max(sizes) <= 1000
    assert len(sizes) >= 500 / 9
    assert len(values(stream)) == 500


def test_sealing_returns_the_final_position(remote: Any) -> None:
    stream = remote.stream("s")
    stream.create()
    with stream.producer() as producer:
        producer.append(1)
        end = producer.seal()
    assert end == stream.head().position
    assert end.offset


def test_two_processes_under_one_id_do_not_lose_silently(remote: Any) -> None:
    stream = remote.stream("s")
    stream.create()
    with stream.producer("agent", linger=60, max_batch_items=1) as first:
        for value in ("a0", "a1", "a2"):
            first.append(value)
    second = stream.producer("agent", linger=60, max_batch_items=1)
    appended: list[Any] = []

    def append() -> None:
        for value in ("b0", "b1", "b2"):
            appended.append(second.append(value))
        second.flush()

    with pytest.raises(ProducerConflict):  # of an append already, where the one before was answered by then
        append()
    assert appended
    for each in appended:
        with pytest.raises(ProducerConflict):
            each.position(60)
    assert values(stream) == ["a0", "a1", "a2"]


def test_nobody_waits_for_ever_behind_one_that_failed(proxied: Any) -> None:
    proxy: FaultProxy = proxied(never)
    with Client(proxy.url) as client:
        stream = client.stream("s")
        stream.create()
        with stream.producer(linger=60) as producer:
            producer.append(0)
            producer.flush()
            proxy.plan = lambda number, method, path: 413 if method == "POST" else None
            told: list[Exception] = []

            def append(number: int) -> None:
                try:
                    producer.append(number).position(60)
                except Exception as error:
                    told.append(error)

            threads = [threading.Thread(target=append, args=(number,)) for number in range(3)]
            for thread in threads:
                thread.start()
            while len(told) < 3:
                try:
                    producer.flush()
                except Exception:
                    continue
            for thread in threads:
                thread.join()
        assert len(told) == 3


def test_errors_are_what_they_are(remote: Any, face: Any) -> None:
    stream = remote.stream("s")
    stream.create("text/plain")
    with pytest.raises(StreamConflict):
        remote.stream("s", content_type="application/json").append({"another": "type"})
    fork = stream.fork("f")
    stream.delete()
    with pytest.raises(NotFound, match="s"):
        stream.head()  # 410: deleted, while its fork lives
    with pytest.raises(NotFound):
        remote.stream("s", content_type="text/plain").append("x")
    with pytest.raises(StreamConflict):
        stream.create("text/plain")
    fork.seal()
    with pytest.raises(StreamClosed):
        fork.append("x")
    with pytest.raises(Unavailable):
        face.client("http://127.0.0.1:9/v1/stream").stream("s").head()


def test_bytes_by_events(remote: Any) -> None:
    stream = remote.stream("s")
    body = bytes(range(256)) * 3
    stream.create("application/octet-stream", values=[body])
    stream.seal()
    assert b"".join(item.data for item in stream.follow()) == body


def test_a_creation_takes_values(remote: Any) -> None:
    stream = remote.stream("s")
    stream.create(values=[{"a": 1}, [2]])
    assert values(stream) == [{"a": 1}, [2]]


def test_one_client_of_http_is_made(face: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[None] = []
    make = Sender._made
    monkeypatch.setattr(Sender, "_made", lambda self, *kinds: made.append(None) or make(self, *kinds))
    client = face.client(node_server().place())
    for number in range(5):
        stream = client.stream(f"s{number}")
        stream.create(values=[number])
        assert values(stream) == [number]
        with stream.producer() as producer:
            producer.append(1)
    assert len(made) == 1


def test_following_is_by_events_where_nothing_else_is_asked_for(face: Any, proxied: Any) -> None:
    proxy: FaultProxy = proxied(never)
    stream = face.client(proxy.url).stream("s")
    stream.create(values=[1], closed=True)
    assert [item.value for item in stream.follow()] == [1]
    assert any("live=sse" in path for _, path, _ in proxy.requests)
    queries = [path.partition("?")[2] for _, path, _ in proxy.requests if "?" in path]
    for query in queries:
        names = [pair.partition("=")[0] for pair in query.split("&")]
        assert names == sorted(names)
