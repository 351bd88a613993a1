"""Faults on the way: nothing lost, nothing twice, and an error where neither can be promised."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from fault_proxy import FaultProxy
from node_server import node_server

from agentstream import Client, agent, step
from agentstream.backends.remote import RemoteBackend
from agentstream.backends.remote.exchange import Backoff
from agentstream.errors import StoreError, Unavailable
from agentstream.protocol import errors as refusals
from agentstream.protocol.operations import Append, Create, Delete, Follow, Head, Producer, Read

FAULTS = ["drop", "refuse", "cut", "twice", "late", 429, 500, 502, 503]


def never(number: int, method: str, path: str) -> None:
    return None


def on(method: str, fault: Any, *, times: int = 1) -> Any:
    """A plan: the first requests of a method go wrong."""
    left = [times]

    def plan(number: int, asked: str, path: str) -> Any:
        if asked != method or not left[0]:
            return None
        left[0] -= 1
        return fault

    return plan


@pytest.mark.parametrize("fault", FAULTS)
def test_a_producers_append_is_there_once(face: Any, proxied: Any, fault: Any) -> None:
    proxy = proxied(on("POST", fault, times=2))
    backend = face.backend(proxy.url)
    face.do(backend, Create("s"))
    results = [face.do(backend, Append("s", (b"%d" % n,), producer=Producer("me", 0, n))) for n in range(4)]
    assert face.do(backend, Read("s")).messages == (b"0", b"1", b"2", b"3")
    # what was sent twice on the way is a duplicate by another's hand; what we repeated ourselves is not
    assert [result.duplicate for result in results] == [fault == "twice", fault == "twice", False, False]
    assert results[0].repeated == (fault in ("drop", "refuse", "late", 500, 502))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_plain_append_is_repeated_only_if_it_was_surely_not_written(face: Any, proxied: Any, fault: Any) -> None:
    proxy: FaultProxy = proxied(on("POST", fault))
    backend = face.backend(proxy.url)
    face.do(backend, Create("s"))
    sure = fault in ("cut", "twice", 429, 503)
    if sure:
        face.do(backend, Append("s", (b"1",)))
    else:
        with pytest.raises(Unavailable):
            face.do(backend, Append("s", (b"1",)))
    assert len(proxy.requests) == (3 if fault in (429, 503) else 2)
    assert len(face.do(backend, Read("s")).messages) == {"drop": 1, "cut": 1, "twice": 2, 429: 1, 503: 1}.get(fault, 0)


@pytest.mark.parametrize("fault", ["drop", "refuse", "cut", "twice", 503])
@pytest.mark.parametrize("method", ["PUT", "GET", "HEAD", "DELETE"])
def test_what_may_be_repeated_is(face: Any, proxied: Any, method: str, fault: Any) -> None:
    backend = face.backend(proxied(on(method, fault, times=2)).url)
    made = face.do(backend, Create("s", (b"1", b"2")))
    assert made.new == (not (method == "PUT" and fault in ("drop", "twice")))
    assert face.do(backend, Read("s")).messages == (b"1", b"2")
    assert face.do(backend, Head("s")).offset == made.offset
    if method == "DELETE" and fault == "twice":
        with pytest.raises(refusals.StreamNotFound):  # nobody can know whose the first was
            face.do(backend, Delete("s"))
    else:
        assert face.do(backend, Delete("s")) is None
    with pytest.raises(refusals.StreamNotFound):
        face.do(backend, Read("s"))


def test_closing_alone_is_repeated(face: Any, proxied: Any) -> None:
    backend = face.backend(proxied(on("POST", "drop")).url)
    face.do(backend, Create("s"))
    assert face.do(backend, Append("s", close=True)).closed


def test_it_gives_up(face: Any, proxied: Any) -> None:
    proxy = proxied(lambda number, method, path: 503)
    backend = face.backend(proxy.url, backoff=Backoff(tries=4, first=0.001))
    with pytest.raises(Unavailable, match="503"):
        face.do(backend, Read("s"))
    assert len(proxy.requests) == 4


@pytest.mark.parametrize("status", [400, 401, 404, 410, 413])
def test_what_is_no_trouble_of_the_moment_is_not_repeated(face: Any, proxied: Any, status: int) -> None:
    proxy = proxied(lambda number, method, path: status)
    with pytest.raises((StoreError, refusals.ProtocolError)):
        face.do(face.backend(proxy.url), Read("s"))
    assert len(proxy.requests) == 1


def test_a_server_says_when_to_come_again(proxied: Any) -> None:
    proxy = proxied(on("GET", 429), retry_after="7")
    backend = RemoteBackend(proxy.url)
    steps = backend._steps(Read("s"))
    response = backend._sender.execute(steps.send(None))
    pause = steps.send(response)
    assert pause.seconds >= 7
    backend.close()


def test_appends_of_many_seeds_are_all_there_once(proxied: Any) -> None:
    for seed in range(4):
        chance = random.Random(seed)
        plan = {number: chance.choice(FAULTS) for number in range(400) if chance.random() < 0.4}
        proxy = proxied(lambda number, method, path, plan=plan: plan.get(number))
        backend = RemoteBackend(proxy.url, backoff=Backoff(tries=20, first=0.0005, longest=0.002))
        backend.execute(Create("s"))
        for number in range(40):
            backend.execute(Append("s", (b"%d" % number,), producer=Producer("me", 0, number)))
        proxy.plan = never
        assert backend.execute(Read("s")).messages == tuple(b"%d" % number for number in range(40)), seed
        backend.close()


@pytest.mark.parametrize("seed", range(2))
def test_a_run_through_faults_does_each_step_once(proxied: Any, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr("agentstream.backends.remote.backend.Backoff", lambda: Backoff(20, 0.0005, 0.002))
    chance = random.Random(seed)
    plan = {
        number: chance.choice(["drop", "refuse", "late", 500, 503]) for number in range(400) if chance.random() < 0.3
    }
    proxy = proxied(lambda number, method, path: plan.get(number))
    done: list[int] = []

    @step
    def work(number: int) -> int:
        done.append(number)
        return number * 2

    @agent
    def talk(count: int) -> list[int]:
        return [work(number) for number in range(count)]

    with Client(proxy.url) as client:
        session = client.session("s")
        assert session.run(talk, 12) == [number * 2 for number in range(12)]
        assert done == list(range(12))
        branch = session.fork("branch", at=9)
        proxy.plan = never
        assert [event.raw for event in branch.events(stop=9)] == [event.raw for event in session.events(stop=9)]
        assert not [event for event in session.events() if event.mark is not None]
        assert session.replay(talk).identical


@pytest.mark.parametrize("end", [0, 41, 150, 1000])
def test_a_live_read_goes_on_wherever_the_connection_ends(face: Any, proxied: Any, end: int) -> None:
    count = [0]

    def plan(number: int, method: str, path: str) -> Any:
        if "live=sse" not in path:
            return None
        count[0] += 1
        return ("cut", end) if count[0] <= 3 else 503 if count[0] == 4 else None

    backend = face.backend(proxied(plan).url)
    face.do(backend, Create("s"))
    for number in range(20):
        face.do(backend, Append("s", (b'{"number":%d}' % number,)))
    face.do(backend, Append("s", close=True))
    pages = face.pages(backend, Follow("s"), 999)
    assert [json.loads(message)["number"] for page in pages for message in page.messages] == list(range(20))
    assert pages[-1].closed


def test_a_live_read_is_not_begun_again_after_the_end(face: Any, proxied: Any) -> None:
    proxy: FaultProxy = proxied(never)
    backend = face.backend(proxy.url)
    face.do(backend, Create("s", (b"1",), closed=True))
    assert [page.closed for page in face.pages(backend, Follow("s"), 99)] == [True]
    assert sum("live=sse" in path for _, path, _ in proxy.requests) == 1


def test_a_live_read_gives_up_on_a_server_that_ends_it_again_and_again(face: Any, proxied: Any) -> None:
    proxy: FaultProxy = proxied(lambda number, method, path: ("cut", 0) if "live=sse" in path else None)
    backend = face.backend(proxy.url)
    face.do(backend, Create("s", (b"1",)))
    with pytest.raises(Unavailable, match="ends each live read"):
        face.pages(backend, Follow("s"), 99)
    assert sum("live=sse" in path for _, path, _ in proxy.requests) == 6


def test_a_live_read_of_nothing(face: Any, proxied: Any) -> None:
    with pytest.raises(refusals.StreamNotFound):
        face.pages(face.backend(proxied(never).url), Follow("s"), 1)


# --- faults of the reference server's own making ---------------------------------------------------------------------


def inject(path: str, **fault: Any) -> None:
    import http.client

    connection = http.client.HTTPConnection(node_server().url.removeprefix("http://"), timeout=60)
    connection.request("POST", "/_test/inject-error", json.dumps({"path": path, **fault}))
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500, "count": 2},
        {"status": 503, "count": 2},
        {"status": 429, "count": 1, "retryAfter": 0},
        {"dropConnection": True, "count": 2},
        {"delayMs": 30, "jitterMs": 30},
        {"status": 503, "count": 1, "method": "POST"},
    ],
    ids=str,
)
@pytest.mark.parametrize("operation", ["append", "read"])
def test_injected_trouble_is_outlived(face: Any, fault: dict[str, Any], operation: str) -> None:
    backend = face.backend(node_server().place())
    path = f"{backend._sender.root}/s"
    face.do(backend, Create("s", (b"1",)))
    inject(path, **fault)
    if operation == "append":
        face.do(backend, Append("s", (b"2",), producer=Producer("me", 0, 0)))
        assert face.do(backend, Read("s")).messages == (b"1", b"2")
    else:
        assert face.do(backend, Read("s")).messages == (b"1",)
    inject(path, status=500, count=0)


@pytest.mark.parametrize("fault", [{"truncateBodyBytes": 5}, {"corruptBody": True}], ids=str)
def test_an_injected_change_of_the_reply_is_noticed(face: Any, fault: dict[str, Any]) -> None:
    backend = face.backend(node_server().place())
    face.do(backend, Create("s", (b'{"text":"a long enough message"}',)))
    inject(f"{backend._sender.root}/s", **fault)
    with pytest.raises(refusals.BadReply):
        face.do(backend, Read("s"))
    assert face.do(backend, Read("s")).messages == (b'{"text":"a long enough message"}',)


def test_an_injected_event_is_passed_over_or_noticed(face: Any) -> None:
    backend = face.backend(node_server().place())
    face.do(backend, Create("s", (b"1",), closed=True))
    path = f"{backend._sender.root}/s"
    inject(path, injectSseEvent={"eventType": "news", "data": "anything"}, method="GET")
    assert [page.messages for page in face.pages(backend, Follow("s"), 9)] == [(b"1",)]
    inject(path, injectSseEvent={"eventType": "control", "data": "{broken"}, method="GET")
    with pytest.raises(refusals.BadReply):
        face.pages(backend, Follow("s"), 9)
