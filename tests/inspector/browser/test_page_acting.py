"""What the page does to a session: forks, replays, answers; and what it shows of others' writing while it is open."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from browser_kit import HERE, Looking, Served, at_rest, cursor, serving, violations
from playwright.sync_api import Browser, Locator, Page, expect
from worlds import EVIL, begun, write

from agentstream import Client
from agentstream.sessions.events import write_event


def agentstream(served: Served, *words: str) -> str:
    """The command line, by another process, where the page's server was begun."""
    done = subprocess.run(
        [sys.executable, "-m", "agentstream.cli", *words],
        env={**os.environ, "AGENTSTREAM_URL": str(served.store)},
        cwd=HERE / "inspector",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def drawer(page: Page, key: str, name: str) -> Locator:
    page.keyboard.press(key)
    return page.get_by_role("dialog", name=name)


def test_a_fork_with_an_edit_is_made_and_the_command_line_goes_on_with_it(look: Looking) -> None:
    page = at_rest(look("/s/support/42@8", permissions=["clipboard-read", "clipboard-write"]))
    fork = drawer(page, "f", "Fork")
    expect(fork.get_by_role("heading")).to_have_text("Fork at @8")
    fork.get_by_label("Another outcome of the step").check()
    text = fork.get_by_label("JSON")
    create = fork.get_by_role("button", name="Create fork")
    expect(fork.get_by_text("No difference.")).to_be_visible()

    text.fill('{"order_id": ')
    expect(fork.get_by_role("alert").first).to_contain_text("This is no JSON")
    expect(create).to_be_disabled()
    text.fill('"sent"')
    expect(fork.get_by_text("This is a text, and what was recorded is an object.")).to_be_visible()
    assert violations(page) == []
    expect(create).to_be_disabled()
    text.fill('{"order_id": "A1", "status": 7, "amount": 1, "currency": "USD"}')
    expect(fork.locator(".card.bad")).to_contain_text("a number")  # the server compares what is inside
    fork.get_by_label("Take it though it has another type").check()
    expect(fork.locator(".card.bad")).to_have_count(0)
    fork.get_by_label("Take it though it has another type").uncheck()
    text.fill('{"order_id": "A1", "status": "sent", "amount": 4999, "currency": "USD"}')
    expect(fork.locator(".changes .path")).to_have_text("/status")
    expect(fork.locator(".side.removed")).to_have_text('− "lost"')
    expect(fork.locator(".side.added")).to_have_text('+ "sent"')

    fork.get_by_label("Id of the branch").fill("from/page")
    fork.get_by_label("Note").fill("what if it was sent")
    expect(fork.locator(".command code")).to_contain_text("--as from/page")
    fork.get_by_role("button", name="Copy").click()
    command = page.evaluate("navigator.clipboard.readText()")
    assert command.startswith("agentstream fork support/42")
    create.click()
    expect(fork.get_by_text("from/page is made.")).to_be_visible()
    fork.get_by_role("button", name="Open it").click()
    at_rest(page)
    expect(page.locator(".row", has_text="lookup_order").last).to_contain_text('"status": "sent"')

    agentstream(look.served, "resume", "from/page", "worlds:support")
    expect(page.locator(".standing")).to_have_text("live, finished")
    expect(page.locator(".row", has_text="refund")).to_have_count(0)
    with Client(look.served.store) as client:
        assert client.session("support/42").state().index == 18
        assert client.session("from/page").state().steps[0].result["status"] == "sent"


def test_a_fork_is_made_and_run(look: Looking) -> None:
    page = at_rest(look("/s/support/42@8"))
    fork = drawer(page, "f", "Fork")
    fork.get_by_label("Id of the branch").fill("run/by/page")
    fork.get_by_label("Agent to run it with").fill("worlds:support")
    fork.get_by_role("button", name="Create and run").click()
    fork.get_by_role("button", name="Open it").click()
    expect(page.locator(".standing")).to_have_text("live, finished")
    expect(page).to_have_url(re.compile("run/by/page"))


def test_an_id_that_is_taken_is_refused(look: Looking) -> None:
    page = at_rest(look("/s/support/42@8"))
    fork = drawer(page, "f", "Fork")
    fork.get_by_label("Id of the branch").fill("chat")
    expect(fork.locator(".card.bad")).to_contain_text("chat")
    expect(fork.get_by_role("button", name="Create fork")).to_be_disabled()


def test_a_replay_is_told_of(look: Looking) -> None:
    page = at_rest(look("/s/support/42"))
    replay = drawer(page, "r", "Replay")
    agent = replay.get_by_label("Agent")
    agent.fill("worlds:support")
    replay.get_by_role("button", name="Replay", exact=True).click()
    expect(replay.locator(".verdict")).to_contain_text("✓ identical")
    expect(replay.locator(".command code")).to_contain_text("support/42 worlds:support")

    agent.fill("worlds:clerk")
    replay.get_by_label("Tell all differences").check()
    replay.get_by_role("button", name="Replay", exact=True).click()
    expect(replay.locator(".verdict")).to_contain_text("✗ diverged")
    expect(replay.locator(".report .card").first).to_contain_text("different args")
    expect(replay.locator(".report .side.removed").first).to_contain_text("A1")
    assert violations(page) == []
    replay.get_by_role("button", name="Show it").first.click()
    assert cursor(page) == 7

    page.keyboard.press("G")
    page.locator("#event-8").click()
    replay = drawer(page, "r", "Replay")
    replay.get_by_label("Agent").fill("worlds:support")
    replay.get_by_label("Runs").select_option("here")
    replay.get_by_role("button", name="Replay", exact=True).click()
    expect(replay.locator(".verdict")).to_contain_text("stopped")


def test_a_replay_runs_on_in_a_fork(look: Looking) -> None:
    page = at_rest(look("/s/support/42"))
    replay = drawer(page, "r", "Replay")
    replay.get_by_label("Agent").fill("worlds:support")
    replay.get_by_label("Run on for real").check()
    replay.get_by_label("First step that is really made").fill("2")
    expect(replay.get_by_text("By the record it costs")).to_contain_text("0 model calls")
    replay.get_by_role("button", name="Run on", exact=True).click()
    expect(replay.get_by_text("refund").last).to_be_visible()  # it acts once: not without leave
    expect(replay.locator(".verdict")).to_contain_text("refused")
    replay.get_by_label("Steps that act once").fill("refund")
    replay.get_by_role("button", name="Run on", exact=True).click()
    expect(replay.locator(".verdict")).to_contain_text("otherwise 2 of 4 recorded steps served")  # another time of day
    replay.locator(".report").get_by_role("button", name="Open").click()
    at_rest(page)
    expect(page.locator(".standing")).to_have_text("live, finished")


def test_a_replay_goes_from_stop_to_stop(look: Looking) -> None:
    page = at_rest(look("/s/support/42"))
    replay = drawer(page, "r", "Replay")
    replay.get_by_label("Agent").fill("worlds:support")
    replay.get_by_label("Runs").select_option("stops")
    begin = replay.get_by_role("button", name="Replay", exact=True)
    expect(begin).to_be_disabled()
    replay.get_by_label("Stops before").fill("error\nfunction:refund?args.amount > 100")
    begin.click()
    expect(replay.get_by_text("Stopped before step:1 function flaky.")).to_be_visible()
    replay.get_by_role("button", name="On to the next stop").click()
    expect(replay.get_by_text("Stopped before step:3 function refund.")).to_be_visible()
    expect(replay.locator(".command code")).to_contain_text("step > 1 and (args.amount > 100)")
    replay.get_by_role("button", name="Show it").click()
    assert cursor(page) == rows_before(page, "refund")

    replay = drawer(page, "r", "Replay")
    replay.get_by_label("Agent").fill("worlds:support")
    replay.get_by_label("Runs").select_option("end")
    replay.get_by_text("Repeat and check").click()
    replay.get_by_label("Times").fill("2")
    replay.get_by_label("Function that says").fill("builtins:bool")
    replay.get_by_role("button", name="Replay", exact=True).click()
    expect(replay.get_by_text("2 of 2 tries passed the check.")).to_be_visible()
    expect(replay.get_by_role("list", name="Tries").get_by_role("listitem")).to_have_count(2)


def rows_before(page: Page, name: str) -> int:
    """How many events stand before the first row with this text."""
    return int(page.locator(".row", has_text=name).first.locator(".index").inner_text())


def test_a_replay_that_runs_on_takes_other_results_and_another_system_prompt(look: Looking) -> None:
    page = at_rest(look("/s/support/42"))
    replay = drawer(page, "r", "Replay")
    replay.get_by_label("Agent").fill("worlds:support")
    replay.get_by_label("Run on for real").check()
    replay.get_by_label("First step that is really made").fill("0")
    replay.get_by_label("System prompt").fill("Be brief.")
    given = replay.get_by_label("Steps that are not made")
    run_on = replay.get_by_role("button", name="Run on", exact=True)
    given.fill("lookup_order: 1")
    run_on.click()
    expect(replay.get_by_role("alert")).to_contain_text("is not NAME=JSON")
    given.fill("lookup_order={")
    run_on.click()
    expect(replay.get_by_role("alert")).to_contain_text("What lookup_order gives is no JSON")
    given.fill('lookup_order={"order_id": "A1", "status": "sent", "amount": 7}')
    run_on.click()
    expect(replay.locator(".command code")).to_contain_text("--system=Be brief.")
    replay.locator(".report").get_by_role("button", name="Open").click()
    at_rest(page)
    expect(page.locator(".standing")).to_have_text("live, finished")
    expect(page.locator(".row", has_text='"amount": 7')).not_to_have_count(0)
    expect(page.locator(".row", has_text="refund")).to_have_count(0)


def test_a_replay_is_stopped(look: Looking) -> None:
    page = at_rest(look("/s/support/42"))
    replay = drawer(page, "r", "Replay")
    replay.get_by_label("Agent").fill("slow_agent:slow")
    replay.get_by_role("button", name="Replay", exact=True).click()
    replay.get_by_role("button", name="Stop").click()
    expect(replay.locator(".job summary")).to_contain_text("Stopped")


def test_a_question_is_answered(look: Looking) -> None:
    page = at_rest(look("/s/support/43"))
    page.get_by_role("button", name="Waits for an answer").click()
    asked = page.get_by_role("region", name="Question")
    expect(asked).to_contain_text("Refund 12.50 USD for order B2?")
    asked.get_by_role("button", name="yes").click()
    expect(page.locator(".row .kind").get_by_text("answer", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Waits for an answer")).to_have_count(0)
    expect(asked).to_contain_text('Answered: "yes"')
    agentstream(look.served, "resume", "support/43", "worlds:clerk")
    expect(page.locator(".standing")).to_have_text("live, finished")


def test_what_is_written_meanwhile_is_seen(look: Looking) -> None:
    with Client(look.served.store) as client:
        session = client.session("watched")
        for n in range(40):
            session.append("note", {"n": n})
        page = at_rest(look("/s/watched"))
        before = cursor(page)
        session.append("note", {"n": "forty"})
        expect(page.locator(".row", has_text="forty")).to_be_visible()
        assert cursor(page) == before + 1
        at_rest(page)

        page.keyboard.press("g")
        session.append("note", {"n": "later"})
        session.append("note", {"n": "latest"})
        pill = page.get_by_role("button", name="2 new ↓")
        expect(pill).to_be_visible()
        assert violations(page) == []
        assert cursor(page) == 1
        pill.click()
        expect(page.locator(".row", has_text="latest")).to_be_visible()
        expect(pill).to_have_count(0)
        session.seal()
        expect(page.locator(".standing")).to_have_text("closed")


def test_a_request_to_a_model_is_read_as_a_conversation(look: Looking) -> None:
    made = {"id": "c1", "type": "function", "function": {"name": "lookup", "arguments": '{"id": "A1"}'}}
    asked = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Where is **A1**?"}]},
        {"role": "assistant", "content": None, "tool_calls": [made]},
        {"role": "tool", "tool_call_id": "c1", "content": '{"status": "lost"}'},
        {"type": "function_call_output", "call_id": "c2", "output": "gone"},
        EVIL,
        7,
    ]
    step = {"kind": "model", "name": "chat", "input": {"model": "gpt-4o", "messages": asked}, "fingerprint": "f"}
    with Client(look.served.store) as client:
        client.session("loop").append("note", {"n": 1})
        write(client, "loop", [*begun("r1", "support", {}), write_event("step", "r1/0/0#1", step, claim=1)])
    page = at_rest(look("/s/loop?tab=messages"))
    said = page.get_by_role("tabpanel").locator(".said")
    expect(said).to_have_count(6)
    expect(said.nth(1).locator("strong")).to_have_text("A1")
    expect(said.nth(2)).to_contain_text('id: "A1"')
    expect(said.nth(3)).to_contain_text('status: "lost"')
    expect(said.nth(5)).to_contain_text("<script>")


def test_a_page_to_read_offers_nothing_that_writes(browser: Browser, served: Served) -> None:
    question = {"prompt": "Shall I?", "kind": "ask"}
    with Client(served.store) as client:
        client.session("loop of questions").append("note", {"n": 1})
        asked = {"kind": "human", "name": "ask", "input": {}, "fingerprint": "f"}
        events = [
            write_event("step", "r1/0/0#1", asked, claim=1),
            write_event("question", "r1/0/0#1", question, claim=1),
        ]
        write(client, "loop of questions", [*begun("r1", "support", {}), *events])
    with serving(served.store, "--read-only") as reading:
        look = Looking(browser, reading)
        page = at_rest(look("/s/chat@9"))
        for name in ("Fork here…", "Replay to here…"):
            expect(page.get_by_role("button", name=name)).to_have_count(0)
        for key in "fr":
            page.keyboard.press(key)
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(page.get_by_role("button", name="Copy command")).to_be_visible()
        page = at_rest(look("/s/loop of questions"))
        expect(page.get_by_role("region", name="Question")).to_contain_text("Answer with agentstream answer.")
        expect(page.get_by_role("region", name="Question").get_by_role("button")).to_have_count(0)
        look.close()
        assert look.wrong == []


def test_an_export_opens_offline(look: Looking, browser: Browser, tmp_path: Path) -> None:
    page = at_rest(look("/s/support/42"))
    page.get_by_role("button", name="Export").click()
    dialog = page.get_by_role("dialog", name="Export")
    for name, ending in [("JSON lines", "jsonl"), ("Markdown", "md"), ("JSON", "json"), ("One page", "html")]:
        with page.expect_download() as saved:
            dialog.get_by_role("button", name=name, exact=True).click()
        assert saved.value.suggested_filename == f"support-42.{ending}"
        saved.value.save_as(tmp_path / f"session.{ending}")
        page.get_by_role("button", name="Export").click()

    context = browser.new_context(viewport={"width": 1440, "height": 900}, offline=True)
    offline = context.new_page()
    problems: list[str] = []
    offline.on("pageerror", lambda error: problems.append(str(error)))
    offline.on("console", lambda told: problems.append(told.text) if told.type == "error" else None)
    offline.goto((tmp_path / "session.html").as_uri())
    at_rest(offline)
    expect(offline.locator(".banner")).to_contain_text("Only to be read.")
    expect(offline.locator(".row")).to_have_count(18)
    expect(offline.get_by_role("button", name="Fork here…")).to_have_count(0)
    offline.locator("#event-7").click()
    panel = offline.get_by_role("tabpanel")
    expect(panel.get_by_role("group", name="Result")).to_contain_text('status: "lost"')
    for tab in "2345":
        offline.keyboard.press(tab)
        at_rest(offline)
        expect(panel.get_by_role("alert")).to_have_count(0)
    expect(panel.locator(".code")).to_contain_text('"type": "outcome"')
    context.close()
    assert problems == []


def test_a_row_that_changes_is_drawn_again(look: Looking) -> None:
    """Where no event came and no delta is hidden: somebody else has forked the session."""
    page = at_rest(look("/s/support/43@3"))
    expect(page.locator("#event-2 .forks")).to_have_count(0)
    agentstream(look.served, "fork", "support/43@3", "--as", "support/43/elsewhere")
    expect(page.locator("#event-2 .forks")).to_have_text("1")
