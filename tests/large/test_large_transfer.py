"""Exports hold all they refer to; imports bring it, whole or not at all."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hostile import HostileBackend
from large_kit import OVER, digest_of, refs_of_session, replace_blob
from stores import raw_events

from agentstream import BlobLost, Client, InvalidExport, SessionExists
from agentstream.backends.embedded import EmbeddedBackend

TEXT = "text " * OVER
FILE = bytes(range(256)) * 12_000


@pytest.fixture(params=["memory", "hostile"])
def new_backend(request: pytest.FixtureRequest) -> Iterator[Callable[[], Any]]:
    made: list[Any] = []

    def make() -> Any:
        made.append(HostileBackend() if request.param == "hostile" else EmbeddedBackend(None))
        return made[-1]

    yield make
    for each in made:
        each.close()


def worked(backend: Any) -> Client:
    client = Client(backend)
    session = client.session("s")
    session.append("note", {"text": TEXT, "file": session.attach(FILE, name="a.bin")})
    session.append("note", {"again": TEXT, "empty": session.attach(b"", name="none")})
    return client


def exported(client: Client, session: str = "s", **options: Any) -> bytes:
    file = io.BytesIO()
    done = client.session(session).export(file, **options)
    assert done.bytes == len(file.getvalue())
    return file.getvalue()


def test_out_and_in_again_byte_for_byte(new_backend: Callable[[], Any]):
    first = worked(new_backend())
    data = exported(first)
    assert max(map(len, data.splitlines())) <= 1_000_002, "lines of a megabyte at most"
    other = Client(new_backend())
    other.import_(io.BytesIO(data))
    assert raw_events(other.session("s")) == raw_events(first.session("s"))
    notes = [event.value for event in other.session("s").events() if event.type == "note"]
    assert (notes[0]["text"], notes[1]["again"]) == (TEXT, TEXT)
    assert (notes[0]["file"].read(), notes[1]["empty"].read()) == (FILE, b"")
    assert exported(other) == data, "and out again the same file"
    other.import_(io.BytesIO(data), id="twice")
    assert next(e.value["text"] for e in other.session("twice").events() if e.type == "note") == TEXT


def test_a_family_holds_content_once():
    first = worked(EmbeddedBackend(None))
    fork = first.session("s").fork("f")
    fork.append("note", TEXT)
    fork.append("note", "other " * OVER)
    data = exported(first, forks=True)
    assert data.count(b'"blob/1"') == 4
    other = Client("memory:")
    other.import_(io.BytesIO(data))
    assert [event.value for event in other.session("f").events() if event.type == "note"][2:] == [
        TEXT,
        "other " * OVER,
    ]


def test_lost_content_is_not_exported_in_silence(new_backend: Callable[[], Any], tmp_path: Path):
    backend = new_backend()
    client = worked(backend)
    digest = digest_of(FILE)
    replace_blob(backend, digest, None)
    with pytest.raises(BlobLost) as caught:
        client.session("s").export(tmp_path / "out.jsonl")
    assert (caught.value.session, caught.value.index, caught.value.sha256) == ("s", 1, digest)
    assert list(tmp_path.iterdir()) == []


def edits(data: bytes) -> Iterator[tuple[bytes, str]]:
    lines = data.splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if b'"blob/1"' in line)
    other = lines[first + 1].replace(b"A", b"B", 1)
    yield b"".join([*lines[: first + 1], other, *lines[first + 2 :]]), "not what was exported"
    yield b"".join([*lines[:first], *lines[first + 2 :]]), "no header|no line of large content|refers to content"
    yield b"".join(lines[: first + 1]), "torn"
    yield b"".join([*lines[: first + 1], b'"?"\n', *lines[first + 2 :]]), "no line of large content"
    yield b"".join([*lines[: first + 1], b'"QUJD"\n', *lines[first + 2 :]]), "holds 3 bytes"
    yield data.replace(b'"blob/1"', b'"blob/2"', 1), "blob/2"
    yield data.replace(b'"size":', b'"size":1', 1), "lines"
    yield (
        b"".join(line for line in lines if b'"session":"s"' in line or line.startswith(b'{"type"')),
        "refers to content",
    )


def test_a_torn_or_edited_export_is_refused_and_nothing_is_there():
    data = exported(worked(EmbeddedBackend(None)))
    for number, (edited, why) in enumerate(edits(data)):
        other = Client("memory:")
        with pytest.raises(InvalidExport, match=why):
            other.import_(io.BytesIO(edited))
        assert other.sessions() == [], number


def test_an_import_over_what_is_there(new_backend: Callable[[], Any]):
    backend = new_backend()
    client = worked(backend)
    data = exported(client)
    with pytest.raises(SessionExists):
        client.import_(io.BytesIO(data))
    for ref in refs_of_session(backend):
        replace_blob(backend, ref.sha256, b"half", closed=False)  # what was torn here is made whole by what comes
    Client(backend).import_(io.BytesIO(data), id="again")
    notes = [e.value for e in Client(backend).session("again").events() if e.type == "note"]
    assert notes[0]["text"] == TEXT
