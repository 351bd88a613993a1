"""The inspector's page in Chromium: a long session until it can be used, a move of the scrubber, an append.

The program `agentstream ui` serves it; the store is new to it each time. Chromium is the machine's own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import Numbers, Row, main, median, ms
from playwright.sync_api import Browser, Page, sync_playwright

from agentstream import Client

ROOT = Path(__file__).resolve().parent.parent
WORLDS = ROOT / "tests" / "inspector" / "worlds.py"
LONGEST = 120_000
FRAME = 0.016

# What one move of the scrubber costs until the page is laid out anew: the part of a frame that it takes.
SCRUB = """async (moves) => {
    const scrubber = document.querySelector("input[type=range]");
    const took = [];
    for (let move = 0; move < moves; move++) {
        const begun = performance.now();
        scrubber.value = String(1 + ((move * 7919) % Number(scrubber.max)));
        scrubber.dispatchEvent(new Event("input", { bubbles: true }));
        await new Promise((resolve) => setTimeout(resolve)); // the page draws in a microtask
        document.body.offsetHeight;
        took.push((performance.now() - begun) / 1000);
        await new Promise((resolve) => requestAnimationFrame(resolve));
    }
    return took;
}"""

# When the row with a text appears, by the page's own clock.
SEEN = """(text) => new Promise((resolve) => {
    const rows = document.querySelector(".rows");
    const look = () => rows.textContent.includes(text) ? resolve(Date.now() / 1000) : requestAnimationFrame(look);
    look();
})"""


@contextmanager
def served(store: Path) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "agentstream.cli", "ui", "--no-browser"],
        env={**os.environ, "AGENTSTREAM_URL": str(store)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


@contextmanager
def chromium() -> Iterator[Browser]:
    place = shutil.which("chromium") or shutil.which("google-chrome")
    if place is None:
        raise SystemExit("no Chromium was found")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=place, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(page: Page, url: str, session: str) -> float:
    """Seconds from the page's address to a timeline that is whole and an event that is told of."""
    begun = time.perf_counter()
    page.goto(url.replace("#/?", f"#/s/{session}?"))
    page.wait_for_selector(".standing[data-tone=live]")
    page.wait_for_selector(".row[aria-selected=true]")
    page.wait_for_selector(".facts")
    return time.perf_counter() - begun


def measure(folder: Path, quick: bool) -> dict[str, float]:
    sizes = (10_000,) if quick else (10_000, 50_000)
    subprocess.run([sys.executable, WORLDS, folder, *map(str, sizes)], check=True, stdout=subprocess.DEVNULL)
    store = folder / ".agentstream"
    found: dict[str, float] = {}
    with chromium() as browser:
        for size in sizes:
            with served(store) as url:
                page = browser.new_page(viewport={"width": 1440, "height": 900})
                page.set_default_timeout(LONGEST)
                found[f"{size} opened"] = opened(page, url, f"long/{size}")
                found[f"{size} nodes"] = page.evaluate("document.querySelectorAll('*').length")
                found[f"{size} scrub"] = median(page.evaluate(SCRUB, 100))
                page.keyboard.press("G")
                with Client(store) as client:
                    late: list[float] = []
                    for turn in range(10):
                        text = f"seen {size} {turn}"
                        page.evaluate("(text) => { window.seen = (" + SEEN + ")(text); }", text)
                        client.session(f"long/{size}").append("note", {"text": text})
                        written = time.time()
                        late.append(page.evaluate("window.seen") - written)
                found[f"{size} append"] = max(median(late), 0.0)
                page.close()
    return found


def rows(numbers: Numbers) -> list[Row]:
    found: list[Row] = []
    for size, budget in ((10_000, 1.5), (50_000, 4.0)):
        if f"{size} opened" not in numbers:
            continue
        took, nodes, scrub, append = (numbers[f"{size} {name}"] for name in ("opened", "nodes", "scrub", "append"))
        what = f"inspector, {size:,} events"
        found += [
            Row(f"{what}: usable", ms(took), limit=f"{budget:g} s", kept=took <= budget),
            Row("… elements in the document", f"{nodes:.0f}", limit="500", kept=nodes < 500),
            Row("… a move of the scrubber", ms(scrub), limit="16 ms", kept=scrub < FRAME),
            Row("… an append until it is seen", ms(append), limit="100 ms", kept=append < 0.1),
        ]
    return found


if __name__ == "__main__":
    main(measure)
