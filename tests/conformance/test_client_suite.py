"""The official client suite, whole, against both faces: each of its cases but those that it marks as skipped."""

from __future__ import annotations

import atexit
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest
from client_suite import CASES, FILES, AdapterProcess, Case, Failed, Suite, cases_of
from node_server import NodeServer
from serving_kit import Served, serving
from stores import ALL

LONG_POLL = 0.5
SKIPPED_BY_THE_SUITE = {"sse-base64-data-integrity-multiline", "sse-base64-large-payload-4kb"}

ADAPTERS = {"sync": "client_adapter.py", "async": "client_adapter_async.py"}
by_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(CASES).with_suffix("").as_posix())
by_face = pytest.mark.parametrize("face", ADAPTERS)


@lru_cache
def node() -> NodeServer:
    """The reference server as the suite wants it, for the tests of this process."""
    server = NodeServer(long_poll=LONG_POLL)
    atexit.register(server.close)
    return server


@lru_cache
def adapter(face: str) -> AdapterProcess:
    made = AdapterProcess(ADAPTERS[face])
    atexit.register(made.close)
    return made


def failures(suite: Suite, cases: list[Case]) -> list[str]:
    """What went wrong, all of it."""
    found: list[str] = []
    for case in cases:
        try:
            suite.run(case)
        except Failed as failed:
            found.append(str(failed))
    return found


def to_run(file: Path) -> list[Case]:
    return [case for case in cases_of(file) if case["id"] not in SKIPPED_BY_THE_SUITE]


def test_all_of_the_suite_is_here() -> None:
    cases = [case for file in FILES for case in cases_of(file)]
    assert len(cases) == 269
    assert {case["id"] for case in cases if case.get("skip")} == SKIPPED_BY_THE_SUITE


@by_face
@by_file
def test_every_case_comes_out_on_the_reference_server(face: str, file: Path) -> None:
    assert failures(Suite(adapter(face), node().url), to_run(file)) == []


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        ({"allSucceed": True}, {"success": False}),
        ({"success": True}, {"success": False}),
        ({"status": 200}, {"success": False, "status": 404}),
        ({"errorCode": "NOT_FOUND"}, {"success": True}),
        ({}, {"success": False}),
        ({"data": "x"}, {"success": True, "chunks": []}),
        ({"upToDate": True}, {"success": True}),
        ({"messageContains": ["x"]}, {"success": False, "message": ""}),
    ],
)
def test_the_runner_looks_at_every_expectation(expected: Case, answer: Case) -> None:
    suite = Suite(None, "http://localhost")  # type: ignore[arg-type]
    with pytest.raises(Failed):
        suite._check(answer, expected)


@pytest.fixture(scope="module")
def ours() -> Iterator[Served]:
    with serving("memory:", "--long-poll-timeout", str(LONG_POLL)) as served:
        yield served


LOST_BY_THE_REFERENCE_SERVER = {"sse-strips-single-leading-space"}
"""Cases that want a space to be gone, which the reference server loses on the way; ours hands on what was written."""


def injects(case: Case) -> bool:
    """Whether a case needs the reference server's hook for faults, which ours does not have."""
    return any(operation["action"] == "inject-error" for operation in case["operations"])


if ALL:

    @by_face
    @by_file
    def test_every_case_comes_out_on_our_server(face: str, file: Path, ours: Served) -> None:
        cases = [case for case in to_run(file) if not injects(case) and case["id"] not in LOST_BY_THE_REFERENCE_SERVER]
        assert failures(Suite(adapter(face), ours.url), cases) == []
