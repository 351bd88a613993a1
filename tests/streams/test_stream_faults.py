"""Streams through a network that drops, cuts, doubles and delays: each value there once, and its position exact."""

from __future__ import annotations

import random
from typing import Any

import pytest
from fault_proxy import FaultProxy
from stores import ALL

from agentstream import NotFound, StoreError, StreamClosed, StreamConflict, Unavailable

FAULTS = ["drop", "refuse", "cut", "twice", "late", 429, 500, 502, 503]


def first(method: str, fault: Any, times: int) -> Any:
    """A plan: the first requests of a method go wrong."""
    left = [times]

    def plan(number: int, asked: str, path: str) -> Any:
        if asked != method or not left[0]:
            return None
        left[0] -= 1
        return fault

    return plan


def values(stream: Any) -> list[Any]:
    return [item.value for item in stream.read()]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_producer_appends_is_there_once(face: Any, proxied: Any, fault: Any) -> None:
    stream = face.client(proxied(first("POST", fault, 3)).url).stream("s")
    stream.create()
    with stream.producer(linger=60, max_batch_items=2, max_in_flight=3) as producer:
        appended = [producer.append(number) for number in range(11)]
        producer.flush()
        rests = [[item.value for item in stream.read(each.position())] for each in appended]
    assert values(stream) == list(range(11))
    assert rests == [list(range(number + 1, 11)) for number in range(11)]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_appended_alone_is_there_once(face: Any, proxied: Any, fault: Any) -> None:
    proxy = proxied(first("POST", fault, 2))
    stream = face.client(proxy.url).stream("s")
    stream.create()
    positions = [stream.append(number) for number in range(4)]
    assert values(stream) == list(range(4))
    assert [[item.value for item in stream.read(each)] for each in positions] == [[1, 2, 3], [2, 3], [3], []]
    proxy.plan = first("POST", fault, 2)
    end = stream.seal("last")
    assert stream.head().position == end
    assert values(stream) == [*range(4), "last"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_producer_seals_once(face: Any, proxied: Any, fault: Any) -> None:
    proxy = proxied(lambda number, method, path: None)
    stream = face.client(proxy.url).stream("s")
    stream.create()
    producer = stream.producer(linger=60)
    producer.append(1)
    producer.flush()
    proxy.plan = first("POST", fault, 2)
    assert producer.seal("last") == stream.head().position
    assert values(stream) == [1, "last"]
    assert stream.head().closed
    producer.close()


@pytest.mark.parametrize("seed", range(40 if ALL else 3))
def test_any_faults_in_any_order(face: Any, proxied: Any, seed: int) -> None:
    chance = random.Random(seed)
    plan = {number: chance.choice(FAULTS) for number in range(2000) if chance.random() < 0.3}
    proxy = proxied(lambda number, method, path: plan.get(number))
    stream = face.client(proxy.url).stream("s")
    stream.create()
    other = face.client(proxy.url).stream("s")
    count = 30
    with stream.producer(
        linger=60, max_batch_items=chance.randint(1, 5), max_in_flight=chance.randint(1, 5)
    ) as producer:
        appended: list[Any] = []
        for number in range(count):
            appended.append(producer.append(["mine", number]))
            if chance.random() < 0.1:
                other.append(["other", number])
            if chance.random() < 0.1:
                producer.flush()
        producer.flush()
        looked_at = chance.sample(range(count), 6)
        positions = {number: appended[number].position() for number in looked_at}
    proxy.plan = lambda number, method, path: None
    found = values(stream)
    assert [number for whose, number in found if whose == "mine"] == list(range(count))
    assert len({number for whose, number in found if whose == "other"}) == len(found) - count
    for number, position in positions.items():
        rest = [item.value for item in stream.read(position)]
        assert rest == found[found.index(["mine", number]) + 1 :]


@pytest.mark.parametrize("end", [0, 41, 150, 1000])
def test_following_goes_on_wherever_the_connection_ends(face: Any, proxied: Any, end: int) -> None:
    count = [0]

    def plan(number: int, method: str, path: str) -> Any:
        if "live=sse" not in path:
            return None
        count[0] += 1
        return ("cut", end) if count[0] <= 3 else 503 if count[0] == 4 else None

    stream = face.client(proxied(plan).url).stream("s")
    stream.create(values=list(range(20)))
    with stream.producer(linger=0, max_batch_items=3) as producer:
        for number in range(20, 40):
            producer.append(number)
    stream.seal()
    items = stream.follow()
    positions: list[Any] = []
    found: list[Any] = []
    for item in items:
        found.append(item.value)
        positions.append(item.position)
    assert found == list(range(40))
    assert items.closed
    for number in (0, 7, 19, 20, 30, 38, 39):
        assert [item.value for item in stream.read(positions[number])] == list(range(number + 1, 40))


@pytest.mark.parametrize("method", ["PUT", "GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("fault", ["drop", "refuse", "cut", 503])
def test_all_else_is_outlived_too(face: Any, proxied: Any, method: str, fault: Any) -> None:
    proxy: FaultProxy = proxied(first(method, fault, 2))
    stream = face.client(proxy.url).stream("s")
    stream.create(values=[1, 2, 3])
    at = next(iter(stream.read())).position
    assert values(stream) == [1, 2, 3]
    assert stream.head().content_type == "application/json"
    proxy.plan = first(method, fault, 2)
    assert values(stream.fork("f", at=at)) == [1]
    proxy.plan = first(method, fault, 2)
    stream.delete()
    with pytest.raises(NotFound):
        values(stream)


def test_a_server_that_is_not_there_is_unavailable(face: Any, proxied: Any) -> None:
    proxy = proxied(lambda number, method, path: "refuse")
    stream = face.client(proxy.url).stream("s", content_type="application/json")
    for asked in (stream.create, stream.head, lambda: stream.append(1), lambda: values(stream)):
        with pytest.raises(Unavailable):
            asked()


@pytest.mark.parametrize("status", [400, 401, 409, 413])
def test_a_refusal_is_told_at_once(face: Any, proxied: Any, status: int) -> None:
    proxy: FaultProxy = proxied(lambda number, method, path: None)
    stream = face.client(proxy.url).stream("s")
    stream.create()
    producer = stream.producer(linger=60)
    producer.append(1)
    producer.flush()
    proxy.plan = lambda number, method, path: status if method == "POST" else None
    count = len(proxy.requests)
    refused = producer.append(2)
    with pytest.raises((StoreError, StreamClosed, StreamConflict, Exception)) as told:
        producer.flush()
    assert not isinstance(told.value, Unavailable)
    with pytest.raises(type(told.value)):
        refused.position()
    assert len(proxy.requests) == count + 1
    proxy.plan = lambda number, method, path: None
    producer.append(3)
    producer.close()
    assert values(stream) == [1, 3]


@pytest.mark.parametrize("by", ["stream", "producer"])
def test_what_was_written_before_it_was_refused_is_there(face: Any, proxied: Any, by: str) -> None:
    proxy: FaultProxy = proxied(lambda number, method, path: None)
    stream = face.client(proxy.url).stream("s")
    stream.create()
    producer = stream.producer(linger=60)
    producer.append("same")
    producer.flush()
    stream.append("same")
    answers = iter(["drop", 400])
    proxy.plan = lambda number, method, path: next(answers, None) if method == "POST" else None
    if by == "stream":
        position = stream.append("same")
    else:
        appended = producer.append("same")
        producer.flush()
        position = appended.position()
    assert values(stream) == ["same"] * 3
    # equal values cannot be told apart: the position is after the first that can be ours
    assert len(list(stream.read(position))) == (0 if by == "stream" else 1)
    producer.close()
