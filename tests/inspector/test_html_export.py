"""A session in one HTML file: what is in it, and that nothing in the record is more than data."""

from __future__ import annotations

import base64
import hashlib
import html.parser
import json
import re
from pathlib import Path
from typing import Any

import pytest
from inspector_kit import Page, looked
from worlds import EVIL

from agentstream import Client
from agentstream.cli import main
from agentstream.inspector import exporting


class Parts(html.parser.HTMLParser):
    """The scripts, styles and policy of a page, as a browser would find them."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.found: list[tuple[str, dict[str, str | None], str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), ""))

    def handle_data(self, data: str) -> None:
        if self.found and self.found[-1][0] in ("script", "style"):
            tag, attributes, text = self.found[-1]
            self.found[-1] = (tag, attributes, text + data)


def read(file: Path) -> tuple[Any, Parts]:
    parts = Parts()
    parts.text = file.read_text("utf-8")
    parts.feed(parts.text)
    (data,) = (text for _, told, text in parts.found if told.get("id") == "agentstream-data")
    return json.loads(data), parts


@pytest.fixture
def exported(recorded_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(recorded_store.parent)

    def export(*arguments: str) -> tuple[Any, Parts]:
        file = tmp_path / "out.html"
        assert main(["export", *arguments, "--format", "html", "-o", str(file)]) == 0
        return read(file)

    return export


def test_it_holds_what_the_page_would_ask_for(recorded_store: Path, exported: Any) -> None:
    documents, _ = exported("chat")
    kept = documents["data"]["chat"]
    assert documents["schema"] == "agentstream/inspector/1"
    assert documents["about"]["embedded"] is True

    async def test(page: Page) -> None:
        assert kept["lines"] == await page.rows("chat")
        for index, document in enumerate(kept["events"]):
            told = await page.event("chat", index)
            assert document.pop("raw") == await page.get("raw", session="chat", at=index)
            assert kept["lines"][index + 1] == told.pop("row")
            if isinstance(document["step"], int):
                document["step"] = kept["steps"][document["step"]]
            if isinstance(document["run"], str):
                document["run"] = kept["runs"][document["run"]]
            assert document == told
        for at, state in kept["states"].items():
            assert state == await page.get("state", session="chat", at=at)
        assert len(kept["states"]) == len(kept["events"]) + 1
        assert kept["conversation"] == await page.get("conversation", session="chat", at=len(kept["events"]))

    looked(recorded_store, test)


def test_with_forks_it_holds_the_family_compared(exported: Any) -> None:
    documents, _ = exported("support/42", "--forks")
    assert set(documents["data"]) == {"support/42", "support/42-b", "support/42-b-2", "support/42-c"}
    assert [each["id"] for each in documents["tree"]["roots"][0]["branches"]] == ["support/42-b", "support/42-c"]
    compared = documents["compare"]["support/42|support/42-b"]
    assert compared["told"][str(compared["first"])]["diff"]
    alone, _ = exported("support/42")
    assert set(alone["data"]) == {"support/42"}
    assert alone["tree"]["roots"][0]["branches"] == []


def test_a_part_of_a_session(exported: Any) -> None:
    documents, _ = exported("support/42@9")
    assert len(documents["data"]["support/42"]["events"]) == 9


def test_nothing_runs_but_the_page_itself(exported: Any) -> None:
    documents, parts = exported("hostile")
    (policy,) = (told["content"] for _, told, _ in parts.found if told.get("http-equiv") == "Content-Security-Policy")
    text = parts.text  # as it stands between the tags, where no such tag is within
    (script,) = re.findall(r'<script type="module">(.*?)</script>', text, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    for kind, text in (("script", script), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "connect-src" not in policy
    assert {tag for tag, _, _ in parts.found} <= {
        "html",
        "head",
        "meta",
        "title",
        "link",
        "style",
        "body",
        "div",
        "noscript",
        "script",
    }
    assert [told.get("src") for tag, told, _ in parts.found if tag == "script"] == [None, None]
    assert documents["data"]["hostile"]["lines"][0]["head"]["title"] == EVIL


def test_a_long_session_keeps_the_state_at_some_cuts() -> None:
    assert exporting.kept_cuts(0) == [0]
    assert exporting.kept_cuts(5) == [0, 1, 2, 3, 4, 5]
    for size in (399, 400, 401, 1_000, 10_001, 50_000):
        cuts = exporting.kept_cuts(size)
        assert len(cuts) <= exporting.STATES + 1
        assert (cuts[0], cuts[-1]) == (0, size)


def test_what_the_page_exports_is_what_the_command_does(store: Path, tmp_path: Path) -> None:
    async def test(page: Page) -> None:
        for form, ending in (("jsonl", "jsonl"), ("json", "json"), ("markdown", "md"), ("html", "html")):
            answer = await page.http.get("/api/export", params={"session": "support/42", "format": form})
            assert answer.status_code == 200
            assert answer.headers["content-disposition"] == f'attachment; filename="support-42.{ending}"'
            assert answer.headers["content-security-policy"] == "sandbox"
            (tmp_path / ending).write_bytes(answer.content)
        whole = await page.http.get("/api/export", params={"session": "support/42", "format": "jsonl", "forks": 1})
        (tmp_path / "forks").write_bytes(whole.content)

    looked(store, test)
    with Client("memory:") as client:
        assert len(client.import_(tmp_path / "forks")) == 4
        before = list(client.session("support/42").events())
    with Client(store) as client:
        assert list(client.session("support/42").events()) == before
    assert read(tmp_path / "html")[0]["data"]["support/42"]
    assert (tmp_path / "md").read_text("utf-8").startswith("# Where is order A1?")


def test_what_it_does_not_take(
    recorded_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(recorded_store.parent)
    assert main(["export", "chat", "--format", "markdown", "--forks", "-o", "x.md"]) == 2
    assert "--forks is for the formats jsonl and html" in capsys.readouterr().err
    assert main(["export", "nobody", "--format", "html", "-o", "x.html"]) == 3


def test_a_session_whose_key_is_not_here_says_so_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with Client(tmp_path / ".agentstream", encrypt=b"k" * 32) as client:
        client.session("secret").append("note", {"n": "nobody is to read it"})
        client.session("secret").fork("branch").append("note", {"n": 2})
    assert main(["export", "secret", "--format", "html", "-o", "out.html"]) == 0
    documents, parts = read(tmp_path / "out.html")
    kept = documents["data"]["secret"]
    assert kept["lines"][0]["head"]["closed"]["events"] == 1
    assert kept["lines"][2][4] == "locked"
    assert "is encrypted" in kept["events"][1]["closed"]["message"]
    assert list(kept["states"]) == ["0", "1"]  # before the first that is closed
    assert "nobody is to read it" not in parts.text
    # comparing what cannot be read would say that it is the same
    assert main(["export", "secret", "--forks", "--format", "html", "-o", "more.html"]) == 1
    assert "is encrypted" in capsys.readouterr().err
