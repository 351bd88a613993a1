"""Whatever is sent, the answer is never that the server failed."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agentstream.backends.embedded import EmbeddedBackend
from agentstream.server import app

METHODS = st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "get"])
SEGMENTS = st.sampled_from(
    ["a", "b", "..", ".", "", "%2e%2e", "%00", "%ff", "%2F", "~k", "~ds", "~s", "~at", "__ds", "subscriptions", "x",
     "claim", "ack", "callback", "release", "streams", "jwks.json", "server", "%E2%82%AC", "a%2F..%2Fb", "%", "%zz"]
)  # fmt: skip
PATHS = st.one_of(
    st.lists(SEGMENTS, max_size=5).map(lambda parts: "/v1/stream/" + "/".join(parts)),
    st.text(max_size=40).map(lambda text: "/" + text),
)
VALUES = st.one_of(
    st.sampled_from(
        ["true", "0", "1", "-1", "now", "00", "1.5", "9007199254740991", "9007199254740992", "0000000000000000",
         "0000000000000001", "9999999999999999", "0000000000000000_0000000000000000", "application/json", "text/plain",
         "text/html", "application/json; charset=utf-8", "/v1/stream/a", "/v1/stream/~ds/keys", "/v1/stream/../a",
         "2030-01-01T00:00:00Z", "2030-13-45T99:00:00Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00",
         "Bearer x", "Bearer a.b", "*", '"x"', "localhost", "[", "http://[", "http://localhost", "close"]
    ),
    st.text(max_size=20),
)  # fmt: skip
HEADERS = st.dictionaries(
    st.sampled_from(
        ["content-type", "stream-seq", "stream-ttl", "stream-expires-at", "stream-closed", "producer-id",
         "producer-epoch", "producer-seq", "stream-forked-from", "stream-fork-offset", "stream-fork-sub-offset",
         "if-none-match", "authorization", "origin", "host", "content-length", "x-other"]
    ),
    VALUES,
    max_size=6,
)  # fmt: skip
QUERIES = st.one_of(
    st.lists(st.tuples(st.sampled_from(["offset", "live", "cursor", "q"]), VALUES), max_size=4).map(
        lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
    ),
    st.text(max_size=20),
)
BODIES = st.one_of(
    st.sampled_from(
        [b"", b"[]", b"{}", b"[1,2]", b'{"a":1}', b"[", b"nul", b"1 2", b'"\xff"', b'"\\ud800"', b"NaN", b"[1,]",
         b"[" * 5000, b"[" * 5000 + b"]" * 5000, b'{"a":' * 3000 + b"1" + b"}" * 3000, b"[[[]]]", b"\xef\xbb\xbf1",
         b'{"type":"pull-wake","pattern":"**","wake_stream":"a"}', b'{"type":"webhook","streams":["a"],"webhook":'
         b'{"url":"http://localhost:1/x"}}', b'{"worker":"w"}',
         b'{"wake_id":"w","generation":1,"acks":[{"offset":"1"}]}',
         b'{"streams":["a","b"]}', b'{"type":"webhook","pattern":"a","webhook":{"url":"http://[::1"}}']
    ),
    st.binary(max_size=50),
)  # fmt: skip
WILD = st.tuples(METHODS, PATHS, QUERIES, HEADERS, BODIES)
# Nearly right: what gets past the first checks.
NEAR = st.tuples(
    st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE"]),
    st.sampled_from(
        ["/v1/stream/a", "/v1/stream/a", "/v1/stream/b", "/v1/stream/__ds/subscriptions/x",
         "/v1/stream/__ds/subscriptions/x/claim", "/v1/stream/__ds/subscriptions/x/ack",
         "/v1/stream/__ds/subscriptions/x/streams", "/v1/stream/__ds/subscriptions/x/streams/a"]
    ),
    st.sampled_from(["", "", "offset=-1", "offset=now", "offset=0000000000000001", "offset=-1&live=sse",
                     "offset=-1&live=long-poll", "offset=0000000000000009&live=long-poll&cursor=99999999"]),
    st.builds(
        lambda kind, more: {"content-type": kind, **more},
        st.sampled_from(["application/json", "text/plain", "image/png"]),
        st.one_of(st.just({}), st.fixed_dictionaries({
            "producer-id": st.just("p"), "producer-epoch": st.sampled_from("01"),
            "producer-seq": st.sampled_from("012"),
        }), st.fixed_dictionaries({
            "stream-forked-from": st.sampled_from(["/v1/stream/a", "/v1/stream/b"]),
            "stream-fork-offset": st.sampled_from(["-1", "0000000000000001"]),
            "stream-fork-sub-offset": st.sampled_from(["0", "1", "7"]),
        }), HEADERS.map(lambda headers: {name: value for name, value in headers.items() if name not in DECIDING})),
    ),
    BODIES,
)  # fmt: skip
DECIDING = ("origin", "host", "content-length", "authorization")
REQUESTS = st.lists(st.one_of(NEAR, NEAR, WILD), min_size=1, max_size=12)
THERE: list[Any] = [
    ("PUT", "/v1/stream/a", "", {"content-type": "application/json"}, b"[1,2]"),
    ("PUT", "/v1/stream/b", "", {"content-type": "text/plain"}, b"text"),
]


async def statuses(requests: list[Any]) -> list[int]:
    backend = EmbeddedBackend(None)
    application = app(backend, long_poll_timeout=0.001)
    found: list[int] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            found.append(message["status"])
            for name, value in message["headers"]:
                assert isinstance(name, bytes)
                assert not {10, 13, 0} & set(value)

    for method, path, query, headers, body in THERE + requests:
        sent = [{"type": "http.request", "body": body, "more_body": False}, {"type": "http.disconnect"}]

        async def receive(sent: list[Any] = sent) -> Any:
            return sent.pop(0) if sent else {"type": "http.disconnect"}

        raw = path.encode("utf-8", "surrogatepass")
        scope = {
            "type": "http", "method": method, "path": path, "raw_path": raw, "root_path": "", "scheme": "http",
            "query_string": query.encode("utf-8", "surrogatepass"), "client": ("127.0.0.1", 1),
            "headers": [(name.encode(), value.encode("utf-8", "surrogatepass")) for name, value in headers.items()],
        }  # fmt: skip
        await application(scope, receive, send)
    await application.close()
    backend.close()
    return found


@given(requests=REQUESTS)
def test_no_request_makes_the_server_fail(requests: list[Any]) -> None:
    found = asyncio.run(asyncio.wait_for(statuses(requests), 60))
    assert not [status for status in found if status >= 500]
