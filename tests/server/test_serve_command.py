"""`agentstream serve`: what it takes, and what it refuses to do."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest
from serving_kit import HANGING, serving

from agentstream.cli.app import run

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "a.example"])
def test_other_machines_take_a_token(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--store", "memory:", "--host", host, "--port", "0"]) == 2
    assert "takes a --token" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--token", "short"], "at least 8"),
        (["--token-file", "/nowhere/at/all"], "token-file"),
        (["--long-poll-timeout", "0"], "at most an hour"),
        (["--public-url", "streams.example"], "no URL of a server"),
        (["--origin", "app.example"], "no origin of pages"),
        (["--store", "ftp://a"], "no address"),
        (["--port", "70000"], "65535"),
    ],
)
def test_wrong_options_are_told(options: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--store", "memory:", "--port", "0", *options]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told


def test_a_port_that_is_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert run(["serve", "--store", "memory:", "--port", str(taken.getsockname()[1])]) == 1
    assert "cannot listen at" in capsys.readouterr().err


def test_a_store_that_cannot_be_served_is_told_before_anybody_asks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no store")
    assert run(["serve", "--store", str(tmp_path / "file"), "--port", "0"]) == 5
    told = capsys.readouterr()
    assert "the store's place is no folder" in told.err
    assert "Traceback" not in told.err


def test_tokens_from_a_file_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tokens"
    file.write_text("# of the team\nread:from-the-file\n\n")
    monkeypatch.setenv("AGENTSTREAM_TOKENS", "from-the-environment another-of-them")
    with serving("memory:", "--token-file", str(file), "--host", "0.0.0.0") as server:
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        with httpx.Client(timeout=HANGING) as client:
            assert client.get(f"{url}/a").status_code == 401
            for token in ("from-the-environment", "another-of-them"):
                assert client.put(f"{url}/a", headers=JSON | {"authorization": f"Bearer {token}"}).is_success
            reading = {"authorization": "Bearer from-the-file"}
            assert client.get(f"{url}/a", headers=reading).json() == []
            assert client.put(f"{url}/b", headers=JSON | reading).status_code == 403
    assert not any("from-the" in line for line in server.said)
