"""Attachments: in from anywhere, out piece by piece, and the same value on every way."""

from __future__ import annotations

import asyncio
import copy
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from agents_kit import Way
from large_kit import digest_of, refs_of_session, replace_blob
from pydantic import BaseModel

from agentstream import (
    AgentStreamError,
    AsyncClient,
    Attachment,
    BlobLost,
    Client,
    aattach,
    attach,
    emit,
    step,
)

CONTENT = os.urandom(3 * 1024 * 1024 + 17)


class Paper(BaseModel):
    title: str
    file: Attachment


@dataclass
class Scan:
    page: Attachment


class Pipe(io.RawIOBase):
    """A file that can be read once and gives what it likes."""

    def __init__(self, content: bytes) -> None:
        self._file = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self._file.read(min(len(buffer), 70_000))
        buffer[: len(part)] = part
        return len(part)


def opened_at(path: Path, place: int) -> Any:
    file = path.open("rb")
    file.seek(place)
    return file


@pytest.mark.parametrize("source", ["path", "text path", "bytes", "bytearray", "file", "pipe", "empty"])
def test_in_from_anywhere_and_out_in_every_way(backend: Any, tmp_path: Path, source: str):
    path = tmp_path / "scan.pdf"
    path.write_bytes(CONTENT)
    content = {"empty": b"", "file": CONTENT[100:]}.get(source, CONTENT)
    sources: dict[str, Any] = {
        "path": path,
        "text path": str(path),
        "bytes": CONTENT,
        "bytearray": bytearray(CONTENT),
        "file": opened_at(path, 100),
        "pipe": Pipe(CONTENT),
        "empty": b"",
    }
    made = Client(backend).session("s").attach(sources[source])
    sources["file"].close()
    assert (made.size, made.sha256) == (len(content), digest_of(content))
    if "path" in source:
        assert (made.name, made.media_type) == ("scan.pdf", "application/pdf")
    else:
        assert (made.name, made.media_type) == (None, "application/octet-stream")
    assert made.read() == content
    assert b"".join(made.chunks()) == content
    with made.open() as file:
        assert file.read(10) + file.read() == content
    made.save(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == content

    async def asynchronously() -> None:
        again = await AsyncClient(backend).session("t").attach(CONTENT, media_type="image/png", name="x")
        assert (again.media_type, again.name) == ("image/png", "x")
        assert await made.aread() == content
        assert b"".join([piece async for piece in made.achunks()]) == content
        await made.asave(tmp_path / "aout")

    asyncio.run(asynchronously())
    assert (tmp_path / "aout").read_bytes() == content


def test_a_value_like_any_other(backend: Any, way: Way):
    """As an argument, in a step's input and result, in models, in messages: after a crash and in a replay too."""
    crashed: list[int] = []

    @step
    def look(paper: Paper, scan: Scan) -> Paper:
        return Paper(title=paper.title + "!", file=scan.page)

    @step
    def last(found: Attachment) -> int:
        if not crashed:
            crashed.append(1)
            raise RuntimeError("not yet")
        return len(found.read())

    looking, ending = (look, last) if not way.is_async else (step(way.of(look)), step(way.of(last)))

    def body(paper: Paper, other: Attachment) -> Any:
        assert isinstance(other, Attachment)
        made = yield lambda: looking(Paper(title="a", file=other), Scan(other))
        found = made if isinstance(made, Attachment) else made.file
        emit("message", {"role": "assistant", "parts": [{"type": "file", "file": found}]})
        size = yield lambda: ending(found)
        return {"file": found, "size": size}

    agent = way.agent(body)
    given = Client(backend).session("s").attach(CONTENT, name="a.bin")
    with pytest.raises(RuntimeError):
        way.run(backend, agent, Paper(title="a", file=given), given)
    result = way.run(backend, agent, Paper(title="a", file=given), given)
    assert result == {"file": given, "size": len(CONTENT)}
    assert result["file"].read() == CONTENT, "it knows where to read when the run is over"
    report = way.replay(backend, agent)
    assert report.identical, str(report)
    session = Client(backend).session("s")
    assert session.attachments() == [given]
    (message,) = session.state().messages
    assert message["parts"][0]["file"].read() == CONTENT
    assert session.state().run.result["file"].read() == CONTENT  # type: ignore[union-attr]
    assert {ref.sha256 for ref in refs_of_session(backend)} == {given.sha256}


def test_attaching_in_a_run_is_a_step(backend: Any, tmp_path: Path, way: Way):
    """Served later: the file may be gone."""
    path = tmp_path / "report.txt"
    path.write_bytes(CONTENT)
    fails = [True]

    @step
    def inside() -> Attachment:
        return attach(b"made inside a step", name="inside.txt", media_type="text/plain")

    def body() -> Any:
        made = yield (lambda: aattach(path)) if way.is_async else (lambda: attach(path))
        text = yield (lambda: aattach(b"text", name="n")) if way.is_async else (lambda: attach(b"text", name="n"))
        deep = yield (lambda: asyncio.to_thread(inside)) if way.is_async else inside
        if fails:
            raise RuntimeError("first")
        return [made, text, deep]

    agent = way.agent(body)
    with pytest.raises(RuntimeError, match="first"):
        way.run(backend, agent)
    path.unlink()
    fails.clear()
    made, text, deep = way.run(backend, agent)
    assert (made.name, made.read()) == ("report.txt", CONTENT)
    assert (text.read(), deep.read()) == (b"text", b"made inside a step")
    kinds = [(each.kind, each.name) for each in Client(backend).session("s").state().steps]
    assert kinds[:2] == [("attach", "report.txt"), ("attach", "n")]
    assert len(kinds) == 3
    assert way.replay(backend, agent).identical


def test_other_bytes_are_another_call(backend: Any):
    def agent(fails: bool = True) -> Any:
        attach(content[0], name="n")
        raise RuntimeError("stop")

    content = [b"one"]
    with pytest.raises(RuntimeError):
        Client(backend).session("s").run(agent)
    content[0] = b"two"
    with pytest.raises(AgentStreamError, match="attach"):
        Client(backend).session("s").run(agent)


def test_what_cannot_be_attached_says_why(backend: Any, tmp_path: Path):
    session = Client(backend).session("s")
    with pytest.raises(FileNotFoundError):
        session.attach(tmp_path / "none")
    with pytest.raises(TypeError, match="'rb'"):
        session.attach(io.StringIO("text"))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="takes a path, bytes or a binary file"):
        session.attach(17)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="media_type="):
        session.attach(b"x", media_type="pdf")
    with pytest.raises(ValueError, match="name="):
        session.attach(b"x", name="")
    with pytest.raises(AgentStreamError, match=r"session\.attach"):
        attach(b"x")

    def agent() -> str:
        with pytest.raises(FileNotFoundError):
            attach(tmp_path / "none")
        return "went on"

    assert session.run(agent) == "went on"
    assert session.replay(agent).identical


