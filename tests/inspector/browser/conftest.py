"""One browser and one server for a module; each test's pages have a context of their own."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from browser_kit import Looking, Served
    from playwright.sync_api import Browser

# Only the default environment has playwright.
collect_ignore_glob = [] if find_spec("playwright") is not None else ["test_*.py"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from chromium import MISSING, found
    from playwright.sync_api import sync_playwright

    place = found()
    if place is None:
        pytest.fail(MISSING, pytrace=False)
    with sync_playwright() as playwright:
        # Chromium's own sandbox cannot be had as root
        browser = playwright.chromium.launch(executable_path=place, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The sessions of `worlds`: of every kind and state, and a stranger's."""
    from browser_kit import made, serving

    with serving(made(tmp_path_factory.mktemp("store"), "small", "hostile")) as served:
        yield served


@pytest.fixture
def look(browser: Browser, served: Served) -> Iterator[Looking]:
    """Opens the page at a fragment. Whatever it shows: nothing foreign ran, was asked for or was raised."""
    from browser_kit import Looking

    looking = Looking(browser, served)
    yield looking
    looking.close()
    assert looking.wrong == []
