"""The example and the README's program run and say what they promise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from anthropic_kit import PARALLEL_ANSWER, address, serving
from sdk_kit import programs_in, ran

HERE = Path(__file__).parents[1]


def test_the_example(tmp_path: Path) -> None:
    said = ran(HERE / "examples" / "thinking_and_tools.py", tmp_path)
    assert said.count("the tool runs") == 1
    assert "Mexico City" in said
    assert "replayed offline; a thought of 376 characters, signed: True" in said
    assert not list(tmp_path.iterdir()), "it left something behind"


def test_the_readmes_program_costs_nothing_a_second_time(tmp_path: Path) -> None:
    (program,) = programs_in(HERE / "README.md")
    request = {"messages": [{"role": "user", "content": "A haiku about rain"}]}
    with serving([replace(PARALLEL_ANSWER, request=request)]) as provider:
        keys = {"ANTHROPIC_API_KEY": "x", "ANTHROPIC_BASE_URL": address(provider)}
        first = ran(program, tmp_path, **keys)
        assert "Daisy is the youngest" in first
        assert len(provider.billed) == 1
        provider.close()
        assert ran(program, tmp_path, **keys) == first
