"""What the page does: forks, answers, and runs of the user's own code."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
from inspector_kit import Page, looked

from agentstream import Client
from agentstream.cli import main

HERE = Path(__file__).parent


async def finished(page: Page, job: dict[str, Any]) -> dict[str, Any]:
    """A job when it has come to its end."""
    while job["state"] == "running":
        job = await page.get("jobs", job=job["job"], wait=1)
    return job


def test_a_fork_at_a_cut(store: Path) -> None:
    async def test(page: Page) -> None:
        asked = {"session": "support/42", "at": 8}
        tried = await page.post("fork", {**asked, "dryRun": True})
        assert tried["ok"]
        assert (tried["at"], tried["id"], tried["diff"]) == (8, "support/42-branch", [])
        made = await page.post("fork", {**asked, "as": tried["id"], "note": "what if"})
        assert (made["id"], made["at"]) == ("support/42-branch", 8)
        assert shlex.split(made["command"])[:2] == ["agentstream", "fork"]
        branch = await page.client.session("support/42-branch").state()
        assert (branch.inherited, branch.tags["note"]) == (8, "what if")
        assert (await page.rows("support/42"))[8][15] == 1
        again = await page.post("fork", {**asked, "as": tried["id"]}, fails=409)
        assert again["code"] == "session_exists"
        assert (await page.post("fork", {**asked, "dryRun": True}))["id"] == "support/42-branch-2"

    looked(store, test)


def test_a_fork_with_another_outcome_goes_on_by_the_command_line(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    value = {"order_id": "A1", "status": "sent", "amount": 1}

    async def test(page: Page) -> dict[str, Any]:
        edit = {"kind": "outcome", "step": 0, "value": value}
        asked = {"session": "support/42", "edit": edit, "as": "by-page"}
        tried = await page.post("fork", {**asked, "dryRun": True})
        assert tried["ok"]
        assert {change["path"] for change in tried["diff"]} == {"/status", "/amount", "/currency"}
        assert (await page.post("fork", asked))["at"] == tried["at"] == 7
        told = await page.event("by-page", 8)
        assert told["step"]["result"] == value
        return tried

    tried = looked(store, test)
    monkeypatch.chdir(HERE)
    monkeypatch.setenv("AGENTSTREAM_URL", str(store))
    assert main(["resume", "by-page", "worlds:support"]) == 0
    assert "money back" in capsys.readouterr().out
    # what the page says that it did, typed
    typed = [part if part != "by-page" else "by-hand" for part in shlex.split(tried["command"])[1:]]
    assert main(typed) == 0
    with Client(store) as client:
        assert client.session("by-hand").state().steps[0].result == value


def test_a_fork_with_another_message(store: Path) -> None:
    async def test(page: Page) -> None:
        edit = {"kind": "message", "index": 2, "value": "Where is order B2?"}
        made = await page.post("fork", {"session": "support/42", "edit": edit, "as": "asked-otherwise"})
        assert made["at"] == 2
        messages = (await page.client.session("asked-otherwise").state()).messages
        assert messages[-1]["parts"] == [{"type": "text", "text": "Where is order B2?"}]

    looked(store, test)


@pytest.mark.parametrize(
    ("edit", "status", "code"),
    [
        ({"kind": "outcome", "step": 0, "value": {"amount": "a text"}}, 422, "misfit"),
        ({"kind": "outcome", "step": 99, "value": 1}, 404, "not_found"),
        ({"kind": "message", "index": 2, "value": 7}, 422, "misfit"),
        ({"kind": "message", "index": 6, "value": "x"}, 404, "not_found"),
        ({"kind": "input", "value": {"question": 3}}, 400, "invalid"),
        ({"kind": "sing", "value": 1}, 400, "invalid"),
    ],
)
def test_an_edit_that_does_not_fit_is_refused_before_anything_is_made(
    store: Path, edit: dict[str, Any], status: int, code: str
) -> None:
    async def test(page: Page) -> None:
        asked = {"session": "support/42", "edit": edit, "as": "none"}
        assert (await page.post("fork", asked, fails=status))["code"] == code
        assert "none" not in [each.id for each in await page.client.sessions()]
        if status in (404, 422):
            tried = await page.post("fork", {**asked, "dryRun": True})
            assert (tried["ok"], tried["problem"]["code"]) == (False, code)

    looked(store, test)


def test_another_type_is_taken_where_that_is_said(store: Path) -> None:
    async def test(page: Page) -> None:
        edit = {"kind": "outcome", "step": 0, "value": "gone"}
        await page.post("fork", {"session": "support/42", "edit": edit, "as": "untyped", "untyped": True})
        assert (await page.client.session("untyped").state()).steps[0].result == "gone"

    looked(store, test)


def test_a_question_is_answered(store: Path) -> None:
    async def test(page: Page) -> None:
        (question,) = (await page.get("state", session="support/43"))["open"]
        asked = {"session": "support/43", "question": question}
        assert (await page.post("answer", {**asked, "value": "perhaps"}, fails=422))["code"] == "answer_invalid"
        given = await page.post("answer", {**asked, "value": "yes", "by": "ada"})
        told = await page.event("support/43", given["index"])
        assert told["question"]["answer"] == {"value": "yes", "by": "ada", "index": given["index"]}
        assert (await page.post("answer", {**asked, "value": "no"}, fails=409))["code"] == "answer_double"
        job = await page.post("jobs", {"verb": "resume", "session": "support/43", "run": "worlds:clerk"})
        done = await finished(page, job)
        assert (done["code"], done["result"]["result"]) == (0, "Where is order B2?: yes")

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(HERE)
        looked(store, test)


def test_a_replay_runs_the_code_offline_and_tells_what_came_of_it(store: Path) -> None:
    async def test(page: Page) -> None:
        assert (await page.get("entrypoints", session="support/42"))["entrypoints"][0] == "worlds:support"
        asked = {"verb": "replay", "session": "support/42", "run": "worlds:support"}
        begun = await page.post("jobs", asked)
        assert begun["command"] == "agentstream replay -- support/42 worlds:support"
        done = await finished(page, begun)
        assert (done["state"], done["code"], done["result"]["verdict"]) == ("done", 0, "identical")
        other = await finished(page, await page.post("jobs", {**asked, "run": "worlds:clerk", "keepGoing": True}))
        assert (other["code"], other["result"]["verdict"]) == (1, "diverged")
        assert other["result"]["divergence"]["kind"] == "different_args"
        stopped = await finished(page, await page.post("jobs", {**asked, "break": ["function:refund"]}))
        assert stopped["result"]["stopped"]["name"] == "refund"
        missing = await finished(page, await page.post("jobs", {**asked, "run": "nowhere:agent"}))
        assert (missing["code"], missing["error"]["code"]) == (2, "usage")

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(HERE)
        looked(store, test)


def test_a_run_with_another_input_is_a_job(store: Path) -> None:
    async def test(page: Page) -> None:
        edit = {"kind": "input", "value": {"question": "Anything?"}}
        asked = {"verb": "fork", "session": "support/42", "as": "anew", "run": "worlds:support", "edit": edit}
        done = await finished(page, await page.post("jobs", asked))
        assert done["code"] == 0, done
        assert done["result"]["result"].startswith("Anything?")
        assert (await page.get("sessions", q="anew"))["total"] == 1

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(HERE)
        looked(store, test)


def test_a_job_is_stopped(store: Path, tmp_path: Path) -> None:
    code = "import sys, time\nfrom agentstream import agent\n\n@agent\ndef wait() -> None:\n"
    code += "    open('begun', 'w').close()\n    time.sleep(600)\n"
    (tmp_path / "endless.py").write_text(code)

    async def test(page: Page) -> None:
        asked = {"verb": "replay", "session": "chat", "run": "endless:wait", "input": []}
        begun = await page.post("jobs", asked)
        stopped = await page.post("jobs/stop", {"job": begun["job"]})
        assert stopped["state"] == "stopped"
        assert stopped["code"] != 0

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        looked(store, test)


def test_what_only_reads_changes_nothing(store: Path) -> None:
    async def test(page: Page) -> None:
        assert (await page.get("about"))["readOnly"] is True
        for path, body in (
            ("fork", {"session": "support/42", "as": "x"}),
            ("answer", {"session": "support/43", "question": "q", "value": "yes"}),
            ("jobs", {"verb": "replay", "session": "support/42", "run": "worlds:support"}),
            ("jobs/stop", {"job": "x"}),
        ):
            assert (await page.post(path, body, fails=403))["code"] == "read_only"

    looked(store, test, read_only=True)


def test_what_steps_from_an_event_on_cost(store: Path) -> None:
    async def test(page: Page) -> None:
        async def estimate(start: int, model: str = "") -> Any:
            parameters: dict[str, Any] = {"session": "chat", "from": start, "model": model}
            return await page.get("estimate", **parameters)

        rows = (await page.rows("chat"))[1:-1]
        last = [row[0] for row in rows if row[1] == "outcome" and row[2] == "model"][-1]
        told = await estimate(last)
        assert (told["calls"], told["input_tokens"]) == (1, 901)
        dearer = await estimate(last, "claude-opus-4")
        assert dearer["dollars"] > told["dollars"]

    looked(store, test)
