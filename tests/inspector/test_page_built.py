"""The page's built files are those of its sources, small, and ask nothing of anybody else."""

from __future__ import annotations

import gzip
import os
import re
import shutil
from pathlib import Path

import page
import pytest

ALL = bool(os.environ.get("AGENTSTREAM_TEST_ALL"))


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_built_files_are_those_of_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert page.unlike() is None

    # and a change of either is seen
    for name, folder in (("SOURCES", page.SOURCES), ("STATIC", page.STATIC)):
        copy = tmp_path / name
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("node_modules"))
        changed = copy / ("src/app.tsx" if name == "SOURCES" else "assets/page.js")
        changed.write_text(changed.read_text(encoding="utf-8") + "\n", encoding="utf-8", newline="\n")
        with monkeypatch.context() as other:
            other.setattr(page, name, copy)
            assert "make ui" in str(page.unlike())


if ALL:

    def test_the_build_comes_out_the_same_to_the_byte(tmp_path: Path) -> None:
        page.built(tmp_path)
        assert files_of(tmp_path) == files_of(page.STATIC)


def test_the_page_is_at_most_100_kb() -> None:
    assert sum(len(gzip.compress(content, 9)) for content in files_of(page.STATIC).values()) <= 100_000


def test_the_page_stands_alone_and_can_be_put_into_one_file() -> None:
    files = files_of(page.STATIC)
    assert sorted(files) == ["assets/page.css", "assets/page.js", "index.html"]
    html, css, script = (files[name].decode() for name in ("index.html", "assets/page.css", "assets/page.js"))
    assert re.findall(r'(?:src|href)="(?!data:)([^"]*)"', html) == ["/assets/page.js", "/assets/page.css"]
    assert set(re.findall(r"url\(.(\w+:)", css)) == {"data:"}
    assert "@import" not in css
    assert re.search(r"\beval\(|new Function\(|\bimport\(|new Worker\(", script) is None
    assert re.search(r"</script|<!--", script, re.IGNORECASE) is None
    assert "</style" not in css.lower()
    assert re.search(r"<script(?! type=\"module\" crossorigin src=)|<style|\sstyle=|\son\w+=", html) is None