def test_one_of_another_store_is_refused(backend: Any, tmp_path: Path):
    with Client(tmp_path / "other") as other:
        foreign = other.session("s").attach(CONTENT)
        session = Client(backend).session("s")
        with pytest.raises(BlobLost, match="not in this store"):
            session.append("note", {"file": foreign})

        @step
        def show(file: Attachment) -> int:
            return file.size

        def agent(file: Attachment) -> int:
            return show(file)

        with pytest.raises(BlobLost, match="not in this store"):
            Client(backend).session("r").run(agent, foreign)
        assert session.append("note", {"file": session.attach(foreign.open(), name="mine")}).value["file"].size


def test_lost_content_is_said_at_its_end_or_before(backend: Any, tmp_path: Path):
    session = Client(backend).session("s")
    made = session.attach(CONTENT)
    for damage in (CONTENT[:-1], CONTENT[:-1] + b"?", None):
        replace_blob(backend, made.sha256, damage)
        for reading in (made.read, lambda: made.open().read(), lambda: made.save(tmp_path / "out")):
            with pytest.raises(BlobLost, match=made.sha256[:12]):
                reading()
    assert list(tmp_path.glob("*out*")) == [], "nothing half written is left"


def test_without_its_store_it_says_what_to_do():
    from agentstream.sessions import codec

    form = codec.encode(Client("memory:").session("s").attach(b"x", name="n")).data
    found = codec.decode(form)
    assert isinstance(found, Attachment)
    with pytest.raises(AgentStreamError, match=r"session\.attachments\(\)"):
        found.read()
    nonsense = {"$blob": {"sha256": "no", "size": -1}}
    assert codec.decode(nonsense) == nonsense


def test_it_can_be_copied_compared_and_shown():
    session = Client("memory:").session("s")
    made, other = session.attach(b"x", name="n"), session.attach(b"x", name="m")
    assert copy.deepcopy({"a": made}) == {"a": made}
    assert made != other
    assert len({made, session.attach(b"x", name="n"), other}) == 2
    assert repr(made).startswith("Attachment(name='n', media_type=")
