"""What the page says when it is empty, loading, interrupted, refused; what it makes of what a stranger recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser_kit import Looking, at_rest, serving, stop_time, violations
from playwright.sync_api import Browser, Locator, Page, Route, expect
from worlds import begun, support, write

from agentstream import Client
from agentstream.sessions.events import write_event


def test_an_empty_store_tells_how_to_begin(browser: Browser, tmp_path: Path) -> None:
    with Client(tmp_path / ".agentstream") as client:
        assert list(client.sessions()) == []
    with serving(tmp_path / ".agentstream") as served:
        look = Looking(browser, served)
        page = look(permissions=["clipboard-read", "clipboard-write"])
        expect(page.get_by_role("heading", name="No sessions yet")).to_be_visible()
        expect(page.get_by_text("No sessions yet.")).to_be_visible()
        page.get_by_role("button", name="Copy", exact=True).click()
        assert "from agentstream import Client" in page.evaluate("navigator.clipboard.readText()")
        page.get_by_role("button", name="Copy: agentstream doctor").click()
        expect(page.locator(".notice")).to_have_text("Copied the command")
        assert violations(page) == []
        look.close()
        assert look.wrong == []


def test_without_the_token_nothing_is_told(look: Looking) -> None:
    page = look("/s/support/42", token=False)
    expect(page.locator(".banner.bad")).to_contain_text("401")
    expect(page.locator(".sessions [role=alert]")).to_be_visible()
    expect(page.locator(".row")).to_have_count(0)


def test_what_is_not_there_is_said(look: Looking) -> None:
    page = look("/s/no/such")
    expect(page.locator(".banner.bad")).to_contain_text("404")
    expect(page.get_by_role("heading", name="It cannot be shown")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("button", name="Retry").click()
    expect(page.locator(".banner.bad")).to_contain_text("404")


def test_loading_can_be_stopped_and_gone_on_with(look: Looking) -> None:
    page = look.fresh()
    page.goto(look.served.url("/s/chat"))
    at_rest(page)
    page.route("**/api/rows?*support%2F42&*", lambda _: None)  # never answered
    page.evaluate("location.hash = '#/s/support/42'")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator(".banner")).to_contain_text("Reading was stopped: 0 events are here.")
    assert violations(page) == []
    page.unroute("**/api/rows?*support%2F42&*")
    page.get_by_role("button", name="Read on").click()
    at_rest(page)
    expect(page.locator(".row")).to_have_count(18)


def test_an_interrupted_stream_is_taken_up_again(look: Looking) -> None:
    page = look.fresh()
    down = True

    def answer(route: Route) -> None:
        route.abort("connectionrefused") if down else route.continue_()

    page.clock.install()
    page.route("**/api/rows?*", answer)
    page.goto(look.served.url("/s/support/42"))
    expect(page.locator(".banner.warn")).to_contain_text("The stream was interrupted after event 0. Try 1")
    expect(page.locator(".standing")).to_have_text("reconnecting")
    stop_time(page)  # it does not try again by itself
    expect(page.locator(".banner").get_by_role("button", name="Retry")).to_be_visible()
    down = False
    page.locator(".banner").get_by_role("button", name="Retry").click()
    page.clock.resume()
    expect(page.locator(".standing")).to_have_text("live, finished")
    expect(page.locator(".banner")).to_have_count(0)
    expect(page.locator(".row")).to_have_count(18)


def test_a_row_that_is_no_json_is_told_and_the_others_shown(look: Looking) -> None:
    page = look.fresh()

    def torn(route: Route) -> None:
        lines = route.fetch(url=route.request.url.replace("&live=1", "")).text().splitlines()
        route.fulfill(body="\n".join([*lines[:4], '[3, "torn', *lines[4:]]), content_type="application/x-ndjson")

    page.route("**/api/rows?*", torn, times=1)
    page.goto(look.served.url("/s/support/42"))
    expect(page.locator(".row")).to_have_count(18)
    expect(page.get_by_text("1 rows could not be read")).to_be_visible()


def test_closed_and_deleted_sessions_say_so(look: Looking) -> None:
    page = at_rest(look("/s/sealed"))
    expect(page.locator(".standing")).to_contain_text("closed")

    with Client(look.served.store) as client:
        client.session("doomed").append("note", {"n": 1})
        page = at_rest(look("/s/doomed"))
        client.session("doomed").delete()
        expect(page.locator(".banner.bad")).to_contain_text("deleted")
        expect(page.locator(".standing")).to_have_text("deleted")
        assert violations(page) == []
        expect(page.locator(".row")).not_to_have_count(0)


def test_a_page_that_nobody_looks_at_follows_nothing(look: Looking) -> None:
    with Client(look.served.store) as client:
        session = client.session("rests")
        session.append("note", {"n": "first"})
        page = at_rest(look("/s/rests", clock=True))
        hide = "hidden => (Object.defineProperty(document, 'hidden', {configurable: true, get: () => hidden}),"
        hide += " document.dispatchEvent(new Event('visibilitychange')))"
        page.evaluate(hide, True)
        with page.expect_event("requestfailed", lambda asked: "/api/rows" in asked.url):
            page.clock.fast_forward(31_000)
        session.append("note", {"n": "meanwhile"})
        expect(page.locator(".row", has_text="meanwhile")).to_have_count(0)
        page.evaluate(hide, False)
        expect(page.locator(".row", has_text="meanwhile")).to_be_visible()


def test_steps_of_a_child_run_stand_below_their_parents(look: Looking) -> None:
    def step(key: str, name: str) -> bytes:
        value = {"kind": "function", "name": name, "input": {}, "fingerprint": "f"}
        return write_event("step", key, value, claim=1)

    with Client(look.served.store) as client:
        client.session("nested").append("note", {"n": 1})
        write(client, "nested", [*begun("r1", "outer", {}), step("r1/0/0#1", "above"), step("r1/0/0/0/0#1", "below")])
    page = at_rest(look("/s/nested"))
    left = [page.locator(".row", has_text=name).locator(".what b").bounding_box() for name in ("above", "below")]
    assert left[0] is not None
    assert left[1] is not None
    assert left[1]["x"] - left[0]["x"] == pytest.approx(14, abs=1)


def test_a_session_whose_key_is_not_here_says_so_and_shows_what_stands_in_clear(look: Looking, tmp_path: Path) -> None:
    with Client(look.served.store, encrypt=b"k" * 32) as client:
        client.session("locked").run(support, "Where is order A1?")
    page = at_rest(look("/s/locked@6", permissions=["clipboard-read", "clipboard-write"]))
    banner = page.locator(".banner.warn")
    expect(banner).to_contain_text("of 14 events cannot be opened here. session 'locked': event")
    expect(banner).to_contain_text("give the client its key")
    banner.get_by_role("button", name="Copy").click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("AGENTSTREAM_KEY=")
    rows = page.get_by_role("listbox", name="Events").get_by_role("option")
    expect(rows).to_have_count(14)
    expect(rows.nth(5).locator(".what")).to_have_text("locked")
    expect(rows.nth(5).locator(".kind")).to_have_text("outcome")
    expect(page.get_by_role("tabpanel")).to_contain_text("is encrypted; give the client its key")
    assert violations(page) == []
    page.keyboard.press("2")
    expect(page.get_by_role("tabpanel").get_by_role("alert")).to_contain_text("is encrypted")
    page.keyboard.press("5")
    expect(page.get_by_role("tabpanel").locator(".code")).to_contain_text("$sealed")

    with Client(look.served.store, encrypt=b"k" * 32) as client:
        client.session("erased").append("note", {"n": 1})
        client.session("erased").erase()
    page = look("/s/erased")
    expect(page.locator(".banner.bad")).to_contain_text("This session was erased (410).")


def test_marked_unknown_and_redacted_events_are_shown(look: Looking) -> None:
    page = at_rest(look("/s/hostile@20"))
    panel = page.get_by_role("tabpanel")
    expect(panel.get_by_role("group", name="Value")).to_contain_text('no: "event"')
    expect(page.locator("#event-19 .kind")).to_have_text("unknown")
    page.locator("#event-22").click()
    expect(panel).to_contain_text("Malformed: not of the form of its type.")
    page.locator("#event-20").click()
    expect(panel).to_contain_text("does not count")
    page.locator("#event-25").click()
    expect(panel.locator(".line.redacted")).to_have_text("password: ▒▒▒▒ password")


def test_too_big_is_cut_and_had_whole(look: Looking) -> None:
    page = at_rest(look("/s/hostile@6"))
    panel = page.get_by_role("tabpanel")
    expect(panel.locator(".cut")).to_contain_text("5.0 MB")
    panel.locator(".line .told").click()
    expect(panel).to_contain_text("the first 19,996 characters")
    expect(panel.locator(".line.wrapped").first).to_contain_text("<script>document.title='owned'")
    with page.expect_download() as saved:
        panel.get_by_role("button", name="Download").click()
    assert saved.value.path().stat().st_size > 5_000_000
    panel.get_by_role("button", name="Load full").click()
    expect(panel.locator(".cut")).to_have_count(0)
    expect(panel.locator(".line.wrapped").first).to_contain_text("<script>document.title='owned'")


def test_nothing_a_stranger_recorded_is_more_than_text(look: Looking) -> None:
    page = at_rest(look("/s/hostile@1"))
    for _ in range(26):
        for tab in "14":
            page.keyboard.press(tab)
            at_rest(page)
        page.keyboard.press("j")
    expect(page.get_by_label("Events kept")).to_have_value("26")
    page.locator("#event-2").click()
    page.keyboard.press("5")
    at_rest(page)
    page.keyboard.press("2")
    at_rest(page)
    page.keyboard.press("1")
    # marks that turn text round and controls are written out, links to scripts are none
    said = page.get_by_role("tabpanel").locator(".said")
    expect(said).to_contain_text(r"\e[2J\e]0;owned\x07 \u202etxt.exe")
    assert page.locator("a[href^='javascript' i], img, iframe, object, .said script").count() == 0
    assert page.locator("[style*='position:fixed']").count() == 0
    for opens in ("f", "Control+k", "r"):
        page.keyboard.press(opens)
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
    assert "owned" not in page.title()[:5]
    assert page.title().startswith("<script>")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(look: Looking, scheme: str) -> None:
    page = at_rest(look("/s/support/42@9", color_scheme=scheme, reduced_motion="reduce"))
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    assert page.evaluate("getComputedStyle(document.querySelector('.notice')).transitionDuration") == "0s"
    assert violations(page) == []
    # the colours of lists and texts are those of the page: in the dark not all are looked at again
    for key in ("2", "3", "5", "f", "r", "c", ":", "?", "Control+k") if scheme == "light" else ("3", "f", "r", "c"):
        page.keyboard.press(key)
        if page.get_by_role("dialog").count():
            assert violations(page) == []
            page.keyboard.press("Escape")
        else:
            at_rest(page)
            assert violations(page) == []
    page.goto(look.served.url("/s/support/42?cmp=support/42-b"))
    page.wait_for_selector(".side.removed")
    assert violations(page) == []
    page.goto(look.served.url("/s/support/43@8"))
    page.wait_for_selector(".asked")
    assert violations(page) == []
    page.get_by_role("button", name="Export").click()
    assert violations(page) == []
    page.goto(look.served.url("/s/chat@17?tab=messages&q=readme"))
    page.wait_for_selector(".said")
    assert violations(page) == []


def test_a_narrow_page_has_everything(look: Looking) -> None:
    page = at_rest(look("/s/support/42@9", viewport={"width": 900, "height": 700}))
    expect(page.locator(".sessions")).to_be_hidden()
    page.get_by_role("button", name="Sessions", exact=True).click()
    page.locator(".session", has_text="chat").click()
    expect(page.locator(".sessions")).to_be_hidden()
    at_rest(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 900
    assert violations(page) == []


def within(page: Page, found: Locator) -> bool:
    """Whether an element can be seen whole, if need be after what it stands in is scrolled."""
    found.scroll_into_view_if_needed()
    box, size = found.bounding_box(), page.viewport_size
    assert box is not None
    assert size is not None
    across = box["x"] > -1 and box["x"] + box["width"] < size["width"] + 1  # browsers scroll by whole pixels
    return across and box["y"] > -1 and box["y"] + box["height"] < size["height"] + 1


@pytest.mark.parametrize("width", [320, 390])
def test_a_page_as_wide_as_a_phone_has_everything(look: Looking, width: int) -> None:
    page = at_rest(look("/s/support/43@8", viewport={"width": width, "height": 844}))
    for control in (
        *page.locator("header :is(button, a)").all(),
        *page.locator(".timeline .pane-head :is(button, input)").all(),
        *page.locator(".tabs button, .actions button").all(),
        *page.locator("footer :is(button, select, input, .place)").all(),
    ):
        assert not control.is_visible() or within(page, control), control.inner_html()
    assert violations(page) == []
    for key in ("f", "r", "?", "Control+k", ":"):
        page.keyboard.press(key)
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        assert dialog.evaluate("box => box.scrollWidth <= box.clientWidth")
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
    page.get_by_role("button", name="Sessions", exact=True).click()
    assert within(page, page.locator(".session", has_text="Where is order A1?"))
    page.goto(look.served.url("/s/support/42?cmp=support/42-b"))
    page.wait_for_selector(".side.removed")
    for control in page.locator(".compare button").all():
        assert within(page, control), control.inner_html()
    assert violations(page) == []
