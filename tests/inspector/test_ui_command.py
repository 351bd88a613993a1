"""`agentstream ui`: where it looks, what it prints, how it ends."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from inspector_kit import ui

from agentstream import Client
from agentstream.cli import main


def get(origin: str, token: str, path: str, **parameters: Any) -> Any:
    answer = httpx.get(
        f"{origin}/api/{path}", params=parameters, headers={"authorization": f"Bearer {token}"}, timeout=60
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_it_prints_one_url_and_ends_with_ctrl_c(store: Path) -> None:
    with ui("support/42@step:1", "--read-only", folder=store.parent) as (origin, token, process):
        assert origin.startswith("http://127.0.0.1:")
        about = get(origin, token, "about")
        assert about["start"] == {"session": "support/42", "at": 8}
        assert about["readOnly"] is True
        assert httpx.get(origin).headers["content-type"].startswith("text/html")
        assert httpx.get(f"{origin}/api/about").status_code == 401
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (130, "", "")


def test_ctrl_c_ends_what_is_read_live(store: Path) -> None:
    with (
        ui(folder=store.parent) as (origin, token, process),
        httpx.Client(base_url=origin, headers={"authorization": f"Bearer {token}"}, timeout=60) as http,
        http.stream("GET", "/api/rows", params={"session": "chat", "live": 1}) as response,
    ):
        lines = response.iter_lines()
        while "ready" not in next(lines):
            pass
        process.send_signal(signal.SIGTERM)
        assert list(lines) == []
        process.wait(60)


def test_an_export_is_looked_at_without_a_store(store: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    with Client(store) as client:
        client.session("support/42").export(file, forks=True)
    empty = tmp_path / "empty"
    empty.mkdir()
    with ui("--file", str(file), folder=empty) as (origin, token, _):
        about = get(origin, token, "about")
        assert (about["file"], about["readOnly"]) == (str(file), True)
        assert get(origin, token, "sessions")["total"] == 4
        assert get(origin, token, "events", session="support/42-b", at=8)["events"][0]["step"]["name"] == "lookup_order"
    assert list(empty.iterdir()) == []


def test_what_it_does_not_take(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(store.parent)
    for arguments, code, said in (
        (("--host", "0.0.0.0"), 2, "reached from other machines"),
        (("--file", "nothing.jsonl"), 2, "no such file"),
        (("--file", "x", "--url", "y"), 2, "do not go together"),
        (("nobody",), 3, "there is no session 'nobody'"),
        (("--url", "elsewhere"), 3, "there is no store"),
        (("--prices", "nothing.json"), 2, "nothing.json"),
    ):
        assert main(["ui", "--no-browser", *arguments]) == code
        assert said in capsys.readouterr().err


def test_a_port_that_is_taken_is_said(store: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(store.parent)
    with ui(folder=store.parent) as (origin, _, _):
        assert main(["ui", "--no-browser", "--port", origin.rpartition(":")[2]]) == 1
        assert "cannot listen" in capsys.readouterr().err
