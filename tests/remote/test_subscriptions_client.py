"""Subscriptions as a client has them: on our server and on the reference server, sync and async."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fault_proxy import FaultProxy
from node_server import node_server
from our_server import our_server
from webhook_kit import Received, receiving

from agentstream import AsyncClient, Client, NotFound, SubscriptionError
from agentstream.backends.remote import RemoteBackend
from agentstream.backends.remote.exchange import Backoff
from agentstream.sessions import wakes

HANGING = 60.0
SERVERS: dict[str, Callable[[], Any]] = {"ours": our_server, "node": node_server}
SHORTEST = 1.0
"""Seconds of the shortest lease that the protocol has."""


class Both:
    """A client by its sync or its async face, each call waited for."""

    def __init__(self, made: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._made = made
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._made, name)
        if not inspect.ismethod(found):
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            value = found(*args, **kwargs)
            if inspect.isawaitable(value):
                value = self._loop.run_until_complete(value)
            return Both(value, self._loop) if type(value).__module__ == "agentstream.subscriptions" else value

        return call


@contextmanager
def face(way: str, url: Any, **options: Any) -> Iterator[Any]:
    loop = asyncio.new_event_loop()
    client: Any = (Client if way == "sync" else AsyncClient)(url, **options)
    made = Both(client, loop)
    try:
        yield made
    finally:
        made.close()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@pytest.fixture(params=["ours", "node"])
def place(request: pytest.FixtureRequest) -> str:
    return SERVERS[request.param]().place()


@pytest.fixture(params=["sync", "async"])
def client(request: pytest.FixtureRequest, place: str) -> Iterator[Any]:
    with face(request.param, place) as made:
        yield made


@pytest.fixture
def writer(place: str) -> Iterator[Client]:
    with Client(place) as made:
        yield made


def said(writer: Client, *ids: str) -> None:
    for id in ids:
        writer.session(id).append("note", {"of": id})


def name(place: str) -> str:
    """An id of a subscription that no other test has: they are a whole server's."""
    return f"s {place.rpartition('/')[2]}"


def test_what_is_appended_wakes_and_is_acknowledged(client: Any, writer: Client, place: str) -> None:
    said(writer, "jobs/old")
    jobs = client.subscription(name(place))
    info = jobs.create(pattern="jobs/*", streams=["ünï/x y"], description="all of them")
    assert (info.id, info.type, info.lease, info.pattern) == (name(place), "pull-wake", 30.0, "jobs/*")
    assert info.wake_stream == f"~wake/s%20{place.rpartition('/')[2]}"
    assert jobs.create(pattern="jobs/*", streams=["ünï/x y"], description="all of them") == info
    assert jobs.claim() is None
    said(writer, "jobs/new", "ünï/x y", "other")
    wake = jobs.claim("me", wait=HANGING)
    assert wake.generation == 1
    woke = {"jobs/new", "ünï/x y"}
    seen: set[str] = set()
    while True:  # the second may have come after the wake
        seen |= {stream.id for stream in wake.pending}
        more = wake.ack(done=True)
        if seen >= woke:
            break
        wake = jobs.claim("me", wait=HANGING)
    assert seen == woke
    assert not more
    assert jobs.claim() is None
    told = {stream.id: stream for stream in jobs.get().streams}
    assert set(told) == {"jobs/old", *woke}
    assert told["ünï/x y"].link == "explicit"
    jobs.delete()
    jobs.delete()
    with pytest.raises(NotFound, match="create"):
        jobs.get()


def test_a_wake_is_one_workers_until_its_lease_has_run_out(client: Any, writer: Client, place: str) -> None:
    jobs = client.subscription(name(place))
    jobs.create(pattern="**", lease=SHORTEST)
    said(writer, "a")
    first = jobs.claim("first", wait=HANGING)
    assert jobs.claim("second") is None
    begun = time.monotonic()
    while time.monotonic() - begun < 2 * SHORTEST:
        first.renew()
    second = jobs.claim("second", wait=HANGING)  # the first says nothing more
    assert second.generation > first.generation
    for call in (first.renew, first.release, lambda: first.ack(done=True)):
        with pytest.raises(SubscriptionError) as refused:
            call()
        assert refused.value.code == "FENCED"
    second.release()  # and what was not acknowledged wakes again
    third = jobs.claim("third", wait=HANGING)
    assert {stream.id for stream in third.pending} >= {"a"}
    jobs.delete()


def test_sessions_are_added_and_taken_back(client: Any, writer: Client, place: str) -> None:
    jobs = client.subscription(name(place))
    jobs.create(streams=["a"])
    jobs.add("b", "c")
    jobs.remove("b")
    said(writer, "b")
    assert jobs.claim() is None
    said(writer, "c")
    wake = jobs.claim(wait=HANGING)
    assert [stream.id for stream in wake.pending] == ["c"]
    assert not wake.ack({"c": wake.pending[0].tail}, done=True)
    jobs.delete()


def test_the_wake_of_a_block(writer: Client, place: str) -> None:
    jobs = writer.subscription(name(place))
    jobs.create(pattern="jobs/*")
    said(writer, "jobs/a")
    wake = jobs.claim(wait=HANGING)
    assert wake is not None
    with pytest.raises(ZeroDivisionError), wake:
        raise ZeroDivisionError
    wake = jobs.claim(wait=HANGING)
    assert wake is not None
    with wake:
        assert [stream.id for stream in wake.pending] == ["jobs/a"]
    assert jobs.claim() is None
    jobs.delete()


