"""Encrypted sessions and what is around them: keys, processes, the command line, exports, snapshots, blobs, gc."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from cli_kit import Answer, command, environment
from sealing_kit import KEY, OTHER, PLANTED, TEXT, bytes_of, key_of, messages, tell
from stores import NAMES, STORES

from agentstream import AgentStreamError, Client, Erased, Locked, agent, attach, step
from agentstream.backends.base import List
from agentstream.backends.embedded import EmbeddedBackend
from agentstream.cli import main
from agentstream.sessions.encryption import ciphers
from agentstream.sessions.encryption.keyring import keyring

HERE = Path(__file__).parent


# --- what a key may be -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        KEY,
        TEXT,
        urlsafe_b64encode(KEY).decode().rstrip("="),
        lambda: KEY,
        lambda: TEXT,
        [KEY, OTHER],
        [lambda: KEY],
        f"{TEXT}\n",
        bytearray(KEY),
    ],
)
def test_what_a_key_may_be(given: Any, tmp_path: Path) -> None:
    Client(tmp_path, encrypt=KEY).session("s").append("custom", PLANTED)
    assert list(Client(tmp_path, encrypt=given).session("s").events())[1].value == PLANTED


@pytest.mark.parametrize("content", [KEY, TEXT.encode(), f"{TEXT}\n".encode()])
def test_a_file_of_keys(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(content)
    ring = keyring(tmp_path / "key")
    told = keyring(KEY)
    assert ring is not None
    assert told is not None
    assert ring.ids == told.ids


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (b"short", "has 32 bytes, not 5"),
        ("no-base64-!!!", "a key is base64 text"),
        ("AAAA", "has 32 bytes, not 3"),
        ("", "has no key"),
        ([], "has no key"),
        (True, "takes 32 bytes"),
        (7, "takes 32 bytes"),
        (Path("/nowhere/at/all"), "cannot be read"),
    ],
)
def test_what_is_no_key(given: Any, error: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, TypeError, AgentStreamError), match=error) as refused:
        Client(tmp_path, encrypt=given)
    assert "short" not in str(refused.value)


def test_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTSTREAM_KEY", TEXT)
    Client(tmp_path).session("s").append("custom", PLANTED)
    Client(tmp_path, encrypt=False).session("plain").append("custom", "in clear")
    monkeypatch.delenv("AGENTSTREAM_KEY")
    assert list(Client(tmp_path).session("plain").events())[1].value == "in clear"
    with pytest.raises(Locked, match=r"\$AGENTSTREAM_KEY"):
        _ = list(Client(tmp_path).session("s").events())[1].value
    monkeypatch.setenv("AGENTSTREAM_KEY", f"{urlsafe_b64encode(OTHER).decode()},{TEXT}")
    assert list(Client(tmp_path).session("s").events())[1].value == PLANTED


def test_without_the_extra(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from agentstream import Client\n"
        "Client(sys.argv[1]).session('plain').append('custom', 1)\n"
        "try: Client(sys.argv[1], encrypt=bytes(32))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("AgentStreamError encryption needs the package cryptography")
    assert "agentstream-sdk[encryption]" in done.stdout


def test_ordinary_programs_load_no_ciphers(tmp_path: Path) -> None:
    program = (
        "import sys; from agentstream import Client; Client(sys.argv[1]).session('s').append('custom', 1)\n"
        "print([name for name in sys.modules if 'cryptography' in name])"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_every_sealed_thing_has_a_key_of_its_own() -> None:
    sealed = {ciphers.seal(KEY, b"same", b"place")[: ciphers.SALT] for _ in range(1000)}
    assert len(sealed) == 1000
    assert len({ciphers.derived(KEY, salt) for salt in sealed}) == 1000
    assert ciphers.unseal(KEY, ciphers.seal(KEY, b"text", b"place"), b"place") == b"text"
    for key, place in ((OTHER, b"place"), (KEY, b"elsewhere")):
        with pytest.raises(ciphers.Unopened):
            ciphers.unseal(key, ciphers.seal(KEY, b"text", b"place"), place)


# --- other processes -------------------------------------------------------------------------------------------------


def test_another_process_goes_on(tmp_path: Path) -> None:
    """One process begins a run and is gone; a worker with the key finishes it, one without leaves it alone."""
    module = tmp_path / "agents_here.py"
    module.write_text(
        "from agentstream import agent, ask, step\n"
        "@step\ndef found(what): return {'found': what + ' PLANTED-7f3a'}\n"
        "@agent\ndef answering(what):\n    return found(what)['found'] + ask('PLANTED-7f3a?')\n"
    )
    begin = (
        "import sys; from agentstream import Client, RunWaiting; from agents_here import answering\n"
        "try: Client(sys.argv[1]).session('s').run(answering, 'x')\n"
        "except RunWaiting: print('waits')"
    )
    folder, env = tmp_path / "store", environment(AGENTSTREAM_KEY=TEXT, PYTHONPATH=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", begin, str(folder)], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "waits\n", done.stderr
    session = Client(folder, encrypt=KEY).session("s")
    session.answer(session.questions()[0], "PLANTED-7f3a!")
    work = command("worker", "agents_here:answering", "--url", str(folder), "--once")
    blind = environment(PYTHONPATH=str(tmp_path))
    left = subprocess.run(work, env=blind, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert left.returncode == 0, left.stderr
    assert session.status() == "waiting"
    seeing = subprocess.run(work, env=env, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert seeing.returncode == 0, seeing.stderr
    assert session.state().run.result == "x PLANTED-7f3aPLANTED-7f3a!"  # pyright: ignore[reportOptionalMemberAccess]
    assert not [name for name, content in bytes_of(folder).items() if PLANTED.encode() in content]


# --- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    with Client(tmp_path / ".agentstream", encrypt=KEY) as client:
        client.session("s").run(tell, PLANTED)
        client.session("s").label(PLANTED)
        client.session("s").fork("f", at=6)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, key: str | None = TEXT) -> Answer:
        monkeypatch.setenv("AGENTSTREAM_KEY", key or "")
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        return Answer(code, captured.out, captured.err)

    return call


def test_commands_with_and_without_the_key(cli: Any) -> None:
    assert PLANTED in cli("list").out
    assert PLANTED in cli("show", "s").out
    listed = cli("list", key=None)
    assert listed.code == 0
    assert PLANTED not in listed.out
    assert {row[0]: row[1] for row in listed.rows} == {"s": "finished", "f": "abandoned"}
    shown = cli("show", "s", "--json", key=None)
    assert (shown.code, shown.error["code"]) == (1, "locked")
    assert "AGENTSTREAM_KEY" in shown.error["message"]
    assert cli("list", key="nonsense").code == 2
    assert cli("rm", "s", key=None).code == 0


def test_erase_on_the_command_line(cli: Any) -> None:
    refused = cli("erase", "s", "--json")
    assert (refused.code, refused.error["hint"]) == (2, "--yes")
    assert cli("erase", "s", "--yes").out == "s\n"
    assert {row[0]: row[1] for row in cli("list").rows} == {"s": "erased", "f": "abandoned"}
    assert cli("erase", "f", "--yes", "--forks", "--json").data == ["f"]
    assert "was erased on" in cli("show", "f").err
    assert cli("rm", "s", "f").code == 0
    assert cli("list").out == ""


def test_rotation_on_the_command_line(cli: Any) -> None:
    new = urlsafe_b64encode(OTHER).decode()
    assert cli("rotate", key=f"{new},{TEXT}").out == "2\n"
    assert PLANTED in cli("show", "s", key=new).out
    assert cli("rotate", key=None).code == 1


def test_an_export_is_plain_and_says_so(cli: Any, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    done = cli("export", "s", "-o", str(out))
    assert done.code == 0
    assert "is encrypted, and what is exported is not" in done.err
    assert PLANTED.encode() in out.read_bytes()


# --- out and in ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_export_and_import(name: str, tmp_path: Path) -> None:
    backend = STORES[name](tmp_path)
    client = Client(backend, encrypt=KEY)
    session = client.session("s")
    session.run(tell, PLANTED)
    session.label(PLANTED, {"a": 1})
    fork = session.fork("f", at=5)
    fork.resume(tell)
    session.export(tmp_path / "one.jsonl")
    fork.export(tmp_path / "fork.jsonl")
    assert b"encrypted" not in (tmp_path / "one.jsonl").read_bytes()
    plain = Client(tmp_path / "plain")
    plain.import_(tmp_path / "one.jsonl")
    assert plain.session("s").state().title == PLANTED
    assert client.import_(tmp_path / "one.jsonl", id="again")[0].state().title == PLANTED
    assert key_of(client.session("again")) != key_of(session)
    assert PLANTED.encode() not in b"".join(messages(backend, "again"))
    client.session("again").export(tmp_path / "two.jsonl")
    plain.session("s").export(tmp_path / "three.jsonl")
    lines = [(tmp_path / f"{number}.jsonl").read_bytes().split(b"\n")[1:] for number in ("one", "two", "three")]
    assert lines[0] == lines[1] == lines[2]
    client.import_(tmp_path / "fork.jsonl", prefix="in/")
    assert [event.type for event in client.session("in/f").events()] == [event.type for event in fork.events()]
    births = [event.value for event in client.session("in/f").events() if "incarnation" in (event.value or {})]
    assert len({birth["encrypted"] for birth in births}) == 1
    backend.close()


def test_a_family_is_exported_with_what_it_shares(tmp_path: Path) -> None:
    client = Client(tmp_path / "store", encrypt=KEY)
    session = client.session("s")
    session.run(tell, PLANTED)
    session.fork("f", at=5).fork("g")
    session.export(tmp_path / "all.jsonl", forks=True)
    client.import_(tmp_path / "all.jsonl", prefix="in/")
    for name in ("s", "f", "g"):
        ours = [(event.type, event.key) for event in client.session(name).events()]
        assert [(event.type, event.key) for event in client.session(f"in/{name}").events()] == ours
        assert client.session(f"in/{name}").append("custom", 1).value == 1
    client.session("s").erase()
    with pytest.raises(Erased):
        client.session("s").export(tmp_path / "gone.jsonl")
    assert client.session("in/s").state().run is not None
    assert client.session("in/g").state().index > 5


# --- snapshots and blobs ---------------------------------------------------------------------------------------------


@step
def large(size: int) -> dict[str, str]:
    return {"text": f"{PLANTED} " * size}


@agent
def keeping(size: int) -> int:
    text = large(size)["text"]
    attached = attach(f"{PLANTED} attached".encode() * size, media_type="text/plain", name="f.txt")
    return len(text) + len(attached.read())


def test_blobs_are_sealed_and_erased(tmp_path: Path) -> None:
    backend = EmbeddedBackend(tmp_path / "store")
    client = Client(backend, encrypt=KEY)
    session = client.session("s")
    size = 200_000
    expected = len(f"{PLANTED} ") * size + len(f"{PLANTED} attached") * size
    assert session.run(keeping, size) == expected
    assert [each.path for each in backend.execute(List("~b/"))]
    assert not [name for name, content in bytes_of(tmp_path).items() if PLANTED.encode() in content]
    fresh = Client(backend, encrypt=KEY).session("s")
    assert fresh.state().steps[0].result["text"] == f"{PLANTED} " * size
    session.export(tmp_path / "out.jsonl")
    plain = Client(tmp_path / "plain")
    plain.import_(tmp_path / "out.jsonl")
    assert plain.session("s").state().steps[0].result["text"] == f"{PLANTED} " * size
    [again] = client.import_(tmp_path / "out.jsonl", id="again")
    assert not [name for name, content in bytes_of(tmp_path / "store").items() if PLANTED.encode() in content]
    assert key_of(again) != key_of(session)
    assert again.export(tmp_path / "same.jsonl") is not None
    ours, theirs = ((tmp_path / f"{name}.jsonl").read_bytes().split(b"\n")[1:] for name in ("out", "same"))
    assert ours == [line.replace(b'"session":"again"', b'"session":"s"') for line in theirs]
    fork = session.fork("f")
    session.erase()
    assert Client(backend, encrypt=KEY).session("f").state().steps[0].result["text"] == f"{PLANTED} " * size
    fork.erase()
    with pytest.raises(Erased):
        Client(backend, encrypt=KEY).session("f").state()
    assert Client(backend, encrypt=KEY).session("again").replay(keeping).divergence is None
    backend.close()


def test_snapshots_are_sealed(tmp_path: Path) -> None:
    backend = EmbeddedBackend(tmp_path / "store")
    client = Client(backend, encrypt=KEY)
    session = client.session("s")
    for number in range(1100):
        session.append("custom", f"{PLANTED} {number}")
    session.label(PLANTED)
    _ = session.state().title
    client.close()
    again = EmbeddedBackend(tmp_path / "store")
    assert [each.path for each in again.execute(List("~snap/"))]
    assert not [name for name, content in bytes_of(tmp_path).items() if PLANTED.encode() in content]
    for key in (KEY, False, OTHER):  # whoever looks without the key spoils nothing
        reader = Client(again, encrypt=key).session("s")
        assert len(list(reader.events())) == 1102
    assert Client(again, encrypt=KEY).session("s").state().title == PLANTED
    again.close()


# --- gc --------------------------------------------------------------------------------------------------------------


def test_gc_takes_keys_that_nobody_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentstream.sessions import retention

    monkeypatch.setattr(retention, "LEFT_ALONE", -1.0)
    backend = EmbeddedBackend(tmp_path / "store")
    client = Client(backend, encrypt=KEY)
    for name in ("kept", "gone", "erased"):
        client.session(name).run(tell, name)
    fork = client.session("gone").fork("f", at=5)
    keys = {name: key_of(client.session(name)) for name in ("kept", "gone", "erased", "f")}
    client.session("erased").erase()
    client.session("gone").delete()
    assert Client(backend, encrypt=False).gc(dry_run=False).streams == ()
    assert fork.resume(tell) == f"{PLANTED} result"
    client.session("erased").delete()
    fork.delete()
    removed = client.gc(dry_run=False).streams
    assert sorted(removed) == sorted([f"~e/{keys['erased']}", f"~k/{keys['gone']}", f"~k/{keys['f']}"])
    assert Client(backend, encrypt=KEY).session("kept").run(tell, "more") == f"{PLANTED} result"
    backend.close()


def test_gc_removes_what_was_erased_by_age_and_leaves_what_it_cannot_judge(tmp_path: Path) -> None:
    backend = EmbeddedBackend(tmp_path / "store")
    client = Client(backend, encrypt=KEY)
    client.session("erased").run(tell, "x")
    client.session("closed").run(tell, "x")
    client.session("erased").erase()
    report = Client(backend, encrypt=False).gc(older_than=1e-9)
    assert [each.id for each in report.removed] == ["erased"]
    assert [(each.id, "without its key" in each.reason) for each in report.kept] == [("closed", True)]
    assert {each.id for each in client.gc(older_than=1e-9).removed} == {"erased", "closed"}
    backend.close()


def test_stored_messages_are_state_protocol_changes(tmp_path: Path) -> None:
    from agentstream.sessions.models import check

    backend = EmbeddedBackend(tmp_path / "store")
    session = Client(backend, encrypt=KEY).session("s")
    session.run(tell, PLANTED)
    session.label(PLANTED)
    session.set_ttl(60)
    for message in messages(backend, "s"):
        assert json.loads(message).keys() == {"type", "key", "value", "headers"}
        check(message)
    backend.close()
