"""What the pages link to is there: other pages, and every test that those of guarantees and of the protocol name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    page for pattern in ("*.md", "docs/*.md", "benchmarks/*.md", "integrations/*/*.md") for page in ROOT.glob(pattern)
)
LINKS = [
    link
    for page in ("guarantees.md", "protocol.md")
    for link in re.findall(r"\]\((\.\./[^)]+)\)", (DOCS / page).read_text("utf-8"))
]


@pytest.mark.parametrize("link", sorted(set(LINKS)))
def test_a_guarantee_names_a_test_that_exists(link: str) -> None:
    file, _, name = link.partition("::")
    text = (DOCS / file).read_text("utf-8")
    assert "def test_" in text if not name else f"def {name}(" in text


def test_every_guarantee_has_links() -> None:
    sections = (DOCS / "guarantees.md").read_text("utf-8").split("\n## ")[1:]
    assert len(sections) >= 9
    assert all("](../" in section for section in sections)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    missing = {
        target for target in targets if "://" not in target and not (page.parent / target.split("::")[0]).exists()
    }
    assert not missing
