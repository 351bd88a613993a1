"""Subscriptions: who is woken, when, by which worker of a server, and what is remembered of it."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from server_kit import JSON, asking, code_of, served, until
from serving_kit import HANGING, serving
from webhook_kit import Received, receiving

from agentstream.backends.base import List
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.operations import Append, Create, Read
from agentstream.server import app
from agentstream.server.subscriptions import ledger as ledger_module
from agentstream.server.subscriptions.ledger import FOLDER, Ledger
from agentstream.server.subscriptions.records import Change, Config, Link, Subscription, glob_matches
from agentstream.server.subscriptions.signing import keys_of

SUBSCRIPTION = "__ds/subscriptions/s"
PULL = {"type": "pull-wake", "pattern": "jobs/**", "wake_stream": "wakes", "lease_ttl_ms": 600_000}


async def begun(client: httpx.AsyncClient, **more: Any) -> None:
    await client.put("wakes", headers=JSON)
    made = await client.put(SUBSCRIPTION, json={**PULL, **more})
    assert made.status_code == 201, made.text


async def events(client: httpx.AsyncClient, count: int = 1) -> list[Any]:
    """The wake events, once there are so many."""

    async def enough() -> Any:
        found = (await client.get("wakes")).json()
        return found if len(found) >= count else None

    return await asyncio.wait_for(until(enough), HANGING)


async def claimed(client: httpx.AsyncClient, worker: str = "w") -> dict[str, Any]:
    response = await client.post(f"{SUBSCRIPTION}/claim", json={"worker": worker})
    assert response.status_code == 200, response.text
    return response.json()


async def acked(client: httpx.AsyncClient, claim: dict[str, Any], acks: list[Any], **more: Any) -> httpx.Response:
    body = {"wake_id": claim["wake_id"], "generation": claim["generation"], "acks": acks, **more}
    return await client.post(f"{SUBSCRIPTION}/ack", json=body, headers={"authorization": f"Bearer {claim['token']}"})


def tails(claim: dict[str, Any]) -> list[dict[str, str]]:
    return [{"stream": one["path"], "offset": one["tail_offset"]} for one in claim["streams"]]


class TestPullWake:
    def test_what_is_there_already_wakes_nobody_and_what_comes_does(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            await client.put("jobs/old", headers=JSON, content=b"1")
            await begun(client)
            refused = await client.post(f"{SUBSCRIPTION}/claim", json={"worker": "w"})
            assert code_of(refused) == "no_pending_work"
            await client.put("jobs/a/b", headers=JSON, content=b"1")
            (event,) = await events(client)
            assert (event["type"], event["subscription_id"], event["stream"], event["generation"]) == (
                "wake", "s", "jobs/a/b", 1,
            )  # fmt: skip
            claim = await claimed(client)
            pending = {one["path"]: one["has_pending"] for one in claim["streams"]}
            assert pending == {"jobs/old": False, "jobs/a/b": True}
            assert (await acked(client, claim, tails(claim), done=True)).json() == {"ok": True, "next_wake": False}

        served(test)

    def test_what_came_meanwhile_wakes_again(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            await begun(client)
            await client.put("jobs/a", headers=JSON, content=b"1")
            await events(client)
            claim = await claimed(client)
            await client.post("jobs/a", headers=JSON, content=b"2")
            assert (await acked(client, claim, tails(claim), done=True)).json() == {"ok": True, "next_wake": True}
            assert [event["generation"] for event in await events(client, 2)] == [1, 2]

        served(test)

    def test_an_earlier_claim_is_fenced_by_a_later_one(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            await begun(client, lease_ttl_ms=1000)
            await client.put("jobs/a", headers=JSON, content=b"1")
            await events(client)
            first = await claimed(client)
            await events(client, 2)  # the lease ran out, and what it left wakes again
            second = await claimed(client, "other")
            assert second["generation"] > first["generation"]
            for body in ({}, {"done": True}):
                assert code_of(await acked(client, first, tails(first), **body)) == "fenced"
            released = await client.post(
                f"{SUBSCRIPTION}/release", json={"wake_id": first["wake_id"], "generation": first["generation"]},
                headers={"authorization": f"Bearer {first['token']}"},
            )  # fmt: skip
            assert code_of(released) == "fenced"

        served(test)

    def test_a_claim_is_one_workers_until_it_is_released(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            await begun(client)
            await client.put("jobs/a", headers=JSON, content=b"1")
            await events(client)
            claim = await claimed(client)
            busy = await client.post(f"{SUBSCRIPTION}/claim", json={"worker": "other"})
            assert (busy.status_code, busy.json()["error"]["current_holder"]) == (409, "w")
            released = await client.post(
                f"{SUBSCRIPTION}/release", json={"wake_id": claim["wake_id"], "generation": claim["generation"]},
                headers={"authorization": f"Bearer {claim['token']}"},
            )  # fmt: skip
            assert released.status_code == 204
            await events(client, 2)
            assert (await claimed(client, "other"))["streams"][0]["acked_offset"] == "-1"

        served(test)

    def test_an_ack_that_is_not_done_renews_the_lease(self) -> None:
        backend = EmbeddedBackend(None)

        async def test(client: httpx.AsyncClient) -> None:
            await begun(client)
            await client.put("jobs/a", headers=JSON, content=b"1")
            await events(client)
            claim = await claimed(client)
            untils: list[float] = []
            for _ in range(3):
                assert (await acked(client, claim, [])).json() == {"ok": True, "next_wake": False}
                state = await Ledger(backend).get("s")
                assert state is not None
                assert state.wake is not None
                assert state.wake.holder == "w"
                untils.append(state.wake.until)
            assert untils == sorted(set(untils))
            assert untils[0] > time.time() + 500

        served(test, backend)
        backend.close()

    def test_offsets_that_cannot_be_acknowledged(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            await begun(client)
            await client.put("jobs/a", headers=JSON, content=b"[1,2,3]")
            await events(client)
            claim = await claimed(client)
            assert (await acked(client, claim, [{"stream": "jobs/a", "offset": "0000000000000002"}])).status_code == 200
            for ack in (
                {"stream": "jobs/a", "offset": "0000000000000001"},
                {"stream": "jobs/a", "offset": "0000000000000004"},
                {"stream": "jobs/a", "offset": "-1"},
                {"stream": "jobs/a", "offset": "now"},
                {"stream": "jobs/b", "offset": "0000000000000001"},
            ):
                assert code_of(await acked(client, claim, [ack], done=True)) == "invalid_offset"
            told = (await client.get(SUBSCRIPTION)).json()
            assert told["streams"] == [{"path": "jobs/a", "link_type": "glob", "acked_offset": "0000000000000002"}]

        served(test)

    def test_tokens_of_others_open_nothing(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            await begun(client)
            await client.put("jobs/a", headers=JSON, content=b"1")
            await events(client)
            claim = await claimed(client)
            for token in ("", "x", "x.y", claim["token"] + "x", "." + claim["token"].partition(".")[2]):
                refused = await acked(client, {**claim, "token": token}, [])
                assert (refused.status_code, code_of(refused)) == (401, "token_invalid")
            # nor does the token of an earlier life of the id
            await client.delete(SUBSCRIPTION)
            await client.put(SUBSCRIPTION, json=PULL)
            assert code_of(await acked(client, claim, [])) == "token_invalid"

        served(test)

    def test_a_stream_made_anew_is_read_from_its_beginning(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            await begun(client)
            await client.put("jobs/a", headers=JSON, content=b"[1,2]")
            await events(client)
            claim = await claimed(client)
            assert (await acked(client, claim, tails(claim), done=True)).status_code == 200
            await client.delete("jobs/a")

            async def unlinked() -> bool:
                return (await client.get(SUBSCRIPTION)).json()["streams"] == []

            await asyncio.wait_for(until(unlinked), HANGING)
            await client.put("jobs/a", headers=JSON, content=b"[1]")
            await events(client, 2)
            assert (await claimed(client))["streams"][0]["acked_offset"] == "-1"

        served(test)


class Telling(EmbeddedBackend):
    """Counts what is appended to the wake stream, done or done before."""

    def __init__(self) -> None:
        super().__init__(None)
        self.told = 0

    async def aexecute(self, operation: Any) -> Any:
        result = await super().aexecute(operation)
        if isinstance(operation, Append) and operation.path == "wakes":
            self.told += 1
        return result


def test_a_wake_that_nobody_claims_is_told_again_and_stands_there_once() -> None:
    """Whoever was to tell it may have died before: so another worker does, after the time of the lease."""
    backend = Telling()

    async def test(client: httpx.AsyncClient) -> None:
        await begun(client, lease_ttl_ms=1000)
        await client.put("jobs/a", headers=JSON, content=b"1")

        async def twice() -> bool:
            return backend.told == 2

        await asyncio.wait_for(until(twice), HANGING)
        assert len((await client.get("wakes")).json()) == 1

    served(test, backend)
    backend.close()


class TestConfiguration:
    @pytest.mark.parametrize(
        "wrong",
        [{}, [], 1, {"type": "push"}, {"type": "pull-wake"}, {"type": "pull-wake", "pattern": "a"},
         {"type": "webhook", "pattern": "a"}, {**PULL, "lease_ttl_ms": 999}, {**PULL, "lease_ttl_ms": 600_001},
         {**PULL, "lease_ttl_ms": 1000.5}, {**PULL, "pattern": "a/../b"}, {**PULL, "pattern": 1},
         {**PULL, "streams": [1]},
         {**PULL, "wake_stream": "~ds/keys"}, {"type": "webhook", "pattern": "a", "webhook": {}}],
    )  # fmt: skip
    def test_what_is_none_is_refused(self, wrong: Any) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            refused = await client.put(SUBSCRIPTION, json=wrong)
            assert (refused.status_code, code_of(refused)) == (400, "invalid_request")
            assert code_of(await client.get(SUBSCRIPTION)) == "subscription_not_found"

        served(test)

    def test_the_same_is_confirmed_and_another_refused(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            await begun(client, streams=["a", "b"])
            again = await client.put(SUBSCRIPTION, json={**PULL, "streams": ["b", "a"]})
            assert again.status_code == 200
            assert code_of(await client.put(SUBSCRIPTION, json=PULL)) == "subscription_already_exists"
            assert (await client.delete(SUBSCRIPTION)).status_code == 204
            assert (await client.delete(SUBSCRIPTION)).status_code == 204
            assert (await client.put(SUBSCRIPTION, json=PULL)).status_code == 201

        served(test)

    def test_of_many_that_make_it_at_once_one_does(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            made = await asyncio.gather(*(client.put(SUBSCRIPTION, json=PULL) for _ in range(20)))
            assert sorted(one.status_code for one in made) == [200] * 19 + [201]

        served(test)

    def test_what_is_not_there(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            for path in (
                SUBSCRIPTION,
                "__ds/x",
                "__ds/subscriptions",
                f"{SUBSCRIPTION}/x",
                "__ds/subscriptions/s/claim/x",
            ):
                assert (await client.get(path)).status_code == 404, path
            assert code_of(await client.post(f"{SUBSCRIPTION}/claim", json={"worker": "w"})) == "subscription_not_found"
            assert (await client.post(SUBSCRIPTION)).status_code == 405
            assert (await client.get("__ds/jwks.json")).headers["content-type"] == "application/jwk-set+json"

        served(test)


def verified(notification: Received, jwks: dict[str, Any]) -> bool:
    parts = dict(part.split("=", 1) for part in notification.signature.split(","))
    key = next(one for one in jwks["keys"] if one["kid"] == parts["kid"])

    def decoded(text: str) -> bytes:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    try:
        Ed25519PublicKey.from_public_bytes(decoded(key["x"])).verify(
            decoded(parts["ed25519"]), parts["t"].encode() + b"." + notification.raw
        )
    except InvalidSignature:
        return False
    return abs(int(parts["t"]) - time.time()) < 300


class TestWebhooks:
    def test_a_notification_is_signed_and_its_callback_acks(self, tmp_path: Path) -> None:
        with receiving() as receiver, serving(tmp_path) as server, httpx.Client(timeout=HANGING) as client:
            asked = {"type": "webhook", "pattern": "jobs/*", "webhook": {"url": receiver.url}, "lease_ttl_ms": 60_000}
            made = client.put(f"{server.url}/{SUBSCRIPTION}", json=asked).json()
            client.put(f"{server.url}/jobs/a", headers=JSON, content=b"1")
            first = receiver.next()
            jwks = client.get(made["webhook"]["signing"]["jwks_url"]).json()
            assert verified(first, jwks)
            first.raw += b" "
            assert not verified(first, jwks)
            body = first.body
            acks = [{"stream": one["path"], "offset": one["tail_offset"]} for one in body["streams"]]
            answer = {"wake_id": body["wake_id"], "generation": body["generation"], "acks": acks, "done": True}
            token = {"authorization": f"Bearer {body['callback_token']}"}
            assert client.post(body["callback_url"], json=answer, headers=token).json() == {
                "ok": True,
                "next_wake": False,
            }
            assert client.post(body["callback_url"], json=answer, headers=token).status_code == 409

    def test_a_receiver_that_fails_is_tried_again(self, tmp_path: Path) -> None:
        replies = [(500, {}), (200, {"done": True})]
        with (
            receiving(lambda number: replies[min(number, 1)]) as receiver,
            serving(tmp_path) as server,
            httpx.Client(timeout=HANGING) as client,
        ):
            asked = {"type": "webhook", "pattern": "jobs/*", "webhook": {"url": receiver.url}, "lease_ttl_ms": 60_000}
            client.put(f"{server.url}/{SUBSCRIPTION}", json=asked)
            client.put(f"{server.url}/jobs/a", headers=JSON, content=b"1")
            first, second = receiver.next(), receiver.next()
            assert first.body["wake_id"] == second.body["wake_id"]

            def acked() -> str:
                return client.get(f"{server.url}/{SUBSCRIPTION}").json()["streams"][0]["acked_offset"]

            deadline = time.monotonic() + HANGING
            while acked() != "0000000000000001":
                assert time.monotonic() < deadline
                time.sleep(0.01)


class TestWorkersAndRestarts:
    def test_a_killed_server_forgets_nothing(self, tmp_path: Path) -> None:
        """Streams that came while no server ran, claims, acks, keys: the next one goes on with them."""
        with httpx.Client(timeout=HANGING) as client:
            with serving(tmp_path) as server:
                client.put(f"{server.url}/wakes", headers=JSON)
                client.put(f"{server.url}/{SUBSCRIPTION}", json=PULL)
                client.put(f"{server.url}/jobs/a", headers=JSON, content=b"1")
                deadline = time.monotonic() + HANGING
                while not client.get(f"{server.url}/wakes").json():
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                claim = client.post(f"{server.url}/{SUBSCRIPTION}/claim", json={"worker": "w"}).json()
                jwks = client.get(f"{server.url}/__ds/jwks.json").json()
                server.kill()
            backend = EmbeddedBackend(tmp_path)
            backend.execute(Create("jobs/b", (b"1",)))
            backend.close()
            with serving(tmp_path) as server:
                assert client.get(f"{server.url}/__ds/jwks.json").json() == jwks
                busy = client.post(f"{server.url}/{SUBSCRIPTION}/claim", json={"worker": "x"})
                assert busy.json()["error"]["current_holder"] == "w"
                body = {
                    "wake_id": claim["wake_id"],
                    "generation": claim["generation"],
                    "acks": tails(claim),
                    "done": True,
                }
                headers = {"authorization": f"Bearer {claim['token']}"}
                deadline = time.monotonic() + HANGING
                answer = client.post(f"{server.url}/{SUBSCRIPTION}/ack", json=body, headers=headers)
                assert answer.status_code == 200
                while len(client.get(f"{server.url}/wakes").json()) < 2:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                again = client.post(f"{server.url}/{SUBSCRIPTION}/claim", json={"worker": "x"}).json()
                pending = [one["path"] for one in again["streams"] if one["has_pending"]]
                assert pending == ["jobs/b"]

    def test_what_came_while_none_ran_wakes_without_being_asked_for(self, tmp_path: Path) -> None:
        with httpx.Client(timeout=HANGING) as client:
            with serving(tmp_path) as server:
                client.put(f"{server.url}/wakes", headers=JSON)
                assert client.put(f"{server.url}/{SUBSCRIPTION}", json=PULL).status_code == 201
                server.kill()
            backend = EmbeddedBackend(tmp_path)
            backend.execute(Create("jobs/b", (b"1",)))
            with serving(tmp_path):
                batch = backend.execute(Read("wakes", wait=HANGING))
                assert json.loads(batch.messages[0])["stream"] == "jobs/b"
            backend.close()

    def test_of_many_workers_one_wakes(self) -> None:
        """Each has its own app over one store; every wake is told once, whoever sees what came first."""

        async def run() -> None:
            backend = EmbeddedBackend(None)
            apps = [app(backend) for _ in range(5)]
            clients = [asking(one) for one in apps]
            opened = [await one.__aenter__() for one in clients]
            try:
                await begun(opened[0])
                for one in opened[1:]:
                    assert (await one.get(SUBSCRIPTION)).status_code == 200
                for number in range(10):
                    await opened[number % 5].put(f"jobs/{number}", headers=JSON, content=b"1")
                    found = await events(opened[0], number + 1)
                    assert [event["generation"] for event in found] == list(range(1, number + 2))
                    claims = await asyncio.gather(
                        *(one.post(f"{SUBSCRIPTION}/claim", json={"worker": "w"}) for one in opened)
                    )
                    assert sorted(one.status_code for one in claims) == [200, 409, 409, 409, 409]
                    claim = next(one for one in claims if one.status_code == 200).json()
                    done = await acked(opened[(number + 3) % 5], claim, tails(claim), done=True)
                    assert done.json() == {"ok": True, "next_wake": False}
            finally:
                for one in clients:
                    await one.__aexit__(None, None, None)
                backend.close()

        asyncio.run(asyncio.wait_for(run(), 2 * HANGING))


class TestLedger:
    def test_what_many_change_at_once_is_all_there_also_over_many_segments(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ledger_module, "LONGEST", 7)

        async def run() -> None:
            backend = EmbeddedBackend(None)
            ledgers = [Ledger(backend) for _ in range(4)]
            config = Config("pull-wake", 1000, streams=("a",), wake_stream="w", nonce="n")
            assert (await ledgers[0].create("i/d", Change(config=config)))[1]

            async def work(number: int) -> None:
                for turn in range(25):
                    path = f"{number}/{turn}"
                    await ledgers[number].change("i/d", lambda state: Change(links={path: Link("-1")}))  # noqa: B023

            await asyncio.gather(*(work(number) for number in range(4)))
            expected = {f"{number}/{turn}" for number in range(4) for turn in range(25)}
            for ledger in [*ledgers, Ledger(backend)]:
                state = await ledger.get("i/d")
                assert state is not None
                assert set(state.links) == expected
                assert state.config == config
            assert len(backend.execute(List(FOLDER))) == 1  # what is old is cleared away
            assert await ledgers[1].ids() == ["i/d"]
            assert await ledgers[2].remove("i/d")
            for ledger in [*ledgers, Ledger(backend)]:
                assert await ledger.get("i/d") is None
            assert (await ledgers[3].create("i/d", Change(config=config)))[1]
            assert (await ledgers[0].get("i/d")) == Subscription("i/d", config)
            backend.close()

        asyncio.run(run())

    def test_keys_are_made_once(self) -> None:
        async def run() -> None:
            backend = EmbeddedBackend(None)
            keys = await asyncio.gather(*(keys_of(backend) for _ in range(5)))
            assert len({one.kid for one in keys}) == 1
            assert len(backend.execute(Read("~ds/keys")).messages) == 1
            token = keys[0].token("s/1", 7)
            assert keys[1].read_token(token, "s/1") == 7
            assert keys[1].read_token(token, "s/2") == "TOKEN_INVALID"
            backend.close()

        asyncio.run(run())

    def test_an_old_token_has_expired(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def run() -> None:
            backend = EmbeddedBackend(None)
            keys = await keys_of(backend)
            token = keys.token("s", 1)
            later = time.time() + 86_401
            monkeypatch.setattr("time.time", lambda: later)
            assert keys.read_token(token, "s") == "TOKEN_EXPIRED"
            backend.close()

        asyncio.run(run())


def naive(pattern: list[str], path: list[str]) -> bool:
    if not pattern:
        return not path
    if pattern[0] == "**":
        return any(naive(pattern[1:], path[cut:]) for cut in range(len(path) + 1))
    return bool(path) and pattern[0] in ("*", path[0]) and naive(pattern[1:], path[1:])


@given(
    st.lists(st.sampled_from(["a", "b", "*", "**"]), min_size=1, max_size=5),
    st.lists(st.sampled_from("ab"), min_size=1),
)
def test_patterns_mean_what_they_say(pattern: list[str], path: list[str]) -> None:
    assert glob_matches("/".join(pattern), "/".join(path)) == naive(pattern, path)


def test_a_pattern_of_many_stars_costs_no_more_than_it_is_long() -> None:
    assert not glob_matches("/".join(["**", "a"] * 500), "/".join("a" * 400) + "/b")
