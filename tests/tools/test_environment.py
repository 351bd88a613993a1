"""The tools that set up a checkout on machines that lack things."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
LISTING = """<!DOCTYPE html><html><body>
<a href="files/pip-9.0.3-py2.py3-none-any.whl">for old Pythons</a>
<a href="files/pip-23.1-py3-none-any.whl#sha256=00">old</a>
<a href="files/pip-100.2.1-py3-none-any.whl?key=1#sha256=00">new</a>
<a href="files/pip-101.0b1-py3-none-any.whl">not released</a>
<a href="files/pip-100.2.1.tar.gz">source</a>
</body></html>"""


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOOLS))
    for name in ("PIP_INDEX_URL", "PIP_CONFIG_FILE", "PIP_CERT", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    files = tmp_path / "index" / "pip" / "files"
    files.mkdir(parents=True)
    (files.parent / "index.html").write_text(LISTING)
    (files / "pip-100.2.1-py3-none-any.whl").write_text("the newest release")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "index"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        serving.join()


def test_uv_is_told_what_pip_is_configured_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from environment import uv_settings

    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://uv.test/simple")
    monkeypatch.delenv("ALL_PROXY", raising=False)
    told = uv_settings(
        "global.index-url='http://pip.test/simple'\n"
        "global.extra-index-url='http://a.test/simple\\nhttp://b.test/simple'\n"
        ":env:.proxy='http://proxy.test:3128'\n"
        "global.timeout='60'\n"
    )
    assert told["UV_INDEX"] == "http://a.test/simple http://b.test/simple"
    assert told["ALL_PROXY"] == "http://proxy.test:3128"
    assert "UV_DEFAULT_INDEX" not in told, "what is set for uv itself stands"


def test_the_newest_released_pip_is_fetched_from_an_index(index: str, tmp_path: Path) -> None:
    from pips import download_pip

    assert download_pip(index, tmp_path).read_text() == "the newest release"


def test_the_index_is_the_configured_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from pips import configured_index

    file = tmp_path / "pip.conf"
    file.write_text("[global]\nindex-url = http://file.test/simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    assert configured_index() == "http://file.test/simple"
    monkeypatch.setenv("PIP_INDEX_URL", "http://variable.test/simple")
    assert configured_index() == "http://variable.test/simple"


def test_a_folder_that_is_no_environment_is_left_alone(tmp_path: Path) -> None:
    from environment import Environment

    (tmp_path / "work.txt").write_text("mine")
    with pytest.raises(SystemExit, match="no virtual environment"):
        Environment(tmp_path).remove()
    assert (tmp_path / "work.txt").read_text() == "mine"


def test_an_environment_works_only_if_it_is_there_and_has_pip(tmp_path: Path) -> None:
    from environment import Environment

    environment = Environment(tmp_path)
    assert not environment.works()
    environment.bin.mkdir()
    for options, works in (("-S", False), ("", True)):  # -S: without site-packages, where pip is
        environment.python.write_text(f'#!/bin/sh\nexec {sys.executable} {options} "$@"\n')
        environment.python.chmod(0o755)
        assert environment.works() is works
