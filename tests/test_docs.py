"""Every test that the pages of guarantees and of the protocol name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
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
