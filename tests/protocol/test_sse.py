"""Server-sent events: pages to events and back, wherever the bytes are cut."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_kit import messages, offsets, words

from agentstream.protocol.errors import BadReply
from agentstream.protocol.operations import JSON, Batch
from agentstream.protocol.sse import EventParser, PageReader, encoding_of, events_of

texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\r"), min_size=1)


def pages_of(data: bytes, cuts: list[int], content_type: str) -> list[Batch]:
    reader = PageReader(content_type, encoding_of(content_type))
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    chunks = [data[begin:end] for begin, end in itertools.pairwise(edges)]
    return [page for chunk in chunks for page in reader.feed(chunk)]


@st.composite
def pages(draw: Any, content_type: str) -> Batch:
    body: tuple[bytes, ...]
    if content_type == JSON:
        body = draw(messages)
    else:
        block = draw(st.binary() if encoding_of(content_type) else texts.map(str.encode))
        body = (block,) if block else ()
    closed, current = draw(st.booleans()), draw(st.booleans())
    cursor = None if closed else draw(st.none() | words)
    return Batch(body, draw(offsets), closed or current, closed, cursor=cursor, content_type=content_type)


@pytest.mark.parametrize("content_type", [JSON, "text/plain; charset=utf-8", "image/png"])
@given(data=st.data(), cuts=st.lists(st.integers(0, 10_000), max_size=20))
def test_pages_come_through(content_type: str, data: Any, cuts: list[int]) -> None:
    sent = data.draw(st.lists(pages(content_type), max_size=4))
    stream = b"".join(events_of(page, content_type, page.cursor) for page in sent)
    assert pages_of(stream, cuts, content_type) == sent


@given(st.binary(), st.lists(st.integers(0, 10_000), max_size=10))
def test_nothing_in_it_can_end_or_forge_an_event(noise: bytes, cuts: list[int]) -> None:
    text = b"one\n\nevent: control\ndata: {}\n\n" + noise.replace(b"\r", b"").decode("utf-8", "ignore").encode()
    sent = Batch((text,), "7", True, content_type="text/plain")
    assert pages_of(events_of(sent, "text/plain"), cuts, "text/plain") == [sent]


def test_what_other_servers_send_is_read() -> None:
    reader = PageReader(JSON, None)
    stream = (
        b": hello\r\nid: 4\r\nretry: 10\r\nevent: data\r\ndata: [1,\r\ndata: 2]\r\n\r\n"
        b"event: data\rdata:[3]\r\revent: unknown\ndata: x\n\nevent: control\n"
        b'data: {"streamNextOffset":"3","more":1,"upToDate":true}\n\nevent: data\ndata: [4]\n'
    )
    for size in range(1, 9):
        reader = PageReader(JSON, None)
        found = [page for at in range(0, len(stream), size) for page in reader.feed(stream[at : at + size])]
        assert found == [Batch((b"1", b"2", b"3"), "3", True, content_type=JSON)]


@pytest.mark.parametrize(
    "event",
    [
        b"event: data\ndata: [1\n\nevent: control\ndata: {}\n\n",
        b"event: control\ndata: {broken\n\n",
        b"event: control\ndata: {}\n\n",
        b'event: control\ndata: {"streamNextOffset": 4}\n\n',
    ],
)
def test_what_cannot_be_read_is_said(event: bytes) -> None:
    with pytest.raises(BadReply, match="live read"):
        list(PageReader(JSON, None).feed(event))


def test_base64_that_is_none_is_said() -> None:
    with pytest.raises(BadReply):
        list(PageReader("image/png", "base64").feed(b"event: data\ndata: ???\n\n"))


def test_a_long_line_in_many_pieces_is_read_in_one_pass() -> None:
    parser = EventParser()
    for _ in range(20_000):
        assert list(parser.feed(b"data: x" * 10)) == []
    (event,) = parser.feed(b"\n\n")
    assert len(event.data) == 20_000 * 70 - len("data: ")
