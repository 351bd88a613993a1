"""Who is answered, and who is not."""

from __future__ import annotations

import hmac
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest
from server_kit import JSON, TEXT, code_of, served

from agentstream import Client
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.operations import Create
from agentstream.server import app
from agentstream.server.access import Token, parse_token
from agentstream.server.subscriptions import signing

SECRET, READER = "a-long-secret", "another-secret"


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


class TestWithoutTokens:
    @pytest.mark.parametrize("peer", [("127.0.0.1", 5), ("::1", 5), ("::ffff:127.0.0.1", 5), None])
    def test_this_machine_is_answered(self, peer: Any) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            assert (await client.put("a", headers=TEXT)).status_code == 201

        served(test, peer=peer)

    @pytest.mark.parametrize("peer", [("192.168.1.7", 5), ("8.8.8.8", 5), ("fe80::1", 5), ("testclient", 5)])
    def test_no_other_machine_is(self, peer: Any) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            for method in ("GET", "PUT", "POST", "DELETE"):
                refused = await client.request(method, "a")
                assert (refused.status_code, code_of(refused)) == (403, "not_local")
            assert (await client.get("__ds/subscriptions/x")).status_code == 403

        served(test, peer=peer)

    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:4437", "10.0.0.1", "localhost.evil.example", "[", "a]b"]
    )
    def test_a_name_pointed_here_by_somebody_else_is_refused(self, host: str) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            assert code_of(await client.get("a", headers={"host": host})) == "host_refused"

        served(test)

    @pytest.mark.parametrize(
        "host", ["localhost", "localhost:1", "127.0.0.1", "127.9.9.9:80", "[::1]:4437", "app.localhost"]
    )
    def test_names_of_this_machine_are_fine(self, host: str) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            assert (await client.get("a", headers={"host": host})).status_code == 404

        served(test)

    def test_pages_of_other_sites_are_refused_and_see_nothing(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            await client.put("a", headers=TEXT, content=b"private")
            for origin in ("https://evil.example", "null", "http://localhost.evil.example", "http://["):
                for method in ("GET", "POST", "PUT", "DELETE"):
                    refused = await client.request(method, "a", headers={"origin": origin, **TEXT}, content=b"x")
                    assert code_of(refused) == "origin_refused"
                    assert "access-control-allow-origin" not in refused.headers
            assert (await client.get("a")).text == "private"

        served(test)

    def test_pages_of_this_machine_and_of_named_origins_may_ask(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            for origin in ("http://localhost:5173", "http://127.0.0.1", "https://app.example"):
                response = await client.put("a", headers={"origin": origin, **TEXT})
                assert response.headers["access-control-allow-origin"] == origin
                assert "stream-next-offset" in response.headers["access-control-expose-headers"]

        served(test, origins=["https://app.example"])

    def test_public_answers_everybody(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            response = await client.put("a", headers={"host": "any.example", "origin": "https://b.example", **TEXT})
            assert response.status_code == 201
            assert response.headers["access-control-allow-origin"] == "*"

        served(test, public=True, peer=("8.8.8.8", 5))


class TestTokens:
    def test_one_of_them_is_asked_for(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            for headers in ({}, bearer("wrong-secret"), bearer(SECRET + "x"), bearer(""), {"authorization": SECRET}):
                for method in ("GET", "PUT", "POST", "DELETE"):
                    refused = await client.request(method, "a", headers=headers)
                    assert (refused.status_code, code_of(refused)) == (401, "unauthorized")
                    assert refused.headers["www-authenticate"].startswith("Bearer")
            assert (await client.put("a", headers=bearer(SECRET) | TEXT)).status_code == 201
            assert (await client.put("b", headers={"authorization": f"bearer {SECRET}"} | TEXT)).status_code == 201

        served(test, tokens=[SECRET], peer=("8.8.8.8", 5))

    def test_a_reading_one_writes_nothing(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            await client.put("a", headers=bearer(SECRET) | TEXT, content=b"x")
            assert (await client.get("a", headers=bearer(READER))).text == "x"
            assert (await client.head("a", headers=bearer(READER))).status_code == 200
            for method in ("PUT", "POST", "DELETE"):
                assert (
                    code_of(await client.request(method, "a", headers=bearer(READER) | TEXT, content=b"y"))
                    == "read_only"
                )
            asked = {"type": "pull-wake", "streams": ["a"], "wake_stream": "w"}
            assert code_of(await client.put("__ds/subscriptions/s", json=asked, headers=bearer(READER))) == "read_only"

        served(test, tokens=[SECRET, f"read:{READER}"])

    def test_one_with_a_prefix_sees_nothing_else(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            mine, all_of_it = bearer(READER) | TEXT, bearer(SECRET) | TEXT
            await client.put("team/b", headers=all_of_it, content=b"x")
            assert (await client.put("team/a/1", headers=mine, content=b"y")).status_code == 201
            for path in (
                "team/b",
                "team/a",
                "team/a%2F1b/../../b",
                "~snap/team/b",
                "other",
                "~at/team%2Fb",
                "~cat/team",
            ):
                refused = await client.get(path, headers=mine)
                assert refused.status_code in (400, 403), path
            for path in (
                "~at/team%2Fa%2F1",
                "~snap/team/a/1",
                "~snap/~s/0123456789abcdef",
                "~s/0123456789abcdef",
                "~lease/0123456789abcdef",
            ):
                assert (await client.get(path, headers=mine)).status_code == 404
            # nor by way of a fork
            theft = mine | {"stream-forked-from": "/v1/stream/team/b"}
            assert code_of(await client.put("team/a/2", headers=theft)) == "forbidden"
            # nor of a subscription
            for asked in ({"pattern": "team/**"}, {"streams": ["team/b"]}, {"pattern": "team/a/*", "wake_stream": "w"}):
                body = {"type": "pull-wake", "wake_stream": "team/a/wake", **asked}
                assert (
                    code_of(await client.put("__ds/subscriptions/s", json=body, headers=bearer(READER))) == "forbidden"
                )

        served(test, tokens=[SECRET, f"write:{READER}@team/a/"])

    def test_every_one_is_compared_in_constant_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        compared: list[bytes] = []
        real = hmac.compare_digest

        def compare(one: Any, other: Any) -> bool:
            compared.append(other)
            return real(one, other)

        monkeypatch.setattr("hmac.compare_digest", compare)

        async def test(client: httpx.AsyncClient) -> None:
            await client.get("a", headers=bearer(SECRET))

        served(test, tokens=[SECRET, READER])
        assert compared == [SECRET.encode(), READER.encode()]

    @pytest.mark.parametrize("text", ["", "short", "read:short", "with a space", "tab\there-and", "ünïcödé-secret"])
    def test_what_is_none_is_refused_without_being_shown(self, text: str) -> None:
        with pytest.raises(ValueError, match="at least 8") as refused:
            parse_token(text)
        assert not text or text not in str(refused.value)

    def test_how_they_are_written(self) -> None:
        assert parse_token("12345678") == Token("12345678")
        assert parse_token("read:12345678@a/b") == Token("12345678", write=False, prefix="a/b")
        assert parse_token("write:12345678@a@b") == Token("12345678", prefix="a@b")


class TestWhatIsNeverServed:
    @pytest.mark.parametrize(
        "path", ["~ds/keys", "~ds/x", "~ds", "%7Eds/keys", "~ds/subscriptions/x/00000000", "~%64s/keys"]
    )
    def test_keys_and_the_servers_own_records(self, path: str) -> None:
        backend = EmbeddedBackend(None)
        backend.execute(Create("~ds/keys", (b'{"secret":1}',)))

        async def test(client: httpx.AsyncClient) -> None:
            for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
                refused = await client.request(method, path, headers=JSON, content=b"[1]")
                assert refused.status_code == 403
                assert b"secret" not in refused.content
            for live in ("sse", "long-poll"):
                assert (await client.get(f"{path}?offset=-1&live={live}")).status_code == 403
            theft = {"stream-forked-from": "/v1/stream/~ds/keys", "stream-fork-offset": "0000000000000001"}
            assert code_of(await client.put("mine", headers=theft)) == "reserved"

        served(test, backend)
        backend.close()

    def test_the_key_it_signs_with_is_one_of_them(self) -> None:
        assert signing.PATH.startswith("~ds/")

    def test_a_subscription_to_them_is_refused(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            for asked in ({"streams": ["~ds/keys"]}, {"pattern": "~ds/*"}, {"streams": ["__ds/x"]}):
                body = {"type": "pull-wake", "wake_stream": "w", **asked}
                refused = await client.put("__ds/subscriptions/s", json=body)
                assert code_of(refused) == "invalid_request"

        served(test)


def test_what_is_no_client_is_refused() -> None:
    with pytest.raises(TypeError, match="client or a backend"):
        app("http://localhost")
    with Client("memory:") as client:
        wrongs: list[dict[str, Any]] = [{"root": "v1"}, {"root": "/v1/"}, {"long_poll_timeout": 0}, {"largest_body": 0}]
        for wrong in wrongs:
            with pytest.raises(ValueError, match=r"slash|seconds"):
                app(client, **wrong)


def test_a_damaged_store_says_nothing_of_itself(tmp_path: Path) -> None:
    backend = EmbeddedBackend(tmp_path)
    backend.execute(Create("a", (b"1",)))
    with sqlite3.connect(tmp_path / "streams.db") as connection:
        connection.execute("UPDATE frames SET body = ?", (b"2",))

    async def test(client: httpx.AsyncClient) -> None:
        refused = await client.get("a")
        assert (refused.status_code, code_of(refused)) == (500, "store_error")
        assert str(tmp_path) not in refused.text

    served(test, backend)
    backend.close()
