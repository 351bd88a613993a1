"""The pytest plugin: record a test's agents once, replay them in CI with no key and no network.

    @pytest.mark.agentstream("cassettes/refund.jsonl")
    def test_refund(agentstream):
        assert agentstream.run(support, "Where is order A1?") == "It is on its way"

Nothing of the library is imported before a test has the mark (`docs/testing.md`).
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from agentstream.client import AsyncClient, Client
    from agentstream.plugin.taping import Taping
    from agentstream.session import AsyncSession, Session

MARK = "agentstream"
MODES = ("none", "new", "all")

_taping = pytest.StashKey["Taping"]()
_recorded = pytest.StashKey[Any]()


def pytest_addoption(parser: pytest.Parser) -> None:
    told = "none: only replay; new: record what has no cassette; all: record anew. Default: none under $CI, else new"
    group = parser.getgroup("agentstream")
    group.addoption("--agentstream-record", choices=MODES, default=None, help=told)
    parser.addini("agentstream_record", told, default="")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "agentstream(cassette=None, *, redact=True): the test's agents are recorded in this file beside the test, and "
        "served from it",
    )
    config.stash[_recorded] = set()


def mode_of(config: pytest.Config) -> str:
    """`--agentstream-record`, else the ini option, else what fits the machine. UsageError for another word."""
    mode = config.getoption("--agentstream-record") or config.getini("agentstream_record")
    mode = mode or ("none" if os.environ.get("CI") else "new")
    if mode not in MODES:
        raise pytest.UsageError(f"agentstream_record is one of {', '.join(MODES)}, not {mode!r}")
    return mode


@pytest.fixture
def agentstream(request: pytest.FixtureRequest) -> Iterator[Taping]:
    """The test's cassette: `.session`, `.client`, `.async_session`, `.async_client`, `.run`, `.arun`, `.recording`."""
    mark = request.node.get_closest_marker(MARK)
    if mark is None:
        raise pytest.UsageError(
            f'{request.node.nodeid}: the fixture agentstream is for tests marked @pytest.mark.agentstream("FILE.jsonl")'
        )
    from agentstream.plugin.taping import opened

    taping = opened(request.node, mark, mode_of(request.config), request.config.stash[_recorded])
    request.node.stash[_taping] = taping
    try:
        yield taping
    finally:
        taping.close()


@pytest.fixture
def agentstream_client(agentstream: Taping) -> Client:
    """The client of the test's cassette."""
    return agentstream.client


@pytest.fixture
def agentstream_async_client(agentstream: Taping) -> AsyncClient:
    """The same for `await`."""
    return agentstream.async_client


@pytest.fixture
def agentstream_session(agentstream: Taping) -> Session:
    """A session of the test's cassette."""
    return agentstream.session


@pytest.fixture
def agentstream_async_session(agentstream: Taping) -> AsyncSession:
    """The same for `await`."""
    return agentstream.async_session


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """A test that passed is held against its cassette, or written into it."""
    yield
    taping = item.stash.get(_taping, None)
    if taping is not None:
        taping.finish()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A divergence is shown as what was recorded beside what the code does, and not as a trace through the library."""
    report = yield
    taping = item.stash.get(_taping, None)
    if taping is not None and report.failed and call.excinfo is not None:
        told = taping.explained(call.excinfo.value)
        if told is not None:
            report.longrepr = told
        elif taping.unsaved:
            report.sections.append(("agentstream", f"the test failed: nothing was recorded in {taping.path}"))
    return report
