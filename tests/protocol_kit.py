"""Operations and pages that hypothesis draws, for the tests of the wire."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from agentstream.protocol.operations import (
    JSON,
    NOW,
    START,
    Append,
    Create,
    Delete,
    Follow,
    ForkPoint,
    Head,
    Producer,
    Read,
)
from agentstream.sessions.ids import path_of

LONG_POLL = 12.5

ids = st.lists(
    st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=12).filter(
        lambda part: "/" not in part and part not in (".", "..") and not part.startswith("~")
    ),
    min_size=1,
    max_size=3,
).map("/".join)
paths = ids.map(path_of) | st.sampled_from(["~s/4h", "~at/a%2Fb"])
offsets = st.from_regex(r"[0-9A-Za-z_.~:+-]{1,30}", fullmatch=True).filter(lambda offset: offset != NOW)
numbers = st.integers(0, 2**53 - 1)
lives = st.from_regex(r"[0-9a-z]{1,12}", fullmatch=True)
words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
messages = st.lists(values.map(lambda value: json.dumps(value).encode()), max_size=5).map(tuple)
bodies = messages.map(lambda body: (JSON, body)) | st.binary(min_size=1).map(lambda block: ("text/plain", (block,)))
moments = (
    st.datetimes().map(lambda moment: moment.isoformat(timespec="milliseconds") + "Z").filter(lambda m: len(m) > 20)
)
producers = st.none() | st.builds(Producer, words, numbers, numbers)
forks = st.none() | st.builds(ForkPoint, paths, offsets, st.integers(0, 99)) | st.builds(ForkPoint, paths, st.just(NOW))


@st.composite
def creates(draw: Any) -> Create:
    content_type, body = draw(bodies)
    ttl, expires_at = draw(
        st.sampled_from([(None, None)]) | st.tuples(numbers, st.none()) | st.tuples(st.none(), moments)
    )
    return Create(draw(paths), body, content_type, draw(st.booleans()), ttl, expires_at, draw(forks))


@st.composite
def appends(draw: Any) -> Append:
    content_type, body = draw(bodies)
    close = draw(st.booleans()) or not body
    return Append(draw(paths), body, content_type if body else "", draw(producers), draw(st.none() | words), close)


reads = st.builds(Read, paths, offsets | st.just(START) | st.just(NOW), etag=st.none() | words)
live_reads = st.builds(Read, paths, offsets, wait=st.just(LONG_POLL), cursor=st.none() | words)
operations = (
    creates()
    | appends()
    | reads
    | live_reads
    | st.builds(Follow, paths, offsets | st.just(START), st.none() | words)
    | st.builds(Head, paths)
    | st.builds(Delete, paths)
)
