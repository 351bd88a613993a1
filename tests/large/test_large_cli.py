"""Large content on the command line: what it is, and not its bytes; attachments listed and written out."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_kit import Answer
from large_kit import OVER, replace_blob

from agentstream import Attachment, Client, agent, step
from agentstream.cli import main
from agentstream.cli.values import size_text

FILE = bytes(range(256)) * 5000


@step
def look(file: Attachment) -> str:
    return "text " * OVER


@agent
def helper(file: Attachment) -> Attachment:
    look(file)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Client(tmp_path / ".agentstream") as client:
        session = client.session("s")
        file = session.attach(FILE, name="re\x1bport.pdf", media_type="application/pdf")
        session.append("message", {"role": "user", "parts": [{"type": "file", "file": file}]})
        session.append("note", {"text": "x" * OVER})
        session.run(helper, file)
        session.append("note", {"other": session.attach(b"small", name="note.txt")})
    return tmp_path


@pytest.fixture
def cli(folder: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)

    def call(*arguments: str) -> Answer:
        capfdbinary.readouterr()
        code = main(arguments)
        captured = capfdbinary.readouterr()
        return Answer(code, captured.out.decode("utf-8", "surrogateescape"), captured.err.decode())

    return call


@pytest.mark.parametrize("options", [(), ("--full",), ("--state",), ("--json",), ("--state", "--json")])
def test_show_tells_what_it_is(cli, options: tuple[str, ...]):
    answer = cli("show", "s", *options)
    assert answer.code == 0, answer.err
    assert len(answer.out) < 20_000
    assert "\x1b" not in answer.out
    if "--json" not in options:
        assert "port.pdf, application/pdf, 1.3 MB>" in answer.out
    else:
        assert '"$blob"' in answer.out
    if not options:
        assert "<text, text/plain, 262.1 kB>" in answer.out


def test_show_does_not_need_the_content(cli, folder: Path):
    with Client(folder / ".agentstream") as client:
        for ref in {r.sha256 for r in _refs(client)}:
            replace_blob(client._core.backend, ref, None)
    for options in ((), ("--full",), ("--state",), ("--json",), ("--state", "--json")):
        assert cli("show", "s", *options).code == 0
    lost = cli("attachment", "s", "note.txt")
    assert lost.code == 5
    assert "is not in the store any more" in lost.err


def _refs(client: Client):
    from agentstream.sessions.references import refs_in

    return [ref for event in client.session("s").events() for ref in refs_in(event.raw)]


def test_attachments_are_listed_and_written_out(cli, folder: Path):
    rows = cli("attachment", "s").rows
    assert [(row[1], row[2], row[3]) for row in rows] == [
        (str(len(FILE)), "application/pdf", "re\\eport.pdf"),
        ("5", "text/plain", "note.txt"),
    ]
    assert cli("attachment", "s", "--json").data[1]["name"] == "note.txt"
    assert cli("attachment", "s", "note.txt").out == "small"
    assert cli("attachment", "s", rows[0][0][:8], "-o", "out.pdf").code == 0
    assert (folder / "out.pdf").read_bytes() == FILE
    missing = cli("attachment", "s", "nothing")
    assert (missing.code, "no attachment 'nothing'" in missing.err) == (3, True)


def test_sizes_as_people_read_them():
    sizes = [0, 999, 1000, 262_145, 999_499, 1_280_000, 100 * 1024 * 1024, 5 * 10**12]
    assert [size_text(size) for size in sizes] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "262.1 kB",
        "999.5 kB",
        "1.3 MB",
        "104.9 MB",
        "5.0 TB",
    ]
