"""The inspector's page: builds inspector/ into agentstream/inspector/static, and says whether the two belong together.

The built files are kept in the repository, so that no install needs Node. The build writes into index.html what it was
made from and what came out: `unlike()` compares both without Node, `built(folder)` makes it anew to compare every byte.
As a program: page.py [build|check].
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from node import NAMED, installed, node
from running import Failed, run, say

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "inspector"
STATIC = ROOT / "agentstream" / "inspector" / "static"
PAGE = "index.html"
ENTRIES = ("package.json", "tsconfig.json", "vite.config.ts", PAGE, "src")
_SEAL = re.compile(r'\n? *<meta name="agentstream-build" content="sources:(\w+) built:(\w+)" />')


def unlike() -> str | None:
    """Why the built files are not those of the sources; None where they are."""
    if not (STATIC / PAGE).is_file():
        return f"{STATIC.relative_to(ROOT)} holds no page: make ui"
    found = _SEAL.search((STATIC / PAGE).read_text(encoding="utf-8"))
    if found is None:
        return f"{PAGE} does not say what it was built from: make ui"
    if found[1] != _seal(_files(SOURCES, ENTRIES)):
        return "inspector/ has changed since the page was built: make ui"
    if found[2] != _seal_of_built(STATIC):
        return "the built files were changed by hand: change inspector/, then make ui"
    return None


def packages() -> Path:
    """The folder with node_modules of what builds and tests the page."""
    return installed(SOURCES / NAMED, "page", "what builds and tests the inspector's page")


def built(into: Path) -> None:
    """Checks the types of the sources and builds them into an empty folder. SystemExit where that fails."""
    home = packages()
    work = Path(tempfile.mkdtemp(prefix="work.", dir=home))  # below node_modules' folder: imports are found upwards
    try:
        for entry in ENTRIES:
            (shutil.copytree if (SOURCES / entry).is_dir() else shutil.copy)(SOURCES / entry, work / entry)
        modules = home / "node_modules"
        run([node(), modules / "typescript" / "bin" / "tsc", "--project", work])
        run([node(), modules / "vite" / "bin" / "vite.js", "build", work, "--logLevel", "warn"])
        shutil.copytree(work / "dist", into, dirs_exist_ok=True)
    except Failed as problem:
        raise SystemExit(f"The page could not be built ({problem})") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    page = into / PAGE
    seal = f"sources:{_seal(_files(SOURCES, ENTRIES))} built:{_seal_of_built(into)}"
    text = page.read_text(encoding="utf-8")
    page.write_text(
        text.replace("<title>", f'<meta name="agentstream-build" content="{seal}" />\n    <title>', 1),
        encoding="utf-8",
        newline="\n",
    )


def build() -> None:
    """Puts a new page where the old one was."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "static"
        built(fresh)
        shutil.rmtree(STATIC, ignore_errors=True)
        shutil.copytree(fresh, STATIC)
    say(f"{STATIC.relative_to(ROOT)} is built")


def _files(folder: Path, entries: Iterable[str]) -> list[tuple[str, bytes]]:
    found: list[Path] = []
    for entry in entries:
        place = folder / entry
        found += [file for file in place.rglob("*") if file.is_file()] if place.is_dir() else [place]
    return [(file.relative_to(folder).as_posix(), file.read_bytes()) for file in sorted(found)]


def _seal_of_built(folder: Path) -> str:
    """Of every built file; the page's own text without the seal that stands in it."""
    files = _files(folder, ["."])
    return _seal([(name, _SEAL.sub("", text.decode()).encode() if name == PAGE else text) for name, text in files])


def _seal(files: Iterable[tuple[str, bytes]]) -> str:
    seal = hashlib.sha256()
    for name, content in files:
        seal.update(f"{name} {len(content)}\n".encode())
        seal.update(content)
    return seal.hexdigest()[:16]


if __name__ == "__main__":
    if sys.argv[1:] == ["check"]:
        wrong = unlike()
        if wrong is not None:
            raise SystemExit(wrong)
    else:
        build()
