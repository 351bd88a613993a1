"""The controls that no other test here works: bar, buttons of an event, kinds of edits, of matching and of answers."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from browser_kit import Looking, at_rest, cursor, violations
from playwright.sync_api import Locator, Page, expect
from worlds import begun, write

from agentstream import Client, RunWaiting, agent, ask, step
from agentstream.sessions.events import write_event

CLIPBOARD = ["clipboard-read", "clipboard-write"]


def clipboard(page: Page) -> str:
    return page.evaluate("navigator.clipboard.readText()")


def dialog(page: Page, name: str) -> Locator:
    return page.get_by_role("dialog", name=name)


def test_the_bar(look: Looking) -> None:
    page = at_rest(look("/s/support/42@8", permissions=CLIPBOARD, color_scheme="light"))
    page.get_by_role("button", name="Share").click()
    expect(page.locator(".notice")).to_have_text("Copied a link to this view")
    assert clipboard(page) == f"{look.served.origin}/#/s/support/42@8"
    page.get_by_role("button", name="Use dark colours").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.get_by_role("button", name="Use light colours").click()
    page.get_by_role("button", name="Keys", exact=True).click()
    expect(dialog(page, "Keys")).to_be_visible()
    dialog(page, "Keys").get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog")).to_have_count(0)

    page.get_by_role("button", name="Export").click()
    dialog(page, "Export").get_by_label("With its forks").check()
    with page.expect_download() as saved:
        dialog(page, "Export").get_by_role("button", name="JSON lines").click()
    assert "support/42-b" in saved.value.path().read_text(encoding="utf-8")

    page.get_by_role("link", name="agentstream").click()
    expect(page.get_by_role("heading", name="Choose a session")).to_be_visible()


def test_the_buttons_of_an_event(look: Looking) -> None:
    page = at_rest(look("/s/support/42@12", permissions=CLIPBOARD))
    for button, name in [("Fork here…", "Fork"), ("Replay to here…", "Replay"), ("Compare…", "Compare with")]:
        page.get_by_role("button", name=button).click()
        expect(dialog(page, name)).to_be_visible()
        page.keyboard.press("Escape")
    page.get_by_role("button", name="Copy command").click()
    expect(page.locator(".notice")).to_have_text("Copied the command")
    assert clipboard(page) == "agentstream show support/42@12"
    page.get_by_role("tab", name="Raw").click()
    page.get_by_role("tabpanel").get_by_role("button", name="Copy").click()
    expect(page.locator(".notice")).to_have_text("Copied the event")
    assert clipboard(page).startswith('{"type":"outcome"')
    page.keyboard.press("1")
    expect(page.locator("#event-11 .forks")).to_have_text("1")
    page.get_by_role("tabpanel").get_by_role("link", name="support/42-c").click()
    expect(page).to_have_title("Where is order A1? – agentstream")
    page.wait_for_url("**/#/s/support/42-c*")


def test_every_kind_of_event_can_be_looked_at_alone(look: Looking) -> None:
    page = at_rest(look("/s/chat"))
    rows = page.get_by_role("listbox", name="Events").get_by_role("option")
    for kind, count in [("Model", 4), ("Tool", 2), ("Message", 4), ("Run", 6)]:
        page.get_by_role("button", name=kind, exact=True).click()
        expect(rows).to_have_count(count)
        page.get_by_role("button", name=kind, exact=True).click()
    expect(rows).to_have_count(16)


def test_a_list_that_could_not_be_had_is_asked_for_again(look: Looking) -> None:
    page = look.fresh()
    page.route("**/api/sessions?*", lambda route: route.abort("connectionrefused"), times=1)
    page.goto(look.served.url())
    listed = page.get_by_role("region", name="Sessions")
    expect(listed.get_by_role("alert")).to_contain_text("does not answer")
    listed.get_by_role("button", name="Retry").click()
    expect(listed.locator(".session", has_text="chat")).to_be_visible()


def test_a_comparison_is_left(look: Looking) -> None:
    page = look("/s/support/42?cmp=support/42-b")
    compared = page.get_by_role("region", name="Comparison")
    compared.get_by_role("button", name="Close").click()
    expect(page.get_by_role("region", name="Timeline")).to_be_visible()
    page.go_back()
    page = look("/s/support/42?cmp=support/42-b")
    page.get_by_role("region", name="Comparison").get_by_role("button", name="support/42-b").click()
    page.wait_for_url("**/#/s/support/42-b*")
    at_rest(page)


def test_a_message_and_an_input_are_edited(look: Looking) -> None:
    page = at_rest(look("/s/support/42@3"))
    page.keyboard.press("f")
    fork = dialog(page, "Fork")
    fork.get_by_label("Another message").check()
    fork.get_by_label("JSON").fill('{"role": "user", "parts": [{"type": "text", "text": "Where is B2?"}]}')
    expect(fork.locator(".changes .path").first).to_have_text("/parts/0/text")
    fork.get_by_label("Id of the branch").fill("other/message")
    fork.get_by_role("button", name="Create fork").click()
    fork.get_by_role("button", name="Open it").click()
    at_rest(page)
    expect(page.locator(".row", has_text="Where is B2?")).to_be_visible()

    page = at_rest(look("/s/support/42@5"))
    page.keyboard.press("f")
    fork = dialog(page, "Fork")
    fork.get_by_label("Another input of the run").check()
    fork.get_by_label("JSON").fill('{"question": "Where is C3?"}')
    fork.get_by_label("Id of the branch").fill("other/input")
    expect(fork.get_by_role("button", name="Create fork")).to_be_disabled()  # it cannot be made without running it
    expect(fork.locator(".command code")).to_contain_text("--set-input")
    fork.get_by_label("Agent to run it with").fill("worlds:support")
    fork.get_by_role("button", name="Create and run").click()
    fork.get_by_role("button", name="Open it").click()
    expect(page.locator(".standing")).to_have_text("live, finished")
    expect(page.locator(".row", has_text="Where is C3?: it was lost")).to_be_visible()


def test_how_a_replay_matches_and_where_it_stops(look: Looking) -> None:
    page = at_rest(look("/s/support/42@13"))
    page.keyboard.press("b")
    page.keyboard.press("r")
    replay = dialog(page, "Replay")
    replay.get_by_label("Agent").fill("worlds:support")
    command = replay.locator(".command code")
    begin = replay.get_by_role("button", name="Replay", exact=True)
    replay.get_by_label("Steps match").select_option("ordered")
    replay.get_by_label("Runs").select_option("break")
    begin.click()
    expect(replay.locator(".verdict")).to_contain_text("stopped")
    expect(command).to_contain_text("--match=ordered")
    expect(command).to_contain_text("--until=step:3")
    replay.get_by_label("Steps match").select_option("identity")
    replay.get_by_label("Runs").select_option("end")
    begin.click()
    expect(replay.locator(".verdict")).to_contain_text("identical")
    expect(command).to_contain_text("--match=identity")
    replay.get_by_label("Run on for real").check()
    replay.get_by_label("Model in place").fill("gpt-4.1")
    replay.get_by_label("First step that is really made").fill("3")
    replay.get_by_label("Steps that act once").fill("refund")
    replay.get_by_role("button", name="Run on", exact=True).click()
    expect(command).to_contain_text("--model=gpt-4.1")


@step(approve=True)
def pay(amount: int) -> str:
    return f"{amount} paid"


@agent
def interview(topic: str) -> str:
    name = ask("What is your name?")
    count = ask("How many?", schema={"type": "integer"})
    sure = ask("Are you sure?", schema={"type": "boolean"})
    try:
        paid = pay(3)
    except Exception as error:
        paid = type(error).__name__
    return f"{topic}: {name} {count} {sure} {paid}"


@pytest.mark.parametrize(("approval", "told"), [("Approve", "3 paid"), ("Refuse", "Refused")])
def test_every_kind_of_question_is_answered(look: Looking, approval: str, told: str) -> None:
    with Client(look.served.store) as client:
        session = client.session(f"interview/{approval}")

        def run() -> str | None:
            try:
                return session.run(interview, "An order")
            except RunWaiting:
                return None

        def run_on() -> str | None:
            """In a thread: playwright has an event loop in this one."""
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(run).result()

        run_on()
        page = at_rest(look(f"/s/{session.id}"))
        asked = page.get_by_role("region", name="Question")

        def goes_on(answer: str) -> None:
            """Once the answer is seen, the run goes on to its next question."""
            expect(asked).to_contain_text(f"Answered: {answer}")
            run_on()
            page.get_by_role("button", name="Waits for an answer").click()

        page.get_by_role("button", name="Waits for an answer").click()
        give = asked.get_by_role("button", name="Answer")
        expect(give).to_be_disabled()
        asked.get_by_label("Answer").fill("Ada")
        give.click()
        goes_on('"Ada"')
        expect(asked).to_contain_text("How many?")
        for wrong, why in [("{", "This is no JSON"), ('"three"', "integer")]:
            asked.get_by_label("Answer").fill(wrong)
            give.click()
            expect(asked.get_by_role("alert")).to_contain_text(why)
        assert violations(page) == []
        asked.get_by_label("Answer").fill("3")
        give.click()
        goes_on("3")
        asked.get_by_role("button", name="Yes").click()
        goes_on("true")
        expect(asked.get_by_role("group", name="Arguments")).to_contain_text("3")
        asked.get_by_role("button", name=approval).click()
        expect(asked).to_contain_text("Answered: ")
        result = run_on()
    assert result is not None
    assert result.startswith("An order: Ada 3 True")
    assert (told in result) == (approval == "Approve")


def test_earlier_messages_come_when_they_are_asked_for(look: Looking) -> None:
    with Client(look.served.store) as client:
        session = client.session("talk")
        for n in range(30):
            session.append("message", {"role": "user", "parts": [{"type": "text", "text": f"line {n} of the talk"}]})
    page = at_rest(look("/s/talk?tab=messages"))
    said = page.get_by_role("tabpanel").locator(".said")
    expect(said).to_have_count(12)
    page.get_by_role("button", name="18 earlier").click()
    expect(said).to_have_count(24)
    expect(said.first).to_contain_text("line 6 of")
    said.first.get_by_role("button").click()
    assert cursor(page) == 8


def test_what_a_model_says_is_seen_while_it_comes(look: Looking) -> None:
    key = "r1/0/0#1"
    asked = {"kind": "model", "name": "gpt", "input": {"messages": []}, "fingerprint": "f"}

    def delta(number: int, kind: str, text: str, target: str, **more: str) -> bytes:
        value = {"target": target, "kind": kind, "text": text, "attempt": 1, **more}
        return write_event("delta", f"{key}/d{number}", value, claim=1)

    with Client(look.served.store) as client:
        client.session("coming").append("note", {"n": 1})
        write(client, "coming", [*begun("r1", "support", {}), write_event("step", key, asked, claim=1)])
        page = at_rest(look("/s/coming"))
        write(client, "coming", [delta(1, "text", "Let me ", "m1")])
        write(client, "coming", [delta(2, "text", "look.", "m1"), delta(3, "args", '{"order', "c1", name="look_up")])
        said = page.get_by_role("tabpanel").locator(".said")
        expect(said).to_contain_text("is coming…")
        expect(said).to_contain_text("Let me look.")
        expect(said).to_contain_text("→ look_up")
        write(client, "coming", [delta(4, "args", '": "A1"}', "c1")])
        expect(said.locator(".tree")).to_contain_text(re.compile("order.*A1"))
        message = {"id": "m1", "role": "assistant", "parts": [{"type": "text", "text": "Let me look."}]}
        write(client, "coming", [write_event("message", f"{key}/m", message, claim=1)])
        expect(said).not_to_contain_text("is coming…")
