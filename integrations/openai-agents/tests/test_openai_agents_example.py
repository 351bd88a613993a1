"""The example and the README's program run and say what they promise."""

from __future__ import annotations

from pathlib import Path

import pytest
from openai_agents_kit import calls, exchange, says
from sdk_kit import programs_in, ran
from support.provider import Behaviour, Provider

HERE = Path(__file__).parents[1]
QUESTION = "Where is order A1?"


def test_the_example(tmp_path: Path) -> None:
    said = ran(HERE / "examples" / "refund_with_approval.py", tmp_path)
    assert said.count("the tool looks up A1") == 1
    assert "waiting, and nothing runs: May refund be called?" in said
    assert said.count("the tool pays 35 EUR") == 1
    assert "live: I am sorry." in said
    assert "replayed offline: identical" in said
    assert not list(tmp_path.iterdir()), "it left something behind"


def test_the_readmes_program_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    (program,) = programs_in(HERE / "README.md")
    answers = [[calls("lookup", "call_a", order="A1")], [says("It is on its way.")]]
    with Provider([exchange(QUESTION, number, said, stream=False) for number, said in enumerate(answers)]) as provider:
        keys = {"OPENAI_API_KEY": "x", "OPENAI_BASE_URL": provider.url, "OPENAI_AGENTS_DISABLE_TRACING": "1"}
        provider.next += [Behaviour(), Behaviour(status=400)]
        with pytest.raises(AssertionError, match="asked to fail"):
            ran(program, tmp_path, **keys)
        assert len(provider.billed) == 1
        assert ran(program, tmp_path, **keys) == "It is on its way.\n"
        assert [len(request["input"]) for request in provider.billed] == [1, 3]
