"""Producers: each value there once and in order, batches within limits, errors where they belong, on every store."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest
from fault_proxy import FaultProxy
from node_server import node_server

from agentstream import (
    Client,
    InvalidRequest,
    NotFound,
    NotSerializable,
    ProducerConflict,
    StaleEpoch,
    StoreError,
    StreamClosed,
    StreamPosition,
    Unavailable,
)
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.operations import Append
from agentstream.streams.batching import OVERHEAD, Limits, Queue

COUNT = 200


def made(client: Any, content_type: str = "application/json") -> Any:
    stream = client.stream("s")
    stream.create(content_type)
    return stream


def values(stream: Any) -> list[Any]:
    return [item.value for item in stream.read()]


class Watching(EmbeddedBackend):
    """Keeps what is appended, and holds appends while `gate` is not set."""

    def __init__(self) -> None:
        super().__init__(None)
        self.appends: list[Append] = []
        self.under_way = self.most = 0
        self.gate = threading.Event()
        self.gate.set()
        self._count = threading.Lock()

    def execute(self, operation: Any) -> Any:
        if not isinstance(operation, Append):
            return super().execute(operation)
        with self._count:
            self.appends.append(operation)
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        assert self.gate.wait(60)
        try:
            return super().execute(operation)
        finally:
            with self._count:
                self.under_way -= 1


def test_all_is_there_once_and_in_order(client: Any) -> None:
    stream = made(client)
    with stream.producer(max_batch_items=7) as producer:
        appended = [producer.append(number) for number in range(COUNT)]
        producer.flush()
        positions = [each.position() for each in appended]
    assert values(stream) == list(range(COUNT))
    assert all(each.done for each in appended)
    for number in (0, 1, 5, 6, 7, 100, COUNT - 2, COUNT - 1):
        assert [item.value for item in stream.read(positions[number])] == list(range(number + 1, COUNT))


def test_positions_in_between_what_others_append(client: Any) -> None:
    stream, other = made(client), client.stream("s")
    positions: list[Any] = []
    with stream.producer(linger=60) as producer:
        for batch in range(5):
            other.append("other")
            appended = [producer.append([batch, number]) for number in range(3)]
            producer.flush()
            positions += [each.position() for each in appended]
    whole = values(stream)
    for number, position in enumerate(positions):
        rest = [item.value for item in stream.read(position)]
        assert rest == whole[whole.index([number // 3, number % 3]) + 1 :]


def test_positions_of_equal_values(client: Any) -> None:
    stream = made(client)
    with stream.producer(linger=60) as producer:
        for batch in range(3):
            appended = [producer.append("same") for _ in range(3)]
            producer.flush()
            for number, each in enumerate(appended):
                stop = 3 * (batch + 1)
                assert len(list(stream.read(each.position()))) == stop - (3 * batch + number + 1)


def test_positions_in_text(client: Any) -> None:
    stream = made(client, "text/plain")
    words = ["one ", "two ", "three ", "four"]
    with stream.producer(linger=60) as producer:
        appended = [producer.append(word) for word in words]
        producer.flush()
        for number, each in enumerate(appended):
            rest = b"".join(item.data for item in stream.read(each.position()))
            assert rest.decode() == "".join(words[number + 1 :])


def test_a_batch_goes_out_by_time_alone(client: Any) -> None:
    stream = made(client)
    producer = stream.producer(linger=0.01)
    assert [item.value for item in stream.read(producer.append(1).position(60))] == []
    producer.close()
    assert values(stream) == [1]


def test_batches_are_full_by_count_and_by_bytes() -> None:
    backend = Watching()
    with Client(backend) as client:
        stream = made(client)
        # one at a time: of several on their way a later one may come first, and is sent again
        with stream.producer(linger=60, max_batch_items=4, max_batch_bytes=100, max_in_flight=1) as producer:
            for size in (1, 1, 1, 1, 1, 60, 60, 300, 1, 30, 30, 30, 30):
                producer.append("x" * size)
        bodies = [operation.body for operation in backend.appends]
        assert [len(message) - 2 for body in bodies for message in body] == [1, 1, 1, 1, 1, 60, 60, 300, 1] + [30] * 4
        framed = [sum(map(len, body)) + len(body) + 1 for body in bodies]
        assert all(size <= 100 for size, body in zip(framed, bodies, strict=True) if len(body) > 1)
        assert max(map(len, bodies)) == 4
        # none is smaller than it had to be
        assert [len(body) for body in bodies] == [4, 2, 1, 1, 3, 2]


def test_as_many_are_under_way_as_allowed_and_no_more() -> None:
    backend = Watching()
    with Client(backend) as client:
        stream = made(client)
        backend.gate.clear()
        with stream.producer(linger=0, max_batch_items=1, max_in_flight=3) as producer:
            backend.gate.set()
            producer.append(0).position(60)  # the first goes alone
            backend.gate.clear()
            for number in range(1, 20):
                producer.append(number)
            until(lambda: backend.under_way == 3)
            backend.gate.set()
        assert backend.most == 3
        assert values(stream) == list(range(20))


def until(condition: Any) -> None:
    while not condition():
        time.sleep(0.002)


def test_who_appends_waits_while_too_much_waits() -> None:
    backend = Watching()
    with Client(backend) as client:
        stream = made(client)
        limit = 10 * (OVERHEAD + 3)
        with stream.producer(linger=0, max_waiting_bytes=limit, max_in_flight=1) as producer:
            backend.gate.clear()
            done = Future[None]()
            handed: list[int] = []

            def append() -> None:
                try:
                    for number in range(100, 150):
                        producer.append(number)
                        handed.append(number)
                except BaseException as error:
                    done.set_exception(error)
                else:
                    done.set_result(None)

            threading.Thread(target=append, daemon=True).start()
            until(lambda: len(handed) == 10 and producer._queue._waiters)
            assert not done.done()
            backend.gate.set()
            done.result(60)
        assert values(stream) == list(range(100, 150))


def test_many_threads_share_a_producer() -> None:
    with Client("memory:") as client:
        stream = made(client)
        with stream.producer(linger=0.001, max_batch_items=5, max_waiting_bytes=20 * OVERHEAD) as producer:

            def append(thread: int) -> None:
                for number in range(50):
                    producer.append([thread, number])

            threads = [threading.Thread(target=append, args=(number,)) for number in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        found = values(stream)
        assert len(found) == 400
        for thread in range(8):
            assert [number for whose, number in found if whose == thread] == list(range(50))


# --- errors ----------------------------------------------------------------------------------------------------------


def test_an_error_reaches_who_appended_and_flush(client: Any) -> None:
    stream = made(client)
    producer = stream.producer(linger=0.001)
    producer.append(1)
    producer.flush()
    stream.delete()
    appended = producer.append(2)
    with pytest.raises(NotFound):
        appended.position(60)
    # also where it had failed before anybody flushed
    with pytest.raises(NotFound):
        producer.flush()
    producer.flush()
    made(client)
    producer.append(3)
    with pytest.raises(ProducerConflict):  # another stream, which knows nothing of what was number 0
        producer.close()


def test_what_cannot_be_appended_is_told_at_once(client: Any) -> None:
    stream = made(client)
    with stream.producer() as producer:
        producer.append(1)
        with pytest.raises(NotSerializable):
            producer.append(object())
        producer.append(2)
    assert values(stream) == [1, 2]


class Choosy(Watching):
    """Refuses every append in which "bad" stands."""

    def execute(self, operation: Any) -> Any:
        if isinstance(operation, Append) and b'"bad"' in operation.body:
            raise InvalidRequest("too bad")
        return super().execute(operation)


@pytest.mark.parametrize("in_flight", [1, 4])
def test_one_refused_batch_does_not_hold_up_the_others(in_flight: int) -> None:
    with Client(Choosy()) as client:
        stream = made(client)
        producer = stream.producer(linger=0, max_batch_items=1, max_in_flight=in_flight)
        appended = [producer.append("bad" if number % 5 == 3 else number) for number in range(30)]
        with pytest.raises(InvalidRequest, match="too bad"):
            producer.flush()
        for number, each in enumerate(appended):
            if number % 5 == 3:
                with pytest.raises(InvalidRequest):
                    each.position(60)
            else:
                each.position(60)
        producer.close()
        assert values(stream) == [number for number in range(30) if number % 5 != 3]


def test_leaving_a_block_with_an_error_keeps_the_error(client: Any) -> None:
    stream = made(client)

    def leave() -> None:
        with stream.producer(linger=60) as producer:
            producer.append(1)
            raise KeyError("of the block")

    with pytest.raises(KeyError):
        leave()
    assert values(stream) == [1]


def test_a_closed_producer_takes_nothing(client: Any) -> None:
    stream = made(client)
    producer = stream.producer()
    producer.append(1)
    producer.close()
    producer.close()
    with pytest.raises(StoreError, match="closed"):
        producer.append(2)
    stream.append("the stream goes on")
    assert values(stream) == [1, "the stream goes on"]


@pytest.mark.parametrize(
    "wrong",
    [{"epoch": -1}, {"linger": -1}, {"max_batch_bytes": 0}, {"max_batch_items": 0}, {"max_in_flight": 0},
     {"max_waiting_bytes": 0}, {"id": ""}, {"id": "ü"}, {"id": " x"}],
    ids=str,
)  # fmt: skip
def test_options_are_checked(wrong: dict[str, Any]) -> None:
    with Client("memory:") as client, pytest.raises(ValueError, match=f"{next(iter(wrong))}"):
        made(client).producer(**wrong)


def test_a_producer_stays_in_its_process() -> None:
    with Client("memory:") as client:
        producer = made(client).producer()
        producer.append(1)
        producer.flush()
        producer._process = -1  # as a forked child sees it
        with pytest.raises(StoreError, match="process"):
            producer.append(2)
        producer._process = os.getpid()
        producer.close()


# --- sealing ---------------------------------------------------------------------------------------------------------


def test_sealing_comes_after_all_that_was_appended(client: Any) -> None:
    stream = made(client)
    producer = stream.producer(linger=60, max_batch_items=3)
    for number in range(10):
        producer.append(number)
    end = producer.seal("last", "of all")
    assert producer.seal("another") == end
    assert values(stream) == [*range(10), "last", "of all"]
    items = stream.follow(end)
    assert list(items) == []
    assert items.closed
    assert stream.head().position == end
    producer.close()


def test_sealing_without_values(client: Any) -> None:
    stream = made(client)
    with stream.producer() as producer:
        producer.append(1)
        assert producer.seal() == stream.head().position
    assert stream.head().closed


def test_another_producer_cannot_seal_again_or_append(client: Any) -> None:
    stream = made(client)
    with stream.producer("one") as producer:
        producer.append(1)
        producer.seal()
    other = stream.producer("two", linger=0)
    with pytest.raises(StreamClosed):
        other.append(2).position(60)
    with pytest.raises(StreamClosed):
        other.append(3)
    with pytest.raises(StreamClosed):
        other.close()
    third = stream.producer("three")
    with pytest.raises(StreamClosed):
        third.seal("more")


# --- epochs, and others under the same id ----------------------------------------------------------------------------


def test_what_an_earlier_process_appended_is_not_appended_again(client: Any) -> None:
    stream = made(client)
    stream.append("before")
    for _ in range(3):
        with stream.producer("me", linger=60, max_batch_items=2) as producer:
            appended = [producer.append(number) for number in range(6)]
            producer.flush()
            assert [[item.value for item in stream.read(each.position())] for each in appended] == [
                [*range(number + 1, 6)] for number in range(6)
            ]
    assert values(stream) == ["before", *range(6)]


def test_another_process_under_the_same_id_is_noticed(client: Any) -> None:
    stream = made(client)
    with stream.producer("me", linger=60) as producer:
        producer.append("a")
    other = stream.producer("me", linger=60)
    appended = other.append("b")
    with pytest.raises(ProducerConflict, match="somebody else"):
        other.flush()
    with pytest.raises(ProducerConflict):
        appended.position()
    with pytest.raises(ProducerConflict):
        other.append("c")
    assert values(stream) == ["a"]
    other.claim()
    assert other.epoch == 1
    other.append("d")
    other.close()
    assert values(stream) == ["a", "d"]


def test_two_at_once_under_the_same_id_are_noticed(client: Any) -> None:
    stream = made(client)
    one, two = stream.producer("me", linger=60), stream.producer("me", linger=60)
    one.append("one")
    one.flush()
    appended = two.append("two")
    with pytest.raises(ProducerConflict):
        two.flush()
    assert appended.done
    one.append("more")
    one.close()
    assert values(stream) == ["one", "more"]


def test_a_lower_epoch_is_fenced_and_never_claims_by_itself(client: Any) -> None:
    stream = made(client)
    old = stream.producer("me", epoch=1, linger=60)
    old.append(1)
    old.flush()
    with stream.producer("me", epoch=5) as new:
        new.append(2)
    old.append(3)
    with pytest.raises(StaleEpoch):
        old.flush()
    with pytest.raises(StaleEpoch):
        old.append(3)
    assert old.epoch == 1
    assert values(stream) == [1, 2]
    old.claim()
    old.append(4)
    old.close()
    assert old.epoch == 6
    assert values(stream) == [1, 2, 4]


def test_a_claim_at_the_beginning_is_for_the_first_append_alone(client: Any) -> None:
    stream = made(client)
    with stream.producer("me", epoch=5) as first:
        first.append(1)
    second = stream.producer("me", claim=True, linger=60, max_batch_items=1, max_in_flight=4)
    for number in range(2, 6):
        second.append(number)
    second.flush()
    assert second.epoch == 6
    with stream.producer("me", claim=True, epoch=6) as third:
        third.append(1)  # as the first did; a claim begins anew and repeats nobody
        third.flush()
        assert third.epoch == 7
    second.append("fenced")
    with pytest.raises(StaleEpoch):
        second.close()
    assert values(stream) == [1, 2, 3, 4, 5, 1]


# --- a server that loses what it knew --------------------------------------------------------------------------------


def test_a_server_that_forgot_a_producer_is_noticed() -> None:
    from hostile import HostileBackend

    backend = HostileBackend()
    with Client(backend) as client:
        stream = made(client)
        producer = stream.producer(linger=60)
        producer.append(1)
        producer.flush()
        backend.restart()
        producer.append(2)
        with pytest.raises(ProducerConflict, match="expects number 0"):
            producer.flush()
        producer.claim()
        producer.append(2)
        producer.close()
        assert values(stream) == [1, 2]


def test_lost_replies_on_the_least_that_a_server_gives(face: Any) -> None:
    from hostile import HostileBackend

    number = iter(range(10_000))
    backend = HostileBackend(drop_replies=lambda operation: isinstance(operation, Append) and next(number) % 2 == 0)
    client = face.client(backend)
    stream = made(client)
    with stream.producer(linger=60, max_batch_items=3, max_in_flight=4) as producer:
        appended = [producer.append({"n": number, "big": 2**60}) for number in range(20)]
        producer.flush()
        for count, each in enumerate(appended):
            assert len(list(stream.read(each.position()))) == 19 - count
    assert [value["n"] for value in values(stream)] == list(range(20))


def test_after_the_patience_it_stops_and_says_so(face: Any) -> None:
    down = [False]
    with FaultProxy(node_server().place(), lambda number, method, path: 500 if down[0] else None) as proxy:
        client = face.client(proxy.url)
        stream = made(client)
        producer = stream.producer(linger=60, patience=0)
        producer.append(1)
        producer.flush()
        down[0] = True
        appended = producer.append(2)
        with pytest.raises(Unavailable):
            producer.flush()
        with pytest.raises(Unavailable):
            appended.position()
        down[0] = False
        with pytest.raises(Unavailable):
            producer.append(3)
        producer.claim()
        producer.append(4)
        producer.close()
        assert values(stream) == [1, 4]


def test_what_was_given_back_goes_out_again_in_its_order() -> None:
    queue = Queue(Limits(linger=60, count=1, size=1000, in_flight=5, waiting=10_000), lambda: None)
    queue.put(b"0")
    zero, _ = queue.take()
    assert zero is not None
    zero.end = StreamPosition("0")
    queue.succeeded(zero)
    for number in range(1, 6):
        queue.put(b"%d" % number)
    under_way = [batch for batch, _ in (queue.take() for _ in range(4)) if batch is not None]
    assert [batch.seq for batch in under_way] == [1, 2, 3, 4]
    queue.failed(under_way[0], InvalidRequest("refused"), final=False)
    assert queue.take() == (None, None)  # not before those behind it are answered
    for batch in under_way[1:]:
        queue.given_back(batch)
    again = [batch for batch, _ in (queue.take() for _ in range(4)) if batch is not None]
    assert [(batch.seq, batch.messages) for batch in again] == [(1, [b"2"]), (2, [b"3"]), (3, [b"4"]), (4, [b"5"])]
