"""Every key that `?` lists does what it says there, and none of them while one types."""

from __future__ import annotations

from collections.abc import Callable

from browser_kit import Looking, at_rest, cursor, stop_time
from playwright.sync_api import Page, expect

TABS = ("Detail", "State", "Diff", "Messages", "Raw")


def shown(page: Page, name: str) -> Callable[[], None]:
    return lambda: expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")


def test_every_key_is_listed_and_works(look: Looking) -> None:
    page = at_rest(look("/s/support/42@8", clock=True, permissions=["clipboard-read", "clipboard-write"]))

    def at(place: int) -> Callable[[], None]:
        return lambda: expect(page.get_by_label("Events kept")).to_have_value(str(place))

    def settled(place: int) -> Callable[[], None]:
        def check() -> None:
            at(place)()
            at_rest(page)

        return check

    def dialog(name: str) -> Callable[[], None]:
        def check() -> None:
            expect(page.get_by_role("dialog", name=name)).to_be_visible()
            page.keyboard.press("Escape")
            expect(page.get_by_role("dialog")).to_have_count(0)

        return check

    def told(text: str) -> Callable[[], None]:
        return lambda: expect(page.locator(".notice")).to_have_text(text)

    def focused(label: str) -> Callable[[], None]:
        def check() -> None:
            expect(page.get_by_label(label)).to_be_focused()
            page.keyboard.press("Escape")

        return check

    def lines(*, one: bool) -> Callable[[], None]:
        found = page.get_by_role("group", name="Result").locator(".line")
        return lambda: expect(found).to_have_count(1) if one else expect(found).not_to_have_count(1)

    def deltas(*, on: bool) -> Callable[[], None]:
        button = page.get_by_role("button", name="Deltas")
        return lambda: expect(button).to_have_attribute("aria-pressed", str(on).lower())

    def theme(name: str) -> Callable[[], None]:
        return lambda: expect(page.locator("html")).to_have_attribute("data-theme", name)

    def paused() -> None:
        """It plays to its end by itself; here it is paused at once."""
        expect(page.get_by_label("Events kept")).to_have_value("18")
        expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
        page.keyboard.press("g")
        stop_time(page)
        page.keyboard.press("Space")
        expect(page.get_by_role("button", name="Pause")).to_be_visible()
        page.keyboard.press("Space")
        page.clock.resume()
        expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
        assert cursor(page) == 1

    def broken() -> None:
        expect(page.get_by_role("button", name="Do not stop here")).to_be_visible()
        page.keyboard.press("b")
        expect(page.get_by_role("button", name="Stop here", exact=True)).to_be_visible()

    expected: list[tuple[str, str, Callable[[], None]]] = [
        ("j", "j", at(9)),
        ("↓", "ArrowDown", at(10)),
        ("k", "k", at(9)),
        ("↑", "ArrowUp", at(8)),
        ("J", "J", at(10)),
        ("K", "K", at(8)),
        ("e", "e", at(9)),
        ("e", "e", at(10)),
        ("e", "e", told("No error after this")),
        ("E", "E", at(9)),
        ("n", "n", told("Nothing is looked for: press /")),
        ("N", "N", told("Nothing is looked for: press /")),
        ("g", "g", at(1)),
        ("End", "End", at(18)),
        ("Home", "Home", at(1)),
        ("G", "G", at(18)),
        ("PageUp", "PageUp", at(1)),
        ("PageDown", "PageDown", at(18)),
        (":", ":", dialog("Go to")),
        ("p", "p", told("Nothing was this session forked from")),
        ("g", "g", at(1)),
        ("l", "l", at(18)),
        ("g", "g", at(1)),
        ("space", "Space", paused),
        ("g", "g", at(1)),
        *(
            (str(n), str(n), shown(page, name))
            for n, name in enumerate(("Detail", "State", "Diff", "Messages", "Raw"), 1)
        ),
        ("1", "1", shown(page, "Detail")),
        ("/", "/", focused("Find in the session")),
        ("d", "d", deltas(on=True)),
        ("d", "d", deltas(on=False)),
        ("J", "J", at(2)),
        *(("j", "j", at(n)) for n in range(3, 8)),
        ("j", "j", settled(8)),
        ("X", "X", lines(one=True)),
        ("x", "x", lines(one=False)),
        ("b", "b", broken),
        ("c", "c", dialog("Compare with")),
        ("f", "f", dialog("Fork")),
        ("r", "r", dialog("Replay")),
        ("Ctrl K", "Control+k", dialog("Sessions and commands")),
        ("s", "s", focused("Filter sessions by id or title")),
        ("y", "y", told("Copied a link to this view")),
        ("t", "t", theme("dark")),
        ("t", "t", theme("light")),
        ("?", "?", dialog("Keys")),
    ]
    for _, key, check in expected:
        page.keyboard.press(key)
        check()
    assert page.evaluate("navigator.clipboard.readText()") == f"{look.served.origin}/#/s/support/42@8"

    # branches: to the sibling, back, and up to where it was forked
    page = at_rest(look("/s/support/42-b"))
    there = page.locator(".session[aria-current=page]")
    first, second = page.locator(".session", has_text="support/42-").filter(has_not_text="b-2").all_inner_texts()
    forth, back = ("]", "[") if first.startswith("support/42-b") else ("[", "]")
    for key, name in [(forth, "support/42-c"), (back, "support/42-b")]:
        page.keyboard.press(key)
        expect(there).to_contain_text(name)
        at_rest(page)
    page.keyboard.press("p")
    expect(there).to_contain_text("Where is order A1?")
    assert {first[:12], second[:12]} == {"support/42-b", "support/42-c"}

    page.keyboard.press("?")
    page.get_by_role("dialog").locator("kbd").first.wait_for()
    listed = set(page.locator(".keys kbd").all_inner_texts())
    assert listed == {label for label, _, _ in expected} | {"[", "]"}


def test_keys_are_letters_where_one_types(look: Looking) -> None:
    page = at_rest(look("/s/support/42@8"))
    page.get_by_label("Find in the session").fill("")
    page.keyboard.type("jfrt?")
    expect(page.get_by_label("Find in the session")).to_have_value("jfrt?")
    assert cursor(page) == 8
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_a_step_or_a_cut_is_gone_to(look: Looking) -> None:
    page = at_rest(look("/s/support/42"))
    for typed, place in [("2", 11), ("@5", 5), ("step:1", 9)]:
        page.keyboard.press(":")
        page.keyboard.type(typed)
        page.keyboard.press("Enter")
        expect(page.get_by_label("Events kept")).to_have_value(str(place))
