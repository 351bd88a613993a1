"""The inspector's page in a real browser: the program `agentstream ui`, Chromium, and what must never happen in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from page import packages
from playwright.sync_api import Browser, BrowserContext, Page, Request, expect

HERE = Path(__file__).resolve().parent
LONGEST = 60_000
"""Milliseconds until something that should come is taken for hanging."""

expect.set_options(timeout=LONGEST)


@dataclass(frozen=True)
class Served:
    """A running `agentstream ui`."""

    origin: str
    token: str
    store: Path

    def url(self, fragment: str = "/") -> str:
        return f"{self.origin}/#{fragment}{'&' if '?' in fragment else '?'}token={self.token}"


def made(folder: Path, *names: str) -> Path:
    """A store with some of the `worlds`, made by another process: an event loop runs in a thread that drives a browser,
    and what agents do in plain functions may not stop one."""
    done = subprocess.run(
        [sys.executable, HERE / "inspector" / "worlds.py", folder, *names], capture_output=True, text=True, check=True
    )
    return Path(done.stdout.strip())


@contextmanager
def serving(store: Path, *options: str) -> Iterator[Served]:
    """The program over a store, begun where its agents (worlds:support) can be imported."""
    process = subprocess.Popen(
        [sys.executable, "-m", "agentstream.cli", "ui", "--no-browser", *options],
        env={**os.environ, "AGENTSTREAM_URL": str(store)},
        cwd=HERE / "inspector",
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address, "agentstream ui ended at once"
        origin, _, rest = address.partition("/#")
        yield Served(origin, rest.rpartition("token=")[2], store)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


@dataclass
class Watched:
    """What a page did that no record may make it do."""

    origin: str
    wrong: list[str] = field(default_factory=list[str])

    def watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.wrong.append(f"raised: {error}"))
        page.on("dialog", lambda dialog: (self.wrong.append(f"dialog: {dialog.message}"), dialog.dismiss())[0])
        page.on("popup", lambda popup: self.wrong.append(f"opened: {popup.url}"))
        page.on("request", self._request)
        page.on("console", lambda told: self._told(told.type, told.text))

    def _request(self, request: Request) -> None:
        if not request.url.startswith((f"{self.origin}/", "data:", f"blob:{self.origin}")):
            self.wrong.append(f"asked: {request.url}")

    def _told(self, kind: str, text: str) -> None:
        # that a request was refused is the page's to show
        if kind == "error" and not text.startswith("Failed to load resource"):
            self.wrong.append(f"told: {text}")


@dataclass
class Looking:
    """Opens pages of one server, each in a context of its own."""

    browser: Browser
    served: Served
    contexts: list[BrowserContext] = field(default_factory=list[BrowserContext])
    watched: list[Watched] = field(default_factory=list[Watched])

    def __call__(self, fragment: str = "/", *, token: bool = True, clock: bool = False, **options: Any) -> Page:
        page = self.fresh(**options)
        if clock:
            page.clock.install()
        page.goto(self.served.url(fragment) if token else f"{self.served.origin}/#{fragment}")
        return page

    def fresh(self, **options: Any) -> Page:
        """A page that shows nothing yet."""
        context = self.browser.new_context(viewport=options.pop("viewport", {"width": 1440, "height": 900}), **options)
        context.set_default_timeout(LONGEST)
        self.contexts.append(context)
        page = context.new_page()
        watched = Watched(self.served.origin)
        watched.watch(page)
        self.watched.append(watched)
        return page

    @property
    def wrong(self) -> list[str]:
        return [each for watched in self.watched for each in watched.wrong]

    def close(self) -> None:
        for context in self.contexts:
            context.close()


def at_rest(page: Page) -> Page:
    """Waits until the selected event's details are on the page."""
    page.wait_for_selector("#tab-panel .loaded[aria-busy=false]")
    return page


def stop_time(page: Page) -> None:
    """Nothing moves by itself until `page.clock.resume()`. The page was opened with `clock=True`."""
    page.clock.pause_at(page.evaluate("Date.now()") + 1)


def cursor(page: Page) -> int:
    """How many events are kept at the place that is looked at."""
    return int(page.get_by_label("Events kept").input_value())


def nodes(page: Page) -> int:
    return page.evaluate("document.querySelectorAll('*').length")


def violations(page: Page) -> list[str]:
    """What axe finds that is serious or critical. It is put in beside the page's own policy."""
    axe = packages() / "node_modules" / "axe-core" / "axe.min.js"
    page.evaluate(axe.read_text(encoding="utf-8") + "; window.axe = axe; undefined")
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] }).then((found) => found.violations)")
    return [
        f"{each['id']}: {each['help']}: {node['html'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]
