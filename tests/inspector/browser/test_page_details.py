"""What the page says of rarer things: events that do not count, attempts, long texts, values too large, no price."""

from __future__ import annotations

import re

from browser_kit import Looking, at_rest, cursor, nodes
from playwright.sync_api import Route, expect
from worlds import begun, ended, model_turn, said, write

from agentstream import Client
from agentstream.sessions.events import write_event

LONG = "A sentence that is long. " * 2400
"""60,000 characters."""


def function(key: str, **more: object) -> bytes:
    value = {"kind": "function", "name": "fetch", "input": {"n": 1}, "fingerprint": "f", **more}
    return write_event("step", key, value, claim=1)


def test_a_long_text_is_shown_whole_when_it_is_asked_for(look: Looking) -> None:
    with Client(look.served.store) as client:
        client.session("long text").append("message", said("assistant", f"{LONG}The end of it."))
    page = at_rest(look("/s/long text?tab=messages"))
    text = page.get_by_role("tabpanel").locator(".said")
    expect(text.locator(".cut")).to_contain_text("60.0 KB")
    text.get_by_role("button", name="Show all").click()
    expect(text.locator(".cut")).to_have_count(0)
    page.get_by_role("tabpanel").evaluate("panel => panel.scrollTo(0, panel.scrollHeight)")
    expect(text).to_contain_text("The end of it.")
    expect(text).not_to_contain_text("Cut here")
    assert nodes(page) < 500
    with Client(look.served.store) as client:
        client.session("longer text").append("message", said("assistant", LONG * 2))
    page = at_rest(look("/s/longer text?tab=messages"))
    expect(page.get_by_role("tabpanel").locator(".said")).to_contain_text("Cut here. Event 1 has the whole value.")


def test_why_an_event_does_not_count_and_how_often_a_step_was_tried(look: Looking) -> None:
    lost = {"error": {"name": "OSError", "text": "the line is dead"}}
    with Client(look.served.store) as client:
        client.session("tried").append("note", {"n": 1})
        events = [
            *begun("r1", "support", {}),
            function("r1/0/0#1"),
            write_event("outcome", "r1/0/0#1", lost, claim=1),
            function("r1/0/0#2"),
            write_event("outcome", "r1/0/0#2", {"result": 7}, claim=1),
            write_event("outcome", "r1/0/0#2", {"result": 8}, claim=1),
        ]
        write(client, "tried", events)
    page = at_rest(look("/s/tried@9"))
    panel = page.get_by_role("tabpanel")
    attempts = panel.locator(".facts > div", has_text="Attempts").get_by_role("button")
    expect(attempts).to_have_text(["1 failed", "2 finished"])
    attempts.first.click()
    assert cursor(page) == 7
    expect(panel.get_by_role("region", name="Error")).to_contain_text("the line is dead")
    page.locator("#event-9").click()
    expect(panel.locator(".card.warn")).to_contain_text("Duplicate: an event of this type and key")
    page.locator(".session", has_text="rewound").click()
    page.locator(".row.marked", has_text="rewound").first.click()
    expect(panel.locator(".card.warn")).to_contain_text("Rewound: a rewind went back")


def test_equal_sessions_compare_as_equal(look: Looking) -> None:
    with Client(look.served.store) as client:
        client.session("chat").fork("chat-same")
    page = look("/s/chat?cmp=chat-same")
    compared = page.get_by_role("region", name="Comparison")
    expect(compared.get_by_text("All 3 steps are the same.")).to_be_visible()
    expect(compared.get_by_role("button", name="Next difference")).to_be_disabled()
    page.keyboard.press("n")
    expect(page.locator(".notice")).to_have_text("No difference after this one")
    compared.get_by_role("button", name="Only differences").click()
    expect(compared.get_by_text("Nothing differs.")).to_be_visible()


def test_what_is_too_large_to_edit_or_compare_says_so(look: Looking) -> None:
    with Client(look.served.store) as client:
        client.session("large").append("note", {"n": 1})
        whole = write_event("outcome", "r1/0/0#1", {"result": LONG}, claim=1)
        small = [function("r1/0/1#1"), write_event("outcome", "r1/0/1#1", {"result": {"n": 1}}, claim=1)]
        write(client, "large", [*begun("r1", "support", {}), function("r1/0/0#1"), whole, *small])
    page = at_rest(look("/s/large@7"))
    page.keyboard.press("f")
    fork = page.get_by_role("dialog", name="Fork")
    expect(fork.get_by_text("(too large to edit here: use the command)")).to_be_visible()
    expect(fork.get_by_label("Another outcome of the step")).to_be_disabled()
    page.keyboard.press("Escape")
    page.locator("#event-8").click()
    at_rest(page)
    page.keyboard.press("f")
    fork.get_by_label("Another outcome of the step").check()
    fork.get_by_label("JSON").fill('{"n": "' + "x" * 200_001 + '"}')
    expect(fork.get_by_text("200.0 KB are not compared with every key.")).to_be_visible()
    fork.get_by_role("button", name="Compare", exact=True).click()
    expect(fork.locator(".changes .path")).to_have_text("/n")


def test_a_cost_that_is_not_known_is_not_guessed(look: Looking) -> None:
    with Client(look.served.store) as client:
        client.session("unpriced").append("note", {"n": 1})
        turn = [
            event.replace(b"gpt-4o-2024-08-06", b"a-model-of-ours") for event in model_turn("r1", 0, "q", [], (7, 9))
        ]
        write(client, "unpriced", [*begun("r1", "support", {}), *turn, *ended("r1", None)])
    page = at_rest(look("/s/unpriced"))
    expect(page.locator(".totals")).to_contain_text("cost unknown")
    expect(page.locator(".totals span").first).to_have_attribute("title", "No price is known of a-model-of-ours")
    page.locator(".row.model").last.click()
    expect(page.get_by_role("tabpanel").locator(".facts")).to_contain_text("no price is known")


def test_bytes_that_are_no_json_are_shown_as_they_are(look: Looking) -> None:
    page = look.fresh()

    def torn(route: Route) -> None:
        route.fulfill(json={"raw": '{"torn\u001b', "size": 7, "valid": False})

    page.route("**/api/raw?*", torn)
    page.goto(look.served.url("/s/chat@5?tab=raw"))
    panel = page.get_by_role("tabpanel")
    expect(panel.get_by_role("alert")).to_have_text("This event is no JSON. Its 7 B are shown as they are.")
    expect(panel.locator(".code")).to_have_text(re.compile(r'\{"torn\\e'))
    expect(panel.get_by_role("button", name="As stored")).to_have_count(0)
