"""Requests that are wrong, and what they are told; responses that are right in each detail."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from server_kit import JSON, TEXT, code_of, served

from agentstream.backends.embedded import EmbeddedBackend
from agentstream.protocol.errors import InvalidRequest
from agentstream.protocol.http import HttpRequest
from agentstream.protocol.operations import START, Append, Create, ForkPoint, Read
from agentstream.protocol.serving import CURSOR_EPOCH, cursor_of, operation_of, stream_path

ROOT = "/v1/stream"


class TestPaths:
    @pytest.mark.parametrize(
        "path",
        ["..", ".", "a/../b", "a/./b", "a//b", "%2e%2e/a", "a/%2E%2e/b", "a%2F..%2Fb", "a%2f.", "a%00b", "a%0Ab", "%ff",
         "%C3%28", "%7F", "/a", "a/", "x" * 5000],
    )  # fmt: skip
    def test_what_cannot_be_one_is_refused(self, path: str) -> None:
        with pytest.raises(InvalidRequest):
            stream_path(f"{ROOT}/{path}", ROOT)

    @pytest.mark.parametrize(
        ("raw", "path"),
        [("a/b", "a/b"), ("a%2Fb", "a%2Fb"), ("%61", "a"), ("a b", "a%20b"), ("%E2%82%AC", "%E2%82%AC"),
         ("a+b", "a%2Bb"),
         ("a:b@c", "a%3Ab%40c"), ("%7Es/x", "~s/x"), ("a..b/...", "a..b/...")],
    )  # fmt: skip
    def test_one_stream_has_one_path_however_it_is_written(self, raw: str, path: str) -> None:
        assert stream_path(f"{ROOT}/{raw}", ROOT) == path

    def test_over_http(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            for path in ("a%2F..%2Fb", "a//b", "%00"):
                assert code_of(await client.get(path)) == "invalid_request"
            for url in ("http://localhost/", "http://localhost/v1/streams/a", "http://localhost/v1/stream"):
                assert code_of(await client.get(url)) == "stream_not_found"

        served(test)


class TestBodies:
    def test_too_large_is_said_before_it_is_read(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            await client.put("a", headers=TEXT)
            refused = await client.post("a", headers=TEXT, content=b"x" * 101)
            assert (refused.status_code, code_of(refused)) == (413, "body_too_large")
            assert (await client.post("a", headers=TEXT, content=b"x" * 100)).status_code == 204

            async def pieces():  # of unknown length
                for _ in range(11):
                    yield b"x" * 10

            assert (await client.post("a", headers=TEXT, content=pieces())).status_code == 413
            assert len((await client.get("a")).content) == 100

        served(test, largest_body=100)

    @pytest.mark.parametrize(
        "body",
        [b"", b"{", b"[1,]", b"1 2", b"nul", b"NaN", b"[NaN]", b"'a'", b'"\xff"', b"\xef\xbb\xbf1", b"\x00", b"[]",
         b"[" * 100_000, b"[" * 5_000 + b"]" * 5_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000],
    )  # fmt: skip
    def test_what_is_no_json_is_refused_and_nothing_of_it_kept(self, body: bytes) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            await client.put("a", headers=JSON, content=b"[1]")
            assert code_of(await client.post("a", headers=JSON, content=body)) == "invalid_request"
            assert (await client.get("a")).json() == [1]

        served(test)

    def test_json_is_kept_as_it_was_sent(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            messages = b'[12345678901234567890,1.0,{"a":1,"a":2},"\\u00e9", 1e400 ]'
            await client.put("a", headers=JSON, content=messages)
            assert (await client.get("a")).content == messages.replace(b", 1e400 ", b",1e400")

        served(test)


class TestHeaders:
    @pytest.mark.parametrize(
        "headers",
        [{"stream-ttl": "-1"}, {"stream-ttl": "01"}, {"stream-ttl": "1.0"}, {"stream-ttl": "9" * 400},
         {"stream-expires-at": "tomorrow"}, {"stream-expires-at": "2030-01-01"},
         {"stream-expires-at": "2030-13-01T00:00:00Z"},
         {"stream-ttl": "1", "stream-expires-at": "2030-01-01T00:00:00Z"}, {"content-type": "text"},
         {"content-type": "a/b\tc"}, {"stream-fork-sub-offset": "0"},
         {"stream-forked-from": f"{ROOT}/b", "stream-fork-sub-offset": "1"},
         {"stream-forked-from": f"{ROOT}/b", "stream-fork-offset": "x"},
         {"stream-forked-from": f"{ROOT}/b", "stream-fork-offset": "0" * 16, "stream-fork-sub-offset": "-1"}],
    )  # fmt: skip
    def test_of_creating(self, headers: dict[str, str]) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            await client.put("b", headers=TEXT)
            assert code_of(await client.put("a", headers=headers)) == "invalid_request"
            assert (await client.head("a")).status_code == 404

        served(test)

    @pytest.mark.parametrize(
        "headers",
        [{"producer-id": "p"}, {"producer-id": "p", "producer-epoch": "0"},
         {"producer-epoch": "0", "producer-seq": "0"},
         {"producer-id": "", "producer-epoch": "0", "producer-seq": "0"},
         {"producer-id": "p", "producer-epoch": "9007199254740992", "producer-seq": "0"},
         {"producer-id": "p", "producer-epoch": "0", "producer-seq": "0x1"}, {"content-type": ""}],
    )  # fmt: skip
    def test_of_appending(self, headers: dict[str, str]) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            await client.put("a", headers=TEXT)
            assert code_of(await client.post("a", headers={**TEXT, **headers}, content=b"x")) == "invalid_request"
            assert (await client.get("a")).content == b""

        served(test)

    @pytest.mark.parametrize(
        "query",
        ["offset=", "offset=1", "offset=x,y", "offset=-2", "offset=-1&offset=-1", "live=sse", "live=long-poll",
         "offset=-1&live=x",
         "offset=%ff", "&".join("a=1" for _ in range(100))],
    )  # fmt: skip
    def test_of_reading(self, query: str) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            await client.put("a", headers=TEXT)
            assert code_of(await client.get(f"a?{query}")) == "invalid_request"

        served(test)

    def test_each_response_has_those_that_browsers_heed(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            for response in (
                await client.put("a", headers={"content-type": "text/html"}, content=b"<script>"),
                await client.get("a"),
                await client.head("a"),
                await client.get("b"),
                await client.request("PATCH", "a"),
                await client.get("a?offset=now&live=long-poll"),
                await client.get("__ds/jwks.json"),
            ):
                assert response.headers["x-content-type-options"] == "nosniff"
                assert response.headers["cross-origin-resource-policy"] == "cross-origin"
            # a page that somebody wrote into a stream is no page of this server
            assert (await client.get("a")).headers["content-disposition"] == "attachment"

        served(test, long_poll_timeout=0.01)


def test_each_refusal_has_its_status_and_code() -> None:
    async def test(client: httpx.AsyncClient) -> None:
        async def post(path: str, body: bytes = b"1", **headers: Any) -> tuple[int, str]:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            response = await client.post(path, headers={**JSON, **named}, content=body)
            return response.status_code, code_of(response)

        await client.put("a", headers=JSON)
        assert await post("none") == (404, "stream_not_found")
        assert await post("a", b"x", content_type="text/plain") == (409, "stream_conflict")
        assert code_of(await client.put("a", headers=TEXT)) == "stream_conflict"
        await client.post("a", headers={**JSON, "stream-seq": "5"}, content=b"1")
        assert await post("a", stream_seq="5") == (409, "sequence_conflict")
        producer: dict[str, Any] = {"producer_id": "p", "producer_epoch": "1"}
        assert await post("a", **producer, producer_seq="3") == (409, "sequence_gap")
        for seq in ("0", "1"):
            named = {"producer-id": "p", "producer-epoch": "1", "producer-seq": seq}
            assert (await client.post("a", headers={**JSON, **named}, content=b"1")).status_code == 200
        assert await post("a", producer_id="p", producer_epoch="0", producer_seq="0") == (403, "stale_epoch")
        await client.post("a", headers={"stream-closed": "true"})
        assert await post("a") == (409, "stream_closed")
        assert (await client.request("PATCH", "a")).headers["allow"]
        assert code_of(await client.request("PATCH", "a")) == "method_not_allowed"
        await client.put("fork", headers={"stream-forked-from": f"{ROOT}/a"})
        await client.delete("a")
        assert (await client.get("a")).status_code == 410
        assert code_of(await client.get("a")) == "stream_gone"

    served(test)


class TestForks:
    def test_the_reference_servers_zero_offset_is_the_beginning(self) -> None:
        headers = {"stream-forked-from": f"{ROOT}/a", "stream-fork-offset": "0000000000000000_0000000000000000"}
        operation = operation_of(HttpRequest("PUT", f"{ROOT}/b", headers=headers), ROOT, long_poll=1)
        assert isinstance(operation, Create)
        assert operation.fork == ForkPoint("a", START)

    def test_a_body_without_a_type_is_read_as_the_sources(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            await client.put("a", headers=JSON, content=b"[1,2]")
            made = await client.put("b", headers={"stream-forked-from": f"{ROOT}/a"}, content=b"[3,4]")
            assert made.headers["content-type"] == "application/json"
            assert (await client.get("b")).json() == [1, 2, 3, 4]
            await client.delete("a")
            again = await client.put("c", headers={"stream-forked-from": f"{ROOT}/a"}, content=b"[3,4]")
            assert (again.status_code, code_of(again)) == (409, "stream_conflict")

        served(test)


class TestCaching:
    def test_a_page_is_not_sent_again_while_it_is_the_same(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            await client.put("a", headers=TEXT, content=b"1")
            tags: list[str] = []
            for change in ({"content": b"2", "headers": TEXT}, {"headers": {"stream-closed": "true"}}, None):
                page = await client.get("a")
                tags.append(page.headers["etag"])
                assert "no-cache" in page.headers["cache-control"]
                for asked in (tags[-1], f'"x", {tags[-1]}', f"W/{tags[-1]}"):
                    same = await client.get("a", headers={"if-none-match": asked})
                    assert (same.status_code, same.content) == (304, b"")
                    assert same.headers["stream-next-offset"] == page.headers["stream-next-offset"]
                assert (await client.get("a", headers={"if-none-match": '"x"'})).status_code == 200
                if change is not None:
                    await client.post("a", **change)  # type: ignore[arg-type]
            await client.delete("a")
            await client.put("a", headers=TEXT, content=b"9")
            tags.append((await client.get("a")).headers["etag"])
            assert len(set(tags)) == 4

        served(test)

    def test_what_is_at_now_is_kept_by_nobody(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            await client.put("a", headers=TEXT, content=b"1")
            page = await client.get("a?offset=now")
            assert (page.content, page.headers["cache-control"], "etag" in page.headers) == (b"", "no-store", False)

        served(test)

    def test_where_tokens_are_asked_for_shared_caches_keep_nothing(self) -> None:
        async def test(client: httpx.AsyncClient) -> None:
            await client.put("a", headers=TEXT, content=b"1")
            assert (await client.get("a")).headers["cache-control"].startswith("private")

        served(test, tokens=["12345678"], headers={"authorization": "Bearer 12345678"})


def test_cursors_rise_past_the_one_that_is_echoed() -> None:
    now = CURSOR_EPOCH + 20 * 500 + 3.0
    assert cursor_of(now) == cursor_of(now, "499") == cursor_of(now, "x") == cursor_of(now, "-1") == "500"
    for echoed in (500, 501, 9_000_000_000):
        assert echoed < int(cursor_of(now, str(echoed))) <= echoed + 180


def test_pages_are_bounded_and_together_they_are_the_stream() -> None:
    backend = EmbeddedBackend(None)
    messages = [b'"%07d%s"' % (number, b"x" * 1000) for number in range(5000)]
    backend.execute(Create("a"))
    for begin in range(0, 5000, 500):
        backend.execute(Append("a", tuple(messages[begin : begin + 500])))

    async def test(client: httpx.AsyncClient) -> None:
        found: list[str] = []
        offset, pages = "-1", 0
        while True:
            page = await client.get(f"a?offset={offset}")
            assert len(page.content) < 2_000_000
            found += page.json()
            offset, pages = page.headers["stream-next-offset"], pages + 1
            if "stream-up-to-date" in page.headers:
                break
            assert "max-age" in page.headers["cache-control"]
        assert [f'"{text}"'.encode() for text in found] == messages
        assert 3 < pages < 10

    served(test, backend)
    assert backend.execute(Read("a", limit=1)).messages == (messages[0],)
    backend.close()
