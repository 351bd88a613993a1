"""The README's first program and the example run and say what they promise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sdk_kit import programs_in, ran
from support.provider import Provider, traffic

HERE = Path(__file__).parents[1]


def test_the_example(tmp_path: Path) -> None:
    said = ran(HERE / "examples" / "approved_refund.py", tmp_path)
    assert said.count("looking A1 up") == 1
    assert "May refund be called?" in said
    assert said.index("the bank does not answer") < said.index("you get your money back")
    assert "asked 3 times" in said
    assert not list(tmp_path.iterdir()), "it left something behind"


def test_the_readmes_first_program_remembers_what_was_said(tmp_path: Path) -> None:
    (program,) = programs_in(HERE / "README.md")
    first, last = traffic("openai-responses-tool-call")
    asked = {"input": [{"role": "user", "content": "Where is order A1?"}]}
    with Provider([replace(last, path=first.path, request=asked)]) as provider:
        said = ran(program, tmp_path, OPENAI_API_KEY="x", OPENAI_BASE_URL=provider.url)
        assert said.count("Potato City") == 2
        assert [len(request["input"]) for request in provider.billed] == [1, 3]
