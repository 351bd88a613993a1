"""Looking at sessions in the page: list, timeline, details, scrubber, comparison, URL. Nothing here writes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_kit import Looking, at_rest, cursor, made, nodes, serving, stop_time
from playwright.sync_api import Browser, Page, expect


def test_sessions_are_listed_as_a_tree_and_filtered(look: Looking) -> None:
    page = look()
    listed = page.get_by_role("region", name="Sessions")
    expect(listed.locator(".session", has_text="support/42-b-2")).to_be_visible()
    names = listed.locator(".session .name").all_inner_texts()
    at = names.index("Where is order A1?")
    assert set(names[at + 1 : at + 4]) == {"support/42-b", "support/42-b-2", "support/42-c"}
    assert names.index("support/42-b-2") == names.index("support/42-b") + 1

    row = listed.locator(".session", has=page.get_by_text("chat", exact=True))
    expect(row.locator(".meta")).to_contain_text("$0.0058")
    expect(row).to_have_attribute("title", re.compile(r"1.7k tokens in, 154 out, \$0.0058"))
    expect(listed.locator(".session", has_text="crawler").locator(".meta")).to_contain_text("1✗")
    listed.get_by_label("Status").select_option("waiting")
    expect(listed.locator(".session")).to_have_text([re.compile("support/43")])
    listed.get_by_label("Status").select_option("")
    listed.get_by_label("Agent").select_option("crawler")
    expect(listed.locator(".session")).to_have_text([re.compile("crawler")])
    listed.get_by_label("Agent").select_option("")
    listed.get_by_label("Filter sessions").fill("no such")
    expect(listed.get_by_text("No session fits.")).to_be_visible()
    listed.get_by_label("Filter sessions").fill("chat")
    expect(listed.locator(".session")).to_have_count(1)
    listed.get_by_label("Filter sessions").press("Enter")
    expect(page).to_have_title("chat – agentstream")
    assert at_rest(page).locator(".session[aria-current=page]").inner_text().startswith("chat")


def test_a_long_list_comes_in_pages(look: Looking) -> None:
    page = look.fresh()
    pages = re.compile(r"/api/sessions\?")
    page.route(pages, lambda route: route.continue_(url=route.request.url.replace("limit=200", "limit=3")))
    page.goto(look.served.url())
    listed = page.locator(".session")
    expect(listed).to_have_count(3)
    for count in (6, 9):
        page.get_by_role("button", name="Load more").click()
        expect(listed).to_have_count(count)


def test_the_timeline_is_filtered_and_searched(look: Looking) -> None:
    page = at_rest(look("/s/support/42@1"))
    rows = page.get_by_role("listbox", name="Events").get_by_role("option")
    expect(rows).to_have_count(18)
    page.get_by_role("button", name="Error").click()
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="Tool").click()
    expect(rows).to_have_count(8)
    page.get_by_role("button", name="State").click()
    page.get_by_role("button", name="Tool").click()
    page.get_by_role("button", name="Error").click()
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="Model").click()
    page.get_by_role("button", name="State").click()
    expect(page.get_by_text("No event of this kind.")).to_be_visible()
    page.get_by_role("button", name="All", exact=True).click()
    expect(rows).to_have_count(18)

    page.keyboard.press("/")
    page.keyboard.type("lookup_order")
    expect(page.locator(".find .count")).to_have_text("2")
    page.keyboard.press("Enter")
    expect(page.locator(".find .count")).to_have_text("1/2")
    assert cursor(page) == 7
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    assert cursor(page) == 8
    page.keyboard.press("N")
    assert cursor(page) == 7
    expect(page.locator(".row.hit")).to_have_count(2)

    box = page.locator(".strip").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] - 1, box["y"] + 20)
    assert cursor(page) == 18
    page.mouse.down()
    page.mouse.move(box["x"] + 1, box["y"] + 20)
    page.mouse.up()
    assert cursor(page) == 1


def test_find_looks_at_all_that_events_say(look: Looking) -> None:
    page = at_rest(look("/s/hostile@1"))
    page.keyboard.press("/")
    page.keyboard.type('"n": 19999')  # names and numbers are found, their punctuation is none of them
    expect(page.locator(".find .count")).to_have_text("0")
    page.get_by_label("Find in the session").fill("19999")
    expect(page.locator(".find .count")).to_have_text("1")
    page.get_by_role("button", name="Next match").click()
    assert cursor(page) == 7
    expect(page.locator("#event-6")).to_have_class(re.compile("hit"))
    page.get_by_label("Find in the session").fill("owned")
    expect(page.locator(".find .count")).to_have_text(re.compile(r"^\d+/\d+$"))
    page.get_by_role("button", name="Previous match").click()
    assert cursor(page) == 6
    page.keyboard.press("n")
    assert cursor(page) == 7


def test_deltas_are_hidden_once_the_message_is_there(look: Looking) -> None:
    page = at_rest(look("/s/chat"))
    rows = page.get_by_role("listbox", name="Events").get_by_role("option")
    expect(rows).to_have_count(16)
    page.get_by_role("button", name="Deltas").click()
    expect(rows).to_have_count(20)
    page.wait_for_url("**?deltas=1")
    page.locator("#event-13").click()
    page.get_by_role("button", name="Deltas").click()
    expect(rows).to_have_count(16)
    page.keyboard.press("j")
    assert cursor(page) == 17
    page.keyboard.press("k")
    assert cursor(page) == 12


def test_each_tab_tells_of_the_event(look: Looking) -> None:
    page = at_rest(look("/s/chat@18"))
    panel = page.get_by_role("tabpanel")
    expect(panel).to_contain_text("901 in, 120 out")
    expect(panel).to_contain_text("gpt-4o-2024-08-06")
    expect(panel).to_contain_text("$0.0035")
    expect(panel.locator(".markdown table td")).to_have_text(["1", "2"])
    expect(panel.locator(".markdown pre code")).to_have_text("print('hello')\n")
    panel.get_by_role("button", name="event 11").click()
    assert cursor(page) == 12
    expect(panel.get_by_role("button", name="event 17")).to_be_visible()

    page.get_by_role("tab", name="State").click()
    expect(at_rest(page).get_by_role("group", name="State with 12 events")).to_contain_text("running")
    page.get_by_role("tab", name="State").press("ArrowRight")
    expect(panel).to_contain_text("What this event changed in the state.")
    expect(panel.locator(".changes li")).not_to_have_count(0)
    page.keyboard.press("4")
    expect(panel.locator(".said")).to_have_count(3)
    expect(panel.locator(".said").nth(1)).to_contain_text("list_files")
    expect(panel.locator(".said").last).to_have_text(re.compile(r"user\s*11\s*And\?"))  # it stands in the request alone
    panel.get_by_text("Reasoning").click()
    expect(panel.get_by_text("I should look.")).to_be_visible()
    page.keyboard.press("5")
    expect(panel.locator(".code")).to_contain_text('"fingerprint": "f2"')
    panel.get_by_role("button", name="As stored").click()
    expect(panel.locator(".code")).to_contain_text('"fingerprint":"f2"')
    with page.expect_download() as saved:
        panel.get_by_role("button", name="Download").click()
    assert saved.value.suggested_filename == "chat-11.json"


def test_values_open_and_close(look: Looking) -> None:
    page = at_rest(look("/s/chat@9"))
    result = page.get_by_role("group", name="Result")
    expect(result.get_by_text("status: 200")).to_be_visible()
    result.get_by_role("button", name="arguments").click()
    expect(result.get_by_text('path: "."')).to_be_visible()
    page.keyboard.press("X")
    expect(result.locator(".line")).to_have_count(1)
    page.keyboard.press("x")
    expect(result.get_by_text('path: "."')).to_be_visible()
    result.locator(".line").first.click()
    expect(result.locator(".line")).to_have_count(1)


def test_the_scrubber_moves_and_plays(look: Looking) -> None:
    page = at_rest(look("/s/support/42", clock=True))
    assert cursor(page) == 18
    for button, place in [("First event", 1), ("Next event", 2), ("Previous event", 1), ("Last event", 18)]:
        page.get_by_role("button", name=button).click()
        assert cursor(page) == place
    page.get_by_label("Events kept").fill("5")
    expect(page.locator("#event-4")).to_have_attribute("aria-selected", "true")
    expect(page.locator(".row.after")).to_have_count(13)
    expect(page.locator(".viewing")).to_have_text("viewing @5, stream at 18")
    page.get_by_role("button", name="Go live").click()
    assert cursor(page) == 18

    # it stops where it is told to
    page.locator("#event-10").click()
    page.get_by_role("button", name="Stop here").click()
    page.get_by_label("Speed").select_option("20")
    page.get_by_role("button", name="First event").click()
    stop_time(page)
    page.get_by_role("button", name="Play", exact=True).click()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Play", exact=True).click()
    page.clock.resume()
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    assert cursor(page) == 11
    page.get_by_role("button", name="Play", exact=True).click()
    expect(page.get_by_label("Events kept")).to_have_value("18")


def test_the_url_holds_the_view_and_not_the_token(look: Looking) -> None:
    page = at_rest(look("/s/support/42@8?tab=state&f=tool,error&q=refund"))
    assert look.served.token not in page.url
    assert cursor(page) == 8
    expect(page.get_by_role("tab", name="State")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_label("Find in the session")).to_have_value("refund")
    expect(page.get_by_role("button", name="Error")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("j")
    page.keyboard.press("5")
    page.wait_for_url("**/#/s/support/42@9?tab=raw&f=tool,error&q=refund")
    page.reload()
    at_rest(page)
    assert cursor(page) == 9
    page.locator(".session", has_text="chat").click()
    page.wait_for_url("**/#/s/chat@20")
    page.go_back()
    page.wait_for_url("**/#/s/support/42@9?tab=raw&f=tool,error&q=refund")
    expect(page.get_by_label("Find in the session")).to_have_value("refund")


def test_two_sessions_are_compared(look: Looking) -> None:
    page = at_rest(look("/s/support/42-b"))
    page.get_by_role("button", name="Compare…").click()
    page.get_by_role("option", name="What it was forked from").click()
    page.wait_for_url("**?cmp=**")
    compared = page.get_by_role("region", name="Comparison")
    expect(compared.get_by_text("First difference: step 0")).to_be_visible()
    pairs = compared.get_by_role("listbox").get_by_role("option")
    expect(pairs).to_have_count(4)
    expect(pairs.nth(0)).to_have_attribute("aria-selected", "true")
    expect(compared.locator(".side.removed").first).to_have_text('− "lost"')
    expect(compared.locator(".side.added").first).to_have_text('+ "sent"')
    compared.get_by_role("button", name="Next difference").click()
    expect(pairs.nth(2)).to_have_attribute("aria-selected", "true")
    compared.get_by_role("button", name="Previous difference").click()
    expect(pairs.nth(0)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("n")
    page.keyboard.press("n")
    expect(compared.get_by_text("Not here.")).to_be_visible()
    page.keyboard.press("k")
    page.keyboard.press("k")
    expect(pairs.nth(1)).to_have_attribute("aria-selected", "true")
    expect(compared.get_by_text("No difference.")).to_be_visible()
    compared.get_by_role("button", name="Only differences").click()
    expect(pairs).to_have_count(3)
    pairs.nth(0).click()
    compared.get_by_role("button", name="Open").first.click()
    page.wait_for_url("**/#/s/support/42@7")

    page = at_rest(look("/s/chat"))
    page.keyboard.press("c")
    page.keyboard.type("43")
    page.keyboard.press("Enter")
    expect(page.get_by_text("First difference")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("region", name="Timeline")).to_be_visible()


def test_the_palette_finds_sessions_commands_and_places(look: Looking) -> None:
    page = look()
    page.keyboard.press("Control+k")
    page.keyboard.type("42-c")
    expect(page.locator("#choice-0")).to_contain_text("support/42-c")
    page.keyboard.press("Enter")
    at_rest(page)
    page.get_by_role("button", name=re.compile("Where is order")).click()
    page.keyboard.type("@4")
    page.keyboard.press("Enter")
    assert cursor(page) == 4
    page.keyboard.press("Control+k")
    page.keyboard.type("show raw")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.get_by_role("tab", name="Raw")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Control+k")
    page.keyboard.type("zzzz")
    expect(page.get_by_text("Nothing fits.")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


@pytest.fixture
def long(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The page at the first of 10,000 events."""
    with serving(made(tmp_path, "10000")) as served:
        looking = Looking(browser, served)
        yield at_rest(looking("/s/long%2F10000@1"))
        looking.close()
        assert looking.wrong == []


def test_the_page_is_small_however_long_the_session(long: Page) -> None:
    kept = long.get_by_label("Events kept")
    events = long.get_by_role("listbox", name="Events")
    expect(kept).to_have_attribute("max", "10000")
    for place in (1, 5_000, 10_000):
        kept.fill(str(place))
        expect(events.locator("[aria-selected=true] .index")).to_have_text(str(place - 1))
        expect(events.get_by_role("option")).not_to_have_count(0)
        assert nodes(at_rest(long)) < 500


def test_the_page_is_small_however_large_an_event(look: Looking) -> None:
    page = at_rest(look("/s/hostile@8"))
    for tab in "12345":
        page.keyboard.press(tab)
        at_rest(page)
        assert nodes(page) < 500
    page.keyboard.press("1")
    page.get_by_role("button", name="Load full").first.click()
    value = page.get_by_role("group", name="Value")
    expect(value.locator(".line", has_text="1:")).not_to_have_count(0)
    assert nodes(page) < 500
