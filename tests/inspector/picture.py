"""Takes docs/inspector.png: `python tests/inspector/picture.py [FILE]` makes a store of its own and looks at it.

The fonts are this machine's. pngquant, where it is there, makes the file a third as large.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent.parent / "tools")]

from browser_kit import at_rest, serving  # noqa: E402
from chromium import MISSING, chromium  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from worlds import begun, ended, model_turn, said, write  # noqa: E402

from agentstream import Client  # noqa: E402
from agentstream.sessions.events import write_event  # noqa: E402

PICTURE = HERE.parent.parent / "docs" / "inspector.png"
QUESTION = "My order A1 has not come. Can I have my money back?"
ORDER = {"order_id": "A1", "status": "lost", "amount": 4999, "currency": "USD", "courier": "Northline"}
ANSWER = (
    "I am sorry about that. **Northline lost the parcel** on 17 November, so I refunded the full amount:\n\n"
    "| order | amount | to |\n|---|---|---|\n| A1 | 49.99 USD | the card you paid with |\n\n"
    "It arrives within three days. Shall I send the same items again?"
)


def spread(messages: Iterable[bytes], begin: datetime, seconds: Iterable[float]) -> list[bytes]:
    """The messages as if so much time lay before each."""
    found: list[bytes] = []
    for message, pause in zip(messages, seconds, strict=False):
        begin += timedelta(seconds=pause)
        event = json.loads(message)
        event["headers"]["timestamp"] = begin.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        found.append(json.dumps(event).encode())
    return found


def step(run: str, ordinal: int, name: str, given: Any, result: dict[str, Any]) -> list[bytes]:
    key = f"{run}/0/{ordinal}#1"
    asked = {"kind": "tool", "name": name, "input": given, "fingerprint": f"{name}{ordinal}"}
    return [write_event("step", key, asked, claim=1), write_event("outcome", key, result, claim=1)]


def call(number: int, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_call", "id": f"call_{number}", "name": name, "arguments": arguments}


def conversation(question: str) -> list[bytes]:
    lost = {"error": {"name": "TimeoutError", "text": "the courier did not answer within 10 s"}}
    first = [{"type": "text", "text": "Let me look at your order."}, call(1, "lookup_order", {"order_id": "A1"})]
    second = [{"type": "text", "text": "I will ask the courier."}, call(2, "track_parcel", {"order_id": "A1"})]
    third = [{"type": "text", "text": "It is lost, so I refund it."}, call(3, "refund", {"order_id": "A1"})]
    return [
        write_event("message", "asked", said("user", question)),
        *begun("r1", "support", {"question": question}),
        *model_turn("r1", 0, question, first, (812, 34)),
        *step("r1", 1, "lookup_order", {"order_id": "A1"}, {"result": ORDER}),
        *model_turn("r1", 2, question, second, (968, 41)),
        *step("r1", 3, "track_parcel", {"order_id": "A1"}, lost),
        *step("r1", 4, "track_parcel", {"order_id": "A1"}, {"result": {"state": "lost", "since": "2026-11-17"}}),
        *model_turn("r1", 5, question, third, (1104, 38)),
        *step("r1", 6, "refund", {"order_id": "A1", "amount": 4999}, {"result": {"refunded": 4999, "id": "re_81"}}),
        *model_turn("r1", 7, question, [{"type": "text", "text": ANSWER}], (1240, 96)),
        *ended("r1", ANSWER),
    ]


def make(folder: Path) -> Path:
    place = folder / ".agentstream"
    now = datetime.now(timezone.utc)
    pauses = [0.0, 0.4, 0.1, 0.1, *([0.02, 0.31, 0.05, 0.05, 0.03, 0.9, 0.08, 0.4] * 12)]
    with Client(place) as client:
        for name, title in [
            ("eval/2026-11-22", "Nightly eval"),
            ("crawl/docs", "Crawl the docs"),
            ("support/40", "A change of address"),
            ("support/41", "Invoice for October"),
            ("support/42", "Where is order A1?"),
        ]:
            client.session(name).append("session", {"title": title})
            events = conversation(QUESTION if name == "support/42" else title)
            kept = {"crawl/docs": 12, "support/41": 22}.get(name, len(events))
            write(client, name, spread(events[:kept], now - timedelta(minutes=9), pauses))
        write(
            client,
            "crawl/docs",
            [
                write_event("error", "r1!1", {"run": "r1", "name": "ValueError", "text": "no address"}, claim=1),
                write_event("status", "r1", {"status": "failed"}, claim=1, operation="update"),
            ],
        )
        desk = client.session("support/42")
        steps = desk.state().steps
        desk.fork("support/42-sent", replace={steps[1].key: {**ORDER, "status": "sent"}})
        desk.fork("support/42-polite", 27)
        client.session("support/42-polite").append("message", said("user", "Please be brief."))
    return place


def main(picture: Path) -> None:
    place = chromium()
    if place is None:
        raise SystemExit(MISSING)
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(make(Path(folder))) as served,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=place, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(served.url("/s/support/42"))
        at_rest(page)
        page.locator(".row", has_text="I refunded").first.wait_for()
        message = page.locator(".row.message", has_text="I am sorry about that").last
        message.click()
        at_rest(page)
        page.screenshot(path=picture)
        browser.close()
    if (smaller := shutil.which("pngquant")) is not None:
        subprocess.run([smaller, "--force", "--strip", "--output", picture, "--", picture], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURE)
