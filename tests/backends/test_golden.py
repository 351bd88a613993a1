"""The stored format is frozen: a store written by version 1 opens for ever."""

from __future__ import annotations

import shutil
from pathlib import Path

from agentstream.backends.base import List
from agentstream.backends.embedded import EmbeddedBackend, schema
from agentstream.protocol.operations import Append, Create, Delete, ForkPoint, Head, Producer, Read

GOLDEN = Path(__file__).parent.parent / "golden" / "store-v1" / "streams.db"


def make(folder: Path) -> None:
    """How the golden file was made, once. Never make it again: make one of the next version beside it."""
    store = EmbeddedBackend(folder)
    store.execute(Create("agents/1", (b'{"first" : 1.0}',)))
    store.execute(Append("agents/1", (b"1234567890123456789012345678901234567890", '"é"'.encode()), seq="a"))
    store.execute(Append("agents/1", (b'"%b"' % (b"long" * 3000),), producer=Producer("worker", 2, 0)))
    store.execute(Create("agents/1-b", (b'"fork"',), fork=ForkPoint("agents/1", "-1", 2)))
    store.execute(Create("agents/1-c", fork=ForkPoint("agents/1-b", "-1", 3)))
    store.execute(Append("agents/1-c", close=True))
    store.execute(Delete("agents/1-b"))
    store.execute(Create("bytes", (b"\x00\xff",), content_type="application/octet-stream"))
    store.execute(Create("mortal", expires_at="9999-12-31T23:59:59Z"))
    store.execute(Create("gone"))
    store.execute(Delete("gone"))
    store.close()


def test_a_store_of_version_1_opens(tmp_path: Path) -> None:
    shutil.copy(GOLDEN, tmp_path / "streams.db")
    store = EmbeddedBackend(tmp_path)
    assert [one.path for one in store.execute(List())] == ["agents/1", "agents/1-c", "bytes", "mortal"]
    messages = store.execute(Read("agents/1")).messages
    first = (b'{"first" : 1.0}', b"1234567890123456789012345678901234567890", '"é"'.encode())
    assert messages == (*first, b'"%b"' % (b"long" * 3000))
    fork = store.execute(Read("agents/1-c"))
    assert fork.messages == (*first[:2], b'"fork"')
    assert fork.closed
    assert store.execute(Read("bytes")).messages == (b"\x00\xff",)
    assert store.execute(Head("mortal")).expires_at == "9999-12-31T23:59:59Z"
    again = Append("agents/1", (b"0",), producer=Producer("worker", 2, 0))
    assert store.execute(again).duplicate
    assert store.execute(Append("agents/1", (b"0",), producer=Producer("worker", 2, 1), seq="b")).offset
    store.close()


def test_what_is_written_today_is_that_format(tmp_path: Path) -> None:
    make(tmp_path / "store")
    written = (tmp_path / "store" / "streams.db").read_bytes()
    golden = GOLDEN.read_bytes()
    assert schema.VERSION == 1
    # Times, and what covers them, differ; everything else is in the same place.
    assert len(written) == len(golden)
    same = sum(one == other for one, other in zip(written, golden, strict=True))
    assert same > 0.98 * len(golden)