def test_refusals_say_what_is_wrong(client: Any, place: str) -> None:
    jobs = client.subscription(name(place))
    for wrong in ("jobs*", "", "a//b", "~s/*"):
        with pytest.raises(ValueError, match="pattern="):
            jobs.create(pattern=wrong)
    with pytest.raises(SubscriptionError) as nothing:
        jobs.create()
    assert nothing.value.code == "INVALID_REQUEST"
    jobs.create(pattern="a")
    with pytest.raises(SubscriptionError) as other:
        jobs.create(pattern="b")
    assert other.value.code == "SUBSCRIPTION_ALREADY_EXISTS"
    with pytest.raises(SubscriptionError) as inside:
        client.subscription(f"{name(place)} hook").create(pattern="a", webhook="https://10.0.0.1/hook")
    assert inside.value.code == "WEBHOOK_URL_REJECTED"
    jobs.delete()


def test_a_store_has_none(tmp_path: Path) -> None:
    with Client(tmp_path) as client, pytest.raises(SubscriptionError, match="agentstream serve") as refused:
        client.subscription("s").claim()
    assert refused.value.code == "NOT_SUPPORTED"


def test_a_claim_waits_for_what_comes(writer: Client, place: str) -> None:
    jobs = writer.subscription(name(place))
    jobs.create(pattern="jobs/*")

    async def waiting() -> Any:
        async with AsyncClient(place) as client:
            waits = asyncio.ensure_future(client.subscription(name(place)).claim(wait=HANGING))
            while not waits.done():
                await asyncio.sleep(0.05)
                await client.session("jobs/a").append("note", {})
            return await waits

    assert [stream.id for stream in asyncio.run(waiting()).pending] == ["jobs/a"]
    jobs.delete()


# --- lost answers ----------------------------------------------------------------------------------------------------


def test_an_end_whose_answer_was_lost_is_no_error() -> None:
    place = our_server().place()
    lost: list[str] = []

    def plan(number: int, method: str, path: str) -> str | None:
        if path.endswith(("/ack", "/release")) and path not in lost:
            lost.append(path)
            return "drop"
        return None

    with FaultProxy(place, plan) as proxy, Client(place) as writer:
        soon = Backoff(tries=6, first=0.002, longest=0.01)
        with Client(RemoteBackend(proxy.url, backoff=soon)) as client:
            jobs = client.subscription(name(place))
            jobs.create(pattern="jobs/*")
            said(writer, "jobs/a")
            wake = jobs.claim(wait=HANGING)
            assert wake is not None
            wake.release()
            wake = jobs.claim(wait=HANGING)
            assert wake is not None
            wake.ack(done=True)
            assert jobs.claim() is None
            jobs.delete()
    assert len(lost) == 2


# --- webhooks --------------------------------------------------------------------------------------------------------


@contextmanager
def hooked(client: Any, writer: Client, place: str) -> Iterator[Any]:
    with receiving() as receiver:
        said(writer, "jobs/a")  # so that what follows is one append each
        hook = client.subscription(name(place))
        hook.create(pattern="jobs/*", webhook=receiver.url)
        said(writer, "jobs/a")
        yield receiver
        hook.delete()


def test_a_webhook_is_verified_and_answered(client: Any, writer: Client, place: str) -> None:
    with hooked(client, writer, place) as receiver:
        got: Received = receiver.next()
        wake = client.webhook(got.raw, got.signature)
        assert wake.generation == 1
        assert [stream.id for stream in wake.pending] == ["jobs/a"]
        wake.renew()
        assert not wake.ack(done=True)
        said(writer, "jobs/a")
        got = receiver.next()
        client.webhook(got.raw, got.signature).release()  # it wakes again
        got = receiver.next()
        assert not client.webhook(got.raw, got.signature).ack(done=True)


def test_what_the_server_has_not_signed_is_refused(
    client: Any, writer: Client, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hooked(client, writer, place) as receiver:
        got: Received = receiver.next()
        time_, kid, signature = got.signature.split(",")
        other = json.dumps({**got.body, "wake_id": "w_other"}).encode()
        later = f"t={int(time_[2:]) + 1}"
        for body, told in [
            (other, got.signature),
            (got.raw + b" ", got.signature),
            (got.raw, None),
            (got.raw, ""),
            (got.raw, f"{later},{kid},{signature}"),
            (got.raw, f"{time_},kid=ds_other,{signature}"),
            (got.raw, f"{time_},{kid},ed25519={'A' * 86}"),
            (got.raw, f"{time_},{kid},ed25519=A"),
            (got.raw, f"{got.signature}\n"),
        ]:
            with pytest.raises(SubscriptionError) as refused:
                client.webhook(body, told)
            assert refused.value.code == "SIGNATURE_INVALID"
        monkeypatch.setattr(wakes, "TOLERANCE", -1.0)
        with pytest.raises(SubscriptionError, match="its time"):
            client.webhook(got.raw, got.signature)


# --- the page --------------------------------------------------------------------------------------------------------


def test_what_the_page_shows(place: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "subscriptions.md").read_text("utf-8")
    pull, hooks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    known: dict[str, Any] = {"url": place}
    exec(pull.replace('subscription("jobs")', f'subscription("{name(place)}")'), known)
    assert "jobs/7 has something after" in capsys.readouterr().out
    known["jobs"].delete()
    with receiving(lambda number: (200, {"done": True})) as receiver:
        hook = f"{name(place)} hook"
        local = hooks.replace("https://example.org/hooks/support", receiver.url).replace('"hooks"', f'"{hook}"')
        exec(local, known)
        said(known["client"], "support/1")
        got = receiver.next()
        assert known["posted"](got.raw, {"webhook-signature": got.signature}) == {"done": True}
        known["client"].subscription(hook).delete()
    assert "support/1" in capsys.readouterr().out
    known["client"].close()
