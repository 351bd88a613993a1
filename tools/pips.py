"""Finds a pip for a Python that may have none. No package index is named here: only a configured one is asked."""

from __future__ import annotations

import configparser
import os
import shutil
import ssl
import tempfile
import urllib.request
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from running import Failed, answers, say

INDEX_VARIABLES = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")


def find_pips(python: str) -> Iterator[tuple[str, list[str]]]:
    """Commands that run some pip under `python`, the nearest first, each with where it comes from."""
    if answers([python, "-m", "pip", "--version"]) is not None:
        yield "the pip of this Python", [python, "-m", "pip"]
    for folder in ("/usr/share/python-wheels", *os.environ.get("PIP_FIND_LINKS", "").split()):
        for wheel in sorted(Path(folder).glob("pip-*-none-any.whl"), reverse=True)[:1]:
            yield f"the pip in {wheel}", [python, f"{wheel}/pip"]
    index = configured_index()
    if index is not None:
        with tempfile.TemporaryDirectory() as scratch:
            try:
                wheel = download_pip(index, Path(scratch))
            except (OSError, ValueError, Failed) as problem:
                say(f"No pip could be fetched from the configured package index ({problem})")
            else:
                yield "a pip from the configured package index", [python, f"{wheel}/pip"]


def configured_index() -> str | None:
    """The package index that the user's variables or pip.conf name, if any."""
    for variable in INDEX_VARIABLES:
        if os.environ.get(variable):
            return os.environ[variable]
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    named = os.environ.get("PIP_CONFIG_FILE")
    for file in ([named] if named else []) + [
        str(home / "pip" / "pip.conf"),
        str(Path.home() / ".pip" / "pip.conf"),
        "/etc/xdg/pip/pip.conf",
        "/etc/pip.conf",
    ]:
        settings = configparser.RawConfigParser()
        try:
            settings.read(file)
        except configparser.Error:
            continue
        for section in ("install", "global"):
            if settings.has_option(section, "index-url"):
                return settings.get(section, "index-url")
    return None


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        link = dict(attrs).get("href")
        if tag == "a" and link:
            self.found.append(link)


def download_pip(index: str, folder: Path) -> Path:
    """Fetches the newest released pip wheel from a package index (its simple HTML listing, PEP 503)."""
    cert = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    context = ssl.create_default_context(cafile=cert or None)
    listing = index.rstrip("/") + "/pip/"
    with urllib.request.urlopen(listing, timeout=60, context=context) as answer:
        links = _Links()
        links.feed(answer.read().decode("utf-8", "replace"))
    wheels: dict[tuple[int, ...], str] = {}
    for link in links.found:
        name = unquote(urlsplit(link).path.rpartition("/")[2])
        version = name.removeprefix("pip-").removesuffix("-py3-none-any.whl")
        if name.endswith("-py3-none-any.whl") and version.replace(".", "").isdigit():
            wheels[tuple(int(part) for part in version.split("."))] = link
    if not wheels:
        raise Failed("it lists no pip")
    target = folder / "pip-0-py3-none-any.whl"
    chosen = urljoin(listing, wheels[max(wheels)])
    with urllib.request.urlopen(chosen, timeout=60, context=context) as answer, target.open("wb") as file:
        shutil.copyfileobj(answer, file)
    return target
