"""A recorded result comes back as it was to the last digit and key, from all stores but the servers that change it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentstream import Client, Diverged, agent, step

SORTED = {"rust-memory"}
"""Servers that sort the keys of the objects in a stream."""

INEXACT = SORTED
"""Servers that read a number with many digits as one beside it."""

NUMBERS_FIRST = {"node", "node-file", *SORTED}
"""Servers that put keys like "10" before the others, as JavaScript's objects do."""


class Crash(BaseException):
    """Ends a run as a kill would."""


@pytest.mark.parametrize(
    ("found", "changed_by"),
    [
        ({"z": 1, "a": {"y": 2, "b": 3}}, SORTED),
        ({"a": 1, "10": 2}, NUMBERS_FIRST),
        ({"f": 0.11447646771670661}, INEXACT),
    ],
    ids=["words", "numbers", "digits"],
)
def test_a_result_comes_back_as_it_was(
    backend: Any, request: pytest.FixtureRequest, found: dict[str, Any], changed_by: set[str]
) -> None:
    did: list[str] = []

    @step
    def look() -> dict[str, Any]:
        did.append("look")
        return found

    @step
    def tell(text: str) -> str:
        did.append("tell")
        return text

    @step
    def end() -> None:
        did.append("end")
        if did.count("end") == 1:
            raise Crash

    @agent
    def teller() -> str:
        told = tell(json.dumps(look()))
        end()
        return told

    with pytest.raises(Crash):
        Client(backend).session("s").run(teller)
    resumed = Client(backend).session("s")
    if request.node.callspec.params["backend"] in changed_by:
        with pytest.raises(Diverged, match="another input"):  # said, and nothing is done again
            resumed.run(teller)
        assert did == ["look", "tell", "end"]
    else:
        assert resumed.run(teller) == json.dumps(found)
        assert did == ["look", "tell", "end", "end"]
