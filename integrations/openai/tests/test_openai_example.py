"""The example and the README's program run and say what they promise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sdk_kit import programs_in, ran
from support.provider import Provider, traffic

HERE = Path(__file__).parents[1]


def test_the_example(tmp_path: Path) -> None:
    said = ran(HERE / "examples" / "crashed_and_resumed.py", tmp_path)
    assert said.count("the tool looks up PotatoLand") == 1
    assert "killed (exit 9) after 1 call of the model" in said
    assert said.count("The capital of PotatoLand is Potato City.") == 2
    assert "resumed: 2 calls of the model in all" in said
    assert "run again: still 2" in said
    assert not list(tmp_path.iterdir()), "it left something behind"


def test_the_readmes_program_costs_nothing_a_second_time(tmp_path: Path) -> None:
    (program,) = programs_in(HERE / "README.md")
    answer = traffic("openai-responses-tool-call")[1]
    with Provider([replace(answer, request={"input": "A haiku about rain"})]) as provider:
        keys = {"OPENAI_API_KEY": "x", "OPENAI_BASE_URL": provider.url}
        first = ran(program, tmp_path, **keys)
        assert first == "The capital of PotatoLand is Potato City.\n"
        assert len(provider.billed) == 1
        provider.close()
        assert ran(program, tmp_path, **keys) == first
