"""The one translation of operations to HTTP: each half undoes the other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from protocol_kit import (
    LONG_POLL,
    appends,
    bodies,
    live_reads,
    lives,
    messages,
    numbers,
    offsets,
    operations,
    paths,
    reads,
)

from agentstream.errors import StoreError, Unauthorized, Unavailable
from agentstream.protocol import errors as refusals
from agentstream.protocol.http import HttpResponse, framed
from agentstream.protocol.operations import (
    JSON,
    NOW,
    Append,
    Appended,
    Batch,
    Create,
    Created,
    Head,
    Producer,
    Read,
    StreamInfo,
)
from agentstream.protocol.problems import error_of, problem_of
from agentstream.protocol.requests import request_of, result_of
from agentstream.protocol.serving import operation_of, response_of

ROOT = "/v1/stream"


@given(operations)
def test_a_request_says_the_whole_operation(operation: Any) -> None:
    assert operation_of(request_of(operation, ROOT), ROOT, long_poll=LONG_POLL) == operation


@given(operations)
def test_the_query_is_in_order_and_an_operation_has_one_request(operation: Any) -> None:
    request = request_of(operation, ROOT)
    assert list(request.query) == sorted(request.query)
    assert request_of(operation_of(request, ROOT, long_poll=LONG_POLL), ROOT) == request


@given(st.booleans(), offsets, st.booleans(), paths)
def test_what_came_of_creating(new: bool, offset: str, closed: bool, path: str) -> None:
    operation, result = Create(path), Created(new, offset, closed)
    assert result_of(operation, response_of(operation, result)) == result


@given(appends(), offsets, st.booleans(), numbers)
def test_what_came_of_appending(operation: Append, offset: str, duplicate: bool, last: int) -> None:
    duplicate = duplicate and operation.producer is not None and bool(operation.body)
    result = Appended(None if duplicate else offset, duplicate, operation.close, last_seq=last if duplicate else None)
    assert result_of(operation, response_of(operation, result)) == result


@given(reads | live_reads, bodies, offsets, st.booleans(), st.booleans(), st.none() | lives)
def test_what_came_of_reading(
    operation: Read, body: Any, offset: str, current: bool, closed: bool, life: str | None
) -> None:
    content_type, found = body
    if operation.offset == NOW or not found:
        found, content_type = (), JSON
    closed = closed and current
    operation = replace(operation, etag=None)
    batch = Batch(found, offset, current, closed, life, content_type=content_type)
    again = result_of(operation, response_of(operation, batch))
    assert isinstance(again, Batch)
    assert replace(again, etag=None, content_type=content_type) == batch
    if again.etag is not None:  # and whoever gives the page's etag back is told that nothing changed
        asked = replace(operation, etag=again.etag)
        unchanged = result_of(asked, response_of(asked, batch))
        assert isinstance(unchanged, Batch)
        assert (unchanged.unchanged, unchanged.messages, unchanged.offset) == (True, (), offset)


@given(st.sampled_from([JSON, "text/plain; charset=utf-8", "image/png"]), offsets, st.booleans(), st.none() | numbers)
def test_what_came_of_looking(content_type: str, offset: str, closed: bool, ttl: int | None) -> None:
    info = StreamInfo(content_type, offset, closed, ttl, None if ttl is not None else "2030-01-01T00:00:00Z")
    assert result_of(Head("s"), response_of(Head("s"), info)) == info


REFUSALS = [
    refusals.InvalidRequest("bad"),
    refusals.StaleEpoch("stale", epoch=4),
    refusals.StreamNotFound("none"),
    refusals.StreamConflict("other"),
    refusals.StreamClosed("over", offset="0_9"),
    refusals.SequenceGap("gap", expected=3, received=7),
    refusals.SequenceConflict("order"),
    refusals.StreamGone("gone"),
]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
def test_a_refusal_keeps_its_class_and_what_it_says(error: refusals.ProtocolError) -> None:
    with pytest.raises(type(error)) as raised:
        result_of(Append("s", (b"1",)), problem_of(error))
    told = {name: value for name, value in vars(raised.value).items() if name != "args"}
    assert told == vars(error)
    assert str(error) in str(raised.value)


def plain(status: int, **headers: str) -> HttpResponse:
    return HttpResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"words")


@pytest.mark.parametrize(
    ("response", "sequenced", "kind"),
    [
        (plain(409), False, refusals.StreamConflict),
        (plain(409), True, refusals.SequenceConflict),
        (plain(409, stream_closed="TRUE", stream_next_offset="7"), True, refusals.StreamClosed),
        (plain(409, stream_closed="yes"), False, refusals.StreamConflict),
        (plain(409, producer_expected_seq="1", producer_received_seq="3"), True, refusals.SequenceGap),
        (plain(403, producer_epoch="3"), False, refusals.StaleEpoch),
        (plain(403), False, Unauthorized),
        (plain(401), False, Unauthorized),
        (plain(404), False, refusals.StreamNotFound),
        (plain(410), False, refusals.StreamGone),
        (plain(413), False, StoreError),
        (plain(429), False, Unavailable),
        (plain(500), False, Unavailable),
        (plain(503), False, Unavailable),
        (plain(501), False, StoreError),
        (plain(301), False, StoreError),
    ],
)
def test_bare_answers_are_told_apart_by_status_and_headers(
    response: HttpResponse, sequenced: bool, kind: type[Exception]
) -> None:
    assert type(error_of(response, "stream 's'", sequenced=sequenced)) is kind


@pytest.mark.parametrize("body", [b'[{"a":1', b"[1,\xff]", b'{"a":', b"[1] x"])
def test_a_reply_that_was_cut_short_is_said_to_be_one(body: bytes) -> None:
    response = HttpResponse(200, {"content-type": JSON, "stream-next-offset": "1"}, body)
    with pytest.raises(refusals.BadReply, match="stream 's'"):
        result_of(Read("s"), response)


def test_another_kind_of_server_is_noticed() -> None:
    with pytest.raises(refusals.BadReply, match="Durable Streams server"):
        result_of(Read("s"), HttpResponse(200, {"content-type": "text/html"}, b"<html>"))


@pytest.mark.parametrize("value", ["ü", "a\r\nX: y", " a", ""])
def test_what_no_header_can_carry_is_refused(value: str) -> None:
    with pytest.raises(refusals.InvalidRequest):
        operation_of(request_of(Append("s", (b"1",), producer=Producer(value, 0, 0)), ROOT), ROOT, long_poll=1)


@given(messages)
def test_messages_come_back_byte_for_byte(body: tuple[bytes, ...]) -> None:
    response = HttpResponse(200, {"content-type": JSON, "stream-next-offset": "1"}, framed(body, JSON))
    result: Any = result_of(Read("s"), response)
    assert result.messages == body
